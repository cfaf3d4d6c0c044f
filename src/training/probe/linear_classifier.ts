import { valueAndGrad } from "../../autograd/grad.ts";
import { foldIn, key, permutation } from "../../base/random.ts";
import { correctCount, crossEntropy } from "../../local/losses.ts";
import { linear } from "../../nn/linear.ts";
import type { Named } from "../../nn/named.ts";
import { adamw } from "../../optim/adamw.ts";
import { type Scalars, type Slots, zeroSlots } from "../../optim/optimizer.ts";
import { type Device, disposeTree } from "../../runtime/arrays.ts";
import { jit } from "../../runtime/jit.ts";
import { HostArray } from "../../trace/host_array.ts";
import type { Operand, Tensor } from "../../trace/tensor.ts";
import { breathe } from "../evaluate.ts";
import type { Features } from "./features.ts";

/** Options of {@link trainClassifier}. */
export interface ClassifierOptions {
  readonly epochs: number;
  /** Features per step. */
  readonly batch: number;
  /** AdamW's learning rate at the start; it falls to 0 along a cosine. */
  readonly learningRate: number;
  readonly seed: number;
  readonly signal: AbortSignal | undefined;
}

/** Trains a linear classifier on features of `channels` channels and returns its accuracy on both parts. */
export async function trainClassifier(
  device: Device,
  { train, test, channels, classes }: {
    readonly train: Features;
    readonly test: Features;
    readonly channels: number;
    readonly classes: number;
  },
  { epochs, batch, learningRate, seed, signal }: ClassifierOptions,
): Promise<{ trainAccuracy: number; testAccuracy: number }> {
  const optimizer = adamw({ weightDecay: 0 });
  const layer = linear({ in: channels, out: classes });
  const logits = (params: Named<Tensor>, x: Tensor) => layer.apply(params, {}, x, "train").y;
  const step = jit((
    { params, slots }: { params: Named<Tensor>; slots: Slots<Tensor> },
    { values, labels }: { values: Tensor; labels: Tensor },
    indices: Tensor,
    scalars: Scalars<Operand>,
  ) => {
    const [, gradients] = valueAndGrad((params: Named<Tensor>) =>
      crossEntropy(logits(params, values.gather(indices)), labels.gather(indices))
    )(params);
    return optimizer.update(params, gradients, slots, scalars);
  }, { device, name: "linear probe", donate: [0] });
  const count = jit(
    (params: Named<Tensor>, { values, labels }: { values: Tensor; labels: Tensor }) =>
      correctCount(logits(params, values), labels),
    { device, name: "linear probe evaluation" },
  );
  const host = ({ values, labels, count }: Features) => ({
    values: new HostArray(values, [count, channels]),
    labels: new HostArray(labels),
  });
  const { params } = layer.init(key(seed));
  const initial = { params, slots: zeroSlots(optimizer, params) };
  const { start, ...data } = device.put({ start: initial, train: host(train), test: host(test) });
  let state = start;
  try {
    const size = Math.min(batch, train.count);
    const steps = Math.floor(train.count / size);
    for (let epoch = 0, done = 0; epoch < epochs; epoch++) {
      const order = permutation(foldIn(key(seed), epoch), train.count);
      for (let i = 0; i < steps; i++, done++) {
        const rate = learningRate * (1 + Math.cos(Math.PI * done / (steps * epochs))) / 2;
        const indices = order.slice(i * size, (i + 1) * size);
        state = step(state, data.train, indices, optimizer.scalars(done, rate));
      }
      signal?.throwIfAborted();
      await device.finish();
      await breathe();
    }
    const accuracy = async (part: typeof data.train, images: number) => {
      using correct = count(state.params, part);
      const [right = NaN] = await correct.read();
      return right / images;
    };
    return {
      trainAccuracy: await accuracy(data.train, train.count),
      testAccuracy: await accuracy(data.test, test.count),
    };
  } finally {
    disposeTree(state);
    disposeTree(data);
    step.dispose();
    count.dispose();
  }
}
