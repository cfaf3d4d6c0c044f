import { assert, assertEquals, assertThrows } from "@std/assert";
import { tinyDataset, tinyModel } from "../../tests/tiny.ts";
import { namedLeaves } from "../artifacts/network_values.ts";
import { LocalgradError } from "../base/errors.ts";
import { key } from "../base/random.ts";
import { type Model, network } from "../models/model.ts";
import { constantInitial } from "../nn/initial.ts";
import { layer, stateless } from "../nn/layer.ts";
import { allReduce, broadcastFrom, receive, send } from "../trace/collectives.ts";
import { HostArray } from "../trace/host_array.ts";
import type { CollectiveOp } from "../trace/ops.ts";
import { uniform } from "../trace/random.ts";
import { constantLike, type Tensor } from "../trace/tensor.ts";
import { fixed, symbolic } from "./dim.ts";
import { exportOnnx, type OnnxOptions } from "./onnx.ts";

const drawn = (model: Model) => {
  const { params, state } = network(model).init(key(1));
  return { tensors: new Map([...namedLeaves(params), ...namedLeaves(state)]) };
};

/** A network of one's own: a function before the head. */
const own = (f: (x: Tensor) => Tensor): Model => ({
  ...tinyModel(),
  stem: { own: stateless(f) },
  blocks: [],
  head: {},
});

Deno.test("numbers recorded for several batches are fixed, grow with the batch, or are refused", () => {
  const sizes = [2, 3, 5];
  assertEquals(symbolic([[8, 4], [12, 4], [20, 4]], sizes), [{ perImage: 4, fixed: 0 }, 4]);
  assertEquals(symbolic([{ a: 3, fn: "add" }, { a: 4, fn: "add" }, { a: 6, fn: "add" }], sizes), {
    a: { perImage: 1, fixed: 1 },
    fn: "add",
  });
  assertEquals(symbolic([4, 9, 25], sizes), undefined);
  assertEquals(symbolic([["a"], ["b"], ["a"]], sizes), undefined);
  assertEquals(symbolic([[1], [1, 1], [1, 1]], sizes), undefined);
  assertEquals(symbolic([NaN, NaN, NaN], sizes), NaN);
  assertThrows(
    () => fixed("a slice", { starts: [{ perImage: 1, fixed: 0 }] }),
    LocalgradError,
    "a slice depends on",
  );
});

Deno.test("exportOnnx() takes a snapshot's network, and refuses what is not of it", () => {
  const model = tinyModel();
  const { tensors } = drawn(model);
  const bytes = exportOnnx(model, { tensors });
  assertEquals(exportOnnx(model, network(model).init(key(1))), bytes);
  const broken = { params: { a: 3 }, state: {} } as unknown as { tensors: typeof tensors };
  assertThrows(() => exportOnnx(model, broken), LocalgradError, "a is 3; pass arrays on the host");
  const more = new Map([...tensors, ["optimizer.momentum.fc.bias", new HostArray(new Float32Array(3))]]);
  assertEquals(exportOnnx(model, { tensors: more }), bytes);
  assertEquals(new TextDecoder().decode(bytes).includes("class_names"), false);
  const named = new TextDecoder().decode(exportOnnx(model, { tensors, signature: tinyDataset(1, 1) }));
  assert(named.includes('class_names\x12\x16["red","green","blue"]'));
  tensors.delete("fc.bias");
  assertThrows(() => exportOnnx(model, { tensors }), LocalgradError, "the weights has no fc.bias");
});

Deno.test("exportOnnx() refuses impossible options, and networks that ONNX cannot compute for any batch", () => {
  const plain = own((x) => x);
  const cases: [Model, unknown, string][] = [
    [plain, { layout: "nchw" }, 'layout is NCHW or NHWC, not "nchw"'],
    [plain, { batch: 0 }, "batch must be a whole number"],
    [plain, { fold: false }, 'has no option "fold"'],
    [plain, { signature: { ...tinyDataset(1, 1), height: 9 } }, "takes images of 8×8×3"],
    [
      own((x) => x.add(uniform(x.slice([0, 0, 0, 0], [1, 1, 1, 2]).reshape(2).cast("u32"), x.shape))),
      {},
      "randomBits in own",
    ],
    [own((x) => x.mean(0)), {}, "constant in own is not the same computation for every number of images"],
    [own((x) => x.shape[0] === 2 ? x : x.neg()), {}, "is not the same computation"],
  ];
  for (const [model, options, message] of cases) {
    assertThrows(
      () => exportOnnx(model, { tensors: new Map() }, options as OnnxOptions),
      LocalgradError,
      message,
    );
  }
  for (const f of [(x: Tensor) => x.mean(0), (x: Tensor) => x.shape[0] === 2 ? x : x.neg()]) {
    assert(exportOnnx(own(f), { tensors: new Map() }, { batch: 3 }).length > 0);
  }
});

Deno.test("exportOnnx() refuses every exchange with other processes, whether or not its result is read", () => {
  const group = "pair";
  const exchanges: { readonly [N in CollectiveOp]: (x: Tensor) => unknown } = {
    allReduce: (x) => allReduce(x, { group }),
    broadcastFrom: (x) => broadcastFrom(x, { group, root: 0 }),
    send: (x) => send(x, { group, to: 1 }),
    receive: () => receive({ shape: [3], dtype: "f32" }, { group, from: 1 }),
  };
  for (const [op, exchange] of Object.entries(exchanges)) {
    const model = own((x) => (exchange(x), x));
    assertThrows(
      () => exportOnnx(model, { tensors: new Map() }),
      LocalgradError,
      `${op} in own cannot be exported: it exchanges data with other processes`,
    );
  }
  // Nor is one of constants computed while the file is made.
  const read = own((x) => x.add(allReduce(constantLike(1, x), { group })));
  assertThrows(
    () => exportOnnx(read, { tensors: new Map() }),
    LocalgradError,
    "allReduce in own cannot be exported",
  );
});

Deno.test("exportOnnx() refuses more than a protocol buffer can contain", () => {
  const shape = [1 << 24];
  const params = Object.fromEntries(
    Array.from({ length: 33 }, (_, i) => [`p${i}`, constantInitial(0, shape)]),
  );
  const model = {
    ...own((x) => x),
    head: { large: layer({ params, apply: (_, state, y) => ({ y, state }) }) },
  };
  const array = new HostArray(new Float32Array(1 << 24)); // one for all, to take 64 MiB and not 2 GiB
  const tensors = new Map(Object.keys(params).map((name) => [`large.${name}`, array]));
  assertThrows(
    () => exportOnnx(model, { tensors }),
    LocalgradError,
    "take 2.1 GiB, and an ONNX file has at most 2 GiB",
  );
});
