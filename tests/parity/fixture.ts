import { assert } from "@std/assert";
import type { Opened } from "../../src/backends/backend.ts";
import { openCpu } from "../../src/backends/cpu/backend.ts";
import { openCuda } from "../../src/backends/cuda/backend.ts";
import { openReference } from "../../src/backends/reference/backend.ts";
import { openWebgpu } from "../../src/backends/webgpu/backend.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { units } from "../fixtures/formula.ts";
import { skips } from "../gate.ts";
import { openBf16 } from "../onednn/bf16.ts";

/** A tensor as the fixtures record it; see ../fixtures/README.md. */
export interface Recorded {
  readonly l2: number;
  readonly dot: number;
  readonly samples: readonly [number, number, number];
  readonly noise?: number;
}

/** A tensor recorded in full. */
export interface Whole {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** Reads a file written by make.py. */
export function load<T>(name: string): T {
  return JSON.parse(Deno.readTextFileSync(new URL(`../fixtures/${name}.json`, import.meta.url)));
}

const openers: { readonly [name: string]: () => Promise<Opened> } = {
  reference: () => Promise.resolve(openReference()),
  cpu: () => Promise.resolve(openCpu()),
  "cpu-onednn": () => Promise.resolve(openCpu({ engine: "onednn" })),
  "cpu-bf16": () => openBf16(),
  webgpu: () => openWebgpu(),
  // Single precision, like PyTorch's fixtures; tests of a card's other precisions have their own tolerances.
  cuda: () => openCuda({ precision: "f32", engines: "heuristic" }),
  "cuda-simulated": async () => (await import("../cuda/simulated.ts")).openSimulated({ precision: "f32" }),
};

/** The backends to skip; checked once for each, because each skip is announced and counted. */
const skipped = new Map<string, Promise<boolean>>();

/** Registers a test for each of the named backends, on a device that must have no arrays left at the end. */
export async function testOn(
  names: readonly string[],
  what: (backend: string) => string,
  body: (device: Device) => Promise<void>,
): Promise<void> {
  for (const name of names) {
    const open = openers[name];
    if (!skipped.has(name)) skipped.set(name, skips(name, open));
    const ignore = await skipped.get(name)!;
    Deno.test({
      name: what(name),
      ignore,
      fn: async () => {
        const opened = await open();
        if (!("backend" in opened)) throw new Error(opened.reason);
        await using device = new Device(opened.backend);
        await body(device);
        assert(device.liveArrays === 0, `${device.liveArrays} arrays left over`);
      },
    });
  }
}

/** Asserts that `actual` is within `tolerance` of `expected`, relative to the largest expected element. */
export function assertClose(
  actual: ArrayLike<number>,
  expected: Whole,
  tolerance: number,
  what: string,
): void {
  assert(
    actual.length === expected.values.length,
    `${what}: ${actual.length} elements, not ${expected.shape}`,
  );
  const scale = expected.values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  expected.values.forEach((value, i) => {
    const error = Math.abs(actual[i]! - value);
    assert(
      error <= tolerance * scale,
      `${what}[${i}] is ${actual[i]}, not ${value}: off by ${error / scale} of ${scale}`,
    );
  });
}

/** The largest deviation of a tensor from any recorded property, relative to the recorded norm. */
export function distance(actual: ArrayLike<number>, { l2, dot, samples }: Recorded): number {
  const n = actual.length;
  const probe = units("probe", n);
  let square = 0, product = 0;
  for (let i = 0; i < n; i++) {
    square += actual[i]! * actual[i]!;
    product += actual[i]! * probe[i]!;
  }
  const at = [0, Math.floor(n / 3), n - 1].map((i, k) => Math.abs(actual[i]! - samples[k]!));
  return Math.max(Math.abs(Math.sqrt(square) - l2), Math.abs(product - dot), ...at) / l2;
}
