import type { Instruction, Program, ValueId } from "../trace/program.ts";

/** The instruction that makes each value of a program; inputs have none. */
export class Makers {
  readonly #makers: (Instruction | undefined)[];

  /** Indexes a program. */
  constructor({ values, instructions }: Program) {
    this.#makers = new Array(values.length);
    for (const instruction of instructions) this.#makers[instruction.output] = instruction;
  }

  /** Returns the instruction that makes a value; undefined for an input. */
  find(value: ValueId): Instruction | undefined {
    return this.#makers[value];
  }

  /** Returns the instruction that makes a value which is not an input. */
  get(value: ValueId): Instruction {
    const maker = this.#makers[value];
    if (maker === undefined) throw new Error(`no instruction makes %${value}`);
    return maker;
  }
}
