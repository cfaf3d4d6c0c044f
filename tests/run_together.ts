import { applyOp, type Value } from "../src/backends/reference/ops.ts";
import { sizeOf } from "../src/trace/dtype.ts";
import type { Program } from "../src/trace/program.ts";
import { traced, type Values } from "./run.ts";

/** A process: what it computes, and its group of each name, with its own number in it. */
export interface Process {
  readonly f: (...args: never[]) => unknown;
  readonly args: readonly unknown[];
  readonly groups: { readonly [name: string]: Group };
}

/** The processes of a group, by their index among all. */
export interface Group {
  readonly members: readonly number[];
}

/** What has been sent and not received, for programs that run after these. */
export class Mail {
  readonly #queues = new Map<string, Float64Array[]>();

  put(from: number, to: number, tag: number, data: Float64Array): void {
    this.#queue(from, to, tag).push(data);
  }
  take(from: number, to: number, tag: number): Float64Array | undefined {
    return this.#queue(from, to, tag).shift();
  }
  /** The number of messages on their way. */
  get waiting(): number {
    return [...this.#queues.values()].reduce((sum, { length }) => sum + length, 0);
  }

  #queue(from: number, to: number, tag: number): Float64Array[] {
    const key = `${from} ${to} ${tag}`;
    const queue = this.#queues.get(key) ?? [];
    this.#queues.set(key, queue);
    return queue;
  }
}

/**
 * Traces the function of each process and evaluates all programs in float64, each as far as it gets without the others;
 * `rounded` rounds the result of every op to float32. Fails if they wait for each other for ever, or disagree about a
 * collective.
 */
export function runTogether(
  processes: readonly Process[],
  mail = new Mail(),
  rounded = false,
): Record<string, Values>[] {
  const made = processes.map(({ f, args }) => traced(f, args));
  const reductions = new Map<string, Map<number, Float64Array>>();
  const running = made.map(({ program, inputs }, i) =>
    evaluating(program, inputs, { index: i, groups: processes[i].groups, mail, reductions, rounded })
  );
  const results = new Array<Float64Array[]>(processes.length);
  const left = new Set(running.keys());
  while (left.size > 0) {
    let moved = false;
    for (const i of [...left]) {
      const { done, value } = running[i].next();
      if (done) {
        results[i] = value;
        left.delete(i);
      }
      moved ||= done === true || value === "moved";
    }
    if (!moved) throw new Error(`processes ${[...left].join(", ")} wait for each other`);
  }
  return made.map(({ record }, i) => record(results[i]));
}

interface Place {
  readonly index: number;
  readonly groups: Process["groups"];
  readonly mail: Mail;
  /** The operands of each reduction so far, by process. */
  readonly reductions: Map<string, Map<number, Float64Array>>;
  readonly rounded: boolean;
}

/** Evaluates a program; yields `waiting` as long as it waits for others, and `moved` once it went on. */
function* evaluating(
  program: Program,
  inputs: readonly ArrayLike<number>[],
  { index, groups, mail, reductions, rounded }: Place,
): Generator<"waiting" | "moved", Float64Array[], void> {
  const values: Value[] = [];
  program.inputs.forEach(({ value }, i) => {
    values[value] = { ...program.values[value], data: Float64Array.from(inputs[i]) };
  });
  const counts = new Map<string, number>();
  for (const { op, inputs, output, attrs } of program.instructions) {
    const aval = program.values[output];
    const out: Value = { ...aval, data: new Float64Array(sizeOf(aval.shape)) };
    values[output] = out;
    if (op === "send") {
      mail.put(index, groups[attrs.group].members[attrs.to], attrs.tag, values[inputs[0]].data);
    } else if (op === "receive") {
      const from = groups[attrs.group].members[attrs.from];
      for (;;) {
        const data = mail.take(from, index, attrs.tag);
        if (data !== undefined) {
          if (data.length !== out.data.length) {
            throw new Error(`${data.length} elements for ${out.data.length}`);
          }
          out.data.set(data);
          break;
        }
        yield "waiting";
      }
      yield "moved";
    } else if (op === "allReduce") {
      const { members } = groups[attrs.group];
      const name = `${attrs.group} ${members}`;
      const count = counts.get(name) ?? 0;
      counts.set(name, count + 1);
      const key = `${name} ${count}`;
      const operands = reductions.get(key) ?? new Map<number, Float64Array>();
      reductions.set(key, operands);
      operands.set(index, values[inputs[0]].data);
      yield "moved";
      while (operands.size < members.length) yield "waiting";
      for (const member of members) {
        const operand = operands.get(member)!;
        if (operand.length !== out.data.length) {
          throw new Error(`${operand.length} elements and ${out.data.length}`);
        }
        operand.forEach((value, i) => out.data[i] += value);
      }
    } else {
      applyOp(op, out, inputs.map((input) => values[input]), attrs);
    }
    if (rounded) out.data.forEach((value, i) => out.data[i] = Math.fround(value));
  }
  return program.outputs.map(({ value }) => values[value].data);
}
