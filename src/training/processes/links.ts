import { exchangesBefore, receiveLastBlock, sendFirstBlock } from "../../local/processes/exchange.ts";
import type { Setup, TrainState } from "../../local/setup.ts";
import { type Device, type DeviceArray, disposeTree } from "../../runtime/arrays.ts";
import { jit, type Jitted } from "../../runtime/jit.ts";
import { full } from "../../trace/functions.ts";
import type { Tensor } from "../../trace/tensor.ts";

/**
 * What precedes the first of several steps of a process in a pipeline, and follows the last. A step may read the first block
 * of the next process as it is when the step begins: that process sends it right after its step before, and here for the
 * first. After the last step a block is on its way that no step reads. With a stale exchange there is nothing to do; see
 * {@link StaleBlocks}.
 */
export class Links implements Disposable {
  readonly #first: Jitted<[train: TrainState<Tensor>], Tensor> | undefined;
  readonly #last: Jitted<[], Tensor> | undefined;
  #isOpen = false;

  /** For the steps of a process on a device. */
  constructor({ part }: Setup, device: Device | undefined) {
    if (part === undefined || part.staleEvery !== undefined || device === undefined) return;
    const nothing = () => full([], 0);
    if (exchangesBefore(part.sends)) {
      this.#first = jit((train: TrainState<Tensor>) => {
        sendFirstBlock(part, train);
        return nothing();
      }, { device, name: "first block" });
    }
    if (exchangesBefore(part.reads)) {
      this.#last = jit(() => {
        receiveLastBlock(part);
        return nothing();
      }, { device, name: "last block" });
    }
  }

  /** To be called before a step, with the values as they are then; has an effect on the first. */
  open(train: TrainState<DeviceArray>): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    if (this.#first !== undefined) disposeTree(this.#first(train));
  }

  /** To be called after the last step, so that all messages are received; not after an error, when none may come. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#last !== undefined) disposeTree(this.#last());
  }

  /** Frees the compiled programs. */
  [Symbol.dispose](): void {
    this.#first?.dispose();
    this.#last?.dispose();
  }
}
