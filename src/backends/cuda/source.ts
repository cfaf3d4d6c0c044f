import dialect from "../../../kernels/cuda/dialect.cuh" with { type: "text" };
import type { Call } from "./call.ts";
import { templates } from "./structured.ts";

/** A translation unit and the names its kernels have in it. */
export interface Source {
  /** CUDA C. */
  readonly text: string;
  /** The kernel of each call, in the calls' order; equal calls share one. */
  readonly names: readonly string[];
}

/** Puts the kernels of a plan into one translation unit: the dialect, the templates, and each distinct kernel once. */
export function sourceOf(calls: readonly Call[]): Source {
  const named = new Map<string, string>();
  const names = calls.map(({ text, label }) => {
    const name = named.get(text) ?? `k${named.size}_${label}`;
    named.set(text, name);
    return name;
  });
  const kernels = Array.from(named, ([text, name]) => text.replaceAll("NAME", name));
  return { text: [dialect, ...templates, ...kernels].join("\n"), names };
}
