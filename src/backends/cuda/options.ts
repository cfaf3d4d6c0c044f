/**
 * Options of NVRTC, of a version, for one architecture, such as 90 for sm_90: machine code, and none of CUDA's own
 * headers, which every compilation would read.
 */
export function compileOptions(architecture: number, [major, minor]: readonly [number, number]): string[] {
  return [
    `--gpu-architecture=sm_${architecture}`,
    "--std=c++17",
    "--fmad=false", // an op rounds its result whatever it is fused with, so that computing it again gives its bits
    ...(major > 12 || minor >= 4 ? ["--minimal"] : []),
    "--diag-suppress=177", // an index that a printed kernel takes apart and does not need
  ];
}
