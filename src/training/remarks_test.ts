import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { tinyDataset } from "../../tests/tiny.ts";
import { make } from "../../tests/tiny_trainer.ts";
import type { RunInfo } from "../artifacts/observer.ts";
import { LocalgradError } from "../base/errors.ts";
import { warmup } from "../optim/cycles.ts";
import { constant, warmupCosine } from "../optim/schedules.ts";
import { open } from "../runtime/devices.ts";
import { remarksOn } from "./remarks.ts";

Deno.test("a run is told that its warm-up is longer, in epochs or in steps", () => {
  const of = (length: { epochs: number } | { steps: number }) =>
    remarksOn(warmup(constant(1), length), 2, 10).remarks?.[0] ?? "";
  assertStringIncludes(of({ epochs: 5 }), "the warm-up of 5 epochs is longer than the run of 20 steps");
  assertStringIncludes(of({ steps: 21 }), "the warm-up of 21 steps is longer than the run of 20 steps");
  assertEquals([of({ epochs: 2 }), of({ steps: 20 })], ["", ""]);
  assertEquals(remarksOn(constant(1), 2, 10), {});
});

Deno.test("fit() passes the remark to its observers", async () => {
  await using device = await open("cpu");
  using trainer = await make({ device, schedule: warmup(constant(0.01), { epochs: 3 }) });
  let told: RunInfo["remarks"];
  const observer = { start: (info: RunInfo) => void (told = info.remarks) };
  await trainer.fit(tinyDataset(16, 4), { epochs: 1, observers: [observer] });
  assertStringIncludes(told?.[0] ?? "", "the warm-up of 3 epochs");
});

Deno.test("warmupCosine() refuses a warm-up longer than its epochs", () => {
  warmupCosine({ base: 1, epochs: 10 });
  assertThrows(
    () => warmupCosine({ base: 1, epochs: 4 }),
    LocalgradError,
    "the warm-up of 10 epochs, the default, is longer than the 4 of the schedule",
  );
  assertThrows(
    () => warmupCosine({ base: 1, epochs: 4, warmup: 5 }),
    LocalgradError,
    "of 5 epochs is longer",
  );
});
