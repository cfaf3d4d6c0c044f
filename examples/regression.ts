/**
 * A regression on vectors, cut into local modules; then the same from a stream of batches that never ends.
 *
 *     deno run examples/regression.ts
 *
 * Takes `--epochs` and `--device`.
 */

// A full specifier, because scripts run by URL have no import map.
// deno-lint-ignore no-import-prefix
import { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
import { data, devices, HostArray, keys, local, models, optim } from "../mod.ts";

const flags = parseArgs(Deno.args, {
  string: ["epochs", "device"],
  default: { epochs: "40", device: "auto" },
  unknown(flag: string) {
    console.error(`there is no ${flag}; choose among --epochs --device`);
    Deno.exit(2);
  },
});
const epochs = Number(flags.epochs);

/** Rows of four numbers and the value to predict: the distance between the first two and the last two. */
function rows(count: number, seed: number) {
  const x = keys.normal(keys.key(seed), 4 * count);
  const at = (i: number) => x[i] ?? 0;
  const labels = Float32Array.from(
    { length: count },
    (_, i) => Math.hypot(at(4 * i) - at(4 * i + 2), at(4 * i + 1) - at(4 * i + 3)),
  );
  return { x: new HostArray(x, [count, 4]), labels };
}

/** New rows for ever; the same for the same epoch, so that a run could be resumed. */
async function* batches(epoch: number) {
  for (let i = 0;; i++) yield await Promise.resolve(rows(64, 1000 * epoch + i));
}

await using device = await devices.open(flags.device as devices.DeviceName);
const test = rows(256, 1);
for (
  const set of [
    data.arrays({ name: "arrays", ...rows(2048, 0), test }),
    data.stream({ name: "stream", batches, stepsPerEpoch: 32, test }),
  ]
) {
  using trainer = await local.trainer({
    device,
    model: models.mlp({ features: 4, hidden: [64, 64, 64], outputs: 1 }),
    modules: 3,
    method: local.greedy(),
    optimizer: optim.adamw(),
    schedule: optim.everyStep(optim.cosine({ base: 0.005, length: epochs })),
    batch: 64,
  });
  const printer: local.Observer = {
    epoch({ epoch, meanAbsoluteError = NaN }) {
      if (epoch % 4 === 0) {
        console.log(`${set.name}, epoch ${epoch}: mean absolute error ${meanAbsoluteError.toFixed(4)}`);
      }
    },
  };
  const { last } = await trainer.fit(set, { epochs, observers: [printer] });
  const { data: [predicted = 0] } = await trainer.outputs(test.x);
  console.log(
    `${set.name}: mean absolute error ${last?.meanAbsoluteError?.toFixed(4)}; the first row is ` +
      `${test.labels[0]?.toFixed(2)}, predicted ${predicted.toFixed(2)}`,
  );
}
