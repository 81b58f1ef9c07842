"""Each kind of layer, on its own and with odd geometry, against PyTorch on the whole image."""

import pytest
import torch
from exact_cases import Reader, at, some_windows
from torch import nn
from torch.nn import functional as F

from napari_unet.inference.exact.executor import compute
from napari_unet.inference.exact.folding import fold
from napari_unet.inference.exact.streaming import stream
from napari_unet.inference.exact.tracing import NotLocalError, UntraceableError, trace


class Layers(nn.Module):
    """What `trace` wants to know of a network, around any function."""

    def __init__(self, function, dims=2):
        super().__init__()
        torch.manual_seed(0)
        self.layers = function()
        # Its kind of number is that of the image.
        self.nothing = nn.Parameter(torch.zeros(()))
        self.in_channels, self.dims = 4, dims
        self.double().eval()

    def on_grid(self, image):
        return self.layers(image)


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def sigmoid_of_sum(x):
    return torch.sigmoid(x + 2 * F.avg_pool2d(x, 3, 1, 1)) * x[:, :1]


def in_place(x):
    y = x * 1
    z = F.relu(y)
    y.mul_(2).add_(1)
    return y - z


LAYERS = {
    "convolution 5, stride 3, padding 1": lambda: nn.Conv2d(4, 6, 5, 3, 1),
    "convolution 3, dilation 4": lambda: nn.Conv2d(4, 6, 3, padding=4, dilation=4),
    "convolution 4 x 3, stride 2 x 1, groups": lambda: nn.Conv2d(4, 4, (4, 3), (2, 1), (1, 0), groups=2),
    "convolution 7 behind uneven zeros": lambda: nn.Sequential(nn.ZeroPad2d((3, 2, 1, 4)), nn.Conv2d(4, 4, 7, 2)),
    "normalized, then unpadded": lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)),
    "transposed 2, stride 2": lambda: nn.ConvTranspose2d(4, 3, 2, 2),
    "transposed 3, stride 2, centred": lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1, 1),
    "transposed 4, stride 2": lambda: nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=2),
    "transposed 5, stride 3, dilated": lambda: nn.ConvTranspose2d(4, 3, 3, 3, 1, 2, dilation=2),
    "maximum 3, stride 2, padding 1": lambda: nn.MaxPool2d(3, 2, 1),
    "maximum 2, incomplete": lambda: nn.MaxPool2d(2, ceil_mode=True),
    "maximum 3, incomplete, padding": lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "mean 3, padding counts": lambda: nn.AvgPool2d(3, 2, 1),
    "mean 3, padding does not": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "mean 2, incomplete": lambda: nn.AvgPool2d(2, ceil_mode=True),
    "nearest 3": lambda: nn.Upsample(scale_factor=3.0, mode="nearest"),
    "nearest to a size": lambda: nn.Upsample(size=(50, 71), mode="nearest"),
    "nearest to a smaller size": lambda: nn.Upsample(size=(17, 20), mode="nearest"),
    "linear 2": lambda: nn.Upsample(scale_factor=2.0, mode="bilinear"),
    "linear 3": lambda: nn.Upsample(scale_factor=3.0, mode="bilinear"),
    "linear 2, corners": lambda: nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True),
    "linear to a size": lambda: nn.Upsample(size=(61, 30), mode="bilinear"),
    "linear to a size, corners": lambda: nn.Upsample(size=(40, 90), mode="bilinear", align_corners=True),
    "mirrored": lambda: nn.ReflectionPad2d((5, 9, 7, 2)),
    "repeated border": lambda: nn.ReplicationPad2d((5, 9, 7, 2)),
    "ones around": lambda: nn.ConstantPad2d((5, 9, 7, 2), 1.0),
    "zeros, some cut off": lambda: nn.ConstantPad2d((-2, 3, 4, -5), 0.0),
    "every other pixel": lambda: Of(lambda x: x[:, 1:3, 1::2, ::3]),
    "pixels from channels": lambda: nn.PixelShuffle(2),
    "gate": lambda: Of(sigmoid_of_sum),
    "softmax over channels": lambda: Of(lambda x: x.softmax(1)),
    "mean of branches": lambda: Of(lambda x: torch.stack([x, 2 * x, F.gelu(x)]).mean(0)),
    "channel norm": lambda: Of(lambda x: F.gelu(F.layer_norm(x.movedim(1, -1), (4,))).movedim(-1, 1)),
    "in place": lambda: Of(in_place),
    "joined": lambda: Of(lambda x: torch.cat([x, F.pad(F.max_pool2d(x, 3, 1), (1, 1, 1, 1))], 1)),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_layer(layer):
    network = Layers(layer)
    image = torch.randn((1, 4, 23, 34), dtype=torch.float64)
    with torch.inference_mode():
        whole = network.on_grid(image)
    for graph in (trace(network, (23, 34)), fold(trace(network, (23, 34)))):
        assert graph.size == tuple(whole.shape[2:])
        for window in some_windows(graph.size, seed=0, count=8):
            assert torch.allclose(compute(graph, Reader(image), window), at(whole, window), atol=1e-12)
        for axis, rows in ((0, 3), (0, 8), (1, 5)):
            strips = [logits for _, logits in stream(graph, Reader(image), rows=rows, axis=axis)]
            assert torch.allclose(torch.cat(strips, 2 + axis), whole, atol=1e-12)


VOLUME_LAYERS = {
    "convolution": lambda: nn.Conv3d(4, 3, (1, 3, 5), (1, 2, 1), (0, 1, 2)),
    "transposed": lambda: nn.ConvTranspose3d(4, 3, (1, 2, 2), (1, 2, 2)),
    "maximum": lambda: nn.MaxPool3d((1, 2, 2), ceil_mode=True),
    "mean": lambda: nn.AvgPool3d(3, 2, 1),
    "nearest": lambda: nn.Upsample(size=(9, 14, 20), mode="nearest"),
    "linear": lambda: nn.Upsample(scale_factor=2.0, mode="trilinear"),
    "linear, corners": lambda: nn.Upsample(size=(9, 14, 20), mode="trilinear", align_corners=True),
    "repeated border": lambda: nn.ReplicationPad3d((1, 2, 3, 4, 5, 6)),
}


@pytest.mark.parametrize("layer", VOLUME_LAYERS.values(), ids=VOLUME_LAYERS)
def test_layer_of_volumes(layer):
    network = Layers(layer, dims=3)
    image = torch.randn((1, 4, 7, 11, 13), dtype=torch.float64)
    with torch.inference_mode():
        whole = network.on_grid(image)
    graph = trace(network, (7, 11, 13))
    for window in some_windows(graph.size, seed=0, count=6):
        assert torch.allclose(compute(graph, Reader(image), window), at(whole, window), atol=1e-12)
    for axis in range(3):
        strips = [logits for _, logits in stream(graph, Reader(image), rows=4, axis=axis)]
        assert torch.allclose(torch.cat(strips, 2 + axis), whole, atol=1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.InstanceNorm2d(4, affine=True),
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.AdaptiveAvgPool2d(1),
        lambda: nn.LayerNorm((23, 34)),
        lambda: Of(lambda x: x * x.mean((2, 3), keepdim=True)),
        lambda: Of(lambda x: x.softmax(-1)),
    ],
)
def test_layers_that_see_the_whole_image_say_so(layer):
    with pytest.raises(NotLocalError):
        trace(Layers(layer), (23, 34))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: Of(lambda x: torch.fft.fft2(x).real),
        lambda: Of(lambda x: x.flip(-1)),
        lambda: Of(lambda x: x.transpose(2, 3)),
        lambda: Of(lambda x: x + torch.arange(34.0)),
        lambda: Of(lambda x: x[:, :, :-1].relu_()),
        lambda: Of(lambda x: torch.cat([x, x], 2)),
        lambda: Of(lambda x: x.reshape(1, 4, 34, 23)),
    ],
)
def test_what_is_not_understood_is_not_traced(layer):
    with pytest.raises(UntraceableError):
        trace(Layers(layer), (23, 34))


def test_weights_stay_as_they_are():
    network = Layers(lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    graph = fold(trace(network, (9, 9)))
    compute(graph, Reader(torch.randn((1, 4, 9, 9), dtype=torch.float64)), graph.everything)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert len(graph.nodes) == 2
