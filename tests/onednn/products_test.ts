/** Products of many small matrices, which oneDNN takes several of in a call. */

import { assertAlmostEquals, assertStringIncludes } from "@std/assert";
import { open } from "../../src/runtime/devices.ts";
import { jit } from "../../src/runtime/jit.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { units } from "../fixtures/formula.ts";
import { skips } from "../gate.ts";
import { openBf16 } from "./bf16.ts";
import { skipped } from "./library.ts";

/** Of 34 matrices calls take 12, 12 and 10. */
const [batch, m, k, n] = [34, 48, 40, 36];

const withBf16 = !skipped && !(await skips("cpu-bf16", openBf16));

for (const dtype of ["f32", "bf16"] as const) {
  for (
    const [transposeA, transposeB] of [[false, false], [false, true], [true, false], [true, true]] as const
  ) {
    const name = `${batch} products in ${dtype}${transposeA ? ", aᵀ" : ""}${transposeB ? ", bᵀ" : ""}`;
    const ignore = skipped || dtype === "bf16" && !withBf16;
    Deno.test(`${name} by oneDNN equal WebAssembly's in f32`, { ignore }, async () => {
      const a = new HostArray(units("a", batch * m * k), transposeA ? [batch, k, m] : [batch, m, k]);
      const b = new HostArray(units("b", batch * k * n), transposeB ? [batch, n, k] : [batch, k, n]);
      const productIn = (dtype: "f32" | "bf16") => (a: Tensor, b: Tensor) =>
        a.cast(dtype).matmul(b.cast(dtype), { transposeA, transposeB }).cast("f32");
      await using wasm = await open("cpu", { engine: "wasm", threads: 1 });
      await using onednn = await open("cpu", { engine: "onednn", threads: 2 });
      const [exact, f] = [
        jit(productIn("f32"), { device: wasm }),
        jit(productIn(dtype), { device: onednn, name: "products" }),
      ];
      using expected = exact(a, b);
      using actual = f(a, b);
      const [values, others] = [await expected.read("f32"), await actual.read("f32")];
      const tolerance = dtype === "f32" ? 1e-5 : 2 ** -4;
      values.forEach((value, i) => assertAlmostEquals(others[i] ?? NaN, value, tolerance));
      const { backend } = onednn;
      assertStringIncludes(backend.kernelText?.(f.plan(backend.target, a, b)) ?? "", "oneDNN products");
      exact.dispose();
      f.dispose();
    });
  }
}
