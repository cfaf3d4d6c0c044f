#!/usr/bin/env bash
# LpPool with ceil_mode: ONNX's reference stretches the norm of a window that the image's edge cuts off.
# Needs Python 3.11 or later with venv. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv environment
environment/bin/pip install --quiet --no-cache-dir --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0

cat > pool.py <<'PY'
import sys
import numpy, onnx, onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "ONNX Runtime", onnxruntime.__version__)
image = numpy.ones((1, 1, 4, 4), numpy.float32)
# Windows of 3 × 3 every 2 pixels hold 9, 6, 6 and 4 of the 16 ones.
ones = numpy.array([[9, 6], [6, 4]])


def pooled(p):
    node = helper.make_node("LpPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, p=p)
    graph = helper.make_graph(
        [node],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 2, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [run(None, {"x": image})[0][0, 0] for run in (ReferenceEvaluator(model).run, session.run)]


same = True
for p in (1, 2):
    reference, actual = pooled(p)
    norms = ones ** (1 / p)
    for who, values in (("expected", norms), ("reference", reference), ("ONNX Runtime", actual)):
        print(f"p = {p}: {who} {numpy.round(values, 3).ravel()}")
    # The reference takes the mean over the pixels that there are, times 9.
    same = same and numpy.allclose(actual, norms) and numpy.allclose(reference, 9 ** (1 / p))
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
environment/bin/python pool.py
