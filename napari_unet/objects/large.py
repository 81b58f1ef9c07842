"""A large plane or volume that is labelled block by block, and what its labels hold until they are final."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_unet.errors import LabelsError
from napari_unet.objects.blocks import Grid, Part

# Codes above are pieces of foreground, or pixels that are given to an object, and count downwards from `PIECE`; codes
# below are seeds.
PIECE = int(np.iinfo(np.uint32).max)
MOST_SEEDS = int(np.iinfo(np.int32).max) - 1
# A window of these takes about 50 MB, and one of the largest 100 MB in 2D and 260 MB in 3D. Where the halo turns out
# to be too small it is doubled, and doubled again, up to the limit: 128 pixels around a whole block, 32 in 3D.
SIDE_PX = {2: 1024, 3: 128}
HALO_PX = {2: 32, 3: 8}
LIMIT_PX = {2: 1536**2, 3: 192**3}


@dataclass(frozen=True, slots=True)
class Large:
    """A plane or volume that is labelled block by block.

    Attributes
    ----------
    probabilities, labels : Part
        (K, [Z,] Y, X) float32 or uint8 is read, ([Z,] Y, X) uint32 is written.
    grid : Grid
    halo : int
        Context of each block to begin with.
    limit : int
        Pixels of the largest window that it may grow to.
    """

    probabilities: Part
    labels: Part
    grid: Grid
    halo: int
    limit: int


def cut(probabilities: Part, labels: Part, shape: tuple[int, ...]) -> Large:
    """Cut a plane or volume into blocks of the usual size."""
    dims = len(shape)
    return Large(probabilities, labels, Grid(shape, SIDE_PX[dims]), HALO_PX[dims], LIMIT_PX[dims])


def check_count(count: int) -> None:
    """Check that codes suffice.

    Raises
    ------
    LabelsError
        If they do not.
    """
    if count > MOST_SEEDS:
        raise LabelsError(
            f"The image falls into more than {MOST_SEEDS:,} pieces, which is noise rather than objects. "
            "Raise the thresholds."
        )
