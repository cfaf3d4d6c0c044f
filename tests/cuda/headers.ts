/**
 * Compares symbol tables with C headers. It parses just enough C for the vendor's headers: prototypes, typedefs,
 * enumerations and simple `#define`s.
 *
 * @module
 */

/** A parameter or result as FFI sees it. */
type Kind = "pointer" | "void" | "u8" | "i32" | "u32" | "i64" | "u64" | "usize" | "f32" | "f64";

interface Prototype {
  readonly result: Kind;
  readonly parameters: readonly { readonly name: string; readonly kind: Kind }[];
}

/** The declarations of some headers. */
export interface Headers {
  /** Prototypes by exported name, after `#define`s such as `cuMemAlloc cuMemAlloc_v2`. */
  readonly functions: ReadonlyMap<string, Prototype>;
  /** Names that a `#define` replaces by a versioned one. */
  readonly renamed: ReadonlyMap<string, string>;
  /** Enumerators and numeric macros. */
  readonly constants: ReadonlyMap<string, number>;
}

const base: Readonly<Record<string, Kind>> = {
  "void": "void",
  "char": "u8",
  "unsigned char": "u8",
  "int": "i32",
  "unsigned int": "u32",
  "unsigned": "u32",
  "unsigned long long": "u64",
  "long long": "i64",
  "size_t": "usize",
  "int32_t": "i32",
  "uint64_t": "u64",
  "int64_t": "i64",
  "cuuint64_t": "u64",
  "float": "f32",
  "double": "f64",
};

/** Parses headers in order. */
export function readHeaders(texts: readonly string[]): Headers {
  const text = texts.join("\n").replace(/\/\*[\s\S]*?\*\//g, " ").replace(/\/\/[^\n]*/g, " ").replace(
    /\\\n/g,
    " ",
  );
  const typedefs = new Map<string, string>();
  for (
    const [, type, name] of text.matchAll(/\btypedef\s+([^;{}()]*?[\s*])(\w+)\s*(?:CUDNN_DEPRECATED)?\s*;/g)
  ) {
    if (!typedefs.has(name)) typedefs.set(name, type.trim());
  }
  for (const [, name] of text.matchAll(/\btypedef\s+\w+\s+(\w+)\[\w+\]\s*;/g)) {
    typedefs.set(name, "void *"); // a parameter of an array type is a pointer
  }
  for (const [, name] of text.matchAll(/\btypedef\s+enum\s*\w*\s*\{[^}]*\}\s*(\w+)/g)) {
    typedefs.set(name, "int");
  }

  const kindOf = (type: string): Kind => {
    if (/[*[]/.test(type)) return "pointer";
    const bare = type.replace(/\b(const|struct|__device_builtin__|\w*WINAPI|CUDAAPI|extern)\b/g, " ").trim()
      .replace(/\s+/g, " ");
    if (bare.startsWith("enum ")) return "i32";
    if (Object.hasOwn(base, bare)) return base[bare];
    const meant = typedefs.get(bare);
    if (meant === undefined) throw new Error(`the headers do not say what ${bare} is`);
    return kindOf(meant);
  };

  const renamed = new Map<string, string>();
  for (
    const [, name, to] of text.matchAll(
      /^\s*#\s*define\s+(\w+)\s+(?:__CUDA_API_PT[SD][SZ]\()?(\w+)\)?[ \t]*$/gm,
    )
  ) {
    if (to.startsWith(name) && to !== name) renamed.set(name, to);
  }

  const functions = new Map<string, Prototype>();
  for (
    const [, result, name, list] of text.replace(/^\s*#.*$/gm, ";").matchAll(
      /((?:\w+[\s*]+)+)\b(\w+)\s*\(([^(){};]*)\)\s*;/g,
    )
  ) {
    const exported = renamed.get(name) ?? name;
    if (functions.has(exported) || /\btypedef\b|\breturn\b/.test(result)) continue;
    try {
      const parameters = list.trim() === "void" || list.trim() === ""
        ? []
        : list.split(",").map((parameter) => {
          const [, type, name, array] = /^\s*([\s\S]*?[\s*])(\w+)\s*(\[\w*\])?\s*$/.exec(parameter) ?? [];
          return { name, kind: kindOf(type + (array ?? "")) };
        });
      functions.set(exported, { result: kindOf(result.replace(/\bCUDNN_DEPRECATED\b/g, "")), parameters });
    } catch {
      // A function that takes a structure by value or a callback; we use none.
    }
  }

  const values = new Map<string, string>();
  for (
    const [, name, value] of text.matchAll(
      /\b([A-Z][A-Za-z0-9_]*)(?:\s+CUDNN_DEPRECATED_ENUM)?\s*=\s*([^,}=]+)/g,
    )
  ) {
    if (!values.has(name)) values.set(name, value.trim());
  }
  for (const [, name, value] of text.matchAll(/^\s*#\s*define\s+([A-Z]\w*)\s+(0x[0-9a-fA-F]+|\d+)\s*$/gm)) {
    if (!values.has(name)) values.set(name, value);
  }
  const constants = new Map<string, number>();
  const evaluate = (expression: string): number =>
    expression.replace(/[()]/g, "").split("|").reduce((sum, term) => {
      const word = term.trim();
      return sum | (/^(0x[0-9a-f]+|-?\d+)$/i.test(word) ? Number(word) : evaluate(values.get(word) ?? "?"));
    }, 0);
  for (const [name, value] of values) {
    if (/^[\w\s|()-]+$/.test(value)) {
      try {
        constants.set(name, evaluate(value));
      } catch {
        // not a number
      }
    }
  }
  return { functions, renamed, constants };
}

/** Tests whether an FFI type has the width and sign of a C type. */
function carries(type: unknown, kind: Kind): boolean {
  return kind === "pointer" ? type === "buffer" || type === "u64" || type === "pointer" : type === kind;
}

/** The faults of a symbol table; empty if there are none. */
export function compareSymbols(table: Deno.ForeignLibraryInterface, headers: Headers): string[] {
  return Object.entries(table).flatMap(([name, symbol]) => {
    const versioned = headers.renamed.get(name);
    if (versioned !== undefined) return [`${name}: the header calls it ${versioned}`];
    const prototype = headers.functions.get(name);
    if (prototype === undefined) return [`${name}: no prototype in the headers`];
    if (!("parameters" in symbol)) return [`${name}: not a function`];
    const { parameters, result } = symbol;
    if (parameters.length !== prototype.parameters.length) {
      return [`${name}: ${parameters.length} parameters, and ${prototype.parameters.length} in the header`];
    }
    const faults = prototype.parameters.flatMap(({ name: parameter, kind }, i) =>
      carries(parameters[i], kind) ? [] : [`${name}: ${parameter} is ${kind}, not ${parameters[i]}`]
    );
    return carries(result, prototype.result)
      ? faults
      : [...faults, `${name}: gives ${prototype.result}, not ${result}`];
  });
}

/** The faults of a group of constants. */
export function compareConstants(
  table: Readonly<Record<string, number | bigint>>,
  headers: Headers,
): string[] {
  return Object.entries(table).flatMap(([name, value]) => {
    const meant = headers.constants.get(name);
    if (meant === undefined) return [`${name}: not in the headers`];
    return meant === Number(value) ? [] : [`${name}: ${meant} in the header, not ${value}`];
  });
}

/** The faults of the C parameter names in the comments of a table's source. */
export function compareNames(
  source: string,
  table: Deno.ForeignLibraryInterface,
  headers: Headers,
): string[] {
  return Object.keys(table).flatMap((name) => {
    const entry = new RegExp(`\\b${name}: \\{([^}]*)\\}`).exec(source);
    if (entry === null) return []; // a list of parameters that several functions share
    const given = Array.from(entry[1].matchAll(/\/\* ([^*]*) \*\//g), ([, name]) => name);
    const meant = headers.functions.get(name)?.parameters.map(({ name }) => name) ?? [];
    return given.join() === meant.join() ? [] : [`${name}: (${meant}) in the header, not (${given})`];
  });
}
