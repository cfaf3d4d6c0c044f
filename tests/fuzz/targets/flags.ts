import { evaluateFlags } from "../../../src/cli/evaluate.ts";
import { parseFlags } from "../../../src/cli/flags/flags.ts";
import { setupOf } from "../../../src/cli/build.ts";
import { settingsFrom, trainingFlags } from "../../../src/cli/settings.ts";
import { trainFlags } from "../../../src/cli/train.ts";
import * as local from "../../../src/local.ts";
import type { MakeTarget } from "../harness.ts";
import { damaged } from "../mutate.ts";
import type { Random } from "../random.ts";

const VALUES = [
  "0",
  "1",
  "-1",
  "1e3",
  "Infinity",
  "0x10",
  " ",
  "",
  "NaN",
  "3",
  "2",
  "0.5",
  "layer1.0,layer2.0",
  "crop=4,flip=no,randaugment=2:9,hue=0.1,erase,mixup=0.2,cutmix=1",
  "99999999999",
];
const choices = Object.entries(trainingFlags).flatMap(([, flag]) =>
  "value" in flag ? flag.value.split("|") : []
);
const names = Object.keys(trainFlags);

/** The words of a command line, one per line: flags of `train` with good and bad values, some of them damaged. */
function words(random: Random): Uint8Array<ArrayBuffer> {
  const list: string[] = [];
  for (let left = random.below(6); left > 0; left--) {
    const name = `--${random.pick(names)}`;
    const value = random.percent(60) ? random.pick(choices) : random.pick(VALUES);
    if (random.percent(50)) list.push(`${name}=${value}`);
    else list.push(name, ...(random.percent(80) ? [value] : []));
  }
  const bytes = new TextEncoder().encode(list.join("\n"));
  return random.percent(30) ? damaged(random, [bytes]) : bytes;
}

/** The flags of `train`, up to the setup of network, cut and method, and those of `eval`. */
export const target: MakeTarget = () => ({
  input: words,
  read(input) {
    const args = new TextDecoder().decode(input).split("\n");
    if (args.length % 7 === 0) {
      parseFlags("eval", evaluateFlags, args);
      return;
    }
    const given = parseFlags("train", trainFlags, args);
    const { model, modules, method } = setupOf(settingsFrom(given));
    local.partition(model, modules);
    if (method.name === "") throw new Error("a method without a name");
  },
});
