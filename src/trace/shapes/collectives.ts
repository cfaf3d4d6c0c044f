import { isWhole, shown } from "../../base/expect.ts";
import { type Aval, requireDtype, requireShape, sizeOf } from "../dtype.ts";
import { FOLDED, STORED } from "../op_dtypes.ts";
import type { CollectiveOp } from "../ops.ts";
import { expectDtype, fail, none, one, type ShapeRules } from "./rule.ts";

/** The largest tag that every implementation of MPI takes: MPI_TAG_UB is at least this. */
const MOST_TAG = 32767;

function expectGroup(op: CollectiveOp, inputs: readonly Aval[], group: unknown): void {
  if (typeof group === "string" && group !== "") return;
  fail(op, `group is the name of a group of processes, not ${shown(group)}`, inputs);
}

function expectRank(op: CollectiveOp, inputs: readonly Aval[], what: string, rank: unknown): void {
  if (typeof rank === "number" && isWhole(rank, 0)) return;
  fail(op, `${what} is the number of a process of the group, from 0, not ${shown(rank)}`, inputs);
}

function expectTag(op: CollectiveOp, inputs: readonly Aval[], tag: unknown): void {
  if (typeof tag === "number" && isWhole(tag, 0, MOST_TAG)) return;
  fail(op, `tag is a whole number from 0 to ${MOST_TAG}, not ${shown(tag)}`, inputs);
}

/** Refuses a value without elements: there is nothing to exchange. */
function expectElements(op: CollectiveOp, inputs: readonly Aval[], { shape }: Aval): void {
  if (sizeOf(shape) === 0) fail(op, "has no elements to exchange; leave it out", inputs);
}

/** Shape rules of the ops by which processes exchange data. */
export const collectiveShapes: ShapeRules<CollectiveOp> = {
  allReduce(inputs, { group, fn }) {
    const x = one("allReduce", inputs);
    expectDtype("allReduce", inputs, 0, FOLDED);
    if (!["sum", "max", "min"].includes(fn)) {
      fail("allReduce", `fn is sum, max or min, not ${shown(fn)}`, inputs);
    }
    expectGroup("allReduce", inputs, group);
    expectElements("allReduce", inputs, x);
    return x;
  },
  broadcastFrom(inputs, { group, root }) {
    const x = one("broadcastFrom", inputs);
    expectDtype("broadcastFrom", inputs, 0, STORED);
    expectGroup("broadcastFrom", inputs, group);
    expectRank("broadcastFrom", inputs, "root", root);
    expectElements("broadcastFrom", inputs, x);
    return x;
  },
  send(inputs, { group, to, tag, depth }) {
    const x = one("send", inputs);
    expectDtype("send", inputs, 0, STORED);
    expectGroup("send", inputs, group);
    expectRank("send", inputs, "to", to);
    expectTag("send", inputs, tag);
    if (!isWhole(depth, 1)) {
      fail("send", `depth is the number of slots, a whole number of at least 1, not ${shown(depth)}`, inputs);
    }
    expectElements("send", inputs, x);
    return { shape: [0], dtype: "f32" };
  },
  receive(inputs, { shape, dtype, group, from, tag }) {
    none("receive", inputs);
    requireShape(shape, "receive");
    requireDtype(dtype, "receive");
    if (dtype === "u8") fail("receive", "a program cannot produce u8, a storage-only dtype", inputs);
    expectGroup("receive", inputs, group);
    expectRank("receive", inputs, "from", from);
    expectTag("receive", inputs, tag);
    expectElements("receive", inputs, { shape, dtype });
    return { shape, dtype };
  },
};
