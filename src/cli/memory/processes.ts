import { formatBytes } from "../../artifacts/format.ts";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { bytesOfSize } from "../../base/size.ts";
import { keysOf } from "../../base/keys.ts";
import type { Target } from "../../compile/plan.ts";
import * as local from "../../local.ts";
import { divide } from "../../local/processes/division.ts";
import { type Link, parallelTime, TYPICAL_LINK } from "../../local/processes/exchange_time.ts";
import type { Exchange } from "../../local/processes/exchange.ts";
import { formatLayout, type Layout, layoutOf } from "../../local/processes/layout.ts";
import {
  type ExchangedBytes,
  planAlone,
  planProcesses,
  type ProcessPlan,
  totalOf,
} from "../../local/processes/plans.ts";
import { reserveIn } from "../../local/limit/options.ts";
import { type Speeds, TYPICAL } from "../../local/step_time.ts";
import type { networkFlags } from "../settings.ts";
import { exchangeFrom, parallelOf } from "../team.ts";
import {
  type Flags,
  type Given,
  numberFromZero,
  oneOf,
  positiveNumber,
  wholeNumber,
} from "../flags/flags.ts";

/** Speeds of devices to predict with. Those of a card are assumed: about half of the peaks in its data sheet. */
const DEVICES = {
  core: { ...TYPICAL, launch: 0 },
  h200: { operations: 250e12, bytes: 2.4e12, launch: 2e-6 },
} as const satisfies { readonly [name: string]: Required<Speeds> };

/** Flags of `memory` for several processes. */
export const processFlags = {
  processes: {
    value: "N",
    help: "plan for N processes: the memory of each, what it sends, and a predicted time",
  },
  parallel: {
    value: "data|modules|DxM",
    help: "processes: what they divide: batches, modules (default), or both: 2x4 is two pipelines of four",
  },
  exchange: {
    value: "exact|stale|stale:N",
    help: "processes: the block that MAN tracks, see train; default exact",
  },
  queue: { value: "N", help: "processes: batches whose features wait to be sent at most; default 1" },
  speeds: {
    value: `${keysOf(DEVICES).join("|")}|OPS,BYTES`,
    help:
      "processes, frontier: operations and bytes of memory a second of each, to predict times: core (default) is 20e9,5e9, " +
      "one core of a CPU; h200 is 250e12,2.4e12 and 2 µs to start a kernel, about half of a card's peaks",
  },
  "link-speed": {
    value: "GBS",
    help: "processes: 10⁹ bytes a second between two of them, each way; default 2",
  },
  "link-latency": { value: "US", help: "processes: microseconds until a message arrives; default 20" },
} as const satisfies Flags;

/** What the flags say about processes. */
export interface Processes {
  readonly layout: Layout;
  readonly depth: number;
  readonly exchange: Exchange;
  /** What the step of each may need, in bytes. */
  readonly limit?: number;
  readonly speeds: Required<Speeds>;
  readonly link: Link;
}

/** Reads the flags; undefined if there are none. */
export function processesFrom(
  given: Given<typeof processFlags & Pick<typeof networkFlags, "memory-limit">>,
): Processes | undefined {
  const depth = given.queue === undefined ? 1 : wholeNumber("queue", given.queue, 1);
  if (given.processes === undefined) {
    const idle = keysOf(processFlags).find((name) => given[name] !== undefined);
    if (idle === undefined) return undefined;
    throw new LocalgradError(`--${idle} is for several processes; give --processes too`);
  }
  const processes = wholeNumber("processes", given.processes, 1);
  const parallel = parallelOf(given.parallel ?? "modules");
  const limit = given["memory-limit"] === undefined
    ? undefined
    : bytesOfSize("--memory-limit", given["memory-limit"]);
  const bytes = given["link-speed"], latency = given["link-latency"];
  return {
    layout: layoutOf(parallel, processes),
    depth,
    exchange: exchangeFrom(given.exchange ?? "exact"),
    ...(limit === undefined ? {} : { limit }),
    speeds: speedsFrom(given.speeds ?? "core"),
    link: {
      bytes: bytes === undefined ? TYPICAL_LINK.bytes : 1e9 * positiveNumber("link-speed", bytes),
      latency: latency === undefined ? TYPICAL_LINK.latency : 1e-6 * numberFromZero("link-latency", latency),
    },
  };
}

/** Processes whose limit also holds for this many bytes on the device of each. */
export function beside({ limit, ...processes }: Processes, reserve: number): Processes {
  if (limit === undefined) return processes;
  return { ...processes, limit: limit - reserveIn("memory", reserve, limit) };
}

/** Reads `--speeds`. */
export function speedsFrom(text: string): Required<Speeds> {
  if (!text.includes(",")) return DEVICES[oneOf("speeds", text, keysOf(DEVICES))];
  const [operations, bytes, ...more] = text.split(",").map((part) => positiveNumber("speeds", part));
  if (operations === undefined || bytes === undefined || more.length > 0) {
    throw new LocalgradError(`--speeds needs two numbers, operations and bytes a second, not "${text}"`);
  }
  return { operations, bytes, launch: 0 };
}

/**
 * The cut for processes in a row: balanced boundaries are those of the lowest time of the slowest within the limit. There
 * are at least as many modules as such processes, if their number is not given.
 */
export function cutFor(
  { layout, limit, speeds }: Processes,
  setup: local.CutOptions,
): local.Modules {
  const { modules = 1 } = setup;
  if (layout.modules === 1 || typeof modules !== "object" || !("balanced" in modules)) return modules;
  const share = Math.ceil(setup.batch / layout.data);
  return local.balanced({
    ...setup,
    ...{ modules: modules.balanced, by: "time", batch: share, speeds },
    ...(limit === undefined ? {} : { limit }),
  });
}

/** The planned processes of a setup. */
export interface PlannedProcesses extends Processes {
  readonly batch: number;
  /** The single process. */
  readonly alone: ProcessPlan;
  /** The processes of a pipeline; there are as many of each as shares of a batch. */
  readonly plans: readonly ProcessPlan[];
  /** Seconds of a step of the single process, and of all together. */
  readonly seconds: { readonly alone: number; readonly together: number };
  /** Seconds of a step in which each process computes. */
  readonly computing: readonly number[];
}

/**
 * Plans the processes of a setup. Allocates nothing. Within a limit each recomputes as much as it takes, as a trainer's do,
 * unless it is said whether to.
 */
export function planFor(
  processes: Processes,
  setup: local.Setup,
  batch: number,
  target: Target,
  wanted?: boolean,
): PlannedProcesses {
  const { layout, limit, depth, exchange, speeds, link } = processes;
  const recompute = wanted ?? (limit === undefined ? false : { limit });
  const options = { layout, depth, recompute };
  const runs = divide(setup, {
    ...options,
    batch,
    target,
    speeds,
    ...(limit === undefined ? {} : { limit }),
  });
  const plans = planProcesses(setup, batch, target, { ...options, exchange, runs });
  const most = Math.max(...plans.map(({ memory }) => memory.peakBytes));
  if (limit !== undefined && most > limit) {
    throw new LocalgradError(
      `the limit is ${formatBytes(limit)}, but a process needs ${
        formatBytes(most)
      }; allow that much, or use smaller ` +
        "batches or --parallel modules",
    );
  }
  const alone = planAlone(setup, batch, target, { recompute: wanted ?? false });
  const { step, computing } = parallelTime(plans, layout, speeds, link);
  const single = parallelTime([alone], { data: 1, modules: 1 }, speeds, link).step;
  return { ...processes, batch, alone, plans, seconds: { alone: single, together: step }, computing };
}

/** Planned processes as JSON. */
export function processesJson(
  { layout, depth, exchange, limit, speeds, link, batch, alone, plans, seconds, computing }: PlannedProcesses,
  { modules }: local.Setup,
) {
  const memory = ({ memory: { peakBytes, breakdown } }: ProcessPlan) => ({ peakBytes, breakdown });
  return {
    ...{ layout, batch, depth, exchange },
    ...(limit === undefined ? {} : { limit }),
    predictedWith: { speeds, link },
    alone: { ...memory(alone), seconds: seconds.alone },
    processes: plans.map((plan, i) => ({
      ranks: layout.data,
      modules: namesOf(plan, modules),
      images: plan.images,
      ...memory(plan),
      sent: plan.sent,
      received: plan.received,
      computingSeconds: at(computing, i),
    })),
    seconds: seconds.together,
    imagesPerSecond: batch / seconds.together,
    speedup: seconds.alone / seconds.together,
  };
}

function namesOf({ run: { first, end } }: ProcessPlan, modules: local.Setup["modules"]): string[] {
  return modules.slice(first, end).map(({ name }) => name);
}

/** Planned processes for people, as tables. */
export function processesText(
  { layout, speeds, link, batch, alone, plans, seconds, computing }: PlannedProcesses,
  { modules }: local.Setup,
  table: (heads: readonly string[], rows: readonly (readonly string[])[]) => string,
): string {
  const count = layout.data * layout.modules;
  const own = ({ run: { first, end } }: ProcessPlan) =>
    end - first === modules.length
      ? "all"
      : end - first === 1
      ? `${end} of ${modules.length}`
      : `${first + 1}–${end} of ${modules.length}`;
  const exchanged = (bytes: ExchangedBytes) => totalOf(bytes) === 0 ? "" : formatBytes(totalOf(bytes));
  const rows = plans.map((plan, i) => {
    const { memory: { peakBytes }, sent, received } = plan;
    return [
      layout.data === 1 ? `${i + 1}` : `${layout.data} of part ${i + 1}`,
      own(plan),
      `${plan.images}`,
      formatBytes(peakBytes),
      (peakBytes / alone.memory.peakBytes).toFixed(3),
      exchanged({ ...sent, blocks: 0, gradients: 0 }),
      exchanged({ ...sent, features: 0, gradients: 0 }),
      exchanged({ ...sent, features: 0, blocks: 0 }),
      exchanged(received),
      formatSeconds(at(computing, i)),
    ];
  });
  const single = [
    ...["alone", "all", `${batch}`, formatBytes(alone.memory.peakBytes), "1", "", "", "", ""],
    formatSeconds(seconds.alone),
  ];
  const heads = [
    ...["process", "modules", "images", "peak", "of alone", "sends features", "blocks", "gradients"],
    ...["receives", "computes"],
  ];
  const { operations, bytes, launch } = speeds;
  return [
    `${count} process${count === 1 ? "" : "es"}, ${
      formatLayout(layout)
    } (shares of a batch × runs of modules)`,
    table(heads, [single, ...rows]),
    `predicted, not measured: ${formatSeconds(seconds.together)} a step, ` +
    `${Math.round(batch / seconds.together)} images/s, ${
      (seconds.alone / seconds.together).toFixed(2)
    } × one process`,
    `with ${operations.toExponential()} operations and ${bytes.toExponential()} bytes a second, ` +
    `${launch * 1e6} µs to start a kernel; links of ${link.bytes / 1e9} GB/s each way and ` +
    `${+(link.latency * 1e6).toPrecision(3)} µs`,
  ].join("\n\n");
}

/** Formats seconds: `1.87 s`, `12.3 ms`. */
function formatSeconds(seconds: number): string {
  return seconds >= 1 ? `${seconds.toPrecision(3)} s` : `${+(1000 * seconds).toPrecision(3)} ms`;
}
