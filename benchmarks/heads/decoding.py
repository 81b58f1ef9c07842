"""Objects from what a network with such a head says, and the settings that suit it."""

from __future__ import annotations

from itertools import product
from typing import Any, TypeAlias

import numpy as np
from scipy import ndimage as ndi
from skimage.morphology import h_maxima

from benchmarks.annotation.scoring import score_objects
from benchmarks.heads.targets import Array
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.flooding import flooded
from napari_unet.objects.following import find_by_flows
from napari_unet.objects.labelling import find_instances, tidy

THRESHOLDS = (0.4, 0.55, 0.7, 0.85)
# The other setting of each decoder: the seed threshold; the h of the maxima; and how far apart pixels may end.
OTHERS: dict[str, tuple[Any, ...]] = {
    "classes": (0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "distance": (0.05, 0.1, 0.15, 0.2, 0.3, 0.4),
    "flows": (2, 3, 4, 5, 6),
}

Seen: TypeAlias = list[tuple[Array, Array]]
"""Maps (K, Y, X), and true object ids (Y, X)."""


def decoded(maps: Array, way: str, threshold: float, other: Any) -> Array:  # noqa: ANN401
    """Turn (K, Y, X) maps into object ids (Y, X) by one of the decoders."""
    options = ObjectOptions(threshold=threshold, seed_threshold=other if way == "classes" else 0.5)
    if way == "classes":
        return find_instances(maps[:3], options)
    if way == "distance":
        return tidy(by_distance(maps[3], 1 - maps[0] > threshold, other), options)
    return tidy(find_by_flows(maps, options.model_copy(update={"reach_px": other})), options)


def by_distance(distance: Array, foreground: Array, h: float) -> Array:
    """Flood the foreground from the maxima that are `h` higher than the way to a higher one."""
    hills = np.where(foreground, distance, 0).astype(np.float32)
    seeds, count = ndi.label(foreground & (h_maxima(hills, h) > 0), np.ones((3, 3)))
    labels = flooded(hills, seeds, seeds > 0, foreground & (seeds == 0))
    orphans, _ = ndi.label(foreground & (labels == 0))  # what no flood reaches is an object, as it is with classes
    return np.where(orphans > 0, orphans + count, labels)


def fitted(seen: Seen, way: str) -> tuple[float, Any]:
    """Return the settings with the highest AP, averaged over all IoUs and all (maps, truth)."""

    def value(settings: tuple[float, Any]) -> float:
        scores = [score_objects(decoded(maps, way, *settings), true)["map"] for maps, true in seen]
        return float(np.mean(scores))

    return max(product(THRESHOLDS, OTHERS[way]), key=value)
