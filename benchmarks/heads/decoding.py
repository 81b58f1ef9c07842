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
from napari_unet.objects.labelling import find_instances, tidy

THRESHOLDS = (0.4, 0.55, 0.7, 0.85)
# The other setting of each decoder: the seed threshold; the h of the maxima; and how far apart (in pixels) pixels may
# end, and how many of them must end on one pixel there, to be one object.
OTHERS: dict[str, tuple[Any, ...]] = {
    "classes": (0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "distance": (0.05, 0.1, 0.15, 0.2, 0.3, 0.4),
    "flows": ((1, 2), (1, 6), (2, 2), (2, 6), (3, 2), (3, 6)),
}
FLOW_SCALE, FLOW_STEPS = 5.0, 200

Seen: TypeAlias = list[tuple[Array, Array]]
"""Maps (K, Y, X), and true object ids (Y, X)."""


def prepared(maps: Array, way: str) -> Array:
    """Return (K, Y, X) maps with what no setting changes done: flows become the places where pixels end."""
    if way != "flows":
        return maps
    ends = follow(maps[3:] / FLOW_SCALE, 1 - maps[0] > min(THRESHOLDS))
    return np.concatenate([maps[:3], ends])


def follow(flows: Array, foreground: Array) -> Array:
    """Let each pixel of the foreground follow (2, Y, X) flows, and return where it ends, (2, Y, X)."""
    ends = np.indices(foreground.shape, dtype=np.float32)
    moving, last = ends[:, foreground], np.array(foreground.shape)[:, None] - 1
    for _ in range(FLOW_STEPS):
        steps = [ndi.map_coordinates(flow * foreground, moving, order=1) for flow in flows]
        moving = np.clip(moving + steps, 0, last).astype(np.float32)
    ends[:, foreground] = moving
    return ends


def decoded(maps: Array, way: str, threshold: float, other: Any) -> Array:  # noqa: ANN401
    """Turn prepared (K, Y, X) maps into object ids (Y, X) by one of the decoders."""
    options = ObjectOptions(threshold=threshold, seed_threshold=other if way == "classes" else 0.5)
    if way == "classes":
        return find_instances(maps[:3], options)
    foreground = 1 - maps[0] > threshold
    found = by_distance(maps[3], foreground, other) if way == "distance" else by_ends(maps[3:], foreground, *other)
    return tidy(found, options)


def by_distance(distance: Array, foreground: Array, h: float) -> Array:
    """Flood the foreground from the maxima that are `h` higher than the way to a higher one."""
    hills = np.where(foreground, distance, 0).astype(np.float32)
    seeds, count = ndi.label(foreground & (h_maxima(hills, h) > 0), np.ones((3, 3)))
    labels = flooded(hills, seeds, seeds > 0, foreground & (seeds == 0))
    orphans, _ = ndi.label(foreground & (labels == 0))  # what no flood reaches is an object, as it is with classes
    return np.where(orphans > 0, orphans + count, labels)


def by_ends(ends: Array, foreground: Array, reach: int, least: int) -> Array:
    """Make pixels an object that end together: where `least` do on one pixel, and `reach` around it."""
    final, counts = tuple(np.rint(ends[:, foreground]).astype(int)), np.zeros(foreground.shape, int)
    np.add.at(counts, final, 1)
    sinks, _ = ndi.label(ndi.maximum_filter(counts >= least, 2 * reach - 1), np.ones((3, 3)))
    labels = np.zeros(foreground.shape, np.int32)
    labels[foreground] = sinks[final]
    return labels


def fitted(seen: Seen, way: str) -> tuple[float, Any]:
    """Return the settings with the highest AP, averaged over all IoUs and all (maps, truth)."""
    ready = [(prepared(maps, way), true) for maps, true in seen]

    def value(settings: tuple[float, Any]) -> float:
        scores = [score_objects(decoded(maps, way, *settings), true)["map"] for maps, true in ready]
        return float(np.mean(scores))

    return max(product(THRESHOLDS, OTHERS[way]), key=value)
