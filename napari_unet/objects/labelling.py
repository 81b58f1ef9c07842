"""Objects from a probability map."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.events import Event, Progress
from napari_unet.objects.blocks import Grid, Part
from napari_unet.objects.blockwise import SIDE_PX, Large, cut, label_in_blocks, steps
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.linking import join_large_slices, join_slices
from napari_unet.objects.pixels import Decodable, Floats, classify, foreground_and_seeds

Labels = npt.NDArray[np.uint32]

# Planes and volumes of more pixels are labelled block by block.
LARGE_PX = {2: 2**22, 3: 2**24}


def label_events(
    probabilities: Any,  # noqa: ANN401
    spec: Decodable,
    options: ObjectOptions,
    out: Any | None = None,  # noqa: ANN401
) -> Generator[Event, None, tuple[Any, int]]:
    """Turn probabilities into labels.

    A 2D model is read slice by slice, and its objects are then joined across Z (`options.join_z`);
    a 3D model is read volume by volume. Instance ids are unique over all time points.

    Large planes and volumes are labelled block by block: nothing of their size is held in memory,
    and the result is that of the whole image. Two things may differ. Where neighbouring pixels have
    exactly equal probabilities (as in images of 8 bits), which of two touching objects gets them is
    left open; and so are the numbers, if one of the two is just about too small. And pixels
    that lie so far from their object's seed that no window holds both may go to a neighbour, or become
    one object of their own. (Windows grow where they must, to at least 128 pixels around a pixel of a
    plane and 32 in a volume.)

    Parameters
    ----------
    probabilities : (K, T, Z, Y, X) float32
        numpy, memory-mapped or Zarr array.
    spec : ModelSpec
        What the K classes mean.
    options : ObjectOptions
        Thresholds, smallest size and so on.
    out : (T, Z, Y, X) uint32, optional
        Is written; numpy, memory-mapped or Zarr array.

    Returns
    -------
    labels : (T, Z, Y, X) uint32
        Object ids, or class ids of a semantic model; 0 is background.
    count : int
        Objects found; of a semantic model, connected pieces.
    """
    times, depth = probabilities.shape[1:3]
    flat, instances = spec.dims == 2, spec.meaning == "instances"
    labels = np.empty(probabilities.shape[1:], np.uint32) if out is None else out
    shape = tuple(probabilities.shape[3 if flat else 2 :])
    grid = Grid(shape, SIDE_PX[spec.dims])
    large = math.prod(shape) > LARGE_PX[spec.dims]
    places = [[(t, z) for z in range(depth)] if flat else [(t,)] for t in range(times)]
    total = sum(map(len, places)) * (steps(grid, spec) if large else 1)
    count = done = 0
    for t in range(times):
        first_id = count
        for place in places[t]:
            image = cut(Part(probabilities, place), Part(labels, place), shape)
            work = (label_in_blocks if large else _label_whole)(image, spec, options, count)
            count += yield from _counted(work, "Finding objects", done, total)
            done += total // (times * len(places[t]))
        if instances and flat and depth > 1 and options.join_z:
            if large or not isinstance(labels, np.ndarray):
                joining = join_large_slices(Part(labels, (t,)), depth, grid, options.join_overlap, (first_id, count))
                joined = yield from _counted(joining, "Joining slices", 0, (2 * depth - 1) * len(grid))
            else:
                joined = join_slices(labels[t], options.join_overlap, first_id=first_id)
            count = first_id + joined
    return labels, count


def _counted(work: Generator[None, None, int], stage: str, done: int, total: int) -> Generator[Event, None, int]:
    """Tell that one more of `total` units is done whenever `work` yields."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: int = end.value
            return result
        done += 1
        yield Progress(stage, done, total)


def _label_whole(image: Large, spec: Decodable, options: ObjectOptions, first_id: int) -> Generator[None, None, int]:
    """Write the labels of one plane or volume as a whole."""
    everything = tuple(slice(0, size) for size in image.grid.shape)
    found, pieces = decode(image.probabilities.read_classes(everything), spec, options)
    if spec.meaning == "instances":
        found[found > 0] += np.uint32(first_id)
    image.labels.write(everything, found)
    yield
    return pieces


def decode(block: Floats, spec: Decodable, options: ObjectOptions) -> tuple[Labels, int]:
    """Turn the probabilities of one plane or volume, (K, [Z,] Y, X), into labels and their number."""
    if spec.meaning == "instances":
        labels = find_instances(block, options)
        return labels, int(labels.max(initial=0))
    labels = _clean_classes(classify(block, spec, options), options)
    return labels, int(ndi.label(labels > 0)[1])


def find_instances(block: Floats, options: ObjectOptions) -> Labels:
    """Find objects in background, interior and border probabilities by a seeded watershed.

    Connected interior seeds an object; the seeds grow into the foreground, downhill from the
    interior. Foreground that no seed reaches is an object of its own, so that none vanishes.

    Parameters
    ----------
    block : (3, [Z,] Y, X) float32
        Probabilities of background, interior and border.
    options : ObjectOptions
        Thresholds, smallest size, holes.

    Returns
    -------
    ([Z,] Y, X) uint32
        Ids from 1 without gaps.
    """
    from skimage.segmentation import watershed

    interior = block[1]
    foreground, seed = foreground_and_seeds(block, options)
    seeds, count = ndi.label(seed)
    labels: npt.NDArray[Any] = watershed(-interior, seeds, mask=foreground)
    orphans, more = ndi.label(foreground & (labels == 0))
    if more:
        labels = np.where(orphans > 0, orphans + count, labels)
    return tidy(labels, options)


def _clean_classes(labels: npt.NDArray[Any], options: ObjectOptions) -> Labels:
    """Drop small connected pieces of each class, and fill holes."""
    cleaned = np.zeros(labels.shape, np.uint32)
    for value in range(1, int(labels.max(initial=0)) + 1):
        cleaned[drop_small(ndi.label(labels == value)[0], options.min_size_px) > 0] = value
    # Holes of all classes together: a nucleus inside of cytoplasm is no hole.
    return fill_holes(cleaned) if options.fill_holes else cleaned


def tidy(labels: npt.NDArray[Any], options: ObjectOptions) -> Labels:
    """Drop small objects, fill holes and number what is left from 1 without gaps."""
    renumbered = drop_small(labels, options.min_size_px)
    return fill_holes(renumbered) if options.fill_holes else renumbered


def drop_small(labels: npt.NDArray[Any], min_size_px: int) -> Labels:
    """Drop objects of fewer pixels, and number what is left from 1 without gaps."""
    sizes = np.bincount(labels.ravel())
    kept = sizes >= max(1, min_size_px)
    kept[0] = False
    numbers = np.zeros(len(sizes), np.uint32)
    numbers[kept] = np.arange(1, int(kept.sum()) + 1, dtype=np.uint32)
    dropped: Labels = numbers[labels]
    return dropped


def fill_holes(labels: Labels) -> Labels:
    """Give background that one single object encloses to that object.

    >>> ring = np.array([[2, 2, 2], [2, 0, 2], [2, 2, 2]], np.uint32)
    >>> int(fill_holes(ring)[1, 1])
    2
    """
    holes, count = ndi.label(labels == 0)
    if not count:
        return labels
    cross = ndi.generate_binary_structure(labels.ndim, 1)
    nothing = np.iinfo(np.uint32).max
    largest = ndi.maximum_filter(labels, footprint=cross)
    smallest = ndi.minimum_filter(np.where(labels == 0, nothing, labels), footprint=cross)
    numbers = np.arange(1, count + 1)
    highest = ndi.maximum(largest, holes, numbers).astype(np.uint32)
    lowest = ndi.minimum(smallest, holes, numbers).astype(np.uint32)
    owner = np.where(highest == lowest, highest, 0)
    owner[_on_the_edge(holes, count)] = 0
    return np.where(holes > 0, np.concatenate([[0], owner])[holes], labels).astype(np.uint32)


def _on_the_edge(holes: npt.NDArray[Any], count: int) -> npt.NDArray[np.bool_]:
    """Which of the holes 1 to `count` reach the edge of the image."""
    touching = np.zeros(count + 1, dtype=bool)
    for axis in range(holes.ndim):
        if holes.shape[axis] > 1:
            touching[np.unique(holes.take([0, -1], axis=axis))] = True
    return touching[1:]
