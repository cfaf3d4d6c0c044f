import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { skips } from "../../../tests/gate.ts";
import type { Kernel } from "../../compile/kernel.ts";
import type { Plan, Step } from "../../compile/plan.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Aval } from "../../trace/dtype.ts";
import type { StructuredInstruction } from "../../trace/program.ts";
import { openWebgpu, WebGpuBackend } from "./backend.ts";
import { Gpu } from "./gpu.ts";
import { lowerPlan } from "./lower.ts";
import { Pipelines, UNUSED } from "./pipelines.ts";
import { planOf } from "../../../tests/webgpu_adapter.ts";
import { variants } from "./variant.ts";

const ignore = await skips("webgpu", openWebgpu);
const f32 = (...shape: number[]): Aval => ({ shape, dtype: "f32" });
const none = () => 0;

/** A backend on a device with some methods replaced. */
async function openWith(replaced: (device: GPUDevice) => Partial<GPUDevice>): Promise<WebGpuBackend> {
  const adapter = (await navigator.gpu.requestAdapter())!;
  const proxy = <T extends object>(target: T, own: object): T =>
    new Proxy(target, {
      get(target, name) {
        const value = Reflect.get(name in own ? own : target, name, name in own ? own : target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  const requestDevice = async (descriptor: GPUDeviceDescriptor) => {
    const device = await adapter.requestDevice(descriptor);
    return proxy(device, replaced(device));
  };
  return new WebGpuBackend(await Gpu.open(proxy(adapter, { requestDevice })));
}

/** A plan for y = x · factor, of one element. */
function times(factor: number, name: string): Plan {
  const kernel: Kernel = {
    ...{ space: [1], inputs: [0], stores: [{ node: 2, output: 1 }] },
    nodes: [
      { kind: "load", input: 0, view: { offset: 0, strides: [1] }, dtype: "f32" },
      { kind: "constant", value: factor, dtype: "f32" },
      { kind: "binary", fn: "mul", args: [0, 1], dtype: "f32" },
    ],
  };
  return { ...planOf({ kind: "kernel", kernel, scope: "" }, [f32(1)], [f32(1)], none), name };
}

/** A plan for a product that sums `count` ones, in parts that take memory in the arena. */
function ones(count: number, name: string, backend: WebGpuBackend): Plan {
  const instruction = {
    ...{
      op: "matmul",
      attrs: { transposeA: false, transposeB: false },
      inputs: [0, 1],
      output: 2,
      scope: "",
    },
  } as StructuredInstruction;
  const step: Step = { kind: "op", instruction };
  return { ...planOf(step, [f32(4, count), f32(count, 4)], [f32(4, 4)], backend.target.workspace), name };
}

Deno.test(
  "a program that WebGPU refuses fails by name, and no other",
  { ignore },
  async () => {
    const backend = await openWith((device) => ({
      createShaderModule: (descriptor) =>
        device.createShaderModule(
          descriptor.code.includes("777.0") ? { ...descriptor, code: "fn broken( {" } : descriptor,
        ),
    }));
    const value = async (buffer: Parameters<typeof backend.read>[0]) =>
      new Float32Array((await backend.read(buffer, 4)).buffer)[0];
    const [x, y, z] = [1, 2, 3].map(() => backend.allocate(4, "f32"));
    backend.write(x, new Uint8Array(Float32Array.of(5).buffer));
    const good = backend.compile(times(2, "good")), bad = backend.compile(times(777, "bad"));
    bad.run([x], [y]); // the refusal is not known yet
    good.run([y], [z]); // nor is it for results that depend on it
    const error = await assertRejects(() => value(y), LocalgradError, "bad cannot be compiled");
    assert(error.message.includes("kernel map") && error.message.includes("expected identifier"));
    await assertRejects(() => value(z), LocalgradError, "bad cannot be compiled");
    assertThrows(() => bad.run([x], [y]), LocalgradError, "bad cannot be compiled");
    assertThrows(() => good.run([y], [z]), LocalgradError, "bad cannot be compiled");

    good.run([x], [z]);
    assertEquals(await value(z), 10);
    good.run([x], [y]); // overwrites what the other program left
    assertEquals(await value(y), 10);
    bad.dispose();
    const again = backend.compile(times(777, "again"));
    again.run([x], [y]);
    await assertRejects(() => value(y), LocalgradError, "again cannot be compiled");
    backend.write(y, new Uint8Array(Float32Array.of(7).buffer));
    good.run([y], [z]);
    assertEquals(await value(z), 14);
    await backend.finish();
    await backend.close();
    assertEquals([backend.liveBuffers, backend.liveBytes], [0, 0]);
  },
);

Deno.test("earlier programs keep their arena if it cannot grow", { ignore }, async () => {
  let largest = Infinity;
  const backend = await openWith((device) => ({
    // WebGPU refuses such a buffer as late as it reports that memory has run out.
    createBuffer: (descriptor) =>
      device.createBuffer(
        descriptor.size > largest
          ? { ...descriptor, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE }
          : descriptor,
      ),
  }));
  const small = ones(1024, "small", backend), large = ones(16_384, "large", backend);
  assert(small.arenaBytes > 0 && large.arenaBytes > small.arenaBytes);
  const filled = (count: number) => {
    const buffer = backend.allocate(count * 4, "f32");
    backend.write(buffer, new Uint8Array(new Float32Array(count).fill(1).buffer));
    return buffer;
  };
  const [a, b, y, z] = [filled(4 * 1024), filled(4 * 16_384), filled(16), filled(16)];
  const value = async (buffer: typeof y) => new Float32Array((await backend.read(buffer, 64)).buffer)[15];
  const first = backend.compile(small);
  first.run([a, a], [y]);
  assertEquals(await value(y), 1024);
  largest = small.arenaBytes;
  const bytes = backend.liveBytes;
  const second = backend.compile(large);
  first.run([a, a], [y]); // while the larger arena is under validation
  second.run([b, b], [z]);
  const error = await assertRejects(() => value(z), LocalgradError, `large needs ${large.arenaBytes} bytes`);
  assertEquals(error.code, "tooLarge");
  assertEquals(await value(y), 1024);
  first.run([a, a], [y]);
  assertEquals(await value(y), 1024);
  assertEquals(backend.liveBytes, bytes);
  largest = Infinity;
  second.run([b, b], [z]); // now there is enough memory
  first.run([a, a], [y]);
  assertEquals([await value(y), await value(z)], [1024, 16_384]);
  assertEquals(backend.liveBytes, bytes + large.arenaBytes - small.arenaBytes);
  await backend.close();
  assertEquals([backend.liveBuffers, backend.liveBytes], [0, 0]);
});

Deno.test(
  "unused pipelines are kept up to a bound, the most recently used ones",
  { ignore },
  async () => {
    const { device } = await Gpu.open((await navigator.gpu.requestAdapter())!);
    const pipelines = new Pipelines(device);
    const dispatches = Array.from(
      { length: UNUSED + 40 },
      (_, i) => lowerPlan(times(i + 2, "p"), variants.software)[0],
    );
    const used = pipelines.take(dispatches[0]);
    for (const dispatch of dispatches) pipelines.take(dispatch);
    assertEquals(pipelines.size, UNUSED + 40);
    for (const dispatch of dispatches) pipelines.release(dispatch);
    assertEquals(pipelines.size, UNUSED + 1);
    assertEquals(pipelines.take(dispatches[0]), used);
    const last = pipelines.take(dispatches[UNUSED + 39]);
    assertEquals(pipelines.take(dispatches[UNUSED + 39]), last);
    await device.queue.onSubmittedWorkDone();
    device.destroy();
  },
);

Deno.test(
  "released pipelines are collected, though V8 does not see their memory",
  { ignore },
  async () => {
    const { device } = await Gpu.open((await navigator.gpu.requestAdapter())!);
    const pipelines = new Pipelines(device);
    const made: WeakRef<GPUComputePipeline>[] = [];
    for (let i = 0; i < 2000; i++) {
      const [dispatch] = lowerPlan(times(i + 2, "p"), variants.software);
      made.push(new WeakRef(pipelines.take(dispatch).pipeline));
      pipelines.release(dispatch);
      if (i % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const held = made.filter((pipeline) => pipeline.deref() !== undefined).length;
    assert(held < 1600, `${held} of ${made.length} are in memory`);
    device.destroy();
  },
);

Deno.test("running out of memory, which WebGPU reports late, has the code tooLarge", { ignore }, async () => {
  const gpu = await Gpu.open((await navigator.gpu.requestAdapter())!);
  for (const error of [new GPUOutOfMemoryError("no room"), new GPUValidationError("something later")]) {
    gpu.device.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error }));
  }
  const error = assertThrows(() => gpu.check(), LocalgradError, "no room; open the device again");
  assertEquals(error.code, "tooLarge");
  gpu.close();
  const other = await Gpu.open((await navigator.gpu.requestAdapter())!);
  other.fail("the device was lost");
  assertEquals(assertThrows(() => other.check(), LocalgradError).code, undefined);
  other.close();
});
