import { LocalgradError } from "../base/errors.ts";

/** Returns one of the slots or scalars that an update needs; refuses those without it. `who` begins the message. */
export function entry<T>(who: string, values: { readonly [name: string]: T }, name: string): T {
  const value = values[name];
  if (value === undefined) {
    throw new LocalgradError(
      `${who}: update() needs ${name}; pass slots from zeroSlots() or the step before, and scalars() of this step`,
    );
  }
  return value;
}
