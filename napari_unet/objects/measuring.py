"""Measurements of objects: where they are, how large, which shape, how bright.

Everything is gathered in one pass over the image, some rows of a plane at a time, so memory grows with the objects and
not with the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from napari_unet.axes import PixelSize
from napari_unet.errors import LabelsError
from napari_unet.objects.crossings import perimeter, surface
from napari_unet.objects.hulls import hull_measures
from napari_unet.objects.tallies import Band, Tallies

Table = dict[str, npt.NDArray[Any]]

BAND_PX = 2**20
"""Pixels that are looked at together."""
_DENSE = 2**22
"""Ids below this are found by a table of all of them."""


class Planes(Protocol):
    """An image that is read region by region; `imaging.Image` is one."""

    @property
    def sizes(self) -> dict[str, int]:
        """Size along T, C, Z, Y and X."""

    def read(self, t: int, z: slice, y: slice, x: slice, channels: Sequence[int] | None = None) -> npt.NDArray[Any]:
        """Read (C, Z, Y, X) of one time point."""


def measure(
    labels: npt.NDArray[np.integer[Any]],
    pixel_size: PixelSize | None = None,
    image: Planes | None = None,
    *,
    hulls: bool | None = None,
) -> Table:
    """Measure every object of every time point.

    Parameters
    ----------
    labels : (T, Z, Y, X) integers
        0 is background. The same id at two time points is two rows.
    pixel_size : PixelSize, optional
        For columns in µm; voxels may be anisotropic. Where it is not known, lengths of objects in one slice are in
        pixels, which are taken for squares; in stacks they are left out, since voxels may be longer than wide.
    image : Image, optional
        For the brightness of each channel.
    hulls : bool, optional
        Whether to measure the convex hulls of the corners of pixels, which give the Feret diameter and the solidity as
        ImageJ has them. By default only where there is one slice: in stacks they take some milliseconds an object.

    Returns
    -------
    dict of str to (objects,) arrays
        The unit is in the name: ``_px``, ``_um``, ``_um2``, ``_um3``, ``_deg``; what has none is a ratio. Rows are
        ordered by time point, then label.

        - ``label``, ``t``
        - one slice: ``area``, ``equivalent_diameter``, ``perimeter``, ``circularity`` (1 for a disc), ``major_axis``,
          ``minor_axis``, ``eccentricity``, ``orientation_deg`` (of the major axis, from the x axis, counterclockwise on
          the screen, 0 to 180), ``feret``, ``solidity``, ``extent``
        - stacks: ``volume``, ``equivalent_diameter``, ``surface``, ``sphericity``, ``major_axis``, ``middle_axis``,
          ``minor_axis``, ``extent``
        - ``centroid_z``, ``_y``, ``_x`` in pixels and where known in µm; the bounding box ``z_start`` to ``x_stop`` in
          pixels, stop not included
        - with `image`, ``mean_channel_0``, ``std_``, ``min_``, ``max_`` and ``sum_channel_0``, and so on

    Raises
    ------
    LabelsError
        If `labels` are no (T, Z, Y, X) integers, or `image` has another size.

    Examples
    --------
    >>> table = measure(np.array([[[[0, 7, 7], [0, 7, 7]]]]), PixelSize(y_um=0.5, x_um=0.5))
    >>> table["label"].tolist(), table["area_px"].tolist(), table["area_um2"].tolist()
    ([7], [4], [1.0])
    >>> table["centroid_x"].tolist(), table["x_start"].tolist(), table["x_stop"].tolist()
    ([1.5], [1], [3])
    """
    _check(labels, image)
    flat = labels.shape[1] == 1
    source = _Source(labels, image, pixel_size or PixelSize(), flat if hulls is None else hulls)
    parts = [_measure_time_point(source, t) for t in range(labels.shape[0])]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True, slots=True)
class _Source:
    """What is measured, and how."""

    labels: npt.NDArray[Any]
    image: Planes | None
    pixel_size: PixelSize
    hulls: bool

    @property
    def flat(self) -> bool:
        """Whether there is one slice only."""
        return bool(self.labels.shape[1] == 1)

    @property
    def unit(self) -> Literal["um", "px", ""]:
        """Of lengths; empty if there is none."""
        if self.pixel_size.known and (self.flat or self.pixel_size.z_um is not None):
            return "um"
        return "px" if self.flat else ""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Of pixels along Z, Y and X, in the unit of lengths."""
        if self.unit != "um":
            return 1.0, 1.0, 1.0
        z, y, x = (size or 1.0 for size in self.pixel_size.along("ZYX"))
        return z, y, x


def _check(labels: npt.NDArray[Any], image: Planes | None) -> None:
    if len(labels.shape) != 4 or np.dtype(labels.dtype).kind not in "ui":
        raise LabelsError(
            f"The labels have {len(labels.shape)} dimensions of type {labels.dtype}, "
            "and (T, Z, Y, X) of integers were expected."
        )
    if image is not None:
        size = tuple(image.sizes[axis] for axis in "TZYX")
        if size != tuple(labels.shape):
            raise LabelsError(
                f"The labels have the size {tuple(labels.shape)} and the image {size}. Choose the labels of this image."
            )


def _measure_time_point(source: _Source, t: int) -> Table:
    """Measure the objects of one time point."""
    ids = _ids(source.labels, t)
    numbers = _Numbers(ids)
    channels = source.image.sizes["C"] if source.image is not None else 0
    tallies = Tallies(len(ids), channels, flat=source.flat, hulls=source.hulls)
    for band in _bands(source, t, numbers):
        tallies.add(band)
    return {"label": ids, "t": np.full(len(ids), t), **_columns(tallies, source)}


def _ids(labels: npt.NDArray[Any], t: int) -> npt.NDArray[Any]:
    """Ids of one time point, in increasing order."""
    found = [_present(np.asarray(labels[t, z])) for z in range(labels.shape[1])]
    return np.unique(np.concatenate(found))


def _present(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the ids of one plane; sorting all pixels would take longer than all measurements."""
    if 0 < plane.max(initial=0) < _DENSE and plane.min() >= 0:
        there = np.zeros(int(plane.max()) + 1, bool)
        there[plane] = True
        there[0] = False
        return np.flatnonzero(there).astype(plane.dtype)
    ids = np.unique(plane)
    return ids[ids > 0]


class _Numbers:
    """Which object, counted from 1, an id is."""

    def __init__(self, ids: npt.NDArray[Any]) -> None:
        self._ids = ids
        self._table = None
        if ids.size and int(ids[-1]) < _DENSE:
            self._table = np.zeros(int(ids[-1]) + 1, np.int64)
            self._table[ids.astype(np.int64)] = np.arange(1, ids.size + 1)

    def of(self, block: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the number of each pixel's object; 0 for the background."""
        block = np.maximum(block, 0)
        if self._table is not None:
            numbers: npt.NDArray[np.int64] = self._table[block]
            return numbers
        return np.where(block > 0, np.searchsorted(self._ids, block) + 1, 0)


def _bands(source: _Source, t: int, numbers: _Numbers) -> Iterator[Band]:
    """Yield the rows of all planes, some at a time."""
    _, depth, height, width = source.labels.shape
    step = max(1, BAND_PX // max(width, 1))
    before = None if source.flat else np.zeros((height, width), source.labels.dtype)
    for z in range(depth):
        plane = np.asarray(source.labels[t, z])
        for first in range(0, height, step):
            stop = min(first + step, height)
            rows = numbers.of(_with_margin(plane, first, stop))
            previous = None if before is None else numbers.of(_with_margin(before, first, stop))
            values = None
            if source.image is not None:
                values = source.image.read(t, slice(z, z + 1), slice(first, stop), slice(0, width))[:, 0]
            yield Band(rows, previous, z, first, values)
        if before is not None:
            before = plane


def _with_margin(plane: npt.NDArray[Any], first: int, stop: int) -> npt.NDArray[Any]:
    """Return some rows of a plane with one more pixel around them; 0 outside of the plane."""
    height, width = plane.shape
    rows = np.zeros((stop - first + 2, width + 2), plane.dtype)
    low, high = max(first - 1, 0), min(stop + 1, height)
    rows[low - first + 1 : high - first + 1, 1:-1] = plane[low:high]
    return rows


# --- columns ------------------------------------------------------------------------------------


def _columns(tallies: Tallies, source: _Source) -> Table:
    """Name the columns and put them in order."""
    return {
        **_size_columns(tallies.count, source),
        **_shape_columns(tallies, source),
        **_place_columns(tallies, source),
        **_brightness_columns(tallies),
    }


def _size_columns(count: npt.NDArray[np.int64], source: _Source) -> Table:
    spacing = source.spacing
    if source.flat:
        table: Table = {"area_px": count}
        if source.unit == "um":
            table["area_um2"] = count * (spacing[1] * spacing[2])
            table["equivalent_diameter_um"] = _circle(table["area_um2"])
        return {**table, "equivalent_diameter_px": _circle(count)}
    table = {"volume_px": count}
    if source.unit:
        table["volume_um3"] = count * prod(spacing)
        table["equivalent_diameter_um"] = _sphere(table["volume_um3"])
    return table


def _shape_columns(tallies: Tallies, source: _Source) -> Table:
    count, unit, spacing = tallies.count, source.unit, source.spacing
    sides = tallies.stop - tallies.start
    table: Table = {}
    if source.flat:
        around = perimeter(tallies.entries, spacing)
        area = count * (spacing[1] * spacing[2])
        table[f"perimeter_{unit}"] = around
        table["circularity"] = np.minimum(4 * np.pi * area / around**2, 1)
    elif unit:
        around = surface(tallies.entries, spacing)
        table["surface_um2"] = around
        table["sphericity"] = np.minimum(np.cbrt(36 * np.pi * (count * prod(spacing)) ** 2) / around, 1)
    if unit:
        table |= _axis_columns(tallies, source)
    if source.hulls:
        within, diameter = hull_measures(tallies.runs, count.size, spacing, flat=source.flat)
        if unit:
            table[f"feret_{unit}"] = diameter
        table["solidity"] = np.minimum(count / within, 1)  # both are rounded
    return table | {"extent": count / sides.prod(axis=0)}


def _axis_columns(tallies: Tallies, source: _Source) -> Table:
    """Measure the ellipse or ellipsoid of the same second moments."""
    unit = source.unit
    spread = _covariance(tallies, source.spacing)
    spread = spread[:, 1:, 1:] if source.flat else spread
    along = np.maximum(np.linalg.eigvalsh(spread), 0)[:, ::-1]
    if not source.flat:
        lengths = 2 * np.sqrt(5 * along)
        return {f"{name}_axis_{unit}": lengths[:, i] for i, name in enumerate(("major", "middle", "minor"))}
    lengths = 4 * np.sqrt(along)
    largest = np.where(along[:, 0] > 0, along[:, 0], 1)
    turned = np.arctan2(-2 * spread[:, 0, 1], spread[:, 1, 1] - spread[:, 0, 0])
    return {
        f"major_axis_{unit}": lengths[:, 0],
        f"minor_axis_{unit}": lengths[:, 1],
        "eccentricity": np.sqrt(np.where(along[:, 0] > 0, 1 - along[:, 1] / largest, 0)),
        "orientation_deg": np.degrees(turned / 2) % 180,
    }


def _covariance(tallies: Tallies, spacing: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Return the (objects, 3, 3) covariance of the places of an object's pixels, along Z, Y and X."""
    spread = np.empty((tallies.count.size, 3, 3))
    for i, one in enumerate("zyx"):
        for j, other in enumerate("zyx"):
            mean = tallies.products["".join(sorted((one, other), reverse=True))] / tallies.count
            apart = mean - tallies.position[i] * tallies.position[j] / tallies.count.astype(float) ** 2
            spread[:, i, j] = apart * spacing[i] * spacing[j]
    return spread


def _place_columns(tallies: Tallies, source: _Source) -> Table:
    table: Table = {}
    for i, (axis, length) in enumerate(zip("zyx", source.pixel_size.along("ZYX"), strict=True)):
        table[f"centroid_{axis}"] = tallies.position[i] / tallies.count
        if length is not None:
            table[f"centroid_{axis}_um"] = table[f"centroid_{axis}"] * length
    for i, axis in enumerate("zyx"):
        table[f"{axis}_start"], table[f"{axis}_stop"] = tallies.start[i], tallies.stop[i]
    return table


def _brightness_columns(tallies: Tallies) -> Table:
    table: Table = {}
    for number, channel in enumerate(tallies.brightness):
        for name, column in (
            ("mean", channel.mean),
            ("std", channel.std),
            ("min", channel.low),
            ("max", channel.high),
            ("sum", channel.mean * channel.count),
        ):
            table[f"{name}_channel_{number}"] = column
    return table


def _circle(area: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Diameter of the circle of that area."""
    diameter: npt.NDArray[np.float64] = 2 * np.sqrt(area / np.pi)
    return diameter


def _sphere(volume: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Diameter of the sphere of that volume."""
    diameter: npt.NDArray[np.float64] = np.cbrt(6 * volume / np.pi)
    return diameter
