import argmax from "../../../kernels/cuda/argmax.cu" with { type: "text" };
import dialect from "../../../kernels/cuda/dialect.cuh" with { type: "text" };
import exchange from "../../../kernels/cuda/exchange.cu" with { type: "text" };
import gather from "../../../kernels/cuda/gather.cu" with { type: "text" };
import move from "../../../kernels/cuda/move.cu" with { type: "text" };
import pool from "../../../kernels/cuda/pool.cu" with { type: "text" };
import resize from "../../../kernels/cuda/resize.cu" with { type: "text" };
import scatter from "../../../kernels/cuda/scatter.cu" with { type: "text" };
import type { Call } from "./call.ts";
import type { Launch } from "./launch.ts";

/** A translation unit and the names of its kernels. */
export interface Source {
  /** CUDA C. */
  readonly text: string;
  /** The kernel of each call, in the order of the calls; equal calls share one. */
  readonly names: readonly string[];
}

/** Joins the kernels of a plan into one translation unit: the dialect, the templates, and each distinct kernel once. */
export function sourceOf(calls: readonly Call[]): Source {
  const named = new Map<string, string>();
  const names = calls.map(({ text, label }) => {
    const name = named.get(text) ?? `k${named.size}_${label}`;
    named.set(text, name);
    return name;
  });
  const kernels = Array.from(named, ([text, name]) => text.replaceAll("NAME", name));
  const templates = [pool, resize, gather, scatter, argmax, move, exchange];
  return { text: [dialect, ...templates, ...kernels].join("\n"), names };
}

/** The kernel calls among launches, in order. */
export function callsOf(launches: readonly Launch[]): Call[] {
  return launches.flatMap((launch) => launch.kind === "kernel" ? [launch.call] : []);
}
