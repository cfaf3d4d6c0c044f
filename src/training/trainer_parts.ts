import type { Configuration } from "../artifacts/observer.ts";
import { resumedOn } from "../artifacts/run_devices.ts";
import { agreeOn } from "../backends/agreement.ts";
import { shared } from "../base/expect.ts";
import { foldIn, key } from "../base/random.ts";
import type { Recompute } from "../compile/recomputation.ts";
import { withCut } from "../local/partition/balance.ts";
import type { WayWithinLimit } from "../local/limit/limit.ts";
import { stepMemory } from "../local/memory.ts";
import { precisionOn, productsIn } from "../local/precision.ts";
import { type Setup, setup as setupOf } from "../local/setup.ts";
import { initialize } from "../nn/initial.ts";
import { configurationOf } from "./configuration.ts";
import { divisionOf } from "./processes/division.ts";
import { Steps } from "./steps.ts";
import { Team } from "./processes/team.ts";
import type { Position } from "./trainable.ts";
import { checkTrainerOptions, type TrainerOptions } from "./trainer_options.ts";
import { chosenOptions, expectWithin } from "./within_memory.ts";

/** What a trainer is made of. */
export interface TrainerParts {
  readonly setup: Setup;
  readonly configuration: Configuration;
  readonly position: Position;
  readonly team: Team;
  readonly steps: Steps;
  /** Images per step. */
  readonly batch: number;
  /** What its steps recompute. */
  readonly recompute: Recompute;
  /** What was chosen within a memory limit. */
  readonly plan?: WayWithinLimit;
}

/** Makes a trainer's parts: checks its options, agrees on them with other processes, and draws the initial values. */
export function trainerParts(options: TrainerOptions): TrainerParts {
  checkTrainerOptions(options);
  const chosen = chosenOptions(options);
  const { device, batch, seed = 0, recompute, checkNumerics = false } = chosen;
  const { backend: { target }, processes } = device;
  const { precision: wanted, depth, exchange = "exact", limit, plan, ...rest } = chosen;
  const setup = setupOf(withCut(shared({ ...rest, precision: precisionOn(target, wanted), target })));
  const position: Position = {
    ...{
      seed: key(seed),
      step: 0,
      restored: false,
      loaded: false,
      signature: undefined,
      classNames: undefined,
    },
    ...{ bestError: undefined, bestMeanIoU: undefined, patience: undefined },
    devices: resumedOn([], { arithmetic: device.arithmetic, firstStep: 0 }),
  };
  const configuration = configurationOf(setup, batch, seed);
  if (processes !== undefined) {
    // Recomputing changes no bits: each process may choose, such as the one with the largest features alone.
    const own = { ...configuration, device: device.name, checkNumerics, exchange, depth };
    agreeOn(processes.communicators.world, "trainer: option", own);
  }
  const dividing = {
    ...{ batch, target, recompute, exchange },
    ...(depth === undefined ? {} : { depth }),
    ...(limit === undefined ? {} : { limit }),
  };
  const team = new Team(processes && divisionOf(setup, processes, dividing));
  const own = team.division?.own ?? setup;
  if (limit !== undefined) expectWithin(limit, stepMemory(own, batch, target, { recompute }).peakBytes);
  const { params, state, optimizer: slots } = own.initial;
  const draw = foldIn(position.seed, 0);
  const train = device.put({
    params: initialize(params, draw),
    state: initialize(state, draw),
    optimizer: initialize(slots, draw),
  });
  const compiling = { device, recompute, checkNumerics, ...productsIn(setup.precision) };
  const steps = new Steps(setup, position, train, compiling, team.division);
  return {
    ...{ setup, configuration, position, team, steps, batch, recompute },
    ...(plan === undefined ? {} : { plan }),
  };
}
