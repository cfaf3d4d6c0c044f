import type { Cudnn } from "../../../ffi/cudnn.ts";
import { checkCudnn, isUnsupported } from "../../../ffi/cudnn.ts";
import { LibraryError } from "../../../ffi/status.ts";
import { LocalgradError } from "../../base/errors.ts";
import { ConvolutionPlans, roles, type Spec, type Tensors } from "./convolution.ts";

/** A convolution ready to run on addresses that do not change. */
export interface BoundConvolution {
  /** Issues it on the stream of cuDNN's handle. */
  run(): void;
  /** Frees what was made for these addresses. */
  dispose(): void;
}

/** One way to run convolutions; there are two (docs/cuda.md). */
export interface Convolver {
  /** Whether it can do an epilogue along with a convolution; what it cannot do stays a step of its own. */
  fuses(spec: Spec, workspace: number): boolean;
  /** Prepares a convolution on addresses, with at most `workspace` bytes at `scratch`. */
  bind(spec: Spec, tensors: Tensors, scratch: bigint, workspace: number): BoundConvolution;
  /** Frees everything. */
  close(): void;
}

/** What is known of a spec: its plans and their uses, or that cuDNN cannot do it at all, which is worth remembering too. */
type Entry = { readonly plans: ConvolutionPlans; uses: number } | { readonly unsupported: string };

/** Specs whose plans are kept when the last program that uses them goes. Some have code compiled for them. */
const KEPT = 256;

/** Convolutions by cuDNN's graph API: a graph and its plans for each spec, made once. */
export class GraphConvolver implements Convolver {
  readonly #cudnn: Cudnn;
  readonly #handle: bigint;
  readonly #entries = new Map<string, Entry>();

  constructor(cudnn: Cudnn, handle: bigint) {
    this.#cudnn = cudnn;
    this.#handle = handle;
  }

  fuses(spec: Spec, workspace: number): boolean {
    const entry = this.#entry(spec);
    return "plans" in entry && "plan" in entry.plans.choose(workspace);
  }

  bind(spec: Spec, tensors: Tensors, scratch: bigint, workspace: number): BoundConvolution {
    const entry = this.#entry(spec);
    if ("unsupported" in entry) throw cannot(spec, entry.unsupported);
    const { plans } = entry;
    const chosen = plans.choose(workspace);
    if ("refused" in chosen) {
      throw cannot(spec, `none of its ${plans.candidates.length} engines fits: ${summary(chosen.refused)}`);
    }
    const pack = plans.bind(tensors, scratch);
    entry.uses++;
    return {
      run: () =>
        checkCudnn(
          this.#cudnn,
          this.#cudnn.cudnnBackendExecute(this.#handle, chosen.plan, pack),
          `running ${nameOf(spec)}`,
        ),
      dispose: () => {
        plans.unbind(pack);
        if (--entry.uses > 0 || this.#entries.size <= KEPT) return;
        this.#entries.delete(keyOf(spec));
        plans.close();
      },
    };
  }

  close(): void {
    for (const entry of this.#entries.values()) if ("plans" in entry) entry.plans.close();
    this.#entries.clear();
  }

  #entry(spec: Spec): Entry {
    const key = keyOf(spec);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      try {
        entry = { plans: new ConvolutionPlans(this.#cudnn, spec, { handle: this.#handle }), uses: 0 };
      } catch (error) {
        // Only cuDNN's own "not supported" is an answer; a graph built wrongly must not pass for one.
        if (!(error instanceof LibraryError && isUnsupported(error.status))) throw error;
        entry = { unsupported: error.message };
      }
      this.#entries.set(key, entry);
    }
    return entry;
  }
}

function keyOf(spec: Spec): string {
  return JSON.stringify(spec);
}

/** What to call a spec in messages. */
export function nameOf(spec: Spec): string {
  const operands = roles[spec.op].slice(0, 2).map((role) => `${role} [${spec[role].join(",")}]`);
  return `${spec.op}(${operands.join(", ")}) in ${spec.precision}`;
}

/** The error for a convolution that cuDNN does not do. */
export function cannot(spec: Spec, why: string): LocalgradError {
  return new LocalgradError(
    `cuDNN cannot do ${nameOf(spec)}: ${why}; try another precision, or device webgpu or cpu`,
  );
}

/** Reasons with how often each occurs. */
function summary(reasons: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return Array.from(counts, ([reason, count]) => count > 1 ? `${count} × ${reason}` : reason).join("; ");
}
