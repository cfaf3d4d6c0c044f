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

/** The result of a turn of a timed script, printed as one line of JSON. */
export interface Timing {
  readonly system: string;
  /** Milliseconds of each timed step of the turn. */
  readonly milliseconds: readonly number[];
  /** The loss after the first step of all and after the last of the turn, to show that it trains. */
  readonly losses: readonly [number, number];
  /** Milliseconds of the first step of all, with tracing and compiling. */
  readonly first: number;
  /** What each process planned and holds, in KiB, where several systems differ in that. */
  readonly memory?: { readonly planned: readonly number[]; readonly held: readonly number[] };
}

/**
 * Takes turns at `step`, which resolves to its loss once it is done, and prints a {@linkcode Timing} after each. A turn
 * is a number of steps that are not timed and a number that are. If `turn` holds them, that is the only one; otherwise
 * each line of standard input, `<warmup> <steps>`, is one.
 */
export async function report(
  system: string,
  turn: readonly number[],
  step: () => Promise<number>,
): Promise<void> {
  let first: readonly [loss: number, milliseconds: number] | undefined;
  for await (const [warmup, steps] of turn.length > 0 ? [turn] : turns()) {
    const milliseconds: number[] = [];
    let loss = NaN;
    for (let i = 0; i < warmup! + steps!; i++) {
      const start = performance.now();
      loss = await step();
      milliseconds.push(performance.now() - start);
      first ??= [loss, milliseconds[0]!];
    }
    const timing: Timing = {
      system,
      milliseconds: milliseconds.slice(warmup),
      losses: [first![0], loss],
      first: first![1],
    };
    console.log(JSON.stringify(timing));
  }
}

/** The numbers on each line of standard input. */
export async function* turns(): AsyncGenerator<number[]> {
  let text = "";
  for await (const chunk of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (text + chunk).split("\n");
    text = lines.pop()!;
    yield* lines.map((line) => line.split(" ").map(Number));
  }
}
