import type { DeviceBuffer } from "../backend.ts";

/** Memory on a card. */
export class CudaBuffer implements DeviceBuffer {
  /** The number of uploads to it on the upload stream. A buffer that is filled before every run gets a slot. */
  uploads = 0;
  /**
   * True if the last work issued on it is a copy to a slot. It may then be filled again as soon as that copy is done,
   * while the run that uses the slot is still in flight.
   */
  copied = false;

  /** `owner` is the backend it belongs to. */
  constructor(readonly owner: object, readonly bytes: number, readonly address: bigint) {}
}
