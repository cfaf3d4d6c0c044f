/** What a training step of a tiny network starts from. */
import { key } from "../src/base/random.ts";
import type { Setup, TrainState } from "../src/local/setup.ts";
import { initialize } from "../src/nn/initial.ts";
import type { HostArray } from "../src/trace/host_array.ts";
import { host, integers, noise } from "./run.ts";

/** Starting values, drawn as a trainer with this seed draws them. */
export function start({ initial }: Setup, seed = 0): TrainState<HostArray> {
  const draw = key(seed);
  return {
    params: initialize(initial.params, draw),
    state: initialize(initial.state, draw),
    optimizer: initialize(initial.optimizer, draw),
  };
}

/** A batch of images of 8×8 pixels and three classes. */
export function batch(size: number) {
  return {
    x: noise("x", [size, 8, 8, 3]),
    labels: integers(Array.from({ length: size }, (_, i) => i % 3)),
    images: host([...noise("x", [size, 8, 8, 3]).data].map((v) => (v + 1) / 2), [size, 8, 8, 3]),
  };
}
