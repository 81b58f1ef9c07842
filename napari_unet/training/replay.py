"""Replay sets: labelled crops that come with the bundled models, against forgetting what they know.

While a model learns from corrections it is shown some of the crops again, and others tell whether it has got worse
on them.

References
----------
Rebuffi et al. (2017), iCaRL, https://doi.org/10.1109/CVPR.2017.587 (rehearsal from a few kept examples).
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_unet.imaging.config import Normalization
from napari_unet.training.pairs import Field
from napari_unet.weights.bundled import FOLDER
from napari_unet.weights.spec import ModelSpec

SUFFIX = ".npz"
SIDE_PX = 192
# Normalized values between these are kept in 256 steps; brighter spots are cut off.
LOW, HIGH = -0.25, 1.75

Crops: TypeAlias = tuple[Field, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ReplaySet:
    """Crops to learn from again, and others that tell what is forgotten.

    Attributes
    ----------
    train, telling : tuple of Field
        All pixels of the first are trained on, and all of the second are for validation.
    """

    train: Crops
    telling: Crops


def load_replay(spec: ModelSpec) -> ReplaySet | None:
    """Return the crops that a model came with; None if it knows nothing, or now sees images in another way."""
    if not spec.trained:
        return None
    found = [_read(FOLDER / "replay" / f"{name}{SUFFIX}", spec) for name in spec.replay]
    sets = [crops for crops in found if crops is not None]
    if not sets or len(sets) < len(found):
        return None
    return ReplaySet(tuple(f for s in sets for f in s.train), tuple(f for s in sets for f in s.telling))


def _read(path: Path, spec: ModelSpec) -> ReplaySet | None:
    if not path.is_file() or spec.image_channels != 1 or spec.dims != 2 or spec.meaning != "instances":
        return None
    try:
        # Opened here because numpy leaves a file that is none of its own open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            pixels, labels, telling = file["pixels"], file["labels"], file["telling"]
            normalization = Normalization.model_validate_json(str(file["normalization"]))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None  # a damaged file only loses what it could have told
    if normalization != spec.normalization:
        return None
    image = LOW + pixels.astype(np.float32) * np.float32((HIGH - LOW) / 255)
    fields = [_field(*crop, path.stem, spec.slices) for crop in zip(image, labels, telling, strict=True)]
    train, told = (tuple(f for f, tells in zip(fields, telling, strict=True) if tells == wanted) for wanted in (0, 1))
    return ReplaySet(train, told)


def _field(
    image: npt.NDArray[np.float32], labels: npt.NDArray[np.uint16], telling: np.bool_, name: str, slices: int
) -> Field:
    """Make a field of a crop, which takes the place of the neighbours that it has not."""
    ids, everywhere = labels.astype(np.uint32), np.ones(labels.shape, bool)
    return Field(
        np.repeat(image[None], slices, axis=0),
        ids,
        train=everywhere & ~telling,
        validation=everywhere & telling,
        name=f"replay set {name}",
    )


def write_crops(
    path: Path,
    pixels: npt.NDArray[np.float32],
    labels: npt.NDArray[np.integer],
    telling: npt.NDArray[np.bool_],
    normalization: Normalization,
) -> None:
    """Write a replay set.

    Parameters
    ----------
    path : Path
    pixels : (N, Y, X) float32
        Normalized.
    labels : (N, Y, X) integer
        Objects of each crop are numbered anew.
    telling : (N,) bool
        Which crops tell what is forgotten; the others are learnt from.
    normalization : Normalization
        How the pixels were normalized.
    """
    steps = np.rint((np.clip(pixels, LOW, HIGH) - LOW) * (255 / (HIGH - LOW))).astype(np.uint8)
    numbered = np.stack(
        [np.unique(crop, return_inverse=True)[1].reshape(crop.shape) + (crop.min() > 0) for crop in labels]
    )
    np.savez_compressed(
        path,
        pixels=steps,
        labels=numbered.astype(np.uint16),
        telling=telling,
        normalization=np.array(normalization.model_dump_json()),
    )
