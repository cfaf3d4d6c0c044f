#!/usr/bin/env bash
# torch.onnx.export leaves out options of a layer or a loss without a word, and writes a loss that overflows.
# Needs Python 3.11 or later with venv and 6 GB of disk. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv environment
environment/bin/pip install --quiet --no-cache-dir --disable-pip-version-check \
  torch==2.15.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0

cat > silent.py <<'PY'
import logging, sys, warnings
import numpy, onnx, onnxruntime, onnxscript, torch
from torch.nn import functional

print("torch", torch.__version__, "onnxscript", onnxscript.__version__, "ONNX Runtime", onnxruntime.__version__)
# It logs that torchvision is absent; its warnings are collected below.
logging.getLogger("torch.onnx").setLevel(logging.ERROR)


class Model(torch.nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, *inputs):
        return self.f(*inputs)


# The graph of the mean has a scatter without a reduction, so that the last value stays.
# A divisor of 1 makes sums of the means: 4 in each window of 2 × 2 ones.
pool = lambda x: functional.avg_pool2d(x, 2, divisor_override=1)
mean = lambda x, i: torch.zeros(2).scatter_reduce(0, i, x, "mean", include_self=False)
smooth = lambda x, y: functional.cross_entropy(x, y, label_smoothing=0.5)
binary = lambda x, y: functional.binary_cross_entropy_with_logits(x, y)
floats = lambda *x: torch.tensor(x, dtype=torch.float32)
logits = torch.tensor([[2.0, 0, 0], [0, 1, 0]])
# Name, model, inputs, what is expected (PyTorch gives it) and what ONNX Runtime gives.
cases = [
    ("avg_pool2d, divisor_override 1", pool, (torch.ones(1, 1, 2, 2),), 4, 1),
    ("scatter_reduce, mean", mean, (floats(1, 3, 5), torch.tensor([0, 0, 1])), [2, 5], [3, 5]),
    ("cross_entropy, label_smoothing 0.5", smooth, (logits, torch.tensor([0, 1])), 0.895495, 0.395495),
    ("binary_cross_entropy, logits of -120", binary, (floats(-120), floats(1)), 120, numpy.inf),
]
same = True
for name, f, inputs, expected, described in cases:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.onnx.export(Model(f).eval(), inputs, "model.onnx", dynamo=True, verbose=False)
    words = [str(w.message) for w in said if not issubclass(w.category, (DeprecationWarning, FutureWarning))]
    onnx.checker.check_model("model.onnx", full_check=True)
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    actual = session.run(None, {to.name: x.numpy() for to, x in zip(session.get_inputs(), inputs)})[0]
    kinds = [node.op_type for node in onnx.load("model.onnx").graph.node]
    print(f"{name}: expected {expected}, torch {f(*inputs).squeeze().tolist()}, ONNX Runtime {actual.squeeze().tolist()}")
    print(f"  nodes {' '.join(kinds)}; warnings {words}")
    same = same and numpy.allclose(f(*inputs).numpy(), expected) and numpy.allclose(actual, described)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
environment/bin/python silent.py
