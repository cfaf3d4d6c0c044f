import { assert, assertEquals, assertThrows } from "@std/assert";
import { deflateSync } from "node:zlib";
import facts from "../../tests/fixtures/datasets.json" with { type: "json" };
import { LocalgradError } from "../base/errors.ts";
import { readMat } from "./mat.ts";

const fixture = (name: string) =>
  Deno.readFileSync(new URL(`../../tests/fixtures/datasets/${name}`, import.meta.url));

const MOST = 1 << 20;

for (const name of ["plain.mat", "compressed.mat"]) {
  Deno.test(`readMat() reads ${name} like SciPy, skipping anything but real numeric arrays`, () => {
    const arrays = readMat(fixture(name), name, MOST);
    const expected = Object.entries(facts.mat).filter(([, { shape }]) => shape.length > 0);
    assertEquals([...arrays.keys()].sort(), expected.map(([name]) => name).sort());
    for (const [name, { shape, values }] of expected) {
      assertEquals(arrays.get(name)!.shape, shape, name);
      assertEquals([...arrays.get(name)!.data], values, name);
    }
  });
}

Deno.test("readMat() rejects a file truncated or altered anywhere, or reads the same arrays from it", () => {
  for (const name of ["plain.mat", "compressed.mat", "svhn/test_32x32.mat"]) {
    const whole = fixture(name);
    const before = readMat(whole, name, MOST);
    const step = Math.max(1, Math.floor(whole.length / 300));
    for (let length = 0; length < whole.length; length += step) {
      try {
        const arrays = readMat(whole.subarray(0, length), name, MOST);
        assert(arrays.size < before.size, `${length} of ${whole.length} bytes pass for the whole`);
      } catch (error) {
        assert(error instanceof LocalgradError && error.message.startsWith(name), `${error}`);
      }
    }
    for (let at = 128; at < whole.length; at += step) {
      const altered = whole.slice();
      altered[at] ^= 0x55;
      try {
        const arrays = readMat(altered, name, MOST);
        // Only compressed arrays have a checksum, which finds every change.
        if (name !== "plain.mat") assert(arrays.size < before.size, `a change at ${at} is not found`);
      } catch (error) {
        assert(error instanceof LocalgradError && error.message.startsWith(name), `at ${at}: ${error}`);
      }
    }
  }
});

/** A file with one array `X` of bytes, as MATLAB writes it in either byte order. */
function bigOrLittle(little: boolean, shape: number[], data: Uint8Array, compressed = false): Uint8Array {
  const parts: number[] = [];
  const word = (value: number) => {
    const bytes = [value & 255, value >> 8 & 255, value >> 16 & 255, value >>> 24];
    parts.push(...little ? bytes : bytes.reverse());
  };
  const pad = () => {
    while (parts.length % 8 !== 0) parts.push(0);
  };
  for (const value of [6, 8, 9, 0]) word(value); // flags: an array of uint8
  for (const value of [5, 4 * shape.length, ...shape]) word(value);
  pad();
  word(1 << 16 | 1); // a name of one byte, in its tag
  parts.push("X".charCodeAt(0), 0, 0, 0);
  word(2);
  word(data.length);
  parts.push(...data);
  pad();
  const body = [...parts];
  parts.length = 0;
  word(14);
  word(body.length);
  const matrix = [...parts, ...body];
  parts.length = 0;
  if (compressed) {
    const small = deflateSync(Uint8Array.from(matrix));
    word(15);
    word(small.length);
    parts.push(...small);
  } else parts.push(...matrix);
  const header = new Uint8Array(128).fill(32);
  header.set(new TextEncoder().encode("MATLAB 5.0 MAT-file"));
  header.set(little ? [0, 1, 73, 77] : [1, 0, 77, 73], 124);
  return Uint8Array.from([...header, ...parts]);
}

Deno.test("readMat() reads both byte orders", () => {
  const data = Uint8Array.from({ length: 30 }, (_, i) => 200 + i);
  for (const little of [true, false]) {
    for (const compressed of [true, false]) {
      const bytes = bigOrLittle(little, [2, 3, 5], data, compressed);
      const { shape, data: got } = readMat(bytes, "x.mat", MOST).get("X")!;
      assertEquals([shape, [...got]], [[2, 3, 5], [...data]]);
    }
  }
});

Deno.test("readMat() names the fault of other files", () => {
  const text = (value: string) => new TextEncoder().encode(value.padEnd(600));
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(), "x.mat is not a MATLAB version 5 file"],
    [
      text("MATLAB 7.3 MAT-file, Platform"),
      "x.mat is a MATLAB 7.3 file (HDF5), and only version 5 can be read; save",
    ],
    [text("<html>404</html>"), "x.mat is not a MATLAB version 5 file"],
    [bigOrLittle(true, [2, 3, 6], new Uint8Array(30)), "X has 30 elements and the shape 2×3×6"],
  ];
  for (const [bytes, message] of cases) {
    assertThrows(() => readMat(bytes, "x.mat", MOST), LocalgradError, message);
  }
});

Deno.test("readMat() limits the decompressed bytes of each array and of all together", () => {
  const data = new Uint8Array(1000).map((_, i) => i);
  const bytes = bigOrLittle(true, [1000], data, true);
  const inflated = 8 + 48 + 1000; // a tag, and an array's flags, extents, name and elements
  assertEquals([...readMat(bytes, "x.mat", inflated).get("X")!.data], [...data]);
  assertThrows(
    () => readMat(bytes, "x.mat", inflated - 1),
    LocalgradError,
    `x.mat decompresses to more than ${inflated - 1} bytes`,
  );
  const twice = Uint8Array.from([...bytes, ...bytes.subarray(128)]);
  assertEquals(readMat(twice, "x.mat", 2 * inflated).size, 1);
  assertThrows(() => readMat(twice, "x.mat", 2 * inflated - 1), LocalgradError, "decompresses to more than");
  const matrix = (says: number) => {
    const small = deflateSync(
      Uint8Array.from([14, 0, 0, 0, ...new Uint8Array(Uint32Array.of(says).buffer), 9]),
    );
    const words = new Uint8Array(Uint32Array.of(15, small.length).buffer);
    return Uint8Array.from([...bytes.subarray(0, 128), ...words, ...small]);
  };
  assertThrows(
    () => readMat(matrix(0), "x.mat", 99),
    LocalgradError,
    "an array is longer than its tag states",
  );
  assertThrows(() => readMat(matrix(2), "x.mat", 99), LocalgradError, "x.mat is truncated");
});
