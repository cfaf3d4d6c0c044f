import { type ErrorCode, LocalgradError } from "../../base/errors.ts";
import { type Variant, variants } from "./variant.ts";

/** A WebGPU device that reports its errors and counts its buffers. */
export class Gpu {
  /** The device. */
  readonly device: GPUDevice;
  /** The shape of kernels for this adapter. */
  readonly variant: Variant;
  /** A description of the adapter for people. */
  readonly description: string;
  readonly #live = new Map<GPUBuffer, number>();
  #fault: LocalgradError | undefined;
  #liveBytes = 0;

  private constructor(device: GPUDevice, adapter: GPUAdapter, given: Variant | Variant["kind"] | undefined) {
    this.device = device;
    const { info } = adapter;
    const name = info.description || info.device || info.vendor || "unnamed adapter";
    this.description = `${name} through WebGPU`;
    const variant = given ?? (isSoftware(info) ? "software" : "hardware");
    this.variant = typeof variant === "string" ? variants[variant] : variant;
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      const { error } = event as GPUUncapturedErrorEvent;
      this.fail(error.message, error instanceof GPUOutOfMemoryError ? "tooLarge" : undefined);
    });
    device.lost.then(({ reason, message }) => {
      if (reason !== "destroyed") this.fail(`the device was lost (${message || "no reason given"})`);
    });
  }

  /** Opens an adapter with the highest limits that it offers. `variant` overrides the choice of kernels. */
  static async open(adapter: GPUAdapter, variant?: Variant | Variant["kind"]): Promise<Gpu> {
    const requiredLimits: Record<string, number> = {};
    for (const name of LIMITS) requiredLimits[name] = adapter.limits[name];
    return new Gpu(await adapter.requestDevice({ requiredLimits }), adapter, variant);
  }

  /** Throws the device's first error, if there was one: WebGPU reports errors late. */
  check(): void {
    if (this.#fault === undefined) return;
    const { message, code } = this.#fault;
    throw new LocalgradError(message, { cause: this.#fault, code });
  }

  /** Records an error after which the device cannot be used; the first one counts. */
  fail(fault: string, code?: ErrorCode): void {
    this.#fault ??= new LocalgradError(
      `webgpu: ${fault.trim()}; open the device again, and use a smaller batch if memory ran out`,
      { code },
    );
  }

  /** Tests whether a buffer was created here and not yet destroyed. */
  holds(buffer: GPUBuffer): boolean {
    return this.#live.has(buffer);
  }

  /** The number of buffers created and not yet destroyed. */
  get liveBuffers(): number {
    return this.#live.size;
  }

  /** The bytes of those buffers. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Creates a buffer of at least `bytes` bytes, in whole words. */
  create(bytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    this.check();
    const size = Math.max(4, wordsOf(bytes) * 4);
    const { maxBufferSize } = this.device.limits;
    if (size > maxBufferSize) {
      throw new LocalgradError(
        `webgpu: cannot allocate ${bytes} bytes: a buffer of this adapter has at most ${maxBufferSize}; use a smaller batch`,
        { code: "tooLarge" },
      );
    }
    const buffer = this.device.createBuffer({ size, usage });
    this.#live.set(buffer, size);
    this.#liveBytes += size;
    return buffer;
  }

  /** Destroys a buffer; work already submitted on it is unaffected. */
  destroy(buffer: GPUBuffer): void {
    const bytes = this.#live.get(buffer);
    if (bytes === undefined) {
      throw new Error("webgpu: a buffer was freed twice, or belongs to another device");
    }
    this.#live.delete(buffer);
    this.#liveBytes -= bytes;
    buffer.destroy();
  }

  /** Destroys all buffers and the device. */
  close(): void {
    for (const buffer of [...this.#live.keys()]) this.destroy(buffer);
    this.fail("the device is closed");
    this.device.destroy();
  }
}

/** Limits to request: without a request, a device has the specification's minimums. */
const LIMITS = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
] as const;

/** Tests whether an adapter emulates a graphics card on the CPU. */
function isSoftware(info: GPUAdapterInfo): boolean {
  return info.isFallbackAdapter || /llvmpipe|lavapipe|swiftshader|software/i.test(info.description);
}

/** The number of 4-byte words in `bytes`, rounded up. Bit operators would end at 2 GiB. */
export function wordsOf(bytes: number): number {
  return Math.ceil(bytes / 4);
}
