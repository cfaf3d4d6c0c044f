/**
 * The time that a step of many arrays takes on the host: `jit` and the CUDA backend on a driver that does nothing, with
 * the training states of ResNet-32 in 16 modules and ResNet-110 in 55. Run it on an idle machine:
 * `deno run --lock=deno.lock --allow-ffi bench/host_time.ts`.
 *
 * @module
 */
import { addressOf } from "../ffi/memory.ts";
import { local, models, optim } from "../mod.ts";
import { CudaBackend } from "../src/backends/cuda/backend.ts";
import { cudaTarget } from "../src/backends/cuda/target.ts";
import { stepPlan } from "../src/local/memory.ts";
import { setup } from "../src/local/setup.ts";
import { Device, type DeviceArray } from "../src/runtime/arrays.ts";
import { jit } from "../src/runtime/jit.ts";
import type { Tensor } from "../src/trace/tensor.ts";
import { type Tree, treeMap } from "../src/trace/tree.ts";

/** A library whose functions all succeed; those in `more` also write a result. */
// deno-lint-ignore no-explicit-any
function idle(more: { readonly [name: string]: (...args: any[]) => void } = {}): any {
  const nothing = () => 0;
  const functions = new Map(
    Object.entries(more).map(([name, f]) => [name, (...args: unknown[]) => (f(...args), 0)]),
  );
  return new Proxy({}, { get: (_, name) => functions.get(String(name)) ?? nothing });
}

const pinned: Uint8Array<ArrayBuffer>[] = [];
let allocated = 0x7000_0000_0000n;
const out64 = (out: Uint8Array<ArrayBuffer>, value: bigint) =>
  new DataView(out.buffer, out.byteOffset).setBigUint64(0, value, true);
const libraries = {
  driver: idle({
    cuDeviceGetAttribute: (out: Uint8Array<ArrayBuffer>, which: number) =>
      new DataView(out.buffer, out.byteOffset).setInt32(0, which === 75 ? 9 : 1, true),
    cuMemGetInfo_v2: (free: Uint8Array<ArrayBuffer>, total: Uint8Array<ArrayBuffer>) => {
      out64(free, 2n ** 36n);
      out64(total, 2n ** 36n);
    },
    cuMemAlloc_v2: (out: Uint8Array<ArrayBuffer>, bytes: bigint) => {
      out64(out, allocated);
      allocated += bytes;
    },
    cuMemHostAlloc: (out: Uint8Array<ArrayBuffer>, bytes: bigint) => {
      const memory = new Uint8Array(Number(bytes));
      pinned.push(memory);
      out64(out, addressOf(memory));
    },
    cuModuleGetFunction: (out: Uint8Array<ArrayBuffer>) => out64(out, 1n),
    cuGraphInstantiateWithFlags: (out: Uint8Array<ArrayBuffer>) => out64(out, 1n),
  }),
  ...{ nvrtc: idle(), cublasLt: idle(), cudnn: idle() },
};

/** The training state of a step as a tree of zeros, by the names of its plan's donated inputs. */
function stateOf(device: Device, model: models.Model, modules: number): Tree<DeviceArray> {
  const s = setup({
    model,
    modules,
    method: local.man(local.dgl()),
    optimizer: optim.sgd({ momentum: 0.9 }),
  });
  const plan = stepPlan(s, 128, cudaTarget);
  const tree: { [key: string]: Tree<DeviceArray> } = {};
  for (const { name, value, donated } of plan.inputs) {
    if (!donated) continue;
    const keys = name.split("."), last = keys.pop() ?? "";
    let node: { [key: string]: Tree<DeviceArray> } = tree;
    for (const key of keys) node = (node[key] ??= {}) as typeof node;
    node[last] = device.zeros(plan.values[value]?.shape ?? []);
  }
  return tree;
}

/** Milliseconds of a call of `step`, the least of rounds. */
function timed(step: () => void): number {
  for (let i = 0; i < 30; i++) step();
  let least = Infinity;
  for (let round = 0; round < 10; round++) {
    const start = performance.now();
    for (let i = 0; i < 20; i++) step();
    least = Math.min(least, (performance.now() - start) / 20);
  }
  return least;
}

for (const [model, modules] of [[models.resnet32(), 16], [models.resnet110(), 55]] as const) {
  const device = new Device(new CudaBackend(libraries, { cubins: false }));
  const step = jit<[state: Tree<Tensor>, x: Tensor, rate: Tensor], { train: Tree<Tensor>; metrics: Tensor }>(
    (state, x, rate) => ({
      train: treeMap((leaf: Tensor) => leaf.mul(rate), state),
      metrics: x.mul(rate),
    }),
    { device, donate: [0], name: "step" },
  );
  let state = stateOf(device, model, modules);
  const leaves = device.liveArrays;
  const x = device.zeros([8]);
  const ms = timed(() => {
    const { train, metrics } = step(state, x, 0.5);
    metrics.dispose();
    state = train;
  });
  console.log(`${model.name}, ${modules} modules: ${leaves} arrays, ${ms.toFixed(2)} ms a step on the host`);
}
Deno.exit(0); // nothing that was opened needs closing
