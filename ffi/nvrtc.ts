/**
 * NVRTC: compiles CUDA C to machine code at run time. Handles are `u64`; `tests/cuda/headers_test.ts` checks every line against
 * `nvrtc.h`.
 *
 * @module
 */
import { cString, CStrings, outI32, outU64, textAt, textOf } from "./memory.ts";
import { LibraryError } from "./status.ts";

/** The functions of libnvrtc that the CUDA backend uses. */
export const nvrtcSymbols = {
  nvrtcVersion: { parameters: [/* major */ "buffer", /* minor */ "buffer"], result: "i32" },
  nvrtcGetErrorString: { parameters: [/* result */ "i32"], result: "u64" },
  nvrtcCreateProgram: {
    parameters: [
      /* prog */ "buffer",
      /* src */ "buffer",
      /* name */ "buffer",
      /* numHeaders */ "i32",
      /* headers */ "u64",
      /* includeNames */ "u64",
    ],
    result: "i32",
  },
  nvrtcDestroyProgram: { parameters: [/* prog */ "buffer"], result: "i32" },
  nvrtcCompileProgram: {
    parameters: [/* prog */ "u64", /* numOptions */ "i32", /* options */ "buffer"],
    result: "i32",
  },
  nvrtcGetProgramLogSize: { parameters: [/* prog */ "u64", /* logSizeRet */ "buffer"], result: "i32" },
  nvrtcGetProgramLog: { parameters: [/* prog */ "u64", /* log */ "buffer"], result: "i32" },
  nvrtcGetCUBINSize: { parameters: [/* prog */ "u64", /* cubinSizeRet */ "buffer"], result: "i32" },
  nvrtcGetCUBIN: { parameters: [/* prog */ "u64", /* cubin */ "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** NVRTC's functions. */
export type Nvrtc = Deno.DynamicLibrary<typeof nvrtcSymbols>["symbols"];

/** The `nvrtcResult` values that the code distinguishes. */
export const nvrtcStatus = { NVRTC_SUCCESS: 0, NVRTC_ERROR_COMPILATION: 6 } as const;

/** A compiled source. */
export interface Compiled {
  /** Machine code for one architecture. */
  readonly cubin: Uint8Array<ArrayBuffer>;
  /** Warnings, and the output of options such as `--ptxas-options=-v`; usually empty. */
  readonly log: string;
}

function check(nvrtc: Nvrtc, status: number, doing: string, detail?: string): void {
  if (status === nvrtcStatus.NVRTC_SUCCESS) return;
  const name = textAt(nvrtc.nvrtcGetErrorString(status)) ?? "an unknown status";
  throw new LibraryError("NVRTC", status, name, doing, detail ?? "");
}

/** NVRTC's version, as `[major, minor]`. */
export function nvrtcVersion(nvrtc: Nvrtc): readonly [number, number] {
  const major = outI32(), minor = outI32();
  check(nvrtc, nvrtc.nvrtcVersion(major.buffer, minor.buffer), "asking for its version");
  return [major.value, minor.value];
}

/** Compiles a source. Throws a LibraryError with NVRTC's log if it does not compile. */
export function compileSource(
  nvrtc: Nvrtc,
  source: string,
  name: string,
  options: readonly string[],
): Compiled {
  const program = outU64(), size = outU64();
  const doing = `compiling ${name}`;
  check(nvrtc, nvrtc.nvrtcCreateProgram(program.buffer, cString(source), cString(name), 0, 0n, 0n), doing);
  try {
    const list = new CStrings(options);
    const status = nvrtc.nvrtcCompileProgram(program.value, options.length, list.addresses);
    check(nvrtc, nvrtc.nvrtcGetProgramLogSize(program.value, size.buffer), doing);
    const bytes = new Uint8Array(Number(size.value));
    check(nvrtc, nvrtc.nvrtcGetProgramLog(program.value, bytes), doing);
    const log = textOf(bytes).trim();
    check(nvrtc, status, doing, log);
    check(nvrtc, nvrtc.nvrtcGetCUBINSize(program.value, size.buffer), doing);
    const cubin = new Uint8Array(Number(size.value));
    check(nvrtc, nvrtc.nvrtcGetCUBIN(program.value, cubin), doing);
    return { cubin, log };
  } finally {
    nvrtc.nvrtcDestroyProgram(program.buffer);
  }
}
