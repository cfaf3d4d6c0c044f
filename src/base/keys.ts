/** Returns the names of an object's properties, typed. Only for objects without properties beyond those of their type. */
export function keysOf<T extends object>(value: T): (keyof T & string)[] {
  return Object.keys(value) as (keyof T & string)[];
}
