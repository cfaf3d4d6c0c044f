import { createHash } from "node:crypto";
import { cString } from "../../../ffi/memory.ts";
import { compileSource, type Nvrtc, nvrtcVersion } from "../../../ffi/nvrtc.ts";
import type { Card } from "./card.ts";
import { compileOptions } from "./options.ts";
import type { Source } from "./source.ts";

/** A translation unit's kernels on the card, shared by the plans that print the same text. */
export interface Module {
  /** Handles of the kernels by name. */
  readonly functions: ReadonlyMap<string, bigint>;
  /** Says that one of its users is done with it. */
  release(): void;
}

interface Loaded {
  readonly handle: bigint;
  readonly functions: ReadonlyMap<string, bigint>;
  users: number;
}

/** Compiles kernels and loads them, keeping machine code on disk where that is permitted. */
export class Modules {
  readonly #card: Card;
  readonly #nvrtc: Nvrtc;
  readonly #folder: string | false;
  readonly #loaded = new Map<string, Loaded>();

  /** `folder` is where machine code is kept, if anywhere. */
  constructor(card: Card, nvrtc: Nvrtc, folder: string | false) {
    this.#card = card;
    this.#nvrtc = nvrtc;
    this.#folder = folder;
  }

  /** The kernels of a source. */
  load({ text, names }: Source, what: string): Module {
    const options = compileOptions(this.#card.facts.architecture, nvrtcVersion(this.#nvrtc));
    const key = createHash("sha256").update(JSON.stringify([text, options, nvrtcVersion(this.#nvrtc)]))
      .digest("hex");
    let loaded = this.#loaded.get(key);
    if (loaded === undefined) {
      loaded = this.#place(this.#machineCode(key, text, options, what), names, what);
      this.#loaded.set(key, loaded);
    }
    loaded.users++;
    const { functions } = loaded;
    return { functions, release: () => this.#release(key) };
  }

  #release(key: string): void {
    const loaded = this.#loaded.get(key);
    if (loaded === undefined || --loaded.users > 0) return;
    this.#loaded.delete(key);
    this.#card.driver.cuModuleUnload(loaded.handle);
  }

  #machineCode(key: string, text: string, options: readonly string[], what: string): Uint8Array<ArrayBuffer> {
    const path = `${this.#folder}/${key}.cubin`;
    if (this.#folder !== false) {
      try {
        return Deno.readFileSync(path);
      } catch { /* not there yet */ }
    }
    const { cubin } = compileSource(this.#nvrtc, text, `${what}.cu`, options);
    if (this.#folder !== false) {
      try {
        Deno.mkdirSync(this.#folder, { recursive: true });
        // Under another name first: two processes may compile the same plan.
        const temporary = `${path}.${Deno.pid}`;
        Deno.writeFileSync(temporary, cubin);
        Deno.renameSync(temporary, path);
      } catch { /* a full or read-only disk costs a compilation, nothing else */ }
    }
    return cubin;
  }

  #place(code: Uint8Array<ArrayBuffer>, names: readonly string[], what: string): Loaded {
    const { driver } = this.#card;
    const out = new BigUint64Array(1);
    this.#card.check(driver.cuModuleLoadData(out, code), `loading the kernels of ${what}`);
    const handle = out[0];
    const functions = new Map<string, bigint>();
    for (const name of new Set(names)) {
      this.#card.check(
        driver.cuModuleGetFunction(out, handle, cString(name)),
        `finding kernel ${name} of ${what}`,
      );
      functions.set(name, out[0]);
    }
    return { handle, functions, users: 0 };
  }

  /** Unloads everything. */
  close(): void {
    for (const { handle } of this.#loaded.values()) this.#card.driver.cuModuleUnload(handle);
    this.#loaded.clear();
  }
}

/** Where machine code is kept: a folder that may be read and written, or nowhere. */
export function cubinFolder(): string | false {
  const variable = (name: string) =>
    Deno.permissions.querySync({ name: "env", variable: name }).state === "granted"
      ? Deno.env.get(name) || undefined
      : undefined;
  const home = variable("HOME");
  const cache = variable("XDG_CACHE_HOME") ?? (home === undefined ? undefined : `${home}/.cache`);
  if (cache === undefined) return false;
  const path = `${cache}/localgrad/cubin`;
  const may = (name: "read" | "write") => Deno.permissions.querySync({ name, path }).state === "granted";
  return may("read") && may("write") ? path : false;
}
