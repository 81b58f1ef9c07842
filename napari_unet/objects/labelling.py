"""Objects from a probability map."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.events import Event, Progress
from napari_unet.objects.blocks import Grid, Part
from napari_unet.objects.blockwise import label_in_blocks, steps
from napari_unet.objects.closing import find_classes
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.flooding import flooded
from napari_unet.objects.following import find_by_flows
from napari_unet.objects.holding import Holder, Relabel, Span, hold, is_changeable, spans
from napari_unet.objects.large import SIDE_PX, Large, cut
from napari_unet.objects.linking import join_slices, link_slices
from napari_unet.objects.pixels import Decodable, Probabilities, follows, foreground_and_seeds

Labels = npt.NDArray[np.uint32]
Result = TypeVar("Result")

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
    and the result is that of the whole image. With flows nothing differs; otherwise three things may.
    Where neighbouring pixels have exactly equal probabilities (as in images of 8 bits), which of two
    touching objects gets them is left open; and so are the numbers, if one of the two is just about too
    small. And pixels that lie so far from their object's seed that no window holds both may go to a
    neighbour, or become one object of their own. (Windows grow where they must, to at least 128 pixels
    around a pixel of a plane and 32 in a volume.) Where gaps are closed, one in a wall around a cell that
    reaches farther than that beyond a block may stay open.

    Parameters
    ----------
    probabilities : (K, T, Z, Y, X) float32, or uint8 from 0 to 255 for 0 to 1
        numpy, memory-mapped or Zarr array.
    spec : ModelSpec
        What the K outputs mean.
    options : ObjectOptions
        Thresholds, smallest size and so on.
    out : (T, Z, Y, X) uint32, optional
        Is written; numpy, memory-mapped or Zarr array. Of a Zarr array each chunk, or shard, is written once, when
        it is final.

    Returns
    -------
    labels : (T, Z, Y, X) uint32
        Object ids, or class ids of a semantic model; 0 is background.
    count : int
        Objects found; of a semantic model, connected pieces.

    Raises
    ------
    LabelsError
        If there is no temporary space for labels that are to be written to Zarr.
    """
    labels = np.empty(probabilities.shape[1:], np.uint32) if out is None else out
    finding = _Finding(probabilities, labels, spec, options)
    count = 0
    for span in spans(labels, whole_stacks=spec.dims == 3 or finding.joins):
        with hold(labels, span, SIDE_PX[spec.dims]) as holder:
            count = yield from finding.find(holder, count)
    return labels, count


@dataclass(frozen=True, slots=True)
class _Finding:
    """Objects of an image, span by span; the arguments are those of `label_events`."""

    probabilities: Any
    labels: Any
    spec: Decodable
    options: ObjectOptions

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a plane or volume."""
        return tuple(self.probabilities.shape[3 if self.spec.dims == 2 else 2 :])

    @property
    def large(self) -> bool:
        """Whether it is labelled block by block."""
        return math.prod(self.shape) > LARGE_PX[self.spec.dims]

    @property
    def grid(self) -> Grid:
        """Blocks of a plane or volume."""
        return Grid(self.shape, SIDE_PX[self.spec.dims])

    @property
    def joins(self) -> bool:
        """Whether objects of neighbouring slices become one."""
        flat = self.spec.dims == 2 and self.probabilities.shape[2] > 1
        return flat and self.spec.meaning == "instances" and self.options.join_z

    def find(self, holder: Holder, count: int) -> Generator[Event, None, int]:
        """Find the objects of one span and write them; `count` were found before, and more are found in the end."""
        relabel: dict[int, Relabel] = {}
        for t in holder.span.times:
            first_id = count
            for place in self._places(holder.span, t):
                count += yield from self._label(holder, place, count)
            if self.joins:
                joined, join = yield from self._join(holder, t, (first_id, count))
                relabel |= {} if join is None else {t: join}
                count = first_id + joined
        boxes = len(holder.boxes(relabel))
        yield from _counted(holder.write(relabel), "Writing the labels", 0, boxes)
        return count

    def _places(self, span: Span, t: int) -> list[tuple[int, ...]]:
        return [(t, z) for z in span.slices] if self.spec.dims == 2 else [(t,)]

    def _label(self, holder: Holder, place: tuple[int, ...], count: int) -> Generator[Event, None, int]:
        """Label one plane or volume."""
        image = cut(Part(self.probabilities, place), holder.part(place), self.shape)
        work = (label_in_blocks if self.large else _label_whole)(image, self.spec, self.options, count)
        each = steps(self.grid, self.spec) if self.large else 1
        times, depth = self.probabilities.shape[1:3]
        planes, before = (depth, place[0] * depth + place[1]) if len(place) == 2 else (1, place[0])
        return (yield from _counted(work, "Finding objects", before * each, times * planes * each))

    def _join(self, holder: Holder, t: int, ids: tuple[int, int]) -> Generator[Event, None, tuple[int, Relabel | None]]:
        """Join the objects of neighbouring slices, or say what is to be done with them in the end."""
        overlap, depth = self.options.join_overlap, self.probabilities.shape[2]
        if not self.large and is_changeable(self.labels):
            return join_slices(self.labels[t], overlap, first_id=ids[0]), None
        linking = link_slices(holder.part((t,)), depth, self.grid, overlap, ids)
        join, count = yield from _counted(linking, "Joining slices", 0, (depth - 1) * len(self.grid))
        return count, join


def _counted(work: Generator[None, None, Result], stage: str, done: int, total: int) -> Generator[Event, None, Result]:
    """Tell that one more of `total` units is done whenever `work` yields."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
        done += 1
        yield Progress(stage, done, total)


def _label_whole(image: Large, spec: Decodable, options: ObjectOptions, first_id: int) -> Generator[None, None, int]:
    """Write the labels of one plane or volume as a whole."""
    everything = tuple(slice(0, size) for size in image.grid.shape)
    needed = 2 if spec.meaning == "instances" and not follows(spec) else None
    found, pieces = decode(image.probabilities.read_classes(everything, needed), spec, options)
    if spec.meaning == "instances":
        found[found > 0] += np.uint32(first_id)
    image.labels.write(everything, found)
    yield
    return pieces


def decode(block: Probabilities, spec: Decodable, options: ObjectOptions) -> tuple[Labels, int]:
    """Turn the probabilities of one plane or volume, (K, [Z,] Y, X) float32 or uint8, into labels and their number."""
    if spec.meaning == "instances":
        labels = tidy(find_by_flows(block, options), options) if follows(spec) else find_instances(block, options)
        return labels, int(labels.max(initial=0))
    labels = _clean_classes(find_classes(block, spec, options), options)
    return labels, int(ndi.label(labels > 0)[1])


def find_instances(block: Probabilities, options: ObjectOptions) -> Labels:
    """Find objects in background, interior and border probabilities by a seeded watershed.

    Connected interior seeds an object; the seeds grow into the foreground, downhill from the
    interior. Foreground that no seed reaches is an object of its own, so that none vanishes.

    Parameters
    ----------
    block : (2 or 3, [Z,] Y, X) float32, or uint8 from 0 to 255 for 0 to 1
        Probabilities of background, interior and border; that of the border is not needed.
    options : ObjectOptions
        Thresholds, smallest size, holes.

    Returns
    -------
    ([Z,] Y, X) uint32
        Ids from 1 without gaps.
    """
    foreground, seed = foreground_and_seeds(block, options)
    seeds, count = ndi.label(seed)
    labels = flooded(block[1], seeds, seed, foreground & ~seed)
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
