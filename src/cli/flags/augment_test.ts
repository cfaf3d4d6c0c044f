import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import { shapes } from "../../data.ts";
import { augmentFrom, augmentGiven, withAugmentation } from "./augment.ts";

Deno.test("--augment adds to a data set's crops and flips, or replaces them", () => {
  const set = {
    ...shapes({ train: 2, test: 2 }),
    augmentation: { border: 2, fill: "zero", flip: false },
  } as const;
  const given = (text: string) => withAugmentation(set, augmentFrom(text)).augmentation;
  assertEquals(withAugmentation(set, undefined), set);
  assertEquals(given("randaugment,erase,mixup=0.2,cutmix=1"), {
    ...set.augmentation,
    randAugment: { ops: 2, magnitude: 9 },
    erase: { probability: 0.5 },
    mix: { mixup: 0.2, cutmix: 1 },
  });
  assertEquals(given("crop=0, flip=yes, randaugment=3:15, erase=0.25, hue=0.1, contrast=0.4"), {
    ...{ border: 0, fill: "zero", flip: true },
    ...{ randAugment: { ops: 3, magnitude: 15 }, erase: { probability: 0.25 } },
    colourJitter: { hue: 0.1, contrast: 0.4 },
  });
  const { augmentation: _, ...plain } = set;
  assertEquals(withAugmentation(plain, augmentFrom("mixup=1")).augmentation, {
    ...{ border: 4, fill: "reflect", flip: true }, // as without the flag
    mix: { mixup: 1 },
  });
});

Deno.test("images that a reader crops and mirrors take the rest of --augment", () => {
  const { augmentation: _, ...set } = shapes({ train: 2, test: 2 });
  const { labels, count } = set.train;
  const streamed = { ...set, train: { labels, count, open: () => assertEquals(0, 1) as never } };
  assertEquals(withAugmentation(streamed, augmentFrom("cutmix=1")).augmentation, {
    ...{ border: 0, fill: "zero", flip: false },
    mix: { cutmix: 1 },
  });
  for (const own of ["crop=0", "flip=no"]) {
    assertThrows(
      () => withAugmentation(streamed, augmentFrom(own)),
      LocalgradError,
      `--augment: images of shapes are cropped and mirrored while they are decoded; leave ${
        own.slice(0, 4)
      } out`,
    );
  }
});

Deno.test("augmentGiven() gives the flag back, with defaults filled in", () => {
  const text = "flip=no,randaugment=2:9,crop=2,hue=0.1,erase=0.5,mixup=0.2";
  assertEquals(augmentGiven(augmentFrom("mixup=0.2,erase,hue=0.1,randaugment,flip=no,crop=2")), {
    augment: text,
  });
  assertEquals(augmentGiven(), {});
});

Deno.test("an augmentation that cannot be is refused by its name", () => {
  const cases: [string, string][] = [
    ["", '--augment has no ""; its names: crop, brightness'],
    ["mixup=1,", '--augment has no ""'],
    ["mixpu=1", '--augment has no "mixpu"; did you mean mixup?'],
    ["mixup=1,mixup=2", "--augment names mixup twice"],
    ["mixup", '--augment needs a number, such as mixup=0.2, not "mixup"'],
    ["mixup=", 'not "mixup="'],
    ["mixup=0", "--augment: mixup is the α of Beta(α, α), above 0"],
    ["crop=1.5", '--augment needs a number, such as crop=4, not "crop=1.5"'],
    ["crop=-1", "--augment needs crop of at least 0 pixels"],
    ["flip=maybe", "--augment needs flip=yes or flip=no"],
    ["erase=2", "--augment needs a share of images from 0 to 1"],
    ["randaugment=2", "--augment needs randaugment, or changes and magnitude"],
    ["randaugment=2:9:1", "--augment needs randaugment, or changes and magnitude"],
    ["randaugment=2:x", "--augment randaugment: magnitude must be a whole number from 0 to 30"],
    ["hue=0.6", "--augment: hue must be from 0 to 0.5, not 0.6"],
    ["brightness=3", "--augment: brightness must be at least 0 and below 3"],
  ];
  for (const [text, message] of cases) assertThrows(() => augmentFrom(text), LocalgradError, message);
});
