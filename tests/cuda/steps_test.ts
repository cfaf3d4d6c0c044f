import { assert, assertEquals, assertThrows } from "@std/assert";
import { compileSource, nvrtcVersion } from "../../ffi/nvrtc.ts";
import { LibraryError } from "../../ffi/status.ts";
import { at } from "../../src/base/at.ts";
import type { Call } from "../../src/backends/cuda/call.ts";
import { compileOptions } from "../../src/backends/cuda/compile_options.ts";
import { type ConvSpec, convSpecOf } from "../../src/backends/cuda/conv.ts";
import { ConvPlans } from "../../src/backends/cuda/conv_plans.ts";
import { Descriptors, values } from "../../src/backends/cuda/descriptors.ts";
import { lowerPlan } from "../../src/backends/cuda/lower.ts";
import { callsOf, sourceOf } from "../../src/backends/cuda/source.ts";
import { cudaTarget, overlappingTarget } from "../../src/backends/cuda/target.ts";
import type { Precision, Target } from "../../src/compile/plan.ts";
import { type Card, describe } from "./cards.ts";
import { libraries, skipped } from "./libraries.ts";
import { type PlanStep, steps } from "./steps.ts";

const MiB = 2 ** 20;

/** The resources of each kernel in the log of ptxas: registers, bytes of shared memory, bytes spilled. */
function resources(log: string): { kernel: string; registers: number; shared: number; spilled: number }[] {
  return log.split("Compiling entry function '").slice(1).map((part) => ({
    kernel: part.slice(0, part.indexOf("'")),
    registers: Number(/Used (\d+) registers/.exec(part)?.[1]),
    shared: Number(/(\d+) bytes smem/.exec(part)?.[1] ?? 0),
    spilled: Number(/(\d+) bytes spill stores/.exec(part)?.[1]),
  }));
}

/**
 * The longest of kernels that differ in extents alone: numbers up to 8, such as widths of vectors and sums of a thread,
 * decide how many registers a kernel needs; larger ones are bounds and strides.
 */
function oneOfEachForm(calls: readonly Call[]): Call[] {
  const forms = new Map<string, Call>();
  for (const call of calls) {
    const form = call.text.replace(/\b\d+/g, (digits) => Number(digits) <= 8 ? digits : "n");
    const other = forms.get(form);
    if (other === undefined || other.text.length < call.text.length) forms.set(form, call);
  }
  return [...forms.values()];
}

/** The step whose launches are counted. */
const [first] = Object.keys(steps);

/** The bytes that ptxas may spill: a few words, in a kernel that would otherwise run fewer blocks at once. */
const SPILL = 16;

// A kernel has the same text on every card, so each card compiles those of one precision, for time.
for (const [architecture, precision] of [[80, "f32"], [90, "bf16"]] as const) {
  Deno.test(
    `NVRTC compiles every kernel of real training steps in ${precision} for sm_${architecture}`,
    { ignore: skipped },
    () => {
      const launches = Object.entries(steps).map(([name, plan]) => {
        const launches = lowerPlan(plan(cudaTarget, precision)), calls = callsOf(launches);
        // 1,812 before kernels were chained, set side by side, and rid of second passes.
        if (name === first) assert(launches.length <= 1250, `${launches.length}`);
        console.log(
          `  ${calls.length} launches of ${new Set(calls.map(({ text }) => text)).size} kernels: ${name}`,
        );
        return calls;
      });
      const { text, names } = sourceOf(oneOfEachForm(launches.flat()));
      const options = compileOptions(architecture, nvrtcVersion(libraries.nvrtc!));
      const { log } = compileSource(libraries.nvrtc!, text, "steps.cu", [...options, "--ptxas-options=-v"]);
      assertEquals(log.split("\n").filter((line) => !/^ptxas( info)? /.test(line)), []);
      const used = resources(log);
      assertEquals(used.length, new Set(names).size);
      assertEquals(used.filter(({ spilled, registers }) => spilled > SPILL || registers > 128), []);
      for (const { kernel, registers, shared, spilled } of used.sort((a, b) => b.registers - a.registers)) {
        console.log(`  ${kernel}: ${registers} registers, ${shared} bytes shared, ${spilled} spilled`);
      }
    },
  );
}

Deno.test("NVRTC compiles the kernels that only steps that overlap have", { ignore: skipped }, () => {
  const step = at(Object.values(steps), 0);
  const callsFor = (target: Target) => callsOf(lowerPlan(step(target, "f32")));
  const known = new Set(callsFor(cudaTarget).map(({ text }) => text));
  // Kernels that differ by the remark alone would only cost time.
  const plain = ({ text }: Call) => text.replace("\n// on the second stream", "");
  const calls = [...new Map(callsFor(overlappingTarget).map((call) => [plain(call), call])).values()]
    .filter((call) => !known.has(plain(call)));
  assert(calls.some((call) => call.text !== plain(call)));
  console.log(`  ${calls.length} kernels`);
  const { text, names } = sourceOf(calls);
  const options = compileOptions(90, nvrtcVersion(libraries.nvrtc!));
  const { log } = compileSource(libraries.nvrtc!, text, "overlap.cu", [...options, "--ptxas-options=-v"]);
  assertEquals(log.split("\n").filter((line) => !/^ptxas( info)? /.test(line)), []);
  assertEquals(resources(log).length, new Set(names).size);
});

Deno.test("docs/cuda.md lists as many launches as steps have", async () => {
  const docs = await Deno.readTextFile(new URL("../../docs/cuda.md", import.meta.url));
  const [inOrder, overlapping] = docs.split("\nWith `overlap`");
  const listed = (text: string | undefined, step: string) =>
    Number(new RegExp(`^\\| ${step} *\\| *(\\d+) `, "m").exec(text ?? "")?.[1]);
  const [dgl32, , dgl110] = Object.values(steps);
  for (const precision of ["tf32", "bf16"] as const) {
    const name = `resnet32, man\\+dgl, K = 16, batch 1024, ${precision}`;
    const counted = [cudaTarget, overlappingTarget].map((target) =>
      lowerPlan(dgl32!(target, precision)).length
    );
    assertEquals([inOrder, overlapping].map((text) => listed(text, name)), counted);
  }
  const large = "resnet110, man\\+dgl, K = 55, batch 1024, tf32";
  assertEquals(listed(inOrder, large), lowerPlan(dgl110!(cudaTarget, "tf32")).length);
});

/** The distinct convolutions of a step, with the scratch that its plan has for each of those that are equal. */
function convolutions(step: PlanStep, precision: Precision) {
  const plan = step(cudaTarget, precision);
  const products = precision === "bf16" ? "tf32" : precision;
  const specs = new Map<string, { spec: ConvSpec; scratch: number[] }>();
  for (const launch of lowerPlan(plan)) {
    if (launch.kind !== "conv") continue;
    const spec = convSpecOf(launch.instruction, plan.values, products);
    specs.getOrInsertComputed(JSON.stringify(spec), () => ({ spec, scratch: [] })).scratch
      .push(launch.scratch.bytes);
  }
  return [...specs.values()];
}

/** The most convolutions of the first step that may lack scratch for their first engine, on an H200; 5 in f32 with cuDNN 9.28. */
const LACKING = { f32: 9, tf32: 5, bf16: 0 };

for (const [name, step] of Object.entries(steps)) {
  for (const card of ["h200", "a100"] as Card[]) {
    for (const precision of ["f32", "tf32", "bf16"] as const) {
      Deno.test(`cuDNN plans every convolution of ${name} in ${precision} for a described ${card}`, {
        ignore: skipped,
      }, () => {
        const found = convolutions(step, precision);
        assert(found.length > 0);
        let lacking = 0;
        const workspaces = found.map(({ spec, scratch }) => {
          const plans = new ConvPlans(libraries.cudnn!, spec, { description: describe(card) });
          try {
            const chosen = plans.choose(Math.min(...scratch)), best = plans.choose(Infinity);
            if ("workspace" in best) lacking += scratch.filter((bytes) => bytes < best.workspace).length;
            if ("refused" in chosen) throw new Error(`${JSON.stringify(spec)}: ${chosen.refused.join("; ")}`);
            const { ranked = false } = plans.candidates.find(({ outcome }) => outcome === chosen) ?? {};
            // The decoders of InfoPro have shapes for which the heuristics rank no engine.
            assert(
              ranked || !name.includes("DGL"),
              `an engine of the fallback mode: ${JSON.stringify(spec)}`,
            );
            return chosen.workspace;
          } finally {
            plans.close();
          }
        });
        if (name === first && card === "h200") assert(lacking <= LACKING[precision], `${lacking}`);
        console.log(
          `  ${found.length} convolutions; workspace: at most ${
            (Math.max(...workspaces) / MiB).toFixed(1)
          } MiB; ${lacking} lack scratch for their first engine`,
        );
      });
    }
  }
}

const spec: ConvSpec = {
  op: "conv",
  image: [8, 16, 16, 16],
  filter: [32, 3, 3, 16],
  result: [8, 16, 16, 32],
  attrs: { strides: [1, 1], padding: [[1, 1], [1, 1]], dilation: [1, 1], groups: 1 },
  precision: "f32",
  epilogue: "none",
};

/** The result of planning: the plan's workspace, or cuDNN's error. */
function planned(
  spec: ConvSpec,
  card: Card,
): { readonly workspace: number } | { readonly error: LibraryError } {
  const plans = new ConvPlans(libraries.cudnn!, spec, { description: describe(card) });
  try {
    const chosen = plans.choose(MiB);
    if ("refused" in chosen) throw new Error(chosen.refused.join("; "));
    return chosen;
  } catch (error) {
    if (error instanceof LibraryError) return { error };
    throw error;
  } finally {
    plans.close();
  }
}

for (const card of ["h200", "a100"] as Card[]) {
  for (const precision of ["f32", "tf32", "bf16"] as const) {
    Deno.test(`cuDNN takes a bias into a convolution in ${precision} for a described ${card}`, {
      ignore: skipped,
    }, () => assert("workspace" in planned({ ...spec, precision, epilogue: "bias" }, card)));
  }
}

Deno.test(
  "cuDNN refuses a convolution whose result has the wrong extent",
  { ignore: skipped },
  () => {
    const error = assertThrows(
      () =>
        new ConvPlans(libraries.cudnn!, { ...spec, result: [8, 15, 16, 32] }, {
          description: describe("h200"),
        }),
      LibraryError,
    );
    assertEquals(error.statusName.startsWith("CUDNN_STATUS_BAD_PARAM"), true, error.message);
  },
);

Deno.test("cuDNN refuses an attribute of the wrong type, and a descriptor that lacks one", {
  ignore: skipped,
}, () => {
  const descriptors = new Descriptors(libraries.cudnn!);
  try {
    const wrong = assertThrows(
      () =>
        descriptors.build("CUDNN_BACKEND_TENSOR_DESCRIPTOR", [
          ["CUDNN_ATTR_TENSOR_DIMENSIONS", values.pointers([1n, 2n, 3n, 4n])],
        ]),
      LibraryError,
    );
    assertEquals(wrong.statusName, "CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE", wrong.message);
    assertEquals(wrong.doing, "setting CUDNN_ATTR_TENSOR_DIMENSIONS");
    const lacking = assertThrows(
      () =>
        descriptors.build("CUDNN_BACKEND_TENSOR_DESCRIPTOR", [
          ["CUDNN_ATTR_TENSOR_DIMENSIONS", values.int64([1, 2, 3, 4])],
        ]),
      LibraryError,
    );
    assertEquals(lacking.statusName.startsWith("CUDNN_STATUS_BAD_PARAM"), true, lacking.message);
  } finally {
    descriptors.close();
  }
});

Deno.test(
  "in f32 no engine filters with large tiles, which round more than direct sums",
  { ignore: skipped },
  () => {
    const image = [64, 32, 32, 64] as const;
    const large: ConvSpec = { ...spec, image, filter: [64, 3, 3, 64], result: image };
    const plans = new ConvPlans(libraries.cudnn!, large, { description: describe("a100") });
    try {
      assert("plan" in plans.choose(Infinity));
      const refused = plans.candidates.flatMap(({ outcome }) =>
        outcome !== undefined && "refused" in outcome ? [outcome.refused] : []
      );
      assert(refused.some((reason) => reason.includes("large tiles")), refused.join("; "));
    } finally {
      plans.close();
    }
  },
);

Deno.test("a workspace too small for every engine is refused, with the reasons", { ignore: skipped }, () => {
  const plans = new ConvPlans(libraries.cudnn!, spec, { description: describe("h200") });
  try {
    const chosen = plans.choose(-1);
    const refused = "refused" in chosen ? chosen.refused : [];
    assertEquals(refused.length, plans.candidates.length);
    assert(refused.some((reason) => reason.startsWith("needs ")));
    assert(refused.some((reason) => reason.includes("tensor cores")));
  } finally {
    plans.close();
  }
});
