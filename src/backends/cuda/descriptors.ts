import { checkCudnn, type Cudnn } from "../../../ffi/cudnn.ts";
import { Out, outU64 } from "../../../ffi/memory.ts";
import { attribute, attributeType, descriptorType } from "../../../ffi/cudnn_constants.ts";

/** The elements of an attribute with the type that cuDNN is given; made by {@link values}, so that the two agree. */
export interface AttributeValue {
  readonly type: number;
  readonly count: number;
  readonly data: ArrayBufferView<ArrayBuffer>;
}

const make = (
  type: number,
  data: ArrayBufferView<ArrayBuffer> & { readonly length: number },
): AttributeValue => (
  { type, count: data.length, data }
);
const one = (type: number) => (value: number): AttributeValue => make(type, Int32Array.of(value));

/** Makes attribute values, by type. */
export const values = {
  dataType: one(attributeType.CUDNN_TYPE_DATA_TYPE),
  convolutionMode: one(attributeType.CUDNN_TYPE_CONVOLUTION_MODE),
  pointwiseMode: one(attributeType.CUDNN_TYPE_POINTWISE_MODE),
  heuristicMode: one(attributeType.CUDNN_TYPE_HEUR_MODE),
  int64: (list: readonly number[]) =>
    make(attributeType.CUDNN_TYPE_INT64, BigInt64Array.from(list, (x) => BigInt(x))),
  float: (x: number) => make(attributeType.CUDNN_TYPE_FLOAT, Float32Array.of(x)),
  boolean: (x: boolean) => make(attributeType.CUDNN_TYPE_BOOLEAN, Uint8Array.of(x ? 1 : 0)),
  chars: (text: Uint8Array<ArrayBuffer>) => make(attributeType.CUDNN_TYPE_CHAR, text),
  handle: (handle: bigint) => make(attributeType.CUDNN_TYPE_HANDLE, BigUint64Array.of(handle)),
  pointers: (list: readonly bigint[]) => make(attributeType.CUDNN_TYPE_VOID_PTR, BigUint64Array.from(list)),
  descriptors: (list: readonly bigint[]) =>
    make(attributeType.CUDNN_TYPE_BACKEND_DESCRIPTOR, BigUint64Array.from(list)),
};

/** The name of an attribute, a constant of `cudnn_constants.ts`. */
export type AttributeName = keyof typeof attribute;

/** An attribute and its value. */
export type Attribute = readonly [AttributeName, AttributeValue];

/** Makes the descriptors of cuDNN's graph API for one convolution, and destroys them together. */
export class Descriptors {
  readonly #cudnn: Cudnn;
  readonly #made: bigint[] = [];
  readonly #out = outU64();
  readonly #count = new Out(new BigInt64Array(1));

  constructor(cudnn: Cudnn) {
    this.#cudnn = cudnn;
  }

  /** Creates a descriptor without finalising it, for cuDNN to fill in. */
  create(type: keyof typeof descriptorType): bigint {
    const doing = `creating ${type}`;
    checkCudnn(
      this.#cudnn,
      this.#cudnn.cudnnBackendCreateDescriptor(descriptorType[type], this.#out.buffer),
      doing,
    );
    this.#made.push(this.#out.value);
    return this.#out.value;
  }

  /** Creates a descriptor, sets its attributes and finalises it; destroys it if cuDNN refuses. */
  build(type: keyof typeof descriptorType, attributes: readonly Attribute[]): bigint {
    const descriptor = this.create(type);
    try {
      for (const [name, { type: tag, count, data }] of attributes) {
        const set = this.#cudnn.cudnnBackendSetAttribute;
        checkCudnn(
          this.#cudnn,
          set(descriptor, attribute[name], tag, BigInt(count), data),
          `setting ${name}`,
        );
      }
      checkCudnn(this.#cudnn, this.#cudnn.cudnnBackendFinalize(descriptor), `finalising ${type}`);
      return descriptor;
    } catch (error) {
      this.destroy(descriptor);
      throw error;
    }
  }

  /** The number of descriptors that an attribute has. */
  count(descriptor: bigint, name: AttributeName): number {
    return this.#get(descriptor, name, attributeType.CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, null);
  }

  /** Reads an attribute into `into`; returns the number of elements that cuDNN wrote. */
  get(descriptor: bigint, name: AttributeName, { type, count, data }: AttributeValue): number {
    return this.#get(descriptor, name, type, count, data);
  }

  #get(
    descriptor: bigint,
    name: AttributeName,
    type: number,
    requested: number,
    into: ArrayBufferView<ArrayBuffer> | null,
  ): number {
    const status = this.#cudnn.cudnnBackendGetAttribute(
      descriptor,
      attribute[name],
      type,
      BigInt(requested),
      this.#count.buffer,
      into,
    );
    checkCudnn(this.#cudnn, status, `reading ${name}`);
    return Number(this.#count.value);
  }

  /** Reads an attribute of one 64-bit integer. */
  getInt64(descriptor: bigint, name: AttributeName): number {
    const out = new Out(new BigInt64Array(1));
    this.get(descriptor, name, { type: attributeType.CUDNN_TYPE_INT64, count: 1, data: out.buffer });
    return Number(out.value);
  }

  /** Destroys one descriptor. */
  destroy(descriptor: bigint): void {
    const index = this.#made.lastIndexOf(descriptor);
    if (index < 0) throw new Error("cuda: this descriptor is unknown or already destroyed");
    this.#made.splice(index, 1);
    this.#cudnn.cudnnBackendDestroyDescriptor(descriptor);
  }

  /** Destroys the remaining descriptors, newest first. */
  close(): void {
    for (const descriptor of this.#made.splice(0).reverse()) {
      this.#cudnn.cudnnBackendDestroyDescriptor(descriptor);
    }
  }
}
