"""Statistics of whole images, and the normalization made from them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from napari_unet.errors import ChannelError, ImageError
from napari_unet.events import Event, Notice, Progress
from napari_unet.imaging.colour import Reduction, reduce_channels
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.distributions import Distribution, Sampled
from napari_unet.imaging.gathering import Gathered, Look, Readable, gather

__all__ = ["Readable", "Statistics", "check_input", "statistics_events"]

# Of white: a colour image with a brighter median has a bright background.
BRIGHT_SHARE = 1 / 3
# What normalization makes 0, for people.
ZERO = {
    "percentile": "the darkest",
    "z-score": "average",
    "dtype": "zero",
    "fixed": "the value that the model takes for zero",
}
# A sample is enlarged where the values that become 0 and 1 may be wrong by more of their distance.
TOLERANCE = 0.02
# Pixels that are normalized in one go.
AT_ONCE_PX = 2**16
# From here on no 64-bit integer divided by it is infinite.
SMALLEST_SPAN = 1e-18


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
    error : float
        By how much of their distance `low` and `high` may differ from those of the whole image (in 19 of 20 cases);
        0 where the whole image was looked at.
    """

    low: Mapping[int, npt.NDArray[np.float32]]
    high: Mapping[int, npt.NDArray[np.float32]]
    reduction: Reduction
    white: float
    clip_low: tuple[float, ...] = ()
    clip_high: tuple[float, ...] = ()
    error: float = 0.0

    def normalize(self, block: npt.NDArray[Any], t: int) -> npt.NDArray[np.float32]:
        """Turn a block (C, Z, Y, X) of time point `t` into network input (C', Z, Y, X).

        Pixels that are no finite number become 0.
        """
        channels = len(block) if self.reduction == "none" else 1
        normalized = np.empty((channels, *block.shape[1:]), np.float32)
        rows = max(1, AT_ONCE_PX // max(1, block.shape[3]))
        # All steps on few rows, which stay in the processor's cache.
        for z in range(block.shape[1]):
            for y in range(0, block.shape[2], rows):
                self._normalize(block[:, z, y : y + rows], t, normalized[:, z, y : y + rows])
        return normalized

    def _normalize(self, block: npt.NDArray[Any], t: int, out: npt.NDArray[np.float32]) -> None:
        """Write a normalized block (C, Y, X) to `out` (C', Y, X)."""
        values = block if self.reduction == "none" else reduce_channels(block, self.reduction, self.white)
        for number, (channel, to) in enumerate(zip(values, out, strict=True)):
            low = self.low[t][number]
            span = self.high[t][number] - low
            if span == 0:
                to[...] = 0
            else:
                np.subtract(channel, low, out=to, dtype=np.float32, casting="same_kind")
                np.divide(to, span, out=to)
                # integers give no other number, unless their distance is hardly one
                if block.dtype.kind == "f" or abs(span) < SMALLEST_SPAN:
                    np.copyto(to, 0, where=~np.isfinite(to))
            if self.clip_low:
                np.maximum(to, _of_channel(self.clip_low, number), out=to)
            if self.clip_high:
                np.minimum(to, _of_channel(self.clip_high, number), out=to)


def _of_channel(values: tuple[float, ...], number: int) -> np.float32:
    """Return the value of a channel: its own, or the one that all have."""
    return np.float32(values[number if len(values) > 1 else 0])


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

    Time points of more than 16 million values are sampled by evenly spread cells, unless they are in memory and their
    values can be counted (integers of 8 and 16 bits). A sample that may be too far off is enlarged, twice.

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
    look = _look(image, channels, reduction, white)
    low, high, constant = {}, {}, True
    doubt, share = 0.0, 1.0
    for number, t in enumerate(wanted, start=1):
        for gathered in gather(look, t):
            alike = _check_finite(image.name, gathered)
            low[t], high[t], error = _bounds(gathered, look.outputs, image.dtype, normalization)
            if error <= TOLERANCE:
                break
        if gathered.unknown:
            yield _unknown(image.name, gathered, normalization)
        constant = constant and alike
        doubt, share = max(doubt, error), min(share, gathered.share)
        yield Progress("Reading the image", number, len(wanted))
    if constant:
        yield Notice(f'"{image.name}" is constant, so there is nothing to tell apart in it.')
    if doubt > TOLERANCE:
        yield Notice(
            f'The brightness of "{image.name}" was estimated from {100 * share:.2g} % of its pixels, '
            f"to within {100 * doubt:.0f} % of its range."
        )
    return Statistics(low, high, reduction, white, normalization.clip_low, normalization.clip_high, doubt)


def _look(image: Readable, channels: Sequence[int] | None, reduction: Reduction, white: float) -> Look:
    inputs = image.sizes["C"] if channels is None else len(channels)
    plain = reduction == "none"
    reduce = partial(reduce_channels, reduction=reduction, white=white)
    return Look(image, channels, reduce, inputs if plain else 1, plain or inputs == 1)


def _unknown(name: str, gathered: Gathered, normalization: Normalization) -> Notice:
    return Notice(
        f'"{name}" contains {"at least " if gathered.share < 1 else ""}{gathered.unknown:,} pixels that are no finite '
        f"number; they are treated as {ZERO[normalization.method]}."
    )


def _plain(normalization: Normalization) -> Reduction:
    return "luminance" if normalization.channels == "grey" else "none"


def _brightness(
    image: Readable, normalization: Normalization, channels: Sequence[int] | None
) -> tuple[float, Reduction]:
    """Find the value of white, and how to make objects bright, from the first time point."""
    inputs = image.sizes["C"] if channels is None else len(channels)
    look = Look(image, channels, lambda block: block.max(axis=0, keepdims=True).astype(np.float32), 1, inputs == 1)
    (brightest,) = next(gather(look, 0)).distributions(False)
    if not brightest.size:
        return 1.0, _plain(normalization)
    low, median, high = brightest.percentiles(normalization.low_percentile, 50, normalization.high_percentile)
    in_colour = inputs == 3
    bright = median > BRIGHT_SHARE * high if in_colour else median - low > high - median
    white = high if high > 0 else 1.0
    if not bright:
        return white, _plain(normalization)
    return white, "haematoxylin" if in_colour and normalization.stain == "haematoxylin" else "inverted"


def _check_finite(name: str, gathered: Gathered) -> bool:
    """Check that there is something in each channel, and return whether each is constant."""
    channels = gathered.distributions(False)
    if not all(channel.size for channel in channels):
        raise ImageError(f'"{name}" contains not a single finite number. Choose another image or channel.')
    return all(smallest == largest for smallest, largest in (channel.extremes() for channel in channels))


def _bounds(
    gathered: Gathered, count: int, dtype: np.dtype[Any], normalization: Normalization
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], float]:
    """Values (C,) that become 0 and 1, and by how much of their distance they may be wrong."""
    given = {len(normalization.low), len(normalization.clip_low), len(normalization.clip_high)} - {0, 1, count}
    if given:
        raise ChannelError(
            f"The model says how to normalize {given.pop()} channels, and {count} were given. "
            "Choose which channels to use, in the model's order."
        )
    shared = not normalization.per_channel and count > 1
    measured = gathered.distributions(shared)
    pairs = [_range(values, dtype, normalization) for values in measured] * (count if shared else 1)
    if normalization.method == "fixed":
        repeats = count if len(normalization.low) == 1 else 1
        pairs = list(zip(normalization.low, normalization.high, strict=True)) * repeats
    errors = (_error(values, pair, normalization) for values, pair in zip(measured, pairs, strict=False))
    low, high = np.array(pairs, np.float32).T
    return low, high + np.float32(normalization.eps), max(errors)


def _range(values: Distribution, dtype: np.dtype[Any], normalization: Normalization) -> tuple[float, float]:
    """Find which values become 0 and 1 by looking at them, or at their type."""
    match normalization.method:
        case "percentile":
            low, high = values.percentiles(normalization.low_percentile, normalization.high_percentile)
            # sparse where they are equal: more than 99 % of the pixels share one value
            return (low, high) if low != high else values.extremes()
        case "z-score":
            mean, deviation = values.moments()
            return mean, mean + deviation
        case "dtype":
            return 0.0, float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
        case "fixed":
            return 0.0, 1.0
        case _:
            assert_never(normalization.method)


def _error(values: Distribution, found: tuple[float, float], normalization: Normalization) -> float:
    """By how much of their distance the values that were found may be wrong."""
    low, high = found
    if not isinstance(values, Sampled) or low == high or normalization.method in {"dtype", "fixed"}:
        return 0.0
    if normalization.method == "z-score":
        errors = values.errors_of_moments()
    elif found == values.extremes():
        errors = values.errors_of_extremes()
    else:
        percents = (normalization.low_percentile, normalization.high_percentile)
        errors = values.error_of_percentile(percents[0]), values.error_of_percentile(percents[1])
    return max(errors) / (high - low)
