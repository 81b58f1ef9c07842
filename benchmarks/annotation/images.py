"""Images with labels, in the folders that the benchmark is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile

from napari_unet.events import finish
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.image import Image, open_image
from napari_unet.imaging.statistics import statistics_events

Kind = Literal["fluo", "colour", "bright", "membrane"]
Split = Literal["train", "test"]

NUCLEI: tuple[Kind, ...] = ("fluo", "colour", "bright")
# Sections of the membrane volume from which on they are for reporting
FIRST_TEST_SECTION = 16
# Of the training images, a part is what settings are chosen on; no annotator ever sees it.
CHOOSING_SHARE, CHOOSING_SEED = 0.35, 0

GREY = Normalization(channels="grey", polarity="bright-objects")
# The median of a section tells nothing of what is bright: a third of it is membrane.
AS_IS = Normalization(channels="grey")


@dataclass(frozen=True, eq=False)
class Sample:
    """An image of (Y, X[, C]) with labels (Y, X): object ids, or 1 for membrane, which is `dark`.

    A section knows the (Z, Y, X) `stack` of its split, and which slice of that it is.
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray
    dark: bool = False
    stack: np.ndarray | None = None
    z: int = 0

    @property
    def axes(self) -> str:
        """Of the pixels."""
        return "YXC" if self.pixels.ndim == 3 else "YX"

    @cached_property
    def image(self) -> Image:
        """As the program opens it."""
        return open_image(self.pixels, self.axes, name=self.name)

    @cached_property
    def grey(self) -> np.ndarray:
        """(Y, X) float32, what is looked for bright, 0 to 1 between two percentiles."""
        statistics = finish(statistics_events(self.image, AS_IS if self.dark else GREY))
        size = self.image.sizes
        block = self.image.read(0, slice(0, 1), slice(0, size["Y"]), slice(0, size["X"]))
        bright = statistics.normalize(block, 0)[0, 0]
        return 1 - bright if self.dark else bright


def read_samples(data: Path, kind: Kind, split: Split) -> list[Sample]:
    """Read all images of a kind and split, sorted by name."""
    if kind == "membrane":
        return _sections(data / "em_membrane", split)
    folder = data / "nuclei" / split / kind
    paths = sorted((folder / "images").glob("*.tif"))
    return [Sample(p.stem, tifffile.imread(p), _ids(tifffile.imread(folder / "labels" / p.name))) for p in paths]


def _sections(folder: Path, split: Split) -> list[Sample]:
    volume, membrane = tifffile.imread(folder / "volume.tif"), tifffile.imread(folder / "membrane_labels.tif")
    numbers = range(FIRST_TEST_SECTION) if split == "train" else range(FIRST_TEST_SECTION, len(volume))
    stack, first = volume[numbers.start : numbers.stop], numbers.start
    return [Sample(f"section {n}", volume[n], _ids(membrane[n]), dark=True, stack=stack, z=n - first) for n in numbers]


def _ids(labels: np.ndarray) -> np.ndarray:
    return labels.astype(np.uint32)


def divided(data: Path, kind: Kind, report: Split) -> tuple[list[Sample], list[Sample]]:
    """Images that the annotator may correct, and those that the result is measured on.

    With `report` "train", for choosing settings, both are parts of the training images; with "test"
    all training images may be corrected, and the test images are measured on.
    """
    train = read_samples(data, kind, "train")
    if report == "test":
        return train, read_samples(data, kind, "test")
    order = np.random.default_rng(CHOOSING_SEED).permutation(len(train))
    held_out = round(CHOOSING_SHARE * len(train))
    return [train[i] for i in order[held_out:]], [train[i] for i in order[:held_out]]
