import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { plainOf, reachOf } from "../../models/context.ts";
import { inputShape } from "../../models/model.ts";
import { shapeAfter } from "../../nn/layer.ts";
import { descend, merge } from "../../nn/named.ts";
import type { Initial } from "../../nn/initial.ts";
import { jit } from "../../runtime/jit.ts";
import type { Aval, Shape } from "../../trace/dtype.ts";
import type { Program } from "../../trace/program.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { slotsOf } from "../average.ts";
import { ALONE, type Layout, type Place } from "./layout.ts";
import { withLoss } from "../loss.ts";
import type { Batch, Variables } from "../method.ts";
import { placeOf } from "../places.ts";
import { activationsIn } from "../precision.ts";
import type { ModuleRun } from "./runs.ts";
import type { LocalModule, Setup, TrainState } from "../setup.ts";
import { trainModule } from "../step.ts";
import { batchAvals, scalarAvals } from "../step_inputs.ts";
import type { BlockExchange, Exchange, Part } from "./exchange.ts";

/** Options of {@link partOf}. */
export interface PartOptions {
  /** The numbers of processes. */
  readonly layout: Layout;
  /** The place of the process. */
  readonly place: Place;
  /** The modules of each run, from `runsOf`. */
  readonly runs: readonly ModuleRun[];
  /** The most batches whose features wait to be sent; default 1. */
  readonly depth?: number;
  /** Which state of the next process's first block is tracked; default `exact`. */
  readonly exchange?: Exchange;
}

/**
 * The part of a setup that one process trains: its run of modules with their values, and what its steps exchange with
 * other processes. The indices and names of modules stay those of the whole network.
 *
 * @throws {LocalgradError} if the runs are not those of the layout and the modules.
 */
export function partOf(
  setup: Setup,
  { layout, place, runs, depth = 1, exchange = "exact" }: PartOptions,
): Setup {
  if (layout.data === ALONE.data && layout.modules === ALONE.modules) return setup;
  expectDivisible(setup, layout);
  const run = runs[place.modules];
  if (run === undefined || runs.length !== layout.modules || runs.at(-1)?.end !== setup.modules.length) {
    throw new LocalgradError(
      `partOf: ${runs.length} runs of modules for ${layout.modules} processes and ${setup.modules.length} modules`,
    );
  }
  for (const run of runs) refuseReach(setup, run);
  if (layout.modules > 1 && reachOf(setup.model.contexts ?? []) > 0) {
    throw new LocalgradError(
      `partOf: ${setup.method.name} reads inputs of earlier modules, which processes do not send each other; choose ` +
        'context "E", the image, or let processes divide the batch',
    );
  }
  const { modules, initial } = ofRun(setup, run);
  const before = setup.modules[run.first - 1];
  const last = at(modules, modules.length - 1);
  const part: Part = {
    ...{ layout, place, depth },
    ...(exchange === "exact" ? {} : { staleEvery: exchange === "stale" ? 1 : exchange.every }),
    ...(before === undefined ? {} : {
      input: featuresBefore(setup, run.first),
      ...(before.reconcile === undefined ? {} : { gradients: true }),
      sends: blockReadBy(setup, before),
    }),
    ...(last.next === undefined ? {} : { reads: blockReadBy(setup, last) }),
  };
  return { ...setup, modules, part, initial };
}

/** Refuses a run with a module that reads further than to the first block of the next process. */
function refuseReach({ method, modules }: Setup, { first, end }: ModuleRun): void {
  for (let index = first; index < end; index++) {
    const own = modules.slice(index + 1, end).reduce((sum, { blocks }) => sum + blocks.length, 0);
    const { auxiliary: { reach = 1 } = {}, name } = at(modules, index);
    if (reach <= Math.max(1, own)) continue;
    throw new LocalgradError(
      `parallel: ${method.name} reads ${reach} blocks after module ${name}, but its process trains only ${own} of them, ` +
        'and another sends its first alone; look ahead by one block, or give the processes shares of the batch: "data"',
    );
  }
}

/**
 * Refuses methods whose modules a pipeline of processes cannot divide.
 *
 * @throws {LocalgradError} if there is such a pipeline.
 */
export function expectDivisible({ method }: Setup, layout: Layout): void {
  if (layout.modules === 1) return;
  const instead = 'or give the processes shares of the batch: "data"';
  if (method.auxiliary === undefined) {
    throw new LocalgradError(
      `parallel: ${method.name} trains the network as one module, which processes cannot divide; choose a local ` +
        `method, ${instead}`,
    );
  }
  if (method.cascade !== undefined) {
    throw new LocalgradError(
      `parallel: ${method.name} trains neighbouring modules together, so that a process would wait for the gradient of ` +
        `the next one's; choose a method without cascades, ${instead}`,
    );
  }
}

/** The modules of a run, and their starting values. */
export function ofRun(setup: Setup, run: ModuleRun): Pick<Setup, "modules" | "initial"> {
  const modules = setup.modules.slice(run.first, run.end);
  const params = merge(...modules.map((module) => module.params));
  const state = merge(...modules.map((module) => module.state));
  return { modules, initial: { params, state, optimizer: slotsOf(setup, params, modules) } };
}

/** The shape of an image's features before module `index`. */
function featuresBefore({ model, modules }: Setup, index: number): Shape {
  return modules.slice(0, index).reduce(
    (shape, { layer }) => shapeAfter(plainOf(layer), shape),
    inputShape(model),
  );
}

/** A batch to find out what a module reads; batch norm needs two images. */
const IMAGES = 2;

/** Finds out which values of the block after its boundary a module's training reads, by tracing it. */
function blockReadBy(setup: Setup, module: LocalModule): BlockExchange {
  const { modules, model, precision, loss } = setup;
  const { next: name, auxiliary, index } = module;
  const following = modules[index + 1];
  if (name === undefined || following === undefined) return { block: "", before: NOTHING, after: NOTHING };
  const block: Variables<Initial> = {
    params: descend(following.layer.params, name),
    state: descend(following.layer.state, name),
  };
  const read = (program: Program): Variables<Initial> => {
    const used = new Set([...program.instructions.flatMap(({ inputs }): readonly number[] => inputs)]);
    for (const { value } of program.outputs) used.add(value);
    const reads = (part: keyof Variables) =>
      program.inputs.some((input) => input.name.startsWith(`0.${part}.`) && used.has(input.value));
    return { params: reads("params") ? block.params : {}, state: reads("state") ? block.state : {} };
  };
  const input: Aval = {
    shape: [IMAGES, ...featuresBefore(setup, index)],
    dtype: index === 0 ? "f32" : activationsIn(precision),
  };
  const training = jit((
    next: Variables,
    train: TrainState<Tensor>,
    h: Tensor,
    batch: Batch,
    scalars: { [name: string]: Tensor },
  ) => {
    const input = h.cast(activationsIn(precision));
    const inputs = [module.reconcile === undefined ? { h: input } : { h: input, gradient: input }];
    return trainModule(module, setup, train, inputs, [withLoss(batch, loss)], scalars, { next }).after;
  });
  const train = {
    params: module.params,
    state: module.state,
    optimizer: slotsOf(setup, module.params, [module]),
  };
  const before = read(training.program(block, train, input, batchAvals(model, IMAGES), scalarAvals(setup)));
  const { afterStep } = auxiliary ?? {};
  if (auxiliary === undefined || afterStep === undefined) return { block: name, before, after: NOTHING };
  const place = placeOf(index);
  const own = { params: descend(module.params, place), state: descend(module.state, place) };
  const moving = jit((next: Variables, own: Variables) => afterStep.call(auxiliary, own, next));
  return { block: name, before, after: read(moving.program(block, own)) };
}

const NOTHING: Variables<Initial> = { params: {}, state: {} };
