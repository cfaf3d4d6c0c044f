import { assertEquals } from "@std/assert";
import { multiples } from "../bench/parallel_table.ts";

Deno.test("bench parallel compares each system with its own 1 × 1", () => {
  const system = (system: string, fastest: number, planned: number[]) => ({
    ...{ system, fastest, median: 1.25 * fastest },
    memory: { planned, held: planned.map((kib) => 2 * kib) },
  });
  const lines = multiples([
    system("localgrad, cpu, 1 × 1", 100, [1000]),
    system("localgrad, cpu, 1 × 2", 80, [1000]),
    system("localgrad, cpu, modules 2 × 1, first recomputes", 50, [700, 600]),
    { system: "PyTorch 2, nchw, 1 × 1", fastest: 90, median: 90 },
    { system: "PyTorch 2, nchw, DDP gloo 2 × 1", fastest: 60, median: 45 },
    system("localgrad, webgpu, data 2 × 1", 1, [1]), // without a 1 × 1
  ]);
  assertEquals(lines, [
    "localgrad, cpu, 1 × 2: 1.25 × the images/s of 1 × 1 by the fastest turn, 1.25 × by the median",
    "localgrad, cpu, modules 2 × 1, first recomputes: 2.00 × the images/s of 1 × 1 by the fastest turn, 2.00 × by the " +
    "median; peaks planned 0.700 and 0.600, held 0.700 and 0.600 of its",
    "PyTorch 2, nchw, DDP gloo 2 × 1: 1.50 × the images/s of 1 × 1 by the fastest turn, 2.00 × by the median",
  ]);
});
