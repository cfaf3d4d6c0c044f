/** Loading and exporting weights, compared with PyTorch; see fixtures/weights.py. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { valuesOf } from "../src/artifacts/network_values.ts";
import { LocalgradError } from "../src/base/errors.ts";
import * as local from "../src/local.ts";
import * as models from "../src/models.ts";
import { type Model, network } from "../src/models/model.ts";
import * as nn from "../src/nn.ts";
import { sgd } from "../src/optim/sgd.ts";
import type { NetworkVariables } from "../src/predict.ts";
import type { Device } from "../src/runtime/arrays.ts";
import { open } from "../src/runtime/devices.ts";
import { jit } from "../src/runtime/jit.ts";
import { sizeOf } from "../src/trace/dtype.ts";
import { HostArray } from "../src/trace/host_array.ts";
import type { Tensor } from "../src/trace/tensor.ts";
import { treeFlatten } from "../src/trace/tree.ts";
import {
  encodeSafetensors,
  loadWeights,
  readCheckpoint,
  saveWeights,
  writeCheckpoint,
} from "../src/train.ts";
import { units } from "./fixtures/formula.ts";
import { inFolder } from "./in_folder.ts";
import { distance, load, type Recorded, testOn } from "./parity/fixture.ts";

/** `Flat` of weights.py: a linear layer after flattened images. */
function flat(options?: nn.FlattenOptions): Model {
  return {
    name: "flat",
    input: { height: 12, width: 12, channels: 3 },
    classes: 5,
    stem: {
      conv1: nn.conv({ in: 3, out: 4, padding: 1, bias: true }),
      relu: nn.relu(),
      pool: nn.maxPooling({ window: 2 }),
    },
    blocks: [{ name: "conv2", layer: nn.conv({ in: 4, out: 6, strides: 2, padding: 1, bias: true }) }],
    head: {
      relu2: nn.relu(),
      flatten: nn.flatten(options),
      hidden: nn.linear({ in: 54, out: 8 }),
      relu3: nn.relu(),
      fc: nn.linear({ in: 8, out: 5 }),
    },
  };
}

/** `Enlarged` of weights.py: a transposed convolution and group norm. */
const enlarged: Model = {
  name: "enlarged",
  input: { height: 12, width: 12, channels: 3 },
  classes: 5,
  stem: {
    conv1: nn.conv({ in: 3, out: 8, strides: 2, padding: 1, bias: true }),
    norm: nn.groupNorm({ groups: 2, channels: 8 }),
    silu: nn.silu(),
  },
  blocks: [{
    name: "up",
    layer: nn.convTranspose({ in: 8, out: 6, strides: 2, padding: 1, outputPadding: 1, groups: 2 }),
  }],
  head: { silu2: nn.silu(), pool: nn.globalAveragePooling(), fc: nn.linear({ in: 6, out: 5 }) },
};

const networks: { readonly [name: string]: { readonly model: Model; readonly size: number } } = {
  resnet32: { model: models.resnet32({ classes: 10 }), size: 32 },
  resnet18: { model: models.resnet18({ classes: 1000 }), size: 64 },
  flat: { model: flat(), size: 12 },
  enlarged: { model: enlarged, size: 12 },
  mobilenetV2: { model: models.mobilenetV2({ classes: 10, size: 64 }), size: 64 },
  vitTiny: { model: models.vitTiny({ classes: 10, size: 32 }), size: 32 },
};
/** Those that take long or, on other backends, are tested elsewhere. */
const large = ["resnet18", "mobilenetV2", "vitTiny"];

/** Every parameter and statistic of a network by the formula, as in weights.py. */
function filled(model: Model): Map<string, HostArray> {
  const { params, state } = network(model);
  return new Map([params, state].flatMap((tree) => {
    const { leaves, paths } = treeFlatten(tree as never) as {
      leaves: { shape: readonly number[] }[];
      paths: readonly string[];
    };
    return leaves.map(({ shape }, i): [string, HostArray] => {
      const data = units(paths[i], sizeOf(shape), ...scaleOf(paths[i], shape));
      return [paths[i], new HostArray(data, shape)];
    });
  }));
}

function scaleOf(name: string, shape: readonly number[]): [scale: number, offset: number] {
  if (shape.length === 4) return [Math.sqrt(6 / (shape[1] * shape[2] * (shape[3] > 1 ? shape[0] : 1))), 0];
  if (name.endsWith("running_var")) return [0.5, 1];
  if (shape.length === 1) return [0.2, name.endsWith(".weight") ? 1 : 0];
  return [1 / Math.sqrt(shape[1]), 0];
}

/** The logits of the formula's images, in evaluation, by a network loaded from a file. */
async function logitsOf(device: Device, name: string, path: string): Promise<Float32Array> {
  const { model, size } = networks[name];
  using trainer = await local.trainer({
    device,
    model,
    method: local.endToEnd(),
    optimizer: sgd(),
    batch: 2,
  });
  trainer.load(await loadWeights(path));
  const shape = [2, size, size, 3];
  const images = new HostArray(units("weights.images", sizeOf(shape)), shape);
  const net = network(model);
  const evaluate = jit(
    ({ params, state }: NetworkVariables<Tensor>, x: Tensor) => net.apply(params, state, x, "evaluate").y,
    { device, name: `${name} evaluated` },
  );
  using logits = evaluate(trainer.network(), images);
  const values = await logits.read("f32");
  evaluate.dispose();
  return values;
}

async function python(...args: string[]): Promise<string> {
  const script = fromFileUrl(new URL("fixtures/weights.py", import.meta.url));
  const { code, stdout, stderr } = await new Deno.Command("python3", { args: ["-B", script, ...args] })
    .output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Tests whether python3 has PyTorch and safetensors, and prints a note if not. */
async function hasPyTorch(): Promise<boolean> {
  const command = new Deno.Command("python3", {
    args: ["-c", "import numpy, safetensors.torch, torchvision"],
    stderr: "null",
  });
  const there = await command.output().then(({ success }) => success, () => false);
  if (!there) {
    console.error(
      "SKIPPED: exchanging weights with PyTorch: python3 lacks torch, torchvision, numpy or safetensors",
    );
  }
  return there;
}

for (const [name, { model }] of Object.entries(networks)) {
  await testOn(
    ["reference", "cpu", "webgpu"].filter((backend) => !large.includes(name) || backend === "cpu"),
    (backend) => `${name} saved and loaded on ${backend} gives PyTorch's logits`,
    (device) =>
      inFolder(async (dir) => {
        const path = `${dir}/model.safetensors`;
        await saveWeights(path, { tensors: filled(model), step: 7 });
        const recorded = load<{ [name: string]: Recorded }>("weights")[name];
        const error = distance(await logitsOf(device, name, path), recorded);
        assert(error < 1e-4, `off by ${error} of the norm`);
      }),
  );
}

const pytorch = await hasPyTorch();
for (const [name, { model }] of Object.entries(networks)) {
  await testOn(
    pytorch ? ["cpu"] : [],
    (backend) => `${name} goes to PyTorch and back, on ${backend}`,
    (device) =>
      inFolder(async (dir) => {
        const tensors = filled(model);
        await saveWeights(`${dir}/ours.safetensors`, { tensors, step: 7 });
        const { logits: theirs } = JSON.parse(await python("read", name, `${dir}/ours.safetensors`));
        await python("write", name, `${dir}/theirs.safetensors`);
        const back = await loadWeights(`${dir}/theirs.safetensors`);
        assertEquals(back.notes, []);
        assertEquals(new Map([...back.tensors].sort()), new Map([...tensors].sort()));
        const ours = await logitsOf(device, name, `${dir}/theirs.safetensors`);
        const scale = Math.max(...theirs.map(Math.abs));
        ours.forEach((logit, i) =>
          assert(Math.abs(logit - theirs[i]) < 1e-4 * scale, `${i}: ${logit}, not ${theirs[i]}`)
        );
      }),
  );
}

const averages: { readonly [kind: string]: local.ManOptions } = {
  frozen: {},
  trained: { average: "trained", statistics: "average" },
};
for (const [kind, options] of Object.entries(averages)) {
  await testOn(
    ["cpu"],
    () =>
      `Trainer.load() fills the network, copies it into ${kind} averages, and leaves heads, slots and step`,
    async (device) => {
      const model = models.resnet8({ classes: 10 });
      using trainer = await local.trainer({
        device,
        model,
        modules: 3,
        method: local.man(local.dgl(), options),
        optimizer: sgd({ momentum: 0.9 }),
        batch: 2,
      });
      const before = await trainer.snapshot();
      const values = filled(model);
      trainer.load({ name: "formula", tensors: values });
      const after = await trainer.snapshot();
      for (const [name, array] of after.tensors) {
        const average = /^local\.(\d)\.ema\.(.*)$/.exec(name);
        const source = average === null ? name : `layer${Number(average[1]) + 2}.0.${average[2]}`;
        assertEquals(array, values.get(source) ?? before.tensors.get(name), name);
      }
      assertEquals(after.step, 0);

      const other = models.resnet8({ classes: 7 });
      assertThrows(
        () => valuesOf(other, { name: "f", tensors: values }),
        LocalgradError,
        "f is for 10 classes",
      );
      trainer.load({ name: "f", tensors: filled(other) }, { newHead: true });
      assertEquals((await trainer.snapshot()).tensors.get("fc.weight"), values.get("fc.weight"));
    },
  );
}

Deno.test("a checkpoint of an earlier version is refused by a network that flattens images in another order", async () => {
  await using device = await open("cpu");
  const trainerOf = (model: Model) =>
    local.trainer({ device, model, method: local.endToEnd(), optimizer: sgd(), batch: 2 });
  using now = await trainerOf(flat());
  const path = await Deno.makeTempFile({ suffix: ".safetensors" });
  await writeCheckpoint(path, { snapshot: { ...await now.snapshot(), format: 1 }, settings: {} });
  const [{ snapshot }, weights] = [await readCheckpoint(path), await loadWeights(path)];
  const remedy = 'make the network with nn.flatten({ order: "channelsLast" })';
  assertThrows(() => now.restore(snapshot), LocalgradError, remedy);
  assertThrows(() => now.load(weights), LocalgradError, remedy);
  using before = await trainerOf(flat({ order: "channelsLast" }));
  before.restore(snapshot);
  before.load(weights);
  await writeCheckpoint(path, { snapshot: await now.snapshot(), settings: {} });
  now.restore((await readCheckpoint(path)).snapshot);
  await Deno.remove(path);
});

Deno.test("valuesOf() reports tensors that do not fit the network, in the file's layout", () => {
  const model = models.resnet8({ classes: 10 });
  const refuses = (message: string, change: (tensors: Map<string, HostArray>) => void) => {
    const tensors = filled(model);
    change(tensors);
    assertThrows(() => valuesOf(model, { name: "f", tensors }), LocalgradError, message);
  };
  refuses("f has no bn1.running_mean, which resnet8 needs", (t) => t.delete("bn1.running_mean"));
  refuses("f has no fc.weight and 1 more, which", (t) => {
    t.delete("fc.weight");
    t.delete("fc.bias");
  });
  refuses("conv1.weight is f32[16,3,7,7], but resnet8 has f32[16,3,3,3]", (t) => {
    t.set("conv1.weight", new HostArray(new Float32Array(16 * 49 * 3), [16, 7, 7, 3]));
  });
  refuses("fc.weight is f32[10,32], but resnet8 has f32[10,64]", (t) => {
    t.set("fc.weight", new HostArray(new Float32Array(320), [10, 32]));
  });
  refuses("f: fc.bias is i32; resnet8 needs it as f32", (t) => {
    t.set("fc.bias", new HostArray(new Int32Array(10), [10]));
  });
  refuses("f has layer1.1.conv1.weight, which resnet8 has no place for", (t) => {
    t.set("layer1.1.conv1.weight", new HostArray(new Float32Array(1), [1]));
  });
});

Deno.test("loadWeights() takes only the network from a checkpoint, and refuses pickles and missing files", () =>
  inFolder(async (dir) => {
    const path = `${dir}/f.safetensors`;
    const one = new HostArray(Float32Array.of(1), [1]);
    const tensors = new Map([["fc.bias", one], ["local.0.fc.bias", one], [
      "optimizer.momentum.fc.bias",
      one,
    ]]);
    await saveWeights(path, { tensors, step: 3 });
    assertEquals([...(await loadWeights(path)).tensors.keys()], ["fc.bias"]);
    await writeCheckpoint(path, { snapshot: { step: 3, tensors, configuration: {} }, settings: {} });
    assertEquals([...(await loadWeights(path)).tensors.keys()], ["fc.bias"]);
    const whole = await Deno.readFile(path);
    for (let at = whole.length - 12; at < whole.length; at++) {
      await Deno.writeFile(path, whole.with(at, whole[at] ^ 0x40)); // a bit of any tensor, of the network or not
      await assertRejects(() => loadWeights(path), LocalgradError, "does not match its checksum");
    }
    await Deno.writeFile(path, encodeSafetensors({ tensors, metadata: {} }));
    assertEquals((await loadWeights(path)).tensors.size, 3); // foreign names keep their meaning
    await assertRejects(() => loadWeights(`${dir}/none`), LocalgradError, "there is no file");
    await assertRejects(
      () => saveWeights(path, { tensors: new Map(), step: 0 }),
      LocalgradError,
      "no tensor",
    );
    await assertRejects(
      () => saveWeights(`${dir}/f.pth`, { tensors, step: 3 }),
      LocalgradError,
      "must end in .safetensors, not",
    );
    for (const head of [[0x50, 0x4b, 0x03, 0x04, 20], [0x80, 0x02, 0x8a, 0x0a, 0x6c]]) {
      await Deno.writeFile(path, Uint8Array.from(head));
      await assertRejects(
        () => loadWeights(path),
        LocalgradError,
        "is a PyTorch pickle, not a safetensors file; that can run code",
      );
    }
    const half = { dtype: "F16", shape: [2], data_offsets: [0, 4] };
    const text = new TextEncoder().encode(JSON.stringify({ "fc.bias": half }));
    await Deno.writeFile(path, Uint8Array.of(text.length, 0, 0, 0, 0, 0, 0, 0, ...text, 0, 0x3c, 0, 0x40));
    const { tensors: read, notes } = await loadWeights(path);
    assertEquals(read.get("fc.bias"), new HostArray(Float32Array.of(1, 2)));
    assertEquals(notes, [`${path}: tensors of type F16 were converted to f32`]);
    const counted = new Map([["steps", new HostArray(Int32Array.of(7), [])]]);
    const types = new Map([["steps", "I64"]]);
    await Deno.writeFile(path, encodeSafetensors({ tensors: counted, metadata: {}, types }));
    assertEquals((await loadWeights(path)).notes, [`${path}: tensors of type I64 were converted to i32`]);
  }));

Deno.test("loadWeights() removes the prefixes of wrappers, and says so", () =>
  inFolder(async (dir) => {
    const path = `${dir}/f.safetensors`;
    const one = new HostArray(Float32Array.of(1), [1]);
    const cases: [string, string[], string[]][] = [
      ["module.", ["module.fc.bias", "module.bn1.num_batches_tracked"], ["fc.bias"]],
      ["module._orig_mod.", ["module._orig_mod.fc.bias", "module._orig_mod.fc.weight"], [
        "fc.bias",
        "fc.weight",
      ]],
      ["model.", ["model.fc.bias"], ["fc.bias"]],
      ["", ["model.fc.bias", "loss.weight"], ["model.fc.bias", "loss.weight"]],
      ["", ["models.fc.bias"], ["models.fc.bias"]],
    ];
    for (const [prefix, names, plain] of cases) {
      const tensors = new Map(names.map((name) => [name, one]));
      await Deno.writeFile(path, encodeSafetensors({ tensors, metadata: {} }));
      const weights = await loadWeights(path);
      assertEquals([...weights.tensors.keys()], plain);
      assertEquals(
        weights.notes,
        prefix === "" ? [] : [`${path}: the prefix ${prefix} of all names was removed`],
      );
    }
  }));

Deno.test("loadWeights() reads files by their index, and refuses an index that does not fit them or leaves their folder", () =>
  inFolder(async (dir) => {
    const index = `${dir}/model.safetensors.index.json`;
    const write = async (weight_map: unknown) =>
      await Deno.writeTextFile(index, JSON.stringify({ weight_map }));
    for (const [i, name] of ["fc.bias", "fc.weight"].entries()) {
      const tensors = new Map([[name, new HostArray(Float32Array.of(i), [1])]]);
      await Deno.writeFile(`${dir}/${i}.safetensors`, encodeSafetensors({ tensors, metadata: {} }));
    }
    await write({ "fc.bias": "0.safetensors", "fc.weight": "1.safetensors" });
    const { tensors } = await loadWeights(index);
    assertEquals([...tensors].map(([name, { data }]) => [name, data[0]]), [["fc.bias", 0], ["fc.weight", 1]]);
    const cases: [string, unknown][] = [
      ['0.safetensors has no "fc.weight", which', { "fc.weight": "0.safetensors" }],
      ["there is no file", { "fc.weight": "2.safetensors" }],
      ["which is not a safetensors file beside it", { "fc.weight": "../0.safetensors" }],
      ["which is not a safetensors file beside it", { "fc.weight": "/etc/passwd" }],
      ["weight_map.fc.weight is 3, not text", { "fc.weight": 3 }],
      ["weight_map is null, not an object", null],
    ];
    for (const [message, map] of cases) {
      await write(map);
      await assertRejects(() => loadWeights(index), LocalgradError, message);
    }
  }));

Deno.test("valuesOf() accepts unsupported types unless the network needs those tensors", () => {
  const model = models.resnet8({ classes: 10 });
  const values = { name: "f", tensors: filled(model), skipped: new Map([["extra", "BOOL"]]) };
  assertEquals(valuesOf(model, values).size, values.tensors.size);
  values.tensors.delete("fc.bias");
  values.skipped.set("fc.bias", "F8_E4M3");
  assertThrows(
    () => valuesOf(model, values),
    LocalgradError,
    "f: fc.bias is F8_E4M3, which localgrad does not read",
  );
});
