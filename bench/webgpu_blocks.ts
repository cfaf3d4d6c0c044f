/**
 * Times the WebGPU convolution kernels with register blocks of several sizes, on this machine's adapter. The table in
 * src/backends/webgpu/variant.ts was chosen from its figures. 3×3 filters, batch 32, the shapes of ResNet-8.
 *
 * Run with `deno run --allow-all bench/webgpu_blocks.ts [software|hardware]`. On a software adapter it measures the
 * processor time of all threads, since wall time depends on other programs; reading it needs `--allow-all`, as all of
 * /proc does, and Linux.
 */

import { openWebgpu } from "../src/backends/webgpu/backend.ts";
import { Gpu } from "../src/backends/webgpu/gpu.ts";
import { type Dispatch, lowerPlan } from "../src/backends/webgpu/lower.ts";
import { workspaceOf } from "../src/backends/webgpu/target.ts";
import { Pipelines } from "../src/backends/webgpu/pipelines.ts";
import { type Variant, variants } from "../src/backends/webgpu/variant.ts";
import type { Step } from "../src/compile/plan.ts";
import type { Aval } from "../src/trace/dtype.ts";
import type { ConvAttrs } from "../src/trace/ops.ts";
import type { StructuredInstruction } from "../src/trace/program.ts";
import { planOf } from "../tests/webgpu_adapter.ts";

const BATCH = 32, REPEATS = 10;
/** Input and output channels, image height and width, stride. */
const LAYERS = [[16, 16, 32, 1], [32, 32, 16, 1], [64, 64, 8, 1], [16, 32, 32, 2]] as const;
const OPS = ["conv", "convInputGrad", "convFilterGrad"] as const;

if (Deno.args.length > 1 || !((Deno.args[0] ?? "software") in variants)) {
  console.error(`error: "${Deno.args.join(" ")}" is not known; usage: webgpu_blocks.ts [software|hardware]`);
  Deno.exit(2);
}
const opened = await openWebgpu();
if ("reason" in opened) {
  console.error(`${opened.reason}. ${opened.remedy}`);
  Deno.exit(2);
}
await opened.backend.close();
const kind = (Deno.args[0] ?? (opened.backend.software ? "software" : "hardware")) as Variant["kind"];
const gpu = await Gpu.open((await navigator.gpu.requestAdapter())!);
console.log(`${gpu.description}; milliseconds a call${opened.backend.software ? " of processor time" : ""}`);

const layers = LAYERS.map(([from, to, size, stride]) => `${from}→${to} ${size}×${size}/${stride}`);
console.log(["blocks", ...layers].map((cell) => cell.padStart(18)).join(""));
for (const op of OPS) {
  for (const [rows, columns] of [[1, 2], [2, 2], [2, 4], [4, 2], [4, 4]]) {
    const blocks = { rows, columns };
    const variant: Variant = { ...variants[kind], blocks, filterBlocks: blocks };
    const times: string[] = [];
    for (const layer of LAYERS) times.push((await time(dispatches(op, layer, variant))).toFixed(2));
    console.log([`${op} ${rows}×${columns}`.padEnd(18), ...times].map((cell) => cell.padStart(18)).join(""));
  }
}
gpu.close();

function dispatches(
  op: typeof OPS[number],
  [from, to, size, stride]: typeof LAYERS[number],
  variant: Variant,
): Dispatch[] {
  const f32 = (...shape: number[]): Aval => ({ shape, dtype: "f32" });
  const image = f32(BATCH, size, size, from), filter = f32(to, 3, 3, from);
  const result = f32(BATCH, size / stride, size / stride, to);
  const attrs: ConvAttrs = {
    strides: [stride, stride],
    padding: [[1, 1], [1, 1]],
    dilation: [1, 1],
    groups: 1,
  };
  const [inputs, output] = op === "conv"
    ? [[image, filter], result]
    : op === "convInputGrad"
    ? [[result, filter], image]
    : [[image, result], filter];
  const all = { ...attrs, inputShape: image.shape, filterShape: filter.shape };
  const instruction = { op, attrs: all, inputs: [0, 1], output: 2, scope: "" } as StructuredInstruction;
  const step: Step = { kind: "op", instruction };
  return lowerPlan(planOf(step, inputs, [output], (s, values) => workspaceOf(s, values, variant)), variant);
}

/** Milliseconds that a list of dispatches takes, the least of three rounds. */
async function time(list: readonly Dispatch[]): Promise<number> {
  const pipelines = new Pipelines(gpu.device);
  const buffers = new Map<string, GPUBuffer>();
  for (const { kind, index } of list.flatMap(({ ranges }) => ranges)) {
    const key = `${kind} ${index}`;
    const bytes = Math.max(
      ...list.flatMap(({ ranges }) =>
        ranges.filter((r) => `${r.kind} ${r.index}` === key).map((r) => r.offset + r.bytes)
      ),
    );
    if (!buffers.has(key)) buffers.set(key, gpu.create(bytes, GPUBufferUsage.STORAGE));
  }
  const bound = list.map((dispatch) => {
    const { pipeline, layout } = pipelines.take(dispatch);
    const entries = dispatch.ranges.map(({ kind, index, offset, bytes }, binding) => ({
      binding,
      resource: { buffer: buffers.get(`${kind} ${index}`)!, offset, size: bytes },
    }));
    return { pipeline, group: gpu.device.createBindGroup({ layout, entries }), groups: dispatch.groups };
  });
  let best = Infinity;
  for (let round = 0; round < 4; round++) {
    const before = clock();
    const encoder = gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < REPEATS; i++) {
      for (const { pipeline, group, groups } of bound) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...groups);
      }
    }
    pass.end();
    gpu.device.queue.submit([encoder.finish()]);
    await gpu.device.queue.onSubmittedWorkDone();
    if (round > 0) best = Math.min(best, (clock() - before) / REPEATS); // the first compiles
  }
  for (const buffer of buffers.values()) gpu.destroy(buffer);
  return best;
}

/** Milliseconds: of processor time over all threads on a software adapter, of wall time otherwise. */
function clock(): number {
  if (!opened || !("backend" in opened) || !opened.backend.software) return performance.now();
  let nanoseconds = 0;
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    try {
      nanoseconds += Number(Deno.readTextFileSync(`/proc/self/task/${name}/schedstat`).split(" ")[0]);
    } catch {
      // the thread has ended
    }
  }
  return nanoseconds / 1e6;
}
