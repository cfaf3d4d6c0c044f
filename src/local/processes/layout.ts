import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole, isWhole, shown } from "../../base/expect.ts";

/**
 * How the processes of a run divide its work. `data`: each has the whole network and a share of every batch. `modules`:
 * each has a run of consecutive modules, and passes features on to the next. Both: `{ data: 2, modules: 4 }` is two
 * pipelines of four processes.
 */
export type Parallel = "data" | "modules" | { readonly data: number; readonly modules: number };

/** The numbers of processes that divide the batch, and the modules; a run has as many processes as their product. */
export interface Layout {
  /** The number of shares of a batch. */
  readonly data: number;
  /** The number of runs of modules. */
  readonly modules: number;
}

/** The part of a layout that one process has. */
export interface Place {
  /** The index of its share of every batch. */
  readonly data: number;
  /** The index of its run of modules. */
  readonly modules: number;
}

/** The layout of a single process. */
export const ALONE: Layout = { data: 1, modules: 1 };

/**
 * Returns the layout of a number of processes; one process needs none.
 *
 * @throws {LocalgradError} if the layout has another number of processes, or more than one process has none.
 *
 * @example
 * ```ts
 * import { local } from "@localgrad/localgrad";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * assertEquals(local.layoutOf("modules", 4), { data: 1, modules: 4 });
 * assertEquals(local.layoutOf({ data: 2, modules: 4 }, 8), { data: 2, modules: 4 });
 * assertThrows(() => local.layoutOf({ data: 2, modules: 4 }, 4), Error, "8 processes");
 * ```
 */
export function layoutOf(parallel: Parallel | undefined, processes: number): Layout {
  expectWhole("parallel: the number of processes", processes);
  if (parallel === undefined) {
    if (processes === 1) return ALONE;
    throw new LocalgradError(
      `parallel: ${processes} processes were started, each of which would train the whole network; choose "data", ` +
        `"modules" or { data, modules }`,
    );
  }
  if (parallel === "data") return { data: processes, modules: 1 };
  if (parallel === "modules") return { data: 1, modules: processes };
  if (typeof parallel !== "object" || parallel === null) {
    throw new LocalgradError(
      `parallel: choose "data", "modules" or { data: 2, modules: 4 }, not ${shown(parallel)}`,
    );
  }
  expectOptions("parallel", parallel, { data: "number", modules: "number" });
  const { data, modules } = parallel;
  expectWhole("parallel: data", data);
  expectWhole("parallel: modules", modules);
  if (processes === 1) return ALONE; // the same script runs on one process
  if (data * modules === processes) return { data, modules };
  throw new LocalgradError(
    `parallel: ${data} × ${modules} is ${
      data * modules
    } processes, but ${processes} were started; start as many`,
  );
}

/** The place of a process: those of one pipeline have consecutive ranks. */
export function placeOfRank({ modules }: Layout, rank: number): Place {
  return { data: Math.floor(rank / modules), modules: rank % modules };
}

/** The rank of the process at a place. */
export function rankAt({ modules }: Layout, place: Place): number {
  return place.data * modules + place.modules;
}

/** A layout as text: `2x4`. */
export function formatLayout({ data, modules }: Layout): string {
  return `${data}x${modules}`;
}

/** Reads a layout as `--parallel` has it: `data`, `modules` or `2x4`; undefined if it is none of them. */
export function parallelFrom(text: string): Parallel | undefined {
  if (text === "data" || text === "modules") return text;
  const [, data, modules] = /^(\d+)x(\d+)$/.exec(text) ?? [];
  const layout = { data: Number(data), modules: Number(modules) };
  return isWhole(layout.data, 1) && isWhole(layout.modules, 1) ? layout : undefined;
}
