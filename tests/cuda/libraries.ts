import { openLibraries } from "../../ffi/library.ts";
import { parent } from "../../ffi/search.ts";
import type { Backend, Opened } from "../../src/backends/backend.ts";
import { skips } from "../gate.ts";

/** CUDA's real libraries, as far as they are on this machine; opened once, and never closed. */
export const libraries = openLibraries();

/** What has no need of a card: all but the driver. */
const needed = libraries.reports.filter(({ name }) => name !== "driver");
const missing = needed.find(({ problem }) => problem !== undefined);

/** Where the vendor's headers are: beside the libraries in the wheels. */
export const includes: readonly string[] = needed.flatMap(({ path }) =>
  path?.includes("/") ? [`${parent(parent(path))}/include`] : []
);

/** Whether the tests of the real libraries are to be skipped; `LOCALGRAD_REQUIRE=cuda-libs` forbids it. */
export const skipped = await skips("cuda-libs", () =>
  Promise.resolve<Opened>(
    missing === undefined
      ? { backend: { close: () => Promise.resolve() } as Backend }
      : { reason: missing.problem!, remedy: missing.remedy ?? "" },
  ));
