#!/usr/bin/env bash
# autocontrast, which stretches an image to 0…255, often stops at 254: torchvision's v2 on bytes, and Pillow.
# Needs Python 3.11 or later with venv and 6 GB of disk. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv environment
environment/bin/pip install --quiet --no-cache-dir --disable-pip-version-check \
  torch==2.15.0 torchvision==0.29.2 pillow==13.0.0 numpy==2.4.6

cat > contrast.py <<'PY'
import sys
import numpy, PIL, torch, torchvision
from PIL import Image, ImageOps
from torchvision.transforms import functional as v1
from torchvision.transforms.v2 import functional as v2

print("torchvision", torchvision.__version__, "Pillow", PIL.__version__)
# Every image of two different grey values, darkest first.
images = numpy.array([[low, high] for low in range(256) for high in range(low + 1, 256)], numpy.uint8)
tensors = torch.from_numpy(images).reshape(-1, 1, 1, 2)
pillow = numpy.array([numpy.asarray(ImageOps.autocontrast(Image.fromarray(image[None])))[0] for image in images])
stretched = {
    "torchvision v2": v2.autocontrast(tensors).reshape(-1, 2).numpy(),
    "torchvision v1": v1.autocontrast(tensors).reshape(-1, 2).numpy(),
    "Pillow": pillow,
    "torchvision v2 on floats": 255 * v2.autocontrast(tensors / 255).reshape(-1, 2).numpy(),
}
described = {"torchvision v2": 27385, "torchvision v1": 3263, "Pillow": 4852, "torchvision v2 on floats": 0}
same = True
for name, values in stretched.items():
    short = int((values[:, 1] != 255).sum())
    print(f"{name}: expected 255 in {len(images)} images, got {numpy.unique(values[:, 1])}, less than 255 in {short}")
    same = same and (values[:, 0] == 0).all() and values[:, 1].min() >= 254 and short == described[name]
print("v2 of 0, 1:", stretched["torchvision v2"][0], "Pillow of 0, 25:", stretched["Pillow"][24])
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
environment/bin/python contrast.py
