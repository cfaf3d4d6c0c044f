"""PyTorch on the CPU: pytorch.py <resnet8|man> <layout> <batch> <warmup> <steps> prints one line of JSON.

`resnet8` is the ResNet-8 step; `man` a step of MAN around dgl on ResNet-32, K = 16, as tests/fixtures computes it.
`layout` is nchw or channels_last.
"""

import json
import math
import pathlib
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "fixtures"))
from network import Block, Man, load_batch, sgd  # noqa: E402


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


def resnet8_step(layout, batch):
    i = torch.arange(batch * 32 * 32 * 3, dtype=torch.float64)
    images = 1.5 * torch.sin(i * 0.7 + 3 * torch.cos(i * 1e-3))
    x = images.float().reshape(batch, 32, 32, 3).permute(0, 3, 1, 2)
    labels = torch.arange(batch) % 10
    model = ResNet8()
    if layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last if layout == "channels_last" else torch.contiguous_format)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def man_step(layout, batch):
    model = Man("dgl")
    model.start()
    x, labels, images = load_batch(0, batch, torch.float32)
    if layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    optimizer = sgd(model)
    return lambda: model.step(optimizer, x, labels, images)[-1]


def main():
    what, layout = sys.argv[1:3]
    batch, warmup, steps = map(int, sys.argv[3:])
    step = {"resnet8": resnet8_step, "man": man_step}[what](layout, batch)
    milliseconds, losses = [], []
    for _ in range(warmup + steps):
        start = time.perf_counter()
        losses.append(step())
        milliseconds.append((time.perf_counter() - start) * 1000)
    print(json.dumps({
        "system": f"PyTorch {torch.__version__.split('+')[0]}, CPU, {layout}",
        "milliseconds": milliseconds[warmup:],
        "losses": [losses[0], losses[-1]],
        "first": milliseconds[0],
    }))


if __name__ == "__main__":
    main()
