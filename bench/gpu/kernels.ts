/**
 * Compiles the kernels of everything that bench/gpu.sh runs, for a card that is not here:
 *
 *     kernels.ts --into DIR [--architecture 90] [--memory BYTES] [--dry]
 *
 * NVRTC must be of the version that the card's machine has: a compiled kernel is kept under that, see
 * src/backends/cuda/modules.ts. With `--dry` the kernels are those of a dry run.
 */
import { parseArgs } from "@std/cli/parse-args";
import { openLibraries } from "../../ffi/library.ts";
import { compileSource, nvrtcVersion } from "../../ffi/nvrtc.ts";
import { compileOptions } from "../../src/backends/cuda/compile_options.ts";
import { cubinFile, cubinKey } from "../../src/backends/cuda/modules.ts";
import type { Source } from "../../src/backends/cuda/source.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { workloads } from "../workloads.ts";
import { checks } from "./checks.ts";
import { drawn, train } from "./epochs.ts";
import { type Item, itemsOf } from "./items.ts";
import { onDevice } from "./losses.ts";
import type { Opener } from "./opener.ts";
import { prepared } from "./ours.ts";
import { Recorder } from "./recorder.ts";
import type { Row } from "./row.ts";
import { STAGES } from "./stages.ts";
import { check } from "./suite.ts";

const flags = parseArgs(Deno.args, {
  string: ["into", "architecture", "memory"],
  boolean: ["dry"],
  default: { architecture: "90", memory: "150121545728" }, // an H200
});
const { into } = flags;
if (into === undefined) throw new Error("kernels.ts: --into DIR says where to put the kernels");
if (flags.dry) {
  const { environment } = await import("../../tests/cuda/simulated.ts");
  for (const [name, value] of Object.entries(environment)) Deno.env.set(name, value);
}
const { nvrtc, reports } = openLibraries();
if (nvrtc === undefined) {
  const { problem, remedy } = reports.find(({ name }) => name === "nvrtc") ?? {};
  throw new Error(`kernels.ts: ${problem}; ${remedy}`);
}

const architecture = Number(flags.architecture), memory = Number(flags.memory);
const sources = new Map<string, Source>();
const open: Opener = (options) => Promise.resolve(new Recorder({ architecture, memory }, options, sources));

/** Plans whatever an item runs. Its results are zeros, so that checks of them fail; that is no matter. */
async function record({ script, args, row }: Item): Promise<void> {
  if (row !== undefined) {
    if (row.system !== "localgrad") return;
    await using device = new Device(await open({ overlap: row.mode === "overlap" }));
    const { step } = await prepared(row, device);
    step().dispose();
    return;
  }
  const [first = "", second = "", third] = args;
  switch (script) {
    case "checks.ts":
      return await checks[first]!(open).catch(() => undefined);
    case "suite.ts":
      await check(open, first, second as Row["precision"], Number(third ?? Infinity)).catch(() => undefined);
      return;
    case "losses.ts":
    case "long.ts":
      await onDevice(
        open,
        flags.dry ? "small" : "full",
        script === "long.ts" ? "tf32" : second as Row["precision"],
      );
      return;
    case "epochs.ts": {
      await using device = new Device(await open({}));
      return await train(device, drawn(flags.dry), { small: flags.dry, epochs: 1, quiet: true });
    }
    case "../ours.ts": {
      if (second !== "cuda") return;
      await using device = new Device(await open({}));
      const step = await workloads[first]!(device, Number(third), {});
      await step();
    }
  }
}

const items = STAGES.flatMap(({ name }) => itemsOf(name, { dry: flags.dry, losses: "" }));
for (const item of items) await record(item);
await Deno.mkdir(into, { recursive: true });
const version = nvrtcVersion(nvrtc), options = compileOptions(architecture, version);
let bytes = 0;
for (const { text } of sources.values()) {
  const { cubin } = compileSource(nvrtc, text, "packed.cu", options);
  const file = cubinFile(cubin);
  bytes += file.length;
  await Deno.writeFile(`${into}/${cubinKey(text, options, version)}.cubin`, file);
}
console.log(
  `${sources.size} plans for sm_${architecture} compiled by NVRTC ${
    version.join(".")
  }, ${bytes} bytes, in ${into}`,
);
