#!/usr/bin/env bash
# ONNX Runtime's ReduceMax, ArgMax and MaxPool see a NaN or not, by the place where it stands.
# Needs Python 3.11 or later with venv and an x86-64 processor. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv environment
environment/bin/pip install --quiet --no-cache-dir --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0

cat > maximum.py <<'PY'
import sys
import numpy, onnx, onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "ONNX Runtime", onnxruntime.__version__)
nan = numpy.nan


def both(kind, values):
    x = numpy.array(values, numpy.float32).reshape(1, 1, -1)
    size = x.shape[2]
    attributes = {
        "ReduceMax": {"keepdims": 1},
        "ReduceMin": {"keepdims": 1},
        "ArgMax": {"axis": 2, "keepdims": 1},
        "MaxPool": {"kernel_shape": [size]},
    }[kind]
    inputs = ["x", "axes"] if kind.startswith("Reduce") else ["x"]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, ["y"], **attributes)],
        "maximum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT64 if kind == "ArgMax" else TensorProto.FLOAT, [1, 1, 1])],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [2])] if len(inputs) == 2 else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [run(None, {"x": x})[0].item() for run in (ReferenceEvaluator(model).run, session.run)]


# Operator, values, what is expected (as in NumPy and PyTorch) and what ONNX Runtime gives.
cases = [
    ("ReduceMax", [nan, 1, 2], nan, nan),
    ("ReduceMax", [1, nan, 2], nan, 2),
    ("ReduceMax", [1, 2, nan], nan, 2),
    ("ReduceMin", [nan, 1, 2], nan, nan),
    ("ReduceMin", [1, nan, 2], nan, 1),
    ("ArgMax", [nan, 1, 2], 0, 0),
    ("ArgMax", [1, nan, 2], 1, 2),
    ("MaxPool", [nan, 1, 2, 3], nan, 3),
    ("MaxPool", [0, 1, nan, 3], nan, 3),
    ("MaxPool", [0, 1, 2, nan], nan, nan),
]
same = True
for kind, values, expected, described in cases:
    reference, actual = both(kind, values)
    print(f"{kind} of {values}: expected {expected}, reference {reference}, ONNX Runtime {actual}")
    same = same and numpy.array_equal(actual, described, equal_nan=True)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
environment/bin/python maximum.py
