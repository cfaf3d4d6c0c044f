import { at } from "../../base/at.ts";
import { type DType, type Shape, sizeOf } from "../../trace/dtype.ts";
import { concat } from "../../trace/functions.ts";
import type { Tensor } from "../../trace/tensor.ts";

/** Values that share a message. */
export interface Group {
  readonly dtype: DType;
  /** Their indices. */
  readonly members: readonly number[];
}

/** Groups values by dtype; those of `large` or more elements are alone. */
export function groupsOf(
  values: readonly { readonly shape: Shape; readonly dtype: DType }[],
  large: number,
): Group[] {
  const groups: Group[] = [];
  const shared = new Map<DType, number[]>();
  values.forEach(({ shape, dtype }, i) => {
    if (sizeOf(shape) >= large) {
      groups.push({ dtype, members: [i] });
      return;
    }
    const members = shared.get(dtype);
    if (members !== undefined) {
      members.push(i);
      return;
    }
    const started = [i];
    shared.set(dtype, started);
    groups.push({ dtype, members: started });
  });
  return groups;
}

/** The values of each group, one after another: `[elements]`. */
export function bucketsOf(values: readonly Tensor[], large: number): (Group & { readonly tensor: Tensor })[] {
  return groupsOf(values, large).map((group) => {
    const flat = group.members.map((i) => at(values, i)).map((value) => value.reshape(value.size));
    return { ...group, tensor: flat.length === 1 ? at(flat, 0) : concat(flat) };
  });
}

/** Divides the elements of a group among its members. */
export function spread(
  all: Tensor,
  members: readonly number[],
  values: readonly { readonly shape: Shape }[],
  into: Tensor[],
): void {
  let from = 0;
  for (const i of members) {
    const { shape } = at(values, i);
    const size = sizeOf(shape);
    into[i] = all.slice([from], [from + size]).reshape(...shape);
    from += size;
  }
}
