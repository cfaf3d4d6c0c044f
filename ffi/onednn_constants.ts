/**
 * Constants of oneDNN, under their names in C; `tests/onednn/headers_test.ts` compares each with the headers.
 *
 * @module
 */

/** The `dnnl_status_t` values that the code distinguishes. */
export const dnnlStatus = { dnnl_success: 0, dnnl_invalid_arguments: 2, dnnl_unimplemented: 3 } as const;

/** `dnnl_engine_kind_t` and `dnnl_stream_flags_t` values in use. */
export const dnnlEngine = { dnnl_cpu: 1, dnnl_stream_default_flags: 1 } as const;

/** `dnnl_data_type_t` values in use. */
export const dnnlType = { dnnl_bf16: 2, dnnl_f32: 3 } as const;

/** `dnnl_format_tag_t` values in use: the library chooses the format. */
export const dnnlTag = { dnnl_format_tag_any: 1 } as const;

/** `dnnl_prop_kind_t` and `dnnl_alg_kind_t` values in use. */
export const dnnlKind = {
  dnnl_forward_training: 64,
  dnnl_convolution_direct: 1,
} as const;

/** `dnnl_scratchpad_mode_t` values in use: the caller provides the scratchpad. */
export const dnnlScratchpad = { dnnl_scratchpad_mode_user: 1 } as const;

/** `dnnl_query_t` values in use. */
export const dnnlQuery = {
  dnnl_query_impl_info_str: 8,
  dnnl_query_weights_md: 131,
  dnnl_query_diff_weights_md: 132,
  dnnl_query_scratchpad_md: 136,
} as const;

/** `DNNL_ARG_…` values in use: the roles of a primitive's arguments. */
export const dnnlArgument = {
  DNNL_ARG_SRC: 1,
  DNNL_ARG_DST: 17,
  DNNL_ARG_WEIGHTS: 33,
  DNNL_ARG_SCRATCHPAD: 80,
  DNNL_ARG_DIFF_SRC: 129,
  DNNL_ARG_DIFF_DST: 145,
  DNNL_ARG_DIFF_WEIGHTS: 161,
} as const;

/** `DNNL_RUNTIME_…` values: the runtimes that a build computes with and takes its threads from. */
export const dnnlRuntime = {
  DNNL_RUNTIME_NONE: 0,
  DNNL_RUNTIME_SEQ: 1,
  DNNL_RUNTIME_OMP: 2,
  DNNL_RUNTIME_TBB: 4,
  DNNL_RUNTIME_THREADPOOL: 8,
  DNNL_RUNTIME_SYCL: 512,
} as const;

/** `dnnl_cpu_isa_t` values: instruction sets. */
export const dnnlIsa = {
  dnnl_cpu_isa_sse41: 0x1,
  dnnl_cpu_isa_avx: 0x3,
  dnnl_cpu_isa_avx2: 0x7,
  dnnl_cpu_isa_avx2_vnni: 0xf,
  dnnl_cpu_isa_avx2_vnni_2: 0x1f,
  dnnl_cpu_isa_avx512_core: 0x27,
  dnnl_cpu_isa_avx512_core_vnni: 0x67,
  dnnl_cpu_isa_avx512_core_bf16: 0xe7,
  dnnl_cpu_isa_avx512_core_fp16: 0x1ef,
  dnnl_cpu_isa_avx512_core_amx: 0xfef,
  dnnl_cpu_isa_avx512_core_amx_fp16: 0x1fef,
} as const;

/** The most dimensions of a tensor: the length of a `dnnl_dims_t`. */
export const DNNL_MAX_NDIMS = 12;

/** Offsets, in bytes, of the fields of `dnnl_version_t`. */
export const dnnlVersion = { major: 0, minor: 4, patch: 8, cpu_runtime: 24, gpu_runtime: 28 } as const;

/** Size and offsets, in bytes, of `dnnl_exec_arg_t`. */
export const dnnlExecArg = { bytes: 16, arg: 0, memory: 8 } as const;
