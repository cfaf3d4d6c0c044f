import { assert, assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import { Random } from "../../../tests/ops/random.ts";
import { ALIGNMENT, LinearMemory, RESERVED } from "./memory.ts";

Deno.test("LinearMemory allocates aligned blocks that never overlap, and frees all of them", () => {
  const memory = new LinearMemory();
  const random = new Random(7);
  const blocks: { address: number; bytes: number; mark: number }[] = [];
  const check = ({ address, bytes, mark }: typeof blocks[number]) => {
    const held = memory.bytes.subarray(address, address + bytes);
    assert(held.every((byte) => byte === mark), "another block wrote here");
  };
  for (let i = 0; i < 2000; i++) {
    if (blocks.length > 0 && random.chance(0.45)) {
      const [block] = blocks.splice(random.int(0, blocks.length - 1), 1);
      check(block);
      memory.free(block.address, block.bytes);
    } else {
      const bytes = random.int(1, random.chance(0.1) ? 40_000 : 300);
      const address = memory.allocate(bytes, "a test");
      assertEquals(address % ALIGNMENT, 0);
      assert(address >= RESERVED && address + bytes <= memory.memory.buffer.byteLength);
      const mark = random.int(1, 255);
      memory.bytes.fill(mark, address, address + bytes);
      blocks.push({ address, bytes, mark });
    }
  }
  const inUse = blocks.reduce((sum, { bytes }) => sum + Math.ceil(bytes / ALIGNMENT) * ALIGNMENT, 0);
  assertEquals(memory.used, inUse);
  for (const block of random.shuffle(blocks)) {
    check(block);
    memory.free(block.address, block.bytes);
  }
  assertEquals(memory.used, 0);
});

Deno.test("LinearMemory reuses freed blocks: neighbours are merged", () => {
  const memory = new LinearMemory();
  const blocks = Array.from({ length: 64 }, () => memory.allocate(1 << 16, "a test"));
  const size = memory.memory.buffer.byteLength;
  for (const i of [...blocks.keys()].sort((a, b) => (a * 37) % 64 - (b * 37) % 64)) {
    memory.free(blocks[i], 1 << 16);
  }
  const all = memory.allocate(64 << 16, "a test");
  assertEquals(all, blocks[0]);
  assertEquals(memory.memory.buffer.byteLength, size);
});

Deno.test("LinearMemory grows while views of it exist", () => {
  const memory = new LinearMemory();
  const first = memory.allocate(64, "a test");
  memory.words[first / 4] = 1234;
  const large = memory.allocate(32 << 20, "a test");
  memory.words[large / 4 + 100] = 5678;
  assertEquals(memory.words[first / 4], 1234);
  assertEquals(memory.words[large / 4 + 100], 5678);
});

Deno.test("LinearMemory rejects an allocation beyond 4 GiB, reports how much is in use, and stays usable", () => {
  const memory = new LinearMemory();
  memory.allocate(3 << 20, "a test");
  const error = assertThrows(() => memory.allocate(5 * 2 ** 30, "the arena of step"), LocalgradError);
  assert(error.message.includes("the arena of step needs 5120 MiB"), error.message);
  assert(error.message.includes("holds 3 MiB"), error.message);
  memory.free(memory.allocate(1 << 20, "a test"), 1 << 20);
});

Deno.test("LinearMemory exchanges a block for a larger one in its place, and keeps it if that fails", () => {
  const memory = new LinearMemory();
  const before = memory.allocate(1000, "a test"), block = memory.allocate(5000, "a test");
  const larger = memory.exchange(block, 5000, 70_000, "a test"); // the last block: it grows where it is
  assertEquals(larger, block);
  const after = memory.allocate(100, "a test");
  const { used } = memory;
  assertThrows(() => memory.exchange(larger, 70_000, 5 * 2 ** 30, "a test"), LocalgradError, "5120 MiB");
  assertEquals(memory.used, used);
  const other = memory.allocate(70_000, "a test");
  assert(other >= after + 100 || other + 70_000 <= before, "the block was handed out a second time");
  const fresh = memory.exchange(0, 0, 64, "a test"); // none before
  for (
    const [address, bytes] of [[before, 1000], [larger, 70_000], [after, 100], [other, 70_000], [fresh, 64]]
  ) {
    memory.free(address, bytes);
  }
  assertEquals(memory.used, 0);
});
