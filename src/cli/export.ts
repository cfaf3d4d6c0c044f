import type { Checkpoint } from "../artifacts/checkpoint.ts";
import { LocalgradError } from "../base/errors.ts";
import { exists, refuseLink } from "../base/files.ts";
import { keysOf } from "../base/keys.ts";
import { readRun, saveWeights } from "../train.ts";
import { type Flags, oneOf, parseFlags } from "./flags.ts";
import { print } from "./terminal.ts";

/** A format that networks are exported in. */
interface Format {
  /** How the names of its files end. */
  readonly ending: string;
  /** Writes the network of a checkpoint to a file. */
  readonly write: (path: string, checkpoint: Checkpoint) => Promise<void>;
}

/** Every format by its name; another one is a line here. */
const formats = {
  safetensors: { ending: ".safetensors", write: (path, { snapshot }) => saveWeights(path, snapshot) },
} as const satisfies { readonly [name: string]: Format };

const formatNames = keysOf(formats);

/** Flags of `export`. */
export const exportFlags = {
  run: { value: "DIR", help: "folder of the run" },
  checkpoint: { value: "best|last", help: "checkpoint of the run; default best" },
  format: { value: formatNames.join("|"), help: "format of the file; default by the end of its name" },
  out: { value: "FILE", help: "file to write, such as model.safetensors" },
} as const satisfies Flags;

/** `export`: writes the network of a run to a file, for PyTorch with its names and shapes of tensors. */
export async function exportWeights(args: readonly string[]): Promise<void> {
  const given = parseFlags("export", exportFlags, args);
  const { run, out } = given;
  if (run === undefined) throw new LocalgradError("export needs the folder of a run: --run DIR");
  if (out === undefined) throw new LocalgradError("export needs a file to write: --out FILE");
  const kind = oneOf("checkpoint", given.checkpoint ?? "best", ["best", "last"]);
  const { write } = formatOf(out, given.format);
  await refuseLink(out);
  if (await exists(out)) {
    throw new LocalgradError(`${out} already exists; remove it or choose another name`);
  }
  const checkpoint = await readRun(run, kind);
  await write(out, checkpoint);
  print(`${out}: the network of ${run} (${kind} checkpoint, step ${checkpoint.snapshot.step})`);
}

/** The format of a file, by name or else by the end of its path; refuses a file with the name of another format. */
function formatOf(path: string, name: string | undefined): Format {
  const asked = name === undefined ? undefined : oneOf("format", name, formatNames);
  const known = formatNames.find((each) => path.endsWith(formats[each].ending));
  if (known !== undefined && (asked === undefined || asked === known)) return formats[known];
  const endings = formatNames.map((each) => formats[each].ending);
  throw new LocalgradError(
    asked === undefined
      ? `export writes ${
        endings.join(" and ")
      }, which ${path} does not end in; for a .pth of PyTorch, load the ` +
        `safetensors file there and torch.save its tensors`
      : `a file of the format ${asked} must end in ${formats[asked].ending}, not ${path}`,
  );
}
