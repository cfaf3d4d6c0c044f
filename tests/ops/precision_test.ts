/** Tests which faults the op suite detects in bf16 and tf32, and which errors it allows. */
import { assertRejects } from "@std/assert";
import { ReferenceBackend } from "../../src/backends/reference/backend.ts";
import { type OpRules, opRules, type Value } from "../../src/backends/reference/ops.ts";
import { roundBf16 } from "../../src/trace/bf16.ts";
import { inBf16 } from "./bf16.ts";
import { type Case, checkCases } from "./check.ts";
import { Random } from "./random.ts";
import { groups } from "./suite.ts";
import { unfusedPlan } from "./unfused.ts";

/** An operand truncated to `bits` bits. */
function cut(value: Value, bits: number): Value {
  const data = value.data.map((x) => {
    const unit = 2 ** (Math.floor(Math.log2(Math.abs(x) || 1)) - bits);
    return Math.trunc(x / unit) * unit;
  });
  return { ...value, data };
}

const cutConv = (bits: number): OpRules["conv"] => (out, [x, w], attrs) =>
  opRules.conv(out, [cut(x, bits), cut(w, bits)], attrs);

async function check(
  rules: Partial<OpRules>,
  cases: readonly Case[],
  products: "f32" | "tf32",
): Promise<void> {
  const backend = new ReferenceBackend({ ...opRules, ...rules });
  try {
    await checkCases(backend, cases, unfusedPlan, products);
  } finally {
    await backend.close();
  }
}

const convolutions = groups["convolution and its gradients"](new Random(1)).slice(0, 30);

Deno.test("the op suite in tf32 accepts operands of 10 bits, and rejects those of 8", async () => {
  await check({ conv: cutConv(10) }, convolutions, "tf32");
  await assertRejects(() => check({ conv: cutConv(8) }, convolutions, "tf32"), Error, "wrong");
  await assertRejects(() => check({ conv: cutConv(10) }, convolutions, "f32"), Error, "wrong");
});

Deno.test("the op suite in bf16 detects sums computed in bf16, and results of 7 bits", async () => {
  const narrow = convolutions.map(inBf16);
  await check({}, narrow, "f32");
  const coarse: OpRules["conv"] = (out, inputs, attrs) => {
    opRules.conv(out, inputs, attrs);
    out.data.set(cut(out, 6).data);
  };
  await assertRejects(() => check({ conv: coarse }, narrow, "f32"), Error, "wrong");
  const oneByOne: OpRules["matmul"] = (out, [a, b], { transposeA, transposeB }) => {
    const terms = a.shape.at(transposeA ? -2 : -1)!;
    const sums = new Float64Array(out.data.length);
    for (let k = 0; k < terms; k++) { // all other terms removed
      const only = (value: Value, last: boolean): Value => {
        const columns = value.shape.at(-1)!;
        const at = (i: number) => last ? i % columns : Math.floor(i / columns) % value.shape.at(-2)!;
        return { ...value, data: value.data.map((x, i) => at(i) === k ? x : 0) };
      };
      opRules.matmul(out, [only(a, !transposeA), only(b, transposeB)], { transposeA, transposeB });
      out.data.forEach((x, i) => sums[i] = roundBf16(sums[i] + x));
    }
    out.data.set(sums);
  };
  const products = groups["matmul"](new Random(1)).map(inBf16);
  await check({}, products, "f32");
  await assertRejects(() => check({ matmul: oneByOne }, products, "f32"), Error, "wrong");
});
