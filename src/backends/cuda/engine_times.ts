import { createHash } from "node:crypto";
import { at } from "../../base/at.ts";
import type { CardFacts } from "./card.ts";
import type { ConvPlans, ExecutionPlan } from "./conv_plans.ts";
import type { EngineTimer } from "./engine_timer.ts";

/** The engines of a convolution that are timed. */
const MOST = 8;

/** An engine has to be faster by this share to take the place of one that the heuristics offer before it. */
const MARGIN = 0.03;

/** What is known of an engine: its scratch and, once it was timed, its milliseconds; null if it is refused. */
type Known = { readonly workspace: number; readonly milliseconds?: number } | null;

/** What the times of engines depend on, beside the convolution. */
export interface Surroundings {
  readonly card: CardFacts;
  /** cuDNN's version. */
  readonly cudnn: number;
  /** The folder where times are kept; false to keep none. */
  readonly folder: string | false;
}

/**
 * Chooses the engine of each convolution by time: of the first eight that may be taken and have enough scratch, the
 * fastest, or the first of those that are almost as fast. Times are kept in memory and on disk.
 */
export class TimedEngines {
  readonly #timer: EngineTimer;
  readonly #surroundings: Surroundings;
  /** By convolution, what is known of its first candidates, in their order. */
  readonly #known = new WeakMap<ConvPlans, Known[]>();

  constructor(timer: EngineTimer, surroundings: Surroundings) {
    this.#timer = timer;
    this.#surroundings = surroundings;
  }

  /**
   * The plan to take with `workspace` bytes of scratch; undefined if the first one that fits was never timed. `run` runs a
   * plan, and returns false if it cannot be run; without it nothing is timed.
   */
  choose(
    plans: ConvPlans,
    workspace: number,
    run?: (plan: ExecutionPlan) => boolean,
  ): ExecutionPlan | undefined {
    let known = this.#known.get(plans);
    if (known === undefined) this.#known.set(plans, known = this.#read(plans));
    for (;;) {
      if (run !== undefined && this.#timer.mayGoOn && !listed(known, plans, workspace).isComplete) {
        this.#measure(plans, workspace, known, run);
        this.#write(plans, known);
      }
      const index = fastest(listed(known, plans, workspace).timed);
      if (index === undefined) return undefined;
      // What was read may be of another library of the same version, so it is checked.
      const plan = plans.consider(at(plans.candidates, index));
      if ("plan" in plan && plan.workspace <= workspace) return plan;
      known[index] = "plan" in plan ? { workspace: plan.workspace } : null;
    }
  }

  /** Times what has not been timed, as far as the budget lasts. */
  #measure(
    plans: ConvPlans,
    workspace: number,
    known: Known[],
    run: (plan: ExecutionPlan) => boolean,
  ): void {
    this.#timer.session(() => {
      let left = MOST;
      for (let index = 0; index < plans.candidates.length && left > 0 && this.#timer.mayGoOn; index++) {
        let entry = known[index];
        if (entry === null || (entry !== undefined && entry.workspace > workspace)) continue;
        if (entry?.milliseconds === undefined) {
          const plan = plans.consider(at(plans.candidates, index));
          entry = "refused" in plan ? null : { workspace: plan.workspace };
          if ("plan" in plan && plan.workspace <= workspace) {
            const milliseconds = this.#timer.measure(() => run(plan));
            entry = milliseconds === undefined ? null : { ...entry, workspace: plan.workspace, milliseconds };
          }
          known[index] = entry;
        }
        if (entry?.milliseconds !== undefined) left--;
      }
    });
  }

  /** Everything that the times of a convolution's engines depend on. */
  #key({ spec, candidates: { length } }: ConvPlans): string {
    const { card: { name, architecture, multiprocessors, totalBytes }, cudnn } = this.#surroundings;
    return JSON.stringify({
      spec,
      card: { name, architecture, multiprocessors, totalBytes },
      cudnn,
      engines: length,
    });
  }

  #path(key: string): string {
    return `${this.#surroundings.folder}/${createHash("sha256").update(key).digest("hex")}.json`;
  }

  /** What an earlier run wrote; nothing if the file is absent, damaged or another's. */
  #read(plans: ConvPlans): Known[] {
    if (this.#surroundings.folder === false) return [];
    const key = this.#key(plans);
    try {
      const { of, engines }: Partial<Kept> = JSON.parse(Deno.readTextFileSync(this.#path(key)));
      if (of !== key || !Array.isArray(engines) || engines.length > plans.candidates.length) return [];
      return engines.every(isKnown) ? engines : [];
    } catch {
      return [];
    }
  }

  #write(plans: ConvPlans, engines: readonly Known[]): void {
    const { folder } = this.#surroundings;
    if (folder === false) return;
    const of = this.#key(plans);
    const path = this.#path(of);
    try {
      Deno.mkdirSync(folder, { recursive: true });
      // Renamed when complete, since two processes may time the same convolution.
      Deno.writeTextFileSync(`${path}.${Deno.pid}`, JSON.stringify({ of, engines } satisfies Kept));
      Deno.renameSync(`${path}.${Deno.pid}`, path);
    } catch { /* a full or read-only disk only costs another timing */ }
  }
}

/** The contents of a file of times. */
interface Kept {
  /** What they are of. */
  readonly of: string;
  readonly engines: readonly Known[];
}

function isKnown(value: unknown): value is Known {
  if (value === null) return true;
  if (typeof value !== "object" || !("workspace" in value)) return false;
  const milliseconds = "milliseconds" in value ? value.milliseconds : 0;
  return [value.workspace, milliseconds].every((number) => typeof number === "number" && number >= 0);
}

/** An engine's index among the candidates, and its time. */
interface Timed {
  readonly index: number;
  readonly milliseconds: number;
}

/**
 * The engines to choose from, up to the first of which the time is not known; and whether these are all: eight, or as many
 * as there are.
 */
function listed(
  known: readonly Known[],
  { candidates }: ConvPlans,
  workspace: number,
): { readonly timed: readonly Timed[]; readonly isComplete: boolean } {
  const timed: Timed[] = [];
  for (let index = 0; index < candidates.length && timed.length < MOST; index++) {
    const entry = known[index];
    if (entry === null || (entry !== undefined && entry.workspace > workspace)) continue;
    if (entry?.milliseconds === undefined) return { timed, isComplete: false };
    timed.push({ index, milliseconds: entry.milliseconds });
  }
  return { timed, isComplete: true };
}

/** The first engine that is slower than the fastest by no more than the margin; undefined if there is none. */
function fastest(timed: readonly Timed[]): number | undefined {
  const least = Math.min(...timed.map(({ milliseconds }) => milliseconds));
  return timed.find(({ milliseconds }) => milliseconds * (1 - MARGIN) <= least)?.index;
}
