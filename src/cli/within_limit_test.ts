import { assert, assertEquals, assertThrows } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { formatBytes } from "../artifacts/format.ts";
import { readReport, report } from "../train.ts";
import { LocalgradError } from "../base/errors.ts";
import { target } from "../runtime/devices.ts";
import { parseFlags } from "./flags/flags.ts";
import { refuseChange } from "./resume.ts";
import { settingsFrom, trainingFlags } from "./settings.ts";
import { storedSettings } from "./stored_settings.ts";
import { train } from "./train.ts";
import { chosenWithin, describeChoice, openFrom, refuseOpen } from "./within_limit.ts";

const read = (...args: string[]) => openFrom(parseFlags("train", trainingFlags, args));

Deno.test("flags say what is left open within a memory limit", () => {
  const limit = ["--memory-limit", "20MiB"];
  assertEquals(read(...limit).open, { cut: true, accumulate: false });
  assertEquals(read(...limit, "--modules", "2").open, { cut: false, accumulate: false });
  const { given, open } = read(...limit, "--method", "dgl, endToEnd", "--accumulate", "auto");
  assertEquals(open, { methods: ["dgl", "endToEnd"], cut: true, accumulate: true });
  assertEquals(settingsFrom(given).memoryLimit, 20 * 2 ** 20);
  const sizes = read(...limit, "--batch", "64, 128");
  assertEquals(sizes.open, { cut: true, accumulate: false, batches: [64, 128], scaled: true });
  assertEquals(settingsFrom(sizes.given).batch, 64);
  assertEquals(read(...limit, "--batch", "64,128", "--lr", "0.1").open.scaled, false);
  for (
    const [args, message] of [
      [["--method", "dgl,greedy"], "--method takes one name; several are for --memory-limit"],
      [["--batch", "64,128"], "--batch takes one size; several are for --memory-limit"],
      [[...limit, "--batch", "64,few"], "--batch must be a whole number"],
      [["--accumulate", "auto"], "--accumulate auto is for --memory-limit"],
      [[...limit, "--method", "dgl,nothing"], "--method"],
    ] as const
  ) assertThrows(() => read(...args), LocalgradError, message);
});

Deno.test("several processes are not left what one alone chooses", () => {
  const limit = ["--memory-limit", "20MiB"];
  refuseOpen(read(...limit).open);
  for (
    const [flag, value] of [["method", "dgl,greedy"], ["batch", "8,16"], ["accumulate", "auto"]] as const
  ) {
    assertThrows(
      () => refuseOpen(read(...limit, `--${flag}`, value).open),
      LocalgradError,
      `--${flag} is chosen for one process alone; give several a single value`,
    );
  }
});

Deno.test("the limit that the next faster way needs counts the data", () => {
  const MiB = 2 ** 20;
  const way = { description: "endToEnd, recomputing", peakBytes: 400 * MiB, seconds: 2 };
  const next = { ...way, peakBytes: 500 * MiB, seconds: 1.8 };
  const said = (choice: object) => describeChoice({ ...way, limit: 600 * MiB, ...choice } as never);
  assertEquals(
    said({ next, reserve: 176 * MiB }),
    "within 600 MiB, with 176 MiB of data: endToEnd, recomputing; planned peak 400 MiB; the next faster, " +
      "endToEnd, recomputing, needs a limit of 676 MiB for 10 % less time, as predicted",
  );
  assert(said({ next }).includes("needs a limit of 500 MiB"));
});

Deno.test("a batch is chosen with the learning rate that belongs to it", async () => {
  const machine = await target("cpu", { threads: 2 });
  const chosen = (...args: string[]) => {
    const { given, open } = read(
      "--memory-limit",
      "20MiB",
      "--method",
      "endToEnd",
      "--batch",
      "8,16",
      ...args,
    );
    const asked = settingsFrom(given);
    return chosenWithin({ ...asked, memoryLimit: 20 * 2 ** 20 }, open, machine);
  };
  const { settings, plan } = chosen();
  assertEquals([settings.batch, plan.batch], [16, 16]);
  assertEquals(settings.lr, settingsFrom({ batch: "16" }).lr);
  assertEquals(chosen("--lr", "0.3").settings.lr, 0.3);
});

Deno.test("what is chosen within a limit is kept in the settings, from which a run resumes", async () => {
  const { given, open } = read("--memory-limit", "15MiB", "--batch", "32", "--method", "dgl,endToEnd");
  const asked = settingsFrom(given);
  const machine = await target("cpu", { threads: 2 });
  const { settings, plan } = chosenWithin({ ...asked, memoryLimit: 15 * 2 ** 20 }, open, machine);
  assertEquals([settings.method, settings.modules], ["dgl", ["layer1.0", "layer2.0"]]);
  assert(plan.peakBytes <= 15 * 2 ** 20);
  const stored = storedSettings(JSON.parse(JSON.stringify(settings)), "run");
  refuseChange(stored, settingsFrom({ "memory-limit": "30MiB" }, stored)); // another device may have more
  assertEquals(settingsFrom({}, stored), settings);
});

Deno.test("a run within a limit records what was chosen, and its report says so", async () => {
  await inFolder(async (folder) => {
    const images = ["--train-limit", "16", "--test-limit", "4", "--batch", "8", "--epochs", "1"];
    const args = [...images, "--device", "cpu", "--method", "endToEnd", "--memory-limit", "6MiB"];
    assertEquals(await train([...args, "--run", `${folder}/run`]), 0);
    const run = await readReport(`${folder}/run`);
    const { choice } = run.info;
    assertEquals([choice?.limit, choice?.description], [6 * 2 ** 20, "endToEnd, recomputing"]);
    const data = 20 * (32 * 32 * 3 + 4);
    assertEquals(choice?.reserve, data);
    assert((choice?.peakBytes ?? Infinity) + data <= 6 * 2 ** 20);
    const html = report([run]);
    assert(html.includes("6 MiB, 60.1 KiB of it for data"));
    assert(html.includes(`endToEnd, recomputing, needs ${formatBytes(choice?.peakBytes ?? 0)}`));
  });
});
