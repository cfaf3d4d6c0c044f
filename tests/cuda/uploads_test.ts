/** Uploads that overlap with work, on the simulated device: in order whichever stream is first, and no later than needed. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { Device } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { skips } from "../gate.ts";
import { count, fail, hurry, openSimulated, report } from "./simulated.ts";

const ignore = await skips("cuda-simulated", () => openSimulated());

const SIDE = 160; // 100 KiB: a large upload

/** Opens a device; `first` makes one of its streams run its work at once. */
async function opened(first: 0 | 1 | undefined, graphs: boolean): Promise<Device> {
  hurry(first);
  const result = await openSimulated({ precision: "f32", graphs });
  hurry(undefined);
  if (!("backend" in result)) throw new Error(result.reason);
  return new Device(result.backend);
}

/** Sums batches from the host in a donated state and returns it; calls `before` before each step. */
async function sums(device: Device, steps: number, before: (step: number) => void = () => {}) {
  const step = jit(
    (state: { sum: Tensor }, batch: Tensor, rate: Tensor) => {
      const rows = batch.reshape(SIDE, SIDE).sum(0).mul(rate);
      return { state: { sum: state.sum.mul(0.5).add(rows) }, first: rows.sum() };
    },
    { device, donate: [0] },
  );
  let state = { sum: device.zeros([SIDE]) };
  const firsts = [];
  for (let i = 0; i < steps; i++) {
    before(i);
    const result = step(state, new Float32Array(SIDE * SIDE).fill(i + 1), 1 / SIDE);
    state = result.state as typeof state;
    firsts.push(result.first as typeof state.sum);
  }
  const read = await Promise.all([state.sum, ...firsts].map((array) => array.read()));
  [state.sum, ...firsts].forEach((array) => array.dispose());
  step.dispose();
  return { sum: [...read[0]], firsts: read.slice(1).map(([first]) => first) };
}

const STEPS = 6;
const WANTED = {
  sum: new Array(SIDE).fill([1, 2, 3, 4, 5, 6].reduce((sum, batch) => 0.5 * sum + batch, 0)),
  firsts: [1, 2, 3, 4, 5, 6].map((batch) => batch * SIDE),
};

for (const graphs of [true, false]) {
  for (
    const [first, name] of [[undefined, "as late as it may be"], [0, "work first"], [
      1,
      "uploads first",
    ]] as const
  ) {
    Deno.test({
      name: `cuda, simulated: each step has its own batch, ${graphs ? "captured" : "issued"}, ${name}`,
      ignore,
      fn: async () => {
        await using device = await opened(first, graphs);
        assertEquals(await sums(device, STEPS), WANTED);
        await device.close();
        assertEquals(report(), "");
      },
    });
  }
}

// The waits of a captured step, in order: the upload waits for the copy of the last batch to its slot, the work waits for
// the upload. The test must fail without either.
for (const [wait, first, what] of [[1, 1, "an upload"], [2, undefined, "the work"]] as const) {
  for (const graphs of [true, false]) {
    Deno.test({
      name: `cuda, simulated: a missing wait of ${what} is detected, ${graphs ? "captured" : "issued"}`,
      ignore,
      fn: async () => {
        await using device = await opened(first, graphs);
        const got = await sums(device, STEPS, (step) => step === 4 && fail("wait", wait));
        assertNotEquals(got, WANTED);
        await device.close();
        assertEquals(report(), "");
      },
    });
  }
}

Deno.test({
  name: "cuda, simulated: the next batch is uploaded while a captured step is in flight",
  ignore,
  fn: async () => {
    await using device = await opened(1, true);
    const step = jit((x: Tensor) => x.reshape(SIDE, SIDE).sum(), { device });
    const call = (value: number) => step(new Float32Array(SIDE * SIDE).fill(value));
    for (let i = 0; i < 3; i++) call(i).dispose();
    await device.finish();
    assertEquals(count("queued"), 0);
    const one = call(5), queued = count("queued");
    const two = call(6); // its batch has arrived; the first one is in its slot
    assert(count("queued") > queued, `${count("queued")} works are queued after ${queued}`);
    assertEquals([...await one.read(), ...await two.read()], [5 * SIDE * SIDE, 6 * SIDE * SIDE]);
    [one, two].forEach((array) => array.dispose());
    step.dispose();
    await device.close();
    assertEquals(report(), "");
  },
});

Deno.test({
  name: "cuda, simulated: an upload in flight does not write to freed memory",
  ignore,
  fn: async () => {
    await using device = await opened(undefined, true);
    device.array(new Float32Array(SIDE * SIDE).fill(7)).dispose();
    using zeros = device.zeros([SIDE * SIDE]); // the same memory
    assert((await zeros.read()).every((value) => value === 0));
    await device.close();
    assertEquals(report(), "");
  },
});
