import { LocalgradError } from "../base/errors.ts";
import { expectOptions, shown } from "../base/expect.ts";
import type { Program } from "../trace/program.ts";
import { scope } from "../trace/trace.ts";
import { type Layer, stateless } from "./layer.ts";

/** Options of {@link flatten}. */
export interface FlattenOptions {
  /**
   * The order of an image's elements: `channelsFirst` as in PyTorch, whose images are NCHW, so that a linear layer after
   * it exchanges weights with PyTorch; or `channelsLast`, the order in memory, which needs no transposition. Default
   * `channelsFirst`.
   */
  order?: "channelsFirst" | "channelsLast";
}

/** The label of instructions that put channels first. */
const LABEL = "channelsFirst";

/**
 * Flattens all axes but the batch into one. Images are flattened in PyTorch's order: channel by channel.
 *
 * @example
 * ```ts
 * import { devices, jit, nn, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * using image = device.array([1, 10, 2, 20, 3, 30], [1, 1, 3, 2]); // three pixels of two channels
 * using y = jit((x: Tensor) => nn.flatten().apply({}, {}, x, "evaluate").y)(image);
 * assertEquals([...await y.read()], [1, 2, 3, 10, 20, 30]);
 * ```
 */
export function flatten(options: FlattenOptions = {}): Layer {
  expectOptions("flatten", options, { order: "string?" });
  const { order = "channelsFirst" } = options;
  if (order !== "channelsFirst" && order !== "channelsLast") {
    throw new LocalgradError(`flatten: order is channelsFirst or channelsLast, not ${shown(order)}`);
  }
  return stateless((x) => {
    const [batch = 0, height, width, channels] = x.shape;
    // Where one of them is 1, both orders are the same.
    const reordered = order === "channelsFirst" && x.rank === 4 && channels !== 1 &&
      (height !== 1 || width !== 1);
    const flat = () => (reordered ? x.transpose(0, 3, 1, 2) : x).reshape(batch, -1);
    return reordered ? scope(LABEL, flat) : flat();
  });
}

/** True if a program flattens images channel by channel, which versions before 0.2 did not. */
export function flattensChannelsFirst({ instructions }: Program): boolean {
  return instructions.some(({ scope }) => scope.split("/").includes(LABEL));
}
