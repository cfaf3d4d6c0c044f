/** What each stage runs. */
import { checks } from "./checks.ts";
import { rowName } from "./row.ts";
import { dryRows, moreRows, speedRows } from "./rows.ts";
import type { StageName } from "./stages.ts";
import { structured } from "./suite.ts";
import type { Row } from "./row.ts";

/** A program that a stage runs; it prints results as lines of JSON. */
export interface Item {
  /** A name that no other item of the stage has. */
  readonly name: string;
  /** Runs with Deno, or with Python. */
  readonly script: string;
  readonly args: readonly string[];
  /** The training step, where it times one. */
  readonly row?: Row;
  /** True where a machine without PyTorch, say, has no result: that is no failure of ours. */
  readonly optional?: boolean;
  /** The most seconds that it may take; the default is what is left of the stage. */
  readonly seconds?: number;
}

/** What a run has beside the repository. */
export interface Given {
  /** Tiny shapes, for the simulated device. */
  readonly dry: boolean;
  /** Losses recorded with WebAssembly, packed or recorded now. */
  readonly losses: string;
  /** A batch file of CIFAR-10, if there is one. */
  readonly images?: string;
}

/** The items of a stage, in order. */
export function itemsOf(stage: StageName, given: Given): Item[] {
  switch (stage) {
    case "first":
      return Object.keys(checks).map((name) => ({ name, script: "checks.ts", args: [name] }));
    case "right":
      return rightItems(given);
    case "speed":
      return (given.dry ? dryRows() : speedRows()).map(timed);
    case "more":
      return moreItems(given);
  }
}

/** f32 first: where only another precision is wrong, the kernels are right. */
function rightItems({ dry, losses }: Given): Item[] {
  const libraries = structured.slice(0, 2), most = dry ? ["2"] : [];
  const groups = [
    ...(dry ? libraries : structured).map((group) => [group, "f32"] as const),
    ...libraries.flatMap((group) => [[group, "tf32"], [group, "bf16"]] as const),
  ];
  const precisions = dry ? ["f32"] as const : ["f32", "tf32", "bf16"] as const;
  return [
    ...precisions.map((precision) => ({
      name: `ten MAN steps in ${precision}`,
      script: "losses.ts",
      args: [losses, precision, ...(dry ? ["--small"] : [])],
    })),
    ...groups.map(([group, precision]) => ({
      name: `${group} in ${precision}`,
      script: "suite.ts",
      args: [group, precision, ...most],
    })),
  ];
}

function moreItems({ dry, images }: Given): Item[] {
  const counts = (dry ? [2, 0, 1] : [32, 3, 20]).map(String);
  const resnet8 = (name: string, script: string, ...args: string[]): Item => ({
    ...{ name: `ResNet-8, ${name}`, script, args: [...args, ...counts] },
    ...{ optional: !script.includes("ours"), seconds: 20 },
  });
  return [
    {
      name: "a thousand steps",
      script: "long.ts",
      args: dry ? ["3", "small"] : ["1000", "full"],
    },
    ...(dry ? [] : moreRows()).map(timed),
    resnet8("localgrad, cuda", "../ours.ts", "resnet8", "cuda"),
    ...(dry ? [] : [
      resnet8("localgrad, webgpu", "../ours.ts", "resnet8", "webgpu"),
      resnet8("jax-js, webgpu", "../peers/jax.ts", "webgpu"),
      // TensorFlow.js, far slower in bench/, is too large to pack.
    ]),
    // Last, since it takes whatever time is left.
    {
      name: "epochs",
      script: "epochs.ts",
      args: ["SECONDS", dry ? "small" : "full", ...(images === undefined ? [] : [images])],
    },
  ];
}

function timed(row: Row): Item {
  const ours = row.system === "localgrad";
  const script = ours ? "ours.ts" : "../pytorch/measure.py";
  return { name: rowName(row), script, args: [JSON.stringify(row)], row, optional: !ours };
}
