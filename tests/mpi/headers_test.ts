import { assertEquals } from "@std/assert";
import {
  MPI_IN_PLACE,
  mpiErrors,
  openMpiHandles,
  openMpiNumbers,
  standardHandles,
  standardNumbers,
  STATUS_BYTES,
  TEXT_BYTES,
} from "../../ffi/mpi_abi.ts";
import { mpiAbiSymbols, mpiIdentitySymbols, mpiSymbols } from "../../ffi/mpi.ts";
import { compareNames, compareSymbols, readHeaders } from "../cuda/headers.ts";
import { inFolder } from "../in_folder.ts";
import { implementations, skipped } from "./start.ts";

const [mpich, openMpi] = implementations;
const source = await Deno.readTextFile(new URL("../../ffi/mpi.ts", import.meta.url));

/** The text of a header, with handles as plain numbers. */
function textOf(path: string): string {
  return Deno.readTextFileSync(path).replace(/\bOMPI_DECLSPEC\b/g, "").replace(
    /\(\((?:MPI_\w+|void ?\*)\) ?(0x[0-9a-fA-F]+|\d+)\)/g,
    "$1",
  );
}

/** Compiles assertions against a header. */
async function holds(include: string, header: string, checks: readonly string[]): Promise<void> {
  await inFolder(async (folder) => {
    const lines = checks.map((check) => `static_assert(${check}, "");\n`);
    await Deno.writeTextFile(`${folder}/checks.cpp`, `#include "${header}"\n${lines.join("")}`);
    const { success, stderr } = await new Deno.Command("g++", {
      args: ["-std=c++17", "-fsyntax-only", `-I${include}`, `${folder}/checks.cpp`],
    }).output();
    assertEquals(success, true, new TextDecoder().decode(stderr));
  });
}

const equal = (table: Readonly<Record<string, number>>) =>
  Object.entries(table).map(([name, value]) => `${name} == ${value}`);
const sizes = [
  `sizeof(MPI_Status) <= ${STATUS_BYTES}`,
  ...["LIBRARY_VERSION_STRING", "ERROR_STRING", "PROCESSOR_NAME"].map((name) =>
    `MPI_MAX_${name} <= ${TEXT_BYTES}`
  ),
];

Deno.test("mpi.ts agrees with the headers of MPICH and Open MPI", { ignore: skipped }, () => {
  const common = { ...mpiIdentitySymbols, ...mpiSymbols };
  const standard = readHeaders([
    // The macros behind the widths of MPI's own integers, which the parser of headers leaves alone.
    textOf(`${mpich.prefix}/include/mpi_abi.h`).replace(/\bMPI_ABI_(Aint|Offset|Count)\b/g, "int64_t"),
  ]);
  assertEquals(compareSymbols({ ...common, ...mpiAbiSymbols }, standard), []);
  assertEquals(compareNames(source, { ...common, ...mpiAbiSymbols }, standard), []);
  assertEquals(compareSymbols(common, readHeaders([textOf(`${openMpi.prefix}/include/mpi.h`)])), []);
});

Deno.test("constants of the standard ABI agree with its header", { ignore: skipped }, async () => {
  const include = `${mpich.prefix}/include`;
  const { constants } = readHeaders([textOf(`${include}/mpi_abi.h`)]);
  const handles = { ...standardHandles, MPI_IN_PLACE: Number(MPI_IN_PLACE) };
  assertEquals(Object.fromEntries(Object.keys(handles).map((name) => [name, constants.get(name)])), handles);
  await holds(include, "mpi_abi.h", [...sizes, ...equal(standardNumbers), ...equal(mpiErrors)]);
});

Deno.test("constants of Open MPI agree with its header", { ignore: skipped }, async () => {
  const include = `${openMpi.prefix}/include`;
  const text = textOf(`${include}/mpi.h`);
  assertEquals(readHeaders([text]).constants.get("MPI_IN_PLACE"), Number(MPI_IN_PLACE));
  const meant = Array.from(
    text.matchAll(/#define (MPI_\w+)\s+OMPI_PREDEFINED_GLOBAL\( *MPI_\w+ *, *(\w+)\)/g),
    ([, name, symbol]) => [symbol, name],
  );
  const named = Object.fromEntries(meant);
  assertEquals(Object.keys(openMpiHandles).map((symbol) => named[symbol]), [
    ...["MPI_COMM_WORLD", "MPI_ERRORS_RETURN", "MPI_INFO_NULL", "MPI_FLOAT", "MPI_INT32_T", "MPI_UINT32_T"],
    ...["MPI_UINT8_T", "MPI_BYTE", "MPI_SUM", "MPI_MAX", "MPI_MIN"],
  ]);
  await holds(include, "mpi.h", [...sizes, ...equal(openMpiNumbers), ...equal(mpiErrors)]);
});
