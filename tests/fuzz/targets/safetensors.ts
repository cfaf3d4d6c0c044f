import { decodeSafetensors, encodeSafetensors } from "../../../src/artifacts/safetensors.ts";
import { HostArray } from "../../../src/trace/host_array.ts";
import type { MakeTarget } from "../harness.ts";
import { damaged, reshaped } from "../mutate.ts";
import type { Random } from "../random.ts";

const utf8 = new TextEncoder();

/** A safetensors file with any header and data. */
function file(header: string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const text = utf8.encode(header);
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

const valid = encodeSafetensors({
  tensors: new Map([
    ["weight", new HostArray(Float32Array.of(1, -2.5, NaN, Infinity, 0, 6), [2, 3])],
    ["steps", new HostArray(Int32Array.of(-7), [])],
    ["bytes", new HostArray(Uint8Array.of(1, 2, 3, 255), [4])],
    ["none", new HostArray(new Float32Array(0), [0, 3])],
  ]),
  metadata: { format: "pt" },
  types: new Map([["steps", "I64"]]),
});
const other = {
  __metadata__: null,
  h: { dtype: "F16", shape: [2, 2], data_offsets: [0, 8] },
  b: { dtype: "BF16", shape: [4], data_offsets: [8, 16] },
  d: { dtype: "F64", shape: [2], data_offsets: [16, 32] },
  e: { dtype: "F8_E4M3", shape: [8], data_offsets: [32, 40] },
};
const data = Uint8Array.from({ length: 40 }, (_, i) => i * 7);

/** A valid file with a damaged header or damaged bytes. */
export function damagedFile(random: Random): Uint8Array<ArrayBuffer> {
  const bytes = random.percent(50)
    ? file(reshaped(random, other), data)
    : damaged(random, [valid, file(JSON.stringify(other), data)]);
  return random.percent(10) ? damaged(random, [bytes]) : bytes;
}

/** `decodeSafetensors`, whose result must match the file. */
export const target: MakeTarget = () => ({
  input: damagedFile,
  read(input) {
    const { tensors } = decodeSafetensors(input, "x.safetensors");
    for (const { data } of tensors.values()) {
      if (data.byteLength > 8 * input.length) throw new Error("more data than the file has");
    }
  },
});
