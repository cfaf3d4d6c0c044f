import type { Configuration } from "../artifacts/observer.ts";
import { resumedOn } from "../artifacts/run_devices.ts";
import { agreeOn } from "../backends/agreement.ts";
import { shared } from "../base/expect.ts";
import { foldIn, key } from "../base/random.ts";
import { withCut } from "../local/balance.ts";
import { precisionOn, productsIn } from "../local/precision.ts";
import { type Setup, setup as setupOf } from "../local/setup.ts";
import { initialize } from "../nn/initial.ts";
import { configurationOf } from "./configuration.ts";
import { divisionOf } from "./division.ts";
import { Steps } from "./steps.ts";
import { Team } from "./team.ts";
import type { Position } from "./trainable.ts";
import { checkTrainerOptions, type TrainerOptions } from "./trainer_options.ts";

/** What a trainer is made of. */
export interface TrainerParts {
  readonly setup: Setup;
  readonly configuration: Configuration;
  readonly position: Position;
  readonly team: Team;
  readonly steps: Steps;
}

/** Makes a trainer's parts: checks its options, agrees on them with other processes, and draws the initial values. */
export function trainerParts(options: TrainerOptions): TrainerParts {
  checkTrainerOptions(options);
  const { device, batch, seed = 0, recompute = false, checkNumerics = false } = options;
  const { backend: { target }, processes } = device;
  const { precision: wanted, depth, exchange = "exact", ...rest } = options;
  const setup = setupOf(withCut(shared({ ...rest, precision: precisionOn(target, wanted), target })));
  const position: Position = {
    ...{ seed: key(seed), step: 0, restored: false, signature: undefined, classNames: undefined },
    ...{ bestError: undefined, patience: undefined },
    devices: resumedOn([], { arithmetic: device.arithmetic, firstStep: 0 }),
  };
  const configuration = configurationOf(setup, batch, seed);
  if (processes !== undefined) {
    // Recomputing changes no bits: each process may choose, such as the one with the largest features alone.
    const own = { ...configuration, checkNumerics, exchange, depth };
    agreeOn(processes.communicators.world, "trainer: option", own);
  }
  const dividing = { batch, target, recompute, exchange, ...(depth === undefined ? {} : { depth }) };
  const team = new Team(processes && divisionOf(setup, processes, dividing));
  const { params, state, optimizer: slots } = (team.division?.own ?? setup).initial;
  const draw = foldIn(position.seed, 0);
  const train = device.put({
    params: initialize(params, draw),
    state: initialize(state, draw),
    optimizer: initialize(slots, draw),
  });
  const compiling = { device, recompute, checkNumerics, ...productsIn(setup.precision) };
  const steps = new Steps(setup, position, train, compiling, team.division);
  return { setup, configuration, position, team, steps };
}
