#!/usr/bin/env bash
# safetensors 0.8.0 saves a transposed NumPy array with its values in the wrong places; 0.7.0 did not.
# Needs Python 3.10 or later with venv. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cat > transposed.py <<'PY'
import sys, warnings
import numpy, safetensors
from safetensors.numpy import load_file, save_file

warnings.simplefilter("error")
print("safetensors", safetensors.__version__, "NumPy", numpy.__version__)
array = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
save_file({"plain": array, "transposed": array.T, "column_major": numpy.asfortranarray(array)}, "a.safetensors")
loaded = {name: value.tolist() for name, value in load_file("a.safetensors").items()}
expected = {"plain": array.tolist(), "transposed": array.T.tolist(), "column_major": array.tolist()}
for name in expected:
    print(f"{name}: expected {expected[name]}, got {loaded[name]}")
seen = expected
if sys.argv[1] == "scrambled":
    seen = {**expected, "transposed": [[0, 1], [2, 3], [4, 5]], "column_major": [[0, 3, 1], [4, 2, 5]]}
print("as described" if loaded == seen else "CHANGED")
sys.exit(0 if loaded == seen else 1)
PY
for version in 0.7.0 0.8.0; do
  python3 -m venv "$version"
  "$version/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check "safetensors==$version" numpy==2.2.6
done
0.7.0/bin/python transposed.py right
0.8.0/bin/python transposed.py scrambled
