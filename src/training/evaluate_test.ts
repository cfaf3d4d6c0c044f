import { assertEquals } from "@std/assert";
import { testOn } from "../../tests/parity/fixture.ts";
import { shapes } from "../data/shapes.ts";
import { endToEnd } from "../local/methods/end_to_end.ts";
import { resnet8 } from "../models/resnet.ts";
import { sgd } from "../optim/sgd.ts";
import { HostArray } from "../trace/host_array.ts";
import { trainer } from "./trainer.ts";

await testOn(
  ["cpu", "webgpu"],
  (backend) => `evaluation on ${backend} counts the class among the five most likely, ties against it`,
  async (device) => {
    const images = shapes({ train: 8, test: 30 });
    using network = await trainer({
      device,
      model: resnet8({ classes: 12 }),
      method: endToEnd(),
      optimizer: sgd(),
      batch: 8,
    });
    const { tensors } = await network.snapshot();
    /** Errors of a network that gives every image the same logits. */
    const errors = async (logits: readonly number[]) => {
      const head = new Map([
        ...[...tensors].filter(([name]) => !/^(local|optimizer)/.test(name)),
        ["fc.weight", new HostArray(new Float32Array(12 * 64), [12, 64])],
        ["fc.bias", new HostArray(Float32Array.from(logits))],
      ] as [string, HostArray][]);
      network.load({ name: "constant", tensors: head });
      return await network.evaluate(images);
    };
    const { labels, count } = images.test;
    const share = (wrong: (label: number) => boolean) => labels.filter(wrong).length / count;
    const falling = await errors([12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assertEquals([falling.error, falling.topFiveError], [share((l) => l !== 0), share((l) => l >= 5)]);
    const tied = await errors([12, 11, 10, 9, 8, 8, 6, 5, 4, 3, 2, 1]);
    assertEquals(tied.topFiveError, share((l) => l >= 4));
    assertEquals((await errors(new Array(12).fill(NaN))).topFiveError, 1);
  },
);

await testOn(["cpu"], () => "evaluation of ten classes has no top-five error", async (device) => {
  using network = await trainer({ device, model: resnet8(), method: endToEnd(), optimizer: sgd(), batch: 8 });
  assertEquals("topFiveError" in await network.evaluate(shapes({ train: 8, test: 8 })), false);
});
