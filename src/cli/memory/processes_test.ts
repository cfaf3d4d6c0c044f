import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import * as local from "../../local.ts";
import { TYPICAL_LINK } from "../../local/processes/exchange_time.ts";
import { TYPICAL } from "../../local/step_time.ts";
import { type Flags, parseFlags } from "../flags/flags.ts";
import { memoryFlags } from "./memory.ts";
import { networkFlags } from "../settings.ts";
import { placeFlags } from "../flags/place.ts";
import * as models from "../../models.ts";
import * as optim from "../../optim.ts";
import { target } from "../../runtime/devices.ts";
import { beside, planFor, processesFrom, processFlags } from "./processes.ts";

const flags: Flags = memoryFlags;
const flagsOfProcesses = { ...processFlags, "memory-limit": networkFlags["memory-limit"] };
const read = (...args: string[]) => processesFrom(parseFlags("memory", flagsOfProcesses, args));

Deno.test("flags of processes have defaults, and units as they say", () => {
  assertEquals(read(), undefined);
  assertEquals(read("--processes", "4"), {
    layout: { data: 1, modules: 4 },
    depth: 1,
    exchange: "exact",
    speeds: { ...TYPICAL, launch: 0 },
    link: TYPICAL_LINK,
  });
  const given = [
    "--parallel",
    "2x4",
    "--queue",
    "2",
    "--exchange",
    "stale:4",
    "--speeds",
    "1e12,2e9",
    "--link-speed",
    "450",
    "--link-latency",
    "0",
  ];
  assertEquals(read("--processes", "8", "--memory-limit", "1.5GiB", ...given), {
    layout: { data: 2, modules: 4 },
    depth: 2,
    exchange: { every: 4 },
    limit: 1.5 * 2 ** 30,
    speeds: { operations: 1e12, bytes: 2e9, launch: 0 },
    link: { bytes: 450e9, latency: 0 },
  });
});

Deno.test("flags of processes that cannot be are refused", () => {
  const cases: [string, ...string[]][] = [
    ["--link-speed is for several processes; give --processes too", "--link-speed", "3"],
    [
      '--parallel must be data, modules or two numbers such as 2x4, not "both"',
      "--processes",
      "2",
      "--parallel",
      "both",
    ],
    ["2 × 2 is 4 processes, but 2 were started", "--processes", "2", "--parallel", "2x2"],
    ["--exchange must be exact, stale or", "--processes", "2", "--exchange", "stale:0"],
    ["--processes must be a whole number", "--processes", "0"],
    ["--memory-limit must be a size such as", "--processes", "2", "--memory-limit", "much"],
    ["--memory-limit must be a size such as", "--processes", "2", "--memory-limit", "3 apples"],
    ["--speeds must be one of core, h200", "--processes", "2", "--speeds", "fast"],
    ["--speeds needs two numbers", "--processes", "2", "--speeds", "1,2,3"],
    ["--link-speed must be a number above 0", "--processes", "2", "--link-speed", "0"],
  ];
  for (const [message, ...args] of cases) assertThrows(() => read(...args), LocalgradError, message);
});

Deno.test("each process recomputes to keep to a limit, of which the data set has its part", async () => {
  const machine = await target("cpu", { threads: 1 });
  const setup = local.setup({
    ...{ model: models.resnet8(), modules: 3, method: local.dgl(), optimizer: optim.sgd() },
  });
  const planned = (...args: string[]) => {
    const processes = read("--processes", "2", ...args);
    if (processes === undefined) throw new Error("no processes");
    return planFor(beside(processes, 2 ** 20), setup, 32, machine);
  };
  const mostOf = ({ plans }: ReturnType<typeof planned>) =>
    Math.max(...plans.map(({ memory }) => memory.peakBytes));
  const plain = planned();
  const limit = Math.floor(0.8 * mostOf(plain));
  const within = planned("--memory-limit", `${(limit + 2 ** 20) / 2 ** 20}MiB`);
  assert(mostOf(within) <= limit);
  assert(within.plans.some(({ memory: { recompute } }) => recompute !== undefined));
  assertEquals(within.alone.memory.peakBytes, plain.alone.memory.peakBytes); // it has no limit
  assertThrows(
    () => planned("--memory-limit", "1MiB"),
    LocalgradError,
    "1.00 MiB are reserved, which leaves nothing of 1.00 MiB",
  );
});

Deno.test("the flags of memory are those of networks, places and processes: none has the name of another", () => {
  const parts = [networkFlags, { precision: placeFlags.precision }, processFlags];
  const names = parts.flatMap((flags) => Object.keys(flags));
  assertEquals(names.filter((name, i) => names.indexOf(name) !== i), []);
  for (const part of parts) {
    for (const [name, flag] of Object.entries(part)) assertStrictEquals(flags[name], flag);
  }
});
