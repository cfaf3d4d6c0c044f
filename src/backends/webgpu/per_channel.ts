import { type Aval, sizeOf } from "../../trace/dtype.ts";
import type { Slot } from "../place.ts";
import type { Call } from "./call.ts";
import { type FunctionName, Functions, type Width } from "./functions.ts";
import { type Constants, specialise } from "./template.ts";
import type { Variant } from "./variant.ts";

/** What a kernel over the channels of images binds, and how it is cut up. */
export interface PerChannel {
  readonly label: string;
  /** The template. */
  readonly text: string;
  readonly constants: Constants;
  /** What is read, by the name it has there. */
  readonly operands: Readonly<Record<string, Slot>>;
  /** What is written as `y`. */
  readonly output: Slot;
  /** What the invocations of a part go over. */
  readonly over: Aval;
  /** Parts, each with as many invocations; 1 if not given. */
  readonly parts?: number;
  /** Functions of functions.wgsl that the template calls. */
  readonly functions?: readonly FunctionName[];
}

/** Four channels at once where they come in fours. */
export const channelWidth = ({ shape }: Aval): Width => shape[3] % 4 === 0 ? 4 : 1;

/** One invocation for each four channels of an image where channels come in fours, for each element otherwise. */
export function perChannel(kernel: PerChannel, variant: Variant): Call {
  const { over, parts = 1 } = kernel;
  const width = channelWidth(over);
  const type = width === 4 ? "vec4f" : "f32";
  const functions = new Functions();
  for (const name of kernel.functions ?? []) functions.use(name, width);
  const units = sizeOf(over.shape) / width;
  const text = specialise(kernel.text, {
    ...kernel.constants,
    ...{ T: type, B: width === 4 ? "vec4<bool>" : "bool", WIDTH: width, CHANNELS: over.shape[3] / width },
    ...{ UNITS: units, PARTS: parts, SPLIT: parts > 1 },
  });
  return {
    label: kernel.label,
    text: kernel.functions === undefined ? text : `${functions.text()}\n${text}`,
    bindings: [
      ...Object.entries(kernel.operands).map(([name, slot]) => ({ name, type, slot, write: false })),
      { name: "y", type, slot: kernel.output, write: true },
    ],
    count: units * parts,
    group: variant.group,
  };
}
