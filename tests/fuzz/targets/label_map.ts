import fixture from "../../fixtures/label_maps.json" with { type: "json" };
import { decodeLabels } from "../../../src/data/folder/label_png.ts";
import type { MakeTarget } from "../harness.ts";
import { damaged } from "../mutate.ts";

const seeds = [...Object.values(fixture.kinds).map(({ png }) => png), fixture.colour, fixture.deep]
  .map((png) => Uint8Array.fromBase64(png));

/** Label maps of every kind. */
export const target: MakeTarget = () => ({
  input: (random) => damaged(random, seeds),
  read(input) {
    const { height, width, labels } = decodeLabels("x.png", input);
    if (labels.length !== height * width) throw new Error("wrong lengths");
  },
});
