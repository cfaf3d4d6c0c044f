import { algorithmResult, checkCudnn, type Cudnn, isRefusal } from "../../../../ffi/cudnn.ts";
import { cudnnData, cudnnMode, cudnnStatus } from "../../../../ffi/cudnn_constants.ts";
import { outI32, outU64 } from "../../../../ffi/memory.ts";
import {
  type BoundConv,
  cannotRun,
  type Convolver,
  type ConvSpec,
  type ConvTensors,
  dataTypeOf,
  describeConv,
  roles,
} from "../conv.ts";
import type { Extents } from "../../extents.ts";
import type { Card } from "../card.ts";

/** The descriptors of a spec, and its algorithms in cuDNN's order. */
interface Prepared {
  readonly image: bigint;
  readonly filter: bigint;
  readonly result: bigint;
  readonly convolution: bigint;
  readonly algorithms: readonly Algorithm[];
}

/** An algorithm that cuDNN offers for a convolution. */
interface Algorithm {
  readonly algorithm: number;
  readonly workspace: number;
  readonly mathType: number;
  /** True once it has run: from then on a failure is an error, and no reason to take another. */
  isProved: boolean;
  /** True if it failed in its first run. */
  isRefused: boolean;
}

/** The most algorithms to ask for. */
const MAX_ALGORITHMS = 10;

const one = Float32Array.of(1), zero = Float32Array.of(0);

/** The math type of each precision: cuDNN uses tensor cores for 16-bit elements only if asked to. */
const mathOf = {
  f32: cudnnMode.CUDNN_FMA_MATH,
  tf32: cudnnMode.CUDNN_DEFAULT_MATH,
  bf16: cudnnMode.CUDNN_TENSOR_OP_MATH,
} as const;

/** The functions of each op: the one that chooses an algorithm, and the one that runs it. */
const functions = {
  conv: ["cudnnGetConvolutionForwardAlgorithm_v7", "cudnnConvolutionForward"],
  convInputGrad: ["cudnnGetConvolutionBackwardDataAlgorithm_v7", "cudnnConvolutionBackwardData"],
  convFilterGrad: ["cudnnGetConvolutionBackwardFilterAlgorithm_v7", "cudnnConvolutionBackwardFilter"],
} as const;

/** The tensors of cuDNN's functions in order: as ours, but the image gradient takes the filter first. */
const order = { ...roles, convInputGrad: ["filter", "result", "image"] } as const;

/**
 * Runs convolutions through cuDNN's legacy API, one function for each op: a simple implementation to compare the graph
 * API with. It cannot pad one side more than the other, and fuses no epilogue.
 */
export class LegacyConvolver implements Convolver {
  readonly #cudnn: Cudnn;
  readonly #handle: bigint;
  readonly #card: Card;
  readonly #prepared = new Map<string, Prepared>();
  readonly #out = outU64();
  /** The stream of the handle. */
  #stream: bigint;

  constructor(cudnn: Cudnn, handle: bigint, card: Card) {
    this.#cudnn = cudnn;
    this.#handle = handle;
    this.#card = card;
    this.#stream = card.stream;
  }

  useStream(stream: bigint): void {
    if (stream === this.#stream) return;
    checkCudnn(this.#cudnn, this.#cudnn.cudnnSetStream(this.#handle, stream), "setting the stream");
    this.#stream = stream;
  }

  fuses(): boolean {
    return false;
  }

  bind(spec: ConvSpec, tensors: ConvTensors, scratch: bigint, workspace: number): BoundConv {
    const prepared = this.#prepare(spec);
    const choose = (): Algorithm => {
      const chosen = prepared.algorithms.find((each) => !each.isRefused && each.workspace <= workspace);
      if (chosen !== undefined) return chosen;
      throw cannotRun(spec, `no deterministic algorithm works with ${workspace} bytes of scratch`);
    };
    choose(); // throws here if there is none, before a run has overwritten anything
    const [a, b, c] = order[spec.op];
    const run = this.#cudnn[functions[spec.op][1]];
    const issue = (chosen: Algorithm) => {
      this.#check(
        this.#cudnn.cudnnSetConvolutionMathType(prepared.convolution, chosen.mathType),
        "setting the math type",
      );
      this.#check(
        run(
          this.#handle,
          one,
          prepared[a],
          tensors[a],
          prepared[b],
          tensors[b],
          prepared.convolution,
          chosen.algorithm,
          scratch,
          BigInt(workspace),
          zero,
          prepared[c],
          tensors[c],
        ),
        `running ${describeConv(spec)}`,
      );
    };
    return {
      run: () => {
        for (;;) {
          const chosen = choose();
          try {
            issue(chosen);
            chosen.isProved = true;
            return;
          } catch (error) {
            if (chosen.isProved || !isRefusal(error)) throw error;
            this.#card.throwFault(); // then no algorithm is at fault
            chosen.isRefused = true;
          }
        }
      },
      dispose: () => {},
    };
  }

  close(): void {
    for (const { image, filter, result, convolution } of this.#prepared.values()) {
      this.#cudnn.cudnnDestroyTensorDescriptor(image);
      this.#cudnn.cudnnDestroyFilterDescriptor(filter);
      this.#cudnn.cudnnDestroyTensorDescriptor(result);
      this.#cudnn.cudnnDestroyConvolutionDescriptor(convolution);
    }
    this.#prepared.clear();
  }

  #prepare(spec: ConvSpec): Prepared {
    const key = JSON.stringify(spec);
    const known = this.#prepared.get(key);
    if (known !== undefined) return known;
    const { padding, strides, dilation, groups } = spec.attrs;
    if (padding.some(([before, after]) => before !== after)) {
      throw cannotRun(spec, "it pads one side more than the other");
    }
    const cudnn = this.#cudnn;
    const type = dataTypeOf(spec.precision);
    const image = this.#tensor(spec.image, type), result = this.#tensor(spec.result, type);
    const filter = this.#create(cudnn.cudnnCreateFilterDescriptor);
    const [k, r, s, c] = spec.filter;
    this.#check(
      cudnn.cudnnSetFilter4dDescriptor(
        filter,
        type,
        cudnnData.CUDNN_TENSOR_NHWC,
        k,
        c,
        r,
        s,
      ),
      "describing the filter",
    );
    const convolution = this.#create(cudnn.cudnnCreateConvolutionDescriptor);
    this.#check(
      cudnn.cudnnSetConvolution2dDescriptor(
        convolution,
        padding[0][0],
        padding[1][0],
        strides[0],
        strides[1],
        dilation[0],
        dilation[1],
        cudnnMode.CUDNN_CROSS_CORRELATION,
        cudnnData.CUDNN_DATA_FLOAT,
      ),
      "describing the convolution",
    );
    this.#check(cudnn.cudnnSetConvolutionGroupCount(convolution, groups), "setting the groups");
    this.#check(
      cudnn.cudnnSetConvolutionMathType(convolution, mathOf[spec.precision]),
      "setting the math type",
    );
    const partial = { image, filter, result, convolution };
    const prepared = { ...partial, algorithms: this.#algorithms(spec, partial) };
    this.#prepared.set(key, prepared);
    return prepared;
  }

  /** The deterministic algorithms that cuDNN's heuristics offer, fastest first. */
  #algorithms(spec: ConvSpec, made: Omit<Prepared, "algorithms">): Prepared["algorithms"] {
    const results = new DataView(new ArrayBuffer(MAX_ALGORITHMS * algorithmResult.bytes));
    const count = outI32();
    const [a, b, c] = order[spec.op];
    const status = this.#cudnn[functions[spec.op][0]](
      this.#handle,
      made[a],
      made[b],
      made.convolution,
      made[c],
      MAX_ALGORITHMS,
      count.buffer,
      results,
    );
    this.#check(status, `choosing an algorithm for ${describeConv(spec)}`);
    return Array.from({ length: count.value }, (_, i) => {
      const offsetOf = (field: number) => i * algorithmResult.bytes + field;
      return {
        algorithm: results.getInt32(offsetOf(algorithmResult.algorithm), true),
        status: results.getInt32(offsetOf(algorithmResult.status), true),
        workspace: Number(results.getBigUint64(offsetOf(algorithmResult.workspace), true)),
        deterministic: results.getInt32(offsetOf(algorithmResult.determinism), true) === 1,
        mathType: results.getInt32(offsetOf(algorithmResult.mathType), true),
        ...{ isProved: false, isRefused: false },
      };
    }).filter(({ status, deterministic, mathType }) =>
      status === cudnnStatus.CUDNN_STATUS_SUCCESS && deterministic &&
      (spec.precision !== "f32" || mathType === cudnnMode.CUDNN_FMA_MATH)
    );
  }

  #tensor([n, h, w, c]: Extents, type: number): bigint {
    const cudnn = this.#cudnn;
    const tensor = this.#create(cudnn.cudnnCreateTensorDescriptor);
    this.#check(
      cudnn.cudnnSetTensor4dDescriptorEx(
        tensor,
        type,
        n,
        c,
        h,
        w,
        h * w * c,
        1,
        w * c,
        c,
      ),
      "describing a tensor",
    );
    return tensor;
  }

  #create(create: (out: BufferSource) => number): bigint {
    this.#check(create(this.#out.buffer), "creating a descriptor");
    return this.#out.value;
  }

  #check(status: number, doing: string): void {
    checkCudnn(this.#cudnn, status, doing);
  }
}
