import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import { checkCases, opCase, runAll } from "../../../tests/ops/check.ts";
import { f32, Random } from "../../../tests/ops/random.ts";
import { unfusedPlan } from "../../../tests/ops/unfused.ts";
import type { Shape } from "../../trace/dtype.ts";
import type { ConvAttrs } from "../../trace/ops.ts";
import { shapeRules } from "../../trace/shape_rules.ts";
import type { Backend } from "../backend.ts";
import { openCpu } from "./backend.ts";
import { liveWorkerCount } from "./threads.ts";

function cpu(threads: number): Backend {
  const opened = openCpu({ threads });
  if (!("backend" in opened)) throw new Error(opened.reason);
  return opened.backend;
}

async function withCpu(threads: number, test: (backend: Backend) => Promise<void>): Promise<void> {
  const backend = cpu(threads);
  try {
    await test(backend);
  } finally {
    await backend.close();
  }
  assertEquals(backend.liveBuffers, 0);
  assertEquals(liveWorkerCount(), 0);
}

/** A convolution with its gradients. */
function convCases(random: Random, image: Shape, filter: Shape, attrs: ConvAttrs) {
  const [x, w] = [f32(...image), f32(...filter)];
  const dy = shapeRules.conv([x, w], attrs);
  const [a, b, c] = [x, w, dy].map((aval) => random.elements(aval));
  return [
    opCase("conv", [x, w], attrs, [a, b]),
    opCase("convInputGrad", [dy, w], { ...attrs, inputShape: image }, [c, b]),
    opCase("convFilterGrad", [x, dy], { ...attrs, filterShape: filter }, [a, c]),
  ];
}

function product(random: Random, m: number, k: number, n: number, transposeA: boolean, transposeB: boolean) {
  const a = f32(...(transposeA ? [k, m] : [m, k]));
  const b = f32(...(transposeB ? [n, k] : [k, n]));
  return opCase("matmul", [a, b], { transposeA, transposeB }, [random.elements(a), random.elements(b)]);
}

/** Shapes beyond one block, band, panel, slice or chunk of every kernel that has them, none a multiple of its size. */
function largeCases(random: Random) {
  const geometry = (attrs: Partial<ConvAttrs>): ConvAttrs => ({
    strides: [1, 1],
    padding: [[1, 1], [1, 1]],
    dilation: [1, 1],
    groups: 1,
    ...attrs,
  });
  return [
    ...convCases(random, [2, 37, 35, 20], [20, 3, 3, 20], geometry({})),
    ...convCases(
      random,
      [1, 45, 29, 24],
      [12, 3, 3, 24],
      geometry({ strides: [2, 3], padding: [[0, 2], [1, 0]] }),
    ),
    ...convCases(random, [1, 40, 40, 24], [27, 3, 2, 8], geometry({ groups: 3, dilation: [2, 3] })),
    ...convCases(
      random,
      [1, 50, 33, 16],
      [9, 5, 5, 16],
      geometry({ padding: [[0, 0], [0, 0]], strides: [2, 1] }),
    ),
    ...convCases(random, [3, 30, 31, 19], [13, 1, 1, 19], geometry({ padding: [[0, 0], [0, 0]] })),
    product(random, 201, 300, 139, false, false),
    product(random, 101, 517, 131, true, false),
    product(random, 203, 257, 129, false, true),
    product(random, 13, 5003, 11, true, true),
    product(random, 1, 3000, 1, false, false),
  ];
}

Deno.test("cpu kernels are right where they are cut into blocks", async () => {
  await withCpu(2, (backend) => checkCases(backend, largeCases(new Random(3)), unfusedPlan));
});

Deno.test("cpu results are bit-identical on 1, 2, 3, 7 and 20 threads", async () => {
  const random = new Random(4);
  const long = f32(20_001, 3);
  const cases = [
    ...largeCases(random),
    opCase("reduce", [long], { fn: "sum", axes: [0] }, [random.elements(long)]),
    opCase("reduce", [long], { fn: "sum", axes: [0, 1] }, [random.elements(long)]),
  ];
  const bits: Uint8Array[][] = [];
  // With 20, several threads share a part of a step's tasks.
  for (const threads of [1, 2, 3, 7, 20]) {
    await withCpu(threads, async (backend) => {
      const plans = cases.map(({ program, inputs }) => () => ({
        plan: unfusedPlan(program, backend.target),
        inputs,
      }));
      const results = await runAll(backend, plans);
      bits.push(results.map((result) => {
        if (result instanceof Error) throw result;
        return new Uint8Array(result[0].buffer);
      }));
    });
  }
  for (const other of bits.slice(1)) assertEquals(other, bits[0]);
});

Deno.test("cpu writes zeros for a sum of no terms, whatever the buffer contained", async () => {
  const { program } = opCase("reduce", [f32(5, 0, 3)], { fn: "sum", axes: [1] }, [new Float32Array(0)]);
  await withCpu(1, async (backend) => {
    const [x, y] = [0, 60].map((bytes) => backend.allocate(bytes, "f32"));
    backend.write(y, new Uint8Array(60).fill(255));
    backend.compile(unfusedPlan(program, backend.target)).run([x], [y]);
    assertEquals(await backend.read(y, 60), new Uint8Array(60));
  });
});

Deno.test("the maximum or minimum of zeros has the right sign, and NaN wins, wherever they are", async () => {
  // Each row is one number repeated, with another number in one place.
  const kinds = [[-0, 0], [0, -0], [-0, -0], [-1, -0], [-1, 0], [1, 0], [1, -0], [1, NaN], [-Infinity, NaN]];
  await withCpu(1, async (backend) => {
    for (const length of [1, 3, 4, 19, 70]) {
      const rows = kinds.flatMap(([most, one]) =>
        [0, length >> 1, length - 1].map((place) => new Array<number>(length).fill(most).with(place, one))
      );
      for (const axis of [0, 1]) {
        const shape = axis === 1 ? [rows.length, length] : [length, rows.length];
        const data = Float32Array.from(
          axis === 1 ? rows.flat() : rows[0].flatMap((_, i) => rows.map((row) => row[i])),
        );
        const x = backend.allocate(data.byteLength, "f32"), y = backend.allocate(rows.length * 4, "f32");
        backend.write(x, new Uint8Array(data.buffer));
        for (const fn of ["max", "min"] as const) {
          const { program } = opCase("reduce", [f32(...shape)], { fn, axes: [axis] }, [data]);
          backend.compile(unfusedPlan(program, backend.target)).run([x], [y]);
          const results = new Float32Array((await backend.read(y, rows.length * 4)).buffer);
          const wrong = rows.filter((row, i) => !Object.is(results[i], Math[fn](...row)));
          assertEquals(wrong, [], `${fn} along axis ${axis}`);
        }
      }
    }
  });
});

Deno.test("openCpu() rejects an invalid number of threads", () => {
  for (const threads of [0, -1, 1.5, NaN, 1025, Infinity]) {
    assertThrows(() => openCpu({ threads }), LocalgradError, "threads");
  }
});

Deno.test("cpu buffers: zeroed, counted, bounded, freed once", async () => {
  await withCpu(2, async (backend) => {
    const first = backend.allocate(1000, "f32");
    backend.write(first, new Uint8Array(1000).fill(255));
    assertEquals([backend.liveBuffers, backend.liveBytes], [1, 1000]);
    backend.free(first);
    assertThrows(() => backend.free(first), Error, "not a live buffer");
    assertThrows(() => backend.write(first, new Uint8Array(1)), Error, "not a live buffer");
    assertThrows(() => backend.read(first, 1), Error, "not a live buffer");
    const second = backend.allocate(1000, "f32"); // the same memory again
    assertEquals(await backend.read(second, 1000), new Uint8Array(1000));
    assertThrows(() => backend.write(second, new Uint8Array(1001)), Error, "do not fit");
    assertThrows(() => backend.read(second, 1001), Error, "does not hold");
    assertEquals([backend.liveBuffers, backend.liveBytes], [1, 1000]);
  });
});

Deno.test("read() returns the contents at the time of the call", async () => {
  await withCpu(1, async (backend) => {
    const buffer = backend.allocate(4, "u8");
    backend.write(buffer, Uint8Array.of(1, 2, 3, 4));
    const before = backend.read(buffer, 4);
    backend.write(buffer, Uint8Array.of(9, 9, 9, 9));
    assertEquals([...await before], [1, 2, 3, 4]);
  });
});

Deno.test("a closed cpu device says so, and can be closed again", async () => {
  const backend = cpu(2);
  await backend.close();
  await backend.close();
  assertThrows(() => backend.allocate(4, "f32"), LocalgradError, "closed");
});

Deno.test("an executable rejects buffers that are missing, too small, or another device's", async () => {
  const aval = f32(100);
  const { program } = opCase("pad", [aval], { low: [1], high: [1], interior: [0] }, [new Float32Array(100)]);
  await withCpu(2, async (backend) => {
    const executable = backend.compile(unfusedPlan(program, backend.target));
    const x = backend.allocate(400, "f32");
    const y = backend.allocate(408, "f32");
    const small = backend.allocate(404, "f32");
    assertThrows(() => executable.run([x], [small]), Error, "too small");
    assertThrows(() => executable.run([x], [undefined]), Error, "has no buffer");
    assertThrows(() => executable.run([], [y]), Error, "takes 1 inputs");
    const other = cpu(1);
    const foreign = other.allocate(400, "f32");
    assertThrows(() => executable.run([foreign], [y]), Error, "not a live buffer");
    await other.close();
    executable.run([x], [y]);
    executable.dispose();
    executable.dispose();
    assertThrows(() => executable.run([x], [y]), Error, "disposed");
  });
});

Deno.test("a plan that traps ends with an error on every thread, and does not hang", async () => {
  const aval = f32(64, 4096);
  const { program } = opCase("reduce", [aval], { fn: "sum", axes: [1] }, [new Float32Array(64 * 4096)]);
  const backend = cpu(3);
  const plan = unfusedPlan(program, backend.target);
  // The result would lie beyond the memory's end.
  const beyond = plan.locations.map((location) =>
    location?.kind === "output" ? { kind: "arena" as const, offset: 2 ** 31 } : location
  );
  const executable = backend.compile({ ...plan, locations: beyond });
  const x = backend.allocate(64 * 4096 * 4, "f32");
  const y = backend.allocate(64 * 4, "f32");
  assertThrows(() => executable.run([x], [y]));
  assertThrows(() => executable.run([x], [y]), Error, "failed");
  await backend.close();
  assertEquals(liveWorkerCount(), 0);
});
