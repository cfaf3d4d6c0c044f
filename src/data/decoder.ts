import type { Signature } from "./signature.ts";

/** A whole picture in the upper left of an image. */
export interface WholePicture {
  /** Bytes `[height, width, 3]` of the image, red, green and blue. */
  readonly pixels: Uint8Array;
  /** Rows and columns of the picture itself, upright. */
  readonly of: readonly [height: number, width: number];
  /** Rows and columns that it has in the image. */
  readonly to: readonly [height: number, width: number];
}

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
   * Decodes a whole picture, as large as fits into the upper left of an image, as `segment` shows it to a network. What
   * lies beside it has the colour `mean`. A decoder without this method serves networks that classify images alone.
   *
   * @param picture The path of a file, or its content.
   * @throws {LocalgradError} if it cannot be read or decoded.
   */
  whole?(picture: string | Blob, to: Pick<Signature, "height" | "width" | "mean">): Promise<WholePicture>;
  /**
   * Lists the pictures of a folder and of the folders in it, by name.
   *
   * @throws {LocalgradError} if it is not a folder, or has no picture.
   */
  list(folder: string): Promise<string[]>;
}
