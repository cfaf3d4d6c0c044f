import type { Checkpoint } from "../artifacts/checkpoint.ts";
import { loadWeights, type Weights, weightsOf } from "../artifacts/weights.ts";
import { LocalgradError } from "../base/errors.ts";
import { exists, look, refuseLink, writeWhole } from "../base/files.ts";
import { keysOf } from "../base/keys.ts";
import type { OnnxOptions } from "../onnx/onnx.ts";
import { modelOf } from "../predict/load.ts";
import { readRun, saveWeights } from "../train.ts";
import { type Flags, oneOf, parseFlags } from "./flags/flags.ts";
import { onnx } from "./on_demand.ts";
import { earlierSignature } from "./predict.ts";
import { print } from "./terminal.ts";

/** A network to export. */
interface Source {
  /** The folder of its run, or its file. */
  readonly path: string;
  readonly weights: Weights;
  /** The checkpoint that it is from; undefined for that of a file. */
  readonly checkpoint?: Checkpoint;
  /** The same in words. */
  readonly from: string;
}

/** A format that networks are exported in. */
interface Format {
  /** How the names of its files end. */
  readonly ending: string;
  /** Writes a network to a file. */
  readonly write: (path: string, source: Source, options: OnnxOptions) => Promise<void>;
}

/** Every format by its name; another one is a line here. */
const formats = {
  safetensors: { ending: ".safetensors", write: writeSafetensors },
  onnx: { ending: ".onnx", write: writeOnnx },
} as const satisfies { readonly [name: string]: Format };

const formatNames = keysOf(formats);

/** Flags of `export`. */
export const exportFlags = {
  run: { value: "DIR|FILE", help: "folder of the run; for onnx also a .safetensors file" },
  checkpoint: { value: "best|last", help: "checkpoint of the run; default best" },
  format: { value: formatNames.join("|"), help: "format of the file; default by the end of its name" },
  out: { value: "FILE", help: "file to write: model.safetensors for PyTorch, model.onnx for ONNX Runtime" },
  "keep-batch-norm": { help: "onnx: keep batch norms apart from the convolutions before them" },
  layout: { value: "nchw|nhwc", help: "onnx: order of an image's axes; default nchw" },
} as const satisfies Flags;

/** The flags that only `onnx` has. */
const ONNX_FLAGS = ["keep-batch-norm", "layout"] as const;

/** `export`: writes the network of a run, or of a file of weights, to a file, for PyTorch or ONNX Runtime. */
export async function exportWeights(args: readonly string[]): Promise<void> {
  const given = parseFlags("export", exportFlags, args);
  const { run, out } = given;
  if (run === undefined) {
    throw new LocalgradError("export needs the folder of a run, or a .safetensors file: --run DIR");
  }
  if (out === undefined) throw new LocalgradError("export needs a file to write: --out FILE");
  const format = formatOf(out, given.format);
  const foreign = ONNX_FLAGS.find((flag) => given[flag] !== undefined);
  if (foreign !== undefined && format !== formats.onnx) {
    throw new LocalgradError(
      `--${foreign} is for onnx; a ${format.ending} file has the network as it was trained`,
    );
  }
  const layout = oneOf("layout", given.layout ?? "nchw", ["nchw", "nhwc"]) === "nchw" ? "NCHW" : "NHWC";
  await refuseLink(out);
  if (await exists(out)) {
    throw new LocalgradError(`${out} already exists; remove it or choose another name`);
  }
  const source = await sourceIn(run, given.checkpoint);
  await format.write(out, source, { layout, foldBatchNorm: given["keep-batch-norm"] !== true });
  print(`${out}: the network of ${source.from}`);
}

/** Reads the network of a run, or of a file of weights. */
async function sourceIn(path: string, asked: string | undefined): Promise<Source> {
  if (path.endsWith(".safetensors") && (await look(path))?.isFile) {
    if (asked === undefined) return { path, weights: await loadWeights(path), from: path };
    throw new LocalgradError(
      `--checkpoint: ${path} is a file; a checkpoint is chosen in the folder of a run`,
    );
  }
  const kind = oneOf("checkpoint", asked ?? "best", ["best", "last"]);
  const checkpoint = await readRun(path, kind);
  const from = `${path} (${kind} checkpoint, step ${checkpoint.snapshot.step})`;
  return { path, weights: weightsOf(checkpoint, path), checkpoint, from };
}

async function writeSafetensors(path: string, { checkpoint, path: file }: Source): Promise<void> {
  if (checkpoint === undefined) {
    throw new LocalgradError(`${file} is a safetensors file already; export writes it as onnx`);
  }
  await saveWeights(path, checkpoint.snapshot);
}

/** Writes an ONNX file. The module is loaded only here, because it needs a package. */
async function writeOnnx(path: string, { weights, path: run }: Source, options: OnnxOptions): Promise<void> {
  const signature = weights.signature ?? await earlierSignature(run, weights);
  const { exportOnnx } = await onnx();
  const known = signature === undefined ? options : { ...options, signature };
  await writeWhole(path, exportOnnx(modelOf(weights, signature), weights, known));
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
