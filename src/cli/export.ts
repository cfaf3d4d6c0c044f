import { LocalgradError } from "../base/errors.ts";
import { exists, refuseLink } from "../base/files.ts";
import { readRun, saveWeights } from "../train.ts";
import { type Flags, oneOf, parseFlags } from "./flags.ts";

/** Flags of `export`. */
export const exportFlags = {
  run: { value: "DIR", help: "folder of the run" },
  checkpoint: { value: "best|last", help: "which of its checkpoints; default best" },
  out: { value: "FILE", help: "where to write it, such as model.safetensors" },
} as const satisfies Flags;

/** `export`: writes a run's network alone, as a file that PyTorch opens by name and shape. */
export async function exportWeights(args: readonly string[]): Promise<void> {
  const given = parseFlags("export", exportFlags, args);
  if (given.run === undefined) throw new LocalgradError("export needs the folder of a run: --run DIR");
  if (given.out === undefined) throw new LocalgradError("export needs a file to write: --out FILE");
  const kind = oneOf("checkpoint", given.checkpoint ?? "best", ["best", "last"]);
  await refuseLink(given.out);
  if (await exists(given.out)) {
    throw new LocalgradError(`${given.out} exists already; remove it or choose another name`);
  }
  const { snapshot } = await readRun(given.run, kind);
  await saveWeights(given.out, snapshot);
  console.log(`${given.out}: the network of ${given.run} (${kind} checkpoint, step ${snapshot.step})`);
}
