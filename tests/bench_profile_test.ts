/** `deno task bench --profile`: every step of a plan once, in a known class, and the results stay what they are. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { grouped, type Profile, profileOf } from "../bench/profile/profile.ts";
import { Recorder } from "../bench/profile/recorder.ts";
import { profileTable } from "../bench/profile/table.ts";
import { openWebgpu } from "../src/backends/webgpu/backend.ts";
import { grad } from "../src/autograd/grad.ts";
import { type BackendName, open } from "../src/runtime/devices.ts";
import { jit } from "../src/runtime/jit.ts";
import { conv2d, maxPool } from "../src/trace/functions.ts";
import type { Tensor } from "../src/trace/tensor.ts";
import { skips } from "./gate.ts";

/** Profiles a small step on a device; checks that going launch by launch gives the bits of a run. */
async function profiled(name: BackendName): Promise<Profile> {
  await using device = await open(name);
  const { backend } = device;
  const recorder = new Recorder(backend);
  const loss = (w: Tensor, x: Tensor) => {
    const y = maxPool(conv2d(x, w, { padding: 1 }).relu(), { window: 2 });
    return y.reshape(2, -1).matmul(y.reshape(2, -1).transpose()).sum();
  };
  const step = jit((w: Tensor, x: Tensor) => w.sub(grad(loss)(w, x).mul(1e-3)), { device, donate: [0] });
  const x = device.array(Float32Array.from({ length: 2 * 6 * 6 * 3 }, (_, i) => Math.sin(i)), [2, 6, 6, 3]);
  let w = device.array(Float32Array.from({ length: 8 * 9 * 3 }, (_, i) => Math.cos(i)), [8, 3, 3, 3]);
  w = step(w, x);
  const before = await w.read();
  const [run, ...others] = await recorder.record(() => Promise.resolve(w = step(w, x)));
  assertEquals(others.length, 0);
  const { executable, inputs, outputs } = run!;
  const contents = await backend.read(inputs[0]!, inputs[0]!.bytes);
  // The recorded inputs are what the step was given, although it has written its result into their memory.
  assertEquals(new Float32Array(contents.buffer).slice(0, before.length), before);
  executable.run(inputs, outputs);
  const whole = await backend.read(inputs[0]!, inputs[0]!.bytes);
  backend.write(inputs[0]!, contents);
  executable.launches!(inputs, outputs).forEach(({ issue }) => issue());
  assertEquals(await backend.read(inputs[0]!, inputs[0]!.bytes), whole);
  assertNotEquals(whole, contents);

  const profile = await profileOf(backend, run!, 0);
  const launched = executable.launches!(inputs, outputs).length;
  assertEquals(profile.steps.length, run!.plan.steps.length);
  assertEquals(profile.steps.reduce((sum, { launches }) => sum + launches, 0), launched);
  return profile;
}

for (const name of ["cpu", "webgpu", "reference"] as const) {
  const ignore = name === "webgpu" && await skips("webgpu", openWebgpu);
  Deno.test(`bench --profile, ${name}: covers every step once, in a known class`, { ignore }, async () => {
    const profile = await profiled(name);
    const classes = [
      "convolution",
      "convolution, filter gradient",
      "element-wise",
      "other",
      "product",
      "reduction",
    ];
    assertEquals(
      [...new Set(profile.steps.map((step) => step.class))].filter((kind) => kind !== "reduction").sort(),
      classes.slice(0, -1),
    );
    assert(profile.steps.filter((step) => step.class === "other").every(({ way }) => way === "pooling"));
    // 2 images of 6 × 6 outputs in 8 channels, each of 27 products.
    const conv = profile.steps.find((step) => step.class === "convolution")!;
    assertEquals(conv.operations, 2 * 2 * 6 * 6 * 8 * 27);
    assertEquals(conv.bytes, 4 * (2 * 6 * 6 * 3 + 8 * 27 + 2 * 6 * 6 * 8));
    assertEquals(conv.what, "conv 2,6,6,3 · 8,3,3,3 → 2,6,6,8");

    const groups = grouped(profile.steps);
    assertEquals(groups.reduce((sum, { steps }) => sum + steps, 0), profile.steps.length);
    assert(Math.abs(groups.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-9);
    const text = profileTable(profile);
    assert(text.includes("convolution: conv 2,6,6,3 · 8,3,3,3 → 2,6,6,8"), text);
  });
}
