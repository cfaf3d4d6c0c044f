#!/usr/bin/env bash
# On a machine with an NVIDIA card: the suites that need one, then our training steps and PyTorch's, in one run.
#
#   bench/gpu.sh                quick: ResNet-32, end to end and MAN K = 16, tf32, batch 128 and 1024; at most 8 minutes
#   bench/gpu.sh full           also ResNet-110, bfloat16, ResNet-50 and ResNet-101; resumes where it stopped
#   bench/gpu.sh --dry-run      tiny shapes on the simulated device: shows that every line runs, and nothing else
#   bench/gpu.sh --no-suites …  measures only; further flags are those of bench/gpu/run.ts
#
# Needs no network if .gpu/ contains Deno and the packages; uses the machine's own Python with PyTorch. Prints tables
# and writes results to bench/results/gpu-*.json. Exits with 1 if a suite or a measurement of ours fails, or if losses
# differ from PyTorch's.
set -uo pipefail
cd "$(dirname "$0")/.."
[ -e .gpu/enter.sh ] && . .gpu/enter.sh
export NO_COLOR=1 DENO_NO_UPDATE_CHECK=1 XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
command -v deno >/dev/null || { echo "gpu.sh: no deno on PATH, and none packed in .gpu/" >&2; exit 2; }

dry= suites=1 rest=()
for argument in "$@"; do
  case $argument in
    --no-suites) suites= ;;
    --dry-run) dry=1 rest+=("$argument") ;;
    *) rest+=("$argument") ;;
  esac
done

case " $* " in *" --help "*) deno run --quiet bench/gpu/flags.ts --help; exit ;; esac
deno run --quiet bench/gpu/flags.ts "${rest[@]}" || exit 2 # refuses bad flags before the suites run

status=0
deno task --quiet doctor || status=1
if [ -n "$suites" ]; then
  # A dry run checks that the suites load; the simulated device has suites of its own.
  LOCALGRAD_REQUIRE=cuda deno test --quiet -P=test ${dry:+--no-run} \
    tests/cuda/card_test.ts tests/parity || status=1
fi
deno run --quiet -P=gpu bench/gpu/run.ts "${rest[@]}" || status=$?
exit "$status"
