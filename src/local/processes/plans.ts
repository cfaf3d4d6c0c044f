import { at } from "../../base/at.ts";
import { expectWhole } from "../../base/expect.ts";
import { bytesSent } from "../../compile/collectives.ts";
import type { MemoryReport, Plan, Target } from "../../compile/plan.ts";
import { jit } from "../../runtime/jit.ts";
import { type Aval, bytesOf } from "../../trace/dtype.ts";
import {
  type Category,
  type CollectiveInstruction,
  isCollectiveInstruction,
  type ValueId,
} from "../../trace/program.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { treeLeaves } from "../../trace/tree.ts";
import {
  type BlockExchange,
  DATA,
  type Exchange,
  messageOf,
  MODULES,
  type Part,
  type Tracked,
  trackedBy,
  trackedIn,
} from "./exchange.ts";
import { ALONE, type Layout, type Place } from "./layout.ts";
import { categorize, type PlanOptions } from "../memory.ts";
import type { Batch } from "../method.ts";
import { partOf } from "./part.ts";
import type { ModuleRun } from "./runs.ts";
import { expectSetup, type Setup, type TrainState } from "../setup.ts";
import { shareOf } from "./shares.ts";
import { trainStep } from "../step.ts";
import { batchAvals, scalarAvals } from "../step_inputs.ts";

/** Options of {@link planProcesses}. */
export interface ProcessPlanOptions extends PlanOptions {
  /** The numbers of processes. */
  readonly layout: Layout;
  /** The modules of each process of a pipeline. */
  readonly runs: readonly ModuleRun[];
  /** The most batches whose features wait to be sent; default 1. */
  readonly depth?: number;
  /** Which state of the next process's first block is tracked; default `exact`. */
  readonly exchange?: Exchange;
}

/** The bytes that a process exchanges in a step. */
export interface ExchangedBytes {
  /** Features, to the process of the next modules. */
  readonly features: number;
  /** The tracked block, to the process of the modules before. */
  readonly blocks: number;
  /** Gradients, statistics and losses, among those that share a batch. */
  readonly gradients: number;
}

/** The planned step of one process. */
export interface ProcessPlan {
  /** Its place; where processes share a batch, of one with the largest share. */
  readonly place: Place;
  /** Its modules. */
  readonly run: ModuleRun;
  /** Its images. */
  readonly images: number;
  /** The plan of its step. */
  readonly plan: Plan;
  /** Its planned memory, without the data set and without parts of a batch that its modules do not read. */
  readonly memory: MemoryReport;
  /** What it sends. */
  readonly sent: ExchangedBytes;
  /** What it receives. */
  readonly received: ExchangedBytes;
}

/**
 * Plans the step of each process of a pipeline: its own program. Processes that share batches have the same plans as
 * these. Allocates nothing.
 */
export function planProcesses(
  setup: Setup,
  batch: number,
  target: Target,
  options: ProcessPlanOptions,
): ProcessPlan[] {
  return options.runs.map((_, modules) => planProcess(setup, batch, target, options, modules));
}

/** Plans the step of the process with run `modules`. */
export function planProcess(
  setup: Setup,
  batch: number,
  target: Target,
  { layout, runs, depth, exchange = "exact", recompute = false }: ProcessPlanOptions,
  modules: number,
): ProcessPlan {
  expectSetup("planProcess", setup);
  expectWhole("planProcess: the batch", batch);
  const sharing = layout.data > 1;
  const shares = Array.from({ length: layout.data }, (_, i) => shareOf(batch, layout.data, i));
  const sizes = shares.map(({ from, to }) => to - from);
  const data = sizes.indexOf(Math.max(...sizes));
  const share = at(shares, data), images = at(sizes, data);
  const place = { data, modules };
  const part = partOf(setup, { layout, place, runs, exchange, ...(depth === undefined ? {} : { depth }) });
  const step = jit(
    (
      train: TrainState<Tensor>,
      _data: Record<never, never>,
      batch: Batch,
      scalars: { [name: string]: Tensor },
      tracked: Tracked,
    ) => trainStep(part, train, batch, scalars, sharing ? share : undefined, tracked),
    { name: `${setup.method.name} step`, donate: [0], categorize, recompute },
  );
  const unlimited = {
    ...target,
    maxTotalBytes: Infinity,
    groups: { [DATA]: layout.data, [MODULES]: layout.modules },
  };
  const batches = batchAvals(setup.model, images);
  const plan = step.plan(unlimited, part.initial, {}, batches, scalarAvals(setup), trackedIn(part.part));
  const { sent, received } = exchangedIn(plan, layout);
  const outside = outsideOf(part.part);
  return {
    place,
    images,
    plan,
    run: at(runs, modules),
    memory: withoutUnread(plan),
    sent: { ...sent, blocks: sent.blocks + outside.sent },
    received: { ...received, blocks: received.blocks + outside.received },
  };
}

/** The memory of a plan without the parts of a batch that nothing reads: a trainer computes none of them. */
function withoutUnread({ inputs, steps, outputs, values, locations, memory }: Plan): MemoryReport {
  const read = new Set<number>();
  const reading = (value: ValueId) => {
    const location = at(locations, value);
    if (location?.kind === "input") read.add(location.index);
  };
  for (const { value } of outputs) reading(value);
  for (const step of steps) {
    for (const value of step.kind === "op" ? step.instruction.inputs : step.kernel.inputs) reading(value);
  }
  const unread = inputs.filter(({ category }, i) => category === BATCH && !read.has(i))
    .reduce((sum, { value }) => sum + bytesOf(at(values, value)), 0);
  const { peakBytes, breakdown } = memory;
  return {
    ...memory,
    peakBytes: peakBytes - unread,
    breakdown: { ...breakdown, [BATCH]: (breakdown[BATCH] ?? 0) - unread },
  };
}

/** The category of a batch. */
const BATCH: Category = "inputs";

/** The bytes of tracked blocks that a process exchanges outside of its program, in the mean of its steps. */
function outsideOf(part: Part | undefined): { readonly sent: number; readonly received: number } {
  const bytes = (exchange: BlockExchange | undefined): number => {
    const { before, after } = trackedBy(part?.staleEvery === undefined ? undefined : exchange);
    const leaves = treeLeaves<Aval>([before.params, before.state, after.params, after.state]);
    return leaves.reduce((sum, aval) => sum + bytesOf(aval), 0) / (part?.staleEvery ?? 1);
  };
  return { sent: bytes(part?.sends), received: bytes(part?.reads) };
}

/** Adds up what the exchanges of a plan move. */
function exchangedIn(
  { steps, values }: Plan,
  layout: Layout,
): { readonly sent: ExchangedBytes; readonly received: ExchangedBytes } {
  const nothing = { features: 0, blocks: 0, gradients: 0 };
  const sent = { ...nothing }, received = { ...nothing };
  for (const step of steps) {
    if (step.kind !== "op" || !isCollectiveInstruction(step.instruction)) continue;
    const { instruction } = step;
    switch (instruction.op) {
      case "send":
        sent[kindOf(instruction.attrs.tag)] += bytesOf(at(values, instruction.inputs[0]));
        break;
      case "receive":
        received[kindOf(instruction.attrs.tag)] += bytesOf(at(values, instruction.output));
        break;
      default: {
        const bytes = bytesSent(instruction, values, sizeOfGroup(instruction, layout));
        sent.gradients += bytes;
        received.gradients += bytes;
      }
    }
  }
  return { sent, received };
}

function kindOf(tag: number): "features" | "blocks" {
  return messageOf(tag) === "features" ? "features" : "blocks";
}

/** The number of processes of the group of an exchange. */
export function sizeOfGroup({ attrs: { group } }: CollectiveInstruction, layout: Layout): number {
  return group === DATA ? layout.data : group === MODULES ? layout.modules : layout.data * layout.modules;
}

/** All that a process exchanges in one direction. */
export function totalOf({ features, blocks, gradients }: ExchangedBytes): number {
  return features + blocks + gradients;
}

/** The planned step of a single process. */
export function planAlone(
  setup: Setup,
  batch: number,
  target: Target,
  options: PlanOptions = {},
): ProcessPlan {
  const runs = [{ first: 0, end: setup.modules.length }];
  return planProcess(setup, batch, target, { ...options, layout: ALONE, runs }, 0);
}
