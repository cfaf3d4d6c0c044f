#!/usr/bin/env bash
# ONNX Runtime 1.32.0 on an x86-64 CPU: whether a maximum shows a NaN depends on where the NaN is.
# Needs Python 3.11 or later with venv. Exits with 0 while the behaviour is as described.
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

print("onnx", onnx.__version__, "ONNX Runtime", onnxruntime.__version__)


def places(operator, shape, **attributes):
    """The places at which one NaN among the numbers of an array makes the maximum NaN."""
    rank = 1 if operator == "ReduceMax" else len(shape)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], **attributes)],
        "maximum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1] * rank)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = []
    for place in range(numpy.prod(shape)):
        x = numpy.arange(numpy.prod(shape), dtype=numpy.float32)
        x[place] = numpy.nan
        if numpy.isnan(session.run(None, {"x": x.reshape(shape)})[0]).all():
            found.append(place)
    return found


cases = [
    ("ReduceMax", [8], {}, [0]),
    ("MaxPool", [1, 1, 2, 2], {"kernel_shape": [2, 2], "strides": [1, 1]}, [3]),
    ("MaxPool", [1, 1, 2, 2], {"kernel_shape": [2, 2], "strides": [2, 2]}, [1]),
    ("GlobalMaxPool", [1, 1, 4, 4], {}, [15]),
]
same = True
for operator, shape, attributes, seen in cases:
    found = places(operator, shape, **attributes)
    count = numpy.prod(shape)
    print(f"{operator} {attributes} of {count} numbers: a NaN is expected to show at every place, or at none;")
    print(f"  it shows at {found} of {list(range(count))}")
    same = same and found == seen
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
environment/bin/python maximum.py
