import {
  checkCublas,
  type CublasLt,
  cublasStatus,
  cublasType,
  epilogue as epilogues,
  heuristicResult,
  isCublasRefusal,
  layoutAttribute,
  matmulAttribute,
  preferenceAttribute,
} from "../../../ffi/cublas.ts";
import { outI32, outU64 } from "../../../ffi/memory.ts";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { describeMatmul, type MatmulSpec, type MatmulTensors } from "./matmul.ts";

/** The descriptors of a spec and the algorithms for it. */
interface Prepared {
  readonly product: bigint;
  readonly layouts: readonly [a: bigint, b: bigint, result: bigint];
  /** Those that have not failed, in the order of cuBLASLt's heuristics. */
  readonly algorithms: Uint8Array<ArrayBuffer>[];
  /** True once the first of them has run: from then on a failure is an error, and no reason to take the next. */
  isProved: boolean;
}

/** Algorithms to ask for: if the first fails when it runs, the next is taken. */
const MAX_ALGORITHMS = 8;

/** An address of a bias, for heuristics that depend on there being one: aligned as those of all values are. */
const ANY_ADDRESS = 256n;

const one = Float32Array.of(1), zero = Float32Array.of(0);
const epilogueOf = {
  none: epilogues.CUBLASLT_EPILOGUE_DEFAULT,
  bias: epilogues.CUBLASLT_EPILOGUE_BIAS,
} as const;

/** Runs products of matrices through cuBLASLt; makes descriptors and chooses an algorithm for each spec once. */
export class MatrixProducts {
  readonly #cublas: CublasLt;
  readonly #throwFault: () => void;
  readonly #handle: bigint;
  readonly #prepared = new Map<string, Prepared>();
  readonly #out = outU64();

  /** `throwFault` throws the error of the card's earlier work, if that failed. */
  constructor(cublas: CublasLt, throwFault: () => void) {
    this.#cublas = cublas;
    this.#throwFault = throwFault;
    this.#check(cublas.cublasLtCreate(this.#out.buffer), "opening a handle");
    this.#handle = this.#out.value;
  }

  /** Tests whether there is an algorithm for a product with its epilogue; if not, the epilogue stays a step of its own. */
  fuses(spec: MatmulSpec, workspace: number): boolean {
    try {
      this.prepare(spec, workspace, ANY_ADDRESS);
      return true;
    } catch (error) {
      if (error instanceof LocalgradError) return false;
      throw error;
    }
  }

  /**
   * Issues a product on a stream, with `workspace` bytes of scratch. An algorithm that fails in its first run gives way to
   * the next. A capture cannot come to that: it follows a run of the same launches.
   */
  run(spec: MatmulSpec, tensors: MatmulTensors, scratch: bigint, workspace: number, stream: bigint): void {
    const prepared = this.prepare(spec, workspace, tensors.bias);
    if (tensors.bias !== undefined) {
      const bias = BigUint64Array.of(tensors.bias);
      this.#set(prepared.product, matmulAttribute.CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
    for (;;) {
      const [algorithm, ...others] = prepared.algorithms;
      if (algorithm === undefined) throw new Error("cuda: a product without an algorithm");
      try {
        this.#multiply(spec, prepared, algorithm, tensors, scratch, workspace, stream);
        prepared.isProved = true;
        return;
      } catch (error) {
        if (prepared.isProved || others.length === 0 || !isCublasRefusal(error)) throw error;
        this.#throwFault(); // then no algorithm is at fault
        prepared.algorithms.shift();
      }
    }
  }

  #multiply(
    spec: MatmulSpec,
    { product, layouts: [a, b, result] }: Prepared,
    algorithm: Uint8Array<ArrayBuffer>,
    tensors: MatmulTensors,
    scratch: bigint,
    workspace: number,
    stream: bigint,
  ): void {
    this.#check(
      this.#cublas.cublasLtMatmul(
        this.#handle,
        product,
        one,
        tensors.b,
        b,
        tensors.a,
        a,
        zero,
        tensors.result,
        result,
        tensors.result,
        result,
        algorithm,
        scratch,
        BigInt(workspace),
        stream,
      ),
      `multiplying ${describeMatmul(spec)}`,
    );
  }

  /** Frees everything. */
  close(): void {
    for (const { product, layouts } of this.#prepared.values()) {
      this.#cublas.cublasLtMatmulDescDestroy(product);
      for (const layout of layouts) this.#cublas.cublasLtMatrixLayoutDestroy(layout);
    }
    this.#prepared.clear();
    this.#cublas.cublasLtDestroy(this.#handle);
  }

  /** Describes a product and chooses its algorithm, once. Throws a LocalgradError if there is none. */
  prepare(spec: MatmulSpec, workspace: number, bias: bigint | undefined): Prepared {
    const key = JSON.stringify([spec, workspace]);
    let prepared = this.#prepared.get(key);
    if (prepared === undefined) {
      prepared = this.#make(spec, workspace, bias);
      this.#prepared.set(key, prepared);
    }
    return prepared;
  }

  /**
   * cuBLASLt takes a row-major matrix for the transpose of a column-major one. Swapping the operands therefore gives the
   * transpose of the result, column-major: the result, row-major. The heuristics see a bias, since their offer may
   * depend on its presence; its address does not matter.
   */
  #make(spec: MatmulSpec, workspace: number, bias: bigint | undefined): Prepared {
    const { m, n, k, transposeA, transposeB } = spec;
    const cublas = this.#cublas;
    const compute = spec.precision === "tf32"
      ? cublasType.CUBLAS_COMPUTE_32F_FAST_TF32
      : cublasType.CUBLAS_COMPUTE_32F;
    const doing = `describing ${describeMatmul(spec)}`;
    const undo: (() => void)[] = [];
    try {
      this.#check(cublas.cublasLtMatmulDescCreate(this.#out.buffer, compute, cublasType.CUDA_R_32F), doing);
      const product = this.#out.value;
      undo.push(() => cublas.cublasLtMatmulDescDestroy(product));
      this.#set(product, matmulAttribute.CUBLASLT_MATMUL_DESC_TRANSA, Int32Array.of(transposeB ? 1 : 0));
      this.#set(product, matmulAttribute.CUBLASLT_MATMUL_DESC_TRANSB, Int32Array.of(transposeA ? 1 : 0));
      this.#set(
        product,
        matmulAttribute.CUBLASLT_MATMUL_DESC_EPILOGUE,
        Int32Array.of(epilogueOf[spec.epilogue]),
      );
      if (bias !== undefined) {
        this.#set(product, matmulAttribute.CUBLASLT_MATMUL_DESC_BIAS_POINTER, BigUint64Array.of(bias));
      }
      const layout = (rows: number, columns: number): bigint => {
        const created = this.#layout(rows, columns, spec, doing);
        undo.push(() => cublas.cublasLtMatrixLayoutDestroy(created));
        return created;
      };
      const a = transposeA ? layout(k, m) : layout(m, k);
      const b = transposeB ? layout(n, k) : layout(k, n);
      const result = layout(m, n);
      return {
        product,
        layouts: [a, b, result],
        algorithms: this.#algorithms(spec, product, a, b, result, workspace),
        isProved: false,
      };
    } catch (error) {
      undo.forEach((destroy) => destroy());
      throw error;
    }
  }

  /** The column-major layout of a row-major matrix. */
  #layout(rows: number, columns: number, { batch, precision }: MatmulSpec, doing: string): bigint {
    const cublas = this.#cublas;
    this.#check(
      cublas.cublasLtMatrixLayoutCreate(
        this.#out.buffer,
        precision === "bf16" ? cublasType.CUDA_R_16BF : cublasType.CUDA_R_32F,
        BigInt(columns),
        BigInt(rows),
        BigInt(columns),
      ),
      doing,
    );
    const layout = this.#out.value;
    if (batch > 1) {
      const set = (attribute: number, data: Int32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>) =>
        this.#check(
          cublas.cublasLtMatrixLayoutSetAttribute(layout, attribute, data, BigInt(data.byteLength)),
          doing,
        );
      set(layoutAttribute.CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, Int32Array.of(batch));
      set(
        layoutAttribute.CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
        BigInt64Array.of(BigInt(rows * columns)),
      );
    }
    return layout;
  }

  /** The algorithms that cuBLASLt's heuristics offer, in their order; at least one. */
  #algorithms(
    spec: MatmulSpec,
    product: bigint,
    a: bigint,
    b: bigint,
    result: bigint,
    workspace: number,
  ): Uint8Array<ArrayBuffer>[] {
    const cublas = this.#cublas;
    const doing = `choosing an algorithm for ${describeMatmul(spec)}`;
    this.#check(cublas.cublasLtMatmulPreferenceCreate(this.#out.buffer), doing);
    const preference = this.#out.value;
    try {
      const limit = BigUint64Array.of(BigInt(workspace));
      this.#check(
        cublas.cublasLtMatmulPreferenceSetAttribute(
          preference,
          preferenceAttribute.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
          limit,
          8n,
        ),
        doing,
      );
      const found = new Uint8Array(MAX_ALGORITHMS * heuristicResult.bytes);
      const count = outI32();
      const status = cublas.cublasLtMatmulAlgoGetHeuristic(
        this.#handle,
        product,
        b,
        a,
        result,
        result,
        preference,
        MAX_ALGORITHMS,
        found,
        count.buffer,
      );
      if (status !== cublasStatus.CUBLAS_STATUS_NOT_SUPPORTED) this.#check(status, doing);
      if (count.value < 1) {
        throw new LocalgradError(
          `cuBLASLt has no algorithm for ${describeMatmul(spec)}; use another precision or device`,
        );
      }
      // A result is valid only if its own status is success.
      const offers = Array.from({ length: count.value }, (_, i) => {
        const offer = found.slice(i * heuristicResult.bytes, (i + 1) * heuristicResult.bytes);
        const status = new DataView(offer.buffer).getInt32(heuristicResult.status, true);
        return { status, algorithm: offer.slice(0, heuristicResult.algorithmBytes) };
      });
      const valid = offers.filter(({ status }) => status === cublasStatus.CUBLAS_STATUS_SUCCESS);
      if (valid.length === 0) this.#check(at(offers, 0).status, doing);
      return valid.map(({ algorithm }) => algorithm);
    } finally {
      cublas.cublasLtMatmulPreferenceDestroy(preference);
    }
  }

  #set(
    product: bigint,
    attribute: number,
    data: Int32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>,
  ): void {
    this.#check(
      this.#cublas.cublasLtMatmulDescSetAttribute(product, attribute, data, BigInt(data.byteLength)),
      "describing a product",
    );
  }

  #check(status: number, doing: string): void {
    checkCublas(this.#cublas, status, doing);
  }
}
