import type { Plan, Step } from "../../compile/plan.ts";
import { LocalgradError } from "../../base/errors.ts";
import { bytesOf } from "../../trace/dtype.ts";
import { type Place, placeKey, placeOf, type Slot } from "../place.ts";
import type { Bound, Call } from "./call.ts";
import { fused } from "./fused.ts";
import { iterationsOf, MAX_ITERATIONS } from "./loops.ts";
import { structuredCalls } from "./structured.ts";
import type { Variant } from "./variant.ts";

/**
 * Where a binding's bytes are: one of the plan's own buffers, or a stretch of the arena. WebGPU binds nothing empty, so
 * values without elements, which no kernel gets to touch, are bound to a stand-in.
 */
export interface Range {
  readonly kind: Place["kind"] | "empty";
  /** Which one; 0 for the arena, the value for an empty one. */
  readonly index: number;
  /** First byte. */
  readonly offset: number;
  /** Bytes. */
  readonly bytes: number;
}

/** One dispatch, ready but for its device objects. */
export interface Dispatch {
  readonly label: string;
  /** All of its WGSL. */
  readonly code: string;
  /** One `r` or `w` per binding: read-only or read-write storage. */
  readonly access: string;
  readonly ranges: readonly Range[];
  /** Workgroups along x and y. */
  readonly groups: readonly [number, number];
  /** Iterations that all loops of an invocation come to at most. */
  readonly iterations: number;
}

/** The dispatches of a plan, in order. Needs no device. */
export function lowerPlan(plan: Plan, variant: Variant): Dispatch[] {
  return plan.steps.flatMap((step) => lowerStep(plan, step, variant));
}

/** The dispatches of one step of a plan. */
export function lowerStep(plan: Plan, step: Step, variant: Variant): Dispatch[] {
  const calls = step.kind === "kernel"
    ? fused(step.kernel, plan.values, variant, (value) => placeKey(rangeOf(plan, step, value)))
    : structuredCalls(step.instruction, plan.values, variant);
  return calls.filter(({ count }) => count > 0).map((call) => dispatch(plan, step, call));
}

function rangeOf(plan: Plan, step: Step, slot: Slot): Range {
  const place = placeOf(plan, step, slot);
  const bytes = slot === "workspace" ? step.workspace?.bytes ?? 0 : bytesOf(plan.values[slot]);
  if (slot === "workspace" || bytes > 0) return { ...place, bytes };
  return { kind: "empty", index: slot, offset: 0, bytes: EMPTY_BYTES };
}

/** Bytes of the stand-in for what is empty: one element of the widest type, which a binding must hold. */
export const EMPTY_BYTES = 16;

/** Workgroups along one dimension, at most, everywhere. */
const MAX_GROUPS = 65535;

function dispatch(plan: Plan, step: Step, given: Call): Dispatch {
  const call = withoutTwins(given, (slot) => rangeOf(plan, step, slot));
  const ranges = call.bindings.map(({ slot }) => rangeOf(plan, step, slot));
  const written = new Set(call.bindings.flatMap(({ write }, i) => write ? [bufferOf(ranges[i])] : []));
  // One buffer may not be bound both read-only and read-write in a dispatch, and the arena is one buffer.
  const access = ranges.map((range) => range.kind === "arena" || written.has(bufferOf(range)) ? "w" : "r")
    .join("");
  const groups = Math.ceil(call.count / call.group);
  const rows = Math.ceil(groups / MAX_GROUPS), columns = Math.ceil(groups / rows);
  if (rows > MAX_GROUPS || columns * rows * call.group > 2 ** 32) {
    throw new LocalgradError(
      `webgpu: ${plan.name}: ${call.label} over ${call.count} elements is more than a dispatch can do; use a smaller batch`,
      { code: "tooLarge" },
    );
  }
  const exact = columns * rows * call.group === call.count;
  const hidesZero = /\bzero\b/.test(call.text);
  const code = [
    ...call.bindings.map(({ name, type }, i) =>
      `@group(0) @binding(${i}) var<storage, ${
        access[i] === "w" ? "read_write" : "read"
      }> ${name}: array<${type}>;`
    ),
    call.text,
    `@compute @workgroup_size(${call.group})`,
    "fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {",
    `  let id = ${rows > 1 ? `(group.y * ${columns}u + group.x)` : "group.x"} * ${call.group}u + local;`,
    // A dispatch has one layer of groups, of which a compiler knows nothing.
    ...(hidesZero ? ["  zero = group.z;"] : []),
    exact ? "  run(id);" : `  if (id < ${call.count}u) { run(id); }`,
    "}",
    "",
  ].join("\n");
  const iterations = iterationsOf(code);
  if (iterations > MAX_ITERATIONS) {
    throw new Error(
      `webgpu: ${plan.name}: ${call.label} loops ${iterations} times, more than every adapter does`,
    );
  }
  return { label: call.label, code, access, ranges, groups: [columns, rows], iterations };
}

/**
 * The call with an operand that it has twice, as a product with itself does, bound once: WebGPU lets no range be bound
 * twice that might be written, and the whole arena might.
 */
function withoutTwins(call: Call, range: (slot: Slot) => Range): Call {
  const bindings: Bound[] = [];
  let { text } = call;
  for (const bound of call.bindings) {
    const place = placeKey(range(bound.slot));
    const twin = bindings.find(({ slot, type }) => placeKey(range(slot)) === place && type === bound.type);
    if (twin === undefined) bindings.push(bound);
    else text = text.replace(new RegExp(`\\b${bound.name}\\[`, "g"), `${twin.name}[`);
  }
  return { ...call, bindings, text };
}

const bufferOf = ({ kind, index }: Range): string => kind === "empty" ? kind : `${kind} ${index}`;
