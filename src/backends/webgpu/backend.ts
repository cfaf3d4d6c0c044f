import type { Plan, Target } from "../../compile/plan.ts";
import type { DType } from "../../trace/dtype.ts";
import type { Backend, DeviceBuffer, Executable, Opened } from "../backend.ts";
import { type Communicators, groupSizes } from "../communicator.ts";
import { BufferUsage } from "./flags.ts";
import { Arena } from "./arena.ts";
import { own, WebGpuBuffer } from "./buffer.ts";
import { Gpu } from "./gpu.ts";
import { WebGpuExecutable } from "./executable.ts";
import { lowerPlan } from "./lower.ts";
import { WorkOrder } from "./order.ts";
import { Pipelines } from "./pipelines.ts";
import { Readbacks } from "./readbacks.ts";
import { type Limits, targetOf } from "./target.ts";
import type { Variant } from "./variant.ts";

/** Deno's own WebGPU. */
export class WebGpuBackend implements Backend {
  readonly name = "webgpu";
  readonly target: Target;
  readonly software: boolean;
  readonly #gpu: Gpu;
  readonly #arena: Arena;
  readonly #pipelines: Pipelines;
  readonly #readbacks: Readbacks;
  readonly #order = new WorkOrder();
  readonly #communicators: Communicators;
  readonly #executables = new Set<WebGpuExecutable>();
  #staged = 0;

  constructor(gpu: Gpu, limits: Limits = gpu.device.limits, communicators: Communicators = {}) {
    this.#gpu = gpu;
    this.#communicators = communicators;
    this.software = gpu.variant.kind === "software";
    this.target = { ...targetOf(limits, gpu.variant), groups: groupSizes(communicators) };
    this.#arena = new Arena(gpu, this.target.segmentBytes);
    this.#pipelines = new Pipelines(gpu.device);
    this.#readbacks = new Readbacks(gpu);
  }

  get description(): string {
    return this.#gpu.description;
  }

  get liveBuffers(): number {
    return this.#gpu.liveBuffers + [...this.#executables].filter(({ heldBytes }) => heldBytes > 0).length;
  }

  get liveBytes(): number {
    return [...this.#executables].reduce((sum, { heldBytes }) => sum + heldBytes, this.#gpu.liveBytes);
  }

  allocate(bytes: number, _dtype: DType): DeviceBuffer {
    const usage = BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST;
    return new WebGpuBuffer(bytes, this.#gpu.create(bytes, usage));
  }

  free(buffer: DeviceBuffer): void {
    const { gpu } = own(buffer);
    this.#order.do(() => {
      this.#readbacks.flush();
      this.#gpu.destroy(gpu);
    });
  }

  write(buffer: DeviceBuffer, data: Uint8Array): void {
    this.#gpu.check();
    this.#order.check();
    const kept = this.#order.busy ? data.slice() : data; // the source may be changed once this returns
    this.#order.do(() => this.#write(buffer, kept));
  }

  #write(buffer: DeviceBuffer, data: Uint8Array): void {
    this.#readbacks.flush();
    const { queue } = this.#gpu.device;
    const target = own(buffer);
    writeBytes(queue, target.gpu, data);
    target.pending = [];
    // Written bytes stay staged in host memory until the next submission.
    this.#staged += data.byteLength;
    if (this.#staged > MAX_STAGED) {
      queue.submit([]);
      this.#staged = 0;
    }
  }

  async read(buffer: DeviceBuffer, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#gpu.check();
    this.#order.check();
    const source = own(buffer);
    if (!this.#order.busy) return await this.#read(source, bytes);
    const { promise, resolve } = Promise.withResolvers<Promise<Uint8Array<ArrayBuffer>>>();
    this.#order.do(() => resolve(this.#read(source, bytes)));
    return await promise;
  }

  async #read({ gpu, pending }: WebGpuBuffer, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#order.check();
    const data = this.#readbacks.read(gpu, bytes);
    for (const { validation, error } of pending) {
      await validation.done;
      if (validation.fault === undefined) continue;
      await data.catch(() => {});
      throw error();
    }
    return data;
  }

  compile(plan: Plan): Executable {
    this.#gpu.check();
    this.#readbacks.flush();
    const dispatches = lowerPlan(plan, this.#gpu.variant);
    this.#order.check();
    this.#order.do(() => void this.#arena.grow(plan.arenaBytes)); // a larger one replaces the memory of a run under way
    const constants = plan.constants.map(({ data }) => {
      const buffer = this.#gpu.create(data.byteLength, BufferUsage.STORAGE | BufferUsage.COPY_DST);
      writeBytes(
        this.#gpu.device.queue,
        buffer,
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      );
      return buffer;
    });
    const executable = new WebGpuExecutable({
      ...{ gpu: this.#gpu, arena: this.#arena, readbacks: this.#readbacks, pipelines: this.#pipelines },
      ...{ plan, constants, dispatches, communicators: this.#communicators, order: this.#order },
      disposed: (disposed) => this.#executables.delete(disposed),
    });
    this.#executables.add(executable);
    return executable;
  }

  kernelText(plan: Plan): string {
    const seen = new Set<string>();
    return lowerPlan(plan, this.#gpu.variant).filter(({ code }) => !seen.has(code) && seen.add(code))
      .map(({ label, code }) => `// ${label}\n${code}`).join("\n");
  }

  async finish(): Promise<void> {
    this.#readbacks.flush();
    await this.#order.idle();
    await this.#gpu.device.queue.onSubmittedWorkDone();
    this.#order.check();
    this.#gpu.check();
  }

  async close(): Promise<void> {
    await this.#order.idle();
    this.#readbacks.flush();
    // Batches in flight free their own staging buffers.
    await this.#gpu.device.queue.onSubmittedWorkDone().catch(() => {});
    await this.#readbacks.idle();
    this.#gpu.close();
  }
}

/** The most bytes staged before they are submitted. */
const MAX_STAGED = 2 ** 24;

/**
 * Opens Deno's WebGPU, or returns the reason why there is none. `variant` overrides the choice of kernels, for tests;
 * `communicators` are the groups of processes that programs exchange data with.
 */
export async function openWebgpu(
  variant?: Variant | Variant["kind"],
  communicators?: Communicators,
): Promise<Opened> {
  const gpu = globalThis.navigator?.gpu;
  if (gpu === undefined) {
    return { reason: "this runtime has no WebGPU", remedy: "use Deno 2.9 or later" };
  }
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (adapter === null) {
      return {
        reason: "WebGPU found no adapter",
        remedy:
          "install the Vulkan driver of your graphics card, or Mesa's software driver (Debian: mesa-vulkan-drivers)",
      };
    }
    return { backend: new WebGpuBackend(await Gpu.open(adapter, variant), undefined, communicators) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { reason: `WebGPU opened no device: ${why}`, remedy: "update the graphics driver" };
  }
}

/** Writes bytes, padded to a whole word at the end: WebGPU writes nothing smaller. */
function writeBytes(queue: GPUQueue, buffer: GPUBuffer, data: Uint8Array): void {
  const whole = Math.floor(data.byteLength / 4) * 4;
  if (whole > 0) queue.writeBuffer(buffer, 0, data as Uint8Array<ArrayBuffer>, 0, whole);
  if (whole === data.byteLength) return;
  const last = new Uint8Array(4);
  last.set(data.subarray(whole));
  queue.writeBuffer(buffer, whole, last);
}
