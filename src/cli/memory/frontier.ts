import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { keysOf } from "../../base/keys.ts";
import type { Plan, Target } from "../../compile/plan.ts";
import * as local from "../../local.ts";
import { typicalSpeeds } from "../../local/limit/options.ts";
import { totalTime } from "../../local/step_time.ts";
import { setupOf } from "../build.ts";
import { type Cut, modulesOf } from "../cut.ts";
import { isBest, worthwhile } from "./frontier_marks.ts";
import { type GivenOptions, methodOf, optionsOf, takes } from "../flags/method.ts";
import type { MethodName, Settings } from "../settings.ts";
import type { TrainedWay } from "./trained_ways.ts";

/** Methods that are compared if none are given. */
const METHODS = ["endToEnd", "endToEnd+checkpoint", "greedy", "dgl", "man+dgl", "augLocal"] as const;
/** The numbers of modules of local methods; each is the published split if there is one, else even, and balanced. */
const COUNTS: readonly number[] = [2, 3, 4, 8, 16];
/** The limits that each way is also planned within, as shares of its plain peak. */
const SHARES: readonly number[] = [0.75, 0.6, 0.45, 0.3];

/** A planned way to train. */
export interface FrontierRow {
  /** The method as `--method` takes it, and its options. */
  readonly method: MethodName;
  readonly options: GivenOptions;
  /** The number of its modules. */
  readonly modules: number;
  /** The rule that they were cut by. */
  readonly split: string;
  /** The limit that it recomputes for, in bytes, if it does. */
  readonly limit?: number;
  readonly peakBytes: number;
  /** The predicted time of a step. */
  readonly seconds: number;
  /** The kept test error, a fraction: the mean over seeds, and the errors of those. Recomputing does not change it. */
  readonly error?: number;
  readonly errors?: readonly number[];
  /** The median time of a step that was measured, in seconds, where it was; of rows that recompute nothing. */
  readonly stepSeconds?: number;
  /** True if no other row needs as little in less time or as little time with less. */
  readonly best: boolean;
  /**
   * True if its error is known, and no other row that is worth its cost needs as few bytes and as little time with an error
   * less than a point higher.
   */
  readonly worth: boolean;
}

/** Options of {@link frontierOf}. */
export interface FrontierOptions {
  /** The methods to compare; default some, as far as the network can be cut for them. */
  readonly methods?: readonly MethodName[];
  /** Default typical ones of the device's kind. */
  readonly speeds?: local.Speeds;
  /** Ways whose errors are known, which are planned too. */
  readonly trained?: readonly TrainedWay[];
}

/** A way to plan. */
interface Candidate extends Pick<FrontierRow, "method" | "options" | "error" | "errors" | "stepSeconds"> {
  readonly setup: local.Setup;
  readonly split: string;
}

/** Plans methods and cuts, without and with recomputation within limits. Allocates nothing. */
export function frontierOf(settings: Settings, target: Target, options: FrontierOptions = {}): FrontierRow[] {
  const { speeds = typicalSpeeds(target) } = options;
  const rows = candidatesOf(settings, target, options).flatMap(({ setup, stepSeconds, ...way }) => {
    const row = (plan: Plan, limit?: number) => ({
      ...{ ...way, modules: setup.modules.length },
      ...(limit === undefined ? stepSeconds === undefined ? {} : { stepSeconds } : { limit }),
      peakBytes: plan.memory.peakBytes,
      seconds: totalTime(local.stepTime(plan, setup.modules.length, speeds)),
    });
    const limitsOf = (peakBytes: number) => SHARES.map((share) => Math.floor(share * peakBytes));
    const all = ({ memory }: Plan) => [Infinity, ...limitsOf(memory.peakBytes)];
    const [whole, ...plans] = local.stepPlans(setup, settings.batch, target, all, speeds) as [
      Plan,
      ...Plan[],
    ];
    const plain = row(whole), limits = limitsOf(plain.peakBytes);
    // A limit that cannot be kept to gives the least plan, once.
    const within = plans.map((plan, i) => row(plan, at(limits, i)))
      .filter(({ peakBytes }, i, all) => peakBytes < (all[i - 1] ?? plain).peakBytes);
    return [plain, ...within];
  });
  const worth = worthwhile(rows);
  return rows.map((row) => ({ ...row, best: isBest(row, rows), worth: worth.has(row) }))
    .toSorted((a, b) => a.peakBytes - b.peakBytes);
}

/** The ways to plan, each once: those of the methods by every cut, and those that were trained. */
function candidatesOf(
  settings: Settings,
  target: Target,
  { methods: chosen, trained = [] }: FrontierOptions,
): Candidate[] {
  const { methodOptions = {}, ...others } = settings;
  const { modules: _modules, method: _method, ...run } = setupOf(others);
  const idle = keysOf(methodOptions).find((name) => !chosen?.some((method) => takes(method, name)));
  if (idle !== undefined) methodOf(settings.method, { [idle]: methodOptions[idle] }, settings.dataset); // refuses it
  const found = new Map<string, Candidate>();
  const methods = new Map<string, local.Method>(); // cuts by one method share what is planned for them
  const methodFor = (name: MethodName, options: GivenOptions): local.Method => {
    const key = JSON.stringify([name, options]);
    const method = methods.get(key) ?? methodOf(name, options, settings.dataset);
    methods.set(key, method);
    return method;
  };
  const add = (way: Pick<TrainedWay, "method" | "options" | "cut"> & Partial<TrainedWay>) => {
    const { method: name, options, cut, error, errors, stepSeconds } = way;
    const method = methodFor(name, options);
    const cutting = { ...run, method, modules: modulesOf(cut), batch: settings.batch, target };
    const setup = local.setup(local.withCut(cutting));
    const known = {
      ...(error === undefined || errors === undefined ? {} : { error, errors }),
      ...(stepSeconds === undefined ? {} : { stepSeconds }),
    };
    const key = JSON.stringify([name, options, setup.modules.map(({ name }) => name)]);
    const before = found.get(key);
    const split = typeof cut === "object" && "balanced" in cut ? "balanced" : setup.partition.how;
    found.set(key, { ...{ method: name, options, setup, split }, ...before, ...known });
  };
  const most = run.model.blocks.length;
  const counts = [...COUNTS.filter((count) => count < most), most].filter((count) => count > 1);
  for (const method of chosen ?? METHODS) {
    const options = optionsOf(method, methodOptions);
    const isLocal = methodFor(method, options).auxiliary !== undefined;
    const cuts: Cut[] = isLocal
      ? counts.flatMap((count) => count === most ? [count] : [count, { balanced: count }])
      : [1];
    const before = found.size;
    let refused: unknown;
    for (const cut of cuts) {
      try {
        add({ method, options, cut });
      } catch (error) {
        if (!(error instanceof LocalgradError)) throw error;
        refused = error; // some methods cannot be cut into so few
      }
    }
    if (chosen !== undefined && found.size === before && refused !== undefined) throw refused;
  }
  for (const way of trained) add(way);
  // Checkpoints change no bit of what is learned.
  const plain = trained.find(({ method }) => method === "endToEnd");
  if (plain !== undefined) {
    const { stepSeconds: _ofPlain, ...same } = plain;
    add({ ...same, method: "endToEnd+checkpoint" });
  }
  return [...found.values()];
}
