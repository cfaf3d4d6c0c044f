#!/usr/bin/env bash
# pyarrow finds a NaN by its filter in a table in memory, but not in the same table read from a Parquet file.
# Needs Python 3.11 or later with venv. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv environment
environment/bin/pip install --quiet --no-cache-dir --disable-pip-version-check pyarrow==26.0.1

cat > filter.py <<'PY'
import sys
import pyarrow
import pyarrow.parquet as parquet
from pyarrow.dataset import field

print("pyarrow", pyarrow.__version__)
nan = float("nan")
loss = field("loss")
# Losses, a filter, its text, the steps it keeps in memory and those it keeps when it reads the file.
cases = [
    ([1, nan, 1], loss.is_nan(), "is_nan(loss)", [1], []),
    ([1, nan, 1], loss != 1, "loss != 1", [1], []),
    ([1, nan, 2], ~(loss < 3), "not (loss < 3)", [1], []),
    # Controls: a minimum and a maximum which leave the question open, and a null for the NaN.
    ([1, nan, 2], loss.is_nan(), "is_nan(loss)", [1], [1]),
    ([1, nan, 2], ~(loss < 2), "not (loss < 2)", [1, 2], [1, 2]),
    ([1, None, 1], loss.is_null(), "is_null(loss)", [1], [1]),
]
same = True
for losses, kept, text, in_memory, from_file in cases:
    table = pyarrow.table({"step": [0, 1, 2], "loss": pyarrow.array(losses, pyarrow.float64())})
    parquet.write_table(table, "losses.parquet")
    memory = table.filter(kept)["step"].to_pylist()
    file = parquet.read_table("losses.parquet", filters=kept)["step"].to_pylist()
    print(f"losses {losses}, {text}: expected steps {in_memory}, in memory {memory}, from the file {file}")
    # The file's row group has the minimum and maximum of its numbers; the NaN is in neither.
    same = same and memory == in_memory and file == from_file
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
environment/bin/python filter.py
