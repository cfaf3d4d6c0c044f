/** Messages about a missing library, version, permission or card, on the simulated device. */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { cudaReport, describeCuda } from "../../ffi/doctor.ts";
import { type Host, thisHost } from "../../ffi/host.ts";
import { openLibraries } from "../../ffi/library.ts";
import { libraries as described, libraryNames } from "../../ffi/search.ts";
import { LocalgradError } from "../../src/base/errors.ts";
import { skips } from "../gate.ts";
import { environment, fail, openSimulated, report } from "./simulated.ts";

const ignore = await skips("cuda-simulated", () => openSimulated());

/** This machine, with an environment in which the simulated device is CUDA. */
function host(env: Readonly<Record<string, string>> = {}, more: Partial<Host> = {}): Host {
  return { ...thisHost(), env: (name) => ({ ...environment, ...env })[name], ...more };
}

/** Opens the libraries of a host, with environment variables set for the simulated device. */
function opened<T>(
  host: Host,
  simulated: Readonly<Record<string, string>>,
  look: (found: ReturnType<typeof openLibraries>) => T,
): T {
  for (const [name, value] of Object.entries(simulated)) Deno.env.set(name, value);
  const found = openLibraries({ host });
  try {
    return look(found);
  } finally {
    found.close();
    for (const name of Object.keys(simulated)) Deno.env.delete(name);
  }
}

Deno.test("all libraries are found, with versions, and the card", { ignore }, () => {
  opened(host(), {}, (found) => {
    assert(found.driver && found.nvrtc && found.cublasLt && found.cudnn);
    for (const report of found.reports) assertEquals(report.problem, undefined);
    assertEquals(found.reports.map(({ version }) => version), [
      "for CUDA 13.0",
      "13.0",
      "13.0.0 for CUDA 13.0",
      "9.24.0 for CUDA 13.0",
    ]);
    const text = describeCuda(cudaReport(found)).join("\n");
    assertStringIncludes(text, "✓ card: simulated device (proves correctness, never speed), sm_90, 4.0 GiB");
  });
});

Deno.test("a card that is too old is reported, with the architecture needed", { ignore }, async () => {
  Deno.env.set("LOCALGRAD_SIM_ARCHITECTURE", "61");
  try {
    const text = opened(host(), {}, (found) => describeCuda(cudaReport(found)).join("\n"));
    assertStringIncludes(text, "sm_61, 4.0 GiB: too old: sm_75 is needed");
    await assertRejects(async () => await openSimulated(), LocalgradError, "is sm_61; sm_75 is needed");
  } finally {
    Deno.env.delete("LOCALGRAD_SIM_ARCHITECTURE");
  }
  assertEquals(report(), "");
});

Deno.test("a driver without a card is reported, with the remedy", { ignore }, () => {
  fail("init", 1);
  const text = opened(host(), {}, (found) => describeCuda(cudaReport(found)).join("\n"));
  assertStringIncludes(text, "✗ card: CUDA: starting the driver failed with CUDA_ERROR_NO_DEVICE");
  assertStringIncludes(text, "check `nvidia-smi`");
  assertEquals(report(), "");
});

for (const missing of libraryNames) {
  const { override, install } = described[missing];
  Deno.test(
    `without ${described[missing].title} the others are found, and the remedy is reported`,
    { ignore },
    () => {
      opened(host({ [override]: "/nowhere" }), {}, (found) => {
        assertEquals(found[missing], undefined);
        const report = found.reports.find(({ name }) => name === missing)!;
        assertStringIncludes(report.problem!, "was not found");
        assertStringIncludes(report.remedy!, install);
        assertStringIncludes(report.remedy!, override);
        assertEquals(report.tried, [`/nowhere (${override}): no shared library there`]);
        for (const name of libraryNames) if (name !== missing) assert(found[name] !== undefined, name);
      });
    },
  );
}

Deno.test("an override that names another library is refused", { ignore }, () => {
  opened(host({ [described.cublasLt.override]: "/usr/bin/env" }), {}, (found) => {
    const { problem, remedy } = found.reports.find(({ name }) => name === "cublasLt")!;
    assertStringIncludes(problem!, "/usr/bin/env cannot be used");
    assertStringIncludes(remedy!, "correct LOCALGRAD_LIBCUBLASLT");
  });
  opened(host({ [described.cudnn.override]: "libm.so.6" }), {}, (found) => { // by the system's loader
    const { problem, remedy } = found.reports.find(({ name }) => name === "cudnn")!;
    assertMatch(problem!, /^libm\.so\.6 is not a supported version of cuDNN: it has no cudnn\w+/);
    assertStringIncludes(remedy!, "correct LOCALGRAD_LIBCUDNN, or unset it");
    assert(found.nvrtc !== undefined);
  });
});

const versions: readonly { set: Record<string, string>; at: typeof libraryNames[number]; says: string }[] = [
  {
    set: { LOCALGRAD_SIM_DRIVER: "12080" },
    at: "driver",
    says: "the driver is for CUDA 12.8, and the libraries found are for CUDA 13",
  },
  {
    set: { LOCALGRAD_SIM_CUBLAS: "12060" },
    at: "cublasLt",
    says: "is for CUDA 12, but NVRTC is for CUDA 13",
  },
  { set: { LOCALGRAD_SIM_NVRTC: "12080" }, at: "cudnn", says: "is for CUDA 13, but NVRTC is for CUDA 12" },
  { set: { LOCALGRAD_SIM_CUDNN: "8907" }, at: "cudnn", says: "it is version 8.9.7, and 9 is needed" },
];
for (const { set, at, says } of versions) {
  const [[variable, value]] = Object.entries(set);
  Deno.test(`a version that conflicts with the others is refused: ${variable}=${value}`, { ignore }, () => {
    opened(host(), set, (found) => {
      assertEquals(found[at], undefined);
      assertStringIncludes(found.reports.find(({ name }) => name === at)!.problem!, says);
    });
  });
}

Deno.test("nothing is searched where libraries may not be opened, or on another system", () => {
  const untouched: Partial<Host> = {
    env: () => {
      throw new Error("the environment was read");
    },
    list: () => {
      throw new Error("a folder was read");
    },
  };
  const closed = openLibraries({ host: host({}, { ...untouched, mayOpen: false }) });
  assertEquals(closed.reports.length, 4);
  for (const { problem, remedy } of closed.reports) {
    assertEquals(problem, "opening libraries is not permitted");
    assertStringIncludes(remedy!, "--allow-ffi");
  }
  const elsewhere = openLibraries({ host: host({}, { ...untouched, os: "darwin" }) });
  assertStringIncludes(elsewhere.reports[0].problem!, "on Linux only");
});

/** The refusal of CUDA in a process with few permissions. */
async function probe(flags: readonly string[]): Promise<{ reason: string; remedy: string }> {
  const devices = new URL("../../src/runtime/devices.ts", import.meta.url);
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      script,
      `import { probe } from "${devices}"; console.log(JSON.stringify(await probe("cuda")));`,
    );
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-check", ...flags, script],
    }).output();
    const text = new TextDecoder().decode(stdout);
    if (!text.startsWith("{")) throw new Error(new TextDecoder().decode(stderr));
    return JSON.parse(text);
  } finally {
    await Deno.remove(script);
  }
}

Deno.test("a missing flag is named, and nothing prompts or throws", { ignore }, async () => {
  assertStringIncludes((await probe([])).remedy, "--allow-ffi");
  const listed = (await probe(["--allow-ffi=/elsewhere"])).remedy; // a list does not suffice: pointers need the whole flag
  assertStringIncludes(listed, "--allow-ffi, not with a list of paths");
  const blind = await probe(["--allow-ffi"]);
  if ("reason" in blind) assertStringIncludes(blind.remedy, "--allow-env"); // the loader alone may find everything
});
