/** What `console.log`, `Deno.inspect` and Node's `util.inspect` call. */
const INSPECT = ["Deno.customInspect", "nodejs.util.inspect.custom"].map((name) => Symbol.for(name));

/** Makes instances of a class print as their `toString()`, instead of with all that they refer to. */
export function printsAsText(type: { readonly prototype: { toString(): string } }): void {
  for (const symbol of INSPECT) {
    Object.defineProperty(type.prototype, symbol, {
      value(this: { toString(): string }) {
        return this.toString();
      },
    });
  }
}

/** What Deno's Jupyter kernel calls for the result of a cell (docs.deno.com/runtime/reference/cli/jupyter). */
const DISPLAY = Symbol.for("Jupyter.display");

/** Makes instances of a class show as text in a notebook. */
export function showsInNotebooks<T>(
  type: { readonly prototype: T },
  text: (instance: T) => Promise<string>,
): void {
  Object.defineProperty(type.prototype, DISPLAY, {
    async value(this: T) {
      return { "text/plain": await text(this) };
    },
  });
}

/** The operators that a conversion to a primitive value may come from, with the methods to call instead. */
const INSTEAD: { readonly [hint: string]: string } = {
  default: "a.add(b) for a + b, a.eq(b) for a == b",
  number:
    "a.sub(b) for a - b, a.mul(b), a.div(b), a.pow(b), a.neg() for -a, a.lt(b) for a < b, a.le(b), a.gt(b), a.ge(b)",
};

/** The error of an operator on `what`, which JavaScript cannot overload; `hint` is that of `Symbol.toPrimitive`. */
export function noOperator(what: string, hint: string): string {
  return `operators do not work on ${what}; call its methods: ${INSTEAD[hint] ?? INSTEAD["default"]}; ` +
    "`${…}` and String(…) make text of it";
}
