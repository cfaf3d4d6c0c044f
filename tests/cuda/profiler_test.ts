import { assert, assertEquals } from "@std/assert";
import type { CudaBackend } from "../../src/backends/cuda/backend.ts";
import { fillerBytes } from "../../src/backends/cuda/profiler.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import { conv2d } from "../../src/trace/functions.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { skips } from "../gate.ts";
import { openSimulated, report } from "./simulated.ts";

const ignore = await skips("cuda-simulated", () => openSimulated());

const MiB = 2 ** 20;

Deno.test("a profile clears at least twice the card's second cache before every launch", () => {
  assertEquals([60, 50, 40, 6, 0].map((cache) => fillerBytes(cache * MiB) / MiB), [128, 128, 128, 32, 32]);
});

/** Runs a few layers three times; returns the results and the closed backend. */
async function layers(
  profile: boolean,
): Promise<{ results: unknown[]; backend: CudaBackend; graphs: number }> {
  const opened = await openSimulated({ precision: "f32", profile });
  if (!("backend" in opened)) throw new Error(opened.reason);
  const backend = opened.backend as CudaBackend;
  await using device = new Device(backend);
  const f = jit((x: Tensor, w: Tensor) => {
    const y = conv2d(x, w, { padding: 1 });
    return y.sub(y.mean([0, 1, 2], { keepDims: true })).relu().reshape(-1, 4).matmul(
      w.reshape(9, 4).sum(0).reshape(4, 1),
    );
  }, { device });
  using x = device.array(Float32Array.from({ length: 50 }, (_, i) => Math.sin(i)), [2, 5, 5, 1]);
  using w = device.array(Float32Array.from({ length: 36 }, (_, i) => Math.cos(i)), [4, 3, 3, 1]);
  const results = [];
  for (let i = 0; i < 3; i++) {
    using y = f(x, w);
    results.push([...await y.read()]);
  }
  return { results, backend, graphs: backend.graphs.length };
}

Deno.test(
  "cuda, simulated: a profile counts the launches of each class, and changes no result",
  { ignore },
  async () => {
    const plain = await layers(false), profiled = await layers(true);
    assertEquals(profiled.results, plain.results);
    assertEquals([plain.graphs, profiled.graphs], [1, 0]);
    assertEquals(plain.backend.profiler, undefined);
    const { times, plans } = profiled.backend.profiler!;
    assertEquals(times.get("convolution")!.launches, 3);
    assertEquals(times.get("product")!.launches, 3);
    assert(times.get("reduction")!.launches >= 3);
    for (const { milliseconds, launches } of times.values()) assert(milliseconds >= 0.9e-3 * launches);
    assertEquals(plans.size, 1);
    assertEquals(report(), "");
  },
);
