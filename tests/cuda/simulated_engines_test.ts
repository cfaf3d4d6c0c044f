/** The choice among cuDNN's engines by time, on the simulated device, whose clock says what a test has set. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { grad } from "../../src/autograd/grad.ts";
import type { CudaOptions } from "../../src/backends/cuda/backend.ts";
import { LocalgradError } from "../../src/base/errors.ts";
import { openDevice } from "../../src/cli/build.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { open } from "../../src/runtime/devices.ts";
import { jit } from "../../src/runtime/jit.ts";
import { conv2d } from "../../src/trace/functions.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { ignore } from "./on_simulated.ts";
import { engineRuns, fail, openSimulated, report, setEngines, setMemory } from "./simulated.ts";

/** What four runs of a convolution compute; the third and fourth launch a graph. */
const DOUBLED = Array.from({ length: 4 }, () => [2, 4, 6, 8]);

/** Runs a convolution four times. */
async function convolve(device: Device): Promise<number[][]> {
  const layer = jit((x: Tensor, w: Tensor) => conv2d(x, w), { device });
  using x = device.array([1, 2, 3, 4], [1, 2, 2, 1]);
  using w = device.array([2], [1, 1, 1, 1]);
  try {
    const results: number[][] = [];
    for (let run = 0; run < 4; run++) {
      using y = layer(x, w);
      results.push([...await y.read()]);
    }
    return results;
  } finally {
    layer.dispose();
  }
}

/** Bytes of memory that have no room for what is cleared between runs, which takes long on this device. */
const NO_FILLER = 2 ** 24;

/** Registers a test on a device that times engines; it fails if anything is left on the device or reported. */
function test(name: string, body: (opened: (options?: CudaOptions) => Promise<Device>) => Promise<void>) {
  Deno.test({
    name: `cuda, simulated: ${name}`,
    ignore,
    fn: async () => {
      await using devices = new AsyncDisposableStack();
      setMemory(NO_FILLER);
      try {
        await body(async (options = {}) => {
          const opened = await openSimulated({ precision: "f32", engines: "timed", ...options });
          if (!("backend" in opened)) throw new Error(opened.reason);
          return devices.use(new Device(opened.backend));
        });
      } finally {
        await devices.disposeAsync();
        setEngines({});
        setMemory(2 ** 32);
      }
      assertEquals(report(), "");
    },
  });
}

/** Calls `body` with a temporary folder. */
async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "localgrad-engines-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The runs of engines 0 and 1 since the last call of setEngines. */
const runs = () => [engineRuns(0), engineRuns(1)];

/** A warm-up and three runs for each of the offers: engine 1 is also that of the fallback mode. */
const TIMED = [4, 8];

test("the fastest engine is taken, issued and captured", async (opened) => {
  const device = await opened();
  setEngines({ 0: 9, 1: 5 });
  assertEquals(await convolve(device), DOUBLED);
  assertEquals(runs(), [TIMED[0], TIMED[1] + 2]); // the first run, and one that is captured
});

test("engines that are almost as fast do not take the place of one before them", async (opened) => {
  const device = await opened();
  setEngines({ 0: 100, 1: 98 });
  assertEquals(await convolve(device), DOUBLED);
  assertEquals(runs(), [TIMED[0] + 2, TIMED[1]]);
});

test("by heuristic, the first engine is taken, and nothing is timed", async (opened) => {
  const device = await opened({ engines: "heuristic" });
  setEngines({ 0: 9, 1: 5 });
  assertEquals(await convolve(device), DOUBLED);
  assertEquals(runs(), [2, 0]);
});

test("the first eight engines are timed", async (opened) => {
  const device = await opened();
  setEngines({ 0: 9, 1: 9, 2: 9, 3: 9, 4: 9, 5: 9, 6: 9, 7: 5, 8: 1 });
  assertEquals(await convolve(device), DOUBLED);
  assertEquals([...Array(9).keys()].map(engineRuns), [4, 4, 4, 4, 4, 4, 4, 6, 0]);
});

test("once the budget is spent, the first engine is taken", async (opened) => {
  const device = await opened({ engineBudget: 0 });
  setEngines({ 0: 9, 1: 5 });
  assertEquals(await convolve(device), DOUBLED);
  assertEquals(runs(), [2, 0]);
});

test("an engine that fails while it is timed makes way for the next", async (opened) => {
  const device = await opened();
  setEngines({ 0: 1, 1: 5, 2: 3 });
  fail("convolution", 1);
  assertEquals(await convolve(device), DOUBLED);
  assertEquals([0, 1, 2].map(engineRuns), [0, 8, 6]);
});

test("a convolution of which every engine fails while timed is refused, with the reasons", async (opened) => {
  const device = await opened();
  fail("convolution", 1, Infinity);
  const error = await assertRejects(() => convolve(device), LocalgradError);
  assertStringIncludes(error.message, "CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER");
});

test("timing keeps no memory, and changes neither gradients nor donated state", async (opened) => {
  setMemory(2 ** 32);
  setEngines({ 0: 9, 1: 5 });
  const results: number[][] = [];
  const held: number[] = [];
  for (const engines of ["timed", "heuristic"] as const) {
    const device = await opened({ engines });
    const step = jit((w: Tensor, x: Tensor) => {
      const g = grad((w: Tensor) => conv2d(conv2d(x, w, { padding: 1 }), w, { padding: 1 }).mul(0.5).sum())(
        w,
      );
      return w.sub(g.mul(0.01));
    }, { device, donate: [0] });
    using x = device.array(Float32Array.from({ length: 50 }, (_, i) => Math.sin(i)), [2, 5, 5, 1]);
    let w = device.array(Float32Array.from({ length: 9 }, (_, i) => Math.cos(i)), [1, 3, 3, 1]);
    for (let run = 0; run < 4; run++) w = step(w, x);
    results.push([...await w.read()]);
    held.push(device.backend.driverMemory!().takenBytes);
    w.dispose();
    step.dispose();
  }
  assertEquals(results[0], results[1]);
  assert(held[0] <= held[1], `${held} bytes taken from the driver`);
});

test("times are kept on disk", async (opened) => {
  await inFolder(async (engineTimes) => {
    setEngines({ 0: 9, 1: 5 });
    assertEquals(await convolve(await opened({ engineTimes })), DOUBLED);
    assertEquals([...Deno.readDirSync(engineTimes)].length, 1);
    setEngines({ 0: 1, 1: 5 }); // is not asked
    assertEquals(await convolve(await opened({ engineTimes })), DOUBLED);
    assertEquals(runs(), [0, 2]);
  });
});

test("a damaged, foreign or read-only cache of times costs another timing", async (opened) => {
  await inFolder(async (engineTimes) => {
    setEngines({ 0: 9, 1: 5 });
    await convolve(await opened({ engineTimes }));
    const [{ name }] = [...Deno.readDirSync(engineTimes)];
    const path = `${engineTimes}/${name}`;
    const kept = Deno.readTextFileSync(path);
    for (
      const other of [
        ...["", "null", kept.slice(0, -9), kept.replace("92400", "91900")],
        kept.replace(/"engines":\[.*\]/, '"engines":{}'),
        kept.replace(/"engines":\[.*\]/, '"engines":[{"workspace":0,"milliseconds":"none"}]'),
      ]
    ) {
      Deno.writeTextFileSync(path, other);
      setEngines({ 0: 9, 1: 5 });
      assertEquals(await convolve(await opened({ engineTimes })), DOUBLED);
      assertEquals(runs(), [TIMED[0], TIMED[1] + 2], other);
      assertEquals(Deno.readTextFileSync(path), kept);
    }
    // Times of engines that may not be taken, or need more scratch than is said there.
    const refused = JSON.stringify({ ...JSON.parse(kept), engines: [{ workspace: 0, milliseconds: 0 }] });
    Deno.writeTextFileSync(path, refused);
    setEngines({ 0: 9, 1: 5 });
    assertEquals(await convolve(await opened({ engineTimes })), DOUBLED);
    assertEquals(runs(), [TIMED[0], TIMED[1] + 2]);
    setEngines({ 0: 9, 1: 5 });
    assertEquals(await convolve(await opened({ engineTimes: "/dev/null/none" })), DOUBLED);
    assertEquals(runs(), [TIMED[0], TIMED[1] + 2]);
  });
});

Deno.test("a way to choose engines that does not exist is refused", async () => {
  await assertRejects(
    () => open("reference", { engines: "fastest" as "timed" }),
    LocalgradError,
    'devices.open: engines must be timed or heuristic, not "fastest"',
  );
  await assertRejects(
    () => openDevice({ device: "reference", engines: "fastest" }, {}),
    LocalgradError,
    '--engines must be one of timed, heuristic, not "fastest"',
  );
});
