import { thisHost } from "../../ffi/host.ts";
import { openOnednn } from "../../ffi/onednn_library.ts";
import { parent } from "../../ffi/places.ts";
import type { Backend, Opened } from "../../src/backends/backend.ts";
import { skips } from "../gate.ts";

/** oneDNN of this machine, opened once and never closed. */
export const library = openOnednn(thisHost());

/** True if tests of the real library are skipped, which `LOCALGRAD_REQUIRE=onednn` forbids. */
export const skipped = await skips("onednn", () => {
  const { opened, report: { problem, remedy } } = library;
  return Promise.resolve<Opened>(
    opened === undefined
      ? { reason: problem ?? "it was not opened", remedy: remedy ?? "" }
      : { backend: { close: () => Promise.resolve() } as Backend },
  );
});

/** The folder of oneDNN's headers beside the library. */
export function includes(): string {
  return `${parent(parent(library.opened?.path ?? ""))}/include`;
}
