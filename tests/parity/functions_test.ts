/** Functions of tensors, their gradients and special numbers, compared with PyTorch on every backend. */

import { assert } from "@std/assert";
import { vjp } from "../../src/autograd/grad.ts";
import type { Device } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import { clamp, gelu, logSoftmax, logSumExp, silu, softmax } from "../../src/trace/activations.ts";
import { einsum } from "../../src/trace/einsum.ts";
import { iota, split } from "../../src/trace/functions.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import { cumsum } from "../../src/trace/scan.ts";
import { sort, topK } from "../../src/trace/sorting.ts";
import { norm, std, variance } from "../../src/trace/statistics.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { units } from "../fixtures/formula.ts";
import { assertClose, load, testOn, type Whole } from "./fixture.ts";

/** A number, or the name of one that JSON lacks. */
type Listed = number | "NaN" | "Infinity" | "-Infinity";

interface Fixture {
  readonly functions: readonly {
    readonly name: string;
    readonly inputs: readonly { readonly shape: number[]; readonly scale: number; readonly offset: number }[];
    readonly y: Whole;
    readonly gradients: readonly Whole[];
  }[];
  readonly rows: readonly (readonly Listed[])[];
  readonly special: { readonly [name: string]: readonly Listed[] };
  readonly cornerRows: readonly (readonly number[])[];
  readonly corners: { readonly [name: string]: readonly Listed[] };
}

const fixture = load<Fixture>("functions");

const functions: { readonly [name: string]: (...inputs: Tensor[]) => Tensor } = {
  "softmax": (x) => softmax(x!),
  "softmax along the first axis": (x) => softmax(x!, 0),
  "logSoftmax": (x) => logSoftmax(x!, 1),
  "logSumExp": (x) => logSumExp(x!, [0, 2]),
  "gelu": (x) => gelu(x!),
  "gelu, approximated": (x) => gelu(x!, { approximate: "tanh" }),
  "silu": (x) => silu(x!),
  "erf": (x) => x!.erf(),
  "clamp": (x) => clamp(x!, { min: -0.5, max: 1 }),
  "clamp between tensors": (x, min, max) => clamp(x!, { min: min!, max: max! }),
  "variance": (x) => variance(x!, [0, 2]),
  "variance of a sample": (x) => variance(x!, undefined, { correction: 1 }),
  "std": (x) => std(x!, 1, { correction: 1, keepDims: true }),
  "norm": (x) => norm(x!, 1),
  "norm of order 1": (x) => norm(x!, 0, { order: 1 }),
  "largest norm": (x) => norm(x!, 1, { order: Infinity }),
  "cumsum": (x) => cumsum(x!),
  "cumsum along the first axis": (x) => cumsum(x!, 0),
  "sort": (x) => sort(x!, 1).values,
  "topK": (x) => topK(x!, 3).values,
  "matmul of batches": (a, b) => a!.matmul(b!),
  "matmul by one matrix": (a, b) => a!.matmul(b!),
  "einsum of attention": (q, k) => einsum("bqhd,bkhd->bhqk", q!, k!),
  "einsum of three": (a, b, c) => einsum("ij,jk,kl", a!, b!, c!),
  "einsum with a diagonal": (a, b) => einsum("...ii,i->...", a!, b!),
  "split": (x) => split(x!, [2, 3, 4], 1)[1]!,
};

const special: { readonly [name: string]: (x: Tensor) => Tensor } = {
  "softmax": (x) => softmax(x),
  "logSoftmax": (x) => logSoftmax(x),
  "logSumExp": (x) => logSumExp(x, 1),
  "gelu": (x) => gelu(x),
  "silu": silu,
  "erf": (x) => x.erf(),
  "clamp": (x) => clamp(x, { min: -0.5, max: 1 }),
  "std": (x) => std(x, 1),
  "norm": (x) => norm(x, 1),
  "largest norm": (x) => norm(x, 1, { order: Infinity }),
  "cumsum": (x) => cumsum(x),
  "sort": (x) => sort(x).values,
  "sort, descending": (x) => sort(x, 1, { descending: true }).values,
  "sort, indices": (x) => sort(x).indices.cast("f32"),
  "sort, descending, indices": (x) => sort(x, 1, { descending: true }).indices.cast("f32"),
};

const table = (rows: readonly (readonly Listed[])[]): HostArray =>
  new HostArray(Float32Array.from(rows.flat(), Number), [rows.length, rows[0]!.length]);

/** Fails unless the elements are the expected ones up to rounding; NaN and infinities must be the same. */
function assertListed(actual: ArrayLike<number>, expected: readonly Listed[], what: string): void {
  expected.forEach((listed, i) => {
    const [got, want] = [actual[i]!, Number(listed)];
    const near = Number.isFinite(want)
      ? Math.abs(got - want) <= 1e-6 * Math.max(1, Math.abs(want))
      : Object.is(got, want);
    assert(near, `${what}[${i}] is ${got}, not ${want}`);
  });
}

/** All functions in one program. */
async function check(device: Device): Promise<void> {
  const inputs = fixture.functions.map(({ name, inputs }) =>
    inputs.map(({ shape, scale, offset }, i) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return new HostArray(units(`functions.${name}.${i}`, size, scale, offset), shape);
    })
  );
  const weights = fixture.functions.map(({ name, y: { shape, values } }) =>
    new HostArray(units(`functions.${name}.g`, values.length), shape)
  );
  const f = jit((inputs: Tensor[][], weights: Tensor[], rows: Tensor, cornerRows: Tensor) => ({
    functions: fixture.functions.map(({ name }, i) => {
      const [y, pullback] = vjp((operands: Tensor[]) => functions[name]!(...operands), inputs[i]!);
      return { y, gradients: pullback(weights[i]!)[0] };
    }),
    special: Object.fromEntries(Object.keys(fixture.special).map((name) => [name, special[name]!(rows)])),
    corners: Object.fromEntries(
      Object.keys(fixture.corners).map((name) => {
        const [y, pullback] = vjp(special[name]!, cornerRows);
        return [name, pullback(iota([y.size], 0, "f32").add(1).reshape(...y.shape))[0]];
      }),
    ),
  }), { device, name: "functions" });
  const results = f(inputs, weights, table(fixture.rows), table(fixture.cornerRows));
  for (const [i, { name, y, gradients }] of fixture.functions.entries()) {
    const result = results.functions[i]!;
    const tolerance = device.name === "reference" ? 1e-6 : name.startsWith("variance") ? 1e-4 : 1e-5;
    assertClose(await result.y.read(), y, tolerance, name);
    for (const [k, gradient] of gradients.entries()) {
      assertClose(await result.gradients[k]!.read(), gradient, tolerance, `${name}: gradient ${k}`);
      result.gradients[k]!.dispose();
    }
    result.y.dispose();
  }
  for (const part of ["special", "corners"] as const) {
    for (const [name, expected] of Object.entries(fixture[part])) {
      const result = results[part][name]!;
      assertListed(await result.read(), expected, `${part}: ${name}`);
      result.dispose();
    }
  }
  f.dispose();
}

await testOn(
  ["reference", "cpu", "cpu-onednn", "webgpu", "cuda-simulated", "cuda"],
  (backend) => `functions, their gradients and special numbers on ${backend} are PyTorch's`,
  check,
);
