import { launchParameter } from "../../../ffi/driver.ts";
import { addressOf } from "../../../ffi/memory.ts";
import { at } from "../../base/at.ts";
import type { Plan } from "../../compile/plan.ts";
import { placeOf } from "../place.ts";
import { THREADS } from "./call.ts";
import type { Card } from "./card.ts";
import type { KernelLaunch, Recorded } from "./launch.ts";

/**
 * Kernel launches, whose arguments are kept in long-lived arrays: `cuLaunchKernel` takes the address of a list with the
 * address and the size of the packed arguments.
 */
export class KernelLaunches {
  readonly #card: Card;
  readonly #functions: readonly bigint[];
  /** Five words a launch: pointer tag, address of the arguments, size tag, address of their size, end. */
  readonly #lists: BigUint64Array<ArrayBuffer>;
  readonly #sizes: BigUint64Array<ArrayBuffer>;
  #count = 0;

  constructor(card: Card, functions: readonly bigint[]) {
    this.#card = card;
    this.#functions = functions;
    // V8 may move the contents of small typed arrays unless they have an ArrayBuffer of their own.
    this.#lists = new BigUint64Array(new ArrayBuffer(Math.max(1, functions.length) * 5 * 8));
    this.#sizes = new BigUint64Array(new ArrayBuffer(Math.max(1, functions.length) * 8));
  }

  record(plan: Plan, launch: KernelLaunch): Recorded {
    const { driver } = this.#card;
    const { call, parts = [launch] } = launch;
    const places = parts.flatMap(({ call, step }) =>
      call.arguments.map(({ slot, offset }) => {
        const place = placeOf(plan, step, slot);
        return { ...place, offset: place.offset + offset };
      })
    );
    const packed = new BigUint64Array(new ArrayBuffer(places.length * 8));
    const index = this.#count++;
    const kernel = at(this.#functions, index);
    this.#sizes[index] = BigInt(packed.byteLength);
    this.#lists.set([
      launchParameter.CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT,
      addressOf(packed),
      launchParameter.CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT,
      addressOf(this.#sizes) + BigInt(index * 8),
      launchParameter.CU_LAUNCH_PARAM_END_AS_INT,
    ], index * 5);
    const list = addressOf(this.#lists) + BigInt(index * 5 * 8);
    return {
      describe: () => `the kernel ${parts.map(describeKernel).join(" beside ")}`,
      bind: (addresses) => places.forEach((place, i) => packed[i] = addresses(place)),
      run: (_, stream) => {
        const status = driver.cuLaunchKernel(kernel, call.blocks, 1, 1, THREADS, 1, 1, 0, stream, 0n, list);
        if (status !== 0) this.#card.check(status, `launching ${call.label} with ${packed.length} arguments`);
      },
    };
  }
}

function describeKernel({ call, step }: KernelLaunch): string {
  return `${call.label}${step.kind === "op" ? ` of ${step.instruction.op}` : ""}`;
}
