"""Runs ONNX models: checks each with onnx, computes it with ONNX Runtime, and writes its results.

The argument is a folder with `cases.json`: for each model its file, and for each run the inputs, each with shape, type
and file. Results are written as files next to it, float64, and described in `results.json`.
"""

import json
import sys

import numpy
import onnx
import onnxruntime

folder = sys.argv[1]
onnxruntime.set_default_logger_severity(3)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1

results = []
with open(f"{folder}/cases.json") as file:
    cases = json.load(file)
for number, case in enumerate(cases):
    try:
        model = onnx.load(f"{folder}/{case['model']}")
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        runs = []
        for run, inputs in enumerate(case["runs"]):
            arrays = {
                name: numpy.fromfile(f"{folder}/{each['file']}", each["type"]).reshape(each["shape"])
                for name, each in inputs.items()
            }
            given = {each.name for each in session.get_inputs()}
            outputs = session.run(None, {name: array for name, array in arrays.items() if name in given})
            files = []
            for i, output in enumerate(outputs):
                path = f"{number}-{run}-{i}.bin"
                output.astype(numpy.float64).tofile(f"{folder}/{path}")
                files.append({"file": path, "shape": output.shape})
            runs.append(files)
        meta = session.get_modelmeta().custom_metadata_map
        ops = [node.op_type for node in model.graph.node]
        names = [each.name for each in model.graph.initializer]
        dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input]
        results.append({"runs": runs, "ops": ops, "initializers": names, "inputs": dims, "metadata": dict(meta)})
    except Exception as error:
        results.append({"error": f"{type(error).__name__}: {error}"})
with open(f"{folder}/results.json", "w") as file:
    json.dump(results, file)
