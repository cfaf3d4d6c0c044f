#!/usr/bin/env bash
# On a machine with an NVIDIA card: whether it computes what it should, then our training steps beside PyTorch's.
#
#   bench/gpu.sh                          four stages in 570 seconds; bench/gpu/stages.ts says what they are
#   bench/gpu.sh --budget 240 --from more the last stage alone, with more time
#   bench/gpu.sh --into DIR               results go to DIR, one file a stage; run again, it goes on with what is missing
#   bench/gpu.sh --dry-run                tiny shapes on the simulated device: shows that every line runs, and nothing else
#
# A run that is cut off leaves the results it had. Needs no network if bench/gpu-pack.sh packed .gpu/ (Deno, packages,
# compiled kernels, recorded losses, images); uses the machine's own Python with PyTorch. Exits with 1 if something of
# ours fails, or losses differ from PyTorch's.
set -uo pipefail
cd "$(dirname "$0")/.."
[ -e .gpu/enter.sh ] && . .gpu/enter.sh
export NO_COLOR=1 DENO_NO_UPDATE_CHECK=1 XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
command -v deno >/dev/null || { echo "gpu.sh: no deno on PATH, and none packed in .gpu/" >&2; exit 2; }
exec deno run --quiet --no-check -P=gpu bench/gpu/run.ts "$@"
