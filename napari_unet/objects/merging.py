"""A new prediction put under what the user has reviewed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_unet.objects.linking import find_overlaps, match

# A predicted object is left out if more than this share of it lies on kept pixels: it is the same
# object again, and what sticks out would be a rim.
MAX_COVERED = 0.5
# From here on a predicted object is the one that was there before.
SAME_IOU = 0.5


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
    else comes from the prediction. An object that was there before keeps its id, and so its colour;
    others get ids that are free.

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
    fixed = vouched | np.isin(correction, touching)
    table, new = _numbers(predicted, fixed, touching, np.where(fixed, 0, correction))
    labels = np.where(fixed, correction, table[predicted]).astype(np.uint32)
    return Merged(labels, len(touching), new)


def _ids(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    found = np.unique(values)
    return found[found > 0]


def _numbers(
    predicted: npt.NDArray[Any], fixed: npt.NDArray[np.bool_], taken: npt.NDArray[Any], replaced: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.uint32], int]:
    """Table from predicted to final ids, 0 for what is left out, and how many come in."""
    area = np.bincount(predicted.ravel())
    covered = np.bincount(predicted[fixed].ravel(), minlength=len(area))
    comes_in = (area > 0) & (covered <= MAX_COVERED * area)
    comes_in[0] = False
    table = np.zeros(len(area), np.uint32)
    found = find_overlaps(replaced, predicted)
    for before, now in match(found, (found.iou >= SAME_IOU) & comes_in[found.b]):
        table[now] = before
    unnamed = np.flatnonzero(comes_in & (table == 0))
    used = np.union1d(taken, table[table > 0])
    free = np.setdiff1d(np.arange(1, len(unnamed) + len(used) + 1), used, assume_unique=True)
    table[unnamed] = free[: len(unnamed)]
    return table, int(comes_in.sum())
