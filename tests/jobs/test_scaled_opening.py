"""Weights are opened with the scaling of images that they remember."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_unet.events import finish
from napari_unet.imaging.image import open_image
from napari_unet.imaging.synthetic import nuclei_stack
from napari_unet.jobs.opening import open_events
from napari_unet.jobs.requests import OpenRequest


class Double(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        conv = [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
        again = [nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
        self.double_conv = nn.Sequential(*conv, *again)

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), Double(i, o))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.up, self.conv = nn.ConvTranspose2d(i, o, 2, 2), Double(i, o)

    def forward(self, x, skip):
        return self.conv(torch.cat([skip, self.up(x)], 1))


class Out(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv = nn.Conv2d(i, o, 1)

    def forward(self, x):
        return self.conv(x)


class Milesial(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.inc, self.outc = Double(1, width), Out(width, 2)
        for n in range(4):
            setattr(self, f"down{n + 1}", Down(width * 2**n, width * 2 ** (n + 1)))
            setattr(self, f"up{4 - n}", Up(width * 2 ** (n + 1), width * 2**n))

    def forward(self, x):
        skips = [self.inc(x)]
        for n in range(1, 5):
            skips.append(getattr(self, f"down{n}")(skips[-1]))
        x = skips.pop()
        for n in range(1, 5):
            x = getattr(self, f"up{n}")(x, skips.pop())
        return self.outc(x)


@pytest.fixture
def image():
    plane = nuclei_stack((2, 128, 128), seed=1).image[1].astype(float)
    return open_image((plane / plane.max() * 60_000).astype(np.uint16), "YX", name="cells")


def trained_on(path, inputs):
    """Save a network whose batch normalization has seen `inputs`."""
    torch.manual_seed(0)
    network = Milesial().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(torch.from_numpy(inputs.astype(np.float32))[None, None])
    torch.save(network.state_dict(), path)
    return path


def opened(path, tmp_path, image):
    return finish(open_events(OpenRequest(source=str(path), folder=str(tmp_path / "opened")), image))


def test_weights_that_remember_another_scaling_are_opened_with_it(tmp_path, image):
    pixels = np.asarray(image.array)
    path = trained_on(tmp_path / "standardized.pth", (pixels - pixels.mean()) / pixels.std())
    alone = opened(path, tmp_path, None)
    assert alone.spec.normalization.method == "dtype"
    result = opened(path, tmp_path, image)
    assert result.spec.normalization.method == "z-score"
    assert "“cells”" in result.report.notes[-1]
    assert "standard deviation 1" in result.report.notes[-1]


def test_what_the_author_does_stays_where_it_suits(tmp_path, image):
    path = trained_on(tmp_path / "divided.pth", np.asarray(image.array) / 65535)
    result = opened(path, tmp_path, image)
    assert result.spec.normalization.method == "dtype"
    assert not any("ways to scale" in note for note in result.report.notes)


def test_an_image_with_other_channels_tells_nothing(tmp_path, image):
    path = trained_on(tmp_path / "divided.pth", np.asarray(image.array) / 65535)
    colour = open_image(np.zeros((32, 32, 3), np.uint8), "YXC", name="colour")
    assert opened(path, tmp_path, colour).spec.normalization.method == "dtype"
