/** The choice between WebAssembly and oneDNN for a CPU device, and what is said where it cannot be had. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { LocalgradError } from "../../src/base/errors.ts";
import { liveWorkerCount } from "../../src/backends/cpu/threads.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { open } from "../../src/runtime/devices.ts";
import { library, skipped } from "./library.ts";

/** Runs with environment variables set. */
async function within(env: Readonly<Record<string, string>>, run: () => Promise<void>): Promise<void> {
  const before = Object.keys(env).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
  try {
    await run();
  } finally {
    for (const [name, value] of before) {
      value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    }
  }
}

Deno.test(
  "the engine of a CPU device is WebAssembly unless oneDNN is asked for",
  { ignore: skipped },
  async () => {
    {
      await using device = await open("cpu", { threads: 1 });
      assertEquals(device.choice, "cpu (asked for): 1 thread of WebAssembly SIMD");
    }
    const { version, instructions } = library.report;
    const choice = `cpu (asked for): 2 threads of WebAssembly SIMD and oneDNN ${version} (${instructions})`;
    {
      await using device = await open("cpu", { threads: 2, engine: "onednn" });
      assertEquals(device.choice, choice);
    }
    await within({ LOCALGRAD_CPU: "onednn" }, async () => {
      await using device = await open("cpu", { threads: 2 });
      assertEquals(device.choice, choice);
      await using other = await open("cpu", { threads: 1, engine: "wasm" }); // the option beats the variable
      assertEquals(other.choice, "cpu (asked for): 1 thread of WebAssembly SIMD");
    });
    assertEquals(liveWorkerCount(), 0);
  },
);

Deno.test("an unknown engine, and oneDNN where there is none, are refused in one line", async () => {
  const refused = async (says: string, engine?: "onednn") => {
    const error = await assertRejects(
      () => open("cpu", engine === undefined ? {} : { engine }),
      LocalgradError,
    );
    assertStringIncludes(error.message, says);
    assertEquals(error.message.split("\n").length, 1);
  };
  await within({ LOCALGRAD_CPU: "mkl" }, () => refused('no engine "mkl"; choose wasm or onednn'));
  await within({ LOCALGRAD_LIBDNNL: "/gone" }, async () => {
    await refused("no cpu device: oneDNN: libdnnl.so.3 was not found; correct LOCALGRAD_LIBDNNL", "onednn");
    await refused('or take the engine "wasm"', "onednn");
  });
});

Deno.test("auto does not take the reference where oneDNN was demanded and is missing", () =>
  within({ LOCALGRAD_LIBDNNL: "/gone", LOCALGRAD_CPU: "onednn", LOCALGRAD_LIBCUDA: "/gone" }, async () => {
    const opened = await open("auto").catch((error) => error);
    if (opened instanceof Device) {
      assertEquals(opened.name === "webgpu", true, opened.choice); // a real card
      await opened.close();
    } else assertStringIncludes(opened.message, "no cpu device: oneDNN: libdnnl.so.3 was not found");
  }));

Deno.test("without permission for libraries oneDNN is refused with the flag, and nothing prompts", async () => {
  const { href } = new URL("../../src/runtime/devices.ts", import.meta.url);
  const source =
    `import { open } from "${href}"; await open("cpu", { engine: "onednn" }).catch((e) => console.log(e.message));`;
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/open.ts`, source);
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "--no-prompt", "--no-check", "--allow-read", "--allow-env", `${folder}/open.ts`],
      env: { NO_COLOR: "1" },
    }).output();
    assertStringIncludes(
      new TextDecoder().decode(stdout),
      "oneDNN: opening libraries is not permitted; run deno with --allow-ffi",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
