import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { type Aval, bytesOf, formatAval } from "../trace/dtype.ts";
import type { CollectiveOp } from "../trace/ops.ts";
import {
  type CollectiveInstruction,
  isCollectiveInstruction,
  type Program,
  type ValueId,
} from "../trace/program.ts";
import type { Step, Target, Traffic } from "./plan.ts";

/** One exchange of data with other processes, as a program has it. */
export interface Effect {
  /** The op. */
  readonly op: CollectiveOp;
  /** The group of processes. */
  readonly group: string;
  /** Shape and dtype of the value. */
  readonly aval: Aval;
  /** The other process of a message; the process that broadcasts. */
  readonly rank?: number;
  /** The reduction, or the tag of a message. */
  readonly detail?: string;
}

/** Returns the exchanges of a program, in the order in which every process has to make them. */
export function effectsOf({ instructions, values }: Program): readonly Effect[] {
  return instructions.filter(isCollectiveInstruction).map((instruction): Effect => {
    const { op, attrs: { group } } = instruction;
    const aval = at(values, exchangedBy(instruction));
    switch (op) {
      case "allReduce":
        return { op, group, aval, detail: instruction.attrs.fn };
      case "broadcastFrom":
        return { op, group, aval, rank: instruction.attrs.root };
      case "send":
        return { op, group, aval, rank: instruction.attrs.to, detail: `tag ${instruction.attrs.tag}` };
      case "receive":
        return { op, group, aval, rank: instruction.attrs.from, detail: `tag ${instruction.attrs.tag}` };
    }
  });
}

/**
 * Returns a number of 32 bits that depends on every exchange and on their order. A message counts the same where it is
 * sent and where it is received, and without the other process. So two processes agree if they have equal numbers for the
 * reductions and broadcasts of each group they share, and if that of the one's messages to the other equals that of the
 * other's from the one (FNV-1a; Fowler, Noll and Vo, 1991).
 */
export function hashOf(effects: readonly Effect[]): number {
  const text = effects.map(({ op, group, aval, rank, detail = "" }) => {
    const isMessage = op === "send" || op === "receive";
    return `${isMessage ? "message" : `${op} ${rank ?? ""}`} ${group} ${formatAval(aval)} ${detail}`;
  }).join("\n");
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** @throws {LocalgradError} if the target cannot make a program's exchanges. */
export function refuseExchanges(program: Program, { name, groups }: Target): void {
  for (const { op, group, rank } of effectsOf(program)) {
    const where = `${program.name}: ${op} in the group "${group}"`;
    if (groups === undefined) {
      throw new LocalgradError(
        `${where}: collective ops are not available on ${name}; use the device cpu`,
      );
    }
    const size = groups[group];
    if (size === undefined) {
      const known = Object.keys(groups).map((known) => `"${known}"`).join(", ");
      throw new LocalgradError(
        `${where}: this ${name} device ${
          known === "" ? "has no groups" : `has only ${known}`
        }; open it with { communicators: { ${group}: … } }`,
      );
    }
    if (rank !== undefined && rank >= size) {
      throw new LocalgradError(
        `${where}: there is no process ${rank}, only ${size === 1 ? "process 0" : `0 to ${size - 1}`}`,
      );
    }
    if (size === 1 && (op === "send" || op === "receive")) {
      throw new LocalgradError(`${where}: a process of a group of one has nobody to exchange messages with`);
    }
  }
}

/** Returns the groups of one process. */
export function groupsAlone({ groups = {} }: Target): ReadonlySet<string> {
  return new Set(Object.keys(groups).filter((group) => groups[group] === 1));
}

/** Returns what a run of these steps sends, by group; undefined if they exchange nothing. */
export function trafficOf(
  steps: readonly Step[],
  values: readonly Aval[],
  { groups = {} }: Target,
): { readonly [group: string]: Traffic } | undefined {
  const traffic: { [group: string]: Traffic } = {};
  for (const step of steps) {
    if (step.kind !== "op" || !isCollectiveInstruction(step.instruction)) continue;
    const { group } = step.instruction.attrs;
    const { operations, bytes } = traffic[group] ?? { operations: 0, bytes: 0 };
    const more = bytesSent(step.instruction, values, groups[group] ?? 1);
    traffic[group] = { operations: operations + 1, bytes: bytes + more };
  }
  return Object.keys(traffic).length === 0 ? undefined : traffic;
}

/** The bytes that a process sends at least in one exchange, in a group of `size` processes. */
export function bytesSent(
  { op, inputs: [x] }: CollectiveInstruction,
  values: readonly Aval[],
  size: number,
): number {
  const bytes = x === undefined ? 0 : bytesOf(at(values, x));
  switch (op) {
    case "allReduce":
      return Math.ceil(2 * bytes * (size - 1) / size);
    case "broadcastFrom":
      return Math.ceil(bytes * (size - 1) / size);
    case "send":
      return bytes;
    case "receive":
      return 0;
  }
}

/**
 * Returns the bytes beyond the arena that exchanges take, aligned: the slots in which messages wait until they have left,
 * and what is staged on the host.
 */
export function messageBytes(
  steps: readonly Step[],
  values: readonly Aval[],
  { alignment, staged = false }: Target,
): number {
  return steps.reduce((sum, step) => {
    if (step.kind !== "op" || !isCollectiveInstruction(step.instruction)) return sum;
    const { instruction } = step;
    const bytes = Math.ceil(bytesOf(at(values, exchangedBy(instruction))) / alignment) * alignment;
    return sum + bytes * ((instruction.op === "send" ? instruction.attrs.depth : 0) + (staged ? 1 : 0));
  }, 0);
}

/** Returns the value that leaves or arrives. */
export function exchangedBy(instruction: CollectiveInstruction): ValueId {
  return instruction.op === "receive" ? instruction.output : instruction.inputs[0];
}
