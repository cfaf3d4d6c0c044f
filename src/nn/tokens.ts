import { LocalgradError } from "../base/errors.ts";
import type { Tensor } from "../trace/tensor.ts";

/** The places in an image of tokens that stand for its parts, row by row, after tokens that stand for none. */
export interface TokenGrid {
  /** Rows of parts. */
  readonly rows: number;
  /** Columns of parts. */
  readonly columns: number;
  /** Tokens before them, such as a class token. */
  readonly extra: number;
}

/** The most tokens that stand for no part: DeiT's, of the class and of the distillation. */
const MOST_EXTRA = 2;

/** Finds the places of `length` tokens in an image, whose parts are square; `who` begins the error if there are none. */
export function tokenGrid(
  who: string,
  length: number,
  { height, width }: { readonly height: number; readonly width: number },
): TokenGrid {
  for (let extra = 0; extra <= MOST_EXTRA; extra++) {
    const rows = Math.round(Math.sqrt((length - extra) * height / width));
    const columns = (length - extra) / rows;
    if (rows >= 1 && Number.isInteger(columns) && rows * width === columns * height) {
      return { rows, columns, extra };
    }
  }
  throw new LocalgradError(
    `${who}: ${length} tokens are no grid of the square parts of an image of ${height}×${width}`,
  );
}

/** Tokens `[batch, length, width]` as an image `[batch, rows, columns, width]`, without those that stand for no part. */
export function tokensAsImage(x: Tensor, { rows, columns, extra }: TokenGrid): Tensor {
  const [batch = 1, length = 1, width = 1] = x.shape;
  return x.slice([0, extra, 0], [batch, length, width]).reshape(batch, rows, columns, width);
}

/** The inverse of {@link tokensAsImage}, with zeros for the tokens that stand for no part. */
export function imageAsTokens(x: Tensor, { rows, columns, extra }: TokenGrid): Tensor {
  const [batch = 1, , , width = 1] = x.shape;
  return x.reshape(batch, rows * columns, width).pad([0, extra, 0], [0, 0, 0]);
}
