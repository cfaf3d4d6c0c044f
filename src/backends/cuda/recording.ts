import { launchParameter } from "../../../ffi/driver.ts";
import { addressOf } from "../../../ffi/memory.ts";
import { bytesOf } from "../../trace/dtype.ts";
import type { Plan, ProductPrecision } from "../../compile/plan.ts";
import type { InstructionOf } from "../../trace/program.ts";
import { THREADS } from "./call.ts";
import type { Card } from "./card.ts";
import { precisionOf, roles, specOf, type Tensors } from "./convolution.ts";
import type { BoundConvolution, Convolver } from "./convolutions.ts";
import type { Task } from "./lower.ts";
import { type Place, placeOf } from "../place.ts";
import type { Products, ProductSpec, ProductTensors } from "./products.ts";
import type { Profiler } from "./profiler.ts";

/** Gives the address of a place. */
export type Addresses = (place: Place) => bigint;

/** What tasks are issued with. */
export interface Tools {
  readonly card: Card;
  readonly products: Products;
  readonly convolver: Convolver;
  /** How products of f32 are computed. */
  readonly precision: ProductPrecision;
  /** Times every task, where one is wanted. */
  readonly profiler?: Profiler;
}

/** A task that can be issued, and told of other addresses. */
interface Issue {
  /** Takes addresses; must come before the first {@link run}. */
  bind(addresses: Addresses): void;
  /** Issues it on the card's stream. */
  run(): void;
  dispose?(): void;
}

/** A plan's tasks, ready to be issued one after the other; nothing is allocated while they are. */
export class Recording {
  readonly #issues: readonly Issue[];
  readonly #timed: ((issues: readonly Issue[]) => void) | undefined;

  /** `functions` gives the kernel of each kernel task, in order. */
  constructor(
    tools: Tools,
    plan: Plan,
    tasks: readonly Task[],
    functions: readonly bigint[],
  ) {
    const { profiler } = tools;
    this.#timed = profiler && ((issues) => profiler.run(plan, tasks, (i) => issues[i].run()));
    const launches = new Launches(tools.card, functions.length);
    let kernel = 0;
    this.#issues = tasks.map((task) => {
      switch (task.kind) {
        case "kernel": {
          const places = task.call.arguments.map(({ slot, offset }) => {
            const place = placeOf(plan, task.step, slot);
            return { ...place, offset: place.offset + offset };
          });
          return launches.add(functions[kernel++], task.call.blocks, places, task.call.label);
        }
        case "convolution":
          return convolution(tools, plan, task);
        case "product":
          return product(tools, plan, task);
        case "zeros": {
          const place = placeOf(plan, task.step, task.value);
          const bytes = bytesOf(plan.values[task.value]);
          let address = 0n;
          return {
            bind: (addresses) => address = addresses(place),
            run: () => tools.card.clear(address, bytes),
          };
        }
      }
    });
  }

  /** Takes the addresses that the next runs use. */
  bind(addresses: Addresses): void {
    for (const issue of this.#issues) issue.bind(addresses);
  }

  /** Issues everything. */
  run(): void {
    if (this.#timed !== undefined) return this.#timed(this.#issues);
    for (const issue of this.#issues) issue.run();
  }

  /** Frees what library calls hold. */
  dispose(): void {
    for (const issue of this.#issues) issue.dispose?.();
  }
}

/**
 * Kernel launches whose arguments lie in long-lived arrays: `cuLaunchKernel` takes the address of a list that says
 * where the packed arguments are and how many bytes they have.
 */
class Launches {
  readonly #card: Card;
  /** Five words a launch: pointer tag, address, size tag, address of the size, end. */
  readonly #lists: BigUint64Array<ArrayBuffer>;
  readonly #sizes: BigUint64Array<ArrayBuffer>;
  #count = 0;

  constructor(card: Card, launches: number) {
    this.#card = card;
    // Buffers of their own: what small typed arrays hold may lie in movable memory.
    this.#lists = new BigUint64Array(new ArrayBuffer(Math.max(1, launches) * 5 * 8));
    this.#sizes = new BigUint64Array(new ArrayBuffer(Math.max(1, launches) * 8));
  }

  add(kernel: bigint, blocks: number, places: readonly Place[], label: string): Issue {
    const { driver, stream } = this.#card;
    const packed = new BigUint64Array(new ArrayBuffer(places.length * 8));
    const index = this.#count++;
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
      bind: (addresses) => places.forEach((place, i) => packed[i] = addresses(place)),
      run: () => {
        const status = driver.cuLaunchKernel(kernel, blocks, 1, 1, THREADS, 1, 1, 0, stream, 0n, list);
        if (status !== 0) this.#card.check(status, `launching ${label} with ${packed.length} arguments`);
      },
    };
  }
}

function convolution(
  { convolver, precision }: Tools,
  plan: Plan,
  { instruction, step, scratch: stretch, epilogue }: Extract<Task, { kind: "convolution" }>,
): Issue {
  const spec = specOf(instruction, plan.values, precision, epilogue?.kind);
  const list = [...instruction.inputs, epilogue?.output ?? instruction.output];
  const places = list.map((value) => placeOf(plan, step, value));
  const bias = epilogue?.bias === undefined ? undefined : placeOf(plan, step, epilogue.bias);
  let bound: BoundConvolution | undefined;
  let last = "";
  return {
    bind(addresses) {
      const tensors = {
        ...Object.fromEntries(roles[spec.op].map((role, i) => [role, addresses(places[i])])),
        ...(bias === undefined ? {} : { bias: addresses(bias) }),
      } as unknown as Tensors;
      const scratch = addresses({ kind: "arena", index: 0, offset: stretch.offset });
      const key = `${Object.values(tensors)} ${scratch}`;
      if (key === last) return;
      const next = convolver.bind(spec, tensors, scratch, stretch.bytes);
      bound?.dispose(); // last, so that what both use stays
      bound = next;
      last = key;
    },
    run: () => bound!.run(),
    dispose: () => bound?.dispose(),
  };
}

/** The product that an instruction is. */
function productSpecOf(
  { attrs, inputs, output }: InstructionOf<"matmul">,
  values: Plan["values"],
  products: ProductPrecision,
  epilogue: ProductSpec["epilogue"] = "none",
): ProductSpec {
  const a = values[inputs[0]].shape, result = values[output].shape;
  const [m, n] = result.slice(-2);
  const precision = precisionOf(values[output], products);
  return {
    batch: result.length === 3 ? result[0] : 1,
    ...{ m, n, k: a[a.length - (attrs.transposeA ? 2 : 1)] },
    ...{ transposeA: attrs.transposeA, transposeB: attrs.transposeB, precision, epilogue },
  };
}

function product(
  { card, products, precision }: Tools,
  plan: Plan,
  { instruction, step, epilogue }: Extract<Task, { kind: "product" }>,
): Issue {
  const spec = productSpecOf(instruction, plan.values, precision, epilogue?.kind);
  const [a, b] = instruction.inputs.map((value) => placeOf(plan, step, value));
  const result = placeOf(plan, step, epilogue?.output ?? instruction.output);
  const bias = epilogue?.bias === undefined ? undefined : placeOf(plan, step, epilogue.bias);
  const workspace = placeOf(plan, step, "workspace");
  const bytes = step.workspace!.bytes;
  let tensors: ProductTensors = { a: 0n, b: 0n, result: 0n };
  let scratch = 0n;
  return {
    bind(addresses) {
      tensors = {
        ...{ a: addresses(a), b: addresses(b), result: addresses(result) },
        ...(bias === undefined ? {} : { bias: addresses(bias) }),
      };
      scratch = addresses(workspace);
      // Here and not in the run, which would have begun to write over what was donated when it was refused.
      products.prepare(spec, bytes, tensors.bias);
    },
    run: () => products.run(spec, tensors, scratch, bytes, card.stream),
  };
}
