import { thisHost } from "../../ffi/host.ts";
import { openLibraries } from "../../ffi/library.ts";
import { parent } from "../../ffi/places.ts";
import { search } from "../../ffi/search.ts";
import type { Backend, Opened } from "../../src/backends/backend.ts";
import { skips } from "../gate.ts";
import { loadDriverStandIn } from "./no_driver.ts";

/** The folders of the vendor's headers, next to the libraries in the wheels. */
export const includes: readonly string[] = (["nvrtc", "cudnn"] as const).flatMap((name) => {
  const { candidates } = search(name, 13, thisHost());
  return candidates.flatMap(({ path }) => path.includes("/") ? [`${parent(parent(path))}/include`] : []);
});

/** The text of a header, from the first folder that has it. */
export function header(file: string): string | undefined {
  for (const folder of includes) {
    try {
      return Deno.readTextFileSync(`${folder}/${file}`);
    } catch {
      continue;
    }
  }
  return undefined;
}

const cudaHeader = header("cuda.h");
const driver = cudaHeader !== undefined && loadDriverStandIn(cudaHeader);

/** The real CUDA libraries of this machine, opened once and never closed. */
export const libraries = openLibraries();

function lacking(): { reason: string; remedy: string } | undefined {
  // All but the driver work without a card.
  const missing = libraries.reports.find(({ name, problem }) => name !== "driver" && problem !== undefined);
  if (missing !== undefined) return { reason: missing.problem!, remedy: missing.remedy ?? "" };
  if (cudaHeader === undefined) {
    return {
      reason: "there are no headers next to the libraries",
      remedy: "pip install nvidia-cuda-runtime",
    };
  }
  return driver
    ? undefined
    : { reason: "there is no libcuda, and no g++ to build a stand-in", remedy: "install g++" };
}

/** True if tests of the real libraries are skipped, which `LOCALGRAD_REQUIRE=cuda-libs` forbids. */
export const skipped = await skips("cuda-libs", () =>
  Promise.resolve<Opened>(
    lacking() ?? { backend: { close: () => Promise.resolve() } as Backend },
  ));
