/** The convolutions of ResNet-101 and ResNeXt-50 at 224 × 224, planned by the real cuDNN within the least scratch. */
import { assert } from "@std/assert";
import { type ConvSpec, convWorkspace } from "../../src/backends/cuda/conv.ts";
import { ConvPlans } from "../../src/backends/cuda/conv_plans.ts";
import type { InstructionOf } from "../../src/trace/program.ts";
import { type Card, describe } from "./cards.ts";
import { libraries, skipped } from "./libraries.ts";

const BATCH = 64;

interface Shape {
  readonly size: number;
  readonly window: number;
  readonly stride: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly groups?: number;
}

/** The distinct convolutions: a 7 × 7 stem, then bottleneck blocks with the stride in the 3 × 3 convolution. */
function resnet(): Shape[] {
  const list: Shape[] = [{ size: 224, window: 7, stride: 2, inputs: 3, outputs: 64 }];
  let inputs = 64, size = 56;
  for (const [stage, width] of [64, 128, 256, 512].entries()) {
    const stride = stage === 0 ? 1 : 2;
    const after = size / stride;
    list.push(
      { size, window: 1, stride: 1, inputs, outputs: width },
      { size, window: 3, stride, inputs: width, outputs: width },
      { size: after, window: 1, stride: 1, inputs: width, outputs: 4 * width },
      { size, window: 1, stride, inputs, outputs: 4 * width },
      { size: after, window: 1, stride: 1, inputs: 4 * width, outputs: width },
      { size: after, window: 3, stride: 1, inputs: width, outputs: width },
    );
    [inputs, size] = [4 * width, after];
  }
  return list;
}

/** The further convolutions of ResNeXt-50 32×4d: 3 × 3 in 32 groups, and the 1 × 1 ones around them. */
function resnext(): Shape[] {
  return [128, 256, 512, 1024].flatMap((width, stage) => {
    const [size, stride] = [stage === 0 ? 56 : 112 / 2 ** stage, stage === 0 ? 1 : 2];
    const [before, after] = [stage === 0 ? 64 : width, 2 * width];
    return [
      { size, window: 1, stride: 1, inputs: before, outputs: width },
      { size, window: 3, stride, inputs: width, outputs: width, groups: 32 },
      { size: size / stride, window: 3, stride: 1, inputs: width, outputs: width, groups: 32 },
      { size: size / stride, window: 1, stride: 1, inputs: width, outputs: after },
      { size: size / stride, window: 1, stride: 1, inputs: after, outputs: width },
    ];
  });
}

const networks = { "ResNet-101": resnet(), "ResNeXt-50": resnext() };

function specsOf(
  { size, window, stride, inputs, outputs, groups = 1 }: Shape,
  precision: ConvSpec["precision"],
): ConvSpec[] {
  const pad = (window - 1) / 2, after = Math.floor((size + 2 * pad - window) / stride) + 1;
  const common = {
    image: [BATCH, size, size, inputs],
    filter: [outputs, window, window, inputs / groups],
    result: [BATCH, after, after, outputs],
    attrs: { strides: [stride, stride], padding: [[pad, pad], [pad, pad]], dilation: [1, 1], groups },
    precision,
    epilogue: "none",
  } as const;
  const ops: readonly ConvSpec["op"][] = inputs === 3
    ? ["conv", "convFilterGrad"]
    : ["conv", "convInputGrad", "convFilterGrad"];
  return ops.map((op) => ({ ...common, op }));
}

/** The scratch that every plan gives a convolution. */
function scratchOf({ op, image, filter, result, precision }: ConvSpec): number {
  const dtype = precision === "bf16" ? "bf16" : "f32";
  const values = [image, filter, result].map((shape) => ({ shape, dtype } as const));
  return convWorkspace({ op, inputs: [0, 1], output: 2 } as unknown as InstructionOf<"conv">, values);
}

for (const card of ["h200", "a100"] as Card[]) {
  for (const precision of ["f32", "tf32", "bf16"] as const) {
    for (const [network, shapes] of Object.entries(networks)) {
      Deno.test(`cuDNN plans every convolution of ${network} in ${precision} for a described ${card}`, {
        ignore: skipped,
      }, () => {
        const specs = shapes.flatMap((shape) => specsOf(shape, precision));
        assert(specs.length >= 60);
        const refused = specs.filter((spec) => {
          const plans = new ConvPlans(libraries.cudnn!, spec, { description: describe(card) });
          try {
            return "refused" in plans.choose(scratchOf(spec));
          } finally {
            plans.close();
          }
        });
        assert(refused.length === 0, JSON.stringify(refused));
      });
    }
  }
}
