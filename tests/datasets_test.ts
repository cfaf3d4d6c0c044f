/** Data sets on the command line: unreadable ones are rejected, others are trained on, interrupted and resumed. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { createHash } from "node:crypto";
import { liveDecoderCount } from "../src/data/folder/decoders.ts";
import { imageFolder } from "../src/data/folder/folder.ts";
import { readMetrics } from "../src/artifacts/metrics.ts";
import * as local from "../src/local.ts";
import * as models from "../src/models.ts";
import * as optim from "../src/optim.ts";
import { open } from "../src/runtime/devices.ts";
import { cli, contents, finish, refused, start } from "./command_line.ts";
import { type Files, fixtures, mnist, photographs, stl10, svhn, write } from "./dataset_files.ts";
import { inFolder } from "./in_folder.ts";

/** A truncated file, and one with a flipped bit. */
const truncated = (bytes: Uint8Array, by = 40) => bytes.slice(0, -by);
const damaged = (bytes: Uint8Array, at: number) => bytes.map((byte, i) => i === at ? byte ^ 16 : byte);

const FAULTS: Record<string, [message: RegExp, fault: (files: Files) => void][]> = {
  svhn: [
    [/train_32x32\.mat is empty/, (f) => f["train_32x32.mat"] = new Uint8Array()],
    [/train_32x32\.mat is truncated/, (f) => f["train_32x32.mat"] = truncated(f["train_32x32.mat"], 400)],
    [/test_32x32\.mat is damaged/, (f) => f["test_32x32.mat"] = damaged(f["test_32x32.mat"], 9000)],
    [/test_32x32\.mat is not an SVHN file: it has the arrays/, (f) => {
      f["test_32x32.mat"] = Deno.readFileSync(`${fixtures}/plain.mat`);
    }],
    [/has no test_32x32\.mat; download "Format 2/, (f) => delete f["test_32x32.mat"]],
  ],
  stl10: [
    [/test_y\.bin is empty/, (f) => f["test_y.bin"] = new Uint8Array()],
    [/train_X\.bin is truncated/, (f) => f["train_X.bin"] = truncated(f["train_X.bin"])],
    [/train_X\.bin has 3 images and train_y\.bin 4 labels/, (f) => {
      f["train_X.bin"] = truncated(f["train_X.bin"], 27648);
    }],
    [
      /train_y\.bin is mislabelled: image 2 has label 19/,
      (f) => f["train_y.bin"] = damaged(f["train_y.bin"], 2),
    ],
  ],
  mnist: [
    [/train-images-idx3-ubyte\.gz is not a complete gzip file/, (f) => {
      f["train-images-idx3-ubyte.gz"] = truncated(f["train-images-idx3-ubyte.gz"]);
    }],
  ],
  folder: [
    [/daisy\/1\.jpg is empty/, (f) => f["val/daisy/1.jpg"] = new Uint8Array()],
    [/roses\/1\.jpg is truncated/, (f) => f["train/roses/1.jpg"] = truncated(f["train/roses/1.jpg"])],
    [/roses\/3\.png is damaged/, (f) => f["train/roses/3.png"] = damaged(f["train/roses/3.png"], 2000)],
    [/daisy\/2\.jpg is not a JPEG, PNG, WebP, BMP or TIFF, whatever its name/, (f) => {
      f["train/daisy/2.jpg"] = new TextEncoder().encode("<!doctype html><title>404</title>");
    }],
    [
      /val\/tulips is mislabelled: .*\/train has no class tulips/,
      (f) => f["val/tulips/1.jpg"] = f["val/roses/1.jpg"],
    ],
  ],
};
const FILES: Record<string, () => Files> = { svhn, mnist, stl10: () => stl10(4, 2), folder: photographs };

for (const [dataset, faults] of Object.entries(FAULTS)) {
  Deno.test(`train refuses damage to ${dataset} in one line and writes nothing`, () =>
    inFolder(async (dir) => {
      for (const [i, [message, fault]] of faults.entries()) {
        const files = FILES[dataset]();
        fault(files);
        await write(`${dir}/${i}`, files);
        await refused(dir, message, "train", "--dataset", dataset, "--data", `${i}`, "--run", "run");
      }
      await refused(dir, /nowhere/, "train", "--dataset", dataset, "--data", "nowhere", "--run", "run");
    }));
}

Deno.test("train refuses damage to cifar10 in one line and writes nothing", () =>
  inFolder(async (dir) => {
    const first = `${dir}/data_batch_1.bin`;
    const whole = 30_730_000;
    const cases: [RegExp, () => void][] = [
      [/data_batch_1\.bin is empty/, () => Deno.truncateSync(first)],
      [/data_batch_1\.bin is truncated: 30729999 bytes/, () => Deno.truncateSync(first, whole - 1)],
      [/data_batch_1\.bin is damaged: its MD5/, () => Deno.truncateSync(first, whole)],
      [/data_batch_1\.bin is mislabelled: record 0 has class 10/, () => {
        using file = Deno.openSync(first, { write: true });
        file.writeSync(Uint8Array.of(10));
      }],
    ];
    Deno.writeFileSync(first, new Uint8Array());
    for (const [message, fault] of cases) {
      fault();
      const before = Deno.statSync(first).size;
      const { code, stdout, stderr } = await cli(
        dir,
        "train",
        "--dataset",
        "cifar10",
        "--data",
        ".",
        "--run",
        "run",
      );
      assertEquals([code, stdout, stderr.trimEnd().split("\n").length], [2, "", 1], stderr);
      assertMatch(stderr, message);
      assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["data_batch_1.bin"]);
      assertEquals(Deno.statSync(first).size, before);
    }
  }));

const sum = (files: Map<string, Uint8Array>, name: string) =>
  createHash("sha256").update(files.get(name)!).digest("hex");

const SMALL: Record<string, string[]> = {
  svhn: ["--batch", "4", "--augment", "randaugment,erase,mixup=0.2,cutmix=1"],
  stl10: ["--batch", "2", "--train-limit", "4"],
  folder: ["--batch", "3", "--image-size", "32", "--augment", "brightness=0.2,mixup=0.2"],
};

for (const [dataset, flags] of Object.entries(SMALL)) {
  Deno.test({
    name: `train on ${dataset}, interrupted and resumed, ends like an uninterrupted run; eval evaluates it`,
    ignore: Deno.build.os === "windows", // Windows cannot send SIGINT to a process
    fn: () =>
      inFolder(async (dir) => {
        const extra = dataset === "folder" ? { "train/daisy/notes.txt": new Uint8Array(1) } : {};
        await write(`${dir}/data`, { ...FILES[dataset](), ...extra });
        const common = ["--method", "greedy", "--modules", "2", "--lr", "0.01", "--epochs", "6", ...flags];
        const fresh = ["--dataset", dataset, "--data", "data", ...common];
        const whole = await cli(dir, "train", "--run", "whole", ...fresh);
        assertEquals(whole.code, 0, whole.stderr);
        if (dataset === "folder") {
          assertMatch(whole.stderr, /% of the time waiting for images, \d+\/s decoded/);
          assertMatch(whole.stderr, /^data: skipped files: 1 \.txt in a class$/m);
        }
        const child = start(dir, "train", ["--run", "parts", ...fresh]);
        const metrics = `${dir}/parts/metrics.jsonl`;
        let ended = false;
        child.status.then(() => ended = true);
        while (!ended && !await Deno.stat(metrics).then(({ size }) => size > 0, () => false)) {
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
        if (!ended) child.kill("SIGINT");
        const { code, stderr } = await finish(child);
        assertMatch(stderr, /stopped and saved/);
        assertEquals(code, 130, stderr); // the exit code of a process that SIGINT ended
        const resumed = await cli(dir, "train", "--run", "parts", "--resume");
        assertEquals(resumed.code, 0, resumed.stderr);
        const [a, b] = [contents(`${dir}/whole`), contents(`${dir}/parts`)];
        for (const name of ["last.safetensors", "best.safetensors"]) {
          assertEquals(sum(b, name), sum(a, name), name);
        }
        const evaluated = await cli(dir, "eval", "--run", "parts", "--checkpoint", "last", "--json");
        const { testError, testLoss } = JSON.parse(evaluated.stdout);
        const last = JSON.parse(
          new TextDecoder().decode(a.get("metrics.jsonl")).trimEnd().split("\n").at(-1)!,
        );
        assertEquals([evaluated.code, testError, testLoss], [0, last.testError, last.testLoss]);
        if (dataset === "folder") await refusesOtherClasses(dir);
      }),
  });
}

Deno.test("train and eval read MNIST's files, and tables of Parquet", () =>
  inFolder(async (dir) => {
    await write(`${dir}/mnist`, mnist());
    const small = ["--method", "greedy", "--modules", "2", "--batch", "4", "--epochs", "1", "--lr", "0.01"];
    const sets = {
      mnist: ["--data", "mnist"],
      parquet: ["--data", `${fixtures}/../parquet/hub`, "--image-size", "32"],
    };
    for (const [dataset, flags] of Object.entries(sets)) {
      const trained = await cli(
        dir,
        "train",
        "--dataset",
        dataset,
        ...flags,
        ...small,
        "--run",
        `run-${dataset}`,
      );
      assertEquals(trained.code, 0, trained.stderr);
      const evaluated = await cli(dir, "eval", "--run", `run-${dataset}`, "--checkpoint", "last", "--json");
      assertEquals(evaluated.code, 0, evaluated.stderr);
      const last = (await readMetrics(`${dir}/run-${dataset}/metrics.jsonl`)).at(-1);
      assertEquals(last?.kind === "epoch" ? last.testError : last, JSON.parse(evaluated.stdout).testError);
    }
  }));

/** A folder with the same number of classes, one of them renamed, is rejected when a run is resumed or evaluated. */
async function refusesOtherClasses(dir: string): Promise<void> {
  const renamed = Object.entries(photographs()).map((
    [path, bytes],
  ) => [path.replace("roses", "tulips"), bytes]);
  await write(`${dir}/other`, Object.fromEntries(renamed));
  const message = /other has no class "roses" and has "tulips", which the run does not have; give the images/;
  const other = ["--run", "whole", "--data", "other"];
  await refused(dir, message, "eval", ...other);
  await refused(dir, message, "train", ...other, "--resume");
}

Deno.test("a folder of images trains ResNet-18 by MAN; resumed, it gives the same bits", () =>
  inFolder(async (dir) => {
    await write(dir, photographs());
    await using device = await open("cpu");
    const make = () =>
      local.trainer({
        device,
        model: models.resnet18({ classes: 2, size: 32 }),
        modules: 2,
        method: local.man(local.infopro()),
        optimizer: optim.sgd({ momentum: 0.9 }),
        schedule: optim.constant(0.01),
        batch: 2,
      });
    const train = async (threads: number, stopBefore = Infinity, from?: local.Snapshot) => {
      const flowers = await imageFolder({ path: dir, size: 32, threads });
      const stop = new AbortController();
      const losses: (readonly number[])[] = [];
      using trainer = await make();
      if (from !== undefined) trainer.restore(from);
      // The signal is checked before each step; losses are reported later.
      const signal = new Proxy(stop.signal, {
        get: (target, key) => key === "aborted" ? trainer.stepsDone >= stopBefore : Reflect.get(target, key),
      });
      await trainer.fit(flowers, {
        epochs: 1,
        signal,
        observers: [{ step: (record) => void losses.push(record.losses) }],
      });
      return { losses, snapshot: await trainer.snapshot() };
    };
    const whole = await train(2);
    const first = await train(1, 2);
    assertEquals([first.snapshot.step, whole.snapshot.step], [2, 3]);
    const second = await train(3, Infinity, first.snapshot);
    assertEquals([...first.losses, ...second.losses], whole.losses);
    for (const [tensor, { data }] of whole.snapshot.tensors) {
      assertEquals(second.snapshot.tensors.get(tensor)!.data, data, tensor);
    }
    assert(whole.losses.every((step) => step.length === 2));
    assertEquals(liveDecoderCount(), 0);
  }));
