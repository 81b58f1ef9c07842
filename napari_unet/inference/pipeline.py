"""Prediction: from an image to probabilities.

Read `predict_events` from top to bottom: statistics of the whole image, a plan of slabs, and for
each slab, piece by piece: read, normalize, network, probabilities, write.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from napari_unet.axes import PixelSize
from napari_unet.errors import ImageError
from napari_unet.events import Event, Notice
from napari_unet.imaging.chunk_cache import cached, is_kept_whole
from napari_unet.imaging.image import Image, check_channels, open_image
from napari_unet.imaging.rescaling import TOLERANCE, Rescaled
from napari_unet.imaging.statistics import Readable, check_input, statistics_events
from napari_unet.inference.canvas import MOST_RESCALED_PX, Grids
from napari_unet.inference.config import Diameter, InferenceConfig, Turns
from napari_unet.inference.covering import Cover, Source
from napari_unet.inference.devices import choose_device, describe_device
from napari_unet.inference.engines.base import Seam
from napari_unet.inference.engines.choosing import choose_engine, planes_at_once
from napari_unet.inference.engines.ladder import Ladder
from napari_unet.inference.exact.intervals import Interval, size_of, whole
from napari_unet.inference.exact.intervals import Window as Intervals
from napari_unet.inference.fast.preparing import FastMode, fast_events
from napari_unet.inference.fast.sampling import Places
from napari_unet.inference.outputs import new_array
from napari_unet.inference.reading_ahead import ReadingAhead
from napari_unet.inference.resuming import Circumstances, Record, Recorded
from napari_unet.inference.slabs import Order, plan_slabs
from napari_unet.inference.writing import Writer, choose_writer
from napari_unet.networks.spec import checked
from napari_unet.weights.model import Model
from napari_unet.weights.spec import ModelSpec

Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]

MAX_FACTOR = 16.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """Probabilities, and how they were made.

    Attributes
    ----------
    probabilities : (K, T, Z, Y, X) float32, or uint8 where 255 means 1
        Of the window that was asked for.
    device : str
        For people.
    exact : bool
        Whether the result equals the whole-image forward pass.
    seam : Seam, optional
        How well windows fit together, where they do not do so exactly.
    notes : tuple of str
        What the fast mode changes, and what had to be changed on the way, because memory or precision were not enough.
    """

    probabilities: Any
    device: str
    exact: bool
    seam: Seam | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What of an image is wanted, and what first.

    Attributes
    ----------
    region : (start, stop) along T, Z, Y and X, optional
        Only this window; the rest of the image still serves as context.
    visible : (start, stop) along T, Z, Y and X, optional
        What somebody looks at: it is done first.
    done : sequence of such windows
        What is in `out` already, from a run that was interrupted.
    """

    region: Window | None = None
    visible: Window | None = None
    done: Sequence[Window] = ()


def predict_events(
    model: Model,
    image: Image,
    config: InferenceConfig | None = None,
    out: Any | None = None,  # noqa: ANN401
    wish: Wish | None = None,
    record: Record | None = None,
) -> Generator[Event, None, Prediction]:
    """Predict probabilities, piece by piece.

    Parameters
    ----------
    model : Model
    image : Image
    config : InferenceConfig, optional
    out : array written as (K, T, Z, Y, X), optional
        float32, or uint8 where 255 means 1; K are the classes, or all outputs of the model. Is written piece by piece,
        the chunks of a file once each; a new numpy array of float32 for all outputs by default.
    wish : Wish, optional
        A part of the image, and the order; all of it by default.
    record : Record, optional
        Remembers what has been written to `out`, to go on if this is interrupted.

    Raises
    ------
    ChannelError, ImageError, DeviceError
        If channels, image, window or device do not fit.
    FastModeError
        If the packages of the fast mode are wanted and missing.
    ExportError
        If `out` cannot be written.
    """
    config, wish = config or InferenceConfig(), wish or Wish()
    window = _check_window(image, wish.region)
    channels = check_channels(image, config.channels)
    check_input(image.name, len(channels), model.spec.normalization, model.spec.image_channels)
    factor = scale_factor(model.spec, image.pixel_size, config.diameter_px)
    device, dims, shown = choose_device(config.device), model.spec.dims, model.spec.slices
    with cached(image, shown) as kept:
        source = rescale(kept if is_kept_whole(kept) else image, factor)
        statistics = yield from statistics_events(source, model.spec.normalization, channels, range(*window[0]))
        if out is None:
            out = new_array((len(model.spec.outputs), *size_of(window)), np.float32)
        grids = Grids(_plane(image), _plane(source))
        size = grids.network if dims == 2 else (source.sizes["Z"], *grids.network)
        ladder = Ladder.of(model, size, device, config)
        seen = Source(source, statistics, channels, dims, shown)
        places = Places(seen.read, window[0], window[1] if dims == 2 else None, size)
        if (fast := (yield from _fast_events(model, config, ladder, places, window))) is not None:
            ladder = Ladder.of(model, size, device, config, fast.network)
        known: list[Intervals] = []
        if record is not None:
            settled = config.model_copy(update={"fast": fast is not None})
            known, sentence = record.begin(Circumstances(model, image, settled, window, device.type, statistics))
            yield from [Notice(sentence)] if sentence else []
        order = _order(wish, planes_at_once(device, prod(grids.network)), known)
        slabs = plan_slabs(window, dims, order, None if grids.same else MOST_RESCALED_PX[dims])
        pixels = Source(rescale(ReadingAhead(kept, slabs, shown), factor), statistics, channels, dims, shown)
        writer: Writer = choose_writer(out, window, order.done)
        if record is not None:
            writer = Recorded(writer, record)
        yield from Cover(ladder, pixels, grids, writer, np.dtype(out.dtype) == np.uint8).run(slabs)
    if record is not None:
        record.finish()
    notes = (*([] if fast is None else [fast.change.sentence]), *ladder.notes)
    return Prediction(out, describe_device(ladder.means.device), ladder.engine.exact, ladder.engine.seam, notes)


def _fast_events(
    model: Model, config: InferenceConfig, ladder: Ladder, places: Places, window: Intervals
) -> Generator[Event, None, FastMode | None]:
    """Prepare the fast mode, if it is wanted; None where it is not to be used."""
    if not config.fast:
        return None
    exact = choose_engine(model, places.size, ladder.means)
    return (yield from fast_events(model, exact, places, prod(size_of(window))))


def _order(wish: Wish, planes: int, known: Sequence[Intervals]) -> Order:
    visible = None if wish.visible is None else _window(wish.visible)
    return Order(planes, visible, [*(_window(region) for region in wish.done), *known])


def scale_factor(spec: ModelSpec, pixel_size: PixelSize, diameter_px: float | None) -> float:
    """By how much the image must grow for its objects to have the size that the model knows.

    By the diameter of the objects where it is given, else by the pixel size where image and model
    know theirs, else not at all.

    Raises
    ------
    ImageError
        If that would be more than 16 times larger or smaller, which nobody can mean.
    """
    factor = 1.0
    if diameter_px is not None and spec.diameter_px is not None:
        factor = spec.diameter_px / diameter_px
    elif diameter_px is None and spec.pixel_size_um is not None and pixel_size.y_um is not None:
        factor = pixel_size.y_um / spec.pixel_size_um
    if not 1 / MAX_FACTOR <= factor <= MAX_FACTOR:
        raise ImageError(
            f"The image would have to be rescaled by {factor:.3g} to fit the model. Check the diameter of the objects "
            "and the pixel size, or leave them out."
        )
    return 1.0 if abs(factor - 1) < TOLERANCE else factor


def rescale(image: Readable, factor: float) -> Readable:
    """Return the image at another scale in the plane."""
    return image if factor == 1 else Rescaled(image, factor)


def _check_window(image: Image, region: Window | None) -> Intervals:
    """Return the window along T, Z, Y and X: the whole image by default."""
    sides = [image.sizes[axis] for axis in "TZYX"]
    if region is None:
        return whole(sides)
    if any(not 0 <= start < stop <= side for (start, stop), side in zip(region, sides, strict=True)):
        raise ImageError(f'The window {region} does not lie inside "{image.name}" with T, Z, Y, X = {sides}.')
    return _window(region)


def _window(region: Window) -> Intervals:
    return tuple(Interval(*part) for part in region)


def _plane(image: Readable) -> tuple[int, int]:
    return image.sizes["Y"], image.sizes["X"]


def as_image(image: Any, axes: str | None, pixel_size: float | PixelSize | None) -> Image:  # noqa: ANN401
    """Wrap an array; an `Image` is taken as it is, but for what is given explicitly."""
    size = None if pixel_size is None else as_pixel_size(pixel_size)
    if isinstance(image, Image):
        return open_image(image.array, axes or image.axes, size or image.pixel_size, image.name)
    return open_image(image, axes, size)


def as_pixel_size(size: float | PixelSize) -> PixelSize:
    """Take one number as the size in the plane."""
    return size if isinstance(size, PixelSize) else PixelSize(None, float(size), float(size))


def as_config(
    channels: Sequence[int] | None, diameter: Diameter, tile: int | None, device: str, *, turns: Turns, fast: bool
) -> InferenceConfig:
    """Check what a prediction was asked for with; a diameter that is to be estimated is left out."""
    return checked(
        InferenceConfig,
        channels=as_channels(channels),
        diameter_px=None if diameter == "auto" else diameter,
        tile=tile,
        device=device,
        turns=turns,
        fast=fast,
    )


def as_channels(channels: Sequence[int] | None) -> tuple[int, ...] | None:
    """Freeze a choice of channels."""
    return None if channels is None else tuple(channels)
