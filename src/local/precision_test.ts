import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { tinyDataset, tinyModel } from "../../tests/tiny.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Precision } from "../compile/plan.ts";
import { resnet32 } from "../models/resnet.ts";
import { constant } from "../optim/schedules.ts";
import { sgd } from "../optim/sgd.ts";
import type { Device } from "../runtime/arrays.ts";
import { open, target } from "../runtime/devices.ts";
import { jit } from "../runtime/jit.ts";
import type { Tensor } from "../trace/tensor.ts";
import { trainer } from "../training/trainer.ts";
import { memory, stepMemory } from "./memory.ts";
import { dgl } from "./methods/dgl.ts";
import { man } from "./methods/man.ts";
import { methodNamed, methodNames } from "./methods/named.ts";
import { setup, type TrainState } from "./setup.ts";
import { trainStep } from "./step.ts";

const make = (device: Device, precision?: Precision) =>
  trainer({
    device,
    model: tinyModel(),
    modules: 3,
    method: man(dgl()),
    optimizer: sgd({ momentum: 0.9 }),
    schedule: constant(0.02),
    batch: 16,
    ...(precision === undefined ? {} : { precision }),
  });

Deno.test("a precision that the device lacks is refused, and the error lists those it has", async () => {
  await using cpu = await open("cpu", { threads: 1, engine: "wasm" });
  for (const precision of ["bf16", "tf32"] as const) {
    const refusal = `device cpu computes in f32, not in ${precision}`;
    await assertRejects(() => make(cpu, precision), LocalgradError, refusal);
  }
  assertEquals(cpu.liveArrays, 0);
  // A jitted function is refused when it is planned.
  const double = jit((x: Tensor) => x.cast("bf16").mul(2).cast("f32"), { device: cpu, name: "double" });
  using x = cpu.array([1, 2]);
  assertThrows(
    () => double(x),
    LocalgradError,
    "double has values in bf16, such as bf16[2], and cpu computes in f32",
  );
  const product = jit((x: Tensor) => x.mul(2), { device: cpu, name: "product", precision: "tf32" });
  assertThrows(() => product(x), LocalgradError, "product: device cpu has no products in tf32");
  for (const name of ["cpu", "webgpu"] as const) {
    const options = {
      model: tinyModel(),
      method: dgl(),
      optimizer: sgd(),
      batch: 8,
      precision: "bf16",
    } as const;
    const planned = await target(name);
    assertThrows(() => memory({ ...options, target: planned }), LocalgradError, `${name} computes in f32`);
  }
});

Deno.test("in bf16 the same network learns, its parameters stay f32, and it is evaluated in bf16", async () => {
  await using device = await open("reference");
  const data = tinyDataset(64, 32);
  const runs = [];
  for (const precision of ["f32", "bf16"] as const) {
    using t = await make(device, precision);
    assertEquals(t.configuration["precision"], precision);
    const losses: number[] = [];
    await t.fit(data, { epochs: 2, observers: [{ step: (record) => void losses.push(...record.losses) }] });
    const { tensors } = await t.snapshot();
    assertEquals(new Set([...tensors.values()].map(({ dtype }) => dtype)), new Set(["f32"]));
    runs.push({ losses, evaluated: await t.evaluate(data), snapshot: await t.snapshot() });
  }
  const [wide, narrow] = runs;
  assertNotEquals(narrow.losses, wide.losses);
  narrow.losses.slice(0, 6).forEach((loss, i) => { // only the first two steps; after that rounding errors grow
    const off = Math.abs(loss - wide.losses[i]) / wide.losses[i];
    assert(off < 0.02, `loss ${i} is ${loss}, not ${wide.losses[i]}`);
  });
  const sum = (losses: readonly number[]) => losses.reduce((a, b) => a + b);
  assert(sum(narrow.losses.slice(12)) < sum(narrow.losses.slice(0, 12)), "losses fall from epoch to epoch");
  // The same values, evaluated in the other precision: close, but not the same.
  using t = await make(device, "f32");
  t.restore(narrow.snapshot);
  const { loss } = await t.evaluate(data);
  assertNotEquals(loss, narrow.evaluated.loss);
  assert(Math.abs(loss - narrow.evaluated.loss) < 0.02 * loss);
});

Deno.test("without a card, a step in bf16 is planned for CUDA: half the activations, the same parameters", async () => {
  const cuda = await target("cuda");
  assertEquals(cuda.precisions, ["tf32", "f32", "bf16"]);
  const options = { model: resnet32(), modules: 16, method: man(dgl()), optimizer: sgd({ momentum: 0.9 }) };
  const planned = (precision: Precision) => stepMemory(setup({ ...options, precision }), 256, cuda);
  const [single, tf32, bf16] = [planned("f32"), planned("tf32"), planned("bf16")];
  assertEquals(tf32, single);
  for (const kept of ["parameters", "optimizer", "auxiliary", "state"] as const) {
    assertEquals(bf16.breakdown[kept], single.breakdown[kept]);
  }
  const share = bf16.breakdown.activations! / single.breakdown.activations!;
  assert(share > 0.45 && share < 0.55, `${share} of the activations`);
});

Deno.test("every method plans its step in bf16: no image in f32 is kept, and parameters stay f32", async () => {
  const cuda = await target("cuda");
  for (const name of methodNames.filter((name) => !/^(sgr|contSup)\+[^d]/.test(name))) {
    const made = setup({
      model: tinyModel(),
      modules: 3,
      method: methodNamed(name),
      optimizer: sgd({ momentum: 0.9 }),
      precision: "bf16",
    });
    const step = jit(
      (train: TrainState<Tensor>, x: Tensor, labels: Tensor) =>
        trainStep(made, train, { x, labels, images: x }, { learningRate: 0.1 }),
      { donate: [0] },
    );
    const avals = [
      { shape: [16, 8, 8, 3], dtype: "f32" },
      { shape: [16], dtype: "i32" },
    ] as const;
    const { values, locations, outputs } = step.plan(cuda, made.initial, ...avals);
    const kept = values.filter((_, value) => locations[value]?.kind === "arena");
    const images = kept.filter(({ shape }) => shape.length === 4 && shape[0] === 16 && shape[1] === 8);
    assert(images.length > 0, name);
    assertEquals(images.filter(({ dtype }) => dtype !== "bf16"), [], name);
    assertEquals(new Set(outputs.map(({ value }) => values[value].dtype)), new Set(["f32"]), name);
  }
});
