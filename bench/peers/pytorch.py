"""PyTorch on the CPU: pytorch.py <workload> <mode> <batch> [<warmup> <steps>], timed as report() in common.ts says.

The workloads are those of bench/workloads.ts, with the same values. `mode` is nchw, channels_last, or compile:
torch.compile in channels_last; bf16 and compile_bf16 are channels_last and compile with autocast to bfloat16.
"""

import contextlib
import json
import math
import pathlib
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "pytorch"))
import nets  # noqa: E402
from network import Block, fill  # noqa: E402


class ResNet8(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2))
        self.layer3 = nn.Sequential(Block(32, 64, 2))
        self.fc = nn.Linear(64, 10)
        with torch.no_grad():
            for index, (name, p) in enumerate(self.named_parameters()):
                p.copy_(starting_value(index, name, p))

    def forward(self, x):
        h = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.fc(h.mean((2, 3)))


def starting_value(index, name, p):
    """As resnet8Parameters() in common.ts."""
    i = torch.arange(p.numel(), dtype=torch.float64)
    if p.dim() == 4:
        out, _, kh, kw = p.shape
        return (math.sqrt(4 / (kh * kw * out)) * torch.sin(i * 12.9898 + index)).reshape(p.shape)
    if p.dim() == 2:
        return (0.125 * torch.sin(i * 12.9898)).reshape(p.shape)
    return torch.full(p.shape, 0.0 if name.endswith("bias") else 1.0)


def cast(mode):
    """The context in which a step's products are computed."""
    return torch.autocast("cpu", torch.bfloat16) if mode.endswith("bf16") else contextlib.nullcontext()


def compiled(mode):
    return mode.startswith("compile")


def laid_out(tensor_or_model, mode):
    layout = torch.contiguous_format if mode == "nchw" else torch.channels_last
    return tensor_or_model.to(memory_format=layout)


def resnet8(mode, batch):
    i = torch.arange(batch * 32 * 32 * 3, dtype=torch.float64)
    images = 1.5 * torch.sin(i * 0.7 + 3 * torch.cos(i * 1e-3))
    x = laid_out(images.float().reshape(batch, 32, 32, 3).permute(0, 3, 1, 2), mode)
    labels = torch.arange(batch) % 10
    model = laid_out(ResNet8(), mode)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_of = lambda x, labels: F.cross_entropy(model(x), labels)  # noqa: E731
    if compiled(mode):
        loss_of = torch.compile(loss_of)

    def step():
        optimizer.zero_grad()
        with cast(mode):
            loss = loss_of(x, labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def training(network, size, classes, man=False):
    def prepare(mode, batch):
        names = nets.ResNet(network, classes).block_names()
        model = laid_out(nets.Step(network, classes, [[name] for name in names] if man else [names]), mode)
        x, labels = nets.batch(batch, size, classes)
        x = laid_out(x, mode)
        if compiled(mode):
            torch._dynamo.config.cache_size_limit = 4 * len(names) + 64
        model.prepare(torch.compile if compiled(mode) else lambda f: f)
        return lambda: model.step(x, labels, lambda: cast(mode))[-1].item()

    return prepare


def vit(mode, batch):
    from torchvision.models import VisionTransformer

    model = VisionTransformer(32, 4, 12, 3, 192, 768, num_classes=10)
    fill(model)
    model = laid_out(model, mode)
    x, labels = nets.batch(batch, 32, 10)
    x = laid_out(x, mode)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=nets.LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    loss_of = lambda x, labels: F.cross_entropy(model(x).float(), labels)  # noqa: E731
    if compiled(mode):
        loss_of = torch.compile(loss_of)

    def step():
        optimizer.zero_grad()
        with cast(mode):
            loss = loss_of(x, labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def inference(mode, batch):
    model = nets.Step("resnet18", 1000, [nets.ResNet("resnet18", 1000).block_names()]).net
    model = laid_out(model, mode).eval()
    x = laid_out(nets.batch(batch, 224, 1000)[0], mode)
    if compiled(mode):
        from torch._inductor import config

        config.freezing = True  # parameters become constants of the code: its best
        model = torch.compile(model)

    def step():
        with torch.no_grad(), cast(mode):
            return model(x)[0, 0].item()

    return step


WORKLOADS = {
    "resnet8": resnet8,
    "man": training("resnet32", 32, 10, man=True),
    "resnet50": training("resnet50", 64, 1000),
    "resnet18": training("resnet18", 224, 1000),
    "vit": vit,
    "inference": inference,
}


def main():
    what, mode, batch, *turn = sys.argv[1:]
    step = WORKLOADS[what](mode, int(batch))
    first = None
    for line in [" ".join(turn)] if turn else sys.stdin:
        warmup, steps = map(int, line.split())
        milliseconds = []
        for _ in range(warmup + steps):
            start = time.perf_counter()
            loss = step()
            milliseconds.append((time.perf_counter() - start) * 1000)
            first = first or (loss, milliseconds[0])
        timing = {
            "system": f"PyTorch {torch.__version__.split('+')[0]}, CPU, {mode}",
            "milliseconds": milliseconds[warmup:],
            "losses": [first[0], loss],
            "first": first[1],
        }
        print(json.dumps(timing), flush=True)


if __name__ == "__main__":
    main()
