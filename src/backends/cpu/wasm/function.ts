import { Bytes } from "./bytes.ts";
import {
  type Expr,
  type I32,
  type Int,
  type Statement,
  type V128,
  type ValueType,
  valueTypeCode,
} from "./expressions.ts";
import { i32, int } from "./scalars.ts";

/** A function of a module being built. */
export interface FunctionHandle {
  /** Its number within the module. */
  readonly index: number;
}

/** A parameter or local variable; as an expression it is its value. */
export interface Local<T extends ValueType> extends Expr<T> {
  /** Its number within the function. */
  readonly index: number;
}

/** A place to branch to. */
export interface Label {
  /** Nesting depth of the construct it belongs to. */
  readonly depth: number;
}

/** Writes one function's body, statement by statement. */
export class FunctionBuilder {
  readonly #prologue = new Bytes();
  readonly #code = new Bytes();
  readonly #constants = new Map<string, Local<"v128">>();
  readonly #locals: ValueType[] = [];
  readonly #parameters: readonly ValueType[];
  #depth = 0;

  constructor(parameters: readonly ValueType[]) {
    this.#parameters = parameters;
  }

  #variable<T extends ValueType>(type: T, index: number): Local<T> {
    return {
      type,
      index,
      emit(code) {
        code.byte(0x20);
        code.unsigned(index);
      },
    };
  }

  /** The i32 parameter number `index`. */
  parameter(index: number): Local<"i32"> {
    return this.#variable("i32", index);
  }

  /** A new local variable, set to `value` if given. */
  local<T extends ValueType>(type: T, value?: Expr<T>): Local<T> {
    const local = this.#variable(type, this.#parameters.length + this.#locals.push(type) - 1);
    if (value !== undefined) this.set(local, value);
    return local;
  }

  /** A new i32 variable holding `value`. */
  int(value: Int): Local<"i32"> {
    return this.local("i32", int(value));
  }

  /**
   * A vector constant, loaded once at the function's start: V8 would rebuild it from immediates at every use, even in
   * the innermost loop.
   */
  constant(value: V128): Local<"v128"> {
    const code = new Bytes();
    value.emit(code);
    const key = code.finish().join();
    let local = this.#constants.get(key);
    if (local === undefined) {
      local = this.local("v128");
      this.#constants.set(key, local);
      value.emit(this.#prologue);
      this.#prologue.byte(0x21);
      this.#prologue.unsigned(local.index);
    }
    return local;
  }

  /** Assigns a value to a variable. */
  set<T extends ValueType>(local: Local<T>, value: Expr<T>): void {
    value.emit(this.#code);
    this.#code.byte(0x21);
    this.#code.unsigned(local.index);
  }

  /** Adds to an i32 variable. */
  increment(local: Local<"i32">, by: Int): void {
    if (by !== 0) this.set(local, i32.add(local, by));
  }

  /** Appends a statement, such as a store. */
  do(statement: Statement): void {
    statement.emit(this.#code);
  }

  /** Evaluates an expression and drops its value. */
  drop(expression: Expr<ValueType>): void {
    expression.emit(this.#code);
    this.#code.byte(0x1a);
  }

  #nested(opcode: number, body: (label: Label) => void): void {
    this.#code.byte(opcode);
    this.#code.byte(0x40);
    this.#depth++;
    body({ depth: this.#depth });
    this.#depth--;
    this.#code.byte(0x0b);
  }

  /** A block; branching to its label leaves it. */
  block(body: (leave: Label) => void): void {
    this.#nested(0x02, body);
  }

  /** A loop; branching to its label restarts it, reaching its end leaves it. */
  loop(body: (again: Label) => void): void {
    this.#nested(0x03, body);
  }

  /** Branches to a label; if `condition` is given, only when it is not zero. */
  branch(label: Label, condition?: I32): void {
    condition?.emit(this.#code);
    this.#code.byte(condition === undefined ? 0x0c : 0x0d);
    this.#code.unsigned(this.#depth - label.depth);
  }

  /** Runs one of two bodies. */
  if(condition: I32, then: () => void, otherwise?: () => void): void {
    if (condition.known !== undefined) return condition.known !== 0 ? then() : otherwise?.();
    condition.emit(this.#code);
    this.#nested(0x04, () => {
      then();
      if (otherwise !== undefined) {
        this.#code.byte(0x05);
        otherwise();
      }
    });
  }

  /** Counts `variable` from `from` while it is below `to` (unsigned), by `step`. */
  for(variable: Local<"i32">, from: Int, to: Int, step: Int, body: () => void): void {
    this.set(variable, int(from));
    const known = typeof from === "number" && typeof to === "number";
    if (known && from >= to) return;
    if (known && typeof step === "number" && from + step >= to) return body();
    this.block((leave) => {
      if (!known) this.branch(leave, i32.geU(variable, to));
      this.loop((again) => {
        body();
        this.increment(variable, step);
        this.branch(again, i32.ltU(variable, to));
      });
    });
  }

  /** Repeats while `condition` is not zero. */
  while(condition: I32, body: () => void): void {
    this.block((leave) => {
      this.loop((again) => {
        this.branch(leave, i32.eqz(condition));
        body();
        this.branch(again);
      });
    });
  }

  /** Leaves the function. */
  return(value?: Expr<ValueType>): void {
    value?.emit(this.#code);
    this.#code.byte(0x0f);
  }

  /** Calls a function that has no result. */
  call(callee: FunctionHandle, ...operands: Expr<ValueType>[]): void {
    for (const operand of operands) operand.emit(this.#code);
    this.#code.byte(0x10);
    this.#code.unsigned(callee.index);
  }

  /** Calls entry `entry` of the module's table, a function of the given (already declared) type without a result. */
  callIndirect(type: number, entry: Int, ...operands: Expr<ValueType>[]): void {
    for (const operand of operands) operand.emit(this.#code);
    int(entry).emit(this.#code);
    this.#code.byte(0x11);
    this.#code.unsigned(type);
    this.#code.unsigned(0);
  }

  /** The function's bytes in the code section. */
  finish(): Uint8Array {
    const body = new Bytes();
    const runs: { type: ValueType; count: number }[] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last?.type === type) last.count++;
      else runs.push({ type, count: 1 });
    }
    body.unsigned(runs.length);
    for (const { type, count } of runs) {
      body.unsigned(count);
      body.byte(valueTypeCode[type]);
    }
    body.append(this.#prologue.finish());
    body.append(this.#code.finish());
    body.byte(0x0b);
    return body.finish();
  }
}
