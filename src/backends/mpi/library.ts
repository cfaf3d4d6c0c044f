import { outI32, textOf } from "../../../ffi/memory.ts";
import { mpiErrors, TEXT_BYTES } from "../../../ffi/mpi_abi.ts";
import type { OpenedMpi } from "../../../ffi/mpi_library.ts";
import { LibraryError } from "../../../ffi/status.ts";

/** An MPI that was initialised, whose errors become exceptions. */
export interface Library extends OpenedMpi {
  /** The process, for messages: `process 1 of 4`. */
  readonly who: string;
}

/** Throws a {@link LibraryError} with MPI's explanation for a status other than success. */
export function checkMpi({ functions, who }: Library, status: number, doing: string): void {
  if (status === 0) return;
  const text = new Uint8Array(TEXT_BYTES), length = outI32(), number = outI32();
  functions.MPI_Error_string(status, text, length.buffer);
  functions.MPI_Error_class(status, number.buffer);
  const name = Object.entries(mpiErrors).find(([, value]) => value === number.value)?.[0] ??
    `class ${number.value}`;
  // MPICH appends a stack of its own functions, Open MPI begins with the name of the class.
  const explanation = textOf(text).split("\n").at(-1)?.replace(`${name}: `, "").trim() ?? "";
  throw new LibraryError("MPI", status, name, `${doing} in ${who}`, explanation);
}
