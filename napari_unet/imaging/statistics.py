"""Statistics of whole images, and the normalization made from them."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

import numpy as np
import numpy.typing as npt

from napari_unet.errors import ChannelError, ImageError
from napari_unet.events import Event, Notice, Progress
from napari_unet.imaging.colour import Reduction, reduce_channels
from napari_unet.imaging.config import Normalization

# Of white: a colour image with a brighter median has a bright background.
BRIGHT_SHARE = 1 / 3
# What normalization makes 0, for people.
ZERO = {
    "percentile": "the darkest",
    "z-score": "average",
    "dtype": "zero",
    "fixed": "the value that the model takes for zero",
}
# Larger time points are sampled: this many blocks of this side, evenly spread.
WHOLE_PX = 2**24
SAMPLE_PLANES = 32
SAMPLE_BLOCKS = 256
SAMPLE_SIDE_PX = 256


class Readable(Protocol):
    """What is needed of an image: its name, its sizes, its type and its regions."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def sizes(self) -> dict[str, int]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    def read(  # noqa: D102
        self, t: int, z: slice, y: slice, x: slice, channels: Sequence[int] | None = None
    ) -> npt.NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class Statistics:
    """What normalizes an image.

    Attributes
    ----------
    low, high : (C,) float32 of each time point
        Values, after the reduction, that become 0 and 1.
    reduction : str
        How channels are reduced first; see `napari_unet.imaging.colour`.
    white : float
        Pixel value of the brightest places.
    clip_low, clip_high : tuple of float
        Bounds of the normalized values, one for all channels or one a channel; none if empty.
    """

    low: Mapping[int, npt.NDArray[np.float32]]
    high: Mapping[int, npt.NDArray[np.float32]]
    reduction: Reduction
    white: float
    clip_low: tuple[float, ...] = ()
    clip_high: tuple[float, ...] = ()

    def normalize(self, block: npt.NDArray[Any], t: int) -> npt.NDArray[np.float32]:
        """Turn a block (C, Z, Y, X) of time point `t` into network input (C', Z, Y, X).

        Pixels that are no finite number become 0.
        """
        values = reduce_channels(block, self.reduction, self.white)
        low = self.low[t][:, None, None, None]
        span = self.high[t][:, None, None, None] - low
        scaled = np.where(span != 0, (values - low) / np.where(span != 0, span, 1), 0).astype(np.float32)
        np.nan_to_num(scaled, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        if self.clip_low:
            np.maximum(scaled, _column(self.clip_low), out=scaled)
        if self.clip_high:
            np.minimum(scaled, _column(self.clip_high), out=scaled)
        return scaled


def _column(values: tuple[float, ...]) -> npt.NDArray[np.float32]:
    """One value a channel, or one for all, to go with (C, Z, Y, X)."""
    return np.array(values, np.float32)[:, None, None, None]


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
    image: Readable,
    normalization: Normalization,
    channels: Sequence[int] | None = None,
    times: Sequence[int] | None = None,
) -> Generator[Event, None, Statistics]:
    """Find what becomes 0 and 1: of a whole image, per channel and time point over the whole Z stack.

    Time points of more than 16 million values are sampled by evenly spread blocks.

    Parameters
    ----------
    image : Image
    normalization : Normalization
    channels : sequence of int, optional
        Those that feed the model; all by default.
    times : sequence of int, optional
        The time points that are needed; all by default.

    Raises
    ------
    ImageError
        If a time point holds no finite value at all.
    ChannelError
        If the model says how to normalize another number of channels.
    """
    wanted = range(image.sizes["T"]) if times is None else times
    white, reduction = 1.0, _plain(normalization)
    if normalization.polarity == "bright-objects":
        white, reduction = _brightness(image, normalization, channels)
    low, high, constant = {}, {}, True
    for number, t in enumerate(wanted, start=1):
        values = reduce_channels(_sample(image, t, channels), reduction, white)
        unknown = int((~np.isfinite(values)).sum())
        if unknown:
            yield Notice(
                f'"{image.name}" contains {unknown:,} pixels that are no finite number; they are '
                f"treated as {ZERO[normalization.method]}."
            )
        finite = _finite(image.name, values)
        low[t], high[t] = _bounds(finite, image.dtype, normalization)
        constant = constant and all(channel.min() == channel.max() for channel in finite)
        yield Progress("Reading the image", number, len(wanted))
    if constant:
        yield Notice(f'"{image.name}" is constant, so there is nothing to tell apart in it.')
    return Statistics(low, high, reduction, white, normalization.clip_low, normalization.clip_high)


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


def _finite(name: str, values: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Finite values of each channel of (C, n)."""
    finite = [channel[np.isfinite(channel)] for channel in values]
    if not all(channel.size for channel in finite):
        raise ImageError(f'"{name}" contains not a single finite number. Choose another image or channel.')
    return finite


def _bounds(
    channels: Sequence[npt.NDArray[np.float32]], dtype: np.dtype[Any], normalization: Normalization
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Values (C,) that become 0 and 1, of the finite values of each channel."""
    given = {len(normalization.low), len(normalization.clip_low), len(normalization.clip_high)} - {0, 1, len(channels)}
    if given:
        raise ChannelError(
            f"The model says how to normalize {given.pop()} channels, and {len(channels)} were given. "
            "Choose which channels to use, in the model's order."
        )
    shared = not normalization.per_channel and len(channels) > 1
    measured = [np.concatenate(channels)] if shared else channels
    pairs = [_range(values, dtype, normalization) for values in measured] * (len(channels) if shared else 1)
    if normalization.method == "fixed":
        repeats = len(channels) if len(normalization.low) == 1 else 1
        pairs = list(zip(normalization.low, normalization.high, strict=True)) * repeats
    low, high = np.array(pairs, np.float32).T
    return low, high + np.float32(normalization.eps)


def _range(values: npt.NDArray[np.float32], dtype: np.dtype[Any], normalization: Normalization) -> tuple[float, float]:
    """Find which values become 0 and 1 by looking at them, or at their type."""
    match normalization.method:
        case "percentile":
            low, high = np.percentile(values, (normalization.low_percentile, normalization.high_percentile))
            if low == high:  # sparse: more than 99 % of the pixels share one value
                low, high = values.min(), values.max()
            return float(low), float(high)
        case "z-score":
            mean = float(values.mean(dtype=np.float64))
            return mean, mean + float(values.std(dtype=np.float64))
        case "dtype":
            return 0.0, float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
        case "fixed":
            return 0.0, 1.0
        case _:
            assert_never(normalization.method)


def _sample(image: Readable, t: int, channels: Sequence[int] | None) -> npt.NDArray[Any]:
    """Values (C, n) of a time point: all of them, or those of evenly spread blocks."""
    blocks = (image.read(t, z, y, x, channels) for z, y, x in _sample_regions(image.sizes))
    return np.concatenate([block.reshape(len(block), -1) for block in blocks], axis=1)


def _sample_regions(size: dict[str, int]) -> Iterator[tuple[slice, slice, slice]]:
    z, y, x = size["Z"], size["Y"], size["X"]
    if size["C"] * z * y * x <= WHOLE_PX:
        yield slice(0, z), slice(0, y), slice(0, x)
        return
    planes = min(z, SAMPLE_PLANES)
    across = max(2, math.ceil(math.sqrt(SAMPLE_BLOCKS / planes)))
    for number, k in enumerate(_spread(z, 1, planes)):
        # Each plane is looked at in other places, so that together they leave no part unseen.
        shift = (number % across) / across
        for i in _spread(y, SAMPLE_SIDE_PX, across, shift):
            for j in _spread(x, SAMPLE_SIDE_PX, across, shift):
                yield slice(k, k + 1), slice(i, min(y, i + SAMPLE_SIDE_PX)), slice(j, min(x, j + SAMPLE_SIDE_PX))


def _spread(size: int, side: int, count: int, shift: float = 0.5) -> list[int]:
    """Find the starts of windows of `side`, one in each of `count` equal parts, at `shift` of the part."""
    part = size / count
    return sorted({int(np.clip((i + shift) * part - side * shift, 0, max(0, size - side))) for i in range(count)})
