/** Uploads beside the work under way, on the simulated device: in order whichever stream comes first, and not too much so. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { Device } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { skips } from "../gate.ts";
import { count, fail, hurry, openSimulated, report } from "./simulated.ts";

const ignore = await skips("cuda-simulated", () => openSimulated());

const SIDE = 160; // 100 KiB: a large upload

/** Opens a device, one of whose streams is done at once if `first` says so. */
async function opened(first: 0 | 1 | undefined, graphs: boolean): Promise<Device> {
  hurry(first);
  const result = await openSimulated({ precision: "f32", graphs });
  hurry(undefined);
  if (!("backend" in result)) throw new Error(result.reason);
  return new Device(result.backend);
}

/** Adds up batches from the host in a donated state, and gives it after the last; `before` is called before each step. */
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

// The waits of a captured step, in the order they are made: the upload's for the copy of the last batch to its slot,
// the work's for the upload. One of them left out must show.
for (const [wait, first, what] of [[1, 1, "an upload"], [2, undefined, "the work"]] as const) {
  for (const graphs of [true, false]) {
    Deno.test({
      name: `cuda, simulated: a wait that ${what} lacks is found out, ${graphs ? "captured" : "issued"}`,
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
  name: "cuda, simulated: the next batch is uploaded while a captured step is still to be done",
  ignore,
  fn: async () => {
    await using device = await opened(1, true);
    const step = jit((x: Tensor) => x.reshape(SIDE, SIDE).sum(), { device });
    const call = (value: number) => step(new Float32Array(SIDE * SIDE).fill(value));
    for (let i = 0; i < 3; i++) call(i).dispose();
    await device.finish();
    assertEquals(count("queued"), 0);
    const one = call(5), queued = count("queued");
    const two = call(6); // its batch is there: the first one waits in its slot
    assert(count("queued") > queued, `${count("queued")} works are queued after ${queued}`);
    assertEquals([...await one.read(), ...await two.read()], [5 * SIDE * SIDE, 6 * SIDE * SIDE]);
    [one, two].forEach((array) => array.dispose());
    step.dispose();
    await device.close();
    assertEquals(report(), "");
  },
});

Deno.test({
  name: "cuda, simulated: memory that is freed with an upload under way is not written by it later",
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
