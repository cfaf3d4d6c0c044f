/** Shared by the peers' scripts: the parameters of ResNet-8 and the timing of a step. */

/** One parameter of ResNet-8 in PyTorch's layout. */
export interface Parameter {
  readonly name: string;
  readonly oihw: readonly number[];
  readonly values: Float32Array<ArrayBuffer>;
}

/** The parameters of ResNet-8 (3×3 stem of 16, one block each of 16, 32 and 64, linear), He-scaled by a formula. */
export function resnet8Parameters(): Parameter[] {
  const list: Parameter[] = [];
  const add = (name: string, oihw: number[], make: (i: number) => number) => {
    const count = oihw.reduce((a, b) => a * b, 1);
    list.push({ name, oihw, values: Float32Array.from({ length: count }, (_, i) => make(i)) });
  };
  const filter = (name: string, out: number, inner: number, size: number) => {
    const scale = Math.sqrt(2) * Math.sqrt(2 / (size * size * out));
    add(name, [out, inner, size, size], (i) => scale * Math.sin(i * 12.9898 + list.length));
  };
  const norm = (name: string, channels: number) => {
    add(`${name}.weight`, [channels], () => 1);
    add(`${name}.bias`, [channels], () => 0);
  };
  filter("conv1.weight", 16, 3, 3);
  norm("bn1", 16);
  for (const [stage, inner, out] of [[1, 16, 16], [2, 16, 32], [3, 32, 64]] as const) {
    const name = `layer${stage}.0`;
    filter(`${name}.conv1.weight`, out, inner, 3);
    norm(`${name}.bn1`, out);
    filter(`${name}.conv2.weight`, out, out, 3);
    norm(`${name}.bn2`, out);
    if (inner === out) continue;
    filter(`${name}.downsample.0.weight`, out, inner, 1);
    norm(`${name}.downsample.1`, out);
  }
  add("fc.weight", [10, 64], (i) => 0.125 * Math.sin(i * 12.9898));
  add("fc.bias", [10], () => 0);
  return list;
}

/** A batch of `count` images [count, 32, 32, 3] and labels, by a formula. */
export function resnet8Batch(
  count: number,
): { images: Float32Array<ArrayBuffer>; labels: Int32Array<ArrayBuffer> } {
  return {
    images: Float32Array.from(
      { length: count * 32 * 32 * 3 },
      (_, i) => 1.5 * Math.sin(i * 0.7 + 3 * Math.cos(i * 1e-3)),
    ),
    labels: Int32Array.from({ length: count }, (_, n) => n % 10),
  };
}

/** The result of a timed script, printed as one line of JSON. */
export interface Timing {
  readonly system: string;
  /** Milliseconds of each timed step. */
  readonly milliseconds: readonly number[];
  /** The loss after the first and after the last step, to show that it trains. */
  readonly losses: readonly [number, number];
  /** Milliseconds of the first step, with tracing and compiling. */
  readonly first: number;
}

/** Runs `step`, which resolves to its loss once it is done, and prints a {@linkcode Timing}. */
export async function report(
  system: string,
  warmup: number,
  steps: number,
  step: () => Promise<number>,
): Promise<void> {
  const milliseconds: number[] = [];
  const losses: number[] = [];
  for (let i = 0; i < warmup + steps; i++) {
    const start = performance.now();
    losses.push(await step());
    milliseconds.push(performance.now() - start);
  }
  const timing: Timing = {
    system,
    milliseconds: milliseconds.slice(warmup),
    losses: [losses[0]!, losses.at(-1)!],
    first: milliseconds[0]!,
  };
  console.log(JSON.stringify(timing));
}
