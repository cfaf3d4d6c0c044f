import { at } from "../../base/at.ts";
import type { Plan } from "../../compile/plan.ts";
import { bytesOf } from "../../trace/dtype.ts";
import { placeOf } from "../place.ts";
import { type Call, callOf } from "./call.ts";
import type { KernelLaunch, Launch } from "./launch.ts";

/** The most arguments of a kernel made of others, 8 bytes each: a kernel may have 4 KiB of them. */
const MAX_ARGUMENTS = 128;

/** Blocks that fill a large card: more gain nothing from company, and a reduction beside them costs them registers. */
const FULL = 1024;

/**
 * Merges kernels that follow each other and do not depend on each other into one launch, whose blocks are divided among
 * them, such as the updates of all parameters of a module. Each does what it did, so results keep their bits.
 */
export function sideBySide(launches: readonly Launch[], plan: Plan): Launch[] {
  const merged: Launch[] = [];
  let group: Part[] = [];
  const finish = () => {
    const [first, ...others] = group;
    if (first !== undefined) merged.push(others.length === 0 ? first.launch : several(group));
    group = [];
  };
  for (const launch of launches) {
    const part = partOf(launch, plan);
    if (part === undefined) {
      finish();
      merged.push(launch);
      continue;
    }
    if (!joins(part, group)) finish();
    group.push(part);
  }
  finish();
  return merged;
}

/** A kernel that may become a part of another. */
interface Part {
  readonly launch: KernelLaunch;
  readonly body: NonNullable<Call["body"]>;
  readonly accesses: readonly Access[];
}

/** Memory that a kernel reads or writes. */
interface Access {
  readonly buffer: string;
  readonly from: number;
  readonly to: number;
  readonly written: boolean;
}

function partOf(launch: Launch, plan: Plan): Part | undefined {
  if (launch.kind !== "kernel" || launch.call.body === undefined) return undefined;
  const { call, step } = launch;
  const accesses = call.arguments.map(({ slot, written }): Access => {
    const { kind, index, offset } = placeOf(plan, step, slot);
    const bytes = slot === "workspace" ? step.workspace?.bytes ?? 0 : bytesOf(at(plan.values, slot));
    return { buffer: `${kind} ${index}`, from: offset, to: offset + bytes, written };
  });
  return { launch, body: launch.call.body, accesses };
}

/** Tests whether a kernel may run beside those of a group, and gains by it. */
function joins(part: Part, group: readonly Part[]): boolean {
  const all = [...group, part];
  const count = all.reduce((sum, { launch }) => sum + launch.call.arguments.length, 0);
  const isCheap = all.every(({ body }) => !body.reduces) ||
    all.every(({ launch }) => launch.call.blocks <= FULL);
  return count <= MAX_ARGUMENTS && isCheap && !group.some((other) => dependsOn(part, other));
}

/** Tests whether either kernel writes memory that the other reads or writes. */
function dependsOn(a: Part, b: Part): boolean {
  return a.accesses.some((x) =>
    b.accesses.some((y) =>
      (x.written || y.written) && x.buffer === y.buffer && x.from < y.to && y.from < x.to
    )
  );
}

/** One launch of several kernels. Each distinct body becomes a function. */
function several(parts: readonly Part[]): KernelLaunch {
  const functions = new Map<string, { readonly name: string; readonly lines: readonly string[] }>();
  const parameters: string[] = [], cases: string[] = [];
  let blocks = 0, tickets = 0;
  for (const { launch: { call }, body } of parts) {
    const names = body.parameters.map((_, i) => `p${parameters.length + i}`);
    const key = [body.parameters.join(), ...body.lines].join("\n");
    const name = functions.get(key)?.name ?? `NAME_${functions.size}`;
    functions.set(key, {
      name,
      lines: [
        `DEVICE void ${name}(${["const u32 here", "u32* const tickets", ...body.parameters].join(", ")}) {`,
        ...body.lines.map((line) => `  ${line}`),
        "}",
      ],
    });
    const first = `here - ${blocks}u`;
    parameters.push(...body.parameters.map((declared, i) => declared.replace(/\bp\d+$/, at(names, i))));
    blocks += call.blocks;
    const counters = body.tickets === 0 ? "nullptr" : `tickets + ${tickets}u`;
    cases.push(`if (here < ${blocks}u) return ${name}(${[first, counters, ...names].join(", ")});`);
    tickets += body.tickets;
  }
  const kernel = callOf({
    label: "several",
    arguments: parts.flatMap(({ launch }) => launch.call.arguments),
    blocks,
    body: { parameters, lines: cases, tickets, reduces: parts.some(({ body }) => body.reduces) },
  });
  const text = [...[...functions.values()].flatMap(({ lines }) => lines), kernel.text].join("\n");
  const launches = parts.map(({ launch }) => launch);
  return { kind: "kernel", call: { ...kernel, text }, step: at(launches, 0).step, parts: launches };
}
