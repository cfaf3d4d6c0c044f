import { checkCudnn, type Cudnn, isRefusal, isUnsupported } from "../../../ffi/cudnn.ts";
import type { Card } from "./card.ts";
import {
  type BoundConv,
  cannotRun,
  type Convolver,
  type ConvSpec,
  type ConvTensors,
  describeConv,
} from "./conv.ts";
import { ConvPlans, type ExecutionPlan } from "./conv_plans.ts";
import type { TimedEngines } from "./engine_times.ts";

/** The plans of a spec and the number of launches that use them; or the reason why cuDNN has none. */
type Entry = { readonly plans: ConvPlans; uses: number } | { readonly unsupported: string };

/** The most specs to keep plans of once no program uses them. Some plans have code that was compiled for them. */
const MAX_KEPT = 256;

/** Runs convolutions through cuDNN's graph API; builds the graph and plans of each spec once. */
export class GraphConvolver implements Convolver {
  readonly #cudnn: Cudnn;
  readonly #handle: bigint;
  readonly #card: Card;
  readonly #engines: TimedEngines | undefined;
  readonly #entries = new Map<string, Entry>();
  /** The stream of the handle. */
  #stream: bigint;

  /** Without `engines` each convolution takes the first engine that the heuristics offer. */
  constructor(cudnn: Cudnn, handle: bigint, card: Card, engines?: TimedEngines) {
    this.#cudnn = cudnn;
    this.#handle = handle;
    this.#card = card;
    this.#engines = engines;
    this.#stream = card.stream;
  }

  fuses(spec: ConvSpec, workspace: number): boolean {
    const entry = this.#entry(spec);
    return "plans" in entry && "plan" in entry.plans.choose(workspace);
  }

  bind(spec: ConvSpec, tensors: ConvTensors, scratch: bigint, workspace: number): BoundConv {
    const entry = this.#entry(spec);
    if ("unsupported" in entry) throw cannotRun(spec, entry.unsupported);
    const { plans } = entry;
    first(plans, workspace); // throws here if there is none, before a run has overwritten anything
    let chosen: ExecutionPlan | undefined;
    const pack = plans.bind(tensors, scratch); // serves every plan of the graph
    entry.uses++;
    return {
      run: (mayWait) => {
        const run = (plan: ExecutionPlan) => this.#run(plans, plan, pack);
        const choose = () =>
          this.#engines?.choose(plans, workspace, mayWait ? run : undefined) ?? first(plans, workspace);
        chosen ??= choose();
        while (!run(chosen)) chosen = choose();
      },
      dispose: () => {
        plans.unbind(pack);
        if (--entry.uses > 0 || this.#entries.size <= MAX_KEPT) return;
        this.#entries.delete(keyOf(spec));
        plans.close();
      },
    };
  }

  useStream(stream: bigint): void {
    if (stream === this.#stream) return;
    checkCudnn(this.#cudnn, this.#cudnn.cudnnSetStream(this.#handle, stream), "setting the stream");
    this.#stream = stream;
  }

  close(): void {
    for (const entry of this.#entries.values()) if ("plans" in entry) entry.plans.close();
    this.#entries.clear();
  }

  /**
   * Runs a plan. A plan that was finalised may still fail when it is run. If it never ran before, this refuses it and
   * returns false. A capture cannot come to that: it follows a run of the same launches.
   */
  #run(plans: ConvPlans, chosen: ExecutionPlan, pack: bigint): boolean {
    const status = this.#cudnn.cudnnBackendExecute(this.#handle, chosen.plan, pack);
    if (status === 0) return chosen.proved = true;
    try {
      checkCudnn(this.#cudnn, status, `running ${describeConv(plans.spec)}`);
    } catch (error) {
      if (chosen.proved || !isRefusal(error)) throw error;
      this.#card.throwFault(); // then no plan is at fault
      plans.refuse(chosen, error.message);
    }
    return false;
  }

  #entry(spec: ConvSpec): Entry {
    const key = keyOf(spec);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      try {
        entry = { plans: new ConvPlans(this.#cudnn, spec, { handle: this.#handle }), uses: 0 };
      } catch (error) {
        if (!isRefusal(error)) throw error; // a graph that we described wrongly must not pass for an unsupported one
        entry = { unsupported: error.message };
        if (!isUnsupported(error)) return entry; // may be different the next time
      }
      this.#entries.set(key, entry);
    }
    return entry;
  }
}

/** The first plan that can be run. Throws a LocalgradError with the reasons if there is none. */
function first(plans: ConvPlans, workspace: number): ExecutionPlan {
  const chosen = plans.choose(workspace);
  if ("plan" in chosen) return chosen;
  throw cannotRun(
    plans.spec,
    `none of its ${plans.candidates.length} engines works: ${tally(chosen.refused)}`,
  );
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
