import { sizeOf } from "../../trace/dtype.ts";
import { at } from "../../base/at.ts";
import matmulText from "../../../kernels/webgpu/matmul.wgsl" with { type: "text" };
import { type Call, runs } from "./call.ts";
import { addPartialSums, partialSumBytes, partsOf } from "./partial_sums.ts";
import type { Operation } from "./operation.ts";
import { blockedCall, inFours, tile } from "./tile.ts";
import type { Variant } from "./variant.ts";

type Matmul = Operation<"matmul">;

function tilesOf(i: Matmul, variant: Variant) {
  const [{ shape: a }] = i.operands, y = i.result.shape;
  const M = at(y, y.length - 2), N = at(y, y.length - 1);
  const K = at(a, a.length - (i.attrs.transposeA ? 2 : 1));
  const BATCH = y.length === 3 ? at(y, 0) : 1;
  const rows = tile(M, variant.blocks.rows), columns = tile(N, variant.blocks.columns);
  const tiles = BATCH * rows.tiles * columns.tiles;
  return { M, N, K, BATCH, rows, columns, tiles, PARTS: partsOf(tiles, K, sizeOf(y), variant) };
}

/** Matrix product, batched if its operands have three axes. */
export function matmul(i: Matmul, variant: Variant): Call[] {
  const { M, N, K, BATCH, rows, columns, tiles, PARTS } = tilesOf(i, variant);
  const { transposeA, transposeB } = i.attrs;
  const constants = {
    ...{ M, N, K, BATCH, PARTS, RUN: Math.ceil(K / 4 / PARTS) * 4, K_TAIL: K % 4 !== 0 },
    ...{ TRANSPOSE_A: transposeA, TRANSPOSE_B: transposeB },
    ...{ ROW_TILES: rows.tiles, ROW_BLOCKS: rows.blocks, ROWS: 4 * rows.blocks },
    ...{ COL_TILES: columns.tiles, COL_BLOCKS: columns.blocks, COLS: 4 * columns.blocks },
  };
  const bindings = [
    runs("a", i.inputs[0], inFours(transposeA ? M : K)),
    runs("b", i.inputs[1], inFours(transposeB ? K : N)),
    runs("y", PARTS > 1 ? "workspace" : i.output, inFours(N), true),
  ];
  return [
    blockedCall("matmul", matmulText, constants, bindings, tiles * PARTS, variant.blockedGroup),
    ...addPartialSums(i.output, BATCH * M * N, PARTS, variant),
  ];
}

/** Bytes of workspace for the partial sums of a product. */
export function matmulWorkspace(i: Matmul, variant: Variant): number {
  return partialSumBytes(tilesOf(i, variant).PARTS, sizeOf(i.result.shape));
}
