import { assertEquals, assertThrows } from "@std/assert";
import { pagesFault } from "./pages.ts";

/** A whole number in Thrift's compact protocol. */
function zigzag(value: number): number[] {
  const bytes: number[] = [];
  for (
    let left = value < 0 ? -2 * value - 1 : 2 * value;
    left >= 0;
    left = left < 128 ? -1 : Math.floor(left / 128)
  ) {
    bytes.push(left % 128 + (left < 128 ? 0 : 128));
  }
  return bytes;
}

/** A page of 8 bytes whose header says so, or something else: a data page (5), a dictionary (7) or one of version 2 (8). */
function page(values: number, { kind = 5, size = 8, length = 8 } = {}): number[] {
  const head = [0x15, 0, 0x15, ...zigzag(size), 0x15, ...zigzag(length)]; // fields 1 to 3
  return [...head, (kind - 3) * 16 + 12, 0x15, ...zigzag(values), 0, 0, ...new Array(8).fill(0)];
}

Deno.test("pages that say more than the footer are refused before anything is allocated for them", () => {
  const fault = (...bytes: number[]) =>
    pagesFault(Uint8Array.from(bytes), { start: 0, end: bytes.length, values: 5, bytes: 100 });
  assertEquals(fault(...page(2, { kind: 7 }), ...page(2), ...page(3, { kind: 8 })), undefined);
  assertEquals(fault(...page(2), ...page(4)), "a page of 4 values in a column of 5");
  assertEquals(fault(...page(300)), "a page of 300 values in a column of 5");
  assertEquals(fault(...page(9, { kind: 7 })), "a dictionary of 9 values in 8 bytes");
  assertEquals(fault(...page(5, { size: 101 })), "a page of 101 bytes in a column of 100");
  assertEquals(fault(...page(5, { length: 9 })), "a page that is cut off");
  assertEquals(fault(...page(5, { length: -8 })), "a page of a negative size");
  assertThrows(() => fault(...page(5).slice(0, 8)), Error, "a header that is cut off");
  assertThrows(() => fault(...new Array(99).fill(0x1c)), Error, "a header nested too deep");
});
