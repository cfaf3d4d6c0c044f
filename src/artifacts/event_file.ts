/**
 * Event files as TensorBoard reads them: records of a length, its checksum, an `Event` message and its checksum
 * (TensorFlow: core/lib/io/record_writer.cc; tensorboard/compat/proto/event.proto and summary.proto).
 *
 * @module
 */

import { crc32c } from "../base/crc32.ts";

/** Scalars of one step. */
export interface ScalarEvent {
  /** The step. */
  readonly step: number;
  /** Seconds since 1970. */
  readonly wallTime: number;
  /** Values by tag; stored as f32. */
  readonly scalars: readonly (readonly [tag: string, value: number])[];
}

/** The checksum as it is stored: rotated and shifted, so that checksums of checksums are none of each other. */
function masked(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

const FRAME = { head: 12, tail: 4 };

function frame(data: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FRAME.head + data.length + FRAME.tail);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(bytes.subarray(0, 8)), true);
  bytes.set(data, FRAME.head);
  view.setUint32(FRAME.head + data.length, masked(data), true);
  return bytes;
}

// Types of fields on the wire (protobuf.dev/programming-guides/encoding).
const [VARINT, BITS64, BYTES, BITS32] = [0, 1, 2, 5];

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return [...bytes, value];
}

const key = (field: number, type: number) => varint(field * 8 + type);

function message(field: number, content: readonly number[]): number[] {
  return [...key(field, BYTES), ...varint(content.length), ...content];
}

const string = (field: number, text: string) => message(field, [...new TextEncoder().encode(text)]);

function real(field: number, type: typeof BITS64 | typeof BITS32, value: number): number[] {
  const array = type === BITS64 ? new Float64Array([value]) : new Float32Array([value]);
  return [...key(field, type), ...new Uint8Array(array.buffer)]; // little-endian, as all machines that Deno runs on
}

/** The first record of an event file. */
export function versionRecord(wallTime: number): Uint8Array<ArrayBuffer> {
  return frame(Uint8Array.from([...real(1, BITS64, wallTime), ...string(3, "brain.Event:2")]));
}

/** A record of scalars. */
export function scalarRecord({ step, wallTime, scalars }: ScalarEvent): Uint8Array<ArrayBuffer> {
  const values = scalars.flatMap(([tag, value]) =>
    message(1, [...string(1, tag), ...real(2, BITS32, value)])
  );
  return frame(
    Uint8Array.from([
      ...real(1, BITS64, wallTime),
      ...key(2, VARINT),
      ...varint(step),
      ...message(5, values),
    ]),
  );
}

/**
 * The leading records of a file of ours, up to the last that is whole and of a step of at most `last`: their length in
 * bytes, and how many of them have a step.
 */
export function recordsUpTo(bytes: Uint8Array, last: number): { end: number; steps: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let [end, steps] = [0, 0];
  while (end + FRAME.head <= bytes.length) {
    const length = Number(view.getBigUint64(end, true));
    const next = end + FRAME.head + length + FRAME.tail;
    if (next > bytes.length) break;
    const data = bytes.subarray(end + FRAME.head, end + FRAME.head + length);
    if (view.getUint32(next - FRAME.tail, true) !== masked(data)) break;
    const step = stepOf(data);
    if (step !== undefined && step > last) break;
    if (step !== undefined) steps++;
    end = next;
  }
  return { end, steps };
}

/** The step of an event of ours: its second field, after the time. */
function stepOf(data: Uint8Array): number | undefined {
  if (data[9] !== key(2, VARINT)[0]) return undefined;
  let step = 0;
  for (let at = 10, unit = 1; at < data.length; at++, unit *= 128) {
    const byte = data[at] ?? 0;
    step += byte % 128 * unit;
    if (byte < 128) break;
  }
  return step;
}
