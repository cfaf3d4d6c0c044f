import { at } from "../base/at.ts";
import { type Aval, requireShape } from "./dtype.ts";
import {
  type CollectiveOp,
  isCollective,
  isStructured,
  type OpAttrs,
  type OpName,
  type OpOperands,
  type StructuredOp,
} from "./ops.ts";
import { shapeRules } from "./shape_rules.ts";

/** A value of a program: an index into {@link Program.values}. */
export type ValueId = number;

/** One op of a program. Every op has one result. */
export interface InstructionOf<N extends OpName> {
  /** The op's name. */
  readonly op: N;
  /** Its attributes. */
  readonly attrs: OpAttrs[N];
  /** Its operands. */
  readonly inputs: OpOperands<ValueId>[N];
  /** Its result; each value is the result of at most one instruction. */
  readonly output: ValueId;
  /** The part of the model that recorded it, such as `module 3/forward`; empty at the top. */
  readonly scope: string;
  /** The user's line that recorded it, if the trace keeps lines. */
  readonly site?: string;
}

/** One op of a program, whichever it is. */
export type Instruction = { [N in OpName]: InstructionOf<N> }[OpName];

/** A structured op of a program, which a backend computes as a step of its own. */
export type StructuredInstruction = { [N in StructuredOp]: InstructionOf<N> }[StructuredOp];

/** A collective op of a program: a step of its own, and an effect. */
export type CollectiveInstruction = { [N in CollectiveOp]: InstructionOf<N> }[CollectiveOp];

/** Tests for a structured op. */
export function isStructuredInstruction(instruction: Instruction): instruction is StructuredInstruction {
  return isStructured(instruction.op);
}

/** Tests for a collective op. */
export function isCollectiveInstruction(instruction: Instruction): instruction is CollectiveInstruction {
  return isCollective(instruction.op);
}

/** The purpose of an input's memory, by which the memory report adds up. */
export type Category = "parameters" | "optimizer" | "auxiliary" | "state" | "data" | "inputs";

/** A program's input. */
export interface ProgramInput {
  /** Its value. */
  readonly value: ValueId;
  /** Its place in the caller's arguments, such as `0.layer1.0.conv1.weight`. */
  readonly name: string;
  /** The purpose of its memory. */
  readonly category: Category;
  /** True if the caller gives its memory away, so that results may overwrite it. */
  readonly donated: boolean;
}

/** A program's result. */
export interface ProgramOutput {
  /** Its value. */
  readonly value: ValueId;
  /** Its place in the result, such as `params.fc.weight`. */
  readonly name: string;
  /** The donated input whose memory it should take over, if any: an index into {@link Program.inputs}. */
  readonly donor?: number;
}

/** A traced function: static shapes, single assignment, instructions in execution order. */
export interface Program {
  /** Its name in messages. */
  readonly name: string;
  /** Shape and dtype of every value. */
  readonly values: readonly Aval[];
  /** Inputs in order. */
  readonly inputs: readonly ProgramInput[];
  /** Instructions in program order, which is also memory order (docs/how-it-works.md). */
  readonly instructions: readonly Instruction[];
  /** Results in order. */
  readonly outputs: readonly ProgramOutput[];
}

/** Records a program, one instruction at a time; shape rules run as each is added. */
export class ProgramBuilder {
  readonly #values: Aval[] = [];
  readonly #inputs: ProgramInput[] = [];
  readonly #instructions: Instruction[] = [];
  #scope = "";

  /** Shape and dtype of a value recorded so far. */
  aval(value: ValueId): Aval {
    return at(this.#values, value);
  }

  /** The instructions recorded so far. */
  get instructions(): readonly Instruction[] {
    return this.#instructions;
  }

  /** The scope given to new instructions. */
  get scope(): string {
    return this.#scope;
  }
  set scope(scope: string) {
    this.#scope = scope;
  }

  /** Adds an input. */
  input(aval: Aval, name: string, category: Category = "inputs", donated: boolean = false): ValueId {
    const value = this.#values.push(aval) - 1;
    this.#inputs.push({ value, name, category, donated });
    return value;
  }

  /** The name of a value that is an input; undefined for any other. */
  inputName(value: ValueId): string | undefined {
    return this.#inputs.find((input) => input.value === value)?.name;
  }

  /**
   * Adds an instruction and returns its result.
   *
   * @throws {LocalgradError} if the op's shape rule refuses its operands.
   */
  emit<N extends OpName>(op: N, inputs: readonly ValueId[], attrs: OpAttrs[N], site?: string): ValueId {
    const aval = shapeRules[op](inputs.map((value) => this.aval(value)), attrs);
    requireShape(aval.shape, op);
    const output = this.#values.push(aval) - 1;
    const instruction = {
      op,
      attrs,
      inputs,
      output,
      scope: this.#scope,
      ...(site === undefined ? {} : { site }),
    };
    this.#instructions.push(instruction as Instruction);
    return output;
  }

  /** The program recorded so far, with these results. */
  finish(name: string, outputs: readonly ProgramOutput[]): Program {
    return { name, values: this.#values, inputs: this.#inputs, instructions: this.#instructions, outputs };
  }
}
