/**
 * The methods that fit into one's own memory limit: end to end, end to end with checkpointing, and MAN in more and more
 * modules. It plans the memory of a training step of each, exactly and without allocating any, and names the first that
 * fits. Checkpointing gives the same result as end to end in about a third more time; local modules reach an accuracy of
 * their own, which docs/results.md compares.
 *
 *     deno run examples/memory_limit.ts --limit 400 --model resnet32 --batch 256
 *
 * `--limit` is in MiB and does not include the data set. Takes `--size` (of images), `--classes` and
 * `--device cpu|webgpu|cuda` too; the device need not be there.
 */

// A full specifier, because scripts run by URL have no import map.
// deno-lint-ignore no-import-prefix
import { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
import { devices, local, models, optim } from "../mod.ts";

const flags = parseArgs(Deno.args, {
  string: ["limit", "model", "batch", "size", "classes", "device"],
  default: { limit: "400", model: "resnet32", batch: "256", size: "32", classes: "10", device: "cpu" },
  unknown(flag: string) {
    console.error(`there is no ${flag}; choose among --limit --model --batch --size --classes --device`);
    Deno.exit(2);
  },
});
const [limit, batch, size, classes] = [flags.limit, flags.batch, flags.size, flags.classes].map(Number);
if (!(limit > 0)) {
  console.error(`--limit must be a number of MiB, not ${flags.limit}`);
  Deno.exit(2);
}
const model = models.modelNamed(flags.model, { classes, size });
const target = await devices.target(flags.device as devices.BackendName);

const most = model.blocks.length;
const counts = [2, 4, 8, 16, 32].filter((count) => count < most);
const candidates: { name: string; method: local.Method; modules?: number }[] = [
  { name: "end to end", method: local.endToEnd() },
  { name: "end to end, checkpointed", method: local.endToEnd({ checkpoint: true }) },
  ...[...counts, most].map((modules) => ({
    name: `MAN in ${modules} modules`,
    method: local.man(local.dgl()),
    modules,
  })),
];

const fitting: string[] = [];
for (const { name, method, modules = 1 } of candidates) {
  const plan = local.memory({
    model,
    method,
    modules,
    optimizer: optim.sgd({ momentum: 0.9 }),
    batch,
    target,
  });
  const mebibytes = plan.method.peakBytes / 2 ** 20;
  const fits = mebibytes <= limit;
  if (fits) fitting.push(name);
  console.log(`${name.padEnd(26)}${mebibytes.toFixed(0).padStart(7)} MiB  ${fits ? "fits" : "too large"}`);
}
const [first, ...others] = fitting;
console.log(
  first === undefined
    ? `nothing fits into ${limit} MiB; halve the batch of ${batch}`
    : `the first that fits into ${limit} MiB: ${first}${
      others.length === 0 ? "" : `; also ${others.join(", ")}`
    }`,
);
