/** The CPU backend when memory is refused: a clear error, no leak, and earlier programs and arrays unharmed. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { openCpu } from "../src/backends/cpu/backend.ts";
import { liveWorkerCount } from "../src/backends/cpu/threads.ts";
import { LocalgradError } from "../src/base/errors.ts";
import { dgl, man, trainer } from "../src/local.ts";
import type { Model } from "../src/models/model.ts";
import { batchNorm } from "../src/nn/batch_norm.ts";
import { conv } from "../src/nn/conv.ts";
import { linear } from "../src/nn/linear.ts";
import { relu } from "../src/nn/activation.ts";
import { globalAveragePooling } from "../src/nn/pooling.ts";
import { constant, sgd } from "../src/optim.ts";
import { Device } from "../src/runtime/arrays.ts";
import { open } from "../src/runtime/devices.ts";
import { jit } from "../src/runtime/jit.ts";
import { literal } from "../src/trace/functions.ts";
import type { Tensor } from "../src/trace/tensor.ts";
import { ScarceMemory } from "./scarce_memory.ts";
import { tinyDataset } from "./tiny.ts";

function openScarce(threads = 2): { readonly device: Device; readonly memory: ScarceMemory } {
  const memory = new ScarceMemory();
  const opened = openCpu({ threads, memory });
  if (!("backend" in opened)) throw new Error(opened.reason);
  return { device: new Device(opened.backend), memory };
}

/**
 * Two products, which use the arena and the threads' scratch memory; for `side` 64 and an input of ones it gives 64⁵.
 */
const earlier = (device: Device) =>
  jit((x: Tensor) => x.matmul(x).matmul(x.matmul(x).mul(literal([2]))).sum(), { device, name: "earlier" });

const valueOf = async (array: { read(): Promise<ArrayLike<number>>; dispose(): void }) => {
  const [value] = Array.from(await array.read());
  array.dispose();
  return value;
};

Deno.test("an arena or scratch memory that cannot grow stays usable for earlier programs", async () => {
  for (const [what, side] of [["the arena", 96], ["scratch", 512]] as const) {
    const { device, memory } = openScarce();
    using x = device.array(new Float32Array(64 * 64).fill(1), [64, 64]);
    const program = earlier(device);
    assertEquals(await valueOf(program(x)), 2 * 64 ** 5);
    using large = device.array(new Float32Array(side * side).fill(1), [side, side]);
    const grown = jit((x: Tensor) => x.matmul(x).matmul(x).sum(), { device, name: "grown" });
    const { held } = memory;
    for (let refusals = 0;; refusals++) {
      memory.asked = 0;
      memory.refused = refusals + 1;
      let result;
      try {
        result = grown(large);
      } catch (error) {
        assert(error instanceof LocalgradError, String(error));
      }
      memory.refused = Infinity;
      // Memory that was freed by mistake would be allocated again here, and overwritten by the earlier program.
      const others = Array.from({ length: 40 }, () => device.array(new Float32Array(4096).fill(7)));
      assertEquals(await valueOf(program(x)), 2 * 64 ** 5);
      for (const other of others) {
        assert(
          (await other.read()).every((value) => value === 7),
          `${what}: memory in use was allocated again`,
        );
        other.dispose();
      }
      if (result === undefined) continue;
      assertEquals(await valueOf(result), side ** 4);
      assert(refusals >= 4, `only ${refusals} allocations were refused`);
      break;
    }
    assert(memory.held.length > held.length);
    await device.close();
    assertEquals([memory.used, memory.held], [0, []]);
  }
});

/** A minimal network of two blocks. */
const model: Model = {
  name: "least",
  input: { height: 8, width: 8, channels: 3 },
  classes: 3,
  stem: { conv1: conv({ in: 3, out: 4, padding: 1 }), relu: relu() },
  blocks: [
    { name: "layer1.0", layer: conv({ in: 4, out: 4, padding: 1 }), stage: 1 },
    { name: "layer1.1", layer: batchNorm({ channels: 4 }), stage: 1 },
  ],
  head: { pool: globalAveragePooling(), fc: linear({ in: 4, out: 3 }) },
};

/** Makes a trainer, trains, saves, evaluates and restores; returns the test error and the final parameters. */
async function session(device: Device): Promise<number[]> {
  const images = tinyDataset(6, 3);
  using run = await trainer({
    ...{ device, model, modules: 2, method: man(dgl()), batch: 4 },
    ...{ optimizer: sgd({ momentum: 0.9 }), schedule: constant(0.01) },
  });
  await run.fit(images, { epochs: 1, observers: [] });
  const snapshot = await run.snapshot();
  const { error } = await run.evaluate(images);
  run.restore(snapshot);
  const { tensors } = await run.snapshot();
  return [error, ...[...tensors.values()].flatMap(({ data }) => [...data])];
}

for (const forGood of [false, true]) {
  const how = forGood ? "and all after it refused" : "alone refused";
  const which = forGood ? "every third n" : "every n";
  Deno.test(`training with the nth allocation ${how} ends in our error, for ${which}, and leaves nothing`, async () => {
    const free = openScarce();
    const expected = await session(free.device);
    await free.device.close();
    let failures = 0;
    for (let n = 1, done = false; !done; n += forGood ? 3 : 1) {
      const { device, memory } = openScarce(1);
      using x = device.array(new Float32Array(64 * 64).fill(1), [64, 64]);
      const program = earlier(device);
      assertEquals(await valueOf(program(x)), 2 * 64 ** 5);
      const before = memory.held;
      Object.assign(memory, { asked: 0, refused: n, forGood });
      try {
        assertEquals(await session(device), expected);
        done = memory.asked < n;
      } catch (error) {
        if (!(error instanceof LocalgradError)) throw error;
        assertStringIncludes(error.message, "there is no memory for");
        failures++;
      }
      memory.refused = Infinity;
      assertEquals(device.liveArrays, 1);
      assertEquals(await valueOf(program(x)), 2 * 64 ** 5, `after refusal ${n}`);
      const others = (what: string) => !/^the (arena of|threads' scratch)/.test(what);
      assertEquals(memory.held.filter(others), before.filter(others), `after refusal ${n}`);
      await device.close();
      assertEquals([memory.used, memory.held, device.backend.liveBytes], [0, [], 0]);
    }
    assert(failures > (forGood ? 20 : 60), `${failures} refusals`);
  });
}

Deno.test("a trainer restores a snapshot without allocating memory", async () => {
  const { device, memory } = openScarce();
  const options = { device, model, modules: 2, method: man(dgl()), batch: 4 };
  using run = await trainer({ ...options, optimizer: sgd({ momentum: 0.9 }), schedule: constant(0.1) });
  const start = await run.snapshot();
  await run.fit(tinyDataset(4, 3), { epochs: 1, observers: [] });
  Object.assign(memory, { asked: 0, refused: 1, forGood: true });
  run.restore(start);
  const { tensors } = await run.snapshot();
  assertEquals(tensors, start.tensors);
  assertEquals(memory.asked, 0);
  await device.close();
});

Deno.test({
  name: "a device for which V8 has no memory is refused with a reason and a remedy, and auto picks the next",
  sanitizeResources: false, // auto tries CUDA first, and a process keeps its libraries
  async fn() {
    const { Memory } = WebAssembly;
    let made = 0;
    WebAssembly.Memory = class extends Memory {
      constructor(descriptor: WebAssembly.MemoryDescriptor) {
        if (++made >= 3) throw new RangeError("WebAssembly.Memory(): could not allocate memory");
        super(descriptor);
      }
    };
    const opened: Device[] = [];
    try {
      const refused = await assertRejects(async () => {
        // Memories of closed devices come first.
        for (let i = 0; i < 20; i++) opened.push(await open("cpu", { threads: 2 }));
      }, LocalgradError);
      assertStringIncludes(refused.message, "no cpu device: V8 cannot allocate its memory");
      assertStringIncludes(refused.message, "close unused devices");
      assert(opened.length >= 2);
      await using next = await open("auto");
      assert(next.name !== "cpu");
      if (next.name === "reference") {
        assertStringIncludes(next.choice, "not cpu: V8 cannot allocate its memory");
      }
      await opened.pop()!.close();
      await using again = await open("cpu", { threads: 2 });
      using x = again.array([1, 2]);
      assertEquals([...await x.read()], [1, 2]);
    } finally {
      WebAssembly.Memory = Memory;
      for (const device of opened) await device.close();
    }
    assertEquals(liveWorkerCount(), 0);
  },
});

Deno.test("a device reuses the memory of a closed device, never that of an open one", async () => {
  const MIB = 2 ** 20;
  const program = (device: Device) => jit((x: Tensor) => x.exp().sum(0).mul(2), { device });
  const use = async (device: Device) => {
    using x = device.zeros([4 * MIB / 4]);
    assert((await x.read()).every((value) => value === 0));
    assertEquals(await valueOf(program(device)(x)), 2 * 4 * MIB / 4);
    device.array(new Float32Array(4 * MIB / 4).fill(NaN)).dispose(); // for the next device to find
  };
  const sizes: number[] = [];
  for (let i = 0; i < 3; i++) {
    const { device, memory } = openScarce();
    await use(device);
    await device.close();
    sizes.push(memory.memory.buffer.byteLength);
    const beside = openScarce();
    assert(beside.memory.memory === memory.memory, "the closed device's memory is not used again");
    const other = openScarce();
    assert(other.memory.memory !== memory.memory, "two open devices share a memory");
    await Promise.all([use(beside.device), use(other.device)]);
    await other.device.close();
    await beside.device.close();
  }
  assertEquals(sizes, sizes.map(() => sizes[0]));
});
