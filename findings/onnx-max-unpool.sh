#!/usr/bin/env bash
# MaxUnpool with an output shape: ONNX Runtime 1.32.0 puts values elsewhere than ONNX's reference and definition.
# Needs Python 3.11 or later with venv. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv environment
environment/bin/pip install --quiet --no-cache-dir --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0

cat > unpool.py <<'PY'
import sys
import numpy, onnx, onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "ONNX Runtime", onnxruntime.__version__)
pooled = numpy.array([[[[9, 8], [7, 6]]]], numpy.float32)
# Row-major places of the maxima in the 4 × 4 image that was pooled: (1, 1), (1, 3), (3, 1), (3, 3).
places = numpy.array([[[[5, 7], [13, 15]]]], numpy.int64)


def unpooled(shape):
    names = ["pooled", "places"] + (["shape"] if shape is not None else [])
    node = helper.make_node("MaxUnpool", names, ["image"], kernel_shape=[2, 2], strides=[2, 2])
    inputs = [
        helper.make_tensor_value_info("pooled", TensorProto.FLOAT, pooled.shape),
        helper.make_tensor_value_info("places", TensorProto.INT64, places.shape),
    ]
    feeds = {"pooled": pooled, "places": places}
    if shape is not None:
        inputs.append(helper.make_tensor_value_info("shape", TensorProto.INT64, [4]))
        feeds["shape"] = numpy.array(shape, numpy.int64)
    graph = helper.make_graph(
        [node], "unpool", inputs, [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, "height", "width"])]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = {}
    for who, run in (("reference", ReferenceEvaluator(model).run), ("ONNX Runtime", session.run)):
        image = run(None, feeds)[0][0, 0]
        found[who] = [(int(r), int(c)) for r, c in zip(*numpy.nonzero(image))]
        print(f"output shape {shape}: {who} puts the values at {found[who]}")
    return found["reference"], found["ONNX Runtime"]


corners = [(1, 1), (1, 3), (3, 1), (3, 3)]
same = unpooled(None) == (corners, corners)
same = unpooled([1, 1, 5, 5]) == (corners, [(1, 0), (1, 2), (2, 3), (3, 0)]) and same
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
environment/bin/python unpool.py
