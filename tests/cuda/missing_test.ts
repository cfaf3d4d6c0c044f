/**
 * Without each library, version or permission in turn, `doctor` and `train --device cuda` report the problem and the
 * remedy in one clear message, and `auto` picks the next device and says why. On the simulated device.
 */
import { assert, assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { libraries as described, libraryNames } from "../../ffi/search.ts";
import { LocalgradError } from "../../src/base/errors.ts";
import { doctor } from "../../src/cli/doctor.ts";
import { train } from "../../src/cli/train.ts";
import { open } from "../../src/runtime/devices.ts";
import { skips } from "../gate.ts";
import { environment, openSimulated, report, setMemory } from "./simulated.ts";

const ignore = await skips("cuda-simulated", () => openSimulated());

interface Kill {
  readonly name: string;
  /** Added to the environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Parts of the problem and the remedy. */
  readonly says: readonly string[];
}

const kills: readonly Kill[] = [
  ...libraryNames.map((name): Kill => ({
    name: described[name].title,
    env: { [described[name].override]: "/nowhere" },
    says: ["was not found", described[name].install, described[name].override],
  })),
  {
    name: "a driver for the CUDA version of the libraries",
    env: { LOCALGRAD_SIM_DRIVER: "12080" },
    says: ["the driver is for CUDA 12.8, and the libraries found are for CUDA 13", "one major version"],
  },
  {
    name: "NVRTC for the CUDA version of the others",
    env: { LOCALGRAD_SIM_NVRTC: "12080" },
    says: ["but NVRTC is for CUDA 12", "one major version"],
  },
  {
    name: "cuBLASLt for the CUDA version of the others",
    env: { LOCALGRAD_SIM_CUBLAS: "12060" },
    says: ["is for CUDA 12, but NVRTC is for CUDA 13", "pip install nvidia-cublas"],
  },
  {
    name: "cuDNN 9",
    env: { LOCALGRAD_SIM_CUDNN: "8907" },
    says: ["it is version 8.9.7, and 9 is needed", "pip install nvidia-cudnn-cu13"],
  },
  // Last, since these find all libraries, and the process keeps them.
  {
    name: "a card that is new enough",
    env: { LOCALGRAD_SIM_ARCHITECTURE: "61" },
    says: ["sm_61", "sm_75 is needed", "the device webgpu or cpu"],
  },
];

/** Runs a function with environment variables set. */
async function within<T>(env: Readonly<Record<string, string>>, run: () => Promise<T>): Promise<T> {
  const before = Object.keys(env).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
  try {
    return await run();
  } finally {
    for (const [name, value] of before) {
      value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    }
  }
}

/** The output of a command. */
async function printed(run: () => Promise<void>): Promise<string> {
  const lines: string[] = [], log = console.log;
  console.log = (...data: unknown[]) => void lines.push(data.join(" "));
  try {
    await run();
  } finally {
    console.log = log;
  }
  return lines.join("\n");
}

/** The error of `train` on CUDA, which must be one line and leave nothing written. */
async function refusal(): Promise<string> {
  const folder = await Deno.makeTempDir();
  try {
    const flags = ["--model", "resnet8", "--dataset", "shapes", "--train-limit", "4", "--test-limit", "4"];
    const run = [...flags, "--batch", "4", "--device", "cuda", "--run", `${folder}/run`];
    const error = await assertRejects(() => train(run), LocalgradError);
    assertEquals([...Deno.readDirSync(folder)], []);
    return error.message;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

for (const { name, env, says } of kills) {
  Deno.test({
    name: `without ${name}: doctor and train report the remedy, auto picks the next device`,
    ignore,
    sanitizeResources: false, // a process keeps its libraries
    fn: () =>
      within({ ...environment, ...env }, async () => {
        const told = await printed(() => doctor([])), refused = await refusal();
        const [line] = told.split("\n").filter((line) => line.startsWith("✗ cuda"));
        assert(line !== undefined, told);
        for (const text of says) for (const where of [told, refused]) assertStringIncludes(where, text);
        assertEquals(refused.split("\n").length, 1);
        assert(refused.startsWith("no cuda device: "), refused);
        await using next = await open("auto");
        assertNotEquals(next.name, "cuda");
        assertStringIncludes(next.choice, `not cuda: ${line.slice("✗ cuda".length).trim()}`);
        assertStringIncludes(told, `auto picks ${next.choice}`);
        assertEquals(report(), "");
      }),
  });
}

Deno.test({
  name: "without enough free memory doctor reports what a step takes and what is free",
  ignore,
  sanitizeResources: false,
  fn: () =>
    within(environment, async () => {
      assertStringIncludes(await printed(() => doctor([])), "of them free; man+dgl on ResNet-32");
      setMemory(100 * 2 ** 20);
      try {
        const told = await printed(() => doctor([]));
        assertStringIncludes(told, "100 MiB of them free: man+dgl on ResNet-32, K = 16, batch 128, takes");
        assertStringIncludes(told, "use a smaller batch or more modules");
      } finally {
        setMemory(2 ** 32);
      }
      assertEquals(report(), "");
    }),
});

const script = new URL("./without_permission.ts", import.meta.url).pathname;
const permissions: readonly { readonly denied: string; readonly flag: string; readonly sure: boolean }[] = [
  { denied: "--deny-ffi", flag: "--allow-ffi", sure: true },
  { denied: "--deny-read", flag: "--allow-read", sure: true },
  // The system's loader may find everything, which is fine.
  { denied: "--deny-env", flag: "--allow-env", sure: false },
];
for (const { denied, flag, sure } of permissions) {
  Deno.test({
    name: `with ${denied} doctor and train name the flag, auto picks the next device, and nothing prompts`,
    ignore,
    fn: async () => {
      const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-q", "--no-prompt", "--no-check", "--allow-all", denied, script],
        env: { ...environment, NO_COLOR: "1" },
      }).output();
      const text = new TextDecoder().decode(stdout);
      assert(text.startsWith("{"), new TextDecoder().decode(stderr));
      const { told, refused, choice } = JSON.parse(text);
      if (!sure && refused === undefined) return;
      for (const said of [told, refused]) assertStringIncludes(said, flag);
      assertEquals(refused.split("\n").length, 1);
      assertStringIncludes(choice, "not cuda: ");
      assertStringIncludes(told, `auto picks ${choice}`);
    },
  });
}
