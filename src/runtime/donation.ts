import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { sameShape } from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Program, ProgramInput, ProgramOutput } from "../trace/program.ts";
import type { Tensor } from "../trace/tensor.ts";
import type { Part } from "./arguments.ts";
import { Held } from "./held.ts";

/** A tensor with its path in the arguments or the result. */
export interface NamedTensor {
  readonly path: string;
  readonly tensor: Tensor;
}

/** Assigns results to donated inputs of their shape and dtype: those of the same path first, then any that is left. */
export function matchDonors(
  results: readonly NamedTensor[],
  inputs: readonly (NamedTensor & { readonly donated: boolean })[],
): ProgramOutput[] {
  const free = new Map([...inputs.entries()].filter(([, { donated }]) => donated));
  const byTail = new Map([...free].map(([i, { path }]) => [tail(path), i]));
  const donors = new Map<NamedTensor, number>();
  const fits = (i: number, { shape, dtype }: Tensor) => {
    const input = free.get(i)?.tensor;
    return input !== undefined && input.dtype === dtype && sameShape(input.shape, shape);
  };
  for (const exact of [true, false]) {
    for (const result of results) {
      if (free.size === 0 || donors.has(result)) continue;
      const { path, tensor } = result;
      const donor = exact
        ? byTail.get(tail(path)) ?? byTail.get(path)
        : [...free.keys()].find((i) => fits(i, tensor));
      if (donor === undefined || !fits(donor, tensor)) continue;
      donors.set(result, donor);
      free.delete(donor);
    }
  }
  return results.map((result) => {
    const donor = donors.get(result);
    return { value: result.tensor.id, name: result.path, ...(donor === undefined ? {} : { donor }) };
  });
}

/** A path without its first step: the position of the argument, or the name of the result. */
function tail(path: string): string {
  const dot = path.indexOf(".");
  return dot < 0 ? "" : path.slice(dot + 1);
}

/** Refuses an array that is donated and passed a second time in the same call. */
export function refuseSharedDonation(program: Program, parts: readonly Part[]): void {
  if (!program.inputs.some((input) => input.donated)) return;
  const seen = new Map<Part, ProgramInput>();
  let index = 0;
  for (const part of parts) {
    const input = at(program.inputs, index);
    index += part instanceof Held ? part.avals.length : 1;
    if (part instanceof HostArray) continue;
    const before = seen.get(part);
    if (before !== undefined && (before.donated || input.donated)) {
      throw new LocalgradError(
        `${program.name}: ${before.name} and ${input.name} are one array, which is donated; ` +
          `pass a copy or do not donate it`,
      );
    }
    seen.set(part, input);
  }
}
