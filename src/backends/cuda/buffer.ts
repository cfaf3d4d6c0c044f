import type { DeviceBuffer } from "../backend.ts";

/** Memory on a card. */
export class CudaBuffer implements DeviceBuffer {
  /** How many times it was filled on the stream of uploads: a buffer that is filled anew for every run gets a slot. */
  uploads = 0;
  /**
   * Whether what was last issued on it is a copy to a slot. Then it may be filled again as soon as those copies are
   * done, while the run that was given them goes on.
   */
  copied = false;

  /** `owner` is the backend it belongs to. */
  constructor(readonly owner: object, readonly bytes: number, readonly address: bigint) {}
}
