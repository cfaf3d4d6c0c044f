import { at } from "../base/at.ts";
import { expectKind } from "../base/expect.ts";
import { formatAval } from "../trace/dtype.ts";
import type { Instruction, Program, ValueId } from "../trace/program.ts";
import type { Kernel, Node, View } from "./kernel.ts";
import type { Location, Plan, Step } from "./plan.ts";

/**
 * Formats a program as text, one line per instruction:
 * `%12 f32[32,16,16,32] = conv(%3, %8) strides=[2,2] …  # module 2/forward`.
 */
export function printProgram(program: Program): string {
  expectKind("printProgram: the program", program, "object");
  const { name, values, inputs, instructions, outputs } = program;
  const value = (id: ValueId) => `%${id} ${formatAval(at(values, id))}`;
  return [
    `program ${name}`,
    ...inputs.map((input) =>
      `  ${value(input.value)} = input ${input.name} (${input.category}${input.donated ? ", donated" : ""})`
    ),
    ...instructions.map((instruction) =>
      `  ${value(instruction.output)} = ${printInstruction(instruction)}${comment(instruction.scope)}`
    ),
    ...outputs.map((output) =>
      `  result ${output.name} = %${output.value}${
        output.donor === undefined ? "" : ` in the memory of ${at(inputs, output.donor).name}`
      }`
    ),
  ].join("\n");
}

/** Formats a plan as text: each step, and the location of its results. */
export function printPlan(plan: Plan): string {
  expectKind("printPlan: the plan", plan, "object");
  const { name, values, inputs, steps, locations, outputs, donors, memory } = plan;
  const place = (id: ValueId) => `%${id} ${formatAval(at(values, id))} @ ${printLocation(locations[id])}`;
  return [
    `plan ${name}: ${steps.length} steps, ${memory.peakBytes} bytes, of which arena ${plan.arenaBytes}`,
    ...inputs.map((input) =>
      `  %${input.value} ${formatAval(at(values, input.value))} = input ${input.name}`
    ),
    ...steps.flatMap((step, s) => printStep(step, s, place).map((line) => `  ${line}`)),
    ...outputs.map((output, i) => {
      const donor = inputs[at(donors, i)];
      return `  result ${output.name} = %${output.value}${
        donor === undefined ? "" : ` in the memory of ${donor.name}`
      }`;
    }),
  ].join("\n");
}

function printStep(step: Step, index: number, place: (id: ValueId) => string): string[] {
  const workspace = step.workspace === undefined
    ? ""
    : ` workspace ${step.workspace.bytes} @ ${step.workspace.offset}`;
  if (step.kind === "op") {
    const { instruction } = step;
    return [
      `${index}: ${place(instruction.output)} = ${printInstruction(instruction)}${workspace}${
        comment(instruction.scope)
      }`,
    ];
  }
  return [`${index}: kernel${workspace}${comment(step.scope)}`, ...printKernel(step.kernel, place)];
}

/** Formats a kernel as text, one entry per line: its space, then its results as expressions of its inputs. */
export function printKernel(
  kernel: Kernel,
  place: (id: ValueId) => string = (id) => `%${id}`,
): string[] {
  const { space, nodes, stores, reduce } = kernel;
  const axes = (extents: readonly number[]) => `[${extents.join(",")}]`;
  const lines = [`  over ${axes(space)}`, ...printNodes(nodes, stores.map(({ node }) => node), "n", kernel)];
  for (const { node, output } of stores) lines.push(`    ${place(output)} = n${node}`);
  if (reduce === undefined) return lines;
  reduce.reductions.forEach(({ fn, node }, i) => lines.push(`    r${i} = ${fn} of n${node}`));
  lines.push(`  folding axes ${axes(reduce.axes)}`);
  lines.push(...printNodes(reduce.epilogue, reduce.stores.map(({ node }) => node), "e", kernel));
  for (const { node, output } of reduce.stores) lines.push(`    ${place(output)} = e${node}`);
  return lines;
}

/** Prints nodes. Those used more than once, or named from outside, get a line; the others are inlined. */
function printNodes(
  nodes: readonly Node[],
  named: readonly number[],
  prefix: string,
  kernel: Kernel,
): string[] {
  const uses = new Map<number, number>();
  for (const arg of nodes.flatMap((node): readonly number[] => "args" in node ? node.args : [])) {
    uses.set(arg, (uses.get(arg) ?? 0) + 1);
  }
  const reduced = prefix === "n" ? kernel.reduce?.reductions.map(({ node }) => node) ?? [] : [];
  const hasLine = (index: number) =>
    named.includes(index) || reduced.includes(index) ||
    ((uses.get(index) ?? 0) > 1 && nodes[index]?.kind !== "constant");
  const refer = (index: number): string => hasLine(index) ? `${prefix}${index}` : write(at(nodes, index));
  const write = (node: Node): string => {
    switch (node.kind) {
      case "load":
        return `%${at(kernel.inputs, node.input)}${printView(node.view)}`;
      case "constant":
        return `${node.value}${node.dtype === "f32" ? "" : `:${node.dtype}`}`;
      case "iota":
        return `index${printView(node.view)}:${node.dtype}`;
      case "randomBits":
        return `randomBits${node.word}(%${at(kernel.inputs, node.key)}, index${printView(node.view)})`;
      case "reduced":
        return `r${node.index}`;
      case "select":
      case "cast":
        return `${node.kind === "cast" ? node.dtype : node.kind}(${node.args.map(refer).join(", ")})`;
      default:
        return `${node.fn}(${node.args.map(refer).join(", ")})`;
    }
  };
  return nodes.flatMap((node, index) => hasLine(index) ? [`    ${prefix}${index} = ${write(node)}`] : []);
}

function printView({ offset, strides }: View): string {
  return `[${offset === 0 ? "" : `${offset}; `}${strides.join(",")}]`;
}

function printInstruction({ op, attrs, inputs, site }: Instruction): string {
  const operands = inputs.map((input) => `%${input}`).join(", ");
  const { fn, ...others } = { ...attrs } as { fn?: string; [name: string]: unknown };
  const rest = Object.entries(others).map(([name, value]) => ` ${name}=${JSON.stringify(value)}`).join("");
  return `${fn === undefined || op === "reduce" ? op : fn}(${operands})${
    op === "reduce" ? ` fn=${fn}` : ""
  }${rest}${site === undefined ? "" : ` at ${site}`}`;
}

function printLocation(location: Location | undefined): string {
  if (location === undefined) return "nowhere";
  return location.kind === "arena" ? `${location.offset}` : `${location.kind} ${location.index}`;
}

function comment(scope: string): string {
  return scope === "" ? "" : `  # ${scope}`;
}
