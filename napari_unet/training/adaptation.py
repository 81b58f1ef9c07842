"""Adapt a model to images without any labels: what batch normalization remembers is estimated anew on them.

Batch normalization remembers the mean and variance of every feature over the images that a network was trained on. On
images of another kind the features have others, and the layers that follow see values that they do not know. No weight
changes here but these statistics, mixed with the old ones:

    new = N / (N + n) · old + n / (N + n) · found

with n windows that were looked at, and a prior N that says how many windows the old statistics are worth: Schneider et
al. (2020), Improving robustness against common corruptions by covariate shift adaptation,
https://arxiv.org/abs/2006.16971.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from napari_unet.axes import PixelSize
from napari_unet.errors import DeviceError, ImageError, ModelError, is_out_of_memory
from napari_unet.events import Event, Progress, finish_warning
from napari_unet.imaging.image import Image, check_channels
from napari_unet.imaging.neighbours import read_shown
from napari_unet.imaging.sampling import Cells, Region
from napari_unet.imaging.statistics import Readable, Statistics, check_input, statistics_events
from napari_unet.inference.config import Diameter, InferenceConfig
from napari_unet.inference.devices import choose_device
from napari_unet.inference.diameters import estimated_events
from napari_unet.inference.pipeline import as_config, as_image, rescale, scale_factor
from napari_unet.networks.base import Network
from napari_unet.version import VERSION
from napari_unet.weights.model import Model
from napari_unet.weights.spec import ModelSpec, changed_spec

# The least that does no harm in `benchmarks/adapting.py`.
PRIOR = 64.0
"""How many windows the statistics of the training images are worth."""
SIDE_PX = {2: 256, 3: 64}
WINDOWS = 32
MOST_TIMES = 8
BATCH_PX = 2**18
ADAPTED = ", adapted"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """An image as the network sees it, and the windows (t, (z, y, x)) of one size to look at."""

    source: Readable
    statistics: Statistics
    channels: Sequence[int]
    windows: Sequence[tuple[int, Region]]
    slices: int = 1

    def read(self, t: int, region: Region) -> Floats:
        """Read a window (S · C, Z, Y, X), normalized, each slice with its neighbours."""
        return read_shown(self.source, self.statistics, (t, *region), self.channels, self.slices)


def adapt_events(
    model: Model,
    images: Sequence[Image],
    config: InferenceConfig | None = None,
    prior: float = PRIOR,
    *,
    estimates: bool = False,
) -> Generator[Event, None, Model]:
    """Estimate anew, on images without labels, what batch normalization remembers.

    A number of windows is looked at, 32 or one of each image, evenly spread; the images are normalized and rescaled as
    for a prediction. The model given is not changed.

    Parameters
    ----------
    model : Model
    images : sequence of Image
    config : InferenceConfig, optional
        Channels, diameter and device, as for a prediction.
    prior : float
        How many windows the old statistics are worth; 0 forgets them.
    estimates : bool
        Whether the diameter is estimated for each image.

    Raises
    ------
    ModelError
        If the model has no statistics of that kind, or has not learnt anything yet.
    ImageError, ChannelError, DeviceError
        If images, channels or device do not fit.
    """
    config = config or InferenceConfig()
    check_adaptable(model)
    if not images:
        raise ImageError("There is no image to adapt the model to. Give at least one.")
    if not prior >= 0:
        raise ModelError(f"The prior is a number of windows, and {prior} was given. Choose 0 or more.")
    count = -(-WINDOWS // len(images))
    looks: list[_Look] = []
    for image in images:
        own = (yield from estimated_events(model, image, config)) if estimates else config
        look = yield from _look(model, image, own, count)
        looks.append(look)
    network = copy.deepcopy(model.network).eval().to(choose_device(config.device))
    with _estimating(network, prior) as found:
        yield from _show(network, looks, found)
    _check_finite(network)
    return Model(network.cpu(), _spec(model, looks, found.windows))


def check_adaptable(model: Model) -> None:
    """Check that a model remembers statistics of features, and of images that it has learnt from.

    Raises
    ------
    ModelError
        If it does not.
    """
    if not model.trained:
        raise ModelError(
            f'"{model.spec.name}" has not learnt anything yet, so there is nothing to adapt. Train it first.'
        )
    if not _batch_norms(model.network):
        raise ModelError(
            f'"{model.spec.name}" has no batch normalization and remembers no statistics of its images, so it cannot '
            "be adapted without labels. Use it as it is, or fine-tune it on corrections."
        )


def _batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """Layers that remember statistics."""
    return [one for one in network.modules() if isinstance(one, _BatchNorm) and one.running_mean is not None]


def _look(model: Model, image: Image, config: InferenceConfig, count: int) -> Generator[Event, None, _Look]:
    """Choose `count` windows, and find out how the image is normalized."""
    spec = model.spec
    channels = check_channels(image, config.channels)
    check_input(image.name, len(channels), spec.normalization, spec.image_channels)
    source = rescale(image, scale_factor(spec, image.pixel_size, config.diameter_px))
    windows = choose_windows(source.sizes, spec.dims, model.network.stride, count)
    times = sorted({t for t, _ in windows})
    statistics = yield from statistics_events(source, spec.normalization, channels, times)
    return _Look(source, statistics, channels, windows, spec.slices)


def choose_windows(sizes: dict[str, int], dims: int, stride: int, count: int) -> list[tuple[int, Region]]:
    """Choose windows of one size, evenly spread over time points and the image; all of a small one.

    Parameters
    ----------
    sizes : dict
        Of the image along T, Z, Y and X.
    dims : 2 | 3
        Of the network.
    stride : int
        Of the network: sides are multiples of it where the image is large enough, so that nothing is filled up.
    count : int
        About so many, at most.

    Returns
    -------
    list of (t, (z, y, x))
    """
    sides = [_side(sizes[axis], SIDE_PX[dims], stride) for axis in "ZYX"]
    if dims == 2:
        sides[0] = 1
    starts = [_starts(sizes[axis], side, 1 if side == 1 else stride) for axis, side in zip("ZYX", sides, strict=True)]
    grid = Cells((len(starts[0]), len(starts[1]), len(starts[2])), (1, 1, 1))
    cells = [[part.start for part in region] for _, region in itertools.islice(grid.spread(), count)]
    times = np.unique(np.linspace(0, sizes["T"] - 1, min(sizes["T"], MOST_TIMES, count)).round().astype(int))
    each = min(-(-count // len(times)), len(cells))
    windows = []
    for number, t in enumerate(times):
        for cell in (cells[(number * each + k) % len(cells)] for k in range(each)):
            begins = [starts[axis][cell[axis]] for axis in range(3)]
            z, y, x = (slice(start, start + side) for start, side in zip(begins, sides, strict=True))
            windows.append((int(t), (z, y, x)))
    return windows


def _side(size: int, most: int, stride: int) -> int:
    side = min(size, most)
    return side // stride * stride or side


def _starts(size: int, side: int, stride: int) -> list[int]:
    """Where windows along an axis begin that cover it but for a rest that is smaller than the stride."""
    count = max(1, -(-(size // stride * stride) // side))
    if count == 1:
        return [(size - side) // 2]
    return [round(k * (size - side) / (count - 1)) for k in range(count)]


def _show(network: Network, looks: Sequence[_Look], estimates: _Estimates) -> Generator[Event, None, None]:
    """Show the network all windows, some at a time."""
    done, total, dims = 0, sum(len(look.windows) for look in looks), network.dims
    device = next(network.parameters()).device
    for look in looks:
        pixels = prod(part.stop - part.start for part in look.windows[0][1])
        for some in _some(look.windows, max(1, BATCH_PX // pixels)):
            yield Progress("Looking at the image", done, total)
            batch = torch.from_numpy(np.stack([look.read(t, region) for t, region in some]))
            estimates.windows += len(some) * pixels / SIDE_PX[dims] ** dims
            _forward(network, (batch[:, :, 0] if dims == 2 else batch).to(device))
            done += len(some)
    yield Progress("Looking at the image", done, total)


def _some(items: Sequence[Any], count: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), count):
        yield items[start : start + count]


def _forward(network: Network, batch: Tensor) -> None:
    try:
        with torch.no_grad():
            network.on_grid(batch)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            "There is too little memory to adapt this model. Close other programs, or choose another device."
        ) from error


@dataclass(slots=True, eq=False)
class _Moments:
    """Of the features before one layer: what it remembered before, and what was seen since."""

    mean: Tensor
    variance: Tensor
    count: int = 0
    sums: Tensor | float = 0.0
    squares: Tensor | float = 0.0

    def add(self, features: Tensor) -> None:
        """Take in features (N, C, [Z,] Y, X)."""
        count = features.numel() // features.shape[1]
        found = torch.var_mean(features.float(), dim=(0, *range(2, features.ndim)), correction=0)
        variance, mean = (_exact(one) for one in found)
        self.count += count
        self.sums = self.sums + count * mean
        self.squares = self.squares + count * (variance + mean**2)

    def mixed(self, share: float) -> tuple[Tensor, Tensor]:
        """Mix mean and variance (C,) with the old ones."""
        mean = torch.as_tensor(self.sums / self.count)
        variance = torch.as_tensor(self.squares / self.count - mean**2).clamp(min=0)
        return torch.lerp(self.mean, mean, share).float(), torch.lerp(self.variance, variance, share).float()


def _exact(values: Tensor) -> Tensor:
    """Bring values to the CPU as float64, which not every device has."""
    return values.detach().to("cpu", torch.float64, copy=True)


class _Estimates:
    """Statistics of the features that a network sees, which take the place of those that it remembers.

    A layer is given its new statistics before it normalizes a batch: so the layers that follow see what they will see
    later.

    Parameters
    ----------
    prior : float
        How many windows the old statistics are worth.
    """

    def __init__(self, prior: float) -> None:
        self.prior = prior
        self.windows = 0.0
        """That were shown so far; a smaller one counts as a part."""
        self._moments: dict[nn.Module, _Moments] = {}

    def take(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Take in what comes before a layer, and give the layer its new statistics."""
        assert isinstance(layer, _BatchNorm)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        if layer not in self._moments:
            self._moments[layer] = _Moments(_exact(layer.running_mean), _exact(layer.running_var))
        moments = self._moments[layer]
        moments.add(inputs[0])
        mean, variance = moments.mixed(self.windows / (self.prior + self.windows))
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)


@contextmanager
def _estimating(network: Network, prior: float) -> Iterator[_Estimates]:
    """Let the statistics of a network follow what it is shown."""
    estimates = _Estimates(prior)
    hooks = [layer.register_forward_pre_hook(estimates.take) for layer in _batch_norms(network)]
    try:
        yield estimates
    finally:
        for hook in hooks:
            hook.remove()


def _check_finite(network: Network) -> None:
    if not all(bool(torch.isfinite(buffer).all()) for buffer in network.buffers() if buffer.is_floating_point()):
        raise ModelError(
            "The features of the image became infinite or no number, so the model cannot be adapted to it. "
            "Check the image for odd values, or use the model as it is."
        )


def _spec(model: Model, looks: Sequence[_Look], windows: float) -> ModelSpec:
    """Describe the adapted model: only its name and where it comes from differ."""
    spec, old = model.spec, model.spec.provenance
    names = ", ".join(dict.fromkeys(look.source.name for look in looks))
    said = f"Normalization statistics estimated anew, without labels, on {_counted(windows, spec.dims)} of {names}."
    provenance = old.model_copy(
        update={
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "parent_sha256": model.sha256,
            "version": VERSION,
            "notes": " ".join(filter(None, (old.notes, said))),
        }
    )
    return changed_spec(spec, name=f"{spec.name.removesuffix(ADAPTED)}{ADAPTED}", provenance=provenance)


def _counted(windows: float, dims: int) -> str:
    shape = " × ".join([str(SIDE_PX[dims])] * dims)
    return f"as many pixels as {windows:.2g} windows of {shape}"


def adapt(  # noqa: PLR0913  # as `predict`
    model: Model,
    images: Any,  # noqa: ANN401
    axes: str | None = None,
    channels: Sequence[int] | None = None,
    pixel_size: float | PixelSize | None = None,
    diameter: Diameter = None,
    device: str = "auto",
    *,
    prior: float = PRIOR,
) -> Model:
    """Adapt a model to images of another kind, without any labels.

    Of the model only the statistics that batch normalization remembers are estimated anew, on windows that are spread
    over the images, and mixed with the old ones. It may help where images differ in contrast, staining or noise from
    those that the model was trained on, and it may do harm: compare before and after.

    Parameters
    ----------
    model : Model
        It is not changed.
    images : numpy, Dask or Zarr array, or Image; or a list of them
        A list is taken together.
    axes : str, optional
        One letter a dimension, such as "TZYX" or "YXC"; YX or ZYX by default.
    channels : sequence of int, optional
        Which channels feed the model, in its order; all by default.
    pixel_size : float or PixelSize, optional
        In µm; the images are rescaled to that of the model where that is known.
    diameter : float or "auto", optional
        Of the objects, in pixels; images are rescaled to the size that the model knows. "auto" estimates it in each.
    device : str
        "auto", "cpu", "mps", "cuda" or "cuda:N".
    prior : float
        How many windows of 256 x 256 pixels (in 3D 64 x 64 x 64) the old statistics are worth; 0 forgets them.

    Returns
    -------
    Model
        The same network with other statistics; its provenance says so.

    Raises
    ------
    ModelError
        If the model has no batch normalization, or has not learnt anything yet.
    AxesError, ChannelError, ImageError, DeviceError
        If axes, channels, images or device do not fit.

    References
    ----------
    Schneider et al. (2020), Improving robustness against common corruptions by covariate shift adaptation,
    https://arxiv.org/abs/2006.16971.
    """
    several = images if isinstance(images, list | tuple) else [images]
    opened = [as_image(image, axes, pixel_size) for image in several]
    config = as_config(channels, diameter, None, device, turns="none", fast=False)
    return finish_warning(adapt_events(model, opened, config, prior, estimates=diameter == "auto"))
