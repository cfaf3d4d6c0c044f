import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { skips } from "../../../tests/gate.ts";
import { openWebgpu } from "../../backends/webgpu/backend.ts";
import { LocalgradError } from "../../base/errors.ts";
import { bits, key, split, uniform } from "../../base/random.ts";
import type { Device } from "../../runtime/arrays.ts";
import { open } from "../../runtime/devices.ts";
import { jit } from "../../runtime/jit.ts";
import { literal } from "../../trace/functions.ts";
import { HostArray } from "../../trace/host_array.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { mixingOf, readPixels } from "../augment.ts";
import { type Augmentation, type Augmented, checkAugmentation } from "./augmentation.ts";
import { betaQuantiles } from "./beta.ts";
import { brighten, contrast, factorOf } from "./colour.ts";
import { erased } from "./erase.ts";
import { jitterColours } from "./jitter.ts";
import { applyOps, LONGEST_MOVED, OPS } from "./rand_augment.ts";

const EXTENTS = { height: 12, width: 20 };
const SHAPE = [EXTENTS.height, EXTENTS.width, 3] as const;
const SIZE = 12 * 20 * 3;
const plain: Augmentation = { border: 0, fill: "zero", flip: false };
const everything: Augmentation = {
  border: 2,
  fill: "reflect",
  flip: true,
  randAugment: {},
  colourJitter: { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 },
  erase: {},
  mix: { mixup: 0.4, cutmix: 1 },
};

/** Images of random bytes. */
const bytesOf = (count: number) => new Uint8Array(bits(key(3), count * SIZE / 4).buffer);

/** The pixels of a batch of the first `count` images, augmented by the key of each seed. */
async function pixels(
  device: Device,
  count: number,
  augmentation: Augmentation,
  seeds: number | readonly number[],
  rows?: { from: number; to: number },
): Promise<number[]> {
  const read = jit(
    (bytes: Tensor, indices: Tensor, k: Tensor) =>
      readPixels([{ first: 0, bytes }], indices, k, augmentation, rows, [10, 20, 30]),
    { device },
  );
  using shard = device.array(bytesOf(count), [count, ...SHAPE]);
  const all: number[] = [];
  for (const seed of [seeds].flat()) {
    using result = read(shard, Uint32Array.from({ length: count }, (_, i) => i), key(seed));
    all.push(...await result.read());
  }
  return all;
}

const noWebgpu = await skips("webgpu", openWebgpu);

for (
  const [name, ignore, start] of [
    ["cpu", false, () => open("cpu", { engine: "wasm" })],
    ["webgpu", noWebgpu, () => open("webgpu")],
  ] as const
) {
  Deno.test(
    `an augmentation of every kind gives the same bits on ${name} as on the reference`,
    { ignore },
    async () => {
      await using device = await start();
      await using reference = await open("reference");
      const seeds = [1, 4]; // the one is mixed up, the other cut
      assertEquals(await pixels(device, 4, everything, seeds), await pixels(reference, 4, everything, seeds));
    },
  );
}

Deno.test("images of a share are augmented and mixed as in the whole batch", async () => {
  await using device = await open("cpu");
  const whole = await pixels(device, 7, everything, 5);
  for (const [from, to] of [[0, 3], [3, 4], [4, 7]] as const) {
    assertEquals(await pixels(device, 7, everything, 5, { from, to }), whole.slice(from * SIZE, to * SIZE));
  }
});

Deno.test("crops and flips are the same whatever else an augmentation does", async () => {
  await using device = await open("cpu");
  const cropped = { border: 2, fill: "zero", flip: true } as const;
  const erasing = await pixels(device, 20, { ...cropped, erase: { probability: 1 } }, 6);
  const without = await pixels(device, 20, cropped, 6);
  const painted = erasing.filter((value, i) => value !== without[i]);
  assert(painted.length > 0 && painted.every((value) => value === 10 || value === 20 || value === 30));
});

Deno.test("erasing takes a box of the given area and ratio from a share of the images, anywhere", async () => {
  await using device = await open("cpu");
  const batch = 400;
  const boxes = jit((k: Tensor) => erased(k, batch, EXTENTS, {}).cast("f32"), { device });
  using result = boxes(key(2));
  const mask = await result.read();
  const [areas, tops] = [[] as number[], new Set<number>()];
  for (let image = 0; image < batch; image++) {
    const hit = Array.from(
      mask.subarray(image * 240, (image + 1) * 240),
      (value, at) => value === 1 ? at : -1,
    )
      .filter((at) => at >= 0);
    if (hit.length === 0) continue;
    const [rows, columns] = [hit.map((at) => Math.floor(at / 20)), hit.map((at) => at % 20)];
    const [top, left] = [Math.min(...rows), Math.min(...columns)];
    const [height, width] = [Math.max(...rows) - top + 1, Math.max(...columns) - left + 1];
    assertEquals(hit.length, height * width);
    assert(height < 12 && width < 20);
    areas.push(hit.length / 240);
    tops.add(top);
  }
  assertAlmostEquals(areas.length / batch, 0.5, 0.08); // three standard errors
  assertAlmostEquals(areas.reduce((a, b) => a + b) / areas.length, 0.17, 0.03);
  assert(Math.min(...areas) < 0.05 && Math.max(...areas) > 0.29 && tops.has(0) && tops.size > 8);
});

Deno.test("colour jitter draws a factor for each image, and the order of the changes", async () => {
  await using device = await open("cpu");
  const batch = 24;
  const bytes = Int32Array.from(bytesOf(batch));
  const run = (change: (x: Tensor, k: Tensor) => Tensor) => {
    const f = jit(change, { device });
    using x = device.array(bytes, [batch, ...SHAPE]);
    using result = f(x, key(8));
    return result.read();
  };
  const got = await run((x, k) => jitterColours(x, k, { brightness: 0.5, contrast: 0.25 }));
  const [, brightness, contrasts] = split(key(8), 3);
  const factors = (k: Uint32Array, by: number) => {
    const [low, high] = [factorOf(1 - by), factorOf(1 + by)];
    return [...uniform(k, batch)].map((u) => low + Math.floor(Math.fround(u * (high - low + 1))));
  };
  const draws = [factors(brightness!, 0.5), factors(contrasts!, 0.25)] as const;
  assert(Math.min(...draws[0]) < 2700 && Math.max(...draws[0]) > 5500);
  const [one, other] = await Promise.all([0, 1].map((first) =>
    run((x) => {
      const [b, c] = draws.map((draw) => literal(draw, [batch, 1, 1, 1], "i32"));
      return first === 0 ? contrast(brighten(x, b!), c!) : brighten(contrast(x, c!), b!);
    })
  ));
  const orders = Array.from({ length: batch }, (_, image) => {
    const part = (values: ArrayLike<number>) =>
      String(Array.from(values).slice(image * SIZE, (image + 1) * SIZE));
    assert([part(one!), part(other!)].includes(part(got)), `image ${image}`);
    return part(got) === part(one!);
  });
  assert(orders.includes(true) && orders.includes(false));
});

Deno.test("the quantiles of Beta(α, α) have its mean and variance", () => {
  for (const alpha of [0.2, 0.5, 1, 2, 8]) {
    const quantiles = betaQuantiles(alpha, 1024);
    const mean = quantiles.reduce((sum, x) => sum + x, 0) / 1024;
    const variance = quantiles.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 1024;
    assertEquals(quantiles.length, 1024);
    assertAlmostEquals(mean, 0.5, 1e-3);
    assertAlmostEquals(variance, 1 / (4 * (2 * alpha + 1)), 1e-3);
  }
  // Near an end the distribution function is (x^α · (1 + x · (1 − α) · α / (1 + α))) / (α · B(α, α)).
  for (const [alpha, beta] of [[0.1, 19.714639489], [0.2, 9.501499846], [0.01, 199.967107]] as const) {
    for (const i of [0, 100, 200, 300]) {
      const first = ((i + 0.5) / 1024 * alpha * beta) ** (1 / alpha);
      const want = first * (1 - first * (1 - alpha) / (1 + alpha));
      if (want < 1e-3) assertAlmostEquals(betaQuantiles(alpha, 1024)[i]!, want, 1e-6 + 1e-3 * want);
    }
  }
  for (const alpha of [1e-300, 999]) { // nothing over- or underflows
    const quantiles = betaQuantiles(alpha, 1024);
    assert(quantiles.every((x, i) => x >= (quantiles[i - 1] ?? 0) && x <= 1), `${alpha}`);
  }
  const narrow = betaQuantiles(999, 1024); // normal, almost
  assertAlmostEquals(narrow[512 + 349]! - 0.5, Math.sqrt(1 / (4 * 1999)), 1e-4);
  betaQuantiles(1, 4).forEach((x, i) => assertAlmostEquals(x, (i + 0.5) / 4, 1e-6));
});

Deno.test("mixup blends each image with the one before it; CutMix pastes a box, and counts its pixels", async () => {
  await using device = await open("cpu");
  const count = 5;
  const bytes = bytesOf(count);
  const before = (at: number) => bytes[(at + (count - 1) * SIZE) % (count * SIZE)]!;
  const shareOf = (mix: Augmentation["mix"]) =>
    jit((k: Tensor) => mixingOf(k, { ...plain, mix: mix! }, EXTENTS)!.share, { device });
  for (const mix of [{ mixup: 1 }, { cutmix: 1 }]) {
    const draw = shareOf(mix);
    for (const seed of [1, 2, 3]) {
      using drawn = draw(key(seed));
      const [share = NaN] = await drawn.read();
      const got = await pixels(device, count, { ...plain, mix }, seed);
      let foreign = 0;
      got.forEach((value, at) => {
        const [own, other] = [bytes[at]!, before(at)];
        if ("mixup" in mix) return assertEquals(value, own * share + other * (1 - share));
        assert(value === own || value === other);
        if (at < SIZE && own !== other && value === other) foreign++;
      });
      if ("cutmix" in mix) assertAlmostEquals(foreign / SIZE, 1 - share, 0.01); // some bytes are equal
    }
  }
});

Deno.test("a share is 0.5 in the mean with mixup, and what the border leaves with CutMix", async () => {
  await using device = await open("cpu");
  const mean = async (mix: Augmentation["mix"]) => {
    const draw = jit((k: Tensor) => mixingOf(k, { ...plain, mix: mix! }, { height: 32, width: 32 })!.share, {
      device,
    });
    let sum = 0;
    for (let seed = 0; seed < 600; seed++) {
      using share = draw(key(seed));
      sum += (await share.read())[0]!;
    }
    return sum / 600;
  };
  assertAlmostEquals(await mean({ mixup: 1 }), 0.5, 0.04);
  assertAlmostEquals(await mean({ cutmix: 1 }), 0.7, 0.04); // torchvision 0.29's
});

Deno.test("RandAugment moves the pixels of the longest images to their places", async () => {
  await using device = await open("cpu");
  const bytes = Int32Array.from(bits(key(1), 2 * LONGEST_MOVED), (word) => word >>> 24);
  const changed = async (name: (typeof OPS)[number]) => {
    const one = (value: number) => literal([value], [1], "i32");
    const change = jit((x: Tensor) => applyOps(x, one(OPS.indexOf(name)), one(1), 30), { device });
    using result = change(new HostArray(bytes, [1, 2, LONGEST_MOVED, 1]));
    return [...await result.read()];
  };
  assertEquals(await changed("identity"), [...bytes]);
  const by = Math.trunc(150 / 331 * LONGEST_MOVED);
  const row = new Array(by).fill(0).concat([...bytes.subarray(0, LONGEST_MOVED - by)]);
  assertEquals((await changed("translateX")).slice(0, LONGEST_MOVED), row);
});

Deno.test("an impossible augmentation is refused by name", () => {
  const images: Augmented = { ...EXTENTS, channels: 3, bytes: true };
  const cases: [string, object, Partial<Augmented>?][] = [
    ['x: randAugment has no option "magnitud"; did you mean "magnitude"?', { randAugment: { magnitud: 3 } }],
    ["x: randAugment: magnitude must be a whole number from 0 to 30, not 31", {
      randAugment: { magnitude: 31 },
    }],
    ["x: randAugment needs images in bytes", { randAugment: {} }, { bytes: false }],
    ["x: colourJitter needs images of one channel or three, not 4", { colourJitter: {} }, { channels: 4 }],
    ["x: colourJitter: contrast must be at least 0 and below 3, not -1", { colourJitter: { contrast: -1 } }],
    ["x: erase: area must be two numbers above 0, the smaller first", { erase: { area: [0.3, 0.1] } }],
    ["x: erase: no box of that area and ratio fits into images of 12×20", { erase: { ratio: [400, 500] } }],
    ["x: mix: give mixup, cutmix or both", { mix: {} }],
    ["x: mix: mixup is the α of Beta(α, α), above 0 and below 1000, not 0", { mix: { mixup: 0 } }],
    ["x: randAugment: images of 20×8193 have a side of more than 8192 pixels; resize them", {
      randAugment: {},
    }, { height: 20, width: 8193 }],
    ["x: erase: images of 32769×20 have a side of more than 32768 pixels", { erase: {} }, { height: 32769 }],
    ["x: mix: images of 32769×20 have a side", { mix: { cutmix: 1 } }, { height: 32769 }],
    ["x: randAugment must be an object, not true", { randAugment: true }],
    ['x has no option "randaugment"; did you mean "randAugment"?', { randaugment: {} }],
  ];
  for (const [message, wrong, other] of cases) {
    assertThrows(
      () => checkAugmentation("x", { ...plain, ...wrong }, { ...images, ...other }),
      LocalgradError,
      message,
    );
  }
  checkAugmentation("x", everything, images);
});
