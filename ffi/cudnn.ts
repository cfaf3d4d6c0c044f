/**
 * cuDNN 9: the graph API, and the legacy API for convolutions. Handles, descriptors and device addresses are `u64`;
 * `tests/cuda/headers_test.ts` checks every line against the headers.
 *
 * @module
 */
import { cudnnStatus } from "./cudnn_constants.ts";
import { textAt, textOf } from "./memory.ts";
import { LibraryError } from "./status.ts";

/** The parameters that the `cudnnConvolution…` functions share. */
const convolution = {
  parameters: [
    /* handle */ "u64",
    /* alpha */ "buffer",
    /* xDesc | wDesc | xDesc */ "u64",
    /* x | w | x */ "u64",
    /* wDesc | dyDesc | dyDesc */ "u64",
    /* w | dy | dy */ "u64",
    /* convDesc */ "u64",
    /* algo */ "i32",
    /* workSpace */ "u64",
    /* workSpaceSizeInBytes */ "usize",
    /* beta */ "buffer",
    /* yDesc | dxDesc | dwDesc */ "u64",
    /* y | dx | dw */ "u64",
  ],
  result: "i32",
} as const;

/** The parameters that the `cudnnGetConvolution…Algorithm_v7` functions share. */
const algorithm = {
  parameters: [
    /* handle */ "u64",
    /* srcDesc | filterDesc | srcDesc */ "u64",
    /* filterDesc | diffDesc | diffDesc */ "u64",
    /* convDesc */ "u64",
    /* destDesc | gradDesc | gradDesc */ "u64",
    /* requestedAlgoCount */ "i32",
    /* returnedAlgoCount */ "buffer",
    /* perfResults */ "buffer",
  ],
  result: "i32",
} as const;

/** The functions of libcudnn that the CUDA backend uses. */
export const cudnnSymbols = {
  cudnnGetVersion: { parameters: [], result: "usize" },
  cudnnGetCudartVersion: { parameters: [], result: "usize" },
  cudnnGetErrorString: { parameters: [/* status */ "i32"], result: "u64" },
  cudnnGetLastErrorString: { parameters: [/* message */ "buffer", /* max_size */ "usize"], result: "void" },
  cudnnCreate: { parameters: [/* handle */ "buffer"], result: "i32" },
  cudnnDestroy: { parameters: [/* handle */ "u64"], result: "i32" },
  cudnnSetStream: { parameters: [/* handle */ "u64", /* streamId */ "u64"], result: "i32" },

  cudnnBackendCreateDescriptor: {
    parameters: [/* descriptorType */ "i32", /* descriptor */ "buffer"],
    result: "i32",
  },
  cudnnBackendDestroyDescriptor: { parameters: [/* descriptor */ "u64"], result: "i32" },
  cudnnBackendSetAttribute: {
    parameters: [
      /* descriptor */ "u64",
      /* attributeName */ "i32",
      /* attributeType */ "i32",
      /* elementCount */ "i64",
      /* arrayOfElements */ "buffer",
    ],
    result: "i32",
  },
  cudnnBackendGetAttribute: {
    parameters: [
      /* descriptor */ "u64",
      /* attributeName */ "i32",
      /* attributeType */ "i32",
      /* requestedElementCount */ "i64",
      /* elementCount */ "buffer",
      /* arrayOfElements */ "buffer",
    ],
    result: "i32",
  },
  cudnnBackendFinalize: { parameters: [/* descriptor */ "u64"], result: "i32" },
  cudnnBackendExecute: {
    parameters: [/* handle */ "u64", /* executionPlan */ "u64", /* variantPack */ "u64"],
    result: "i32",
  },

  cudnnCreateTensorDescriptor: { parameters: [/* tensorDesc */ "buffer"], result: "i32" },
  cudnnSetTensor4dDescriptorEx: {
    parameters: [
      /* tensorDesc */ "u64",
      /* dataType */ "i32",
      /* n */ "i32",
      /* c */ "i32",
      /* h */ "i32",
      /* w */ "i32",
      /* nStride */ "i32",
      /* cStride */ "i32",
      /* hStride */ "i32",
      /* wStride */ "i32",
    ],
    result: "i32",
  },
  cudnnDestroyTensorDescriptor: { parameters: [/* tensorDesc */ "u64"], result: "i32" },
  cudnnCreateFilterDescriptor: { parameters: [/* filterDesc */ "buffer"], result: "i32" },
  cudnnSetFilter4dDescriptor: {
    parameters: [
      /* filterDesc */ "u64",
      /* dataType */ "i32",
      /* format */ "i32",
      /* k */ "i32",
      /* c */ "i32",
      /* h */ "i32",
      /* w */ "i32",
    ],
    result: "i32",
  },
  cudnnDestroyFilterDescriptor: { parameters: [/* filterDesc */ "u64"], result: "i32" },
  cudnnCreateConvolutionDescriptor: { parameters: [/* convDesc */ "buffer"], result: "i32" },
  cudnnSetConvolution2dDescriptor: {
    parameters: [
      /* convDesc */ "u64",
      /* pad_h */ "i32",
      /* pad_w */ "i32",
      /* u */ "i32",
      /* v */ "i32",
      /* dilation_h */ "i32",
      /* dilation_w */ "i32",
      /* mode */ "i32",
      /* computeType */ "i32",
    ],
    result: "i32",
  },
  cudnnSetConvolutionGroupCount: {
    parameters: [/* convDesc */ "u64", /* groupCount */ "i32"],
    result: "i32",
  },
  cudnnSetConvolutionMathType: { parameters: [/* convDesc */ "u64", /* mathType */ "i32"], result: "i32" },
  cudnnDestroyConvolutionDescriptor: { parameters: [/* convDesc */ "u64"], result: "i32" },
  cudnnGetConvolutionForwardAlgorithm_v7: algorithm,
  cudnnGetConvolutionBackwardDataAlgorithm_v7: algorithm,
  cudnnGetConvolutionBackwardFilterAlgorithm_v7: algorithm,
  cudnnConvolutionForward: convolution,
  cudnnConvolutionBackwardData: convolution,
  cudnnConvolutionBackwardFilter: convolution,
} as const satisfies Deno.ForeignLibraryInterface;

/** cuDNN's functions. */
export type Cudnn = Deno.DynamicLibrary<typeof cudnnSymbols>["symbols"];

/** Size and offsets, in bytes, of the fields in use of `cudnnConvolution…AlgoPerf_t`. */
export const algorithmResult = {
  bytes: 48,
  algorithm: 0,
  status: 4,
  workspace: 16,
  determinism: 24,
  mathType: 28,
} as const;

/** Tests whether an error means that cuDNN does not support an operation, rather than that it was described wrongly. */
export function isUnsupported(error: unknown): error is LibraryError {
  return error instanceof LibraryError && error.library === "cuDNN" && Math.floor(error.status / 1000) === 3;
}

/**
 * Tests whether an error tells that cuDNN cannot do what it was asked to, for any reason but a wrong description: an
 * engine may be unsupported (3xxx), but also fail to be compiled (4xxx) or to be loaded (5xxx). Then another may do.
 */
export function isRefusal(error: unknown): error is LibraryError {
  return error instanceof LibraryError && error.library === "cuDNN" && Math.floor(error.status / 1000) !== 2;
}

/** Throws a LibraryError with cuDNN's name and message for a status other than success. */
export function checkCudnn(cudnn: Cudnn, status: number, doing: string): void {
  if (status !== cudnnStatus.CUDNN_STATUS_SUCCESS) throw cudnnError(cudnn, status, doing);
}

/** The error for a status; `cudnnGetLastErrorString` explains which part of a graph is at fault. */
function cudnnError(cudnn: Cudnn, status: number, doing: string): LibraryError {
  const name = textAt(cudnn.cudnnGetErrorString(status)) ?? "an unknown status";
  const message = new Uint8Array(1024);
  cudnn.cudnnGetLastErrorString(message, BigInt(message.length));
  return new LibraryError("cuDNN", status, name, doing, textOf(message).trim());
}
