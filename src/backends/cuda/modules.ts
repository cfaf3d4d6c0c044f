import { Buffer } from "node:buffer";
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
    const key = digest(JSON.stringify([text, options, nvrtcVersion(this.#nvrtc)])).toString("hex");
    let loaded = this.#loaded.get(key);
    if (loaded === undefined) {
      loaded = this.#fromDisk(key, names, what) ?? this.#compiled(key, text, names, options, what);
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

  /** The kernels from the disk, if they are there; what does not load is as good as absent. */
  #fromDisk(key: string, names: readonly string[], what: string): Loaded | undefined {
    if (this.#folder === false) return undefined;
    try {
      const file = Deno.readFileSync(`${this.#folder}/${key}.cubin`);
      const code = file.subarray(DIGEST);
      // The driver takes no length: a file that was cut short would be read past its end.
      return digest(code).equals(file.subarray(0, DIGEST)) ? this.#place(code, names, what) : undefined;
    } catch {
      return undefined;
    }
  }

  #compiled(
    key: string,
    text: string,
    names: readonly string[],
    options: readonly string[],
    what: string,
  ): Loaded {
    const { cubin } = compileSource(this.#nvrtc, text, `${what}.cu`, options);
    const loaded = this.#place(cubin, names, what);
    if (this.#folder !== false) {
      try {
        Deno.mkdirSync(this.#folder, { recursive: true });
        // Under another name first: two processes may compile the same plan.
        const temporary = `${this.#folder}/${key}.${Deno.pid}`;
        Deno.writeFileSync(temporary, Buffer.concat([digest(cubin), cubin]));
        Deno.renameSync(temporary, `${this.#folder}/${key}.cubin`);
      } catch { /* a full or read-only disk costs a compilation, nothing else */ }
    }
    return loaded;
  }

  #place(code: Uint8Array<ArrayBuffer>, names: readonly string[], what: string): Loaded {
    const { driver } = this.#card;
    const out = new BigUint64Array(1);
    this.#card.check(driver.cuModuleLoadData(out, code), `loading the kernels of ${what}`);
    const handle = out[0];
    const functions = new Map<string, bigint>();
    try {
      for (const name of new Set(names)) {
        const status = driver.cuModuleGetFunction(out, handle, cString(name));
        this.#card.check(status, `finding kernel ${name} of ${what}`);
        functions.set(name, out[0]);
      }
    } catch (error) {
      driver.cuModuleUnload(handle);
      throw error;
    }
    return { handle, functions, users: 0 };
  }

  /** Unloads everything. */
  close(): void {
    for (const { handle } of this.#loaded.values()) this.#card.driver.cuModuleUnload(handle);
    this.#loaded.clear();
  }
}

/** Bytes of a digest, which a kept file begins with. */
const DIGEST = 32;

function digest(data: string | Uint8Array): Buffer {
  return createHash("sha256").update(data).digest();
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
