import { assertEquals, assertThrows } from "@std/assert";
import type { Plan, Step } from "../compile/plan.ts";
import { planOf } from "../../tests/webgpu_adapter.ts";
import { placeKey, placeOf } from "./place.ts";

Deno.test("placeOf() finds a value in its buffer, its donor's, or the arena", () => {
  const kernel = { space: [4], inputs: [0], nodes: [], stores: [] };
  const step: Step = { kind: "kernel", kernel, scope: "" };
  const aval = { shape: [4], dtype: "f32" } as const;
  const plain = planOf(step, [aval, aval], [aval, aval], () => 8, [-1, 1]);
  const plan: Plan = { ...plain, locations: [...plain.locations, { kind: "arena", offset: 256 }, undefined] };
  const withWorkspace: Step = { ...step, workspace: { offset: 512, bytes: 8 } };
  const keys = ([0, 1, 2, 3, 4, "workspace"] as const).map((slot) =>
    placeKey(placeOf(plan, withWorkspace, slot))
  );
  assertEquals(keys, ["input 0 0", "input 1 0", "output 0 0", "input 1 0", "arena 0 256", "arena 0 512"]);
  assertThrows(() => placeOf(plan, step, "workspace"), Error, "no workspace");
  assertThrows(() => placeOf(plan, step, 5), Error, "no place");
});
