import { assert } from "@std/assert";
import { grad } from "../autograd/grad.ts";
import { target } from "../runtime/devices.ts";
import { jit } from "../runtime/jit.ts";
import type { Aval } from "../trace/dtype.ts";
import type { Tensor } from "../trace/tensor.ts";
import { type AttentionSpec, multiHeadAttention } from "./attention.ts";
import type { Named } from "./named.ts";

/** Bytes of temporaries of the gradients of attention to this many tokens. */
async function planned(length: number, options: Partial<AttentionSpec>): Promise<number> {
  const layer = multiHeadAttention({ width: 64, heads: 4, ...options });
  const gradients = jit(
    grad(({ params, x }: { params: Named<Tensor>; x: Tensor }) =>
      layer.apply(params, {}, x, "train").y.square().sum()
    ),
  );
  const x: Aval = { shape: [1, length, 64], dtype: "f32" };
  return gradients.plan(await target("cpu"), { params: layer.params, x }).memory.arenaBytes;
}

for (const causal of [false, true]) {
  Deno.test(`the memory of ${causal ? "causal " : ""}attention grows with the length, not its square`, async () => {
    const [short, long] = [await planned(1024, { causal }), await planned(4096, { causal })];
    assert(long < 4.4 * short, `${short} bytes, then ${long}`);
    // Up to 512 tokens scores are kept, which is faster; so chunks begin where they save at least half.
    assert(2 * await planned(1024, { causal }) < await planned(1024, { causal, chunk: 1024 }));
  });
}
