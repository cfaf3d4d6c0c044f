import { brief, decodeJson, object, oneOf, optional, record, text, whole } from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectObject } from "../base/expect.ts";
import { readIfThere, writeWhole } from "../base/files.ts";
import { type Signature, signatureFields } from "../data/signature.ts";
import { HostArray } from "../trace/host_array.ts";
import { type Checkpoint, decodeHeader, headerOf, type Settings } from "./checkpoint.ts";
import { toOhwi, toOihw } from "./layout.ts";
import { type NetworkFacts, taskIn } from "./network_values.ts";
import { otherThanWeights, refuseRun } from "./misplaced.ts";
import type { Configuration } from "./observer.ts";
import {
  decodeSafetensors,
  encodeSafetensors,
  expectTensors,
  FILE_LIMIT,
  type TensorFile,
} from "./safetensors.ts";
import { networkTensors } from "./tensor_names.ts";

/** A network's parameters and running statistics, read from a file. */
export interface Weights {
  /** Name in error messages: the file's path. */
  readonly name: string;
  /** By PyTorch's names, in localgrad's layouts (filters OHWI). */
  readonly tensors: ReadonlyMap<string, HostArray>;
  /** Types of the tensors in the file that localgrad does not read, by name. */
  readonly skipped?: ReadonlyMap<string, string>;
  /** The network that the file says it is of; unknown for files of other libraries and earlier versions. */
  readonly network?: NetworkFacts;
  /** Class names and preprocessing of the network, if the file has them. */
  readonly signature?: Signature;
  /** Class names of a network without preprocessing, such as one of vectors, if its run named them. */
  readonly classNames?: readonly string[];
  /** Format of the checkpoint that they are of, if that is an older one. */
  readonly format?: number;
  /** Changes made in reading, such as a conversion to f32, for people. */
  readonly notes: readonly string[];
}

const COUNTER = "num_batches_tracked";

/**
 * Writes the network of a snapshot as a safetensors file that PyTorch opens: `state_dict` names, filters OIHW, f32, and
 * for each batch norm its `num_batches_tracked`. Auxiliary networks and the optimizer's slots are left out.
 * Of a run that averages weights, the averages are written.
 *
 * The name must end in `.safetensors`, so that no file seems to be of another format.
 *
 * In PyTorch: `model.load_state_dict(safetensors.torch.load_file(path), strict=True)`.
 *
 * @example
 * ```ts
 * import { devices, local, models, optim, train } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * await using device = await devices.open("cpu");
 * const options = { device, model: models.resnet8(), optimizer: optim.sgd(), batch: 16 };
 * using trained = await local.trainer({ ...options, method: local.endToEnd(), seed: 1 });
 * await train.saveWeights(path, await trained.snapshot());
 *
 * using other = await local.trainer({ ...options, method: local.dgl(), modules: 3, seed: 2 });
 * other.load(await train.loadWeights(path)); // the network's values; the auxiliary networks stay as drawn
 * const bias = (await other.snapshot()).tensors.get("fc.bias");
 * assertEquals(bias, (await trained.snapshot()).tensors.get("fc.bias"));
 * await Deno.remove(path);
 * ```
 */
export async function saveWeights(
  path: string,
  snapshot: {
    /** Tensors by name, as in `Trainer.snapshot`. */
    readonly tensors: ReadonlyMap<string, HostArray>;
    /** Training steps done, which batch norms count. */
    readonly step: number;
    /** Configuration of the run, of which the network's name, number of classes and task are kept. */
    readonly configuration?: Configuration;
    /** Class names and preprocessing of the network, which are kept too. */
    readonly signature?: Signature;
    /** Format of the checkpoint that it was read from, if that is an older one. */
    readonly format?: number;
  },
): Promise<void> {
  expectObject("saveWeights: the snapshot", snapshot, {
    tensors: "object",
    step: "number",
    configuration: "object?",
    signature: "object?",
    format: "number?",
  });
  expectTensors("saveWeights", snapshot.tensors);
  expectKind("saveWeights: the path", path, "string");
  if (!path.endsWith(".safetensors")) {
    throw new LocalgradError(
      `saveWeights writes a safetensors file, whose name must end in .safetensors, not ${brief(path)}`,
    );
  }
  const tensors = new Map<string, HostArray>();
  const types = new Map<string, string>();
  for (const [name, array] of networkTensors(snapshot.tensors)) {
    tensors.set(name, toOihw(array));
    if (!name.endsWith(".running_var")) continue;
    const counter = name.replace(/running_var$/, COUNTER);
    tensors.set(counter, new HostArray(Int32Array.of(snapshot.step), []));
    types.set(counter, "I64");
  }
  if (tensors.size === 0) throw new LocalgradError(`saveWeights: the snapshot has no tensors of a network`);
  const metadata = { format: "pt", [METADATA]: JSON.stringify(factsOf(snapshot)) };
  await writeWhole(path, encodeSafetensors({ tensors, metadata, types }));
}

/** The entry of the metadata for what is known of a network. */
const METADATA = "localgrad.network";

/** What is known of a network apart from its tensors. */
type Facts = Pick<Weights, "network" | "signature" | "format">;

const facts = object<Facts>({
  network: optional(
    object<NetworkFacts>({
      model: text,
      classes: whole(1),
      task: optional(oneOf(["classification", "regression"])),
    }),
  ),
  signature: optional(signatureFields),
  format: optional(whole(1)),
});

/** What a run knows of its network. */
function factsOf(
  run: {
    readonly configuration?: Configuration;
    readonly signature?: Signature;
    readonly format?: number;
  },
): Facts {
  const { configuration = {} } = run;
  const { model, classes } = configuration;
  const known = typeof model === "string" && typeof classes === "number";
  const task = taskIn(configuration);
  return {
    ...(known ? { network: { model, classes, ...(task === undefined ? {} : { task }) } } : {}),
    ...(run.signature === undefined ? {} : { signature: run.signature }),
    ...(run.format === undefined ? {} : { format: run.format }),
  };
}

/** The class names in the settings of a run, as `fit` keeps them. */
function namesIn({ classNames: names }: Settings): Pick<Weights, "classNames"> {
  if (!Array.isArray(names)) return {};
  const classNames = names.filter((name) => typeof name === "string");
  return classNames.length === names.length ? { classNames } : {};
}

/** The network of a checkpoint, to load or to predict with. */
export function weightsOf(checkpoint: Checkpoint, name: string): Weights {
  const { snapshot, settings } = checkpoint;
  const known = { ...factsOf(snapshot), ...namesIn(settings) };
  return { name, tensors: networkTensors(snapshot.tensors), ...known, notes: [] };
}

/**
 * Reads a network's weights from a safetensors file for `Trainer.load`: one that PyTorch or torchvision wrote from a
 * `state_dict` (filters OIHW), one of {@link saveWeights}, or a checkpoint, of which only the network is taken. For
 * weights in several files, pass their index, `model.safetensors.index.json`.
 *
 * F16, BF16 and F64 tensors become f32; a prefix that a wrapper put before all names (`module.`, `_orig_mod.`, `model.`)
 * is removed; batch norms' counters are dropped. `notes` list the conversions and the removed prefix.
 *
 * @throws {LocalgradError} if there is no such file, or it is truncated, damaged or not a safetensors file.
 */
export async function loadWeights(path: string): Promise<Weights> {
  expectKind("loadWeights: the path", path, "string");
  await refuseRun(path);
  const { tensors, types = new Map<string, string>(), skipped, metadata } = path.endsWith(".json")
    ? await readShards(path)
    : await readFile(path);
  const header = headerOf({ tensors, metadata, ...(skipped === undefined ? {} : { skipped }) }, path);
  const checkpoint = header !== undefined;
  const known = metadata[METADATA];
  const source = { file: path, remedy: "use another file" };
  const run = header === undefined ? undefined : decodeHeader(header, source);
  const kept = [...(checkpoint ? networkTensors(tensors) : tensors)].filter(([name]) =>
    !name.endsWith(`.${COUNTER}`)
  );
  const converted = new Set(kept.flatMap(([name]): string | string[] => types.get(name) ?? []));
  const prefix = prefixOf(kept.map(([name]) => name));
  const plain = (name: string) => name.startsWith(prefix) ? name.slice(prefix.length) : name;
  return {
    name: path,
    tensors: new Map(kept.map(([name, array]) => [plain(name), toOhwi(array)])),
    ...(skipped === undefined
      ? {}
      : { skipped: new Map([...skipped].map(([name, type]) => [plain(name), type])) }),
    ...(run === undefined ? {} : { ...factsOf(run), ...namesIn(run.settings) }),
    ...(known !== undefined ? decodeJson(known, source, facts) : {}),
    notes: [
      ...[...converted].map((type) =>
        `${path}: tensors of type ${type} were converted to ${type === "I64" ? "i32" : "f32"}`
      ),
      ...(prefix === "" ? [] : [`${path}: the prefix ${prefix} of all names was removed`]),
    ],
  };
}

async function readFile(path: string): Promise<TensorFile> {
  const bytes = await readIfThere(path, FILE_LIMIT);
  if (bytes === undefined) throw new LocalgradError(`there is no file ${path} to take weights from`);
  const error = otherThanWeights(bytes, path);
  if (error !== undefined) throw error;
  return decodeSafetensors(bytes, path);
}

/** The tensors of several files next to their index, which maps each tensor to its file. */
async function readShards(path: string): Promise<TensorFile> {
  const bytes = await readIfThere(path);
  if (bytes === undefined) throw new LocalgradError(`there is no file ${path} to take weights from`);
  const source = { file: path, remedy: "give the index of safetensors files, or such a file itself" };
  const { weight_map: places } = decodeJson(bytes, source, object({ weight_map: record(text) }));
  const all = { tensors: new Map<string, HostArray>(), types: new Map<string, string>() };
  const skipped = new Map<string, string>();
  for (const shard of new Set(Object.values(places))) {
    if (!/^[^/\\:]+\.safetensors$/.test(shard)) {
      throw new LocalgradError(
        `${path} names ${brief(shard)}, which is not a safetensors file beside it`,
      );
    }
    const file = `${path.slice(0, path.search(/[^/\\]*$/))}${shard}`;
    const { tensors, types, skipped: others } = await readFile(file);
    for (const name of Object.keys(places).filter((name) => places[name] === shard)) {
      const [array, type, other] = [tensors.get(name), types?.get(name), others?.get(name)];
      if (array !== undefined) all.tensors.set(name, array);
      else if (other !== undefined) skipped.set(name, other);
      else {
        throw new LocalgradError(
          `${file} has no ${brief(name)}, which ${path} says it has; download both again`,
        );
      }
      if (type !== undefined) all.types.set(name, type);
    }
  }
  return { ...all, metadata: {}, ...(skipped.size === 0 ? {} : { skipped }) };
}

/** Prefixes that DataParallel, torch.compile and training frameworks put before every name. */
const PREFIXES = ["module.", "_orig_mod.", "model."];

/** The prefix of all names, made of one or more of {@link PREFIXES}. */
function prefixOf(names: readonly string[]): string {
  let prefix = "";
  while (names.length > 0) {
    const next = PREFIXES.find((each) => names.every((name) => name.startsWith(prefix + each)));
    if (next === undefined) break;
    prefix += next;
  }
  return prefix;
}
