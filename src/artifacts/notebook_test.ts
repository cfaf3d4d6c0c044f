import { assertEquals } from "@std/assert";
import { open } from "../runtime/devices.ts";
import { kernel, notebookOutput } from "./notebook.ts";

/** What a notebook shows for the result of a cell. */
function shown(value: object): Promise<unknown> {
  return Reflect.get(value, Symbol.for("Jupyter.display")).call(value);
}

Deno.test("notebookOutput() redraws lines in one display of the cell", async () => {
  const sent: [type: string, text: unknown, id: unknown][] = [];
  const output = notebookOutput({
    broadcast(type, { data, transient }) {
      sent.push([
        type,
        Reflect.get(Object(data), "text/plain"),
        Reflect.get(Object(transient), "display_id"),
      ]);
      return sent.length === 2 ? Promise.reject(new Error("gone")) : undefined;
    },
  })!;
  const clear = "\r\x1b[2K";
  const texts = [];
  for (const text of [`${clear}10 %`, `${clear}20 %`, clear, "epoch 1\n", `${clear}30 %`]) {
    output.write(text);
    texts.push(sent.at(-1)?.[1]);
  }
  assertEquals(texts, ["10 %", "20 %", "20 %", "epoch 1\n", "epoch 1\n30 %"]);
  assertEquals(sent.map(([type]) => type), ["display_data", ...Array(3).fill("update_display_data")]);
  assertEquals(new Set(sent.map(([, , id]) => id)).size, 1);
  await new Promise((resolve) => setTimeout(resolve)); // the message that could not be sent ends nothing
});

Deno.test("outside a notebook there is no kernel", () => {
  assertEquals([kernel(), notebookOutput(undefined)], [undefined, undefined]);
});

Deno.test("a notebook shows shape, dtype and the first values of a device array", async () => {
  await using device = await open("cpu", { threads: 1 });
  using short = device.array([0.1, 2, -3], [3, 1]);
  assertEquals(await shown(short), { "text/plain": "DeviceArray f32[3,1] on cpu\n0.1, 2, -3" });
  using long = device.array(Int32Array.from({ length: 100 }, (_, i) => i));
  const text = "DeviceArray i32[100] on cpu\n0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …";
  assertEquals(await shown(long), { "text/plain": text });
  using half = device.array([1, 0.5], [2], "bf16");
  assertEquals(await shown(half), { "text/plain": "DeviceArray bf16[2] on cpu\n1, 0.5" });
  using one = device.array(7);
  assertEquals(await shown(one), { "text/plain": "DeviceArray f32[] on cpu\n7" });
  const gone = device.array([1]);
  gone.dispose();
  assertEquals(await shown(gone), { "text/plain": "DeviceArray f32[1] on cpu, disposed" });
});
