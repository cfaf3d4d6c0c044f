/** Steps that overlap, on the simulated device: the same bits in whatever order the branches of a graph run. */
import { assert, assertEquals } from "@std/assert";
import { dgl, man, trainer } from "../../src/local.ts";
import { publishedSgd } from "../../src/optim/published.ts";
import { constant } from "../../src/optim/schedules.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { skips } from "../gate.ts";
import { tinyDataset, tinyModel } from "../tiny.ts";
import { fail, hurry, openSimulated, report } from "./simulated.ts";

const ignore = await skips("cuda-simulated", () => openSimulated());

/** The orders of two branches: the second as late as possible, the second first, the first first, in turns. */
const orders = [undefined, 1, 0, "turns"] as const;

/** A folder for kernels, which all devices of these tests share. */
const cubins = ignore ? false : await Deno.makeTempDir();
addEventListener("unload", () => cubins !== false && Deno.removeSync(cubins, { recursive: true }));

async function on<R>(
  { overlap, order }: { readonly overlap: boolean; readonly order?: (typeof orders)[number] },
  body: (device: Device) => Promise<R>,
): Promise<R> {
  hurry(order);
  try {
    const opened = await openSimulated({ precision: "f32", overlap, cubins });
    if (!("backend" in opened)) throw new Error(opened.reason);
    const device = new Device(opened.backend);
    try {
      return await body(device);
    } finally {
      await device.close();
    }
  } finally {
    hurry(undefined);
  }
}

/** The losses of some steps of local learning, and the parameters after them. */
async function train(device: Device): Promise<number[]> {
  using t = await trainer({
    device,
    model: tinyModel(),
    modules: 2,
    method: man(dgl()),
    optimizer: sgd(publishedSgd),
    schedule: constant(0.01),
    batch: 16,
  });
  const losses: number[] = [];
  await t.fit(tinyDataset(16 * 4, 16), {
    epochs: 1,
    observers: [{ step: (record) => void losses.push(...record.losses) }],
  });
  const { tensors } = await t.snapshot();
  return [...losses, ...[...tensors.values()].flatMap(({ data }) => [...data])];
}

Deno.test({
  name: "cuda, simulated: steps that overlap give the bits of steps in order, whichever branch is first",
  ignore,
  fn: async () => {
    const wanted = await on({ overlap: false }, train);
    for (const order of orders) {
      assertEquals(await on({ overlap: true, order }, train), wanted, `${order}`);
      assertEquals(report(), "");
    }
  },
});

/** Two chains of products from one, and the product of both: waits for the fork, between the branches, and for the join. */
async function chains(device: Device, before: () => void = () => {}): Promise<number[]> {
  const f = jit((x: Tensor) => {
    const start = x.matmul(x);
    const one = start.matmul(x).matmul(x), other = x.matmul(start).matmul(start);
    return one.matmul(other);
  }, { device });
  const array = (start: number) =>
    device.array(Float32Array.from({ length: 64 }, (_, i) => Math.sin(start + i)), [8, 8]);
  using other = array(100);
  using x = array(0);
  f(other).dispose(); // leaves other values in the arena
  before();
  using result = f(x); // captured
  const values = [...await result.read()];
  f.dispose();
  return values;
}

Deno.test({
  name: "cuda, simulated: a missing wait between branches is detected",
  ignore,
  fn: async () => {
    const wanted = await on({ overlap: true }, (device) => chains(device));
    let detected = 0;
    for (const order of orders) {
      for (const wait of [2, 3]) {
        const got = await on(
          { overlap: true, order },
          (device) => chains(device, () => fail("branch-wait", wait)),
        );
        if (JSON.stringify(got) !== JSON.stringify(wanted)) detected++;
        report();
      }
    }
    assert(detected >= 2, `${detected} detected`);
  },
});

Deno.test({
  name: "cuda, simulated: nothing of a second branch is left where a capture fails",
  ignore,
  fn: async () => {
    for (const what of ["capture", "end-capture", "instantiate"]) {
      await on({ overlap: true }, async (device) => {
        let message = "";
        try {
          await chains(device, () => fail(what, 1));
        } catch (error) {
          message = (error as Error).message;
        }
        assert(message.includes("--no-graph"), message);
      });
      assertEquals(report(), "");
    }
  },
});
