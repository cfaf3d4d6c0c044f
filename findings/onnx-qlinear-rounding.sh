#!/usr/bin/env bash
# QLinearMatMul and QLinearConv: ONNX's reference adds the zero point before it rounds, so halves round the other way.
# Needs Python 3.11 or later with venv. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv environment
environment/bin/pip install --quiet --no-cache-dir --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0

cat > quantized.py <<'PY'
import sys
import numpy, onnx, onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "ONNX Runtime", onnxruntime.__version__)
u8, f32 = numpy.uint8, numpy.float32
columns = numpy.array([[1], [3], [5], [7]], u8)  # 0.5, 1.5, 2.5 and 3.5 at a scale of 0.5


def both(op, x, weight, y_shape, zero_point):
    scales = dict(x_scale=f32(0.5), x_zero=u8(0), w=weight, w_scale=f32(1), w_zero=u8(0), y_scale=f32(1))
    constants = {**scales, "y_zero": u8(zero_point)}
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *constants], ["y"])],
        "quantized",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, y_shape)],
        [onnx.numpy_helper.from_array(numpy.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [run(None, {"x": x})[0].ravel().tolist() for run in (ReferenceEvaluator(model).run, session.run)]


same = True
for zero_point, rounded_first, rounded_last in ((0, [0, 2, 2, 4], [0, 2, 2, 4]), (1, [1, 3, 3, 5], [2, 2, 4, 4])):
    for op, x, weight in (
        ("QLinearMatMul", columns, numpy.ones((1, 1), u8)),
        ("QLinearConv", columns.reshape(1, 1, 1, 4), numpy.ones((1, 1, 1, 1), u8)),
    ):
        reference, actual = both(op, x, weight, x.shape, zero_point)
        print(f"{op}, zero point {zero_point}: expected {rounded_first}, reference {reference}, ONNX Runtime {actual}")
        same = same and actual == rounded_first and reference == rounded_last
node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])
quantized = ReferenceEvaluator(node).run(None, {"x": columns * f32(0.5), "scale": f32(1), "zero": u8(1)})[0].ravel().tolist()
print(f"QuantizeLinear, zero point 1: reference {quantized}")
same = same and quantized == [1, 3, 3, 5]
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
environment/bin/python quantized.py
