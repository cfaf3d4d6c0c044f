/**
 * A small causal language model of bytes, a module for each block: trained end to end, by greedy and by MAN + greedy on the
 * first nine tenths of each Markdown file of a folder, and evaluated on the rest, in bits a byte beside a bigram model's.
 * Then each writes on from held-out text. Runs keep their checkpoints in `runs/language`; started again, they resume.
 *
 *     deno run --allow-read --allow-write=runs examples/language_model.ts --text docs --epochs 1
 *
 * Takes `--methods` (names with commas), `--length` (bytes of context), `--width`, `--blocks`, `--batch`, `--run` and
 * `--device` too.
 */

// A full specifier, because scripts run by URL have no import map.
// deno-lint-ignore no-import-prefix
import { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
import { data, devices, HostArray, keys, local, models, optim } from "../mod.ts";

const names = ["text", "epochs", "methods", "length", "width", "blocks", "batch", "run", "device"] as const;
const flags = parseArgs(Deno.args, {
  string: [...names],
  default: {
    ...{ text: "docs", epochs: "1", methods: "endToEnd,greedy,man+greedy", length: "64", width: "48" },
    ...{ blocks: "3", batch: "8", run: "runs/language", device: "auto" },
  },
  unknown(flag: string) {
    console.error(`there is no ${flag}; choose among ${names.map((name) => `--${name}`).join(" ")}`);
    Deno.exit(2);
  },
});
const [epochs, length, width, blocks, batch] = [
  flags.epochs,
  flags.length,
  flags.width,
  flags.blocks,
  flags.batch,
].map(Number) as [number, number, number, number, number];

/** Steps of which one line says the mean. */
const EVERY = 50;

const { training, heldOut } = await texts(flags.text);
const set = data.text(training, { name: "text", length, stride: Math.ceil(length / 2), test: heldOut });
console.log(
  `${training.length} bytes to train on, ${heldOut.length} held out; bigram: ${
    bigramBits().toFixed(4)
  } bits a byte`,
);

await using device = await devices.open(flags.device as devices.DeviceName);
for (const name of flags.methods.split(",")) {
  const method = local.methodNamed(name as local.MethodName);
  using trainer = await local.trainer({
    device,
    model: models.languageModel({ length, width, blocks }),
    modules: blocks,
    method,
    optimizer: optim.adamw({ weightDecay: 0.1 }),
    schedule: optim.warmup(optim.everyStep(optim.cosine({ base: 0.003, length: epochs })), { steps: 50 }),
    batch,
  });
  let recent: number[] = [];
  const printer: local.Observer = {
    step({ step, losses }) {
      recent.push(losses.at(-1) ?? NaN); // that of the network's own head
      if (step % EVERY !== 0) return;
      console.log(`${method.name}, step ${step}: ${bits(mean(recent))} bits a byte in training`);
      recent = [];
    },
  };
  const { last } = await trainer.fit(set, {
    epochs,
    checkpoint: `${flags.run}/${method.name}`,
    resume: true,
    observers: [printer],
  });
  const { loss } = last ?? await trainer.evaluate(set); // a run that was finished before is only evaluated
  const { method: own, endToEnd } = trainer.memory;
  console.log(
    `${method.name}: ${bits(loss)} bits a byte; planned peak of a step ${
      mebibytes(own.peakBytes)
    }, end to end ${mebibytes(endToEnd.peakBytes)}`,
  );
  console.log(`${method.name} writes: ${JSON.stringify(await written(trainer, 120))}`);
}

/** The texts of a folder's Markdown files: of each the first nine tenths of its bytes, and the rest. */
async function texts(folder: string): Promise<{ training: Uint8Array; heldOut: Uint8Array }> {
  const files: string[] = [];
  for await (const { name } of Deno.readDir(folder)) if (name.endsWith(".md")) files.push(name);
  const parts: [Uint8Array, Uint8Array][] = [];
  for (const name of files.sort()) {
    const bytes = await Deno.readFile(`${folder}/${name}`);
    const cut = Math.floor(0.9 * bytes.length);
    parts.push([bytes.subarray(0, cut), bytes.subarray(cut)]);
  }
  const joined = (which: 0 | 1) => Uint8Array.from(parts.flatMap((part) => [...part[which]]));
  return { training: joined(0), heldOut: joined(1) };
}

/**
 * Bits a byte of a bigram model on the held-out bytes that the language model is evaluated on: the counts of pairs, with as
 * many pseudo-counts, spread as single bytes are, as suits the held-out text best.
 */
function bigramBits(): number {
  const [pairs, firsts, singles] = [256 * 256, 256, 256].map((size) => new Float64Array(size)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  training.forEach((byte, i) => {
    singles[byte] = (singles[byte] ?? 0) + 1;
    const before = training[i - 1];
    if (before === undefined) return;
    firsts[before] = (firsts[before] ?? 0) + 1;
    pairs[256 * before + byte] = (pairs[256 * before + byte] ?? 0) + 1;
  });
  const { x, labels } = set.test ?? set.train;
  const total = training.length + 256;
  const bitsWith = (pseudo: number) =>
    Array.from(labels).reduce((sum, byte, i) => {
      const before = x[i] ?? 0;
      const single = ((singles[byte] ?? 0) + 1) / total;
      const pair = (pairs[256 * before + byte] ?? 0) + pseudo * single;
      return sum - Math.log2(pair / ((firsts[before] ?? 0) + pseudo));
    }, 0) / labels.length;
  return Math.min(...[0.1, 0.3, 1, 3, 10, 30, 100].map(bitsWith));
}

/** The text that the network draws, byte for byte, after the first window of held-out text. */
async function written(trainer: local.Trainer, count: number): Promise<string> {
  const random = keys.uniform(keys.key(1), count);
  let window = Float32Array.from(heldOut.subarray(0, length));
  const text: number[] = [];
  for (const draw of random) {
    const { data: logits } = await trainer.outputs(new HostArray(window, [1, length]));
    const last = logits.subarray(-256);
    const highest = Math.max(...last);
    const shares = Array.from(last, (logit) => Math.exp(logit - highest));
    let left = draw * shares.reduce((a, b) => a + b);
    const byte = Math.max(0, shares.findIndex((share) => (left -= share) < 0));
    text.push(byte);
    window = Float32Array.of(...window.subarray(1), byte);
  }
  return new TextDecoder().decode(Uint8Array.from(text));
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function bits(loss: number): string {
  return (loss / Math.LN2).toFixed(4);
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
