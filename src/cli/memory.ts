import { target } from "../devices.ts";
import type { MemoryReport } from "../compile/plan.ts";
import * as local from "../local/local.ts";
import { formatBytes, formatPercent } from "../train/format.ts";
import { type Flags, oneOf, parseFlags } from "./flags.ts";
import { networkFlags, placeFlags, settingsFrom, setupOf } from "./settings.ts";
import { textTable } from "./terminal.ts";

/** Flags of `memory`. */
export const memoryFlags = {
  ...networkFlags,
  precision: placeFlags.precision,
  device: { value: "cuda|webgpu|cpu", help: "whose plan; default cpu. The device itself need not be there" },
  json: { help: "print the result as JSON" },
} as const satisfies Flags;

/** The planned memory of one module. */
interface ModuleMemory {
  readonly name: string;
  /** Most bytes of temporaries alive while it is trained. */
  readonly peakBytes: number;
}

/** `memory`: plans a training step by a method and end to end; nothing is allocated. */
export async function memory(args: readonly string[]): Promise<void> {
  const given = parseFlags("memory", memoryFlags, args);
  const settings = settingsFrom(given);
  const { model, batch } = settings;
  const backend = oneOf("device", given.device ?? "cpu", ["cuda", "webgpu", "cpu"]);
  const setup = setupOf(settings);
  const planned = local.memory({ ...setup, batch, target: await target(backend) });
  const each = modulesOf(planned.method, local.setup(setup).modules.map(({ name }) => name));
  if (given.json) {
    const { peakBytes, breakdown } = planned.endToEnd;
    console.log(JSON.stringify({
      endToEnd: { peakBytes, breakdown },
      method: {
        name: setup.method.name,
        peakBytes: planned.method.peakBytes,
        breakdown: planned.method.breakdown,
        modules: each,
      },
    }));
    return;
  }
  console.log(
    `${model}, batch ${batch}, ${each.length} modules, planned for ${backend}; the data set apart\n`,
  );
  console.log(comparison(planned, setup.method.name));
  if (each.length > 1) {
    const rows = each.map(({ name, peakBytes }, i) => [`${i + 1}: ${name}`, formatBytes(peakBytes)]);
    console.log(`\n${textTable(["module", "temporaries"], rows)}`);
  }
}

/** The most temporaries of each module, from the plan's course. */
function modulesOf({ timeline }: MemoryReport, names: readonly string[]): ModuleMemory[] {
  const peaks = names.map(() => 0);
  for (const { scope, liveBytes } of timeline) {
    const module = /^module (\d+)/.exec(scope);
    if (module !== null) peaks[Number(module[1]) - 1] = Math.max(peaks[Number(module[1]) - 1], liveBytes);
  }
  return names.map((name, i) => ({ name, peakBytes: peaks[i] }));
}

/** What holds the memory, end to end and by the method. */
function comparison({ endToEnd, method }: local.MemoryComparison, name: string): string {
  const kinds = Object.keys({
    ...endToEnd.breakdown,
    ...method.breakdown,
  }) as (keyof MemoryReport["breakdown"])[];
  const size = (report: MemoryReport, kind: (typeof kinds)[number]) =>
    formatBytes(report.breakdown[kind] ?? 0);
  const rows = kinds.map((kind) => [kind, size(endToEnd, kind), size(method, kind)]);
  const share = formatPercent(method.peakBytes / endToEnd.peakBytes, 1);
  return textTable(["", "endToEnd", name], [
    ...rows,
    ["peak", formatBytes(endToEnd.peakBytes), formatBytes(method.peakBytes)],
    ["", "100 %", share],
  ]);
}
