import { LocalgradError } from "../base/errors.ts";
import { expectOptions, expectWhole, shown } from "../base/expect.ts";
import type { ArrayDataset, LabelledArrays } from "./arrays.ts";

/** Options of {@link text}. */
export interface TextOptions {
  /** Bytes of a window. */
  length: number;
  /** Bytes from the start of a window to that of the next; default `length`, windows that do not overlap. */
  stride?: number;
  /** Text to evaluate on, in windows that do not overlap; default none. */
  test?: string | Uint8Array;
  /** Its name in messages and reports; default `text`. */
  name?: string;
}

/** The number of values of a byte. */
const BYTES = 256;

/**
 * Makes a data set for a language model (`models.languageModel`): windows of a text as bytes, of UTF-8 for a string. The
 * labels of a window are its bytes one place on: of each byte the next. Bytes after the last whole window are left out. Each
 * window takes 8 bytes of memory for each of its bytes.
 *
 * @throws {LocalgradError} if a text is shorter than `length` + 1 bytes, or a number is not whole and at least 1.
 *
 * @example
 * ```ts
 * import { data } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const { train, shape } = data.text("hello, world", { length: 4 });
 * assertEquals([shape, train.count], [[4], 2]);
 * assertEquals(new TextDecoder().decode(Uint8Array.from(train.labels)), "ello, wo");
 * ```
 */
export function text(content: string | Uint8Array, options: TextOptions): ArrayDataset {
  expectOptions("text", options, { length: "number", stride: "number?", test: "any?", name: "string?" });
  const { length, stride = length, test, name = "text" } = options;
  expectWhole("text: length", length);
  expectWhole("text: stride", stride);
  return {
    name,
    shape: [length],
    classes: Array.from({ length: BYTES }, (_, byte) => String(byte)),
    train: windowsOf("text", content, length, stride),
    ...(test === undefined ? {} : { test: windowsOf("text: test", test, length, length) }),
  };
}

function windowsOf(
  who: string,
  content: string | Uint8Array,
  length: number,
  stride: number,
): LabelledArrays {
  if (typeof content !== "string" && !(content instanceof Uint8Array)) {
    throw new LocalgradError(`${who}: a text is a string or its bytes, not ${shown(content)}`);
  }
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const count = Math.floor((bytes.length - 1 - length) / stride) + 1;
  if (count < 1) {
    throw new LocalgradError(
      `${who}: ${bytes.length} bytes are fewer than a window of ${length} and the byte after it`,
    );
  }
  const x = new Float32Array(count * length);
  const labels = new Int32Array(count * length);
  for (let i = 0; i < count; i++) {
    const from = i * stride;
    x.set(bytes.subarray(from, from + length), i * length);
    labels.set(bytes.subarray(from + 1, from + length + 1), i * length);
  }
  return { x, labels, count };
}
