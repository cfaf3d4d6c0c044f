/**
 * NVRTC's options for an architecture, such as 90 for sm_90, in a version of NVRTC: machine code, without CUDA's own
 * headers, which every compilation would otherwise read.
 */
export function compileOptions(architecture: number, [major, minor]: readonly [number, number]): string[] {
  return [
    `--gpu-architecture=sm_${architecture}`,
    "--std=c++17",
    "--fmad=false", // an op rounds its result whatever it is fused with, so that recomputing it gives the same bits
    ...(major > 12 || minor >= 4 ? ["--minimal"] : []),
    "--diag-suppress=177", // unused variables: printed kernels decode every index
  ];
}
