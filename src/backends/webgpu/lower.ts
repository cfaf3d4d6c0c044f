import { at } from "../../base/at.ts";
import type { Plan, Step } from "../../compile/plan.ts";
import { LocalgradError } from "../../base/errors.ts";
import { bytesOf } from "../../trace/dtype.ts";
import { isCollectiveInstruction } from "../../trace/program.ts";
import { type Place, placeKey, placeOf, type Slot } from "../place.ts";
import type { Binding, Call } from "./call.ts";
import { fused } from "./fused.ts";
import { iterationsOf, MAX_ITERATIONS } from "./loops.ts";
import { structured } from "./structured.ts";
import type { Variant } from "./variant.ts";

/**
 * The bytes of a binding: one of the plan's own buffers, or a range of the arena. WebGPU cannot bind an empty range, so a
 * placeholder is bound for values without elements, which no kernel accesses.
 */
export interface Range {
  readonly kind: Place["kind"] | "empty";
  /** The index of the buffer; 0 for the arena, the value for an empty one. */
  readonly index: number;
  /** The first byte. */
  readonly offset: number;
  /** The number of bytes. */
  readonly bytes: number;
}

/** One dispatch, complete except for its device objects. */
export interface Dispatch {
  /** The step it belongs to. */
  readonly step: Step;
  readonly label: string;
  /** The whole shader, in WGSL. */
  readonly code: string;
  /** One `r` or `w` per binding: read-only or read-write storage. */
  readonly access: string;
  readonly ranges: readonly Range[];
  /** Workgroups along x and y. */
  readonly groups: readonly [number, number];
  /** The most iterations that all loops of one invocation add up to. */
  readonly iterations: number;
}

/** The dispatches of a plan, in order. Needs no device. */
export function lowerPlan(plan: Plan, variant: Variant): Dispatch[] {
  return plan.steps.flatMap((step) => lowerStep(plan, step, variant));
}

/** The dispatches of one step of a plan. */
function lowerStep(plan: Plan, step: Step, variant: Variant): Dispatch[] {
  return callsOf(plan, step, variant).filter(({ count }) => count > 0).map((call) =>
    dispatch(plan, step, call)
  );
}

function callsOf(plan: Plan, step: Step, variant: Variant): readonly Call[] {
  if (step.kind === "kernel") {
    return fused(step.kernel, plan.values, variant, (value) => placeKey(rangeOf(plan, step, value)));
  }
  const { instruction } = step;
  if (isCollectiveInstruction(instruction)) return []; // staging.ts makes the exchanges
  return structured(instruction, plan.values, variant);
}

function rangeOf(plan: Plan, step: Step, slot: Slot): Range {
  const place = placeOf(plan, step, slot);
  const bytes = slot === "workspace" ? step.workspace?.bytes ?? 0 : bytesOf(at(plan.values, slot));
  if (slot === "workspace" || bytes > 0) return { ...place, bytes };
  return { kind: "empty", index: slot, offset: 0, bytes: EMPTY_BYTES };
}

/** Bytes of the placeholder for empty values: one element of the widest type, the least that a binding may have. */
export const EMPTY_BYTES = 16;

/** The most workgroups along one dimension that every adapter allows. */
const MAX_GROUPS = 65535;

function dispatch(plan: Plan, step: Step, given: Call): Dispatch {
  const call = withoutDuplicates(given, (slot) => rangeOf(plan, step, slot));
  const bound = call.bindings.map(({ slot, write }) => ({ range: rangeOf(plan, step, slot), write }));
  const ranges = bound.map(({ range }) => range);
  const written = new Set(bound.flatMap(({ range, write }) => write ? [bufferOf(range)] : []));
  // A dispatch must not bind one buffer both read-only and read-write, and the arena is one buffer.
  const access = ranges.map((range) => range.kind === "arena" || written.has(bufferOf(range)) ? "w" : "r")
    .join("");
  const groups = Math.ceil(call.count / call.group);
  const rows = Math.ceil(groups / MAX_GROUPS), columns = Math.ceil(groups / rows);
  if (rows > MAX_GROUPS || columns * rows * call.group > 2 ** 32) {
    throw new LocalgradError(
      `webgpu: ${plan.name}: ${call.label} over ${call.count} elements is too large for one dispatch; use a smaller batch`,
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
    // group.z is always 0, but a compiler cannot know that: a dispatch has one layer of groups.
    ...(hidesZero ? ["  zero = group.z;"] : []),
    exact ? "  run(id);" : `  if (id < ${call.count}u) { run(id); }`,
    "}",
    "",
  ].join("\n");
  const iterations = iterationsOf(code);
  if (iterations > MAX_ITERATIONS) {
    throw new Error(
      `webgpu: ${plan.name}: ${call.label} loops ${iterations} times, more than every adapter allows`,
    );
  }
  return { step, label: call.label, code, access, ranges, groups: [columns, rows], iterations };
}

/**
 * The call with each range bound only once, even if it is two operands, as in the product of a matrix with itself. WebGPU
 * forbids binding a writable range twice, and the whole arena is writable.
 */
function withoutDuplicates(call: Call, range: (slot: Slot) => Range): Call {
  const bindings: Binding[] = [];
  let { text } = call;
  for (const bound of call.bindings) {
    const place = placeKey(range(bound.slot));
    const first = bindings.find(({ slot, type }) => placeKey(range(slot)) === place && type === bound.type);
    if (first === undefined) bindings.push(bound);
    else text = text.replace(new RegExp(`\\b${bound.name}\\[`, "g"), `${first.name}[`);
  }
  return { ...call, bindings, text };
}

const bufferOf = ({ kind, index }: Range): string => kind === "empty" ? kind : `${kind} ${index}`;
