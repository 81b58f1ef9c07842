"""Objects from the flows of a large plane, block by block; the result is that of the whole image, number for number.

A pixel ends at most so far away, and nothing farther than a little more has a say in where. So windows around the
blocks tell exactly where objects have their middle, and then to which middle each pixel belongs. Until all pixels know,
the labels hold both: what lies in a middle is the id of that, and other pixels count down from `PIECE`.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from scipy import ndimage as ndi

from napari_unet.objects.blocks import Array, Box, Ids, Pieces, grow, within
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.following import SEEN_PX, STEPS_PX, followed, given_to, middles_of
from napari_unet.objects.holes import Holes
from napari_unet.objects.large import MOST_SEEDS, PIECE, Large, check_count
from napari_unet.objects.pixels import foreground_of


def follow_in_blocks(large: Large, options: ObjectOptions, first_id: int) -> Generator[None, None, tuple[Holes, int]]:
    """Write the objects of a plane, holes and all; yield after each block of each of three steps.

    Returns
    -------
    holes : Holes
        What may be filled.
    count : int
        Number of objects.
    """
    middles = yield from _find_middles(large, options)
    roots = middles.roots()
    sizes = yield from _give_all(large, options, roots)
    order = middles.in_order(roots)
    kept = order[sizes[order] >= max(1, options.min_size_px)]
    numbers = np.zeros(len(roots), np.int64)
    numbers[kept] = np.arange(1, len(kept) + 1) + first_id
    holes = yield from _write_numbers(large, options, numbers[roots])
    return holes, len(kept)


def _find_middles(large: Large, options: ObjectOptions) -> Generator[None, None, Pieces]:
    """Write the id of its middle for each pixel that lies in one."""
    pieces, around = Pieces(large.grid), options.reach_px + STEPS_PX + SEEN_PX
    for index, box in large.grid:
        window = grow(box, around, large.grid.shape)
        foreground, ends = followed(large.probabilities.read_classes(window), options)
        ids, count = ndi.label(middles_of(ends, foreground.shape, options.reach_px)[within(box, window)])
        first = pieces.add_in_order(index, box, ids, count)
        check_count(pieces.count)
        large.labels.write(box, np.where(ids > 0, ids + np.int64(first), 0).astype(np.uint32))
        yield
    return pieces


def _give_all(large: Large, options: ObjectOptions, roots: Ids) -> Generator[None, None, Ids]:
    """Give each pixel to the middle that it ends in, and return how many each has."""
    sizes = np.zeros(len(roots), np.int64)
    for _, box in large.grid:
        codes, own = large.labels.read(box), _middles_reached(large, options, roots, box)
        found, counts = np.unique(own, return_counts=True)
        sizes[found] += counts
        in_middle = (codes > 0) & (codes <= MOST_SEEDS)
        large.labels.write(box, np.where(in_middle | (own == 0), codes, PIECE - own).astype(np.uint32))
        yield
    sizes[0] = 0
    return sizes


def _middles_reached(large: Large, options: ObjectOptions, roots: Ids, box: Box) -> Array:
    """Return the middle of each pixel of a box, 0 for none."""
    window = grow(box, SEEN_PX, large.grid.shape)
    foreground, ends = followed(large.probabilities.read_classes(window), options)
    codes = large.labels.read(window).astype(np.int64)
    middles = roots[np.where(codes <= MOST_SEEDS, codes, 0)]
    return given_to(middles, foreground, ends)[within(box, window)]


def _write_numbers(large: Large, options: ObjectOptions, numbers: Ids) -> Generator[None, None, Holes]:
    """Replace codes by numbers; pixels of a middle that are background become that."""
    holes = Holes(large.grid)
    for index, box in large.grid:
        codes = large.labels.read(box).astype(np.int64)
        is_given = codes > MOST_SEEDS
        ids = np.where(is_given, PIECE - codes, codes)
        labels = (numbers[ids] * foreground_of(large.probabilities.read_classes(box, 1), options)).astype(np.uint32)
        holes.add(index, box, labels)
        large.labels.write(box, labels)
        yield
    return holes
