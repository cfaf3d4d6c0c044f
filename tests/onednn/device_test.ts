/** The choice between WebAssembly and oneDNN for a CPU device, and what is said where oneDNN cannot be had. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ONEDNN_INSTALL } from "../../ffi/onednn_library.ts";
import { LocalgradError } from "../../src/base/errors.ts";
import { liveWorkerCount } from "../../src/backends/cpu/threads.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { open, type OpenOptions } from "../../src/runtime/devices.ts";
import { within } from "../environment.ts";
import { library, skipped } from "./library.ts";

const WASM = "cpu (asked for): 1 thread of WebAssembly SIMD";

/** Opens a CPU device of one thread, closes it, and returns its choice. */
async function choice(options: OpenOptions = {}): Promise<string> {
  await using device = await open("cpu", { threads: 1, ...options });
  return device.choice;
}

Deno.test("a CPU device takes a usable oneDNN, and names it", { ignore: skipped }, async () => {
  const { report: { version, instructions }, opened } = library;
  const onednn = `${WASM} and oneDNN ${version} (${instructions}, ${opened?.path})`;
  assertEquals(await choice(), onednn);
  assertEquals(await choice({ engine: "onednn" }), onednn);
  assertEquals(await choice({ engine: "wasm" }), WASM);
  await within({ LOCALGRAD_CPU: "wasm" }, async () => {
    assertEquals(await choice(), WASM);
    assertEquals(await choice({ engine: "onednn" }), onednn); // the option beats the variable
    assertEquals(await choice({ engine: "auto" }), onednn);
  });
  await within({ LOCALGRAD_CPU: "auto" }, async () => assertEquals(await choice(), onednn));
  assertEquals(liveWorkerCount(), 0);
});

Deno.test("a CPU device without oneDNN says why; a demand for it is refused in one line", async () => {
  const refused = async (says: string, engine?: "onednn") => {
    const error = await assertRejects(
      () => open("cpu", engine === undefined ? {} : { engine }),
      LocalgradError,
    );
    assertStringIncludes(error.message, says);
    assertEquals(error.message.split("\n").length, 1);
  };
  await within({ LOCALGRAD_CPU: "mkl" }, async () => {
    await refused('LOCALGRAD_CPU: the CPU backend has no engine "mkl"; choose auto, wasm, onednn');
  });
  await within({ LOCALGRAD_LIBDNNL: "/gone", LOCALGRAD_CPU: undefined }, async () => {
    const missing = "oneDNN: libdnnl.so.3 was not found; correct LOCALGRAD_LIBDNNL";
    await refused(`no cpu device: ${missing}`, "onednn");
    await refused('or take the engine "wasm"', "onednn");
    const said = await choice();
    assertStringIncludes(said, `${WASM} (not ${missing}`);
    assertStringIncludes(said, ONEDNN_INSTALL);
    assertEquals(await choice({ engine: "wasm" }), WASM);
  });
});

Deno.test("a LOCALGRAD_LIBDNNL that is no library leaves WebAssembly, with the reason", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const [text, broken] = [`${folder}/text.so`, `${folder}/broken.so`];
    await Deno.writeTextFile(text, "not a library");
    await Deno.writeFile(broken, new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 1, 2, 3]));
    const says = [
      ["libc.so.6", "libc.so.6 cannot be used: it has no dnnl_version"],
      [text, "libdnnl.so.3 was not found; correct LOCALGRAD_LIBDNNL"],
      [broken, `${broken} cannot be used: ${broken}: file too short`],
    ] as const;
    for (const [given, problem] of says) {
      await within(
        { LOCALGRAD_LIBDNNL: given, LOCALGRAD_CPU: undefined },
        async () => assertStringIncludes(await choice(), `${WASM} (not oneDNN: ${problem}`),
      );
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("auto does not take the reference where oneDNN was demanded and is missing", () =>
  within({ LOCALGRAD_LIBDNNL: "/gone", LOCALGRAD_CPU: "onednn", LOCALGRAD_LIBCUDA: "/gone" }, async () => {
    const opened = await open("auto").catch((error) => error);
    if (opened instanceof Device) {
      assertEquals(opened.name === "webgpu", true, opened.choice); // a real card
      await opened.close();
    } else assertStringIncludes(opened.message, "no cpu device: oneDNN: libdnnl.so.3 was not found");
  }));

/** The lines that a script prints with these permissions. Deno would prompt on a terminal; here a prompt fails. */
async function printed(body: string, ...flags: string[]): Promise<string[]> {
  const { href } = new URL("../../", import.meta.url);
  const folder = await Deno.makeTempDir();
  try {
    const script = `${folder}/script.ts`;
    await Deno.writeTextFile(script, `import { open } from "${href}src/runtime/devices.ts";\n${body}`);
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "--no-prompt", "--no-check", ...flags, script],
      env: { NO_COLOR: "1" },
    }).output();
    assertEquals(new TextDecoder().decode(stderr), "");
    return new TextDecoder().decode(stdout).trim().split("\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("without the permissions for it oneDNN is passed over, or refused, with the flags that it needs", async () => {
  const both = `const d = await open("cpu", { threads: 1 }); console.log(d.choice); await d.close();
    await open("cpu", { engine: "onednn" }).catch((e) => console.log(e.message));`;
  const denied = "oneDNN: opening libraries is not permitted; run deno with --allow-ffi";
  for (const flags of [[], ["--allow-read", "--allow-env"], ["--allow-ffi=/usr/lib"], ["--deny-ffi"]]) {
    const [chosen = "", demanded = ""] = await printed(both, ...flags);
    assertStringIncludes(chosen, `${WASM} (not ${denied}`);
    assertStringIncludes(demanded, `no cpu device: ${denied}`);
  }
});

Deno.test(
  "the search for oneDNN degrades to what may be read",
  { ignore: skipped || library.report.via !== "a Python wheel" },
  async () => {
    const one = `const d = await open("cpu", { threads: 1 }); console.log(d.choice); await d.close();`;
    const [nowhere = ""] = await printed(one, "--allow-ffi", "--allow-env");
    assertStringIncludes(nowhere, "libdnnl.so.3 was not found; ");
    assertStringIncludes(nowhere, "(or let the search read more: --allow-read)");
    const folder = Deno.env.get("VIRTUAL_ENV");
    const [there = ""] = await printed(
      one,
      "--allow-ffi",
      "--allow-env=VIRTUAL_ENV",
      `--allow-read=${folder}`,
    );
    assertStringIncludes(there, `${WASM} and oneDNN 3.`);
  },
);

Deno.test("permission taken away while oneDNN is in use", { ignore: skipped }, async () => {
  const { href } = new URL("../../", import.meta.url);
  const body = `import { jit } from "${href}src/runtime/jit.ts";
    const device = await open("cpu", { threads: 2, engine: "onednn" });
    const f = jit((x, y) => x.matmul(y).sum(), { device });
    const ones = (n) => new Float32Array(n * n).fill(1);
    const { HostArray } = await import("${href}src/trace/host_array.ts");
    const call = async (n) => {
      const a = new HostArray(ones(n), [n, n]);
      const y = f(a, a);
      console.log(...await y.read());
      y.dispose();
    };
    await call(128);
    Deno.permissions.revokeSync({ name: "ffi" });
    await call(128);
    await call(256).catch((e) => console.log(e.name, e.message));
    await device.close();
    const again = await open("cpu", { threads: 1 });
    console.log(again.choice);
    await again.close();`;
  const [before, after, fresh, again = ""] = await printed(body, "--allow-all");
  assertEquals([before, after], [`${128 ** 3}`, `${128 ** 3}`]);
  assertStringIncludes(
    fresh ?? "",
    'LocalgradError oneDNN: the permission to use it was revoked; take the engine "wasm"',
  );
  assertStringIncludes(again, `${WASM} (not oneDNN: opening libraries is not permitted`);
});
