import { toBf16 } from "../trace/bf16.ts";
import { type DType, hostArrays, type HostData, sizeOf } from "../trace/dtype.ts";
import type { Program } from "../trace/program.ts";
import { mergeAxes } from "./axes.ts";
import { groupsAlone, refuseExchanges } from "./collectives.ts";
import { type DraftPlan, draftPlan } from "./draft_plan.ts";
import { fuse } from "./fuse.ts";
import { planMemory } from "./memory.ts";
import { order } from "./order.ts";
import type { Plan, Step, Target } from "./plan.ts";
import type { Recompute } from "./recomputation.ts";
import { type Effort, recompute } from "./recompute.ts";
import { refuseDtypes, refuseLargeTotal, refuseLargeValues, refuseManyPoints } from "./refuse.ts";
import { reportMemory } from "./report.ts";
import { simplify } from "./simplify.ts";
import { StepSequence } from "./step_sequence.ts";
import { planTime, type Speeds, TYPICAL } from "./time.ts";
import { verifyPlan } from "./verify_plan.ts";
import { verifyExchanges, verifyProgram } from "./verify_program.ts";
import { type Passes, PlansWithin } from "./within.ts";
import { workOf } from "./work.ts";

/** Recomputing more must lower the peak by this fraction. */
const WORTHWHILE = 1 / 200;

/**
 * Chooses the sequence on which recomputation is decided, given the fused sequence and the steps before fusion: in
 * program order, where more can be fused; ordered, which keeps less live; or fused, which shows best what is live.
 */
type Basis = (candidate: Candidate) => StepSequence;
const asTraced: Basis = ({ draft }) => new StepSequence(draft);
const ordered: Basis = ({ draft }) => order(new StepSequence(draft));
const asFused: Basis = ({ sequence }) => sequence;

/** A program in steps: as drafted, and then fused and ordered. */
interface Candidate {
  readonly draft: DraftPlan;
  readonly sequence: StepSequence;
}

/** Options of {@link compile}. */
interface CompileOptions {
  /** Verify the program after every pass, and the plan; default false. */
  readonly verify?: boolean;
  /** What to recompute in the backward pass instead of keeping it in memory; default false. Results keep their bits. */
  readonly recompute?: Recompute;
}

/**
 * Compiles a program to a plan: simplified, fused into kernels, ordered, and with a place in memory for every value.
 *
 * @throws {LocalgradError} if a value or the total is too large for the target, or has a dtype it does not support.
 */
export function compile(traced: Program, target: Target, options: CompileOptions = {}): Plan {
  const { verify = false, recompute = false } = options;
  if (typeof recompute === "object") {
    const { limit, speeds } = recompute;
    const [plan] = compileWithin(traced, target, [limit], { verify, ...(speeds && { speeds }) });
    if (plan !== undefined) return checked(traced, plan, target);
  }
  const { plain, plan, lean, placed } = passesOf(traced, target, verify);
  const chosen = recompute === true ? lean() : plain;
  return checked(traced, chosen === plain ? plan : withCost(plan, placed(chosen), TYPICAL), target);
}

/**
 * Compiles a program to a plan for each of several limits on the bytes of the whole plan, as {@link RecomputeWithin}
 * says. One call takes little more time than one for the lowest limit. Limits may depend on the plan without recomputation.
 *
 * @throws {LocalgradError} as {@link compile} does, but for the total.
 */
export function compileWithin(
  traced: Program,
  target: Target,
  limits: readonly number[] | ((plain: Plan) => readonly number[]),
  { verify = false, speeds = TYPICAL }: { readonly verify?: boolean; readonly speeds?: Speeds } = {},
): Plan[] {
  const passes = passesOf(traced, target, verify);
  const bytes = typeof limits === "function" ? limits(passes.plan) : limits;
  const plans = new PlansWithin(passes, speeds).plans(bytes);
  return plans.map((plan) => plan === passes.plan ? plan : withCost(passes.plan, plan, speeds));
}

/** Returns the passes that a program goes through. */
function passesOf(traced: Program, target: Target, verify: boolean): Passes<Candidate> {
  const { maxKernelBuffers } = target;
  const alone = groupsAlone(target);
  const sequenced = (program: Program): Candidate => {
    if (verify) {
      verifyProgram(program);
      verifyExchanges(program, traced, alone);
    }
    const draft = draftPlan(program, maxKernelBuffers);
    return { draft, sequence: sequenceSteps(draft, maxKernelBuffers) };
  };
  const placed = ({ sequence: { draft } }: Candidate): Plan => {
    const plan = placeInMemory(draft, target);
    if (verify) verifyPlan(plan, target, draft.program);
    return plan;
  };
  /** The candidate of lowest peak that recomputing on each basis gives; an earlier one where a later one gains little. */
  const leanest = (start: Candidate, effort: Effort, bases: readonly Basis[]): Candidate =>
    bases.reduce((best, basis) => {
      const rewritten = recompute(basis(start), effort);
      const candidate = rewritten === undefined ? best : sequenced(rewritten);
      return candidate.sequence.peak < best.sequence.peak * (1 - WORTHWHILE) ? candidate : best;
    }, start);
  refuseDtypes(traced, target);
  refuseExchanges(traced, target);
  if (verify) verifyProgram(traced);
  const plain = leanest(sequenced(simplify(traced, alone)), "free", [ordered]);
  const lean = () => leanest(leanest(plain, "cheap", [asTraced, ordered]), "cheap", [asFused]);
  return { plain, plan: placed(plain), lean, sequenced, placed };
}

/** Returns a plan unless it needs more memory than the target has. */
function checked(traced: Program, plan: Plan, target: Target): Plan {
  refuseLargeTotal(traced, plan.memory, target);
  return plan;
}

/** Returns the plan that recomputes, with the cost of that, if its peak is lower; otherwise the plain one. */
function withCost(plain: Plan, recomputed: Plan, speeds: Speeds): Plan {
  if (recomputed.memory.peakBytes >= plain.memory.peakBytes) return plain;
  const [before, after] = [workOf(plain), workOf(recomputed)];
  const recompute = {
    operations: after.operations - before.operations,
    bytes: after.bytes - before.bytes,
    seconds: planTime(recomputed, speeds) - planTime(plain, speeds),
    of: before,
  };
  return { ...recomputed, memory: { ...recomputed.memory, recompute }, without: plain.memory };
}

/** Fuses and orders the steps of a draft plan, which stays as it is. */
export function sequenceSteps(draft: DraftPlan, maxKernelBuffers: number): StepSequence {
  const start = new StepSequence(draft);
  const { peak } = start;
  const fused = fuse(start, maxKernelBuffers);
  // Fusion keeps the peak, except for in-place writes that a merged kernel cannot do, which are rare.
  return order(fused.peak <= peak ? fused : new StepSequence(draft));
}

/** Gives every value of a draft plan its place in memory: the last pass. */
export function placeInMemory(draft: DraftPlan, target: Target): Plan {
  const { program, values, outputs, literals } = draft;
  refuseLargeValues(draft, target);
  const steps = draft.steps.map((step): Step =>
    step.kind === "op"
      ? { kind: "op", instruction: step.instruction }
      : { kind: "kernel", kernel: mergeAxes(step.kernel.finish()), scope: step.scope }
  );
  refuseManyPoints(program.name, steps);
  const memory = planMemory(draft, steps, target);
  const report = reportMemory(draft, memory, target);
  const { schedule } = memory;
  return {
    name: program.name,
    values,
    inputs: program.inputs,
    outputs,
    donors: memory.donors,
    steps: memory.steps,
    locations: memory.locations,
    constants: [...literals.values()].map(({ shape, dtype, values }) => ({
      aval: { shape, dtype },
      data: literalData(values, sizeOf(shape), dtype),
    })),
    arenaBytes: memory.arenaBytes,
    memory: schedule === undefined ? report : { ...report, peakInOrder: peakInOrder(draft, steps, target) },
    ...(schedule === undefined ? {} : { schedule }),
  };
}

/** The peak of a plan whose steps run one after the other. */
function peakInOrder(draft: DraftPlan, steps: readonly Step[], { overlap: _, ...target }: Target): number {
  return reportMemory(draft, planMemory(draft, steps, target), target).peakBytes;
}

function literalData(values: readonly number[], count: number, dtype: DType): HostData {
  if (dtype === "bf16") return toBf16(values);
  const data = new hostArrays[dtype](count);
  data.set(values);
  return data;
}
