#!/usr/bin/env bash
# NumPy's copysign makes a NaN of 0 in the float8 types of ml_dtypes which have no negative zero.
# Needs Python 3.11 or later with venv. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv environment
environment/bin/pip install --quiet --no-cache-dir --disable-pip-version-check numpy==2.4.6 ml_dtypes==0.6.0

cat > sign.py <<'PY'
import sys
import ml_dtypes, numpy

print("ml_dtypes", ml_dtypes.__version__, "NumPy", numpy.__version__)
magnitudes = [2, 0, 0.5, 0]
signs = [-1, -1, -1, 1]
same = True
# The first two have a negative zero; in the fnuz types its bits are those of NaN.
for name in ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e4m3b11fnuz"):
    kind = getattr(ml_dtypes, name)
    expected = numpy.copysign(numpy.float32(magnitudes), numpy.float32(signs)).astype(kind)
    x = numpy.array(magnitudes, kind)
    actual = numpy.copysign(x, numpy.array(signs, kind))
    nans = numpy.isnan(actual.astype(numpy.float32))
    print(f"{name}: expected {expected}, got {actual}; negative gives {numpy.negative(x)}")
    same = same and not numpy.isnan(expected.astype(numpy.float32)).any()
    same = same and not numpy.isnan(numpy.negative(x).astype(numpy.float32)).any()
    same = same and nans.tolist() == [False, name.endswith("fnuz"), False, False]
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
environment/bin/python sign.py
