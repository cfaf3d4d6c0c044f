import { type Aval, sizeOf } from "../../trace/dtype.ts";
import type { Slot } from "../place.ts";
import { fourOf } from "../shapes.ts";
import type { Call } from "./call.ts";
import { type FunctionName, Functions } from "./functions.ts";
import { type Constants, specialise } from "./template.ts";
import type { Variant } from "./variant.ts";

/** A kernel over the channels of images. */
export interface PerChannel {
  readonly label: string;
  /** The template. */
  readonly text: string;
  readonly constants: Constants;
  /** The operands, by their names in the template. */
  readonly operands: Readonly<Record<string, Slot>>;
  /** The result, `y` in the template. */
  readonly output: Slot;
  /** The shape that the invocations of a part cover. */
  readonly over: Aval;
  /** The number of parts, each with the same number of invocations; 1 by default. */
  readonly parts?: number;
  /** The functions of functions.wgsl that the template calls. */
  readonly functions?: readonly FunctionName[];
}

/** The dispatch of such a kernel: one invocation for every four channels if their number is a multiple of 4, else for every element. */
export function perChannel(kernel: PerChannel, variant: Variant): Call {
  const { over, parts = 1 } = kernel;
  const [, , , channels] = fourOf(over.shape);
  const lanes = channels % 4 === 0 ? 4 : 1;
  const type = lanes === 4 ? "vec4f" : "f32";
  const functions = new Functions();
  for (const name of kernel.functions ?? []) functions.use(name, lanes);
  const units = sizeOf(over.shape) / lanes;
  const text = specialise(kernel.text, {
    ...kernel.constants,
    ...{ T: type, B: lanes === 4 ? "vec4<bool>" : "bool", LANES: lanes, CHANNELS: channels / lanes },
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
