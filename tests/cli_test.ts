import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { modelNamed } from "../src/models/named.ts";
import { exportOnnx } from "../src/onnx/onnx.ts";
import { claimFolder } from "../src/cli/run_place.ts";
import {
  decodeSafetensors,
  encodeSafetensors,
  loadWeights,
  readMetrics,
  readRun,
  writeCheckpoint,
} from "../src/train.ts";
import { cli, contents, finish, refused, start } from "./command_line.ts";
import { inFolder } from "./in_folder.ts";

const SMALL = ["--test-limit", "32", "--batch", "32", "--method", "greedy", "--lr", "0.05"];

Deno.test("the command line refuses wrong commands and flags in one line", () =>
  inFolder(async (dir) => {
    const cases: [RegExp, ...string[]][] = [
      [/no command "trian"; choose demo, train/, "trian"],
      [
        /train has no flag --epoch; did you mean --epochs\?; its flags: --dataset/,
        "train",
        "--epoch",
        "3",
      ],
      [/train does not take the argument "resnet8"/, "train", "resnet8"],
      [/train does not take an empty argument/, "train", "--after", ""],
      [/--batch needs a value: --batch N/, "train", "--batch"],
      [/--seed is given 2 times/, "train", "--seed", "1", "--seed", "2"],
      [/takes a negative number \(-3\)/, "train", "--batch", "-3"],
      [/--epochs must be a whole number of at least 1, not "0"/, "train", "--epochs", "0"],
      [/--train-limit must be a whole number of at least 1, not "1e3x"/, "train", "--train-limit", "1e3x"],
      [/--lr must be a number above 0, not "nan"/, "train", "--lr", "nan"],
      [/--save-every must be .* 500, or of minutes, such as 10m, not "5 m"/, "train", "--save-every", "5 m"],
      [/--save-every must be/, "train", "--save-every", "0"],
      [/--schedule-epochs must be/, "train", "--schedule-epochs", "0"],
      [/--dataset must be one of shapes, cifar10, .*not "cifar"/, "train", "--dataset", "cifar"],
      [/--model must be one of .*resnet110.*, not "vgg"/, "train", "--model", "vgg"],
      [/--method must be one of .*man\+dgl.*, not "bp"/, "train", "--method", "bp"],
      [
        /--average-decay is for --method man\+NAME or manPlusPlus\+NAME or mlaan, not for dgl/,
        "train",
        "--method",
        "dgl",
        "--average-decay",
        "0.9",
      ],
      [
        /--depth is for --method augLocal or mlaan, not for endToEnd/,
        "memory",
        "--method",
        "endToEnd",
        "--depth",
        "2",
      ],
      [
        /choose --task contrastive or leave --anchors out/,
        ...["memory", "--method", "infopro", "--anchors", "all"] as const,
      ],
      [/--validation must be above 0 and below 1/, "train", "--validation", "0"],
      [/--augment has no "mixpu"; did you mean mixup\? its names: crop/, "train", "--augment", "mixpu=1"],
      [/--augment needs flip=yes or flip=no, not "flip"/, "train", "--augment", "crop=2,flip"],
      [/--augment: hue must be from 0 to 0\.5, not 2/, "train", "--augment", "hue=2"],
      [/--average-decay must be at least 0 and below 1, not "1"/, "train", "--average-decay", "1"],
      [/--momentum is now --average-decay \(.*; .* --sgd-momentum/, "train", "--momentum", "0.9"],
      [/--schedule is now --weight-schedule \(.*; .* --lr-schedule/, "memory", "--schedule=stage"],
      [/--optimizer must be one of sgd, adamw, lamb, lion, muon, not "adam"/, "train", "--optimizer", "adam"],
      [
        /--sgd-momentum is for --optimizer sgd/,
        ...["train", "--optimizer", "lion", "--sgd-momentum", "0.9"] as const,
      ],
      [/--clip must be a norm, such as norm:1, or .* value:0.5, not "all"/, "train", "--clip", "all"],
      [/--warmup must be a number of epochs, such as 5, or of steps/, "train", "--warmup", "5%"],
      [/--min-delta needs --patience/, "train", "--min-delta", "0.1"],
      [/--weight-decay must be a number of at least 0, not "x"/, "train", "--weight-decay", "x"],
      [
        /freeze: resnet8 has no parameter that begins with "layer9"; did you mean "layer1"\?/,
        "train",
        "--freeze",
        "layer9",
      ],
      [/--fusion must be one of sum, emaOnly, biasOnly, not "both"/, "train", "--fusion", "both"],
      [/--moves must be one of afterBackward, .*not "late"/, "train", "--moves", "late"],
      [
        /manPlusPlus: a trained average moves "afterStep"/,
        ...[
          "train",
          "--method",
          "manPlusPlus+dgl",
          "--average",
          "trained",
          "--moves",
          "beforeBackward",
        ] as const,
      ],
      [
        /man: with fusion "biasOnly".* leave --statistics out/,
        ...["memory", "--fusion", "biasOnly", "--statistics", "copy"] as const,
      ],
      [/--device must be one of auto, cuda, webgpu, cpu, reference, not "tpu"/, "train", "--device", "tpu"],
      [/resnet8 has 3 blocks.*at most 3/, "train", "--modules", "4"],
      [/resnet8 has no block "layer9"; its blocks are layer1\.0/, "train", "--after", "layer9"],
      [/--modules and --after both/, "train", "--modules", "2", "--after", "layer1.0"],
      [
        /no split of resnet8 for K = 2; resnet8 has none: give K alone/,
        "train",
        "--modules",
        "2",
        "--split",
        "man",
      ],
      [
        /resnet110 for K = 8; there are man K = 2, 3, 4, 8, .*infopro\* K = 2, 3, 4/,
        ...["memory", "--model", "resnet110", "--modules", "8", "--split", "infopro*"] as const,
      ],
      [/--split must be one of man, man\+\+, .*not "us"/, "train", "--modules", "2", "--split", "us"],
      [/--split .*give --modules too/, "train", "--split", "man"],
      [/shapes are drawn, so leave it out/, "train", "--data", "."],
      [/--resume .* --run DIR/, "train", "--resume"],
      [/eval needs a run or a file: give either --run DIR or --weights FILE/, "eval"],
      [/at most 54/, "memory", "--model", "resnet110", "--modules", "60"],
      [/demo has no flag --epochs; its flags: --seeds/, "demo", "--epochs", "1"],
      [/doctor has no flag --all/, "doctor", "--all"],
      [/--split must be one of man, .*not "balanced"/, "probe", "--run", "a", "--split", "balanced"],
    ];
    for (const [message, command, ...args] of cases) await refused(dir, message, command, ...args);
  }));

Deno.test("the command line names missing, truncated and foreign data", () =>
  inFolder(async (dir) => {
    const cifar = (path: string) => ["train", "--dataset", "cifar10", "--data", path] as const;
    await refused(dir, /nowhere does not exist/, ...cifar("nowhere"));
    await refused(dir, /\. has no data_batch_1\.bin/, ...cifar("."));
    if (Deno.build.os === "linux") {
      await refused(dir, /"\/proc" is a special file of the system/, ...cifar("/proc"));
    }
    await Deno.writeFile(`${dir}/data_batch_1.bin`, new Uint8Array(3073));
    await refused(dir, /data_batch_1\.bin is truncated: 3073 bytes instead of 30730000/, ...cifar("."));
    await Deno.writeTextFile(`${dir}/cifar-10-binary.tar.gz`, "not an archive");
    await refused(
      dir,
      /cifar-10-binary\.tar\.gz is not a complete gzip file/,
      ...cifar("cifar-10-binary.tar.gz"),
    );
  }));

Deno.test("train, eval and resume use the folder of a run and reject damage and misuse", () =>
  inFolder(async (dir) => {
    const trained = await cli(
      dir,
      "train",
      ...SMALL,
      "--train-limit",
      "96",
      "--epochs",
      "2",
      "--run",
      "a",
      "--json",
    );
    assertEquals(trained.code, 0, trained.stderr);
    const result = JSON.parse(trained.stdout);
    assertEquals([result.run, result.method, result.epochs, result.stopped], ["a", "greedy", 2, false]);
    assertEquals([...contents(`${dir}/a`).keys()].sort(), [
      "best.safetensors",
      "last.safetensors",
      "metrics.jsonl",
      "report.html",
      "run.json",
      "samples.json",
    ]);
    const evaluated = JSON.parse(
      (await cli(
        dir,
        "eval",
        "--run",
        "a",
        "--checkpoint",
        "last",
        "--metrics",
        "confusion,perClass",
        "--json",
      ))
        .stdout,
    );
    const epoch = (await readMetrics(`${dir}/a/metrics.jsonl`)).at(-1);
    assertEquals(epoch?.kind === "epoch" ? epoch.confusion : undefined, evaluated.confusion); // by default
    assertEquals(evaluated.perClass.length, evaluated.classNames.length);
    assertEquals([evaluated.testError, evaluated.testLoss], [result.testError, result.testLoss]);

    const again = ["--run", "a", ...SMALL] as const;
    await refused(dir, /a holds a run already; resume it or choose/, "train", ...again);
    await refused(
      dir,
      /started with --method greedy, not dgl/,
      "train",
      "--run",
      "a",
      "--resume",
      "--method",
      "dgl",
    );
    await refused(dir, /there is nothing at b; give the folder of a run/, "eval", "--run", "b");
    await refused(dir, /there is nothing at b; give the folder of a run/, "train", "--run", "b", "--resume");
    await Deno.writeTextFile(`${dir}/file`, "");
    await refused(dir, /file is not a folder/, "train", "--run", "file");

    const path = `${dir}/a/last.safetensors`;
    const whole = await Deno.readFile(path);
    await Deno.writeFile(path, whole.subarray(0, whole.length - 100));
    await refused(
      dir,
      /last\.safetensors is not a complete safetensors file/,
      "train",
      "--run",
      "a",
      "--resume",
    );
    const foreign = decodeSafetensors(whole, path);
    await writeCheckpoint(path, {
      snapshot: { step: 6, tensors: foreign.tensors, configuration: {} },
      settings: {},
    });
    await refused(dir, /was not made by train/, "train", "--run", "a", "--resume");
    whole[whole.length - 100] ^= 1;
    await Deno.writeFile(path, whole);
    await refused(dir, /last\.safetensors is damaged/, "eval", "--run", "a", "--checkpoint", "last");
  }));

Deno.test({
  name: "train saves at Ctrl-C, exits cleanly, and resumes bit for bit",
  ignore: Deno.build.os === "windows", // Windows cannot send SIGINT to a process
  fn: () =>
    inFolder(async (dir) => {
      const flags = [...SMALL, "--train-limit", "960", "--epochs", "2", "--eval-every", "2"];
      const child = start(dir, "train", [...flags, "--run", "stopped"]);
      const metrics = `${dir}/stopped/metrics.jsonl`;
      const steps = () => Deno.readTextFile(metrics).then((text) => text.split("\n").length - 1, () => 0);
      while (await steps() === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      child.kill("SIGINT");
      const { code, stderr } = await finish(child);
      assertEquals(code, 130, stderr);
      assertMatch(stderr, /stopped and saved; resume with: deno task train --run stopped --resume/);
      const done = await steps();
      assert(done < 60, `it was stopped after all ${done} lines`);
      const resumed = await cli(dir, "train", "--run", "stopped", "--resume");
      assertEquals(resumed.code, 0, resumed.stderr);
      const whole = await cli(dir, "train", ...flags, "--run", "whole");
      assertEquals(whole.code, 0, whole.stderr);
      const [a, b] = [contents(`${dir}/stopped`), contents(`${dir}/whole`)];
      for (const name of ["last.safetensors", "best.safetensors"]) {
        assertEquals(a.get(name), b.get(name), name);
      }
      const losses = (files: Map<string, Uint8Array>) =>
        new TextDecoder().decode(files.get("metrics.jsonl")).split("\n").filter((line) =>
          line.includes("step")
        );
      assertEquals(losses(a), losses(b));
      const evaluated = (await readMetrics(metrics)).filter(({ kind }) => kind === "epoch");
      assertEquals(evaluated.map((line) => "epoch" in line && line.epoch), [2]);

      const probing = start(dir, "probe", ["--run", "whole", "--epochs", "1000000"]);
      probing.stdout.cancel();
      let told = "";
      for await (const text of probing.stderr.pipeThrough(new TextDecoderStream())) {
        const begins = !told.includes("probing") && (told + text).includes("probing");
        told += text;
        if (begins) probing.kill("SIGINT");
      }
      assertEquals((await probing.status).code, 130, told);
      assertMatch(told, /stopping …\nstopped; nothing was written\n$/);
      assertEquals(contents(`${dir}/whole`), b);
    }),
});

Deno.test({
  name: "train saves when nobody reads its progress, and at the signal of a closed terminal",
  ignore: Deno.build.os === "windows", // Windows cannot send SIGHUP to a process
  fn: () =>
    inFolder(async (dir) => {
      const child = start(dir, "train", [...SMALL, "--train-limit", "960", "--epochs", "3", "--run", "a"]);
      await Promise.all([child.stderr.cancel(), child.stdout.cancel()]); // as `2>&1 | head` does
      while ((await readMetrics(`${dir}/a/metrics.jsonl`)).at(-1)?.kind !== "epoch") {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      child.kill("SIGHUP");
      assertEquals((await child.status).code, 129);
      const { snapshot } = await readRun(`${dir}/a`, "last");
      const steps = (await readMetrics(`${dir}/a/metrics.jsonl`)).filter(({ kind }) => kind === "step");
      assertEquals(snapshot.step, steps.length);
      assert(snapshot.step >= 30 && snapshot.step < 90, `${snapshot.step}`);
    }),
});

Deno.test({
  name: "train trains and saves with its log on a full disk, and results that cannot be printed are an error",
  ignore: Deno.build.os !== "linux", // the only one with /dev/full
  fn: () =>
    inFolder(async (dir) => {
      const flags = [...SMALL, "--train-limit", "960", "--epochs", "9", "--run", "a"];
      const child = start(dir, "train", flags, {}, 'exec "$@" 2>/dev/full');
      let ended = false;
      child.status.then(() => ended = true);
      while (!ended && (await readMetrics(`${dir}/a/metrics.jsonl`)).length === 0) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      child.kill("SIGINT");
      assertEquals((await finish(child)).code, 130);
      const steps = (await readMetrics(`${dir}/a/metrics.jsonl`)).filter(({ kind }) => kind === "step");
      assertEquals((await readRun(`${dir}/a`, "last")).snapshot.step, steps.length);

      const help = await finish(start(dir, "help", [], {}, 'exec "$@" >/dev/full'));
      assertEquals([help.code, help.stderr], [
        2,
        "error: standard output cannot be written: the disk is full; free some space\n",
      ]);
    }),
});

Deno.test("runs that start in the same second get separate folders, and a rejected one leaves none", () =>
  inFolder(async (dir) => {
    const claims = await Promise.all([1, 2, 3].map(() => claimFolder(`${dir}/runs/dgl-1`)));
    assertEquals(
      claims.map(({ path }) => path).sort(),
      ["", "-2", "-3"].map((end) => `${dir}/runs/dgl-1${end}`),
    );
    await Deno.writeTextFile(`${claims[1].path}/metrics.jsonl`, "");
    for (const claim of claims) await claim[Symbol.asyncDispose]();
    assertEquals([...Deno.readDirSync(`${dir}/runs`)].map(({ name }) => `${dir}/runs/${name}`), [
      claims[1].path,
    ]);
    for (const parent of ["fresh", "runs"]) { // a rejected run removes the folders it made, not those in use
      const [kept, gone] = [await claimFolder(`${dir}/${parent}/a`), await claimFolder(`${dir}/${parent}/b`)];
      await gone[Symbol.asyncDispose]();
      assertEquals([...Deno.readDirSync(`${dir}/${parent}`)].some(({ name }) => name === "b"), false);
      await kept[Symbol.asyncDispose]();
    }
    const flags = ["--run", "b", "--train-limit", "32", "--test-limit", "8"];
    const refused = await cli(dir, "train", ...flags, "--batch", String(2 ** 20));
    assertEquals(refused.code, 2, refused.stderr);
    assertMatch(
      refused.stderr,
      /error: .* takes 12\.00 GiB, and cpu holds at most .*; use a batch of at most/,
      refused.stderr,
    );
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["runs"]);
  }));

Deno.test("export, eval --weights and train --init pass a network on, and reject other files", () =>
  inFolder(async (dir) => {
    const limits = ["--train-limit", "64", ...SMALL, "--epochs", "1"];
    const trained = await cli(dir, "train", ...limits, "--run", "a", "--json");
    assertEquals(trained.code, 0, trained.stderr);
    assertEquals((await cli(dir, "export", "--run", "a", "--out", "a.safetensors")).code, 0);
    const { tensors, types } = decodeSafetensors(await Deno.readFile(`${dir}/a.safetensors`), "a");
    assertEquals(tensors.get("conv1.weight")!.shape, [16, 3, 3, 3]);
    assertEquals(types!.get("bn1.num_batches_tracked"), "I64");
    assert([...tensors.keys()].every((name) => !/^(local|optimizer)/.test(name)));

    assertEquals((await cli(dir, "export", "--run", "a", "--out", "a.onnx")).code, 0);
    const weights = await loadWeights(`${dir}/a.safetensors`);
    assertEquals(
      await Deno.readFile(`${dir}/a.onnx`),
      exportOnnx(modelNamed("resnet8", { classes: weights.network!.classes }), weights),
    );
    const again = await cli(dir, "export", "--run", "a.safetensors", "--out", "again.onnx");
    assertEquals([again.code, again.stdout], [0, "again.onnx: the network of a.safetensors\n"]);
    assertEquals(await Deno.readFile(`${dir}/again.onnx`), await Deno.readFile(`${dir}/a.onnx`));
    const kept = ["--format", "onnx", "--keep-batch-norm", "--layout", "nhwc"];
    assertEquals((await cli(dir, "export", "--run", "a", "--out", "kept.onnx", ...kept)).code, 0);
    assert((await Deno.readFile(`${dir}/kept.onnx`)).length > 300_000);

    const file = ["--weights", "a.safetensors", "--model", "resnet8", "--test-limit", "32"];
    const evaluated = JSON.parse((await cli(dir, "eval", ...file, "--json")).stdout);
    const { testError, testLoss } = JSON.parse(trained.stdout);
    assertEquals([evaluated.testError, evaluated.images], [testError, 32]);
    assertAlmostEquals(evaluated.testLoss, testLoss, 1e-5); // evaluated with another batch size
    // a network of NaN has no meaningful test error
    tensors.get("layer1.0.bn1.weight")!.data[3] = NaN;
    const spoilt = { tensors, metadata: {}, types: types! };
    await Deno.writeFile(`${dir}/nan.safetensors`, encodeSafetensors(spoilt));
    const none = await cli(dir, "eval", ...file.with(1, "nan.safetensors"));
    assertEquals([none.code, none.stdout], [2, ""]);
    assertMatch(
      none.stderr,
      /^error: the test loss is NaN \(nan\.\S+ as resnet8\), because layer1\.0\.bn1\.weight contains NaN; evaluate other/m,
    );
    // eval may neither write nor use the network, so it cannot download a missing data set.
    const cifar = ["--weights", "a.safetensors", "--model", "resnet8", "--dataset", "cifar10"];
    const absent = await finish(start(dir, "eval", cifar, { XDG_CACHE_HOME: `${dir}/cache` }));
    assertEquals(absent.code, 2, absent.stderr);
    assertMatch(
      absent.stderr,
      /^error: cifar10 is not on this machine, and eval does not download it; give its/,
    );

    const other = ["--method", "dgl", "--run", "b", "--init", "a.safetensors"] as const;
    const started = await cli(
      dir,
      "train",
      ...SMALL.toSpliced(4, 2),
      "--train-limit",
      "64",
      "--epochs",
      "1",
      ...other,
    );
    assertEquals(started.code, 0, started.stderr);
    const { settings } = await readRun(`${dir}/b`, "last");
    assertEquals([settings["init"], settings["newHead"]], ["a.safetensors", false]);
    const more = await cli(dir, "train", "--run", "b", "--resume", "--epochs", "2");
    assertEquals(more.code, 0, more.stderr);
    assertMatch(
      more.stderr,
      /now decays over 2 epochs instead of 1: it is 0\.0125 in epoch 2, after 0\.025 in epoch 1; --schedule-epochs 1 keeps/,
    );
    assertEquals((await readRun(`${dir}/b`, "last")).settings["init"], "a.safetensors");

    await Deno.writeFile(
      `${dir}/cut.safetensors`,
      (await Deno.readFile(`${dir}/a.safetensors`)).subarray(0, 999),
    );
    await Deno.writeFile(`${dir}/model.pth`, Uint8Array.of(0x50, 0x4b, 3, 4));
    const cases: [RegExp, ...string[]][] = [
      [
        /has no layer1\.1\.conv1\.weight and \d+ more, which resnet20 needs/,
        "eval",
        ...file.with(3, "resnet20"),
      ],
      [/cut\.safetensors is not a complete safetensors file/, "eval", ...file.with(1, "cut.safetensors")],
      [/model\.pth is a PyTorch pickle/, "train", "--init", "model.pth"],
      [/there is no file none/, "train", "--init", "none"],
      [/model\.pth is a PyTorch pickle, not the folder of a run/, "report", "model.pth"],
      [/model\.pth is a PyTorch pickle, not the folder of a run/, "compare", "model.pth"],
      [/a\.onnx is an ONNX model, not the folder of a run/, "export", "--run", "a.onnx", "--out", "b.onnx"],
      [/a\.onnx is an ONNX model, not the folder of a run/, "train", "--run", "a.onnx", "--resume"],
      [/a\.safetensors is a safetensors file, not the folder of a run/, "eval", "--run", "a.safetensors"],
      [
        /has no layer1\.1.* resnet20 needs/,
        "train",
        "--init",
        "a.safetensors",
        "--model",
        "resnet20",
        "--run",
        "c",
      ],
      [/give either --run DIR or --weights FILE/, "eval", "--run", "a", "--weights", "a.safetensors"],
      [/--weights needs the network/, "eval", "--weights", "a.safetensors"],
      [/--model needs --weights/, "eval", "--run", "a", "--model", "resnet8"],
      [/--checkpoint needs --run/, "eval", ...file, "--checkpoint", "last"],
      [/--new-head needs --init/, "train", "--new-head"],
      [
        /--init starts a run, --resume continues/,
        "train",
        "--run",
        "b",
        "--resume",
        "--init",
        "a.safetensors",
      ],
      [
        /a\.safetensors is a safetensors file already/,
        "export",
        "--run",
        "a.safetensors",
        "--out",
        "b.safetensors",
      ],
      [
        /--checkpoint: a\.safetensors is a file/,
        "export",
        "--run",
        "a.safetensors",
        "--checkpoint",
        "last",
        "--out",
        "b.onnx",
      ],
      [/a\.safetensors already exists/, "export", "--run", "a", "--out", "a.safetensors"],
      [/there is nothing at c; give the folder of a run/, "export", "--run", "c", "--out", "c.safetensors"],
      [/export needs a file to write/, "export", "--run", "a"],
      [
        / a is the folder of a run, not a file of weights; its network is in a\/best\.safetensors/,
        "eval",
        "--weights",
        "a",
        "--model",
        "resnet8",
      ],
      [
        /none\/b\.safetensors cannot be written: the folder .* does not exist/,
        ...["export", "--run", "a", "--out", "none/b.safetensors"] as const,
      ],
      [
        /export writes \.safetensors and \.onnx, which a\.pth does not/,
        "export",
        "--run",
        "a",
        "--out",
        "a.pth",
      ],
      [/a\.onnx already exists/, "export", "--run", "a", "--out", "a.onnx"],
      [
        /--keep-batch-norm is for onnx/,
        ...["export", "--run", "a", "--out", "b.safetensors", "--keep-batch-norm"] as const,
      ],
      [
        /format safetensors must end in \.safetensors, not a\.pt$/m,
        ...["export", "--run", "a", "--out", "a.pt", "--format", "safetensors"] as const,
      ],
    ];
    for (const [message, command, ...args] of cases) await refused(dir, message, command, ...args);
  }));

Deno.test("memory prints the plan of a method next to the end-to-end one", () =>
  inFolder(async (dir) => {
    const flags = ["--model", "resnet20", "--modules", "3", "--batch", "64", "--method", "dgl"];
    const { endToEnd, method } = JSON.parse((await cli(dir, "memory", ...flags, "--json")).stdout);
    for (const { peakBytes, breakdown } of [endToEnd, method]) {
      const sum = Object.values(breakdown as Record<string, number>).reduce((a, b) => a + b);
      assertEquals(sum, peakBytes);
    }
    assertEquals(method.name, "dgl");
    assertEquals(method.modules.length, 3);
    for (const { name, peakBytes } of method.modules) {
      assert(name.includes("layer") && peakBytes > 0 && peakBytes < method.peakBytes);
    }
    const options = [
      "--model",
      "resnet8",
      "--modules",
      "2",
      "--fusion",
      "biasOnly",
      "--head",
      "cnn",
      "--json",
    ];
    const { stdout: json } = await cli(dir, "memory", ...options);
    assertEquals(JSON.parse(json).method.name, "man+dgl");
    const { code, stdout } = await cli(dir, "memory", ...flags);
    assertEquals(code, 0);
    assertMatch(stdout, /activations .*\n[^]*peak .*MiB/);
  }));

Deno.test("doctor lists every backend, and what to do about one that is missing", () =>
  inFolder(async (dir) => {
    const { code, stdout } = await cli(dir, "doctor", "--json");
    assertEquals(code, 0);
    const { backends, onednn, mpi, auto } = JSON.parse(stdout);
    assertEquals(backends.map(({ name }: { name: string }) => name).sort(), [
      "cpu",
      "cuda",
      "reference",
      "webgpu",
    ]);
    for (const backend of backends) {
      const told = backend.available ? [backend.description] : [backend.reason, backend.remedy];
      for (const text of told) assert(text.length > 5, JSON.stringify(backend));
    }
    const said = onednn.problem === undefined
      ? [onednn.version, onednn.path, onednn.instructions]
      : [onednn.problem, onednn.remedy];
    for (const text of said) assert(text.length > 3, JSON.stringify(onednn));
    const found = mpi.problem === undefined
      ? [mpi.implementation, mpi.version, mpi.abi, mpi.path]
      : [mpi.problem, mpi.remedy];
    for (const text of found) assert(text.length > 2, JSON.stringify(mpi));
    assert(
      backends.some(({ name, available }: { name: string; available: boolean }) =>
        available && name === auto.name
      ),
    );
  }));

Deno.test("the command line prints help", () =>
  inFolder(async (dir) => {
    assertMatch((await cli(dir, "help")).stdout, /deno task train/);
    const { code, stdout } = await cli(dir, "train", "--help");
    assertEquals(code, 0);
    assertEquals((await cli(dir, "train", "-h")).stdout, stdout);
    for (
      const flag of [
        "dataset",
        "data DIR",
        "modules K",
        "after",
        "train-limit N",
        "run DIR",
        "resume",
        "json",
      ]
    ) {
      assert(stdout.includes(`--${flag}`), flag);
    }
  }));
