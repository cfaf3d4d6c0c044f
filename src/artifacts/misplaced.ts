import { LocalgradError } from "../base/errors.ts";
import { exists, firstBytes, look } from "../base/files.ts";

/** A kind of file that people give in place of a run or of weights. */
interface Kind {
  /** Its name with an article. */
  readonly what: string;
  readonly matches: (head: Uint8Array, path: string) => boolean;
  /** What to do with it. */
  readonly remedy: string;
}

const startsWith = (text: string, offset = 0) => (head: Uint8Array) =>
  [...text].every((letter, i) => head[offset + i] === letter.charCodeAt(0));

const isPng = startsWith("\x89PNG");
const isJpeg = startsWith("\xff\xd8\xff");
const isWebp = startsWith("WEBP", 8);
const isGif = startsWith("GIF8");
const isBmp = startsWith("BM");
const [isLittleTiff, isBigTiff] = [startsWith("II*\0"), startsWith("MM\0*")];
const PICTURES = [isPng, isJpeg, isWebp, isGif, isBmp, isLittleTiff, isBigTiff];

/** Files of `torch.save`: a zip archive, or before 1.6 a bare pickle of protocol 2. */
const PICKLES = [startsWith("PK\x03\x04"), startsWith("\x80\x02\x8a\x0a")];

/** A protobuf message that begins with `ir_version`, a small number, and goes on with a later field of ModelProto. */
const isModelProto = ([first, version = 0, next = 0]: Uint8Array) =>
  first === 8 && version > 0 && version < 32 && [0x12, 0x1a, 0x22, 0x2a, 0x32, 0x3a, 0x42].includes(next);

const KINDS: readonly Kind[] = [
  {
    what: "a PyTorch pickle",
    matches: (head) => PICKLES.some((is) => is(head)),
    remedy: "that can run code, so localgrad does not read it; in Python: " +
      `safetensors.torch.save_file(torch.load(path, weights_only=True), "model.safetensors")`,
  },
  {
    what: "an ONNX model",
    matches: (head, path) => path.endsWith(".onnx") || isModelProto(head),
    remedy:
      "ONNX Runtime runs it (docs/onnx.md); localgrad reads the run or the .safetensors file that it was made of",
  },
  {
    what: "a picture",
    matches: (head) => PICTURES.some((is) => is(head)),
    remedy: "pictures to predict come after the flags: deno task predict --run DIR PICTURE…",
  },
  {
    what: "an HDF5 file",
    matches: startsWith("\x89HDF"),
    remedy: "read it with the library that wrote it, and save its weights as safetensors",
  },
];

const HEAD = 16; // bytes that tell a kind

/**
 * The error for the bytes of a file that is not a safetensors file but of a kind that is known; undefined for others.
 * A safetensors file begins with the length of its header, a JSON object.
 */
export function otherThanWeights(bytes: Uint8Array, path: string): LocalgradError | undefined {
  const kind = kindOf(bytes.subarray(0, HEAD), path);
  if (kind === undefined) return undefined;
  return new LocalgradError(`${path} is ${kind.what}, not a safetensors file; ${kind.remedy}`);
}

function kindOf(head: Uint8Array, path: string): Kind | undefined {
  if (isSafetensors(head)) return undefined;
  return KINDS.find(({ matches }) => matches(head, path));
}

const isSafetensors = startsWith("{", 8);

/** Files that every run has. */
const OF_A_RUN = ["last.safetensors", "run.json", "metrics.jsonl"];

/**
 * Refuses a path where nothing is, or a file, in place of the folder of a run: says what it is, and what to do with it.
 *
 * @throws {LocalgradError} if it is not a folder.
 */
export async function expectRunFolder(path: string): Promise<void> {
  const info = await look(path);
  if (info?.isDirectory) return;
  if (info === undefined) {
    throw new LocalgradError(`there is nothing at ${path}; give the folder of a run`);
  }
  const parent = folderOf(path);
  if (await holdsSome(parent)) {
    throw new LocalgradError(`${path} is a file of a run; give its folder, ${parent}`);
  }
  const head = info.isFile ? await firstBytes(path, HEAD) : new Uint8Array();
  const { what, remedy } = kindOf(head, path) ?? (isSafetensors(head) ? WEIGHTS : OTHER);
  throw new LocalgradError(`${path} is ${what}, not the folder of a run; ${remedy}`);
}

const WEIGHTS = {
  what: "a safetensors file",
  remedy: "predict --run, eval --weights and train --init take such a file",
};

const OTHER = { what: "a file", remedy: "give the folder that train wrote, which holds last.safetensors" };

const folderOf = (path: string) => path.replace(/[/\\]?[^/\\]*$/, "") || ".";

/**
 * Refuses the folder of a run, or a file of it that has no weights, in place of a file of weights.
 *
 * @throws {LocalgradError} if it is one.
 */
export async function refuseRun(path: string): Promise<void> {
  if (/(^|[/\\])(run\.json|metrics\.jsonl|report\.html|samples\.json)$/.test(path)) {
    const parent = folderOf(path);
    if (await holdsSome(parent)) {
      throw new LocalgradError(
        `${path} has no weights; those of its run are in ${parent}/${await kindIn(parent)}.safetensors`,
      );
    }
  }
  if ((await look(path))?.isDirectory !== true || !await holdsSome(path)) return;
  throw new LocalgradError(
    `${path} is the folder of a run, not a file of weights; its network is in ${path}/${await kindIn(
      path,
    )}.safetensors`,
  );
}

const kindIn = async (run: string) => await exists(`${run}/best.safetensors`) ? "best" : "last";

/** The end of the message that a folder holds no run: which of its folders hold one. */
export async function runsWithin(folder: string): Promise<string> {
  const names: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory && await holdsSome(`${folder}/${name}`)) names.push(`${folder}/${name}`);
  }
  const [first, second] = names.sort();
  if (first === undefined) return "give the folder of a run";
  const shown = second === undefined ? first : `${first}, ${second}${names.length > 2 ? " …" : ""}`;
  return `it holds folders of runs: give one of them, ${shown}`;
}

async function holdsSome(folder: string): Promise<boolean> {
  const found = await Promise.all(OF_A_RUN.map((name) => exists(`${folder}/${name}`)));
  return found.includes(true);
}
