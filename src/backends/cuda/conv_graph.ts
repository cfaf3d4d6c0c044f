import { checkCudnn, type Cudnn, isUnsupported } from "../../../ffi/cudnn.ts";
import {
  type BoundConv,
  cannotRun,
  type Convolver,
  type ConvSpec,
  type ConvTensors,
  describeConv,
} from "./conv.ts";
import { ConvPlans } from "./conv_plans.ts";

/** The plans of a spec and the number of launches that use them; or the reason why cuDNN has none. */
type Entry = { readonly plans: ConvPlans; uses: number } | { readonly unsupported: string };

/** The most specs to keep plans of once no program uses them. Some plans have code that was compiled for them. */
const MAX_KEPT = 256;

/** Runs convolutions through cuDNN's graph API; builds the graph and plans of each spec once. */
export class GraphConvolver implements Convolver {
  readonly #cudnn: Cudnn;
  readonly #handle: bigint;
  readonly #entries = new Map<string, Entry>();

  constructor(cudnn: Cudnn, handle: bigint) {
    this.#cudnn = cudnn;
    this.#handle = handle;
  }

  fuses(spec: ConvSpec, workspace: number): boolean {
    const entry = this.#entry(spec);
    return "plans" in entry && "plan" in entry.plans.choose(workspace);
  }

  bind(spec: ConvSpec, tensors: ConvTensors, scratch: bigint, workspace: number): BoundConv {
    const entry = this.#entry(spec);
    if ("unsupported" in entry) throw cannotRun(spec, entry.unsupported);
    const { plans } = entry;
    const chosen = plans.choose(workspace);
    if ("refused" in chosen) {
      throw cannotRun(spec, `none of its ${plans.candidates.length} engines fits: ${tally(chosen.refused)}`);
    }
    const pack = plans.bind(tensors, scratch);
    entry.uses++;
    return {
      run: () =>
        checkCudnn(
          this.#cudnn,
          this.#cudnn.cudnnBackendExecute(this.#handle, chosen.plan, pack),
          `running ${describeConv(spec)}`,
        ),
      dispose: () => {
        plans.unbind(pack);
        if (--entry.uses > 0 || this.#entries.size <= MAX_KEPT) return;
        this.#entries.delete(keyOf(spec));
        plans.close();
      },
    };
  }

  close(): void {
    for (const entry of this.#entries.values()) if ("plans" in entry) entry.plans.close();
    this.#entries.clear();
  }

  #entry(spec: ConvSpec): Entry {
    const key = keyOf(spec);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      try {
        entry = { plans: new ConvPlans(this.#cudnn, spec, { handle: this.#handle }), uses: 0 };
      } catch (error) {
        // Only "unsupported" is an answer worth keeping; a graph that we built wrongly must not pass for one.
        if (!isUnsupported(error)) throw error;
        entry = { unsupported: error.message };
      }
      this.#entries.set(key, entry);
    }
    return entry;
  }
}

function keyOf(spec: ConvSpec): string {
  return JSON.stringify(spec);
}

/** Reasons, each with the number of times it occurs. */
function tally(reasons: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return Array.from(counts, ([reason, count]) => count > 1 ? `${count} × ${reason}` : reason).join("; ");
}
