import { assertEquals } from "@std/assert";
import { changeOfDevice, describeDevices, resumedOn } from "./run_devices.ts";

const on = (arithmetic: string, firstStep: number) => ({ arithmetic, firstStep });
const [wasm, onednn] = ["cpu, WebAssembly", "cpu, oneDNN 3.2.0 (avx2)"];

Deno.test("resumedOn() appends another device, and leaves out one that did no step", () => {
  const begun = resumedOn([], on(wasm, 0));
  assertEquals(begun, [on(wasm, 0)]);
  assertEquals(resumedOn(begun, on(wasm, 5)), begun);
  const moved = resumedOn(begun, on(onednn, 5));
  assertEquals(moved, [on(wasm, 0), on(onednn, 5)]);
  assertEquals(resumedOn(moved, on(wasm, 5)), begun);
  assertEquals(resumedOn(begun, on(onednn, 0)), [on(onednn, 0)]);
  assertEquals(resumedOn([], on(wasm, 7)), [on(wasm, 7)]); // begun by an earlier version
});

Deno.test("a change of device is told when it happens, and listed from then on", () => {
  const moved = [on(wasm, 0), on(onednn, 5)];
  assertEquals(
    changeOfDevice(moved, 5),
    `resumed on ${onednn}; before it was ${wasm}, so the last bits will differ from those of an uninterrupted run`,
  );
  assertEquals([changeOfDevice(moved, 8), changeOfDevice([on(wasm, 0)], 0)], [undefined, undefined]);
  assertEquals([changeOfDevice([on(wasm, 7)], 7), changeOfDevice([], 0)], [undefined, undefined]);
  assertEquals(describeDevices(moved), `${wasm}; from step 6: ${onednn}`);
  assertEquals(describeDevices([on(wasm, 7)]), `unknown; from step 8: ${wasm}`);
});
