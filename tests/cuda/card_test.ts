/**
 * The suites that need a card: the op suite of every backend, and many captured runs. Skipped without a card, unless
 * LOCALGRAD_REQUIRE names `cuda`. tests/parity also runs its fixtures on `cuda`.
 */
import { assert, assertEquals } from "@std/assert";
import { type CudaBackend, openCuda } from "../../src/backends/cuda/backend.ts";
import type { Precision } from "../../src/compile/plan.ts";
import { dgl, man, trainer } from "../../src/local.ts";
import { resnet32 } from "../../src/models/resnet.ts";
import { publishedSgd } from "../../src/optim/published.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import { skips } from "../gate.ts";
import { bf16Suite, inBf16 } from "../ops/bf16.ts";
import { convCases } from "../ops/cases/images.ts";
import { checkCases } from "../ops/check.ts";
import { Random } from "../ops/random.ts";
import { opSuite } from "../ops/suite.ts";
import { tf32Suite } from "../ops/tf32.ts";
import { unfusedPlan } from "../ops/unfused.ts";

/** So that the same bits may be expected of two devices. */
const engines = "heuristic";
const single = () => openCuda({ precision: "f32", engines });
await opSuite(single, "cuda");
await tf32Suite(() => openCuda({ precision: "tf32", engines }), "cuda");
await bf16Suite(() => openCuda({ engines }), "cuda");
const ignore = await skips("cuda", single);

async function opened(options: Parameters<typeof openCuda>[0]): Promise<CudaBackend> {
  const result = await openCuda({ engines, ...options });
  if (!("backend" in result)) throw new Error(result.reason);
  return result.backend as CudaBackend;
}

/** Convolutions with the same padding on both sides, the only ones that cuDNN's legacy API supports. */
const symmetric = convCases(new Random(1)).filter(({ program }) =>
  program.instructions.every(({ attrs }) =>
    !("padding" in attrs) || attrs.padding.every(([before, after]) => before === after)
  )
);

Deno.test("cuda: cuDNN's legacy API computes convolutions as the reference does", { ignore }, async () => {
  const backend = await opened({ precision: "f32", convolutions: "plain" });
  try {
    await checkCases(backend, symmetric, unfusedPlan);
  } finally {
    await backend.close();
  }
});

Deno.test(
  "cuda: cuDNN's legacy API computes convolutions in bf16 as the reference does",
  { ignore },
  async () => {
    const backend = await opened({ convolutions: "plain" });
    try {
      await checkCases(backend, symmetric.map(inBf16), unfusedPlan);
    } finally {
      await backend.close();
    }
  },
);

/** Losses of MAN steps of ResNet-32 on one batch, and the bytes in use after each, by our count and the driver's. */
async function steps(backend: CudaBackend, count: number, precision: Precision) {
  await using device = new Device(backend);
  using t = await trainer({
    device,
    model: resnet32(),
    modules: 16,
    method: man(dgl()),
    optimizer: sgd(publishedSgd),
    batch: 64,
    precision,
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
  const { losses, live, driver, planned } = await steps(await opened({}), 1000, "tf32");
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

for (const precision of ["f32", "tf32", "bf16"] as const) {
  Deno.test(
    `cuda: captured steps in ${precision} give the bits of issued ones, run after run`,
    { ignore },
    async () => {
      const captured = await steps(await opened({}), 10, precision);
      const again = await steps(await opened({}), 10, precision);
      const issued = await steps(await opened({ graphs: false }), 10, precision);
      assertEquals(captured.losses, again.losses);
      assertEquals(captured.losses, issued.losses);
    },
  );
}

Deno.test("cuda: ten steps in tf32 and bf16 stay near those in f32, and bf16 plans for less memory", {
  ignore,
}, async () => {
  const f32 = await steps(await opened({}), 10, "f32");
  const tf32 = await steps(await opened({}), 10, "tf32");
  const bf16 = await steps(await opened({}), 10, "bf16");
  f32.losses.forEach((loss, i) => {
    assert(
      Math.abs(tf32.losses[i] - loss) < 0.05 * loss,
      `loss ${i} in tf32 is ${tf32.losses[i]}, not ${loss}`,
    );
    assert(
      Math.abs(bf16.losses[i] - loss) < 0.1 * loss,
      `loss ${i} in bf16 is ${bf16.losses[i]}, not ${loss}`,
    );
  });
  assert(bf16.planned < 0.6 * f32.planned);
});
