"""bioimage.io packages as their authors' programs would write them, and two networks to put into them."""

import hashlib
import zipfile

import numpy as np
import torch
import yaml
from torch import nn
from torch.nn import functional as F


def double(before, after, norm=True):
    def unit(into):
        return [nn.Conv2d(into, after, 3, padding=1), *([nn.BatchNorm2d(after)] if norm else []), nn.ReLU()]

    return nn.Sequential(*unit(before), *unit(after))


class PlainUNet(nn.Module):
    """Padded, no normalization; named as in a well-known tutorial."""

    def __init__(self, channels, classes, widths=(4, 6, 8)):
        super().__init__()
        for number, (before, after) in enumerate(zip((channels, *widths), widths, strict=False), start=1):
            self.add_module(f"down_convolution_{number}", double(before, after, norm=False))
        for number, (before, after) in enumerate(zip(widths[::-1], widths[-2::-1], strict=False), start=1):
            self.add_module(f"up_transpose_{number}", nn.ConvTranspose2d(before, after, 2, 2))
            self.add_module(f"up_convolution_{number}", double(2 * after, after, norm=False))
        self.out = nn.Conv2d(widths[0], classes, 1)
        self.depth = len(widths) - 1

    def forward(self, x):
        kept = []
        for number in range(1, self.depth + 1):
            x = getattr(self, f"down_convolution_{number}")(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = getattr(self, f"down_convolution_{self.depth + 1}")(x)
        for number in range(1, self.depth + 1):
            x = torch.cat([kept.pop(), getattr(self, f"up_transpose_{number}")(x)], 1)
            x = getattr(self, f"up_convolution_{number}")(x)
        return self.out(x)


class _Block(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.conv = double(before, after)

    def forward(self, x):
        return self.conv(x)


class _Down(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), _Block(before, after))

    def forward(self, x):
        return self.maxpool_conv(x)


class _Up(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.up = nn.ConvTranspose2d(before, after, 2, 2)
        self.conv = _Block(2 * after, after)

    def forward(self, x, skip):
        return self.conv(torch.cat([skip, self.up(x)], 1))


class JoinedUNet(nn.Module):
    """BatchNorm, padded: of three networks with the same tensors the one that keeps all sizes."""

    def __init__(self, channels, classes, width=4):
        super().__init__()
        self.inc = _Block(channels, width)
        self.down1, self.down2 = _Down(width, 2 * width), _Down(2 * width, 4 * width)
        self.up1, self.up2 = _Up(4 * width, 2 * width), _Up(2 * width, width)
        self.outc = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        one = self.inc(x)
        two = self.down1(one)
        return self.outc(self.up2(self.up1(self.down2(two), two), one))


def lively(network, seed=0):
    """Give all weights values that matter."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            fan = module.weight[0].numel()
            module.weight.data = torch.randn(module.weight.shape, generator=generator) * (2 / fan) ** 0.5
            module.bias.data = torch.randn(module.bias.shape, generator=generator) * 0.1
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.running_mean.shape, generator=generator) * 0.1
            module.running_var = 0.5 + torch.rand(module.running_var.shape, generator=generator)
    return network.eval()


def percentiles(image, low=1.0, high=99.8):
    bottom, top = np.percentile(image, (low, high), axis=(-2, -1), keepdims=True)
    return (image - bottom) / (top - bottom + 1e-6)


class PackageFolder:
    """Collects the files of a package.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def sha256(self, name):
        return hashlib.sha256((self.folder / name).read_bytes()).hexdigest()

    def weights(self, network, name="weights.pt"):
        torch.save(network.state_dict(), self.folder / name)
        return name

    def example(self, network, image, scaled, activation=torch.sigmoid, name="test"):
        """Save (1, C, Y, X) and what the author's network makes of it."""
        np.save(self.folder / f"{name}_in.npy", image)
        with torch.inference_mode():
            result = activation(network(torch.from_numpy(scaled.astype(np.float32))))
        np.save(self.folder / f"{name}_out.npy", result.numpy())

    def describe(self, document, name="rdf.yaml"):
        (self.folder / name).write_text(yaml.safe_dump(document, sort_keys=False))
        return self.folder

    def zip(self, path, root=""):
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(self.folder.iterdir()):
                archive.write(file, root + file.name)
        return path


ABOUT = {
    "name": "nuclei of somewhere",
    "description": "finds nuclei",
    "type": "model",
    "authors": [{"name": "Ada Author"}, {"name": "Ben Other", "affiliation": "Somewhere"}],
    "cite": [{"text": "a paper", "doi": "10.1000/182"}],
    "license": "CC-BY-4.0",
    "timestamp": "2024-05-06T07:08:09",
}


def old_format(folder, pre, post=("sigmoid",), axes="bcyx", channels=1, **weights):
    """A description in format 0.4."""
    entry = {"source": "weights.pt", "sha256": folder.sha256("weights.pt")} if not weights else None
    return {
        **ABOUT,
        "format_version": "0.4.10",
        "config": {"bioimageio": {"nickname": "brave-test"}},
        "inputs": [
            {
                "name": "raw",
                "axes": axes,
                "data_type": "float32",
                "shape": {"min": [1, channels, 32, 32], "step": [0, 0, 4, 4]},
                "preprocessing": pre,
            }
        ],
        "outputs": [
            {
                "name": "probability",
                "axes": axes,
                "data_type": "float32",
                "halo": [0, 0, 8, 8],
                "shape": {"reference_tensor": "raw", "scale": [1, 1, 1, 1], "offset": [0, 0, 0, 0]},
                "postprocessing": [{"name": name} for name in post],
            }
        ],
        "test_inputs": ["test_in.npy"],
        "test_outputs": ["test_out.npy"],
        "weights": weights
        or {
            "pytorch_state_dict": {
                **entry,
                "architecture": "unet.py:UNet2d",
                "architecture_sha256": "0" * 64,
                "kwargs": {"depth": 2},
            }
        },
    }


def new_format(folder, pre, post=("sigmoid",), channels=("membrane",), classes=("cell", "border"), **weights):
    """A description in format 0.5."""
    space = [
        {"type": "space", "id": name, "size": {"min": 32, "step": 4}, "unit": "micrometer", "scale": 0.25}
        for name in "yx"
    ]
    result = [{"type": "space", "id": name, "size": {"tensor_id": "raw", "axis_id": name}, "halo": 8} for name in "yx"]
    return {
        **ABOUT,
        "format_version": "0.5.4",
        "id": "brave-test",
        "version": "1.2",
        "inputs": [
            {
                "id": "raw",
                "axes": [{"type": "batch"}, {"type": "channel", "channel_names": list(channels)}, *space],
                "data": {"type": "float32"},
                "test_tensor": {"source": "test_in.npy", "sha256": folder.sha256("test_in.npy")},
                "preprocessing": pre,
            }
        ],
        "outputs": [
            {
                "id": "probability",
                "axes": [{"type": "batch"}, {"type": "channel", "channel_names": list(classes)}, *result],
                "test_tensor": {"source": "test_out.npy", "sha256": folder.sha256("test_out.npy")},
                "postprocessing": [{"id": name} for name in post],
            }
        ],
        "weights": weights
        or {
            "pytorch_state_dict": {
                "source": "weights.pt",
                "sha256": folder.sha256("weights.pt"),
                "pytorch_version": "2.0",
                "architecture": {"source": "unet.py", "callable": "UNet2d", "kwargs": {"depth": 2}},
            }
        },
    }
