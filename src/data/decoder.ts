import type { Signature } from "./signature.ts";

/** A decoder of pictures, such as `pictures()` of the sub-path. Disposing of it ends its threads. */
export interface PictureDecoder extends AsyncDisposable {
  /**
   * Decodes a picture, resizes it and crops it at the centre.
   *
   * @param picture The path of a file, or its content.
   * @returns Bytes `[height, width, 3]`, red, green and blue.
   * @throws {LocalgradError} if it cannot be read or decoded.
   */
  decode(picture: string | Blob, to: Pick<Signature, "height" | "width" | "crop">): Promise<Uint8Array>;
  /**
   * Lists the pictures of a folder and of the folders in it, by name.
   *
   * @throws {LocalgradError} if it is not a folder, or has no picture.
   */
  list(folder: string): Promise<string[]>;
}
