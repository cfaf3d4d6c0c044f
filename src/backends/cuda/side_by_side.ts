import { at } from "../../base/at.ts";
import type { Plan } from "../../compile/plan.ts";
import type { Stream } from "../../compile/schedule.ts";
import { type Access, accessesOf, conflicts } from "./accesses.ts";
import { type Call, callOf } from "./call.ts";
import type { KernelLaunch, Launch } from "./launch.ts";

/** The most arguments of a kernel made of others, 8 bytes each: a kernel may have 4 KiB of them. */
const MAX_ARGUMENTS = 128;

/** Blocks that fill a large card: more gain nothing from company, and a reduction beside them costs them registers. */
const FULL = 1024;

/**
 * Merges kernels that do not depend on each other into one launch, whose blocks are divided among them, such as the updates
 * of all parameters of a module. They follow each other, or have a single launch between them, on which the later one does
 * not depend: so the cast of a layer's weight passes the pooling before the layer. Each does what it did, so results keep
 * their bits. Those of different streams are not merged, and none passes an exchange with other processes, which would
 * wait for it.
 */
export function sideBySide(
  launches: readonly Launch[],
  plan: Plan,
  streamOf: (launch: Launch) => Stream = () => 0,
): Launch[] {
  const groups: Group[] = [];
  for (const launch of launches) {
    const accesses = [...accessesOf(plan, launch)];
    const entry: Group = { launch, parts: partsOf(launch), accesses, stream: streamOf(launch) };
    const group = groupFor(entry, groups);
    if (group === undefined) groups.push(entry);
    else {
      group.parts.push(...entry.parts);
      group.accesses.push(...accesses);
    }
  }
  return groups.map(({ launch, parts }) => parts.length > 1 ? several(parts) : launch);
}

/** A kernel that may become a part of another. */
interface Part {
  readonly launch: KernelLaunch;
  readonly body: NonNullable<Call["body"]>;
}

/** Kernels that become one launch, or a launch that nothing joins, which has no parts. */
interface Group {
  readonly launch: Launch;
  readonly parts: Part[];
  readonly accesses: Access[];
  readonly stream: Stream;
}

function partsOf(launch: Launch): Part[] {
  if (launch.kind !== "kernel" || launch.call.body === undefined) return [];
  return [{ launch, body: launch.call.body }];
}

/** The group that a kernel joins: of the last two, the last one that it may. */
function groupFor(entry: Group, groups: readonly Group[]): Group | undefined {
  if (entry.parts.length === 0) return undefined;
  for (const group of groups.slice(-2).reverse()) {
    const { kind } = group.launch;
    const isApart = group.stream !== entry.stream || kind === "exchange" || kind === "join";
    if (isApart || conflicts(entry.accesses, group.accesses)) return undefined;
    if (joins(entry.parts, group.parts)) return group;
  }
  return undefined;
}

/** Tests whether kernels may be one launch with those of a group, and gain by it, if they do not depend on each other. */
function joins(parts: readonly Part[], group: readonly Part[]): boolean {
  if (group.length === 0) return false;
  const all = [...group, ...parts];
  const count = all.reduce((sum, { launch }) => sum + launch.call.arguments.length, 0);
  const isCheap = all.every(({ body }) => !body.reduces) ||
    all.every(({ launch }) => launch.call.blocks <= FULL);
  return count <= MAX_ARGUMENTS && isCheap;
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
