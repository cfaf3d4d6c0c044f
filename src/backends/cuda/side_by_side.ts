import { at } from "../../base/at.ts";
import type { Plan } from "../../compile/plan.ts";
import type { Stream } from "../../compile/schedule.ts";
import { type Access, conflicts, kernelAccesses } from "./accesses.ts";
import { type Call, callOf } from "./call.ts";
import type { KernelLaunch, Launch } from "./launch.ts";

/** The most arguments of a kernel made of others, 8 bytes each: a kernel may have 4 KiB of them. */
const MAX_ARGUMENTS = 128;

/** Blocks that fill a large card: more gain nothing from company, and a reduction beside them costs them registers. */
const FULL = 1024;

/**
 * Merges kernels that follow each other and do not depend on each other into one launch, whose blocks are divided among
 * them, such as the updates of all parameters of a module. Each does what it did, so results keep their bits. Those of
 * different streams are not merged.
 */
export function sideBySide(
  launches: readonly Launch[],
  plan: Plan,
  streamOf: (launch: Launch) => Stream = () => 0,
): Launch[] {
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
    const [first] = group;
    const isApart = first !== undefined && streamOf(first.launch) !== streamOf(launch);
    if (isApart || !joins(part, group)) finish();
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

function partOf(launch: Launch, plan: Plan): Part | undefined {
  if (launch.kind !== "kernel" || launch.call.body === undefined) return undefined;
  return { launch, body: launch.call.body, accesses: kernelAccesses(plan, launch) };
}

/** Tests whether a kernel may run beside those of a group, and gains by it. */
function joins(part: Part, group: readonly Part[]): boolean {
  const all = [...group, part];
  const count = all.reduce((sum, { launch }) => sum + launch.call.arguments.length, 0);
  const isCheap = all.every(({ body }) => !body.reduces) ||
    all.every(({ launch }) => launch.call.blocks <= FULL);
  return count <= MAX_ARGUMENTS && isCheap &&
    !group.some((other) => conflicts(part.accesses, other.accesses));
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
