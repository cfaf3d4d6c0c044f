#!/usr/bin/env bash
# A NaN leaves a bfloat16 or float8 array of ml_dtypes 0.6.0 unsorted: NumPy's own floats sort it to the end.
# Needs Python 3.11 or later with venv. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv environment
environment/bin/pip install --quiet --no-cache-dir --disable-pip-version-check ml_dtypes==0.6.0 numpy==2.4.6

cat > sort.py <<'PY'
import sys, warnings
import ml_dtypes, numpy

warnings.simplefilter("error")
print("ml_dtypes", ml_dtypes.__version__, "NumPy", numpy.__version__)
nan = numpy.nan
values = numpy.array([7, 6, 5, nan, 4, 3, 2, 1, 0], numpy.float32)
repeated = numpy.array([2, nan, 1, 2], numpy.float32)


def texts(array):
    return [str(value) for value in array.astype(numpy.float32).tolist()]


in_order = texts(numpy.array([0, 1, 2, 3, 4, 5, 6, 7, nan]))
in_two_parts = texts(numpy.array([5, 6, 7, nan, 0, 1, 2, 3, 4]))
types = {
    numpy.float16: (in_order, ["1.0", "2.0", "nan"]),
    ml_dtypes.bfloat16: (in_two_parts, ["2.0", "nan", "1.0", "2.0"]),
    ml_dtypes.float8_e4m3fn: (in_two_parts, ["2.0", "nan", "1.0", "2.0"]),
    ml_dtypes.float8_e5m2: (in_two_parts, ["2.0", "nan", "1.0", "2.0"]),
}
same = True
for kind, seen in types.items():
    got = (texts(numpy.sort(values.astype(kind))), texts(numpy.unique(repeated.astype(kind))))
    for call, expected, actual in zip(("sort", "unique"), (in_order, ["1.0", "2.0", "nan"]), got):
        print(f"{kind.__name__}, {call}: expected {' '.join(expected)}, got {' '.join(actual)}")
    same = same and got == seen
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
environment/bin/python sort.py
