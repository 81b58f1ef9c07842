"""A new prediction put under what the user has reviewed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

# A predicted object is left out if more than this share of it lies on kept pixels: it is the same
# object again, and what sticks out would be a rim.
MAX_COVERED = 0.5


@dataclass(frozen=True, slots=True)
class Merged:
    """Labels after predicting again.

    Attributes
    ----------
    labels : (T, Z, Y, X) uint32
    kept : int
        Objects of the correction that stayed because they touch a reviewed pixel.
    new : int
        Predicted objects that were put in.
    """

    labels: npt.NDArray[np.uint32]
    kept: int
    new: int


def merge_prediction(
    correction: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    reviewed: npt.NDArray[Any],
    meaning: Literal["instances", "semantic"] = "instances",
) -> Merged:
    """Replace what nobody has reviewed by a new prediction.

    No reviewed pixel changes, nor any pixel of an object that touches a reviewed one. Everything
    else comes from the prediction, under ids that are still free.

    Parameters
    ----------
    correction, predicted : (T, Z, Y, X) unsigned integer
        Labels, 0 is background.
    reviewed : (T, Z, Y, X) bool or uint8
        Where the correction is vouched for.
    meaning : "instances" | "semantic"
        Of both labels. Classes have no ids to touch: there only reviewed pixels are kept.

    Returns
    -------
    Merged
    """
    vouched = np.asarray(reviewed) > 0
    if meaning == "semantic":
        labels = np.where(vouched, correction, predicted).astype(np.uint32)
        return Merged(labels, len(_ids(correction[vouched])), len(_ids(predicted[~vouched])))
    touching = _ids(correction[vouched])
    protected = np.zeros(int(correction.max(initial=0)) + 1, dtype=bool)
    protected[touching] = True
    fixed = vouched | protected[correction]
    table, new = _numbers(predicted, fixed, touching)
    labels = np.where(fixed, correction, table[predicted]).astype(np.uint32)
    return Merged(labels, len(touching), new)


def _ids(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    found = np.unique(values)
    return found[found > 0]


def _numbers(
    predicted: npt.NDArray[Any], fixed: npt.NDArray[np.bool_], taken: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.uint32], int]:
    """Table from predicted to final ids, 0 for what is left out, and how many come in."""
    area = np.bincount(predicted.ravel())
    covered = np.bincount(predicted[fixed].ravel(), minlength=len(area))
    comes_in = (area > 0) & (covered <= MAX_COVERED * area)
    comes_in[0] = False
    count = int(comes_in.sum())
    free = np.setdiff1d(np.arange(1, count + len(taken) + 1), taken, assume_unique=True)[:count]
    table = np.zeros(len(area), np.uint32)
    table[comes_in] = free
    return table, count
