/** What the launches of a plan take, each timed alone, by class of step. */

import type { Backend } from "../../src/backends/backend.ts";
import { at } from "../../src/base/at.ts";
import { LocalgradError } from "../../src/base/errors.ts";
import type { Plan, Step } from "../../src/compile/plan.ts";
import { classOf, type WorkClass, workOf } from "../../src/compile/work.ts";
import type { ValueId } from "../../src/trace/program.ts";
import type { RecordedRun } from "./recorder.ts";

/** One step of a plan. */
export interface StepTime {
  readonly class: WorkClass;
  /** How it is computed, in the backend's words, or what kind of `other` it is; empty for fused kernels. */
  readonly way: string;
  /** The op and its shapes: `conv 32,16,16,3 · 16,3,3,3 → 32,16,16,16`. */
  readonly what: string;
  /** Where in the network it is. */
  readonly scope: string;
  readonly launches: number;
  /** The sum of its launches, each the fastest of all passes. */
  readonly milliseconds: number;
  /** Operations and bytes, counted from shapes: each operand and result once. */
  readonly operations: number;
  readonly bytes: number;
}

/** The times of a plan. */
export interface Profile {
  readonly plan: string;
  /** Milliseconds of the plan run as usual, fastest. */
  readonly whole: number;
  /** Milliseconds of waiting for a device that has nothing to do, fastest. */
  readonly idle: number;
  /** How often a launch is issued before it is waited for; its time is the mean, with its part of the wait. */
  readonly repeats: number;
  /** How often each launch was timed. */
  readonly passes: number;
  /** One for each step of the plan, in order. */
  readonly steps: readonly StepTime[];
}

/** Passes that are made however long they take. */
const FEWEST_PASSES = 3;

/**
 * Issues of a launch in a row where waiting alone takes more than a millisecond: WebGPU in Deno looks about every 10 ms
 * whether work is done. A launch that updates its operand in place then goes on from its own result, which no time
 * depends on.
 */
const REPEATS = 20;

/** Profiles a run in passes for about `seconds`: one run as usual, then one launch by launch. */
export async function profileOf(backend: Backend, run: RecordedRun, seconds: number): Promise<Profile> {
  const { plan, executable, inputs, outputs } = run;
  if (executable.launches === undefined) {
    throw new LocalgradError(`${backend.name} has no profile here; for CUDA, use bench/gpu.sh`);
  }
  const timed = async (issue: () => void): Promise<number> => {
    const start = performance.now();
    issue();
    await backend.finish();
    return performance.now() - start;
  };
  let [whole, idle, passes] = [Infinity, Infinity, 0];
  await backend.finish();
  for (let i = 0; i < 3; i++) idle = Math.min(idle, await timed(() => {}));
  const repeats = idle > 1 ? REPEATS : 1;
  const fastest: number[] = [];
  let launches: ReturnType<NonNullable<typeof executable.launches>> = [];
  const until = performance.now() + 1000 * seconds;
  for (; passes < FEWEST_PASSES || performance.now() < until; passes++) {
    whole = Math.min(whole, await timed(() => executable.run(inputs, outputs)));
    launches = executable.launches(inputs, outputs);
    for (const [i, { issue }] of launches.entries()) {
      const milliseconds = await timed(() => {
        for (let n = 0; n < repeats; n++) issue();
      });
      fastest[i] = Math.min(fastest[i] ?? Infinity, milliseconds / repeats);
    }
  }
  const ofStep = Map.groupBy(launches.keys(), (i) => at(launches, i).step);
  const steps = plan.steps.map((step): StepTime => {
    const indices = ofStep.get(step) ?? [];
    return {
      class: classOf(step),
      way: wayOf(step, indices.map((i) => at(launches, i).code)),
      what: describe(plan, step),
      scope: step.kind === "op" ? step.instruction.scope : step.scope,
      launches: indices.length,
      milliseconds: indices.reduce((sum, i) => sum + at(fastest, i), 0),
      ...workOf({ steps: [step], values: plan.values }),
    };
  });
  return { plan: plan.name, whole, idle, repeats, passes, steps };
}

/** How a step is computed: the first words of its launches' codes, or the kind of an op that has no class of its own. */
function wayOf(step: Step, codes: readonly string[]): string {
  const kind = classOf(step);
  if (step.kind === "kernel") return "";
  if (kind !== "other") return [...new Set(codes.map((code) => code.split(" ", 1)[0]))].join(" + ");
  const { op } = step.instruction;
  if (/Pool/.test(op)) return "pooling";
  return ["pad", "concat", "gather", "scatterAdd"].includes(op) ? "moves" : op;
}

/** A step's op and shapes; for a fused kernel the shape it iterates over, and how many values it reads and writes. */
function describe({ values }: Plan, step: Step): string {
  const shapes = (ids: Iterable<ValueId>, between: string) =>
    [...ids].map((id) => at(values, id).shape.join() || "scalar").join(between);
  if (step.kind === "op") {
    const { op, inputs, output } = step.instruction;
    return `${op} ${shapes(inputs, " · ")} → ${shapes([output], "")}`;
  }
  const { space, inputs, stores, reduce } = step.kernel;
  const results = [...stores, ...reduce?.stores ?? []].length;
  const over = reduce === undefined
    ? ""
    : `, ${reduce.reductions.map(({ fn }) => fn).join(" and ")} over ${
      reduce.axes.map((axis) => space[axis]).join()
    }`;
  return `${space.join() || "scalar"}${over}: ${inputs.length} → ${results}`;
}

/** Steps taken together. */
export interface Group {
  readonly class: WorkClass;
  readonly way: string;
  /** Where all steps of the group have the same shapes: those. */
  readonly what?: string;
  readonly steps: number;
  readonly launches: number;
  readonly milliseconds: number;
  /** Its part of the time of all steps. */
  readonly share: number;
  readonly gflops: number;
  readonly gigabytesPerSecond: number;
}

/** The steps of a profile by class and way, or by their shapes too, slowest first. */
export function grouped(steps: readonly StepTime[], byShapes = false): Group[] {
  const total = sum(steps, "milliseconds");
  const groups = Map.groupBy(
    steps,
    (step) => [step.class, step.way, ...(byShapes ? [step.what] : [])].join("\n"),
  );
  return [...groups.values()].map((members): Group => {
    const milliseconds = sum(members, "milliseconds");
    return {
      class: at(members, 0).class,
      way: at(members, 0).way,
      ...(byShapes ? { what: at(members, 0).what } : {}),
      steps: members.length,
      launches: sum(members, "launches"),
      milliseconds,
      share: milliseconds / total,
      gflops: sum(members, "operations") / milliseconds / 1e6,
      gigabytesPerSecond: sum(members, "bytes") / milliseconds / 1e6,
    };
  }).sort((a, b) => b.milliseconds - a.milliseconds);
}

function sum(
  steps: readonly StepTime[],
  of: "milliseconds" | "launches" | "operations" | "bytes",
): number {
  return steps.reduce((total, step) => total + step[of], 0);
}
