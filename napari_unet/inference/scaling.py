"""Which normalization of an image suits weights that do not say.

Batch normalization remembers the mean and variance of every feature over the images that a network
was trained on. An image that is scaled as those were gives features with about those statistics.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_unet.events import Event, Progress, finish_warning
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.image import Image, check_channels
from napari_unet.imaging.neighbours import read_shown
from napari_unet.imaging.sampling import Region
from napari_unet.imaging.statistics import check_input, statistics_events
from napari_unet.inference.pipeline import as_channels, as_image
from napari_unet.weights.model import Model

BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
# Side of the windows that are looked at, and how many of them.
SIDE_PX = {2: 256, 3: 64}
WINDOWS = 4
# The best must be so much nearer than the present one to be proposed, and the present one so far off.
DECISIVE = 0.5
FAR = 0.3
PRESENT = "as the model says"
CANDIDATES: Mapping[str, dict[str, Any]] = {
    "divided by the largest value of the image's type": {"method": "dtype"},
    "from percentile 1 to 99.8": {"method": "percentile"},
    "from minimum to maximum": {"method": "percentile", "low_percentile": 0.0, "high_percentile": 100.0},
    "mean 0 and standard deviation 1": {"method": "z-score"},
    "as it is": {"method": "fixed", "low": (0.0,), "high": (1.0,)},
}


@dataclass(frozen=True, slots=True)
class Scaling:
    """How well normalizations suit a model and an image.

    Attributes
    ----------
    distances : dict
        Of each candidate, in words: mean Kullback-Leibler divergence between the features of the image and
        those that the model remembers; 0 is perfect.
    best : str
        The nearest one.
    normalization : Normalization
        That one.
    decisive : bool
        Whether it is so much nearer than what the model says itself that it should be used.
    """

    distances: Mapping[str, float]
    best: str
    normalization: Normalization
    decisive: bool

    @property
    def present(self) -> float:
        """Distance of what the model says itself."""
        return self.distances[PRESENT]


def scaling_events(
    model: Model, image: Image, channels: tuple[int, ...] | None = None
) -> Generator[Event, None, Scaling | None]:
    """Compare how an image may be scaled by what the model remembers of its training.

    Parameters
    ----------
    model : Model
    image : Image
    channels : tuple of int, optional
        Which channels of the image feed the model.

    Returns
    -------
    Scaling or None
        None if the network has no batch normalization to tell by.

    Raises
    ------
    ChannelError
        If the channels do not fit.
    """
    if not any(isinstance(module, BATCH_NORMS) for module in model.network.modules()):
        return None
    chosen = check_channels(image, channels)
    present = model.spec.normalization
    check_input(image.name, len(chosen), present, model.spec.image_channels)
    normalizations = {
        PRESENT: present,
        **{words: _changed(present, how) for words, how in CANDIDATES.items()},
    }
    distances: dict[str, float] = {}
    for number, (words, normalization) in enumerate(normalizations.items(), start=1):
        statistics = yield from statistics_events(image, normalization, chosen, [0])
        windows = _windows(image.sizes, model.spec.dims)
        blocks = [read_shown(image, statistics, (0, *region), chosen, model.spec.slices) for region in windows]
        distances[words] = feature_distance(model, blocks)
        yield Progress("Comparing normalizations", number, len(normalizations))
    best = min(distances, key=lambda words: distances[words])
    here = distances[PRESENT]
    decisive = here > FAR and distances[best] < DECISIVE * here
    return Scaling(distances, best, normalizations[best], decisive)


def _changed(present: Normalization, how: Mapping[str, Any]) -> Normalization:
    """Return a candidate that reduces channels as the present one does."""
    kept = {"channels": present.channels, "polarity": present.polarity}
    return Normalization(**kept, **how)


def _windows(sizes: Mapping[str, int], dims: int) -> Iterator[Region]:
    """Windows along Z, Y and X, spread over a diagonal of the image."""
    side = SIDE_PX[dims]
    depth = sizes["Z"] if dims == 3 else 1
    for k in range(WINDOWS):
        share = (k + 0.5) / WINDOWS
        sides = {"Z": min(depth, side), "Y": side, "X": side}
        z, y, x = (_window(sizes[axis], sides[axis], share) for axis in "ZYX")
        yield z, y, x


def _window(size: int, side: int, share: float) -> slice:
    start = int(max(0, size - side) * share)
    return slice(start, min(size, start + side))


def feature_distance(model: Model, blocks: list[npt.NDArray[np.float32]]) -> float:
    """Mean divergence between features and what batch normalization remembers of them.

    Parameters
    ----------
    model : Model
    blocks : list of (C, Z, Y, X) float32
        Normalized.
    """
    network = model.network.eval()
    device = next(network.parameters()).device
    found: list[float] = []
    with _listening(network, found), torch.inference_mode():
        for block in blocks:
            values = torch.from_numpy(block)[None].to(device)
            network.on_grid(values[:, :, 0] if model.spec.dims == 2 else values)
    return float(np.mean(found)) if found else float("nan")


@contextmanager
def _listening(network: nn.Module, found: list[float]) -> Iterator[None]:
    """Note the divergence at each batch normalization of every forward pass."""

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, BATCH_NORMS)
        if layer.running_mean is not None and layer.running_var is not None:
            found.append(_divergence(inputs[0], layer.running_mean, layer.running_var, layer.eps))

    hooks = [module.register_forward_pre_hook(note) for module in network.modules() if isinstance(module, BATCH_NORMS)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _divergence(features: Tensor, mean: Tensor, variance: Tensor, eps: float) -> float:
    """Median over channels of KL(N(features) || N(mean, variance)).

    A median, because a few channels that never fired in training have hardly any variance.
    """
    axes = (0, *range(2, features.ndim))
    here_mean, here_variance = features.float().mean(dim=axes), features.float().var(dim=axes) + eps
    there = variance + eps
    kl = 0.5 * (torch.log(there / here_variance) + (here_variance + (here_mean - mean) ** 2) / there - 1)
    return float(kl.median())


def suggest_normalization(
    model: Model,
    image: Any,  # noqa: ANN401
    axes: str | None = None,
    channels: Sequence[int] | None = None,
) -> Scaling | None:
    """Compare how an image may be scaled for weights whose author did not say.

    Parameters
    ----------
    model : Model
    image : numpy, Dask or Zarr array, or Image
    axes : str, optional
        One letter a dimension, such as "TZYX" or "YXC"; YX or ZYX by default.
    channels : sequence of int, optional
        Which channels feed the model; all by default.

    Returns
    -------
    Scaling or None
        Use ``model.with_spec(normalization=scaling.normalization)`` to take its advice. None if the network
        has no batch normalization to tell by.

    Raises
    ------
    AxesError, ChannelError, ImageError
        If axes, channels or image do not fit.
    """
    return finish_warning(scaling_events(model, as_image(image, axes, None), as_channels(channels)))
