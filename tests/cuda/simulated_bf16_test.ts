/** bf16 through the whole CUDA backend, on the simulated device. */
import { assert, assertEquals } from "@std/assert";
import type { CudaOptions } from "../../src/backends/cuda/backend.ts";
import { lowerPlan } from "../../src/backends/cuda/lower.ts";
import { open } from "../../src/runtime/devices.ts";
import { dgl, infopro, man, type Method, trainer } from "../../src/local.ts";
import { constant } from "../../src/optim/schedules.ts";
import { publishedSgd } from "../../src/optim/published.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import { toBf16 } from "../../src/trace/bf16.ts";
import { conv2d } from "../../src/trace/functions.ts";
import { jit } from "../../src/runtime/jit.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { skips } from "../gate.ts";
import { inBf16 } from "../ops/bf16.ts";
import { convCases } from "../ops/cases/images.ts";
import { checkCases } from "../ops/check.ts";
import { Random } from "../ops/random.ts";
import { unfusedPlan } from "../ops/unfused.ts";
import { tinyDataset, tinyModel } from "../tiny.ts";
import { openSimulated, report } from "./simulated.ts";

const ignore = await skips("cuda-simulated", () => openSimulated());

/** Registers a test that opens devices; it fails if anything is left on one or it reports a fault. */
function test(name: string, body: (open: (options?: CudaOptions) => Promise<Device>) => Promise<void>) {
  Deno.test({
    name: `cuda, simulated: ${name}`,
    ignore,
    fn: async () => {
      const devices: Device[] = [];
      try {
        await body(async (options) => {
          const opened = await openSimulated(options);
          if (!("backend" in opened)) throw new Error(opened.reason);
          devices.push(new Device(opened.backend));
          return devices.at(-1)!;
        });
      } finally {
        for (const device of devices) await device.close();
      }
      assertEquals(report(), "");
    },
  });
}

/** Losses, test loss and the saved tensors of a few steps in bf16. */
async function train(device: Device, method: Method) {
  using t = await trainer({
    device,
    model: tinyModel(),
    modules: 3,
    method,
    optimizer: sgd(publishedSgd),
    schedule: constant(0.01),
    batch: 16,
    precision: "bf16",
  });
  const data = tinyDataset(64, 32);
  const losses: number[] = [];
  await t.fit(data, { epochs: 1, observers: [{ step: (record) => void losses.push(...record.losses) }] });
  const { tensors, configuration } = await t.snapshot();
  assertEquals(new Set([...tensors.values()].map(({ dtype }) => dtype)), new Set(["f32"]));
  assertEquals(configuration["precision"], "bf16");
  const evaluated = await t.evaluate(data);
  return { losses, loss: evaluated.loss, kept: [...tensors.values()].flatMap(({ data }) => [...data]) };
}

const shallow = infopro({ weights: { reconstruction: [5, 0.5], task: [0.5, 1] }, schedule: "index" });
for (const method of [man(dgl()), man(shallow)]) {
  test(`training in bf16 with ${method.name} agrees with the reference; captured steps give the bits of issued ones`, async (open_) => {
    const captured = await train(await open_(), method);
    assertEquals(captured, await train(await open_({ graphs: false }), method));
    await using reference = await open("reference");
    const expected = await train(reference, method);
    captured.losses.forEach((loss, i) => { // of three modules; differences in rounding grow from step to step
      const allowed = i < 6 ? 0.01 : 0.1;
      assert(Math.abs(loss - expected.losses[i]) < allowed * expected.losses[i], `loss ${i}: ${loss}`);
    });
    assert(Math.abs(captured.loss - expected.loss) < 0.1 * expected.loss, `evaluated to ${captured.loss}`);
  });
}

test("cuDNN's legacy API computes convolutions in bf16 as the reference does", async (open) => {
  const { backend } = await open({ convolutions: "plain" });
  const alike = convCases(new Random(1)).filter(({ program }) =>
    program.instructions.every(({ attrs }) =>
      !("padding" in attrs) || attrs.padding.every(([before, after]) => before === after)
    )
  );
  await checkCases(backend, alike.slice(0, 24).map(inBf16), unfusedPlan);
});

test("a bias in bf16 becomes an epilogue, which rounds once", async (open) => {
  const device = await open();
  const random = new Random(3);
  const shapes = [[8, 16], [16, 24], [24], [2, 6, 6, 8], [24, 3, 3, 8]];
  const arrays = shapes.map((shape) => {
    const size = shape.reduce((a, b) => a * b);
    return device.put(new HostArray(toBf16(random.floats(size)), shape));
  });
  const layers = (...[x, w, b, image, filter]: Tensor[]) => [
    x.matmul(w).add(b),
    x.mul(2).matmul(w).add(b),
    conv2d(image, filter).add(b),
    conv2d(image, filter, { strides: 2 }).add(b),
  ];
  const narrow = jit(layers, { device });
  const plan = narrow.plan(device.backend.target, ...arrays);
  const epilogues = lowerPlan(plan, () => true).flatMap((launch) =>
    "epilogue" in launch ? [launch.epilogue?.kind] : []
  );
  assertEquals(epilogues.toSorted(), ["bias", "bias", "bias", "bias"]);
  // The same in f32, rounded at the end.
  const wide = jit(
    (...list: Tensor[]) => layers(...list.map((x) => x.cast("f32"))).map((y) => y.cast("bf16")),
    {
      device,
    },
  );
  const made = narrow(...arrays), expected = wide(...arrays);
  for (const [i, array] of made.entries()) assertEquals(await array.read(), await expected[i].read());
  for (const list of [arrays, made, expected]) list.forEach((array) => array.dispose());
});
