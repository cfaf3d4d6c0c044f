import { LocalgradError } from "../base/errors.ts";

/** An extent that grows with the batch: `perImage` for each image, and `fixed` besides. */
export interface Growing {
  /** Elements for each image. */
  readonly perImage: number;
  /** Elements whatever the batch. */
  readonly fixed: number;
}

/** An extent, or another number of an instruction: the same for every batch, or growing with it. */
export type Dim = number | Growing;

/** A type with a {@link Dim} in place of every number. */
export type Symbolic<T> = T extends number ? Dim
  : T extends string | boolean | undefined ? T
  : { readonly [K in keyof T]: Symbolic<T[K]> };

/** Tests whether an extent grows with the batch. */
export function grows(dim: Dim): dim is Growing {
  return typeof dim !== "number";
}

/** Tests whether two extents are equal for every batch. */
export function sameDim(a: Dim, b: Dim): boolean {
  if (!grows(a) || !grows(b)) return a === b;
  return a.perImage === b.perImage && a.fixed === b.fixed;
}

/** Values without a number that grows with the batch; refuses others. `what` begins the message. */
export function fixed<T>(what: string, value: Symbolic<T>): T {
  const visit = (inner: unknown): void => {
    if (typeof inner !== "object" || inner === null) return;
    if ("perImage" in inner) {
      throw new LocalgradError(
        `exportOnnx: ${what} depends on the number of images, which ONNX cannot express here; export for a fixed ` +
          `number: { batch: 1 }`,
      );
    }
    Object.values(inner).forEach(visit);
  };
  visit(value);
  return value as T;
}

/**
 * The common form of values that were recorded for batches of `sizes` images: numbers that differ grow with the batch.
 * Undefined if they differ in another way.
 */
export function symbolic<T>(values: readonly T[], sizes: readonly number[]): Symbolic<T> | undefined {
  const [first] = values;
  if (values.every((value) => Object.is(value, first))) return first as Symbolic<T>;
  if (values.every((value) => typeof value === "number")) {
    const [[a = 0, b = 0], [m = 0, n = 1]] = [values, sizes];
    const perImage = (b - a) / (n - m);
    const fixed = a - perImage * m;
    const linear = values.every((value, i) => value === perImage * (sizes[i] ?? 0) + fixed);
    return linear && Number.isInteger(perImage) ? { perImage, fixed } as Symbolic<T> : undefined;
  }
  if (typeof first !== "object" || first === null) return undefined;
  const parts: [string, unknown][] = [];
  for (const key of Object.keys(first)) {
    const each = values.map((value) => (value as { readonly [key: string]: unknown })[key]);
    const part = symbolic(each, sizes);
    if (part === undefined && each.some((value) => value !== undefined)) return undefined;
    parts.push([key, part]);
  }
  const same = values.every((value) => Object.keys(value as object).length === parts.length);
  if (!same) return undefined;
  return (Array.isArray(first) ? parts.map(([, part]) => part) : Object.fromEntries(parts)) as Symbolic<T>;
}
