"""Statistics of whole images, and the normalization made from them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_unet.errors import ChannelError, ImageError
from napari_unet.events import Event, Notice, Progress
from napari_unet.imaging.colour import Reduction, reduce_channels
from napari_unet.imaging.config import Normalization

# Of white: a colour image with a brighter median has a bright background.
BRIGHT_SHARE = 1 / 3
# Larger time points are sampled: this many blocks of this side, evenly spread.
WHOLE_PX = 2**24
SAMPLE_BLOCKS = 64
SAMPLE_SIDE_PX = 512


class Readable(Protocol):
    """What is needed of an image: its name, its sizes and its regions."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def sizes(self) -> dict[str, int]: ...  # noqa: D102
    def read(  # noqa: D102
        self, t: int, z: slice, y: slice, x: slice, channels: Sequence[int] | None = None
    ) -> npt.NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class Statistics:
    """What normalizes an image.

    Attributes
    ----------
    low, high : (T, C) float32
        Values, after the reduction, that become 0 and 1.
    reduction : str
        How channels are reduced first; see `napari_unet.imaging.colour`.
    white : float
        Pixel value of the brightest places.
    """

    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    reduction: Reduction
    white: float

    def normalize(self, block: npt.NDArray[Any], t: int) -> npt.NDArray[np.float32]:
        """Turn a block (C, Z, Y, X) of time point `t` into network input (C', Z, Y, X).

        Pixels that are no finite number become 0, the darkest.
        """
        values = reduce_channels(block, self.reduction, self.white)
        low = self.low[t][:, None, None, None]
        span = self.high[t][:, None, None, None] - low
        scaled = np.where(span > 0, (values - low) / np.where(span > 0, span, 1), 0).astype(np.float32)
        return np.nan_to_num(scaled, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def check_input(name: str, count: int, normalization: Normalization, in_channels: int) -> None:
    """Check that `count` channels can feed a model.

    Raises
    ------
    ChannelError
        If they cannot; nothing is repeated or dropped silently.
    """
    if normalization.channels == "grey":
        if count not in (1, 3):
            raise ChannelError(
                f'The model takes one channel, or three as red, green and blue, and {count} channels of "{name}" '
                "were given. Choose which channel to use."
            )
    elif count != in_channels:
        raise ChannelError(
            f"The model takes {in_channels} channel{'s' if in_channels > 1 else ''}, and {count} "
            f'of "{name}" {"were" if count > 1 else "was"} given. Choose which channels to use, in the model\'s order.'
        )


def statistics_events(
    image: Readable, normalization: Normalization, channels: Sequence[int] | None = None
) -> Generator[Event, None, Statistics]:
    """Measure the percentiles of a whole image, per channel and time point over the whole Z stack.

    Time points of more than 16 million values are sampled by evenly spread blocks.

    Raises
    ------
    ImageError
        If a time point holds no finite value at all.
    """
    times = image.sizes["T"]
    white, reduction = 1.0, _plain(normalization)
    if normalization.polarity == "bright-objects":
        white, reduction = _brightness(image, normalization, channels)
    found = []
    for t in range(times):
        values = reduce_channels(_sample(image, t, channels), reduction, white)
        finite = np.isfinite(values)
        if not finite.all():
            yield Notice(
                f'"{image.name}" contains {int((~finite).sum()):,} pixels that are no finite number; they are '
                "treated as the darkest."
            )
        found.append([_range(image.name, channel, normalization) for channel in values])
        yield Progress("Reading the image", t + 1, times)
    low, high = np.asarray(found, dtype=np.float32).transpose(2, 0, 1)
    if (low == high).all():
        yield Notice(f'"{image.name}" is constant, so there is nothing to tell apart in it.')
    return Statistics(low, high, reduction, white)


def _plain(normalization: Normalization) -> Reduction:
    return "luminance" if normalization.channels == "grey" else "none"


def _brightness(
    image: Readable, normalization: Normalization, channels: Sequence[int] | None
) -> tuple[float, Reduction]:
    """Find the value of white, and how to make objects bright, from the first time point."""
    raw = _sample(image, 0, channels)
    brightest = raw.max(axis=0).astype(np.float32)
    finite = brightest[np.isfinite(brightest)]
    if not finite.size:
        return 1.0, _plain(normalization)
    low, median, high = np.percentile(finite, (normalization.low_percentile, 50, normalization.high_percentile))
    in_colour = len(raw) == 3
    bright = median > BRIGHT_SHARE * high if in_colour else median - low > high - median
    white = float(high) if high > 0 else 1.0
    if not bright:
        return white, _plain(normalization)
    return white, "haematoxylin" if in_colour and normalization.stain == "haematoxylin" else "inverted"


def _range(name: str, values: npt.NDArray[np.float32], normalization: Normalization) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ImageError(f'"{name}" contains not a single finite number. Choose another image or channel.')
    low, high = np.percentile(finite, (normalization.low_percentile, normalization.high_percentile))
    if low == high:  # sparse: more than 99 % of the pixels share one value
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def _sample(image: Readable, t: int, channels: Sequence[int] | None) -> npt.NDArray[Any]:
    """Values (C, n) of a time point: all of them, or those of evenly spread blocks."""
    blocks = (image.read(t, z, y, x, channels) for z, y, x in _sample_regions(image.sizes))
    return np.concatenate([block.reshape(len(block), -1) for block in blocks], axis=1)


def _sample_regions(size: dict[str, int]) -> Iterator[tuple[slice, slice, slice]]:
    z, y, x = size["Z"], size["Y"], size["X"]
    if size["C"] * z * y * x <= WHOLE_PX:
        yield slice(0, z), slice(0, y), slice(0, x)
        return
    planes = min(z, SAMPLE_BLOCKS)
    across = max(1, int(np.ceil(np.sqrt(SAMPLE_BLOCKS / planes))))
    for k in _spread(z, 1, planes):
        for i in _spread(y, SAMPLE_SIDE_PX, across):
            for j in _spread(x, SAMPLE_SIDE_PX, across):
                yield slice(k, k + 1), slice(i, i + SAMPLE_SIDE_PX), slice(j, j + SAMPLE_SIDE_PX)


def _spread(size: int, side: int, count: int) -> list[int]:
    """Find the starts of `count` windows of `side`, evenly spread over `size`."""
    return sorted({int(start) for start in np.linspace(0, max(0, size - side), count)})
