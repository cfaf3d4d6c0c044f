import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { cString, outU64 } from "../../../ffi/memory.ts";
import { compileSource, type Nvrtc, nvrtcVersion } from "../../../ffi/nvrtc.ts";
import type { Card } from "./card.ts";
import { compileOptions } from "./compile_options.ts";
import type { Source } from "./source.ts";

/** The kernels of a translation unit on the card, shared by the plans that print the same text. */
export interface Module {
  /** Returns the handle of a kernel. */
  function(name: string): bigint;
  /** Unloads the module when its last user releases it. */
  release(): void;
}

interface Loaded {
  readonly handle: bigint;
  readonly functions: ReadonlyMap<string, bigint>;
  users: number;
}

/** Compiles and loads kernels; keeps compiled ones on disk where permitted. */
export class Modules {
  readonly #card: Card;
  readonly #nvrtc: Nvrtc;
  readonly #folder: string | false;
  readonly #loaded = new Map<string, Loaded>();

  /** `folder` is for compiled kernels; false to keep none. */
  constructor(card: Card, nvrtc: Nvrtc, folder: string | false) {
    this.#card = card;
    this.#nvrtc = nvrtc;
    this.#folder = folder;
  }

  /** Loads the kernels of a source, compiling them if needed; `plan` names it in messages. */
  load({ text, names }: Source, plan: string): Module {
    const version = nvrtcVersion(this.#nvrtc);
    const options = compileOptions(this.#card.facts.architecture, version);
    const key = cubinKey(text, options, version);
    let loaded = this.#loaded.get(key);
    if (loaded === undefined) {
      loaded = this.#fromDisk(key, names, plan) ?? this.#compile(key, text, names, options, plan);
      this.#loaded.set(key, loaded);
    }
    loaded.users++;
    const { functions } = loaded;
    return {
      function: (name) => {
        const kernel = functions.get(name);
        if (kernel === undefined) throw new Error(`cuda: ${plan} has no kernel ${name}`);
        return kernel;
      },
      release: () => this.#release(key),
    };
  }

  #release(key: string): void {
    const loaded = this.#loaded.get(key);
    if (loaded === undefined || --loaded.users > 0) return;
    this.#loaded.delete(key);
    this.#card.driver.cuModuleUnload(loaded.handle);
  }

  /** Loads the kernels from disk; undefined if their file is absent or does not load. */
  #fromDisk(key: string, names: readonly string[], plan: string): Loaded | undefined {
    if (this.#folder === false) return undefined;
    try {
      const file = Deno.readFileSync(`${this.#folder}/${key}.cubin`);
      const code = file.subarray(DIGEST);
      // The driver takes no length, and would read past the end of a truncated file.
      return digest(code).equals(file.subarray(0, DIGEST)) ? this.#load(code, names, plan) : undefined;
    } catch {
      return undefined;
    }
  }

  #compile(
    key: string,
    text: string,
    names: readonly string[],
    options: readonly string[],
    plan: string,
  ): Loaded {
    const { cubin } = compileSource(this.#nvrtc, text, `${plan}.cu`, options);
    const loaded = this.#load(cubin, names, plan);
    if (this.#folder !== false) {
      try {
        Deno.mkdirSync(this.#folder, { recursive: true });
        // Renamed when complete, since two processes may compile the same plan.
        const temporary = `${this.#folder}/${key}.${Deno.pid}`;
        Deno.writeFileSync(temporary, cubinFile(cubin));
        Deno.renameSync(temporary, `${this.#folder}/${key}.cubin`);
      } catch { /* a full or read-only disk only costs another compilation */ }
    }
    return loaded;
  }

  #load(code: Uint8Array<ArrayBuffer>, names: readonly string[], plan: string): Loaded {
    const { driver } = this.#card;
    const out = outU64();
    this.#card.check(driver.cuModuleLoadData(out.buffer, code), `loading the kernels of ${plan}`);
    const handle = out.value;
    const functions = new Map<string, bigint>();
    try {
      for (const name of new Set(names)) {
        const status = driver.cuModuleGetFunction(out.buffer, handle, cString(name));
        this.#card.check(status, `finding kernel ${name} of ${plan}`);
        functions.set(name, out.value);
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

/** The name under which compiled kernels are kept: whatever they depend on, the version of NVRTC included. */
export function cubinKey(text: string, options: readonly string[], nvrtc: readonly [number, number]): string {
  return digest(JSON.stringify([text, options, nvrtc])).toString("hex");
}

/** The contents of a file of compiled kernels: a digest, and the kernels. */
export function cubinFile(cubin: Uint8Array): Uint8Array {
  return Buffer.concat([digest(cubin), cubin]);
}

/** Bytes of the digest that a file on disk begins with. */
const DIGEST = 32;

function digest(data: string | Uint8Array): Buffer {
  return createHash("sha256").update(data).digest();
}
