#!/usr/bin/env bash
# timm 1.0.31: in a network with a smaller output stride, the shortcut's average pooling counts the padding: the last row and column fade to a half.
#
# What happens: ResNet-D, NFNet and others pool their shortcuts by 2 x 2 with count_include_pad=False. Asked for output_stride=16 or 8, they take
#   AvgPool2dSame with the same argument, which pads with zeros first and averages afterwards, so that the argument no longer does anything. A plain of ones
#   comes out as 1, but the last row and column as 1/2, the corner as 1/4, in each of the dilated stages, and nothing is said.
# Expected: 1 everywhere, as from torch.nn.AvgPool2d with count_include_pad=False (which the same block has at the full stride) and from TensorFlow's average
#   pooling with SAME, whose likeness the class says it is: a padded place is not counted.
# Hurts: segmentation and detection, which is what the smaller stride is for: features at the right and lower edge of pretrained networks are others than
#   in training, and the first row and column have nothing of the kind.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchvision==0.28.0 timm==1.0.31 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys
import types
import warnings

import numpy as np
import torch

warnings.filterwarnings("ignore")
if torch.version.cuda is None:  # torchvision's compiled operators, none of which is used here, do not load beside a torch without CUDA
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
import timm
from timm.layers import AvgPool2dSame

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "timm")))


def same_average(x, kernel, stride, counted):
    """TensorFlow's SAME: ceil(size / stride) windows, padding before and after, and a mean of the values that are there unless `counted`."""
    sizes = [-(-size // stride) for size in x.shape]
    before = [max((many - 1) * stride + kernel - size, 0) // 2 for many, size in zip(sizes, x.shape)]
    y = np.empty(sizes, np.float32)
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            top, left = i * stride - before[0], j * stride - before[1]
            window = x[max(top, 0) : top + kernel, max(left, 0) : left + kernel]
            y[i, j] = window.sum() / (kernel * kernel if counted else window.size)
    return y


generator = np.random.default_rng(0)
layers = []
for kernel, stride, size in ((2, 1, 6), (3, 2, 7), (3, 1, 5)):
    x = generator.standard_normal((size, size)).astype(np.float32)
    for include in (True, False):
        y = AvgPool2dSame(kernel, stride, count_include_pad=include)(torch.tensor(x)[None, None])[0, 0].numpy()
        layers.append([include, *(bool(np.allclose(y, same_average(x, kernel, stride, counted), atol=1e-6)) for counted in (True, False))])
        print(f"AvgPool2dSame({kernel}, {stride}, count_include_pad={include}): the mean with padding {layers[-1][1]}, without {layers[-1][2]}")
print("ones by AvgPool2dSame(2, 1, count_include_pad=False):", AvgPool2dSame(2, 1, count_include_pad=False)(torch.ones(1, 1, 4, 4))[0, 0].tolist())


class Right(torch.nn.Module):
    def forward(self, x):
        planes = x.detach().numpy().reshape(-1, *x.shape[2:])
        return torch.tensor(np.stack([same_average(plane, 2, 1, False) for plane in planes])).reshape(x.shape)


def two_edges(name, stride):
    """How many of a network's pools pad; how much its features change where they do not count it, in the first column and in the last."""
    torch.manual_seed(0)
    net = timm.create_model(name, pretrained=False, output_stride=stride).eval()
    pools = [(path, module) for path, module in net.named_modules() if isinstance(module, torch.nn.AvgPool2d)]
    x = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        before = net.forward_features(x)
        for path, module in pools:
            if isinstance(module, AvgPool2dSame):
                assert module.count_include_pad is False
                net.set_submodule(path, Right())
        off = ((net.forward_features(x) - before).abs().mean((0, 1)) / before.abs().mean()).numpy()
    named = [type(module).__name__ for _, module in pools]
    print(f"{name}, output_stride={stride}, features {tuple(before.shape[2:])}: {named}; change with the padding not counted: first column "
          f"{off[:, 0].mean():.1%}, last {off[:, -1].mean():.1%}, corner {off[-1, -1]:.1%}")
    return named.count("AvgPool2dSame"), float(off[:, 0].mean()), float(off[:, -1].mean())


networks = {each: two_edges(*each) for each in (("resnet26d", 32), ("resnet26d", 16), ("resnet26d", 8), ("nfnet_l0", 16))}
ones = AvgPool2dSame(2, 1, count_include_pad=False)(torch.ones(1, 1, 4, 4))[0, 0].numpy()
faded = np.array_equal(ones[:3, :3], np.ones((3, 3))) and np.array_equal(ones[3], [0.5, 0.5, 0.5, 0.25]) and np.array_equal(ones, ones.T)
ignored = all(layer[1:] == [True, False] for layer in layers)
dilated = all(same and last > 0.2 and last > 3 * first for (_, stride), (same, first, last) in networks.items() if stride < 32)
sys.exit(0 if faded and ignored and dilated and networks["resnet26d", 32] == (0, 0, 0) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
