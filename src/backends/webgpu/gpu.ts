import { type ErrorCode, LocalgradError } from "../../base/errors.ts";
import { type Variant, variants } from "./variant.ts";

/** A WebGPU device with its faults made visible and its buffers counted. */
export class Gpu {
  /** The device. */
  readonly device: GPUDevice;
  /** Shapes of kernels for this adapter. */
  readonly variant: Variant;
  /** The adapter, for people. */
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

  /** Opens an adapter with all that it offers of what is used here; `variant` overrides which kernels suit it. */
  static async open(adapter: GPUAdapter, variant?: Variant | Variant["kind"]): Promise<Gpu> {
    const requiredLimits: Record<string, number> = {};
    for (const name of LIMITS) requiredLimits[name] = adapter.limits[name];
    return new Gpu(await adapter.requestDevice({ requiredLimits }), adapter, variant);
  }

  /** Raises what went wrong since the last look, if anything: WebGPU tells of errors late. */
  check(): void {
    if (this.#fault === undefined) return;
    const { message, code } = this.#fault;
    throw new LocalgradError(message, { cause: this.#fault, code });
  }

  /** Takes note of what went wrong for good. */
  fail(fault: string, code?: ErrorCode): void {
    this.#fault ??= new LocalgradError(
      `webgpu: ${fault.trim()}; open a device anew, and take a smaller batch if memory ran out`,
      { code },
    );
  }

  /** Whether a buffer was created here and not yet destroyed. */
  holds(buffer: GPUBuffer): boolean {
    return this.#live.has(buffer);
  }

  /** Buffers created and not destroyed. */
  get liveBuffers(): number {
    return this.#live.size;
  }

  /** Bytes of those. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Creates a buffer. */
  create(bytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    this.check();
    const size = Math.max(4, wordsOf(bytes) * 4);
    const { maxBufferSize } = this.device.limits;
    if (size > maxBufferSize) {
      throw new LocalgradError(
        `webgpu: cannot allocate ${bytes} bytes: this adapter's buffers hold at most ${maxBufferSize}; use a smaller batch`,
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
    if (bytes === undefined) throw new Error("webgpu: a buffer was freed twice, or is another device's");
    this.#live.delete(buffer);
    this.#liveBytes -= bytes;
    buffer.destroy();
  }

  /** Ends the device and all its buffers. */
  close(): void {
    for (const buffer of [...this.#live.keys()]) this.destroy(buffer);
    this.fail("the device is closed");
    this.device.destroy();
  }
}

/** Asked for by name, because a device has the specification's minimums otherwise. */
const LIMITS = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
] as const;

/** Whether an adapter is a processor that plays a graphics card. */
export function isSoftware(info: GPUAdapterInfo): boolean {
  return info.isFallbackAdapter || /llvmpipe|lavapipe|swiftshader|software/i.test(info.description);
}

/** Whole 4-byte words that hold `bytes`; not by bit operators, which end at 2 GiB. */
export const wordsOf = (bytes: number): number => Math.ceil(bytes / 4);
