import { formatBytes, formatPercent } from "../../artifacts/format.ts";
import { defaultThreads, MOST_THREADS } from "../../backends/cpu/thread_count.ts";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { keysOf } from "../../base/keys.ts";
import type { MemoryReport } from "../../compile/plan.ts";
import * as local from "../../local.ts";
import { DATASETS, publishedBytes } from "../datasets.ts";
import { type Flags, type Given, oneOf, parseFlags, wholeNumber } from "../flags/flags.ts";
import { limitsFrom, limitsText, planLimits } from "./limits.ts";
import { frontierFlags, showFrontier } from "./frontier_command.ts";
import { modulePeaks } from "./splits.ts";
import { memoryTables, type Planned, type PlannedRow, planTable } from "./tables.ts";
import {
  describeDevice,
  plannable,
  type PlannedDevice,
  plannedDevices,
  targetFor,
} from "../planned_device.ts";
import { setupOf } from "../build.ts";
import {
  beside,
  cutFor,
  planFor,
  type Processes,
  processesFrom,
  processesJson,
  processesText,
  processFlags,
} from "./processes.ts";
import { choiceJson, chosenWithin, describeChoice, openFrom, refuseOpen } from "../within_limit.ts";
import { networkFlags, type Settings, settingsFrom } from "../settings.ts";
import { placeFlags } from "../flags/place.ts";
import { markdownTable, note, print, textTable } from "../terminal.ts";

const tableNames = keysOf(memoryTables);

/** Flags of `memory`. */
export const memoryFlags = {
  ...networkFlags,
  classes: { value: "N", help: "folder: number of classes; default 1000, as ImageNet's" },
  precision: placeFlags.precision,
  device: {
    value: plannedDevices.join("|"),
    help: "device to plan for; default cpu. It need not be present, but cpu-onednn asks oneDNN: " +
      "deno task memory:onednn",
  },
  overlap: placeFlags.overlap,
  threads: { value: "N", help: "threads of cpu, each with scratch memory; default those of this machine" },
  ...processFlags,
  limits: {
    value: "SIZES",
    help: "plan the step within each of these limits instead, such as 4GiB,2GiB: what recomputing costs",
  },
  table: {
    value: tableNames.join("|"),
    help: "plan the rows of the papers instead, next to the published figures",
  },
  ...frontierFlags,
  json: { help: "print the result as JSON" },
  markdown: { help: "print tables as Markdown, for a file" },
} as const satisfies Flags;

type Table = (heads: readonly string[], rows: readonly (readonly string[])[]) => string;

/** `memory`: plans a training step of a method, end to end, and end to end with checkpoints. Allocates nothing. */
export async function memory(args: readonly string[]): Promise<void> {
  const { given, open } = openFrom(parseFlags("memory", memoryFlags, args));
  if (given.json && given.markdown) {
    throw new LocalgradError("--json and --markdown both choose the format; give one");
  }
  const { device, instead } = await plannable(deviceFrom(given));
  if (instead !== undefined) note(instead);
  using target = await targetFor(device);
  const threads = device.threads ?? defaultThreads().threads;
  const described = describeDevice(target, threads);
  const table: Table = given.markdown ? markdownTable : textTable;
  const { speeds: _speeds, ...others } = given; // of the frontier, its own
  const processes = processesFrom(given.frontier ? others : given);
  if (processes !== undefined) refuseOpen(open);
  const asked = settingsFrom({ ...modulesFor(given, processes), ...given });
  if (given.table !== undefined) {
    const other = keysOf({ ...networkFlags, ...processFlags, classes: 0, limits: 0 }).find((name) =>
      given[name] !== undefined
    );
    if (other !== undefined) {
      throw new LocalgradError(`--table has its own networks and methods; omit --${other}`);
    }
    const rows = await planTable(oneOf("table", given.table, tableNames), device, asked.precision);
    print(given.json ? JSON.stringify(rows) : tablesOf(rows, described, table));
    return;
  }
  const within = withClasses(asked, given.classes);
  const idle = keysOf({ plot: 0, into: 0, results: 0 }).find((name) => given[name] !== undefined);
  if (idle !== undefined && !given.frontier) throw new LocalgradError(`--${idle} is for --frontier`);
  if (given.frontier) {
    if (processes !== undefined || within.memoryLimit !== undefined || !open.cut) {
      throw new LocalgradError(
        "--frontier plans one process, without a limit, and chooses its own cuts; give other flags",
      );
    }
    const methods = given.method === undefined ? undefined : open.methods ?? [within.method];
    return await showFrontier(given, { settings: within, methods, device, target, described }, table);
  }
  const { memoryLimit } = within;
  // The data set stays on the device; one that is not named is not known.
  const reserve = given.dataset === undefined ? 0 : publishedBytes(within.dataset);
  const { settings, plan } = memoryLimit === undefined || processes !== undefined
    ? { settings: within }
    : chosenWithin({ ...within, memoryLimit }, open, target, reserve);
  const { model, batch } = settings;
  const recompute = plan?.recompute ?? settings.recompute ?? false;
  const setup = { ...setupOf(settings), batch, target, recompute };
  if (given.limits !== undefined) {
    if (processes !== undefined) {
      throw new LocalgradError("--limits plans a single process; omit --processes");
    }
    const planned = planLimits(setup, limitsFrom(given.limits));
    if (given.json) return print(JSON.stringify(planned));
    print(`${model} with ${setup.method.name}, batch ${batch}, planned for ${described}\n`);
    return print(limitsText(planned, table));
  }
  if (processes !== undefined) {
    const team = beside(processes, reserve);
    const own = local.setup({ ...setupOf(settings), modules: cutFor(team, setup) });
    const planned = planFor(team, own, batch, target, settings.recompute);
    if (given.json) {
      const { name, engine } = target;
      const device = engine === undefined ? { name } : { name, engine, threads };
      print(JSON.stringify({ device, method: own.method.name, ...processesJson(planned, own) }));
      return;
    }
    print(`${model} with ${own.method.name}: ${own.partition.description}`);
    print(`batch ${batch}, planned for ${described}, without the data set\n`);
    print(processesText(planned, own, table));
    return;
  }
  const planned = local.memory(setup);
  const checkpointed = local.memory({
    ...setup,
    ...{ modules: 1, method: local.endToEnd({ checkpoint: true }), recompute: settings.recompute ?? false },
  }).method;
  const { partition, modules } = local.setup(local.withCut(setup));
  const peaks = modulePeaks(planned.method, modules.length);
  const each = modules.map(({ name }, i) => ({ name, peakBytes: at(peaks, i) }));
  const reports: [string, MemoryReport][] = [
    ["endToEnd", planned.endToEnd],
    ["endToEnd+checkpoint", checkpointed],
    [plan === undefined ? setup.method.name : "within the limit", planned.method],
  ];
  if (given.json) {
    const entry = ({ peakBytes, peakInOrder, breakdown, recompute }: MemoryReport) => ({
      peakBytes,
      peakInOrder,
      breakdown,
      recompute,
    });
    const { name, engine } = target;
    print(JSON.stringify({
      device: engine === undefined ? { name } : { name, engine, threads },
      ...(plan === undefined ? {} : { withinLimit: choiceJson(plan) }),
      endToEnd: entry(planned.endToEnd),
      checkpointed: entry(checkpointed),
      method: { name: setup.method.name, ...entry(planned.method), modules: each },
    }));
    return;
  }
  print(`${model} with ${setup.method.name}: ${partition.description}`);
  print(`batch ${batch}, planned for ${described}, without the data set\n`);
  if (plan !== undefined) print(`${describeChoice(plan)}\n`);
  print(comparison(reports, table));
  if (each.length > 1) {
    const rows = each.map(({ name, peakBytes }, i) => [`${i + 1}: ${name}`, formatBytes(peakBytes)]);
    print(`\n${table(["module", "temporaries"], rows)}`);
  }
}

/** The number of modules, if none is given: the default, or as many as there are processes in a row. */
function modulesFor(
  { modules, after }: Given<typeof memoryFlags>,
  processes: Processes | undefined,
): { readonly modules?: string } {
  if (processes === undefined || modules !== undefined || after !== undefined) return {};
  return { modules: `${Math.max(processes.layout.modules, 3)}` };
}

/** Settings with the number of classes of a folder, which need not be there. */
function withClasses(settings: Settings, given: string | undefined): Settings {
  if (given === undefined) return settings;
  const classes = wholeNumber("classes", given, 1);
  const { dataset } = settings;
  const { classes: own } = DATASETS[dataset];
  if (own !== undefined) {
    throw new LocalgradError(`--classes is for --dataset folder; ${dataset} has ${own} classes`);
  }
  return { ...settings, classes };
}

/** The device that the flags name. */
function deviceFrom(given: Given<typeof memoryFlags>): PlannedDevice {
  const name = oneOf("device", given.device ?? "cpu", plannedDevices);
  if (given.overlap) {
    if (name !== "cuda") throw new LocalgradError(`--overlap is for cuda; omit it for ${name}`);
    return { name, overlap: true };
  }
  if (given.threads === undefined) return { name };
  if (!name.startsWith("cpu")) throw new LocalgradError(`--threads is for cpu; omit it for ${name}`);
  const threads = wholeNumber("threads", given.threads, 1);
  if (threads > MOST_THREADS) {
    throw new LocalgradError(`--threads must be at most ${MOST_THREADS}, not ${threads}`);
  }
  return { name, threads };
}

/** Memory by category for each way to train. */
function comparison(reports: readonly [string, MemoryReport][], table: Table): string {
  const kinds = [...new Set(reports.flatMap(([, { breakdown }]) => keysOf(breakdown)))];
  const whole = at(reports, 0)[1].peakBytes;
  const each = (cell: (report: MemoryReport) => string) => reports.map(([, report]) => cell(report));
  const cost = (kind: "operations" | "bytes") =>
    each(({ recompute }) =>
      recompute === undefined ? "" : `+${formatPercent(recompute[kind] / recompute.of[kind], 1)}`
    );
  return table(["", ...reports.map(([name]) => name)], [
    ...kinds.map((kind) => [kind, ...each(({ breakdown }) => formatBytes(breakdown[kind] ?? 0))]),
    ["peak", ...each(({ peakBytes }) => formatBytes(peakBytes))],
    ["", ...each(({ peakBytes }) => formatPercent(peakBytes / whole, 1))],
    ...(reports.some(([, { peakInOrder }]) => peakInOrder !== undefined)
      ? [[
        "peak without overlap",
        ...each(({ peakBytes, peakInOrder = peakBytes }) => formatBytes(peakInOrder)),
      ]]
      : []),
    ...(reports.some(([, { recompute }]) => recompute !== undefined)
      ? [["recomputation: operations", ...cost("operations")], [
        "recomputation: memory traffic",
        ...cost("bytes"),
      ]]
      : []),
  ]);
}

/** A table of a paper: peaks next to published figures, then peaks by category. */
function tablesOf(rows: readonly PlannedRow[], device: string, table: Table): string {
  const networks = [...new Set(rows.map(({ network }) => network))];
  return networks.map((network) => {
    const own = rows.filter((row) => row.network === network);
    const label = ({ method, split }: PlannedRow) => split === "" ? method : `${method}, ${split}`;
    const saved = ({ saved }: Planned) => saved === 0 ? "" : formatPercent(saved, 1);
    const peaks = own.map((row) => [
      label(row),
      formatBytes(row.plain.peakBytes),
      saved(row.plain),
      formatBytes(row.recomputed.peakBytes),
      saved(row.recomputed),
      row.recomputed.recompute === undefined ? "" : `+${formatPercent(row.recomputed.recompute.bytes, 1)}`,
      row.published?.gigabytes === undefined ? "" : `${row.published.gigabytes} GB`,
      row.published?.saved ?? "",
      row.published?.source ?? "",
    ]);
    const parts = (recomputed: boolean) =>
      own.map((row) => {
        const { breakdown, modules, after } = recomputed ? row.recomputed : row.plain;
        const { parameters = 0, optimizer = 0, auxiliary = 0, activations = 0, workspace = 0 } = breakdown;
        const { state = 0, inputs = 0, results = 0, constants = 0, scratch = 0, messages = 0 } = breakdown;
        const sizes = [
          parameters,
          optimizer,
          auxiliary,
          state + inputs + results + constants,
          activations,
          workspace + scratch + messages,
        ];
        const each = modules.length > 8 ? [] : modules;
        return [
          label(row),
          ...sizes.map(formatBytes),
          each.map(formatBytes).join(" · "),
          after.length > 7 ? "" : after.join(", "),
        ];
      });
    const heads = [
      "",
      "parameters",
      "optimizer",
      "auxiliary",
      "other",
      "activations",
      "workspace",
      "each module",
      "cut after",
    ];
    return [
      `${network}, batch ${at(own, 0).batch}, planned for ${device}`,
      table(
        ["", "peak", "saved", "recomputing", "saved", "memory traffic", "published", "saved", "source"],
        peaks,
      ),
      "peak by category",
      table(heads, parts(false)),
      "peak by category, recomputing",
      table(heads, parts(true)),
    ].join("\n\n");
  }).join("\n\n");
}
