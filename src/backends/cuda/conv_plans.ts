import { type Cudnn, isRefusal } from "../../../ffi/cudnn.ts";
import { attributeType, heuristicMode, numericalNote } from "../../../ffi/cudnn_constants.ts";
import type { ConvSpec, ConvTensors } from "./conv.ts";
import { operationGraph, type PlanFor, uid } from "./conv_operations.ts";
import { type Attribute, Descriptors, values } from "./descriptors.ts";

/** An execution plan and the scratch it needs. */
export interface ExecutionPlan {
  /** The plan's descriptor. */
  readonly plan: bigint;
  /** Bytes of scratch. */
  readonly workspace: number;
  /** True once it has run: from then on a failure is an error, and no reason to take another plan. */
  proved: boolean;
}

/** An engine configuration that cuDNN's heuristics offer; it becomes an execution plan when it is first considered. */
export interface Candidate {
  /** The configuration's descriptor. */
  readonly config: bigint;
  /** True if the heuristics rank it; false for one of the fallback mode, which are in no order of speed. */
  readonly ranked: boolean;
  /** Its execution plan, or the reason why it has none; undefined until it is considered. */
  outcome?: ExecutionPlan | { readonly refused: string };
}

type Refusal = readonly [keyof typeof numericalNote, string];

/** The numerical notes of engines that are refused, with the reason. */
const REFUSALS: readonly Refusal[] = [
  ["CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC", "not deterministic"],
  ["CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS", "rounds its operands"],
  ["CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION", "rounds intermediate sums"],
];

/**
 * And of those that are refused in f32. With output tiles of 4 × 4, minimal filtering has 4 to 6 times the rounding error
 * of direct sums, with larger ones and Fourier transforms more; with 2 × 2, as on the CPU, it has no more.
 */
const LARGE_TILES = "minimal filtering with large tiles, which rounds more than direct sums";
const REFUSALS_F32: readonly Refusal[] = [
  ["CUDNN_NUMERICAL_NOTE_TENSOR_CORE", "uses tensor cores, which round single precision"],
  ["CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4", LARGE_TILES],
  ["CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6", LARGE_TILES],
  ["CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13", LARGE_TILES],
  ["CUDNN_NUMERICAL_NOTE_FFT", "Fourier transforms, which round more than direct sums"],
];

/**
 * A convolution's operation graph and the engines that can run it: those that the heuristics rank, in their order, then
 * those of the fallback mode, which are in no order of speed.
 */
export class ConvPlans {
  readonly spec: ConvSpec;
  readonly candidates: readonly Candidate[];
  readonly #descriptors: Descriptors;
  readonly #plan: Attribute[];

  /** Builds the graph and asks for engines. Throws a LibraryError whose status tells why there are none. */
  constructor(cudnn: Cudnn, spec: ConvSpec, target: PlanFor) {
    this.spec = spec;
    this.#descriptors = new Descriptors(cudnn);
    try {
      const graph = operationGraph(this.#descriptors, spec, target);
      let described: bigint | undefined;
      if ("handle" in target) {
        this.#plan = [["CUDNN_ATTR_EXECUTION_PLAN_HANDLE", values.handle(target.handle)]];
      } else {
        described = this.#descriptors.build("CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR", [
          ["CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION", values.chars(target.description)],
        ]);
        this.#plan = [["CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP", values.descriptors([described])]];
      }
      const offers = (mode: number, ranked: boolean): Candidate[] =>
        this.#offers(graph, mode, described).map((config) => ({ config, ranked }));
      this.candidates = [
        ...offers(heuristicMode.CUDNN_HEUR_MODE_A, true),
        ...offers(heuristicMode.CUDNN_HEUR_MODE_FALLBACK, false),
      ];
    } catch (error) {
      this.#descriptors.close();
      throw error;
    }
  }

  /**
   * The first execution plan that keeps to the precision, is deterministic, and needs at most `workspace` bytes; or the
   * reasons why each candidate was refused.
   */
  choose(workspace: number): ExecutionPlan | { readonly refused: readonly string[] } {
    const refused: string[] = [];
    for (const candidate of this.candidates) {
      const outcome = this.consider(candidate);
      if ("refused" in outcome) refused.push(outcome.refused);
      else if (outcome.workspace > workspace) refused.push(`needs ${outcome.workspace} bytes of workspace`);
      else return outcome;
    }
    return { refused };
  }

  /** The execution plan of a candidate, built when it is first considered; or the reason why it has none. */
  consider(candidate: Candidate): NonNullable<Candidate["outcome"]> {
    return candidate.outcome ??= this.#consider(candidate.config);
  }

  /** Refuses a plan from now on, for a reason that showed when it was run. */
  refuse({ plan }: ExecutionPlan, refused: string): void {
    for (const candidate of this.candidates) {
      const { outcome } = candidate;
      if (outcome !== undefined && "plan" in outcome && outcome.plan === plan) {
        candidate.outcome = { refused };
      }
    }
  }

  /** Builds a variant pack: the addresses of the graph's tensors and scratch, ready to be executed. */
  bind(tensors: ConvTensors, workspace: bigint): bigint {
    const { image, filter, result, bias } = tensors;
    const named: [number, bigint][] = [[uid.image, image], [uid.filter, filter], [uid.result, result]];
    if (bias !== undefined) named.push([uid.bias, bias]);
    return this.#descriptors.build("CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR", [
      ["CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS", values.int64(named.map(([id]) => id))],
      ["CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS", values.pointers(named.map(([, address]) => address))],
      ["CUDNN_ATTR_VARIANT_PACK_WORKSPACE", values.pointers([workspace])],
    ]);
  }

  /** Destroys a variant pack that {@link bind} built. */
  unbind(pack: bigint): void {
    this.#descriptors.destroy(pack);
  }

  /** Destroys everything. */
  close(): void {
    this.#descriptors.close();
  }

  /** The engine configurations of a heuristic mode, as cuDNN lists them; none where it supports none. */
  #offers(graph: bigint, mode: number, described: bigint | undefined): bigint[] {
    const descriptors = this.#descriptors;
    const heuristics = noneIfRefused(() =>
      descriptors.build("CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR", [
        ["CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH", values.descriptors([graph])],
        ["CUDNN_ATTR_ENGINEHEUR_MODE", values.heuristicMode(mode)],
        ...(described === undefined
          ? []
          : [["CUDNN_ATTR_ENGINEHEUR_DEVICEPROP", values.descriptors([described])] as const]),
      ])
    );
    if (heuristics === undefined) return [];
    // cuDNN fills in descriptors that exist already.
    const length = descriptors.count(heuristics, "CUDNN_ATTR_ENGINEHEUR_RESULTS");
    const configs = Array.from({ length }, () => descriptors.create("CUDNN_BACKEND_ENGINECFG_DESCRIPTOR"));
    const count = descriptors.get(heuristics, "CUDNN_ATTR_ENGINEHEUR_RESULTS", values.descriptors(configs));
    configs.splice(count).forEach((spare) => descriptors.destroy(spare));
    descriptors.destroy(heuristics);
    return configs;
  }

  /** Builds the execution plan of a configuration, unless its engine is one that we refuse. */
  #consider(config: bigint): NonNullable<Candidate["outcome"]> {
    const descriptors = this.#descriptors;
    const notes = this.#notes(config);
    const refusals = this.spec.precision === "f32" ? [...REFUSALS, ...REFUSALS_F32] : REFUSALS;
    const found = refusals.find(([note]) => notes.has(numericalNote[note]));
    if (found !== undefined) return { refused: found[1] };
    try {
      const plan = descriptors.build("CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR", [
        ...this.#plan,
        ["CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG", values.descriptors([config])],
      ]);
      const workspace = descriptors.getInt64(plan, "CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE");
      return { plan, workspace, proved: false };
    } catch (error) {
      if (isRefusal(error)) return { refused: error.message };
      throw error; // the plan was described wrongly
    }
  }

  /** The numerical notes of a configuration's engine. */
  #notes(config: bigint): Set<number> {
    const descriptors = this.#descriptors;
    const engine = descriptors.create("CUDNN_BACKEND_ENGINE_DESCRIPTOR");
    try {
      descriptors.get(config, "CUDNN_ATTR_ENGINECFG_ENGINE", values.descriptors([engine]));
      const data = new Int32Array(numericalNote.CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
      const count = descriptors.get(engine, "CUDNN_ATTR_ENGINE_NUMERICAL_NOTE", {
        type: attributeType.CUDNN_TYPE_NUMERICAL_NOTE,
        count: data.length,
        data,
      });
      return new Set(data.subarray(0, count));
    } finally {
      descriptors.destroy(engine);
    }
  }
}

/** Returns undefined where cuDNN refuses; other errors are thrown on. */
function noneIfRefused<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}
