import type { Shape } from "../../../src/trace/dtype.ts";
import type { ConvAttrs, Pair, PoolAttrs } from "../../../src/trace/ops.ts";
import { shapeRules } from "../../../src/trace/shape_rules.ts";
import { type Case, opCase } from "../check.ts";
import { f32, type Random } from "../random.ts";

const CHANNELS = [1, 3, 4, 5, 8, 16, 20];
const EXTENTS = [1, 3, 5, 7, 8, 12, 17];

interface Geometry extends ConvAttrs {
  readonly image: Shape;
  readonly filter: Shape;
}

function geometry(image: Shape, filter: Shape, attrs: Partial<ConvAttrs> = {}): Geometry {
  return { image, filter, strides: [1, 1], padding: [[0, 0], [0, 0]], dilation: [1, 1], groups: 1, ...attrs };
}

const same: ConvAttrs["padding"] = [[1, 1], [1, 1]];

/** Shapes that occur in networks, and those where a blocked kernel is likely to fail. */
const fixed: readonly Geometry[] = [
  geometry([2, 32, 32, 3], [16, 3, 3, 3], { padding: same }),
  geometry([2, 16, 16, 16], [16, 3, 3, 16], { padding: same }),
  geometry([2, 16, 16, 16], [32, 3, 3, 16], { padding: same, strides: [2, 2] }),
  geometry([2, 15, 15, 16], [32, 1, 1, 16], { strides: [2, 2] }),
  geometry([3, 8, 8, 64], [64, 3, 3, 64], { padding: same }),
  geometry([1, 1, 1, 1], [1, 1, 1, 1]),
  geometry([1, 1, 1, 5], [7, 3, 3, 5], { padding: same }), // every window is mostly padding
  geometry([2, 5, 5, 3], [4, 5, 5, 3]), // one window
  geometry([1, 9, 9, 2], [3, 2, 2, 2], { strides: [3, 4] }), // pixels outside all windows
  geometry([1, 6, 7, 4], [4, 3, 3, 1], { groups: 4, padding: same }), // depthwise
  geometry([2, 7, 7, 6], [9, 3, 3, 2], { groups: 3, padding: [[2, 0], [0, 3]], dilation: [2, 1] }),
  geometry([2, 9, 8, 64], [64, 3, 3, 4], { groups: 16, padding: same }), // ResNeXt's groups of 4, 8, … channels
  geometry([1, 7, 9, 64], [64, 3, 3, 8], { groups: 8, padding: same, strides: [2, 2] }),
  geometry([2, 5, 5, 64], [64, 3, 3, 16], { groups: 4, padding: same }),
  geometry([1, 6, 6, 64], [60, 3, 3, 16], { groups: 4 }), // no padding; 15 features a group
  geometry([1, 9, 7, 32], [48, 3, 3, 2], { groups: 16, padding: [[2, 2], [2, 1]], dilation: [2, 2] }),
  geometry([1, 4, 70, 1], [1, 1, 7, 1], { padding: [[0, 0], [3, 3]] }),
  geometry([17, 2, 2, 8], [33, 2, 2, 8]), // more images than pixels
  // The taps of an atrous pyramid lie outside of small features, all but the middle one.
  geometry([2, 4, 5, 8], [16, 3, 3, 8], { padding: [[6, 6], [6, 6]], dilation: [6, 6] }),
];

function randomGeometry(random: Random): Geometry {
  for (;;) {
    const groups = random.pick([1, 1, 1, 2, 3, 8]);
    const channels = random.pick(groups === 1 ? CHANNELS : [1, 3, 4, 8, 9]);
    const features = groups * random.pick(groups === 1 ? CHANNELS : [1, 2, 4, 8, 11]);
    const pair = (list: readonly number[]): Pair => [random.pick(list), random.pick(list)];
    const candidate = geometry(
      [random.int(1, 3), random.pick(EXTENTS), random.pick(EXTENTS), channels * groups],
      [features, random.pick([1, 2, 3, 3, 5]), random.pick([1, 2, 3, 3, 5]), channels],
      {
        strides: pair([1, 1, 2, 3]),
        padding: [pair([0, 1, 2]), pair([0, 1, 2])],
        dilation: pair([1, 1, 2]),
        groups,
      },
    );
    try {
      shapeRules.conv([f32(...candidate.image), f32(...candidate.filter)], candidate);
      return candidate;
    } catch { /* the window does not fit: try again */ }
  }
}

/** Convolutions and both their gradients. */
export function convCases(random: Random): Case[] {
  const geometries = [...fixed, ...Array.from({ length: 40 }, () => randomGeometry(random))];
  return geometries.flatMap(({ image, filter, ...attrs }) => {
    const [x, w] = [f32(...image), f32(...filter)];
    const dy = shapeRules.conv([x, w], attrs);
    const draw = (...avals: { shape: Shape }[]) => avals.map((a) => random.elements(f32(...a.shape)));
    return [
      opCase("conv", [x, w], attrs, draw(x, w)),
      opCase("convInputGrad", [dy, w], { ...attrs, inputShape: image }, draw(dy, w)),
      opCase("convFilterGrad", [x, dy], { ...attrs, filterShape: filter }, draw(x, dy)),
    ];
  });
}

/** Pooling and its gradients; images of few distinct values, so that there are ties, of −∞ only, and with NaN. */
export function poolCases(random: Random): Case[] {
  const cases: Case[] = [];
  while (cases.length < 5 * 24) {
    const image = f32(random.int(1, 3), random.pick(EXTENTS), random.pick(EXTENTS), random.pick(CHANNELS));
    const window: Pair = [random.pick([1, 2, 3, 5]), random.pick([1, 2, 3, 5])];
    const pad = (axis: 0 | 1): Pair => [random.int(0, window[axis] - 1), random.int(0, window[axis] - 1)];
    const attrs: PoolAttrs = {
      window,
      strides: [random.pick([1, 2, 3]), random.pick([1, 2, 3])],
      padding: random.chance(0.5) ? [pad(0), pad(1)] : [[0, 0], [0, 0]],
    };
    let dy;
    try {
      dy = shapeRules.maxPool([image], attrs);
    } catch {
      continue; // the window does not fit
    }
    const few = () => Float32Array.from(random.ints(image.shape.reduce((a, b) => a * b, 1), -3, 3));
    const inputShape = image.shape;
    cases.push(
      opCase("maxPool", [image], attrs, [few()]),
      opCase("maxPoolGrad", [image, dy], attrs, [few(), random.elements(dy)]),
      opCase("maxPoolPick", [image, image], attrs, [few(), random.elements(image)]),
      opCase("avgPool", [image], attrs, [random.elements(image)]),
      opCase("avgPoolGrad", [dy], { ...attrs, inputShape }, [random.elements(dy)]),
    );
  }
  const attrs: PoolAttrs = { window: [2, 3], strides: [2, 1], padding: [[0, 1], [1, 1]] };
  for (const channels of [1, 4]) {
    const image = f32(1, 3, 5, channels), dy = shapeRules.maxPool([image], attrs);
    const lowest = new Float32Array(15 * channels).fill(-Infinity).fill(-3, 12 * channels, 13 * channels);
    const holed = random.floats(15 * channels).map((x) => x > 1 ? NaN : x < -1 ? Infinity : x);
    for (const pixels of [lowest, holed]) {
      cases.push(
        opCase("maxPool", [image], attrs, [pixels]),
        opCase("maxPoolGrad", [image, dy], attrs, [pixels, random.elements(dy)]),
        opCase("maxPoolPick", [image, image], attrs, [pixels, random.elements(image)]),
      );
    }
  }
  return cases;
}

/** Bilinear resizes, larger and smaller, and their gradients. */
export function resizeCases(random: Random): Case[] {
  return [true, false].flatMap((alignCorners) =>
    Array.from({ length: 16 }, (_, i) => {
      const image = f32(random.int(1, 2), random.pick(EXTENTS), random.pick(EXTENTS), random.pick(CHANNELS));
      const [height, width] = i === 0
        ? [1, 1]
        : i === 1
        ? image.shape.slice(1, 3)
        : [random.int(1, 20), random.int(1, 20)];
      const attrs = { height, width, alignCorners };
      const dy = shapeRules.resize([image], attrs);
      const back = { height: image.shape[1], width: image.shape[2], alignCorners };
      return [
        opCase("resize", [image], attrs, [random.elements(image)]),
        opCase("resizeGrad", [dy], back, [random.elements(dy)]),
      ];
    }).flat()
  );
}
