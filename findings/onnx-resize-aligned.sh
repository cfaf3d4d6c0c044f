#!/usr/bin/env bash
# ONNX Runtime 1.32.0 and ONNX's own reference give different results for a Resize by a scale with aligned corners.
# Needs Python 3.11 or later with venv. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv environment
environment/bin/pip install --quiet --no-cache-dir --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0

cat > resize.py <<'PY'
import sys
import numpy, onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "ONNX Runtime", onnxruntime.__version__)
row = numpy.array([[[[1, 2, 3, 4]]]], numpy.float32)


def results(attribute, values):
    """The last axis of a row of 4 resized with aligned corners, by the reference and by ONNX Runtime."""
    inputs = ["x", "", "scales"] if attribute == "scales" else ["x", "", "", "sizes"]
    node = helper.make_node(
        "Resize", inputs, ["y"], mode="linear", coordinate_transformation_mode="align_corners"
    )
    graph = helper.make_graph(
        [node],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, row.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 2])],
        [numpy_helper.from_array(values, attribute)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    reference, actual = ReferenceEvaluator(model).run(None, {"x": row})[0], session.run(None, {"x": row})[0]
    print(f"{attribute} {values.tolist()}: reference {reference.ravel()}, ONNX Runtime {actual.ravel()}")
    return reference.ravel(), actual.ravel()


# A scale of 0.6 makes 2 columns of 4. The reference takes the length 4 × 0.6 = 2.4 for the place of the last column,
# ONNX Runtime the 2 columns that there are. By sizes, both agree.
by_scale = results("scales", numpy.array([1, 1, 1, 0.6], numpy.float32))
by_size = results("sizes", numpy.array([1, 1, 1, 2], numpy.int64))
expected = ([1, 3.142857], [1, 4])
same = all(numpy.allclose(a, b, atol=1e-5) for a, b in zip(by_scale, expected))
same = same and all(numpy.allclose(a, [1, 4], atol=1e-5) for a in by_size)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
environment/bin/python resize.py
