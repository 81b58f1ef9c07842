"""The images to learn from, normalized as for a prediction, and the fifth of them that chooses settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from napari_unet.events import finish
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.image import Image, open_image
from napari_unet.imaging.statistics import statistics_events

KINDS = ("fluo", "colour", "bright")
NORMALIZATION = Normalization(channels="grey", polarity="bright-objects", stain="haematoxylin")
# Tissue is also shown as inverted luminance, which differs where stains or scanners do.
LUMINANCE = Normalization(channels="grey", polarity="bright-objects", stain="luminance")
HELD_OUT = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image as it lies in the folder.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    image : Image
    labels : (Y, X) integer
        Instance ids, 0 is background.
    """

    kind: str
    image: Image
    labels: npt.NDArray[np.integer]

    @property
    def diameter_px(self) -> float:
        """Median diameter of discs with the areas of the objects."""
        areas = np.bincount(self.labels.ravel())[1:]
        return float(np.median(np.sqrt(areas[areas > 0] * 4 / np.pi))) if areas.any() else 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """What a network is shown of a sample.

    Attributes
    ----------
    kind : str
    image : (Y, X) float32
        Normalized.
    labels : (Y, X) int32
    diameter_px : float
        Median of the objects.
    share : float
        How often it is drawn.
    """

    kind: str
    image: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    diameter_px: float
    share: float


def read_samples(folder: Path, kinds: Sequence[str] = KINDS) -> list[Sample]:
    """Read the images of one split: ``KIND/images/NAME.tif`` and ``KIND/labels/NAME.tif``."""
    samples = []
    for kind in kinds:
        for path in sorted((folder / kind / "images").glob("*.tif")):
            pixels = tifffile.imread(path)
            image = open_image(pixels, "YXC" if pixels.ndim == 3 else "YX", name=path.stem)
            samples.append(Sample(kind, image, tifffile.imread(folder / kind / "labels" / path.name)))
    return samples


def held_out_names(folder: Path) -> set[str]:
    """Names of the fifth of ``train`` that chooses settings, the same for all models and runs.

    Images are put in a random order, tissue counting twice because it is shown twice, and a fifth in a
    row is taken, from a random place on: what the first bundled model was not trained on either.
    """
    paths = {path.stem: kind for kind in KINDS for path in sorted((folder / kind / "images").glob("*.tif"))}
    names = sorted(paths)
    order = [names[i] for i in np.argsort(np.random.default_rng(0).permutation(len(names)))]
    shown = [name for name in order for _ in range(2 if paths[name] == "colour" else 1)]
    first = int(np.random.default_rng(0).integers(len(shown)))
    return {shown[(first + i) % len(shown)] for i in range(round(HELD_OUT * len(shown)))}


def as_planes(samples: Sequence[Sample], kind_shares: dict[str, float]) -> list[Plane]:
    """Normalize samples, and say how often each is drawn.

    Each kind has its share. Within it, groups of images of one size whose objects are alike in size count by the square
    root of how many they are, and images by the square root of their area, so that neither a
    long series nor a large image drowns the others.
    """
    groups = Counter(map(_group, samples))
    weights = [np.sqrt(np.prod(s.labels.shape) / groups[_group(s)]) for s in samples]
    totals = {kind: sum(w for s, w in zip(samples, weights, strict=True) if s.kind == kind) for kind in KINDS}
    planes = []
    for sample, weight in zip(samples, weights, strict=True):
        looks = (NORMALIZATION, LUMINANCE) if "C" in sample.image.axes else (NORMALIZATION,)
        share = kind_shares[sample.kind] * weight / totals[sample.kind] / len(looks)
        labels = sample.labels.astype(np.int32)
        planes += [
            Plane(sample.kind, normalized(sample.image, look), labels, sample.diameter_px, share) for look in looks
        ]
    return planes


def _group(sample: Sample) -> tuple[object, ...]:
    return (sample.kind, sample.labels.shape, round(2 * np.log2(sample.diameter_px)))


def normalized(image: Image, normalization: Normalization) -> npt.NDArray[np.float32]:
    """Return what a network sees of a whole plane, (Y, X)."""
    statistics = finish(statistics_events(image, normalization))
    size = image.sizes
    block = image.read(0, slice(0, 1), slice(0, size["Y"]), slice(0, size["X"]))
    return statistics.normalize(block, 0)[0, 0]
