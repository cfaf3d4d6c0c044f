"""The networks and the MAN step that localgrad is compared with, in plain PyTorch.

The CIFAR block, DGL's head and the starting values are the parity fixtures' (tests/fixtures/network.py): parameters
have localgrad's names, and start with the same bits.
"""

import copy
import pathlib
import sys

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "fixtures"))
from formula import hashes, units  # noqa: E402
from network import Block, MlpSr, fill  # noqa: E402

MOMENTUM = 0.995  # of MAN's average
LEARNING_RATE = 0.001  # as in bench/workloads.ts


class Bottleneck(nn.Module):
    def __init__(self, channels_in, planes, stride):
        super().__init__()
        out = 4 * planes
        self.conv1, self.bn1 = nn.Conv2d(channels_in, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, out, 1, bias=False), nn.BatchNorm2d(out)
        self.downsample = (
            nn.Identity()
            if stride == 1 and channels_in == out
            else nn.Sequential(nn.Conv2d(channels_in, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


# Block, channels of its output as a multiple of its width, blocks of each stage.
IMAGENET = {
    "resnet18": (Block, 1, [2, 2, 2, 2]),
    "resnet50": (Bottleneck, 4, [3, 4, 6, 3]),
    "resnet101": (Bottleneck, 4, [3, 4, 23, 3]),
}


class ResNet(nn.Module):
    """The ResNet for 32 x 32 images of depth 6 n + 2, or one with bottlenecks for large ones."""

    def __init__(self, name, classes):
        super().__init__()
        self.large = name in IMAGENET
        if self.large:
            (make, expansion, counts), widths = IMAGENET[name], [64, 128, 256, 512]
            self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        else:
            each = (int(name.removeprefix("resnet")) - 2) // 6
            counts, widths, make, expansion = [each] * 3, [16, 32, 64], Block, 1
            self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        channels = widths[0]
        self.bn1 = nn.BatchNorm2d(channels)
        for stage, (count, width) in enumerate(zip(counts, widths)):
            blocks = []
            for i in range(count):
                blocks.append(make(channels, width, 2 if stage > 0 and i == 0 else 1))
                channels = width * expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)

    def stem(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        return F.max_pool2d(h, 3, 2, 1) if self.large else h

    def block(self, name):
        stage, index = name.split(".")
        return self.get_submodule(stage)[int(index)]

    def classify(self, h):
        return self.fc(h.mean((2, 3)))

    def block_names(self):
        stages = [name for name, _ in self.named_children() if name.startswith("layer")]
        return [f"{stage}.{i}" for stage in stages for i in range(len(self.get_submodule(stage)))]

    def forward(self, x):
        h = self.stem(x)
        for name in self.block_names():
            h = self.block(name)(h)
        return self.classify(h)


def channels_of(block):
    return block.conv3.out_channels if isinstance(block, Bottleneck) else block.conv2.out_channels


class Local(nn.Module):
    """The auxiliary network of MAN around DGL at a boundary: learnable bias, average, head."""

    def __init__(self, tracked, classes):
        super().__init__()
        self.bias, self.ema = copy.deepcopy(tracked), copy.deepcopy(tracked)
        self.classifier = MlpSr(channels_of(tracked))
        self.classifier.fc = nn.Linear(self.classifier.fc.in_features, classes)

    def forward(self, h):
        return self.classifier(self.bias(h) + self.ema(h))


class Step(nn.Module):
    """A training step: `modules` lists the names of each module's blocks, in order; one module is end to end.

    Each module is one function of features and labels, which returns its loss and its output features; `wrap` compiles
    it, or returns it unchanged.
    """

    def __init__(self, name, classes, modules):
        super().__init__()
        self.net = ResNet(name, classes)
        self.modules_of = modules
        self.local = nn.ModuleList([Local(self.net.block(after[0]), classes) for after in modules[1:]])
        fill(self)
        for local, after in zip(self.local, modules[1:]):
            local.ema.load_state_dict(self.net.block(after[0]).state_dict())
            local.ema.requires_grad_(False)

    def prepare(self, wrap=lambda f: f):
        """Makes the modules' functions and the optimizer; call it once the model has its device and dtype."""
        self.parts = [wrap(self.part(index)) for index in range(len(self.modules_of))]
        trained = [p for p in self.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=1e-4)
        self.averages = [
            (list(local.ema.parameters()), list(self.net.block(after[0]).parameters()))
            for local, after in zip(self.local, self.modules_of[1:])
        ]

    def part(self, index):
        first, last = index == 0, index == len(self.modules_of) - 1
        blocks = [self.net.block(name) for name in self.modules_of[index]]

        def run(h, labels):
            if first:
                h = self.net.stem(h)
            for block in blocks:
                h = block(h)
            logits = self.net.classify(h) if last else self.local[index](h)
            return F.cross_entropy(logits.float(), labels), h

        return run

    def step(self, x, labels, autocast):
        """The losses of all modules, on the device."""
        self.optimizer.zero_grad()
        losses, h = [], x
        for index, part in enumerate(self.parts):
            with autocast():
                loss, h = part(h, labels)
            loss.backward()
            losses.append(loss.detach().clone())  # a CUDA graph would write over it
            h = h.detach()
            if index < len(self.averages):
                averages, tracked = self.averages[index]
                with torch.no_grad():
                    torch._foreach_mul_(averages, MOMENTUM)
                    torch._foreach_add_(averages, tracked, alpha=1.0 - MOMENTUM)
        self.optimizer.step()
        return torch.stack(losses)


def batch(count, size, classes):
    """Images [count, 3, size, size] and labels, by the same formula as ours."""
    images = torch.tensor(units("bench.images", (count, size, size, 3), 2.0), dtype=torch.float32)
    labels = torch.tensor((hashes("bench.labels", count) % classes).astype("int64"))
    return images.permute(0, 3, 1, 2).contiguous(), labels
