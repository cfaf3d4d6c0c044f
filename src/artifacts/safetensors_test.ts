import { assert, assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { HostArray } from "../trace/host_array.ts";
import { decodeSafetensors, encodeSafetensors } from "./safetensors.ts";

const tensors = new Map([
  ["weight", new HostArray(Float32Array.of(1, -2.5, NaN, Infinity, 0, 6), [2, 3])],
  ["scalar", new HostArray(Int32Array.of(-7), [])],
  ["key", new HostArray(Uint32Array.of(0xffffffff, 1), [2])],
  ["bytes", new HostArray(Uint8Array.of(1, 2, 255), [3])],
]);

/** A file of this header and data, assembled by hand. */
function file(header: unknown, data: number[] = []): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + data.length);
  bytes[0] = text.length & 255;
  bytes[1] = text.length >> 8;
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

Deno.test("encodeSafetensors() writes the layout of the format", () => {
  const one = new Map([["a", new HostArray(Float32Array.of(1), [1])]]);
  const bytes = encodeSafetensors({ tensors: one, metadata: { m: "x" } });
  const header = `{"__metadata__":{"m":"x"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`;
  const length = Math.ceil(header.length / 8) * 8;
  assertEquals([...bytes.slice(0, 8)], [length, 0, 0, 0, 0, 0, 0, 0]);
  assertEquals(new TextDecoder().decode(bytes.slice(8, 8 + length)), header.padEnd(length));
  assertEquals([...bytes.slice(8 + length)], [0, 0, 128, 63]);
});

Deno.test("decodeSafetensors() returns what was encoded, bit for bit", () => {
  const metadata = { text: 'with "quotes" and ü' };
  const decoded = decodeSafetensors(encodeSafetensors({ tensors, metadata }), "x");
  assertEquals(decoded.metadata, metadata);
  assertEquals(decoded.tensors, tensors);
});

Deno.test("decodeSafetensors() reads a file without metadata, and PyTorch's I64 counters as i32", () => {
  const bytes = file({ n: { dtype: "I64", shape: [], data_offsets: [0, 8] } }, [44, 1, 0, 0, 0, 0, 0, 0]);
  const { tensors, metadata } = decodeSafetensors(bytes, "x");
  assertEquals(metadata, {});
  assertEquals(tensors.get("n"), new HostArray(Int32Array.of(300), []));
});

Deno.test("decodeSafetensors() reads halves, bfloat16s and doubles as f32, and lists them", () => {
  const values = [1, -2.5, 0.15625, 65504];
  const half = new Uint8Array(new Float16Array(values).buffer);
  const brain = new Uint8Array(8); // 1, −2.5, infinity and 2⁻¹²⁶, the smallest normal number
  new Uint16Array(brain.buffer).set([0x3f80, 0xc020, 0x7f80, 0x0080]);
  const double = new Uint8Array(Float64Array.of(0.1, -1e300).buffer);
  const { tensors, types } = decodeSafetensors(
    file({
      h: { dtype: "F16", shape: [2, 2], data_offsets: [0, 8] },
      b: { dtype: "BF16", shape: [4], data_offsets: [8, 16] },
      d: { dtype: "F64", shape: [2], data_offsets: [16, 32] },
    }, [...half, ...brain, ...double]),
    "x",
  );
  assertEquals(tensors.get("h"), new HostArray(Float32Array.from(values), [2, 2]));
  assertEquals(tensors.get("b"), new HostArray(Float32Array.of(1, -2.5, Infinity, 2 ** -126)));
  assertEquals(tensors.get("d"), new HostArray(Float32Array.of(Math.fround(0.1), -Infinity)));
  assertEquals([...types!], [["h", "F16"], ["b", "BF16"], ["d", "F64"]]);
});

Deno.test("encodeSafetensors() writes counters as I64 on request, and refuses other conversions", () => {
  const counter = new Map([["n", new HostArray(Int32Array.of(-300), [])]]);
  const bytes = encodeSafetensors({ tensors: counter, metadata: {}, types: new Map([["n", "I64"]]) });
  assertEquals(new DataView(bytes.buffer).getBigInt64(bytes.length - 8, true), -300n);
  assertEquals(decodeSafetensors(bytes, "x").tensors, counter);
  for (const type of ["F16", "F32"]) {
    const types = new Map([["n", type]]);
    assertThrows(() => encodeSafetensors({ tensors: counter, metadata: {}, types }), LocalgradError, type);
  }
});

Deno.test("decodeSafetensors() refuses a file cut off at any length", () => {
  const bytes = encodeSafetensors({ tensors, metadata: {} });
  for (let length = 0; length < bytes.length; length++) {
    assertThrows(
      () => decodeSafetensors(bytes.slice(0, length), "cut"),
      LocalgradError,
      "cut is not a complete",
    );
  }
});

Deno.test("decodeSafetensors() refuses wrong headers", () => {
  const entry = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
  const other = { ...entry, data_offsets: [0, 0], shape: [0] };
  const cases: [string, unknown][] = [
    ["not JSON", "{"],
    ["not JSON", "{}\0"],
    ["its header is not an object", "3"],
    ["its header is not an object", "[]"],
    ["a is incomplete", { a: 3 }],
    ["a is incomplete", { a: { ...entry, shape: [-1] } }],
    ["a is incomplete", { a: { ...entry, data_offsets: [0] } }],
    ["does not fit its shape", { a: { ...entry, shape: [2] } }],
    ["does not fit its shape", { a: { ...entry, shape: [2 ** 40, 2 ** 40] } }],
    ["a begins at 4, but the data before it end at 0", { a: { ...entry, data_offsets: [4, 8] } }],
    ["it ends before a does", { a: { ...entry, data_offsets: [0, 8] } }],
    ["a ends before it begins", { b: entry, a: { ...entry, data_offsets: [4, 0] } }],
    ["4 bytes of data instead of 0", {}],
    ["b begins at 0, but the data before it end at 4", { a: entry, b: entry }],
    ["b begins at 2, but", { a: entry, b: { ...other, data_offsets: [2, 2] } }],
    ["metadata is not text", { a: entry, __metadata__: [] }],
    ["metadata is not text", { a: entry, __metadata__: { localgrad: {} } }],
    ["its header has a twice", `{"a":${JSON.stringify(entry)},"\\u0061" :${JSON.stringify(entry)}}`],
    ["its header has shape twice", '{"a":{"dtype":"U8","shape":[4],"shape":[4],"data_offsets":[0,4]}}'],
  ];
  for (const [message, header] of cases) {
    assertThrows(() => decodeSafetensors(file(header, [0, 0, 0, 0]), "x"), LocalgradError, message);
  }
  const huge = new Uint8Array(16).fill(255);
  assertThrows(() => decodeSafetensors(huge, "x"), LocalgradError, "shorter than its header");
});

Deno.test("decodeSafetensors() accepts everything that the format's own reader accepts: empty tensors, any order, null metadata", () => {
  const { tensors, metadata } = decodeSafetensors(
    file({
      __metadata__: null,
      last: { dtype: "U8", shape: [2], data_offsets: [2, 4] },
      empty: { dtype: "F32", shape: [0, 3], data_offsets: [2, 2] },
      first: { dtype: "U8", shape: [2], data_offsets: [0, 2], more: "x" },
    }, [1, 2, 3, 4]),
    "x",
  );
  assertEquals(metadata, {});
  assertEquals([...tensors].map(([name, { data }]) => [name, [...data]]), [
    ["last", [3, 4]],
    ["empty", []],
    ["first", [1, 2]],
  ]);
});

Deno.test("decodeSafetensors() leaves out tensors of other types, and lists them", () => {
  const { tensors, skipped } = decodeSafetensors(
    file({
      a: { dtype: "F8_E4M3", shape: [2], data_offsets: [0, 2] },
      b: { dtype: "BOOL", shape: [2], data_offsets: [2, 4] },
      c: { dtype: "U8", shape: [1], data_offsets: [4, 5] },
      d: { dtype: "F4", shape: [2], data_offsets: [5, 6] },
      e: { dtype: "I64", shape: [], data_offsets: [6, 14] }, // 2³², beyond i32
      f: { dtype: "F2", shape: [9], data_offsets: [14, 16] }, // of a later version
      g: { dtype: "constructor", shape: [1], data_offsets: [16, 17] }, // a name that every object has
    }, [0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 5]),
    "x",
  );
  assertEquals([...tensors.keys()], ["c"]);
  assertEquals(Object.fromEntries(skipped!), {
    a: "F8_E4M3",
    b: "BOOL",
    d: "F4",
    e: "I64",
    f: "F2",
    g: "constructor",
  });
});

Deno.test("encodeSafetensors() refuses what the format cannot hold", () => {
  const bool = new Map([["mask", new HostArray(Uint32Array.of(1), [1], "bool")]]);
  const error = assertThrows(() => encodeSafetensors({ tensors: bool, metadata: {} }), LocalgradError);
  assert(error.message.includes("mask is bool"), error.message);
});
