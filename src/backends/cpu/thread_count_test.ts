import { assertEquals, assertThrows } from "@std/assert";
import { within } from "../../../tests/environment.ts";
import { LocalgradError } from "../../base/errors.ts";
import { open } from "../../runtime/devices.ts";
import { openCpu } from "./backend.ts";
import { defaultThreads, MOST_THREADS } from "./thread_count.ts";

const cores = Math.min(navigator.hardwareConcurrency, MOST_THREADS);

/** The default with these variables. */
async function threads(LOCALGRAD_THREADS?: string, OMP_NUM_THREADS?: string) {
  let count = {};
  await within({ LOCALGRAD_THREADS, OMP_NUM_THREADS }, () => void (count = defaultThreads()));
  return count;
}

Deno.test("the CPU backend takes a thread for each core, or as LOCALGRAD_THREADS says", async () => {
  assertEquals(await threads(), { threads: cores });
  assertEquals(await threads(""), { threads: cores });
  assertEquals(await threads("3"), { threads: 3, from: "LOCALGRAD_THREADS" });
  assertEquals(await threads(`${MOST_THREADS}`, "1"), { threads: MOST_THREADS, from: "LOCALGRAD_THREADS" });
  for (const wrong of ["0", "-1", "1.5", "2,1", "many", `${MOST_THREADS + 1}`, "1e2"]) {
    await within({ LOCALGRAD_THREADS: wrong }, () => {
      const says = `LOCALGRAD_THREADS must be a whole number from 1 to ${MOST_THREADS}, not "${wrong}"`;
      assertThrows(() => defaultThreads(), LocalgradError, says);
      assertThrows(() => openCpu(), LocalgradError, says);
    });
  }
});

Deno.test("OMP_NUM_THREADS limits the default, and rubbish in it is ignored", async () => {
  const one = cores > 1 ? { threads: 1, from: "OMP_NUM_THREADS" } : { threads: 1 };
  for (const list of ["1", " 1 ", "+1", "01", "1,4", " 1 , 2,3"]) {
    assertEquals(await threads(undefined, list), one, list);
  }
  for (const list of ["0", "-1", "one", "1,x", "1,0", "1,", ",1", "1.5", "", `${cores}`, `${cores + 5}`]) {
    assertEquals(await threads(undefined, list), { threads: cores }, list);
  }
});

Deno.test("a device has as many threads as the variables say, and the option beats them", () =>
  within({ LOCALGRAD_THREADS: "3" }, async () => {
    await using three = await open("cpu", { engine: "wasm" });
    await using one = await open("cpu", { engine: "wasm", threads: 1 });
    assertEquals(three.choice, "cpu (asked for): 3 threads of WebAssembly SIMD");
    assertEquals(one.choice, "cpu (asked for): 1 thread of WebAssembly SIMD");
  }));
