import { sizeOf } from "../../trace/dtype.ts";
import resizeText from "../../../kernels/webgpu/resize.wgsl" with { type: "text" };
import { fourOf } from "../shapes.ts";
import type { Call } from "./call.ts";
import { addPartialSums, FEW, partialSumBytes } from "./partial_sums.ts";
import type { Operation } from "./operation.ts";
import { perChannel } from "./per_channel.ts";
import type { Constants } from "./template.ts";
import type { Variant } from "./variant.ts";

type Resize = Operation<"resize"> | Operation<"resizeGrad">;

/** One axis of a resize: pixel i of the large image is at (i · up + shift) / down in the small one. */
interface Axis {
  readonly up: number;
  readonly shift: number;
  readonly down: number;
  /** The most pixels of the large image that depend on one pixel of the small one. */
  readonly users: number;
}

function axisOf(from: number, to: number, alignCorners: boolean): Axis {
  const [up, shift, down] = alignCorners
    ? [to > 1 ? from - 1 : 0, 0, Math.max(1, to - 1)]
    : [2 * from, from - to, 2 * to];
  // As in `users` of resize.wgsl.
  let users = 0;
  for (let at = 0; at < from; at++) {
    const first = at === 0 ? 0 : Math.max(0, Math.trunc(((at - 1) * down - shift) / up) - 1);
    const last = at === from - 1 ? to - 1 : Math.min(to - 1, Math.trunc(((at + 1) * down - shift) / up) + 1);
    users = Math.max(users, up === 0 ? to : last - first + 1);
  }
  return { up, shift, down, users };
}

function plan(i: Resize, { run }: Variant) {
  const [x] = i.operands;
  const gradient = i.op === "resizeGrad";
  const [small, large] = gradient ? [i.result, x] : [x, i.result];
  const [, H, W] = fourOf(small.shape), [, P, Q] = fourOf(large.shape);
  const h = axisOf(H, P, i.attrs.alignCorners), w = axisOf(W, Q, i.attrs.alignCorners);
  const long = gradient && h.users * (1 + w.users) > run;
  const parts = long ? Math.ceil(h.users * w.users / run) : 1;
  return { h, w, parts, constants: { H, W, P, Q, GRADIENT: gradient } };
}

/** Bilinear resize and its gradient. */
export function resize(i: Resize, variant: Variant): Call[] {
  const { h, w, parts, constants: extents } = plan(i, variant);
  const map = (name: "H" | "W", { up, shift, down }: Axis): Constants => ({
    ...{ [`UP_${name}`]: up, [`SHIFT_${name}`]: shift, [`DOWN_${name}`]: down },
  });
  const RUN = Math.ceil(h.users * w.users / parts);
  const constants = {
    ...{ ...extents, ...map("H", h), ...map("W", w), ROWS: h.users, COLS: w.users },
    ...{ RUN, FEW, LONG: RUN > FEW },
  };
  const output = parts > 1 ? "workspace" : i.output;
  const operands = { x: i.inputs[0] }, over = i.result;
  return [
    perChannel({ label: i.op, text: resizeText, constants, operands, output, over, parts }, variant),
    ...addPartialSums(i.output, sizeOf(over.shape), parts, variant),
  ];
}

/** Bytes of workspace for the partial sums of a gradient to few pixels. */
export function resizeWorkspace(i: Resize, variant: Variant): number {
  return partialSumBytes(plan(i, variant).parts, sizeOf(i.result.shape));
}
