import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { skips } from "../../../tests/gate.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Opened } from "../backend.ts";
import { openWebgpu, WebGpuBackend } from "./backend.ts";
import { Gpu } from "./gpu.ts";

const ignore = await skips("webgpu", openWebgpu);

/** Opens the backend with `requestAdapter` replaced. */
async function openWith(requestAdapter: () => Promise<unknown>): Promise<Opened> {
  Object.defineProperty(navigator, "gpu", { value: { requestAdapter }, configurable: true });
  try {
    return await openWebgpu();
  } finally {
    delete (navigator as { gpu?: unknown }).gpu;
  }
}

Deno.test("openWebgpu() returns the reason if there is no device", async () => {
  const none = await openWith(() => Promise.resolve(null));
  assert("reason" in none && none.reason.includes("no adapter") && none.remedy.includes("Vulkan"));
  const info = { isFallbackAdapter: false, description: "card" };
  const broken = { info, limits: {}, requestDevice: () => Promise.reject(new Error("out of devices")) };
  const refused = await openWith(() => Promise.resolve(broken));
  assert("reason" in refused && refused.reason.includes("out of devices"));
  const absent = await openWith(() => Promise.reject(new Error("no such driver")));
  assert("reason" in absent && absent.reason.includes("no such driver"));
});

Deno.test("an error outside any validation is reported by the next operation", { ignore }, async () => {
  const gpu = await Gpu.open((await navigator.gpu.requestAdapter())!);
  const backend = new WebGpuBackend(gpu);
  gpu.device.createShaderModule({ code: "fn broken( {" });
  await gpu.device.queue.onSubmittedWorkDone();
  assertThrows(() => backend.allocate(4, "f32"), LocalgradError, "webgpu: ");
  await backend.close();
  assertEquals(backend.liveBuffers, 0);
});

Deno.test("a lost device is reported by the next operation", { ignore }, async () => {
  const adapter = (await navigator.gpu.requestAdapter())!;
  let lose = (_: { reason: string; message: string }): void => {};
  const lost = new Promise((resolve) => lose = resolve);
  // A device that can be lost at will; methods are called on the real one.
  const losing = new Proxy(adapter, {
    get: (target, name) => {
      if (name !== "requestDevice") return bound(target, name);
      return async (descriptor: GPUDeviceDescriptor) =>
        new Proxy(await adapter.requestDevice(descriptor), {
          get: (device, name) => name === "lost" ? lost : bound(device, name),
        });
    },
  });
  const backend = new WebGpuBackend(await Gpu.open(losing));
  const buffer = backend.allocate(4, "f32");
  lose({ reason: "unknown", message: "unplugged" });
  await lost;
  await Promise.resolve();
  assertThrows(() => backend.write(buffer, new Uint8Array(4)), LocalgradError, "unplugged");
  await assertRejects(() => backend.read(buffer, 4), LocalgradError, "unplugged");
  await backend.close();
  assertEquals(backend.liveBuffers, 0);
});

Deno.test("a closed device is reported by the next operation", { ignore }, async () => {
  const backend = new WebGpuBackend(await Gpu.open((await navigator.gpu.requestAdapter())!));
  await backend.close();
  assertThrows(() => backend.allocate(4, "f32"), LocalgradError, "closed");
});

function bound(target: object, name: string | symbol): unknown {
  const value = Reflect.get(target, name, target);
  return typeof value === "function" ? value.bind(target) : value;
}
