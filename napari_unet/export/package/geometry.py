"""Which images a packaged network takes, and how much of the border of a tile is thrown away."""

from __future__ import annotations

from dataclasses import dataclass

from napari_unet.export.answering import smallest_sides
from napari_unet.networks.base import Network
from napari_unet.networks.field import receptive_field

MOST_SIDE_PX = {2: 512, 3: 80}
"""The smallest image must not be larger, or programs could not run the package on usual machines."""
USUAL_SIDE_PX = {2: 256, 3: 48}


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of the images that a package takes, along ([Z,] Y, X).

    Attributes
    ----------
    least : tuple of int
        The smallest sides.
    steps : tuple of int
        What may be added to them, any number of times.
    halo : tuple of int
        Pixels at each side of a tile's output that are thrown away.
    exact : bool
        Whether tiles then give what the whole image gives.
    """

    least: tuple[int, ...]
    steps: tuple[int, ...]
    halo: tuple[int, ...]
    exact: bool

    @property
    def usual(self) -> tuple[int, ...]:
        """Sides for the test image."""
        wanted = USUAL_SIDE_PX[len(self.least)]
        return tuple(
            least + max(0, -(-(wanted - least) // step)) * step
            for least, step in zip(self.least, self.steps, strict=True)
        )


def geometry_of(network: Network) -> Geometry:
    """Measure what a package has to say about sizes."""
    field, known = receptive_field(network), network.geometry
    steps, smallest = known.strides, smallest_sides(known)
    most = (MOST_SIDE_PX[network.dims] - max(steps)) // 2
    # Without a radius that makes tiles exact, an eighth of the largest tile hides most of the seams.
    radius = min(field.radius, most) if field.local else min(MOST_SIDE_PX[network.dims] // 8, most)
    halo = tuple(min(-(-radius // step) * step, most) for step in steps)
    # The format asks that something of the smallest image is left between the halos.
    least = tuple(
        side + max(0, -(-(2 * lost + 1 - side) // step)) * step
        for side, lost, step in zip(smallest, halo, steps, strict=True)
    )
    return Geometry(least, steps, halo, field.local and min(halo) >= field.radius)
