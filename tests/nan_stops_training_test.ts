import { assertRejects } from "@std/assert";
import { openWebgpu } from "../src/backends/webgpu/backend.ts";
import { LocalgradError } from "../src/base/errors.ts";
import { dgl } from "../src/local/methods/dgl.ts";
import { open } from "../src/runtime/devices.ts";
import { HostArray } from "../src/trace/host_array.ts";
import { skips } from "./gate.ts";
import { tinyDataset } from "./tiny.ts";
import { make } from "./tiny_trainer.ts";

const noWebgpu = await skips("webgpu", openWebgpu);

for (const name of ["reference", "cpu", "webgpu"] as const) {
  Deno.test(`a NaN in the weights stops training on ${name}`, {
    ignore: name === "webgpu" && noWebgpu,
  }, async () => {
    await using device = await open(name);
    using trainer = await make({ device, method: dgl() });
    const { tensors } = await trainer.snapshot();
    const own = new Map([...tensors].filter(([name]) => !/^(local|optimizer)\./.test(name)));
    const weight = own.get("layer1.0.conv1.weight")!;
    own.set(
      "layer1.0.conv1.weight",
      new HostArray(Float32Array.from(weight.data).with(0, NaN), weight.shape),
    );
    trainer.load({ name: "with a NaN", tensors: own });
    await assertRejects(
      () => trainer.fit(tinyDataset(32, 8), { epochs: 1, observers: [] }),
      LocalgradError,
      "NaN",
    );
  });
}
