"""Labels of a large plane or volume, block by block.

The result equals that of the whole image, number for number, in memory that one window needs:

1. Each block is read once, and its seeds and pieces of foreground are joined across the faces of
   the blocks: connected components are exact in blocks, whatever their size.
2. Each block is flooded from these seeds in a window with a halo (see `flooding`).
3. Small objects are dropped by their size in the whole image, and the rest is numbered.
4. Holes are filled, however many blocks they span.

The labels themselves hold what the next step needs, so that nothing else of the image's size exists.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.objects.blocks import Array, Box, Grid, Ids, Index, Pieces, grow, within
from napari_unet.objects.closing import find_classes
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.flooding import Flood
from napari_unet.objects.following_blocks import follow_in_blocks
from napari_unet.objects.holes import Holes
from napari_unet.objects.large import MOST_SEEDS, PIECE, Large, check_count
from napari_unet.objects.pixels import Decodable, follows, foreground_and_seeds, has_background

# So far around a block it is looked where walls go on. Those of cells that reach farther may break off at its face.
CLOSING_PX = {2: 128, 3: 32}


def steps(grid: Grid, spec: Decodable) -> int:
    """Return how often `label_in_blocks` yields."""
    return (4 if spec.meaning == "instances" else 3) * len(grid)


def label_in_blocks(
    large: Large, spec: Decodable, options: ObjectOptions, first_id: int = 0
) -> Generator[None, None, int]:
    """Write the labels of one large plane or volume, yielding after each block of each step.

    Parameters
    ----------
    large : Large
    spec : ModelSpec
        What the classes mean.
    options : ObjectOptions
    first_id : int
        Ids of objects start above it.

    Returns
    -------
    int
        Number of objects; of a semantic model, of connected pieces.

    Raises
    ------
    LabelsError
        If there are more seeds than ids.
    """
    if spec.meaning == "instances":
        find = follow_in_blocks if follows(spec) else _flood_in_blocks
        holes, count = yield from find(large, options, first_id)
        yield from _fill(large, holes if options.fill_holes else None, None)
        return count
    pieces = yield from _find_classes(large, spec, options)
    holes = yield from _drop_small(large, pieces, options.min_size_px)
    left = Pieces(large.grid)
    yield from _fill(large, holes if options.fill_holes else None, left)
    return len(np.unique(left.roots())) - 1


def _flood_in_blocks(large: Large, options: ObjectOptions, first_id: int) -> Generator[None, None, tuple[Holes, int]]:
    """Write the objects of a watershed, holes and all, and return what may be filled and the number of objects."""
    flood, order = yield from _find_seeds(large, options)
    sizes = yield from _flood_all(large, flood)
    numbers, count = _number(sizes, order, options.min_size_px, first_id)
    return (yield from _write_numbers(large, numbers)), count


@dataclass(frozen=True, slots=True)
class _Each:
    """Something for each id of a seed, and for each id of a piece of foreground."""

    of_seeds: Ids
    of_pieces: Ids


def _find_seeds(large: Large, options: ObjectOptions) -> Generator[None, None, tuple[Flood, _Each]]:
    """Write for each pixel the id of its seed, or of its piece of foreground."""
    seeds, pieces = Pieces(large.grid), Pieces(large.grid)
    seeded: list[Ids] = []
    for index, box in large.grid:
        foreground, seed = foreground_and_seeds(large.probabilities.read_classes(box, 2), options)
        seed_ids, seed_count = ndi.label(seed)
        ids, count = ndi.label(foreground)
        first_seed = seeds.add_in_order(index, box, seed_ids, seed_count)
        first = pieces.add_in_order(index, box, ids, count)
        check_count(max(seeds.count, pieces.count))
        seeded.append(np.unique(ids[seed]) + np.int64(first))
        codes = np.where(
            seed, seed_ids + np.int64(first_seed), np.where(foreground, PIECE - (ids + np.int64(first)), 0)
        )
        large.labels.write(box, codes.astype(np.uint32))
        yield
    roots = pieces.roots()
    has_seed = np.zeros(len(roots), dtype=bool)
    has_seed[roots[np.concatenate(seeded)]] = True
    flood = Flood(
        large.probabilities,
        large.labels,
        large.grid.shape,
        options.seed_threshold,
        seeds.roots(),
        roots,
        has_seed[roots],
        large.limit,
    )
    return flood, _Each(seeds.in_order(flood.seeds), pieces.in_order(roots))


def _flood_all(large: Large, flood: Flood) -> Generator[None, None, _Each]:
    """Give each pixel the code of its object, and return the size of each object."""
    sizes = _Each(np.zeros(len(flood.seeds), np.int64), np.zeros(len(flood.pieces), np.int64))
    for _, box in large.grid:
        codes = flood.label(box, large.halo)
        found, counts = np.unique(codes, return_counts=True)
        is_piece = found > MOST_SEEDS
        sizes.of_seeds[found[~is_piece]] += counts[~is_piece]
        sizes.of_pieces[PIECE - found[is_piece].astype(np.int64)] += counts[is_piece]
        large.labels.write(box, codes)
        yield
    return sizes


def _number(sizes: _Each, order: _Each, min_size_px: int, first_id: int) -> tuple[_Each, int]:
    """Give numbers to what is large enough: objects with seeds, then the others, as they begin in the image."""
    numbers = _Each(np.zeros_like(sizes.of_seeds), np.zeros_like(sizes.of_pieces))
    count = 0
    for ordered, size, number in (
        (order.of_seeds, sizes.of_seeds, numbers.of_seeds),
        (order.of_pieces, sizes.of_pieces, numbers.of_pieces),
    ):
        kept = ordered[size[ordered] >= max(1, min_size_px)]
        number[kept] = np.arange(1, len(kept) + 1) + count + first_id
        count += len(kept)
    return numbers, count


def _write_numbers(large: Large, numbers: _Each) -> Generator[None, None, Holes]:
    """Replace codes by numbers, 0 for what was dropped."""
    holes = Holes(large.grid)
    for index, box in large.grid:
        codes = large.labels.read(box).astype(np.int64)
        is_piece = codes > MOST_SEEDS
        labels = numbers.of_seeds[np.where(is_piece, 0, codes)]
        if is_piece.any():
            labels = np.where(is_piece, numbers.of_pieces[np.where(is_piece, PIECE - codes, 0)], labels)
        labels = labels.astype(np.uint32)
        holes.add(index, box, labels)
        large.labels.write(box, labels)
        yield
    return holes


def _fill(large: Large, holes: Holes | None, left: Pieces | None) -> Generator[None, None, None]:
    """Fill the holes, and count the pieces that are left in the end."""
    for index, box in large.grid:
        if holes is not None or left is not None:
            labels = large.labels.read(box)
            if holes is not None:
                labels, changed = holes.fill(index, labels)
                if changed:
                    large.labels.write(box, labels)
            if left is not None:
                left.add(index, *ndi.label(labels > 0))
        yield


@dataclass(frozen=True, slots=True)
class _Class:
    """The connected pieces of one class.

    Attributes
    ----------
    pieces : Pieces
    starts : dict
        What was added to the ids of each block.
    sizes : list of (n,) int64
        Of each block's pieces.
    """

    pieces: Pieces
    starts: dict[Index, int]
    sizes: list[Ids]

    def kept(self, min_size_px: int) -> npt.NDArray[np.bool_]:
        """Return which ids belong to a piece that is large enough."""
        roots = self.pieces.roots()
        size = np.zeros(len(roots), np.int64)
        np.add.at(size, roots[1:], np.concatenate(self.sizes))
        kept: npt.NDArray[np.bool_] = size[roots] >= max(1, min_size_px)
        kept[0] = False
        return kept


def _find_classes(large: Large, spec: Decodable, options: ObjectOptions) -> Generator[None, None, dict[int, _Class]]:
    """Write the class of each pixel, and find the connected pieces of each class."""
    outputs = large.probabilities.array.shape[0]
    number = outputs - has_background(spec, outputs)
    classes = {value: _Class(Pieces(large.grid), {}, []) for value in range(1, number + 1)}
    for index, box in large.grid:
        labels = _classes(large, box, spec, options)
        for value, found in classes.items():
            ids, count = ndi.label(labels == value)
            found.starts[index] = found.pieces.add(index, ids, count)
            found.sizes.append(np.bincount(ids.ravel(), minlength=count + 1)[1:])
        large.labels.write(box, labels.astype(np.uint32))
        yield
    return classes


def _classes(large: Large, box: Box, spec: Decodable, options: ObjectOptions) -> Array:
    """Return the class of each pixel of a box; where gaps are closed, a wall is followed in a window around it."""
    window = grow(box, CLOSING_PX[len(box)] if options.close_gaps else 0, large.grid.shape)
    return find_classes(large.probabilities.read_classes(window), spec, options)[within(box, window)]


def _drop_small(large: Large, classes: dict[int, _Class], min_size_px: int) -> Generator[None, None, Holes]:
    """Make background of pieces that are small in the whole image."""
    kept = {value: found.kept(min_size_px) for value, found in classes.items()}
    holes = Holes(large.grid)
    for index, box in large.grid:
        labels = large.labels.read(box)
        cleaned: Array = np.zeros(labels.shape, np.uint32)
        for value, found in classes.items():
            ids, _ = ndi.label(labels == value)
            cleaned[(ids > 0) & kept[value][np.where(ids > 0, ids + np.int64(found.starts[index]), 0)]] = value
        holes.add(index, box, cleaned)
        large.labels.write(box, cleaned)
        yield
    return holes
