/** The names that options have elsewhere, without case and underscores, with those that they may have here. */
const SYNONYMS: { readonly [name: string]: readonly string[] } = {
  kernel: ["window"],
  kernelsize: ["window"],
  kernelshape: ["window"],
  filtersize: ["window"],
  poolsize: ["window"],
  inchannels: ["in"],
  infeatures: ["in"],
  inputs: ["in"],
  outchannels: ["out"],
  outfeatures: ["out"],
  outputs: ["out"],
  filters: ["out"],
  units: ["out"],
  features: ["out", "channels"],
  numfeatures: ["channels"],
  eps: ["epsilon"],
  beta1: ["betas"],
  beta2: ["betas"],
  lr: ["learningRate", "base", "schedule"],
  rate: ["learningRate", "base", "schedule"],
  learningrate: ["schedule", "base"],
  scheduler: ["schedule"],
  wd: ["weightDecay"],
  l2: ["weightDecay"],
  decay: ["weightDecay"],
  numclasses: ["classes"],
  nclasses: ["classes"],
  batchsize: ["batch"],
  workers: ["threads"],
  numworkers: ["threads"],
  backend: ["device", "engine"],
  network: ["model"],
  net: ["model"],
  loss: ["method"],
  optim: ["optimizer"],
  callbacks: ["observers"],
  directory: ["path", "checkpoint"],
  folder: ["path", "checkpoint"],
  k: ["top"],
  topk: ["top"],
  imagesize: ["size"],
  dtype: ["precision"],
  maxepochs: ["epochs"],
  numepochs: ["epochs"],
};

/** What is no option of the function it is given to, and where it belongs instead. */
const ELSEWHERE: { readonly [name: string]: string } = {
  lr: "the learning rate is the trainer's schedule, such as optim.constant(0.1)",
  rate: "the learning rate is the trainer's schedule, such as optim.constant(0.1)",
  learningrate: "the learning rate is the trainer's schedule, such as optim.constant(0.1)",
};

/** Completes the error of an option that does not exist: the one probably meant, and those that there are. */
export function knownInstead(name: string, known: readonly string[]): string {
  const meant = nearest(name, known);
  const all = known.length === 0 ? "it has none" : `it has ${known.join(", ")}`;
  if (meant !== undefined) return `; did you mean ${JSON.stringify(meant)}? ${all.replace("it", "It")}`;
  const elsewhere = ELSEWHERE[plain(name)];
  return elsewhere === undefined ? `; ${all}` : `: ${elsewhere}; ${all}`;
}

/** The known name that was probably meant: written in another style, a synonym, misspelt, or abbreviated. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const wanted = plain(name);
  const same = known.find((each) => plain(each) === wanted);
  if (same !== undefined) return same;
  const synonym = SYNONYMS[wanted]?.find((each) => known.includes(each));
  if (synonym !== undefined) return synonym;
  let best: string | undefined, fewest = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const each of known) {
    const edits = distance(wanted, plain(each));
    const swapped = edits === fewest && plain(each).length === wanted.length &&
      best?.length !== wanted.length;
    const closer = edits < fewest || best !== undefined && swapped; // swapped letters are more usual than missing ones
    if (closer && edits < Math.max(each.length, wanted.length)) [best, fewest] = [each, edits];
  }
  return best ?? known.find((each) => wanted.length >= 3 && plain(each).startsWith(wanted)) ??
    known.find((each) => each.length >= 3 && wanted.startsWith(plain(each)));
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[_-]/g, "");
}

/** The number of insertions, deletions, replacements and swaps of neighbours that make one word of another. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      const edits = [(last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + same];
      if (a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) edits.push((before[j - 2] ?? 0) + 1);
      row.push(Math.min(...edits));
    }
    [before, last] = [last, row];
  }
  return last[b.length] ?? 0;
}
