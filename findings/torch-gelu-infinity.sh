#!/usr/bin/env bash
# PyTorch's gelu of infinity is infinity in a tensor of one number and NaN in a tensor of two.
# Needs Python 3.11 or later with venv, a processor with AVX-512 and 6 GB of disk.
# Exits with 0 while the behaviour is as described.
set -euo pipefail
if ! grep -q avx512bw /proc/cpuinfo; then
  echo "this processor has no AVX-512: nothing to see here"
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv environment
environment/bin/pip install --quiet --no-cache-dir --disable-pip-version-check torch==2.15.0 numpy==2.4.6

cat > gelu.py <<'PY'
import os, sys
import torch
from torch.nn.functional import gelu

limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "none")
wide = limit != "AVX2"
print("torch", torch.__version__, "with oneDNN, limit of its instruction set:", limit)
inf, nan = float("inf"), float("nan")
# A number, what is expected, and what one and two of them give; all is right where oneDNN stays with AVX2.
cases = [(inf, inf, inf, nan), (2e38, 2e38, 2e38, inf), (1e38, 1e38, 1e38, 1e38)]
same = True
for x, expected, one, two in cases:
    actual = [gelu(torch.full((n,), x)) for n in (1, 2)]
    print(f"gelu of {x}: expected {expected}, one {actual[0].tolist()}, two {actual[1].tolist()}")
    for n, described in ((1, one), (2, two if wide else expected)):
        same = same and torch.allclose(actual[n - 1], torch.full((n,), described), equal_nan=True)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
environment/bin/python gelu.py
ONEDNN_MAX_CPU_ISA=AVX2 environment/bin/python gelu.py
