import { createHash } from "node:crypto";
import {
  boolean,
  decodeJson,
  json,
  list,
  number,
  object,
  optional,
  Place,
  record,
  type Source,
  text,
  whole,
} from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectObject } from "../base/expect.ts";
import { readIfThere, writeWhole } from "../base/files.ts";
import { type Signature, signatureFields } from "../data/signature.ts";
import { flattensChannelsFirst } from "../nn/flatten.ts";
import type { HostArray } from "../trace/host_array.ts";
import type { Program } from "../trace/program.ts";
import { toOhwi, toOihw } from "./layout.ts";
import type { Patience, Snapshot } from "./observer.ts";
import type { RunDevice } from "./run_devices.ts";
import {
  decodeSafetensors,
  encodeSafetensors,
  expectTensors,
  FILE_LIMIT,
  type TensorFile,
} from "./safetensors.ts";

/** Settings of a run other than the trainer's configuration, such as its data set; kept in checkpoints as JSON. */
export type Settings = { readonly [name: string]: unknown };

/** Contents of a checkpoint. */
export interface Checkpoint {
  /** State of the run. */
  readonly snapshot: Snapshot;
  /** Settings of the run. */
  readonly settings: Settings;
}

/** The contents of a checkpoint other than tensors. */
interface Header {
  readonly step: number;
  readonly bestError?: number;
  readonly bestMeanIoU?: number;
  readonly patience?: Patience;
  readonly configuration: Snapshot["configuration"];
  readonly settings: Settings;
  /** Not in checkpoints of earlier versions. */
  readonly signature?: Signature;
  /** The devices that computed it; not in checkpoints of earlier versions either. */
  readonly devices?: readonly RunDevice[];
  /** If it is not the current one. */
  readonly format?: number;
}

/** Format 2: `nn.flatten` orders the elements of images as PyTorch does, on which the columns of a linear layer depend. */
const VERSION = 2;

const headerFields = object<Omit<Header, "format"> & { readonly version: number }>({
  version: whole(),
  step: whole(),
  bestError: optional(number),
  bestMeanIoU: optional(number),
  patience: optional(object<Patience>({ best: number, waited: whole(), rising: optional(boolean) })),
  configuration: record(json),
  settings: record(json),
  signature: optional(signatureFields),
  devices: optional(list(object<RunDevice>({ arithmetic: text, firstStep: whole() }))),
});

/**
 * Writes a checkpoint atomically: a safetensors file whose tensors have PyTorch's names and layouts (filters OIHW), so
 * that PyTorch can load those of the network. The metadata `localgrad` hold everything else.
 */
export async function writeCheckpoint(path: string, checkpoint: Checkpoint): Promise<void> {
  expectObject("writeCheckpoint: the checkpoint", checkpoint, { snapshot: "object", settings: "object" });
  const { snapshot, settings } = checkpoint;
  expectTensors("writeCheckpoint", snapshot.tensors);
  // Refuses what could not be read back: values that are not JSON, nested too deep, or circular.
  const source = {
    file: path,
    remedy: "give text, numbers, true, false, null, and lists and objects of those",
  };
  record(json)(snapshot.configuration, new Place(source, "configuration"));
  record(json)(settings, new Place(source, "settings"));
  const tensors = new Map([...snapshot.tensors].map(([name, array]) => [name, toOihw(array)]));
  const header = JSON.stringify(
    {
      version: snapshot.format ?? VERSION,
      step: snapshot.step,
      ...(snapshot.bestError === undefined ? {} : { bestError: snapshot.bestError }),
      ...(snapshot.bestMeanIoU === undefined ? {} : { bestMeanIoU: snapshot.bestMeanIoU }),
      ...(snapshot.patience === undefined ? {} : { patience: snapshot.patience }),
      configuration: snapshot.configuration,
      settings,
      ...(snapshot.signature === undefined ? {} : { signature: snapshot.signature }),
      ...(snapshot.devices === undefined ? {} : { devices: snapshot.devices }),
    } satisfies Header & { version: number },
  );
  const metadata = { format: "pt", localgrad: header, sha256: digest(header, tensors) };
  await writeWhole(path, encodeSafetensors({ tensors, metadata }));
}

/**
 * Reads a checkpoint.
 *
 * @throws {LocalgradError} if there is none, or it is truncated, damaged or not one of localgrad's.
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  return decodeCheckpoint(await readCheckpointFile(path), path);
}

/** The bytes of a checkpoint's file. */
export async function readCheckpointFile(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await readIfThere(path, FILE_LIMIT);
  if (bytes !== undefined) return bytes;
  throw new LocalgradError(`there is no checkpoint ${path}; give the folder of a run`);
}

/** The checkpoint in the bytes of a file, named in messages. */
export function decodeCheckpoint(bytes: Uint8Array<ArrayBuffer>, path: string): Checkpoint {
  const file = decodeSafetensors(bytes, path);
  const localgrad = headerOf(file, path);
  if (localgrad === undefined) {
    throw new LocalgradError(`${path} was not written by localgrad: it has no header of a run`);
  }
  const source = { file: path, remedy: "use another checkpoint" };
  const header = decodeHeader(localgrad, source);
  const { step, bestError, bestMeanIoU, patience, configuration, settings, signature, devices, format } =
    header;
  return {
    snapshot: {
      step,
      ...(bestError === undefined ? {} : { bestError }),
      ...(bestMeanIoU === undefined ? {} : { bestMeanIoU }),
      ...(patience === undefined ? {} : { patience }),
      tensors: new Map([...file.tensors].map(([name, array]) => [name, toOhwi(array)])),
      configuration,
      ...(signature === undefined ? {} : { signature }),
      ...(devices === undefined ? {} : { devices }),
      ...(format === undefined ? {} : { format }),
    },
    settings,
  };
}

/** Decodes the header of a checkpoint; refuses a format of a later version. */
export function decodeHeader(header: string, source: Source): Header {
  const { version } = decodeJson(header, source, object({ version: whole() }));
  if (version < 1 || version > VERSION) {
    throw new LocalgradError(
      `${source.file} has format ${version}; this localgrad reads formats up to ${VERSION}`,
    );
  }
  const { version: format, ...fields } = decodeJson(header, source, headerFields);
  return format === VERSION ? fields : { ...fields, format };
}

/** Refuses values of a checkpoint of format 1 for a program that flattens images, which that did in another order. */
export function refuseOldOrder(name: string, format: number | undefined, program: () => Program): void {
  if (format !== 1 || !flattensChannelsFirst(program())) return;
  throw new LocalgradError(
    `${name} is of an earlier version, in which nn.flatten() put the channels last, and the columns of the linear layer ` +
      `after it are in that order; make the network with nn.flatten({ order: "channelsLast" })`,
  );
}

/**
 * The header of a checkpoint; undefined for any other safetensors file.
 *
 * @throws {LocalgradError} if the checkpoint is damaged.
 */
export function headerOf({ tensors, metadata, skipped }: TensorFile, path: string): string | undefined {
  const { localgrad, sha256 } = metadata;
  if (localgrad === undefined) return undefined;
  if (skipped === undefined && digest(localgrad, tensors) === sha256) return localgrad;
  throw new LocalgradError(`${path} is damaged: it does not match its checksum; use another checkpoint`);
}

/** SHA-256 of a checkpoint's header and tensors. */
function digest(header: string, tensors: ReadonlyMap<string, HostArray>): string {
  const hash = createHash("sha256").update(header);
  for (const [name, { data, shape }] of tensors) {
    hash.update(`${name}[${shape}]`);
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest("hex");
}
