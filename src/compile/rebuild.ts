import { at } from "../base/at.ts";
import { type Instruction, type Program, ProgramBuilder, type ValueId } from "../trace/program.ts";
import { writesOf } from "./draft_plan.ts";
import { Makers } from "./makers.ts";
import type { StepSequence } from "./step_sequence.ts";

/** A value that is dropped after step `from` and rebuilt right before step `to`. */
export interface Gap {
  readonly value: ValueId;
  readonly from: number;
  readonly to: number;
}

/** The computation that rebuilds a value. */
export interface Recipe {
  /** Stored values that are recomputed in the process, the rebuilt one among them. */
  readonly through: ReadonlySet<ValueId>;
  /** Stored values that are read. */
  readonly leaves: readonly ValueId[];
}

/** Returns the program of a sequence with values rebuilt at the end of their gaps. */
export function rebuild(sequence: StepSequence, gaps: ReadonlyMap<Gap, Recipe>): Program {
  return new Rebuilding(sequence, gaps).run();
}

/** A value that is not stored. */
interface Computed {
  /** Its new value. */
  readonly value: ValueId;
  /** The new values of its operands. */
  readonly operands: readonly ValueId[];
  /** The number of stored values made when it was last found to be the present one. */
  asOf: number;
}

class Rebuilding {
  readonly #sequence: StepSequence;
  readonly #makers: Makers;
  readonly #builder = new ProgramBuilder();
  /** The new value of each stored value: as it was first made, or as it was last rebuilt. */
  readonly #stored = new Map<ValueId, ValueId>();
  /** Each other value as it was last made. */
  readonly #computed = new Map<ValueId, Computed>();
  /** The number of times that a stored value was made. */
  #made = 0;
  /** The values to rebuild before each step. */
  readonly #rebuilt = new Map<number, { readonly value: ValueId; readonly recipe: Recipe }[]>();

  constructor(sequence: StepSequence, gaps: ReadonlyMap<Gap, Recipe>) {
    this.#sequence = sequence;
    this.#makers = new Makers(sequence.draft.program);
    for (const [{ value, to }, recipe] of gaps) {
      const rebuilt = this.#rebuilt.get(to);
      if (rebuilt === undefined) this.#rebuilt.set(to, [{ value, recipe }]);
      else rebuilt.push({ value, recipe });
    }
  }

  run(): Program {
    const { program, steps } = this.#sequence.draft;
    for (const { value, name, category, donated } of program.inputs) {
      this.#stored.set(value, this.#builder.input(at(program.values, value), name, category, donated));
    }
    for (const [position, step] of steps.entries()) {
      for (const output of writesOf(step)) {
        const instruction = this.#makers.find(output);
        if (instruction === undefined) continue; // a copy, which drafting makes again
        this.#rebuildBefore(position, instruction.scope);
        const operands = instruction.inputs.map((input) => this.#value(input));
        this.#store(output, this.#emit(instruction, operands));
      }
    }
    const outputs = program.outputs.map((output) => ({ ...output, value: this.#value(output.value) }));
    return this.#builder.finish(program.name, outputs);
  }

  /** Returns the present new value of a value; one that is not stored is computed from stored ones. */
  #value(value: ValueId): ValueId {
    const stored = this.#stored.get(value);
    if (stored !== undefined) return stored;
    const computed = this.#computed.get(value);
    if (computed?.asOf === this.#made) return computed.value; // or shared operands would be followed as a tree
    const instruction = this.#makers.get(value);
    const operands = instruction.inputs.map((input) => this.#value(input));
    if (computed !== undefined && computed.operands.every((operand, i) => operand === operands[i])) {
      computed.asOf = this.#made;
      return computed.value;
    }
    const again = this.#emit(instruction, operands);
    this.#computed.set(value, { value: again, operands, asOf: this.#made });
    return again;
  }

  #store(value: ValueId, made: ValueId): void {
    this.#stored.set(value, made);
    this.#made++;
  }

  /** Rebuilds values before a step, once; those that others are rebuilt from come first. */
  #rebuildBefore(position: number, scope: string): void {
    const rebuilt = this.#rebuilt.get(position) ?? [];
    this.#rebuilt.delete(position);
    const writer = ({ value }: { readonly value: ValueId }) => this.#sequence.writer(value);
    rebuilt.sort((a, b) => writer(a) - writer(b));
    for (const { value, recipe } of rebuilt) this.#rebuild(value, recipe, scope);
  }

  #rebuild(value: ValueId, { through, leaves }: Recipe, scope: string): void {
    const available = new Set(leaves);
    const known = new Map<ValueId, ValueId>();
    const build = (operand: ValueId): ValueId => {
      const instruction = this.#makers.find(operand);
      if (available.has(operand) || instruction === undefined) return this.#value(operand);
      let again = known.get(operand);
      if (again === undefined) {
        again = this.#emit({ ...instruction, scope: `${scope}/recompute` }, instruction.inputs.map(build));
        known.set(operand, again);
      }
      return again;
    };
    for (const each of through) if (each !== value) build(each);
    this.#store(value, build(value));
  }

  #emit({ op, attrs, site, scope }: Instruction, inputs: readonly ValueId[]): ValueId {
    this.#builder.scope = scope;
    return this.#builder.emit(op, inputs, attrs, site);
  }
}
