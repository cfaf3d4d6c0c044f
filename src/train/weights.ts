import { LocalgradError } from "../errors.ts";
import { HostArray } from "../trace/arrays.ts";
import { readIfThere, writeWhole } from "./files.ts";
import { toOhwi, toOihw } from "./layout.ts";
import { decodeSafetensors, encodeSafetensors } from "./safetensors.ts";

/** A network's parameters and running statistics, as a file holds them. */
export interface Weights {
  /** What error messages call them: the file's path. */
  readonly name: string;
  /** By PyTorch's names, in localgrad's layouts (filters OHWI). */
  readonly tensors: ReadonlyMap<string, HostArray>;
  /** What was done to them in reading, such as a conversion to f32; for people. */
  readonly notes: readonly string[];
}

const COUNTER = "num_batches_tracked";

/** Whether a tensor of a snapshot is the network's own, not an auxiliary network's or the optimizer's. */
function ofNetwork(name: string): boolean {
  return !/^(local|optimizer)\./.test(name);
}

/**
 * Writes the network of a snapshot as a safetensors file that PyTorch opens: `state_dict` names, filters OIHW, f32, and
 * for each batch norm its `num_batches_tracked`. Auxiliary networks and the optimizer's slots are left out.
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
    /** Tensors by name, as `Trainer.snapshot` gives them. */
    readonly tensors: ReadonlyMap<string, HostArray>;
    /** Training steps done, which is what batch norms count. */
    readonly step: number;
  },
): Promise<void> {
  const tensors = new Map<string, HostArray>();
  const types = new Map<string, string>();
  for (const [name, array] of snapshot.tensors) {
    if (!ofNetwork(name)) continue;
    tensors.set(name, toOihw(array));
    if (!name.endsWith(".running_var")) continue;
    const counter = name.replace(/running_var$/, COUNTER);
    tensors.set(counter, new HostArray(Int32Array.of(snapshot.step), []));
    types.set(counter, "I64");
  }
  if (tensors.size === 0) throw new LocalgradError(`saveWeights: the snapshot has no tensor of a network`);
  await writeWhole(path, encodeSafetensors({ tensors, metadata: { format: "pt" }, types }));
}

/**
 * Reads a network's weights from a safetensors file: one that PyTorch or torchvision wrote from a `state_dict` (filters
 * OIHW), one of {@link saveWeights}, or a checkpoint, of which the network alone is taken. F16, BF16 and F64 tensors
 * become f32, which `notes` tells; batch norms' counters are dropped. Give the result to `Trainer.load`.
 *
 * @throws {LocalgradError} where there is no such file, or it is truncated, damaged or no safetensors file.
 */
export async function loadWeights(path: string): Promise<Weights> {
  const bytes = await readIfThere(path);
  if (bytes === undefined) throw new LocalgradError(`there is no file ${path} to take weights from`);
  if (isPickle(bytes)) {
    throw new LocalgradError(
      `${path} is a pickle of PyTorch's, which can run code and is not read here; in Python: ` +
        `safetensors.torch.save_file(torch.load(path, weights_only=True), "model.safetensors")`,
    );
  }
  const { tensors, metadata, types = new Map<string, string>() } = decodeSafetensors(bytes, path);
  const checkpoint = metadata["localgrad"] !== undefined;
  const kept = [...tensors].filter(([name]) =>
    !name.endsWith(`.${COUNTER}`) && (!checkpoint || ofNetwork(name))
  );
  const converted = new Set(kept.flatMap(([name]) => types.get(name) ?? []));
  return {
    name: path,
    tensors: new Map(kept.map(([name, array]) => [name, toOhwi(array)])),
    notes: [...converted].map((type) => `${path}: tensors of type ${type} were converted to f32`),
  };
}

/** Whether a file is what `torch.save` writes: a zip archive, or a bare pickle of protocol 2 as it was before 1.6. */
function isPickle(bytes: Uint8Array): boolean {
  const starts = (...head: number[]) => head.every((byte, i) => bytes[i] === byte);
  return starts(0x50, 0x4b, 0x03, 0x04) || starts(0x80, 0x02, 0x8a, 0x0a);
}
