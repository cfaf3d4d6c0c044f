import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { machine } from "../tests/machine.ts";
import { openOnednn, searchOnednn } from "./onednn_library.ts";

const paths = (...given: Parameters<typeof machine>) =>
  searchOnednn(machine(...given)).candidates.map(({ path }) => path);

Deno.test("searchOnednn() looks in Pythons, conda, the loader, Homebrew and the system's folders, in this order", () => {
  const files = [
    "/venv/lib/libdnnl.so.3",
    "/python/lib/libdnnl.so.3",
    "/home/u/.local/lib/libdnnl.so.3",
    "/conda/lib/libdnnl.so.3",
    "/home/linuxbrew/.linuxbrew/lib/libdnnl.so.3",
    "/usr/lib/x86_64-linux-gnu/libdnnl.so.3",
  ];
  const env = { VIRTUAL_ENV: "/venv", PATH: "/python/bin", HOME: "/home/u", CONDA_PREFIX: "/conda" };
  assertEquals(paths([...files, "/python/bin/python3"], env), [
    ...files.slice(0, 4),
    "libdnnl.so.3",
    ...files.slice(4),
  ]);
});

Deno.test("searchOnednn() looks nowhere else if LOCALGRAD_LIBDNNL is set, and skips linker scripts", () => {
  const files = ["/own/libdnnl.so.3", "/venv/lib/libdnnl.so.3"];
  for (const chosen of ["/own", "/own/libdnnl.so.3"]) {
    assertEquals(paths(files, { LOCALGRAD_LIBDNNL: chosen, VIRTUAL_ENV: "/venv" }), ["/own/libdnnl.so.3"]);
  }
  assertEquals(paths([], { VIRTUAL_ENV: "/venv" }, ["/venv/lib/libdnnl.so.3"]), ["libdnnl.so.3"]);
});

Deno.test("searchOnednn() looks for macOS's file name there", () => {
  const host = { ...machine(["/opt/homebrew/lib/libdnnl.3.dylib"]), os: "darwin" };
  assertEquals(searchOnednn(host).candidates.map(({ path }) => path), [
    "libdnnl.3.dylib",
    "/opt/homebrew/lib/libdnnl.3.dylib",
  ]);
});

Deno.test("openOnednn() says what is missing: the permission, the library, another system, only version 2", () => {
  const refused = openOnednn({ ...machine([]), mayOpen: false });
  assertEquals(refused.opened, undefined);
  assertStringIncludes(refused.report.remedy ?? "", "--allow-ffi");
  assertStringIncludes(openOnednn({ ...machine([]), os: "windows" }).report.problem ?? "", "windows");
  // A name that no loader has: the machine that runs this test may have the library.
  const missing = openOnednn(machine([], { LOCALGRAD_LIBDNNL: "libdnnl-of-nowhere.so.3" })).report;
  assertStringIncludes(missing.problem ?? "", "libdnnl-of-nowhere.so.3 cannot be used");
  assertStringIncludes(missing.remedy ?? "", "correct LOCALGRAD_LIBDNNL");
  const gone = openOnednn(machine([], { LOCALGRAD_LIBDNNL: "/gone" })).report;
  assertEquals(gone.problem, "libdnnl.so.3 was not found");
  assertStringIncludes(gone.remedy ?? "", "libdnnl3");
  const two = "/usr/lib/x86_64-linux-gnu/libdnnl.so.2";
  const shadowed = { LD_LIBRARY_PATH: "own" }; // keeps the loader of this machine out of it
  const older = openOnednn(machine([two, "own/libdnnl.so.3"], shadowed)).report;
  assertEquals(older.problem, `libdnnl.so.3 was not found, only ${two}: version 2 has another interface`);
  assert(older.remedy?.startsWith("install oneDNN 3"), older.remedy);
});
