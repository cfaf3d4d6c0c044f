import { expectKind, expectObject, expectOptions } from "../base/expect.ts";
import type { Key } from "../base/random.ts";
import { requireShape, type Shape } from "../trace/dtype.ts";
import type { HostArray } from "../trace/host_array.ts";
import type { Program } from "../trace/program.ts";
import { Tensor } from "../trace/tensor.ts";
import { scope, Trace, withTrace } from "../trace/trace.ts";
import { treeMap } from "../trace/tree.ts";
import { type Initial, initialize } from "./initial.ts";
import { descend, merge, type Named, nest } from "./named.ts";
import { derivedKey } from "./random_key.ts";

/** The mode a network runs in: `train` uses batch statistics, `evaluate` running statistics. */
export type Mode = "train" | "evaluate";

/** The result of applying a layer. */
export interface Applied {
  /** Its output. */
  readonly y: Tensor;
  /** Its state afterwards: the same tree as before, with new values in training. */
  readonly state: Named<Tensor>;
}

/**
 * A layer, or a whole network: the shapes of its parameters and state, and the function it computes from them. A layer
 * holds no values; parameters and state are trees that callers pass in and get back.
 */
export interface Layer {
  /** Parameters, by PyTorch's names. */
  readonly params: Named<Initial>;
  /** Values that are updated but not learned, such as running statistics. */
  readonly state: Named<Initial>;
  /** True if it needs a random key in training, itself or a layer that it applies; default false. */
  readonly random?: boolean;
  /** Draws starting values. */
  init(key: Key): { params: Named<HostArray>; state: Named<HostArray> };
  /**
   * Applies the layer within a traced function; images are NHWC. `key` is a random key, u32[2], to be used once; only
   * random layers read it, and only in training.
   */
  apply(params: Named<Tensor>, state: Named<Tensor>, x: Tensor, mode: Mode, key?: Tensor): Applied;
}

/** Layers by name, in the order they are applied; a name may be a dotted path such as `layer1.0`. */
export type Layers = { readonly [name: string]: Layer };

/**
 * Makes a layer from its parameters, its state and the function it computes.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * // A learned scale per channel.
 * const scale = (channels: number) =>
 *   nn.layer({
 *     params: { weight: nn.constantInitial(1, [channels]) },
 *     apply: ({ weight }, state, x) => ({ y: x.mul(weight), state }),
 *   });
 * assertEquals(nn.shapeAfter(scale(3), [8, 8, 3]), [8, 8, 3]);
 * ```
 */
export function layer<P extends Named<Initial> = Named<Initial>, S extends Named<Initial> = Named<Initial>>(
  spec: {
    /** Parameters; default none. */
    params?: P;
    /** State; default none. */
    state?: S;
    /** Says that `apply` reads the key in training, or passes it on; default false. */
    random?: boolean;
    /** Computes the result and the new state. */
    apply: (
      params: Valued<P>,
      state: Valued<S>,
      x: Tensor,
      mode: Mode,
      key: Tensor | undefined,
    ) => Applied;
  },
): Layer {
  expectOptions("layer", spec, {
    params: "object?",
    state: "object?",
    random: "boolean?",
    apply: "function",
  });
  const { params = {}, state = {}, random = false, apply } = spec;
  return {
    params,
    state,
    ...(random ? { random } : {}),
    init: (key) => ({ params: initialize(params, key), state: initialize(state, key) }),
    apply: apply as Layer["apply"],
  };
}

/** A tree of starting values with a tensor in place of each. */
export type Valued<P> = P extends Initial ? Tensor : { readonly [K in keyof P]: Valued<P[K]> };

/** Makes a layer without parameters or state from a function. */
export function stateless(f: (x: Tensor, mode: Mode) => Tensor): Layer {
  return layer({ apply: (_params, state, x, mode) => ({ y: f(x, mode), state }) });
}

/**
 * Makes a layer of a single parameter that has the layer's own name, such as a class token: the `class_token` of
 * `sequential({ class_token: parameterLayer(…) })`.
 *
 * @param apply Computes the result from the parameter and x.
 */
export function parameterLayer(initial: Initial, apply: (value: Tensor, x: Tensor) => Tensor): Layer {
  // A tree of one leaf, which only the type of a layer's parameters rules out.
  const leaf = <T>(value: unknown) => value as Named<T>;
  return layer({
    params: leaf<Initial>(initial),
    apply: (value, state, x) => ({ y: apply(value as unknown as Tensor, x), state }),
  });
}

/**
 * Applies layers one after another. Parameters are nested under each layer's name; a layer without any has no entry.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const net = nn.sequential({
 *   conv1: nn.conv({ in: 3, out: 8, padding: 1 }),
 *   bn1: nn.batchNorm({ channels: 8 }),
 *   relu: nn.relu(),
 * });
 * assertEquals(Object.keys(net.params), ["conv1", "bn1"]);
 * ```
 */
export function sequential(layers: Layers): Layer {
  return sequence(layers);
}

/** Makes a `sequential` whose random layers have the keys from number `first` on: it is a part of a longer one. */
export function sequence(layers: Layers, first = 0): Layer {
  expectKind("sequential: the layers", layers, "object");
  const parts = Object.entries(layers);
  for (const [name, part] of parts) expectLayer(`sequential: ${name}`, part);
  const gather = (kind: "params" | "state") =>
    merge(...parts.filter(([, part]) => !isEmpty(part[kind])).map(([name, part]) => nest(name, part[kind])));
  return layer({
    params: gather("params"),
    state: gather("state"),
    random: randomIn(layers) > 0,
    apply(params, state, x, mode, key) {
      const states: Named<Tensor>[] = [];
      const keys = keysFrom(key, first);
      for (const [name, part] of parts) {
        const applied = scope(
          name,
          () => part.apply(descend<Tensor>(params, name), descend<Tensor>(state, name), x, mode, keys(part)),
        );
        x = applied.y;
        if (!isEmpty(part.state)) states.push(nest(name, applied.state));
      }
      return { y: x, state: merge(...states) };
    },
  });
}

/**
 * The shape of a layer's result for one image, without the batch axis.
 *
 * @param shape The image's shape, such as `[height, width, channels]`.
 */
export function shapeAfter(layer: Layer, shape: Shape): Shape {
  expectLayer("shapeAfter: the layer", layer);
  requireShape(shape, "shapeAfter");
  return evaluated(layer, shape).shape;
}

/** The program of a layer in evaluation, for one image of this shape. */
export function programOf(layer: Layer, shape: Shape): Program {
  return evaluated(layer, shape).program;
}

function evaluated(layer: Layer, shape: Shape): { readonly shape: Shape; readonly program: Program } {
  const trace = new Trace();
  const input = (aval: { shape: Shape; dtype: Initial["dtype"] }) =>
    new Tensor(trace, trace.builder.input(aval, ""));
  const inputs = (tree: Named<Initial>) => treeMap(input, tree);
  return withTrace(trace, () => {
    const x = input({ shape: [1, ...shape], dtype: "f32" });
    const { y } = layer.apply(inputs(layer.params), inputs(layer.state), x, "evaluate");
    return { shape: y.shape.slice(1), program: trace.builder.finish("", [{ value: y.id, name: "" }]) };
  });
}

/** The number of layers that are random. */
export function randomIn(layers: Layers): number {
  return Object.values(layers).filter(({ random }) => random === true).length;
}

/** Returns a function that gives each random layer the next of the keys that a key is split into, from `first` on. */
export function keysFrom(key: Tensor | undefined, first = 0): (part: Layer) => Tensor | undefined {
  let index = first;
  return ({ random }) => random === true ? derivedKey(key, index++) : undefined;
}

function isEmpty(tree: object): boolean {
  return Object.keys(tree).length === 0;
}

/** Refuses a value that is not a layer; `what` begins the message. */
export function expectLayer(what: string, layer: Layer): void {
  expectObject(what, layer, {
    params: "object",
    state: "object",
    random: "boolean?",
    init: "function",
    apply: "function",
  });
}
