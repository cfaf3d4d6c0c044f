/** Options of NVRTC for one architecture, such as 90 for sm_90: machine code, and none of CUDA's own headers. */
export function compileOptions(architecture: number): string[] {
  return [
    `--gpu-architecture=sm_${architecture}`,
    "--std=c++17",
    "--minimal",
    "--diag-suppress=177", // an index that a printed kernel takes apart and does not need
  ];
}
