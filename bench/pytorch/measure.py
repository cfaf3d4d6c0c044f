"""One measurement of PyTorch: measure.py '<row as JSON>' prints one line of JSON, as bench/gpu/ours.ts does for ours.

Modes: `eager` (NCHW), `channels_last`, `graph` (the whole step captured as a CUDA graph), and those of torch.compile
(`reduce-overhead`, `max-autotune`), which put each module into CUDA graphs of their own. All but the first are channels
last.
"""

import contextlib
import json
import re
import sys
import time

import torch

import nets

COMPILED = ("reduce-overhead", "max-autotune")

# By the kernel's name, in lower case; the first that matches. Triton's names list the ops that were fused, so its
# patterns come before those of the ops.
CLASSES = [
    ("optimizer", r"multi_tensor|foreach|fusedsgd"),
    ("convolution", r"^triton_tem.*conv"),
    ("product", r"^triton_tem"),
    ("reduction", r"^triton_(per|red)"),
    ("element-wise", r"^triton_"),
    ("convolution", r"conv|wgrad|dgrad|fprop|xmma|implicit|cudnn.*(gemm|sm\d)"),
    ("product", r"gemm|cublas|cutlass|matmul|\bmm\b|addmm|linear"),
    ("reduction", r"reduce|norm|bn_|mean|sum|pool|softmax|nll|cross_entropy"),
    ("copy", r"memcpy|memset|copy|transpose|nchwtonhwc|nhwctonchw"),
    ("element-wise", r"elementwise|relu|add|mul|threshold"),
]

# Entries on the card's track of a profile that are not kernels.
SPANS = ("ProfilerStep", "Optimizer.", "Torch-Compiled", "## ")


def class_of(kernel):
    name = kernel.lower()
    return next((kind for kind, pattern in CLASSES if re.search(pattern, name)), "other")


class Run:
    def __init__(self, row):
        self.row = row
        self.cuda = torch.cuda.is_available()
        if not self.cuda and not row.get("withoutCard"):
            raise RuntimeError("PyTorch finds no card")
        self.device = torch.device("cuda" if self.cuda else "cpu")
        precision, mode = row["precision"], row["mode"]
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "f32"
        torch.backends.cudnn.benchmark = True
        self.autocast = (
            (lambda: torch.autocast(self.device.type, torch.bfloat16))
            if precision == "bf16"
            else contextlib.nullcontext
        )
        layout = torch.contiguous_format if mode == "eager" else torch.channels_last
        self.model = nets.Step(row["network"], row["classes"], row["modules"])
        self.model.to(self.device, memory_format=layout)
        x, self.labels = nets.batch(row["batch"], row["size"], row["classes"])
        self.x, self.labels = x.to(self.device, memory_format=layout), self.labels.to(self.device)
        if mode in COMPILED:
            torch._dynamo.config.cache_size_limit = 4 * len(row["modules"]) + 64
        self.model.prepare(self.compiled if mode in COMPILED else (lambda f: f))

    def compiled(self, f):
        # Without a card only tracing is exercised: machine code for the CPU takes minutes.
        return torch.compile(f, mode=self.row["mode"]) if self.cuda else torch.compile(f, backend="eager")

    def issue(self):
        if self.row["mode"] in COMPILED:
            torch.compiler.cudagraph_mark_step_begin()
        return self.model.step(self.x, self.labels, self.autocast)

    def finish(self):
        if self.cuda:
            torch.cuda.synchronize()

    def capture(self):
        """Captures a step, which is one launch of a CUDA graph from here on."""
        if not self.cuda:
            return  # figures without a card mean nothing anyway
        graph, self.losses = torch.cuda.CUDAGraph(), None
        self.model.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self.losses = self.issue()
        self.issue = lambda: graph.replay() or self.losses

    def first_steps(self):
        """The first three losses, issued on a separate stream, as a capture requires."""
        if not self.cuda or self.row["mode"] != "graph":
            return [self.issue().tolist() for _ in range(3)]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            losses = [self.issue().tolist() for _ in range(3)]
        torch.cuda.current_stream().wait_stream(side)
        return losses

    def timed(self):
        """Milliseconds of a step, by round: steps are issued without waiting, and the round ends when all are done."""
        rounds, steps = [], 1
        until = time.perf_counter() + self.row["seconds"]
        while time.perf_counter() < until or len(rounds) < 3:
            start = time.perf_counter()
            for _ in range(steps):
                self.issue()
            self.finish()
            seconds = time.perf_counter() - start
            rounds.append(1000 * seconds / steps)
            if seconds < 0.2 and len(rounds) == 1:
                steps, rounds = max(1, int(0.3 / max(seconds, 1e-4))), []
        return rounds

    def profile(self, steps=3):
        """Launches and milliseconds by class of one step."""
        activity = torch.profiler.ProfilerActivity
        kinds = [activity.CPU, activity.CUDA] if self.cuda else [activity.CPU]
        with torch.profiler.profile(activities=kinds) as profiler:
            for _ in range(steps):
                self.issue()
            self.finish()
        times, launches = {}, 0
        for event in profiler.events():
            on_card = event.device_type == torch.autograd.DeviceType.CUDA
            if on_card != self.cuda or event.name.startswith(SPANS):
                continue
            spent = event.time_range.elapsed_us() if self.cuda else event.self_cpu_time_total
            launches += 1
            kind = class_of(event.name)
            times[kind] = times.get(kind, 0.0) + spent / 1000 / steps
        return launches / steps, times


def measure(row):
    run = Run(row)
    start = time.perf_counter()
    losses = run.first_steps()
    first = 1000 * (time.perf_counter() - start)
    if row["mode"] == "graph":
        run.capture()
    for _ in range(3):
        run.issue()
    run.finish()
    memory = {}
    if run.cuda:
        torch.cuda.reset_peak_memory_stats()
    milliseconds = run.timed()
    if run.cuda:
        free, total = torch.cuda.mem_get_info()
        memory = {
            "peakBytes": torch.cuda.max_memory_allocated(),
            "takenBytes": torch.cuda.max_memory_reserved(),
            "usedBytes": total - free,
        }
    launches, times = run.profile()
    return {
        "version": f"PyTorch {torch.__version__}",
        "device": torch.cuda.get_device_name() if run.cuda else "CPU",
        "milliseconds": milliseconds,
        "firstSteps": first,
        "losses": losses,
        "memory": memory,
        "launches": launches,
        "classes": times,
    }


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
