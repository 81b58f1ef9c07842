"""Scores of labels against the truth."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi
from skimage.metrics import adapted_rand_error
from skimage.segmentation import watershed

from napari_unet.objects.linking import find_overlaps

THRESHOLDS = np.arange(0.5, 1.0, 0.05)


def score_objects(labels: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """AP = TP / (TP + FP + FN) at an IoU of 0.5 and its mean over 0.5 to 0.95, and Dice of the foreground.

    Above an IoU of one half every object has at most one partner. Nothing found where nothing is
    counts 1.
    """
    iou = np.asarray(find_overlaps(labels, truth).iou)
    found, true = (int((np.unique(x) > 0).sum()) for x in (labels, truth))
    hits = [int((iou > t).sum()) for t in THRESHOLDS]
    precision = [h / (found + true - h) if found + true else 1.0 for h in hits]
    return {"ap50": precision[0], "map": float(np.mean(precision)), "dice": _dice(labels > 0, truth > 0)}


def score_membranes(membrane: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Dice of the membrane, and adapted Rand error of the cells that it leaves, true membrane apart.

    Membranes that were found are thinned to nothing before cells are compared, each pixel going to the nearest cell: a
    membrane that is drawn too thick is a matter of Dice. So it is in the challenge that these images are from.

    References
    ----------
    Arganda-Carreras et al. (2015), https://doi.org/10.3389/fnana.2015.00142 (foreground-restricted, after thinning).
    """
    segments, cells = (ndi.label(x == 0)[0] for x in (membrane, truth))
    if segments.any():
        segments = watershed(ndi.distance_transform_edt(membrane), segments)
    error = adapted_rand_error(cells, segments, ignore_labels=(0,))[0]
    return {"dice": _dice(membrane > 0, truth > 0), "rand_error": float(error)}


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def mean_scores(scores: list[dict[str, float]]) -> dict[str, float]:
    """Mean over images."""
    return {name: round(float(np.mean([s[name] for s in scores])), 4) for name in scores[0]}
