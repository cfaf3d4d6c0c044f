/**
 * oneDNN 3: convolutions and matrix products on a CPU. Handles and descriptors are `u64`;
 * `tests/onednn/headers_test.ts` checks every line against the headers.
 *
 * @module
 */
import { textAt } from "./memory.ts";
import { dnnlStatus } from "./onednn_constants.ts";
import { LibraryError } from "./status.ts";

/** The functions that every version has, to identify a library before using it. */
export const versionSymbols = {
  dnnl_version: { parameters: [], result: "u64" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions of libdnnl that the CPU backend uses. */
export const onednnSymbols = {
  dnnl_status2str: { parameters: [/* v */ "i32"], result: "u64" },
  dnnl_get_effective_cpu_isa: { parameters: [], result: "i32" },
  dnnl_engine_create: {
    parameters: [/* engine */ "buffer", /* kind */ "i32", /* index */ "usize"],
    result: "i32",
  },
  dnnl_engine_destroy: { parameters: [/* engine */ "u64"], result: "i32" },
  dnnl_stream_create: {
    parameters: [/* stream */ "buffer", /* engine */ "u64", /* flags */ "u32"],
    result: "i32",
  },
  dnnl_stream_destroy: { parameters: [/* stream */ "u64"], result: "i32" },

  dnnl_memory_desc_create_with_strides: {
    parameters: [
      /* memory_desc */ "buffer",
      /* ndims */ "i32",
      /* dims */ "buffer",
      /* data_type */ "i32",
      /* strides */ "buffer",
    ],
    result: "i32",
  },
  dnnl_memory_desc_create_with_tag: {
    parameters: [
      /* memory_desc */ "buffer",
      /* ndims */ "i32",
      /* dims */ "buffer",
      /* data_type */ "i32",
      /* tag */ "i32",
    ],
    result: "i32",
  },
  dnnl_memory_desc_create_submemory: {
    parameters: [
      /* memory_desc */ "buffer",
      /* parent_memory_desc */ "u64",
      /* dims */ "buffer",
      /* offsets */ "buffer",
    ],
    result: "i32",
  },
  dnnl_memory_desc_destroy: { parameters: [/* memory_desc */ "u64"], result: "i32" },
  dnnl_memory_desc_equal: { parameters: [/* lhs */ "u64", /* rhs */ "u64"], result: "i32" },
  dnnl_memory_desc_get_size: { parameters: [/* memory_desc */ "u64"], result: "usize" },
  dnnl_memory_create: {
    parameters: [/* memory */ "buffer", /* memory_desc */ "u64", /* engine */ "u64", /* handle */ "u64"],
    result: "i32",
  },
  dnnl_memory_set_data_handle: { parameters: [/* memory */ "u64", /* handle */ "u64"], result: "i32" },
  dnnl_memory_destroy: { parameters: [/* memory */ "u64"], result: "i32" },

  dnnl_primitive_attr_create: { parameters: [/* attr */ "buffer"], result: "i32" },
  dnnl_primitive_attr_set_scratchpad_mode: {
    parameters: [/* attr */ "u64", /* mode */ "i32"],
    result: "i32",
  },
  dnnl_primitive_attr_set_post_ops: { parameters: [/* attr */ "u64", /* post_ops */ "u64"], result: "i32" },
  dnnl_primitive_attr_destroy: { parameters: [/* attr */ "u64"], result: "i32" },

  dnnl_post_ops_create: { parameters: [/* post_ops */ "buffer"], result: "i32" },
  dnnl_post_ops_append_sum: {
    parameters: [/* post_ops */ "u64", /* scale */ "f32", /* zero_point */ "i32", /* data_type */ "i32"],
    result: "i32",
  },
  dnnl_post_ops_destroy: { parameters: [/* post_ops */ "u64"], result: "i32" },

  dnnl_convolution_forward_primitive_desc_create: {
    parameters: [
      /* primitive_desc */ "buffer",
      /* engine */ "u64",
      /* prop_kind */ "i32",
      /* alg_kind */ "i32",
      /* src_desc */ "u64",
      /* weights_desc */ "u64",
      /* bias_desc */ "u64",
      /* dst_desc */ "u64",
      /* strides */ "buffer",
      /* dilates */ "buffer",
      /* padding_l */ "buffer",
      /* padding_r */ "buffer",
      /* attr */ "u64",
    ],
    result: "i32",
  },
  dnnl_convolution_backward_data_primitive_desc_create: {
    parameters: [
      /* primitive_desc */ "buffer",
      /* engine */ "u64",
      /* alg_kind */ "i32",
      /* diff_src_desc */ "u64",
      /* weights_desc */ "u64",
      /* diff_dst_desc */ "u64",
      /* strides */ "buffer",
      /* dilates */ "buffer",
      /* padding_l */ "buffer",
      /* padding_r */ "buffer",
      /* hint_fwd_pd */ "u64",
      /* attr */ "u64",
    ],
    result: "i32",
  },
  dnnl_convolution_backward_weights_primitive_desc_create: {
    parameters: [
      /* primitive_desc */ "buffer",
      /* engine */ "u64",
      /* alg_kind */ "i32",
      /* src_desc */ "u64",
      /* diff_weights_desc */ "u64",
      /* diff_bias_desc */ "u64",
      /* diff_dst_desc */ "u64",
      /* strides */ "buffer",
      /* dilates */ "buffer",
      /* padding_l */ "buffer",
      /* padding_r */ "buffer",
      /* hint_fwd_pd */ "u64",
      /* attr */ "u64",
    ],
    result: "i32",
  },
  dnnl_matmul_primitive_desc_create: {
    parameters: [
      /* primitive_desc */ "buffer",
      /* engine */ "u64",
      /* src_desc */ "u64",
      /* weights_desc */ "u64",
      /* bias_desc */ "u64",
      /* dst_desc */ "u64",
      /* attr */ "u64",
    ],
    result: "i32",
  },
  dnnl_reorder_primitive_desc_create: {
    parameters: [
      /* reorder_primitive_desc */ "buffer",
      /* src_desc */ "u64",
      /* src_engine */ "u64",
      /* dst_desc */ "u64",
      /* dst_engine */ "u64",
      /* attr */ "u64",
    ],
    result: "i32",
  },
  dnnl_primitive_desc_query: {
    parameters: [/* primitive_desc */ "u64", /* what */ "i32", /* index */ "i32", /* result */ "buffer"],
    result: "i32",
  },
  dnnl_primitive_desc_query_md: {
    parameters: [/* primitive_desc */ "u64", /* what */ "i32", /* index */ "i32"],
    result: "u64",
  },
  dnnl_primitive_desc_destroy: { parameters: [/* primitive_desc */ "u64"], result: "i32" },
  dnnl_primitive_create: {
    parameters: [/* primitive */ "buffer", /* primitive_desc */ "u64"],
    result: "i32",
  },
  dnnl_primitive_execute: {
    parameters: [/* primitive */ "u64", /* stream */ "u64", /* nargs */ "i32", /* args */ "buffer"],
    result: "i32",
  },
  dnnl_primitive_destroy: { parameters: [/* primitive */ "u64"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** oneDNN's functions. */
export type Onednn = Deno.DynamicLibrary<typeof onednnSymbols>["symbols"];

/** The functions of the OpenMP runtime that libdnnl is linked to, found through libdnnl's own handle. */
export const openmpSymbols = {
  omp_set_num_threads: { parameters: [/* num_threads */ "i32"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The OpenMP runtime's functions. */
export type Openmp = Deno.DynamicLibrary<typeof openmpSymbols>["symbols"];

/** Throws a LibraryError with oneDNN's name for a status other than success. */
export function checkOnednn(onednn: Onednn, status: number, doing: string): void {
  if (status === dnnlStatus.dnnl_success) return;
  const name = textAt(onednn.dnnl_status2str(status)) ?? "an unknown status";
  throw new LibraryError("oneDNN", status, name, doing, "");
}
