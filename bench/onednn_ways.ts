/**
 * Measures every way to compute a convolution and its gradients on the CPU, for `src/backends/cpu/onednn/choice.ts`:
 *
 *     deno run --allow-read --allow-env --allow-sys --allow-ffi bench/onednn_ways.ts [--batch 8,32] [--only 64→64]
 *
 * Prints GFLOP/s by the definition's multiplications and additions, of the fastest of some runs: WebAssembly, oneDNN's
 * primitive, and a product (1 × 1) or Winograd with oneDNN's products (3 × 3). It warns where a way's result differs from WebAssembly's.
 *
 * `--post-op sum` or `relu` gives oneDNN's convolutions that post-op, which makes the results differ, and prints what the
 * same work takes in a kernel of its own.
 */

import { parseArgs } from "@std/cli/parse-args";
import { checkOnednn, type Onednn } from "../ffi/onednn.ts";
import { dnnlScratchpad } from "../ffi/onednn_constants.ts";
import { type OnednnLibrary, openOnednn } from "../ffi/onednn_library.ts";
import { CpuExecutable } from "../src/backends/cpu/executable.ts";
import { Lowering } from "../src/backends/cpu/lower.ts";
import { LinearMemory } from "../src/backends/cpu/memory.ts";
import type { Conv, Way } from "../src/backends/cpu/onednn/choice.ts";
import { OnednnDevice } from "../src/backends/cpu/onednn/device.ts";
import { targetOf } from "../src/backends/cpu/target.ts";
import { ThreadPool } from "../src/backends/cpu/threads.ts";
import { compile } from "../src/compile/compile.ts";
import { type Aval, bytesOf, sizeOf } from "../src/trace/dtype.ts";
import type { ConvAttrs } from "../src/trace/ops.ts";
import type { Program } from "../src/trace/program.ts";
import { shapeRules } from "../src/trace/shape_rules.ts";
import { opCase } from "../tests/ops/check.ts";
import { f32 } from "../tests/ops/random.ts";

const flags = parseArgs(Deno.args, {
  string: ["batch", "only", "threads", "milliseconds", "post-op"],
  default: { batch: "8,32", only: "", threads: `${navigator.hardwareConcurrency}`, milliseconds: "50" },
});

type Opened = NonNullable<OnednnLibrary["opened"]>;

const library = openOnednn();
if (library.opened === undefined) throw new Error(library.report.problem ?? "oneDNN is not there");
const postOp = flags["post-op"];
if (postOp !== undefined && postOp !== "sum" && postOp !== "relu") {
  throw new Error(`--post-op is "sum" or "relu", not ${JSON.stringify(postOp)}`);
}
const device = new OnednnDevice(
  postOp === undefined ? library.opened : { ...library.opened, onednn: withPostOp(library.opened, postOp) },
  library,
);
const memory = new LinearMemory();
const pool = ThreadPool.start(memory, Number(flags.threads), device.setup(memory.memory));

/** oneDNN whose convolutions and input gradients are asked for with a post-op. Nothing frees it. */
function withPostOp({ onednn, path }: Opened, postOp: string): Onednn {
  const { symbols: more } = Deno.dlopen(path, {
    dnnl_post_ops_append_eltwise: { parameters: ["u64", "i32", "f32", "f32"], result: "i32" },
  });
  const made = new BigUint64Array(1);
  const check = (status: number) => checkOnednn(onednn, status, "describing a post-op");
  check(onednn.dnnl_primitive_attr_create(made));
  const [attributes = 0n] = made;
  check(onednn.dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnlScratchpad.dnnl_scratchpad_mode_user));
  check(onednn.dnnl_post_ops_create(made));
  const [list = 0n] = made;
  const dnnl_eltwise_relu = 32;
  check(
    postOp === "sum"
      ? onednn.dnnl_post_ops_append_sum(list, 1, 0, 0)
      : more.dnnl_post_ops_append_eltwise(list, dnnl_eltwise_relu, 0, 0),
  );
  check(onednn.dnnl_primitive_attr_set_post_ops(attributes, list));
  return {
    ...onednn,
    dnnl_convolution_forward_primitive_desc_create: (...[a, b, c, d, e, f, g, h, i, j, k, l]) =>
      onednn.dnnl_convolution_forward_primitive_desc_create(a, b, c, d, e, f, g, h, i, j, k, l, attributes),
    dnnl_convolution_backward_data_primitive_desc_create: (...[a, b, c, d, e, f, g, h, i, j, k]) =>
      onednn.dnnl_convolution_backward_data_primitive_desc_create(
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        i,
        j,
        k,
        attributes,
      ),
  };
}

/** A convolution: image height and width, channels, filter extent, and what is not 1 or "same". */
interface Row {
  readonly size: number;
  readonly from: number;
  readonly to: number;
  readonly taps: number;
  readonly stride?: number;
  readonly groups?: number;
  readonly dilation?: number;
}

const rows: readonly Row[] = [
  ...[[32, 3, 16], [32, 16, 16], [32, 16, 32], [32, 24, 24], [16, 32, 32], [8, 64, 64], [4, 128, 128]],
  ...[[56, 64, 64], [28, 128, 128], [14, 256, 256], [7, 512, 512], [16, 64, 64], [8, 128, 128]],
].map(([size = 1, from = 1, to = 1]): Row => ({ size, from, to, taps: 3 })).concat(
  [[32, 16, 32], [16, 32, 64], [56, 64, 128], [14, 256, 512]].flatMap(([size = 1, from = 1, to = 1]) => [
    { size, from, to, taps: 3, stride: 2 },
    { size, from, to, taps: 1, stride: 2 },
  ]),
  [[16, 64, 256], [16, 256, 64], [4, 256, 1024], [2, 512, 2048], [2, 2048, 512]].map((
    [size = 1, from = 1, to = 1],
  ) => ({ size, from, to, taps: 1 })),
  { size: 224, from: 3, to: 64, taps: 7, stride: 2 },
  ...[3, 5, 7].map((taps) => ({ size: 14, from: 96, to: 96, taps, groups: 96 })),
  { size: 28, from: 128, to: 128, taps: 3, groups: 32 },
  { size: 16, from: 64, to: 64, taps: 3, dilation: 2 },
  { size: 14, from: 6, to: 16, taps: 5 },
);

/** The name of a row. */
function nameOf({ size, from, to, taps, stride = 1, groups = 1, dilation = 1 }: Row): string {
  const more = [["stride", stride], ["groups", groups], ["dilation", dilation]].filter(([, n]) => n !== 1);
  return [`${from}→${to}, ${taps}×${taps}, ${size}²`, ...more.map((each) => each.join(" "))].join(", ");
}

/** Runs a program by a way; undefined where oneDNN has none. */
function measure(program: Program, way: Way): { ms: number; result: Float32Array } | undefined {
  const choose = (_: Conv): Way => way;
  const lowering = new Lowering((instruction, values) => device.launches(instruction, values, choose));
  const plan = compile(program, targetOf(lowering, pool.threads));
  const keys = plan.steps.flatMap((step) =>
    lowering.launches(step, plan.values).launches.map(({ routine }) => routine.key)
  );
  if (way !== "wasm" && !keys.some((key) => key.startsWith("oneDNN"))) return undefined;
  const arena = memory.allocate(plan.arenaBytes, "the arena");
  const buffer = (aval: Aval) => {
    const bytes = bytesOf(aval), address = memory.allocate(bytes, "an operand");
    const values = new Float32Array(memory.memory.buffer, address, bytes / 4);
    values.forEach((_, i) => values[i] = ((i * 2654435761) >>> 9) % 1000 / 500 - 1);
    return { bytes, address };
  };
  const inputs = plan.inputs.map(({ value }) => buffer(plan.values[value]!));
  const outputs = plan.outputs.map(({ value }) => buffer(plan.values[value]!));
  const host = {
    ...{ memory, pool, lowering, communicators: {}, arena: () => arena, disposed: () => {} },
    addressOf: (of: object) => [...inputs, ...outputs].find((each) => each === of)!.address,
  };
  const executable = new CpuExecutable(plan, host);
  let ms = Infinity;
  const end = performance.now() + Number(flags.milliseconds);
  for (let run = 0; run < 3 || performance.now() < end; run++) {
    const start = performance.now();
    executable.run(inputs, outputs);
    ms = Math.min(ms, performance.now() - start);
  }
  const [{ address, bytes } = { address: 0, bytes: 0 }] = outputs;
  const result = new Float32Array(memory.memory.buffer, address, bytes / 4).slice();
  executable.dispose();
  for (const { address, bytes } of [...inputs, ...outputs]) memory.free(address, bytes);
  memory.free(arena, plan.arenaBytes);
  return { ms, result };
}

console.log(
  "batch, convolution: WebAssembly, direct, product or Winograd: forward | input gradient | filter gradient",
);
for (const batch of flags.batch.split(",").map(Number)) {
  for (const row of rows.filter((row) => nameOf(row).includes(flags.only))) {
    const { size, from, to, taps, stride = 1, groups = 1, dilation = 1 } = row;
    const pad = Math.floor(taps / 2) * dilation;
    const attrs: ConvAttrs = {
      strides: [stride, stride],
      padding: [[pad, pad], [pad, pad]],
      dilation: [dilation, dilation],
      groups,
    };
    const x = f32(batch, size, size, from), w = f32(to, taps, taps, from / groups);
    const dy = shapeRules.conv([x, w], attrs);
    const operations = 2 * sizeOf(dy.shape) * taps * taps * from / groups;
    const cells = [
      opCase("conv", [x, w], attrs, []),
      opCase("convInputGrad", [dy, w], { ...attrs, inputShape: x.shape }, []),
      opCase("convFilterGrad", [x, dy], { ...attrs, filterShape: w.shape }, []),
    ].map(({ program }) => {
      const others: Way[] = ["direct"];
      if (stride === 1 && dilation === 1 && groups === 1) {
        if (taps === 1) others.push("product");
        if (taps === 3 && from % 8 === 0) others.push("winograd");
      }
      const [wasm, ...rest] = (["wasm", ...others] as const).map((way) => measure(program, way));
      const most = wasm!.result.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      return [wasm, ...rest].map((each) => {
        if (each === undefined) return "none";
        const close = each.result.every((value, i) => Math.abs(value - wasm!.result[i]!) <= 1e-5 * most);
        const doubt = close || postOp !== undefined ? "" : " (differs)";
        return `${(operations / each.ms / 1e6).toFixed(0)}${doubt}`;
      }).join(", ");
    });
    if (postOp !== undefined) {
      // ReLU as the maximum of two values: it moves as many bytes as the sum.
      const { program } = postOp === "sum"
        ? opCase("binary", [dy, dy], { fn: "add" }, [])
        : opCase("binary", [dy, dy], { fn: "max" }, []);
      cells.push(`${postOp} by itself ${measure(program, "wasm")!.ms.toFixed(3)} ms`);
    }
    console.log(`${batch}, ${nameOf(row)}: ${cells.join(" | ")}`);
  }
}
await pool.close();
device.close();
