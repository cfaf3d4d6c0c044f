/**
 * The suites that need a card: the same op tests as every backend's, and captured runs over and over. Skipped where
 * there is none, unless LOCALGRAD_REQUIRE names `cuda`. tests/parity runs its fixtures on `cuda`, too.
 */
import { assert, assertEquals } from "@std/assert";
import { type CudaBackend, openCuda } from "../../src/backends/cuda/backend.ts";
import { dgl, man, trainer } from "../../src/local/local.ts";
import { resnet32 } from "../../src/models/resnet.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { Device, HostArray } from "../../src/trace/arrays.ts";
import { skips } from "../gate.ts";
import { convCases } from "../ops/cases/images.ts";
import { checkCases } from "../ops/check.ts";
import { Random } from "../ops/random.ts";
import { opSuite } from "../ops/suite.ts";
import { unfusedPlan } from "../ops/unfused.ts";

const single = () => openCuda({ precision: "f32" });
await opSuite(single, "cuda");
const ignore = await skips("cuda", single);

async function opened(options: Parameters<typeof openCuda>[0]): Promise<CudaBackend> {
  const result = await openCuda(options);
  if (!("backend" in result)) throw new Error(result.reason);
  return result.backend as CudaBackend;
}

Deno.test("cuda: cuDNN's older calls compute convolutions as the reference does", { ignore }, async () => {
  const backend = await opened({ precision: "f32", convolutions: "plain" });
  try {
    const alike = convCases(new Random(1)).filter(({ program }) =>
      program.instructions.every(({ attrs }) =>
        !("padding" in attrs) || attrs.padding.every(([before, after]) => before === after)
      )
    );
    await checkCases(backend, alike, unfusedPlan);
  } finally {
    await backend.close();
  }
});

/** Losses of MAN steps of ResNet-32 on one batch, and the bytes in use after each by the books and by the driver. */
async function steps(backend: CudaBackend, count: number) {
  await using device = new Device(backend);
  using t = await trainer({
    device,
    model: resnet32(),
    modules: 16,
    method: man(dgl()),
    optimizer: sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
    batch: 64,
  });
  const random = new Random(7);
  const x = new HostArray(random.floats(64 * 32 * 32 * 3), [64, 32, 32, 3]);
  const labels = Int32Array.from(random.ints(64, 0, 9));
  const losses: number[] = [], live: number[] = [], driver: number[] = [];
  for (let i = 0; i < count; i++) {
    losses.push(...(await t.step({ x, labels }, { learningRate: 0.01 })).losses);
    live.push(backend.liveBytes);
    driver.push(backend.driverMemory().usedBytes);
  }
  return { losses, live, driver, planned: t.memory.method.peakBytes };
}

Deno.test("cuda: a thousand captured steps take no more memory than the tenth", { ignore }, async () => {
  const { losses, live, driver, planned } = await steps(await opened({}), 1000);
  assert(losses.every(Number.isFinite));
  assertEquals(live[999], live[9]);
  assert(driver[999] <= driver[9] + 2 ** 21, `the driver's count grew from ${driver[9]} to ${driver[999]}`);
  const MiB = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
  console.log(
    `  planned peak ${MiB(planned)} MiB; held ${MiB(live[999])} MiB; the driver counts ${
      MiB(driver[999])
    } MiB`,
  );
});

Deno.test("cuda: captured steps give the bits of issued ones, run after run", { ignore }, async () => {
  const captured = await steps(await opened({ precision: "f32" }), 10);
  const again = await steps(await opened({ precision: "f32" }), 10);
  const issued = await steps(await opened({ precision: "f32", graphs: false }), 10);
  assertEquals(captured.losses, again.losses);
  assertEquals(captured.losses, issued.losses);
});
