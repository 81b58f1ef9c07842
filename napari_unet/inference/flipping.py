"""How stable the network's answer is: fields of an image are flipped, predicted, and the answers compared.

This needs no prediction of the whole image, and tells where the network is unsure without knowing that it is.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import ModelError
from napari_unet.events import Event, Progress
from napari_unet.imaging.image import Image, check_channels
from napari_unet.imaging.statistics import check_input, statistics_events
from napari_unet.inference.canvas import Grids
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.covering import Source
from napari_unet.inference.devices import choose_device
from napari_unet.inference.engines.turned import turns_of
from napari_unet.inference.exact.intervals import Interval, Window, size_of, view
from napari_unet.inference.pipeline import Window as Field
from napari_unet.inference.pipeline import rescale, scale_factor
from napari_unet.inference.running import Runner
from napari_unet.objects.reviewing import instability_of
from napari_unet.weights.model import Model

# What is read around a field along Z, Y and X, on the network's grid: enough to see what is cut by its edge.
AROUND_PX = (8, 16, 16)
STAGE = "Flipping fields"


@dataclass(frozen=True, slots=True)
class _Flips:
    """Runs the network on fields and on their flipped versions.

    Attributes
    ----------
    runner : Runner
    source : Source
    grids : Grids
    """

    runner: Runner
    source: Source
    grids: Grids

    def answers(self, field: Field) -> Generator[npt.NDArray[np.float32], None, None]:
        """Yield the probabilities (K, ...) of a field, (start, stop) along T, Z, Y and X, one version at a time."""
        (t, _), z, y, x = field
        window = (Interval(*z), *self.grids.on_network((Interval(*y), Interval(*x))))
        read = self._around(window)
        pixels = self.source.read(t, read, self.runner.device)
        wanted, given = (window, read) if self.source.dims == 3 else (window[1:], read[1:])
        for turn in turns_of("flips", size_of(given)):
            logits = self.runner.logits(turn.pixels(pixels))
            found = turn.pixels_back(self.runner.probabilities(logits))
            yield self._classes(view(found, given, wanted)[0].cpu().numpy())

    def _classes(self, answer: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return a probability for each class, where there is none of the background also for that."""
        spec = self.runner.model.spec
        if spec.activation != "sigmoid":
            return answer[: len(spec.classes)]
        return np.concatenate([1 - answer.max(axis=0, keepdims=True), answer])

    def _around(self, window: Window) -> Window:
        """Widen a window, as far as the image reaches; a 2D network sees one slice only."""
        sizes = self.source.image.sizes
        margins = AROUND_PX if self.source.dims == 3 else (0, *AROUND_PX[1:])
        return tuple(
            Interval(part.start - margin, part.stop + margin).within(sizes[axis])
            for axis, part, margin in zip("ZYX", window, margins, strict=True)
        )


def flip_events(
    model: Model,
    image: Image,
    config: InferenceConfig,
    fields: Sequence[Field],
    out: Any,  # noqa: ANN401
) -> Generator[Event, None, None]:
    """Find out how stable the answer is in each field, one after the other.

    Parameters
    ----------
    model : Model
    image : Image
    config : InferenceConfig
    fields : sequence of windows
        (start, stop) along T, Z, Y and X; T and, for a 2D network, Z of one.
    out : (fields, 2 + K) float32 array of zeros
        For each field the instability, and the share of each class, with the background if the model has no channel
        for it; is written field by field.

    Raises
    ------
    ModelError
        If the model gives no probabilities.
    ChannelError, ImageError, DeviceError
        If channels, image or device do not fit.
    """
    if model.activation == "none":
        raise ModelError(f'The model "{model.spec.name}" gives raw values and no probabilities.')
    channels = check_channels(image, config.channels)
    check_input(image.name, len(channels), model.spec.normalization, model.spec.image_channels)
    source = rescale(image, scale_factor(model.spec, image.pixel_size, config.diameter_px))
    times = sorted({field[0][0] for field in fields})
    statistics = yield from statistics_events(source, model.spec.normalization, channels, times)
    grids = Grids(*((readable.sizes["Y"], readable.sizes["X"]) for readable in (image, source)))
    device = choose_device(config.device)
    seen = Source(source, statistics, channels, model.spec.dims, model.spec.slices)
    flips = _Flips(Runner(model, device), seen, grids)
    for number, field in enumerate(fields):
        answers = []
        for answer in flips.answers(field):
            answers.append(answer)
            yield Progress(STAGE, number, len(fields))
        gain = instability_of(np.stack(answers))
        out[number, : 1 + len(gain.classes)] = (gain.uncertainty, *gain.classes)
    yield Progress(STAGE, len(fields), len(fields))
