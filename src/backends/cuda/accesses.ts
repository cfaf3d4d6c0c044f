import { at } from "../../base/at.ts";
import type { Plan, Step } from "../../compile/plan.ts";
import { bytesOf } from "../../trace/dtype.ts";
import { placeOf, type Slot } from "../place.ts";
import type { KernelLaunch, Launch } from "./launch.ts";

/** Memory that a launch reads or writes. */
export interface Access {
  readonly buffer: string;
  /** The first byte. */
  readonly from: number;
  /** The byte after the last. */
  readonly to: number;
  readonly written: boolean;
}

/** The memory that a launch reads and writes. */
export function accessesOf(plan: Plan, launch: Launch): readonly Access[] {
  const { step } = launch;
  const slot = (slot: Slot, written = false) => accessOf(plan, step, slot, written);
  switch (launch.kind) {
    case "kernel":
      return (launch.parts ?? [launch]).flatMap((part) => kernelAccesses(plan, part));
    case "conv": {
      const { instruction, scratch, epilogue } = launch;
      const { offset, bytes } = scratch;
      return [
        ...instruction.inputs.map((value) => slot(value)),
        ...(epilogue?.bias === undefined ? [] : [slot(epilogue.bias)]),
        slot(epilogue?.output ?? instruction.output, true),
        { buffer: "arena 0", from: offset, to: offset + bytes, written: true },
      ];
    }
    case "matmul": {
      const { instruction, epilogue } = launch;
      return [
        ...instruction.inputs.map((value) => slot(value)),
        ...(epilogue?.bias === undefined ? [] : [slot(epilogue.bias)]),
        slot(epilogue?.output ?? instruction.output, true),
        ...(step.workspace === undefined ? [] : [slot("workspace", true)]),
      ];
    }
    case "copy":
      return [slot(launch.from), slot(launch.to, true)];
    case "zeros":
      return [slot(launch.value, true)];
    case "exchange":
    case "join": {
      const { inputs, output } = launch.pending.instruction;
      return [...inputs.map((value) => slot(value)), slot(output, true)];
    }
  }
}

/** The memory of a single kernel's arguments. */
export function kernelAccesses(plan: Plan, { call, step }: KernelLaunch): readonly Access[] {
  return call.arguments.map(({ slot, written }) => accessOf(plan, step, slot, written));
}

function accessOf(plan: Plan, step: Step, slot: Slot, written: boolean): Access {
  const { kind, index, offset } = placeOf(plan, step, slot);
  const bytes = slot === "workspace" ? step.workspace?.bytes ?? 0 : bytesOf(at(plan.values, slot));
  return { buffer: `${kind} ${index}`, from: offset, to: offset + bytes, written };
}

/** Tests whether one of two launches writes memory that the other reads or writes. */
export function conflicts(a: readonly Access[], b: readonly Access[]): boolean {
  return a.some((x) =>
    b.some((y) => (x.written || y.written) && x.buffer === y.buffer && x.from < y.to && y.from < x.to)
  );
}
