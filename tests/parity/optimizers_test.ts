/** Ten steps of optimizers, clipping and averages, compared with PyTorch; see ../fixtures/README.md. */

import { assertAlmostEquals } from "@std/assert";
import * as optim from "../../src/optim.ts";
import { jit } from "../../src/runtime/jit.ts";
import { disposeTree } from "../../src/runtime/arrays.ts";
import { sizeOf } from "../../src/trace/dtype.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { units } from "../fixtures/formula.ts";
import { assertClose, load, testOn } from "./fixture.ts";

interface Case {
  readonly name: string;
  readonly rate: number;
  readonly options: Record<never, never>;
  readonly parameters: {
    readonly [name: string]: {
      readonly shape: number[];
      readonly after: { readonly [step: string]: number[] };
    };
  };
}

interface Fixture {
  readonly steps: number;
  readonly cases: readonly Case[];
  readonly clipping: {
    readonly norm: number;
    readonly limit: number;
    readonly clipped: readonly number[][];
  };
}

type Tensors = { [name: string]: Tensor };

const { steps, cases, clipping } = load<Fixture>("optimizers");

const makers: { readonly [name: string]: (options: Record<never, never>) => optim.Optimizer } = {
  sgd: optim.sgd,
  adamw: optim.adamw,
  lamb: optim.lamb,
  lion: optim.lion,
  muon: optim.muon,
};

const given = (name: string, shape: readonly number[]) => new HostArray(units(name, sizeOf(shape)), shape);

for (const [kind, make] of Object.entries(makers)) {
  await testOn(
    ["reference", "cpu", "webgpu", "cuda-simulated", "cuda"],
    (backend) => `ten steps of ${kind} on ${backend} equal PyTorch's, on filters and vectors`,
    async (device) => {
      for (const { name, rate, options, parameters } of cases.filter((c) => c.name.split(".")[0] === kind)) {
        const optimizer = make(options);
        const step = jit(
          (params: Tensors, g: Tensors, slots: optim.Slots<Tensor>, scalars: optim.Scalars<Tensor>) =>
            optimizer.update(params, g, slots, scalars),
          { device, name, donate: [0, 2] },
        );
        const all = (suffix: string) =>
          Object.fromEntries(
            Object.entries(parameters).map(([each, { shape }]) => [each, given(`${each}${suffix}`, shape)]),
          );
        let params = device.put(all(""));
        let slots = device.put(optim.zeroSlots(optimizer, params));
        for (let i = 0; i < steps; i++) {
          ({ params, slots } = step(params, all(`.${i}`), slots, optimizer.scalars(i, rate * (1 + i % 3))));
          for (const [each, { shape, after }] of Object.entries(parameters)) {
            const values = after[i];
            if (values === undefined) continue;
            const tolerance = device.name === "reference" ? 1e-6 : 1e-5;
            const what = `${name}, ${each}, step ${i + 1}`;
            assertClose(await params[each]!.read(), { shape, values }, tolerance, what);
          }
        }
        disposeTree([params, slots]);
        step.dispose();
      }
    },
  );
}

await testOn(
  ["reference", "cpu", "webgpu", "cuda-simulated", "cuda"],
  (backend) => `clipping by norm on ${backend} equals PyTorch's`,
  async (device) => {
    const optimizer = optim.clipped(optim.sgd(), { norm: clipping.limit });
    const zeros = jit((g: Tensor[]) => {
      const { params, norm } = optimizer.update(g.map((each) => each.mul(0)), g, {}, { learningRate: -1 });
      return { params, norm: norm! };
    }, { device });
    const { params, norm } = zeros([given("clip.a", [3, 4]), given("clip.b", [5])]);
    const [found = NaN] = await norm.read();
    assertAlmostEquals(found, clipping.norm, 1e-6 * clipping.norm);
    for (const [i, values] of clipping.clipped.entries()) {
      // PyTorch divides by norm + 1e-6.
      assertClose(await params[i]!.read(), { shape: [values.length], values }, 1e-5, `gradient ${i}`);
    }
    disposeTree([params, norm]);
    zeros.dispose();
  },
);
