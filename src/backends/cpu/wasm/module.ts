import { Bytes } from "./bytes.ts";
import { type ValueType, valueTypeCode } from "./expressions.ts";
import { FunctionBuilder, type FunctionHandle } from "./function.ts";

/** A function that a module imports. */
export interface ImportedFunction {
  /** Its name in `env`. */
  readonly name: string;
  /** Its parameters; it has no result. */
  readonly parameters: readonly ValueType[];
}

/** Writes a WebAssembly module that imports one shared memory, as `env.memory`, and maybe functions of `env`. */
export class ModuleBuilder {
  readonly #imports: readonly ImportedFunction[];
  readonly #types: string[] = [];
  readonly #functions: { type: number; body: Uint8Array }[] = [];
  readonly #exports: { name: string; index: number }[] = [];
  readonly #table: number[] = [];

  /** A module that imports these functions, which have the first numbers. */
  constructor(imports: readonly ImportedFunction[] = []) {
    this.#imports = imports;
  }

  /** The number of a function type, declared on first use. */
  type(parameters: readonly ValueType[], results: readonly ValueType[]): number {
    const key = `${parameters.join()}:${results.join()}`;
    const known = this.#types.indexOf(key);
    return known >= 0 ? known : this.#types.push(key) - 1;
  }

  /** Adds a function. */
  function(
    parameters: readonly ValueType[],
    results: readonly ValueType[],
    build: (f: FunctionBuilder) => void,
    name?: string,
  ): FunctionHandle {
    const f = new FunctionBuilder(parameters);
    build(f);
    const own = this.#functions.push({ type: this.type(parameters, results), body: f.finish() }) - 1;
    const index = this.#imports.length + own;
    if (name !== undefined) this.#exports.push({ name, index });
    return { index };
  }

  /** Adds a function to the table of {@link FunctionBuilder.callIndirect} and returns its entry. */
  tableEntry(handle: FunctionHandle): number {
    return this.#table.push(handle.index) - 1;
  }

  /** The module in binary form. The limits must be those of the memory that it will import. */
  finish(initialPages: number, maximumPages: number): Uint8Array<ArrayBuffer> {
    const imported = this.#imports.map(({ name, parameters }) => ({ name, type: this.type(parameters, []) }));
    const module = new Bytes();
    module.append([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const section = (id: number, fill: (body: Bytes) => void) => {
      const body = new Bytes();
      fill(body);
      module.byte(id);
      module.unsigned(body.length);
      module.append(body.finish());
    };
    section(1, (body) => {
      body.unsigned(this.#types.length);
      for (const type of this.#types) {
        body.byte(0x60);
        for (const list of type.split(":")) {
          const types = list === "" ? [] : list.split(",") as ValueType[];
          body.unsigned(types.length);
          for (const t of types) body.byte(valueTypeCode[t]);
        }
      }
    });
    section(2, (body) => {
      body.unsigned(1 + imported.length);
      body.name("env");
      body.name("memory");
      body.append([0x02, 0x03]);
      body.unsigned(initialPages);
      body.unsigned(maximumPages);
      for (const { name, type } of imported) {
        body.name("env");
        body.name(name);
        body.byte(0x00);
        body.unsigned(type);
      }
    });
    section(3, (body) => {
      body.unsigned(this.#functions.length);
      for (const { type } of this.#functions) body.unsigned(type);
    });
    section(4, (body) => {
      body.append([1, 0x70, 0x00]);
      body.unsigned(this.#table.length);
    });
    section(7, (body) => {
      body.unsigned(this.#exports.length);
      for (const { name, index } of this.#exports) {
        body.name(name);
        body.byte(0x00);
        body.unsigned(index);
      }
    });
    section(9, (body) => {
      body.append([1, 0x00, 0x41, 0x00, 0x0b]);
      body.unsigned(this.#table.length);
      for (const index of this.#table) body.unsigned(index);
    });
    section(10, (body) => {
      body.unsigned(this.#functions.length);
      for (const { body: code } of this.#functions) {
        body.unsigned(code.length);
        body.append(code);
      }
    });
    return module.finish();
  }
}
