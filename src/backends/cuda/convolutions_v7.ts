import { algorithmResult, checkCudnn, type Cudnn } from "../../../ffi/cudnn.ts";
import { cudnnData, cudnnMode, cudnnStatus } from "../../../ffi/cudnn_constants.ts";
import { dataTypeOf, roles, type Spec, type Tensors } from "./convolution.ts";
import { type BoundConvolution, cannot, type Convolver, nameOf } from "./convolutions.ts";

/** What is made for a spec: three descriptors, and the algorithms in cuDNN's order. */
interface Prepared {
  readonly image: bigint;
  readonly filter: bigint;
  readonly result: bigint;
  readonly convolution: bigint;
  readonly algorithms: readonly {
    readonly algorithm: number;
    readonly workspace: number;
    readonly mathType: number;
  }[];
}

const one = Float32Array.of(1), zero = Float32Array.of(0);

/** The maths of each precision: cuDNN uses tensor cores for 16-bit elements only where it is told to. */
const mathOf = {
  f32: cudnnMode.CUDNN_FMA_MATH,
  tf32: cudnnMode.CUDNN_DEFAULT_MATH,
  bf16: cudnnMode.CUDNN_TENSOR_OP_MATH,
} as const;

/** The two functions for each op. */
const functions = {
  conv: ["cudnnGetConvolutionForwardAlgorithm_v7", "cudnnConvolutionForward"],
  convInputGrad: ["cudnnGetConvolutionBackwardDataAlgorithm_v7", "cudnnConvolutionBackwardData"],
  convFilterGrad: ["cudnnGetConvolutionBackwardFilterAlgorithm_v7", "cudnnConvolutionBackwardFilter"],
} as const;

/** Operands of cuDNN's functions in their order, where it differs from ours: the gradient to the image takes the filter first. */
const order = { ...roles, convInputGrad: ["filter", "result", "image"] } as const;

/**
 * Convolutions by cuDNN's older calls, one function each: the plain implementation, to compare the graph API with. It
 * cannot pad one side more than the other.
 */
export class PlainConvolver implements Convolver {
  readonly #cudnn: Cudnn;
  readonly #handle: bigint;
  readonly #prepared = new Map<string, Prepared>();
  readonly #out = new BigUint64Array(1);

  constructor(cudnn: Cudnn, handle: bigint) {
    this.#cudnn = cudnn;
    this.#handle = handle;
  }

  fuses(): boolean {
    return false;
  }

  bind(spec: Spec, tensors: Tensors, scratch: bigint, workspace: number): BoundConvolution {
    const prepared = this.#prepare(spec);
    const chosen = prepared.algorithms.find((candidate) => candidate.workspace <= workspace);
    if (chosen === undefined) {
      throw cannot(spec, `no deterministic algorithm needs as little as ${workspace} bytes`);
    }
    const [a, b, c] = order[spec.op];
    const run = this.#cudnn[functions[spec.op][1]];
    return {
      run: () => {
        this.#check(
          this.#cudnn.cudnnSetConvolutionMathType(prepared.convolution, chosen.mathType),
          "setting the maths",
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
          `running ${nameOf(spec)}`,
        );
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

  #prepare(spec: Spec): Prepared {
    const key = JSON.stringify(spec);
    const known = this.#prepared.get(key);
    if (known !== undefined) return known;
    const { padding, strides, dilation, groups } = spec.attrs;
    if (padding.some(([before, after]) => before !== after)) {
      throw cannot(spec, "it pads one side more than the other");
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
    this.#check(cudnn.cudnnSetConvolutionMathType(convolution, mathOf[spec.precision]), "setting the maths");
    const partial = { image, filter, result, convolution };
    const prepared = { ...partial, algorithms: this.#algorithms(spec, partial) };
    this.#prepared.set(key, prepared);
    return prepared;
  }

  /** The deterministic algorithms that cuDNN's heuristics offer, best first. */
  #algorithms(spec: Spec, made: Omit<Prepared, "algorithms">): Prepared["algorithms"] {
    const most = 10;
    const results = new DataView(new ArrayBuffer(most * algorithmResult.bytes));
    const count = new Int32Array(1);
    const [a, b, c] = order[spec.op];
    const status = this.#cudnn[functions[spec.op][0]](
      this.#handle,
      made[a],
      made[b],
      made.convolution,
      made[c],
      most,
      count,
      results,
    );
    this.#check(status, `choosing an algorithm for ${nameOf(spec)}`);
    return Array.from({ length: count[0] }, (_, i) => {
      const at = (field: number) => i * algorithmResult.bytes + field;
      return {
        algorithm: results.getInt32(at(algorithmResult.algorithm), true),
        status: results.getInt32(at(algorithmResult.status), true),
        workspace: Number(results.getBigUint64(at(algorithmResult.workspace), true)),
        deterministic: results.getInt32(at(algorithmResult.determinism), true) === 1,
        mathType: results.getInt32(at(algorithmResult.mathType), true),
      };
    }).filter(({ status, deterministic, mathType }) =>
      status === cudnnStatus.CUDNN_STATUS_SUCCESS && deterministic &&
      (spec.precision !== "f32" || mathType === cudnnMode.CUDNN_FMA_MATH)
    );
  }

  #tensor([n, h, w, c]: readonly number[], type: number): bigint {
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
    this.#check(create(this.#out), "creating a descriptor");
    return this.#out[0];
  }

  #check(status: number, doing: string): void {
    checkCudnn(this.#cudnn, status, doing);
  }
}
