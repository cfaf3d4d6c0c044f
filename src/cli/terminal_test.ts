import { assertEquals } from "@std/assert";
import { Device } from "../runtime/arrays.ts";
import { open } from "../runtime/devices.ts";
import { noteDevice } from "./terminal.ts";

Deno.test("noteDevice() prints one short line, with a hint where something was passed over", async () => {
  await using device = await open("reference");
  const { backend } = device;
  const lines: string[] = [];
  const { error } = console;
  console.error = (text: string) => lines.push(text);
  try {
    const { description } = backend;
    noteDevice(new Device(backend, `reference: ${description}`));
    noteDevice(new Device(backend, `reference: ${description} (not cuda: ${"a long story; ".repeat(20)})`));
    assertEquals(lines, [
      `device reference: ${description}`,
      `device reference: ${description}; deno task doctor says what would be faster`,
    ]);
  } finally {
    console.error = error;
  }
});
