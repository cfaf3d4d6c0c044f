import { LocalgradError } from "../base/errors.ts";
import { exists, refuseLink } from "../base/files.ts";
import { readRun, saveWeights } from "../train.ts";
import { type Flags, oneOf, parseFlags } from "./flags.ts";
import { print } from "./terminal.ts";

/** Flags of `export`. */
export const exportFlags = {
  run: { value: "DIR", help: "folder of the run" },
  checkpoint: { value: "best|last", help: "checkpoint of the run; default best" },
  out: { value: "FILE", help: "file to write, such as model.safetensors" },
} as const satisfies Flags;

/** `export`: writes the network of a run to a file whose tensors have PyTorch's names and shapes. */
export async function exportWeights(args: readonly string[]): Promise<void> {
  const given = parseFlags("export", exportFlags, args);
  if (given.run === undefined) throw new LocalgradError("export needs the folder of a run: --run DIR");
  if (given.out === undefined) throw new LocalgradError("export needs a file to write: --out FILE");
  const kind = oneOf("checkpoint", given.checkpoint ?? "best", ["best", "last"]);
  await refuseLink(given.out);
  if (await exists(given.out)) {
    throw new LocalgradError(`${given.out} already exists; remove it or choose another name`);
  }
  const { snapshot } = await readRun(given.run, kind);
  await saveWeights(given.out, snapshot);
  print(`${given.out}: the network of ${given.run} (${kind} checkpoint, step ${snapshot.step})`);
}
