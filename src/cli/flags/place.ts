import { engineNames } from "../../backends/cuda/engine_names.ts";
import type { Precision } from "../../compile/plan.ts";
import type { DeviceName } from "../../runtime/devices.ts";
import { type Flags, type Given, oneOf } from "./flags.ts";

/** The names of all devices. */
export const deviceNames = [
  "auto",
  "cuda",
  "webgpu",
  "cpu",
  "reference",
] as const satisfies readonly DeviceName[];

/** The names of all precisions. */
export const precisions = ["f32", "tf32", "bf16"] as const satisfies readonly Precision[];

/** Flags for the device, the data and the format of results. */
export const placeFlags = {
  data: { value: "DIR", help: "folder or archive of the data set; by default it is downloaded once" },
  device: {
    value: deviceNames.join("|"),
    help: "device to compute on; default auto",
  },
  precision: {
    value: precisions.join("|"),
    help:
      "precision of the computation; CUDA has all three, the CPU f32 and, with oneDNN on AVX-512 BF16, bf16; default tf32 if the card has it, else f32",
  },
  "no-graph": { help: "CUDA: launch every kernel separately, for debugging" },
  overlap: {
    help:
      "CUDA: run steps that do not need each other at the same time, for small batches; takes more memory",
  },
  "sync-launches": {
    help: "CUDA: also wait for every launch, so that an error names the one that failed; slow, for debugging",
  },
  engines: {
    value: engineNames.join("|"),
    help:
      "CUDA: take the fastest of cuDNN's engines for each convolution, timed in the first step, or the first it offers, for the same bits on every card of a kind; default timed",
  },
  json: { help: "print the result as JSON" },
} as const satisfies Flags;

/** Reads the precision from flags, if given. */
export function precisionFrom(
  { precision }: Pick<Given<typeof placeFlags>, "precision">,
): { precision?: Precision } {
  return precision === undefined ? {} : { precision: oneOf("precision", precision, precisions) };
}
