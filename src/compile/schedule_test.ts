import { assert, assertEquals, assertThrows } from "@std/assert";
import { randomProgram } from "../../tests/random_program.ts";
import { referenceTarget } from "../backends/reference/target.ts";
import { type Program, ProgramBuilder, type ValueId } from "../trace/program.ts";
import { compile } from "./compile.ts";
import type { Plan, Schedule, Target } from "./plan.ts";
import { verifyPlan } from "./verify_plan.ts";

const target = (window: number): Target => ({ ...referenceTarget, overlap: { seconds: () => 1, window } });

const product = (b: ProgramBuilder, x: ValueId, y: ValueId) =>
  b.emit("matmul", [x, y], { transposeA: false, transposeB: false });

/** Two chains of products from an input, each of `length`, and the product of both. */
function chains(length: number): Program {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [8, 8], dtype: "f32" }, "x");
  let [one, other] = [product(b, x, x), x];
  for (let i = 0; i < length; i++) [one, other] = [product(b, one, x), product(b, x, other)];
  return b.finish("chains", [{ value: product(b, one, other), name: "y" }]);
}

/** The schedule of a program, without a narrow window. */
function scheduleOf(program: Program): Schedule {
  const { schedule } = compile(program, target(100), { verify: true });
  if (schedule === undefined) throw new Error("there is no schedule");
  return schedule;
}

const streamsOf = ({ schedule }: Plan) => schedule?.streams.join("");

Deno.test("steps that do not need each other go to two streams, as far as a window permits", () => {
  const plan = compile(chains(3), target(100), { verify: true });
  const streams = plan.schedule?.streams ?? [];
  assertEquals(streams.filter((stream) => stream === 0).length, 4 + streams.length % 2);
  assertEquals(streamsOf(compile(chains(3), target(1), { verify: true })), "00000000");
  assertEquals(compile(chains(3), referenceTarget).schedule, undefined);
});

Deno.test("each step says which later steps may run at the same time", () => {
  const schedule = scheduleOf(chains(3));
  const last = schedule.until.length - 1;
  assertEquals(schedule.until[last], last);
  assert(
    schedule.until.every((until, s) =>
      until >= s && (until === s || schedule.streams[until] !== schedule.streams[s])
    ),
  );
  assert(schedule.until.some((until, s) => until > s));
});

Deno.test("what steps at the same time use is apart: random programs", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const { program } = randomProgram(seed, 40);
    for (const window of [2, 8, 100]) compile(program, target(window), { verify: true });
  }
});

Deno.test("verifyPlan() finds steps at the same time that share memory", () => {
  const program = chains(3);
  const inOrder = compile(program, referenceTarget);
  const schedule = scheduleOf(program);
  assertThrows(
    () => verifyPlan({ ...inOrder, schedule }, referenceTarget, program),
    Error,
    "may run at the same time",
  );
});

Deno.test("a plan that exchanges data with other processes has one stream", () => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [8, 8], dtype: "f32" }, "x");
  const sum = b.emit("allReduce", [product(b, x, x)], { group: "pair", fn: "sum" });
  const program = b.finish("exchange", [{ value: product(b, sum, x), name: "y" }]);
  const pair: Target = { ...target(100), groups: { pair: 2 } };
  assertEquals(compile(program, pair, { verify: true }).schedule, undefined);
});
