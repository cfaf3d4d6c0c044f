import { brief } from "../../base/decode.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole } from "../../base/expect.ts";
import { type Block, layersOf, type Model } from "../../models/model.ts";
import { expectModel } from "../../models/model.ts";
import type { Layer } from "../../nn/layer.ts";
import { inContext } from "../../models/context.ts";
import { AUXILIARIES } from "../places.ts";
import { publishedSplit, type SplitName, splitNames, unpublished } from "./published.ts";

/**
 * The cut of a network, given as a number of modules; as a published split, by publication and K; by the blocks to cut
 * after; or as a number of balanced modules, whose boundaries have the lowest planned peak or, for a process each, the
 * lowest time of the slowest. Balanced boundaries depend on method, batch and device; `trainer`, `memory` and
 * {@link balanced} find them.
 */
export type Modules =
  | number
  | { readonly published: SplitName; readonly modules: number }
  | { readonly after: readonly string[] }
  | { readonly balanced: number; readonly by?: "memory" | "time" };

/** A part of the network that is trained by its own loss. */
export interface Module {
  /** Its index, from 0. */
  readonly index: number;
  /** Its first and last block, such as `layer1.0–layer1.2`; `stem` if it has no blocks. */
  readonly name: string;
  /** Its blocks. The first module also has the stem, and may have nothing else; the last also has the head. */
  readonly blocks: readonly Block[];
  /** The whole module as one layer. */
  readonly layer: Layer;
}

/** A network cut into gradient-isolated modules. */
export interface Partition {
  /** The requested number of modules; their actual number if boundaries were given. Schedules by stage use it. */
  readonly requested: number;
  /** The modules, in order. */
  readonly modules: readonly Module[];
  /** The rule it was made by, such as `even by blocks`. */
  readonly how: string;
  /** A description to print. */
  readonly description: string;
}

/**
 * Cuts a network into modules. A count that was published for this network gives the published split, which may have
 * another number of modules: K = 16 of ResNet-32 is 15, because the papers count the stem as one. Any other count gives
 * exactly that many modules, even by blocks. `{ published: "man++", modules: 4 }` gives that publication's split, and
 * `"infopro"` of a DenseNet or VGG the split that follows from its rule.
 *
 * @throws {LocalgradError} if the network cannot be cut like that; for a split that was not published, the message lists
 * those that were.
 *
 * @example
 * ```ts
 * import { local, models } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const { modules } = local.partition(models.resnet32({ classes: 10 }), { after: ["layer1.4", "layer2.4"] });
 * assertEquals(modules.map((module) => module.blocks.length), [5, 5, 5]);
 * ```
 */
export function partition(model: Model, modules: Modules): Partition {
  checkModel(model);
  if (typeof modules === "number") return byCount(model, modules);
  if (typeof modules === "object" && modules !== null) {
    if ("published" in modules) {
      expectOptions("partition: modules", modules, { published: "string", modules: "number" });
      return asPublished(model, modules.published, modules.modules);
    }
    if ("after" in modules && Array.isArray(modules.after)) {
      expectOptions("partition: modules", modules, { after: "array" });
      return byBoundaries(model, modules.after);
    }
    if ("balanced" in modules) {
      throw new LocalgradError(
        "partition: balanced boundaries depend on method, batch and device; pass the result of local.balanced()",
      );
    }
  }
  throw new LocalgradError(
    "partition: modules is a count, { published: name, modules: count }, { after: [block, …] } or { balanced: count }, " +
      `not ${JSON.stringify(modules)}`,
  );
}

/** Returns the whole network as one module, for end-to-end training. */
export function whole(model: Model): Partition {
  checkModel(model);
  return cut(model, [model.blocks.length], 1, "end to end");
}

/**
 * Returns a cut with the stem as a separate module, as in the published code of some methods. A network that is trained
 * as one module stays whole.
 */
export function withStem(model: Model, { requested, modules, how }: Partition): Partition {
  const whole = modules.length === 1 || Object.keys(model.stem).length === 0;
  const ends = endsOf(modules);
  return cut(model, whole || ends[0] === 0 ? ends : [0, ...ends], requested, how);
}

/** Returns a cut without the boundaries that fewer than `blocks` blocks follow; these blocks are trained together. */
export function withoutLast(model: Model, { requested, modules, how }: Partition, blocks: number): Partition {
  const most = model.blocks.length;
  const ends = endsOf(modules).filter((end) => end === most || most - end >= blocks);
  return cut(model, ends, requested, how);
}

/**
 * Returns a cut whose last `blocks` blocks are trained together; refuses one that leaves no boundary. `who` begins the
 * message, `option` is what to choose smaller.
 */
export function jointly(
  model: Model,
  requested: Partition,
  blocks: number,
  { who, option }: { readonly who: string; readonly option: string },
): Partition {
  const own = withoutLast(model, requested, blocks);
  if (own.modules.length > 1 || requested.modules.length === 1) return own;
  throw new LocalgradError(
    `${who} the last ${blocks} blocks are trained together, and no boundary is left in ${model.name} ` +
      `(${requested.how}); cut it earlier, into more modules, or choose a smaller ${option}`,
  );
}

/** Returns a cut of a network with contexts, or others, at the same boundaries. */
export function withContexts(model: Model, { requested, modules, how }: Partition): Partition {
  return cut(model, endsOf(modules), requested, how);
}

/** Returns the number of blocks before the end of each module. */
function endsOf(modules: readonly Module[]): number[] {
  let end = 0;
  return modules.map(({ blocks }) => end += blocks.length);
}

function byCount(model: Model, count: number): Partition {
  const most = model.blocks.length;
  expectWhole("partition: the number of modules", count);
  const published = publishedSplit(model, count);
  if (published !== undefined) return asPublished(model, published.by, count);
  if (count > most) {
    throw new LocalgradError(
      `partition: ${model.name} has ${most} blocks and cannot be cut into ${count} modules; ask for at most ${most}`,
    );
  }
  const ends = Array.from({ length: count }, (_, i) => Math.floor((i + 1) * most / count));
  return cut(model, ends, count, count === 1 ? "end to end" : "even by blocks");
}

function asPublished(model: Model, by: SplitName, count: number): Partition {
  const split = splitNames.includes(by) ? publishedSplit(model, count, by) : undefined;
  if (split === undefined) throw unpublished(model, count, by);
  const ends = endsAfter(model, split.after);
  const stem = ends.length === count ? "" : ", which counts the stem as a module of its own";
  const how = split.ours
    ? `even by layers, ${by}'s rule; no split of ${model.name} is published`
    : `the published split of ${model.name} for K = ${count}, ${by}${stem}`;
  return cut(model, ends, count, how);
}

function byBoundaries(model: Model, after: readonly string[]): Partition {
  const ends = endsAfter(model, after);
  return cut(model, ends, ends.length, after.length === 0 ? "end to end" : `cut after ${after.join(", ")}`);
}

/** Returns the number of blocks before each boundary and before the end; refuses impossible boundaries. */
function endsAfter(model: Model, after: readonly string[]): number[] {
  const names = model.blocks.map((block) => block.name);
  const ends: number[] = [];
  let last = -1;
  for (const name of after) {
    const index = names.indexOf(name);
    if (index < 0) {
      throw new LocalgradError(
        `partition: ${model.name} has no block ${brief(name)}; its blocks are ${listed(names)}`,
      );
    }
    if (index === names.length - 1) {
      throw new LocalgradError(
        `partition: ${name} is the last block, after which the network ends anyway; leave it out`,
      );
    }
    if (index <= last) {
      throw new LocalgradError(
        `partition: boundaries must follow the order of the network, each once; ${name} does not come after ` +
          names[last],
      );
    }
    ends.push(index + 1);
    last = index;
  }
  return [...ends, names.length];
}

function listed(names: readonly string[]): string {
  return names.length <= 12 ? names.join(", ") : `${names.slice(0, 3).join(", ")}, … ${names.at(-1)}`;
}

function cut(model: Model, ends: readonly number[], requested: number, how: string): Partition {
  const modules = ends.map((end, index) => moduleOf(model, index, ends[index - 1] ?? 0, end));
  const count = modules.length === 1 ? "1 module" : `${modules.length} gradient-isolated modules`;
  return { requested, modules, how, description: `${count} (${how})` };
}

/** Returns blocks `start … end − 1` as module `index`; the first module has the stem, the last the head. */
export function moduleOf(model: Model, index: number, start: number, end: number): Module {
  const blocks = model.blocks.slice(start, end);
  const [first, last] = [blocks[0]?.name, blocks.at(-1)?.name];
  return {
    index,
    name: first === undefined ? "stem" : first === last ? first : `${first}–${last}`,
    blocks,
    layer: inContext({
      ...(index === 0 ? model.stem : {}),
      ...layersOf(blocks),
      ...(end === model.blocks.length ? model.head : {}),
    }, model.contexts ?? []),
  };
}

/** Refuses a network that cannot be cut. */
export function checkModel(model: Model): void {
  expectModel(model);
  if (model.blocks.length === 0) {
    throw new LocalgradError(`partition: ${model.name} has no blocks; a model needs at least one`);
  }
  const blocks = model.blocks.map((block) => block.name);
  const names = [...Object.keys(model.stem), ...blocks, ...Object.keys(model.head)];
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new LocalgradError(
      `partition: ${model.name} has two parts named ${JSON.stringify(twice)}; rename one`,
    );
  }
  const taken = names.find((name) => name.split(".")[0] === AUXILIARIES);
  if (taken !== undefined) {
    throw new LocalgradError(
      `partition: ${model.name} has a part named ${
        JSON.stringify(taken)
      }; "${AUXILIARIES}" is where auxiliary ` +
        "networks are kept; rename it",
    );
  }
}
