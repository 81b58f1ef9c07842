"""Measurements of objects: where they are, how large, how bright."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_unet.axes import PixelSize
from napari_unet.errors import LabelsError

Table = dict[str, npt.NDArray[Any]]


class Planes(Protocol):
    """An image that is read region by region; `imaging.Image` is one."""

    @property
    def sizes(self) -> dict[str, int]:
        """Size along T, C, Z, Y and X."""

    def read(self, t: int, z: slice, y: slice, x: slice, channels: Sequence[int] | None = None) -> npt.NDArray[Any]:
        """Read (C, Z, Y, X) of one time point."""


def measure(
    labels: npt.NDArray[np.integer[Any]], pixel_size: PixelSize | None = None, image: Planes | None = None
) -> Table:
    """Measure every object of every time point.

    Sums are gathered plane by plane, so memory grows with the objects and not with the stack.

    Parameters
    ----------
    labels : (T, Z, Y, X) integers
        0 is background. The same id at two time points is two rows.
    pixel_size : PixelSize, optional
        Adds columns in µm; voxels may be anisotropic.
    image : Image, optional
        Adds the mean of each channel.

    Returns
    -------
    dict of str to (objects,) arrays
        ``label``, ``t``; ``area_px`` (one slice) or ``volume_px`` (stack);
        ``centroid_z``, ``_y``, ``_x`` in pixels; the bounding box ``z_start`` to ``x_stop``, stop
        not included; ``equivalent_diameter_px`` (one slice only, since voxels may be longer than
        wide). Where the pixel size is known, ``area_um2`` or ``volume_um3``,
        ``equivalent_diameter_um`` and ``centroid_z_um``, ``_y_um``, ``_x_um``. With `image`,
        ``mean_channel_0`` and so on. Rows are ordered by time point, then label.

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
    channels = image.sizes["C"] if image is not None else 0
    parts = [_measure_time_point(labels, t, image, channels) for t in range(labels.shape[0])]
    pixels = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return _columns(pixels, pixel_size or PixelSize(), channels, flat=labels.shape[1] == 1)


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


def _measure_time_point(labels: npt.NDArray[Any], t: int, image: Planes | None, channels: int) -> Table:
    """Gather sums over the planes of one time point."""
    depth, height, width = labels.shape[1:]
    ids = _ids(labels, t)
    sums = _Sums(len(ids), channels)
    for z in range(depth):
        plane = np.asarray(labels[t, z])
        y, x = np.nonzero(plane > 0)
        if y.size == 0:
            continue
        values = None
        if image is not None:
            values = image.read(t, slice(z, z + 1), slice(0, height), slice(0, width))[:, 0, y, x]
        sums.add(np.searchsorted(ids, plane[y, x]), (z, y, x), values)
    return {"label": ids, "t": np.full(len(ids), t), **sums.table()}


def _ids(labels: npt.NDArray[Any], t: int) -> npt.NDArray[Any]:
    """Ids of one time point, in increasing order."""
    found = [np.unique(np.asarray(labels[t, z])) for z in range(labels.shape[1])]
    ids = np.unique(np.concatenate(found))
    return ids[ids > 0]


class _Sums:
    """Sums and extremes for each object, fed plane by plane."""

    def __init__(self, count: int, channels: int) -> None:
        self._count = np.zeros(count, np.int64)
        self._position = np.zeros((3, count))
        self._start = np.full((3, count), np.iinfo(np.int64).max)
        self._stop = np.zeros((3, count), np.int64)
        self._values = np.zeros((channels, count))

    def add(
        self,
        rows: npt.NDArray[np.intp],
        place: tuple[int, npt.NDArray[np.intp], npt.NDArray[np.intp]],
        values: npt.NDArray[Any] | None,
    ) -> None:
        """Add pixels: the row of each in the table, its z, y, x, and its (C, pixels) values."""
        size = self._count.size
        self._count += np.bincount(rows, minlength=size)
        for i, along in enumerate(place):
            everywhere = np.broadcast_to(np.asarray(along), rows.shape)
            self._position[i] += np.bincount(rows, everywhere, minlength=size)
            np.minimum.at(self._start[i], rows, everywhere)
            np.maximum.at(self._stop[i], rows, everywhere + 1)
        if values is not None:
            for i, channel in enumerate(values):
                self._values[i] += np.bincount(rows, channel.astype(np.float64), minlength=size)

    def table(self) -> Table:
        """Return counts, centroids, bounding boxes and mean values."""
        table: Table = {"count": self._count}
        for i, axis in enumerate("zyx"):
            table[f"centroid_{axis}"] = self._position[i] / self._count
        for i, axis in enumerate("zyx"):
            table[f"{axis}_start"], table[f"{axis}_stop"] = self._start[i], self._stop[i]
        for number, total in enumerate(self._values):
            table[f"mean_channel_{number}"] = total / self._count
        return table


def _columns(pixels: Table, size: PixelSize, channels: int, *, flat: bool) -> Table:
    """Name the columns, put them in order, and add those in µm."""
    count = pixels["count"]
    table: Table = {"label": pixels["label"], "t": pixels["t"], "area_px" if flat else "volume_px": count}
    z, y, x = size.along("ZYX")
    if flat and y is not None and x is not None:
        table["area_um2"] = count * (y * x)
        table["equivalent_diameter_um"] = _circle(table["area_um2"])
    elif not flat and z is not None and y is not None and x is not None:
        table["volume_um3"] = count * (z * y * x)
        table["equivalent_diameter_um"] = _sphere(table["volume_um3"])
    if flat:
        table["equivalent_diameter_px"] = _circle(count)
    for axis, length in zip("zyx", (z, y, x), strict=True):
        table[f"centroid_{axis}"] = pixels[f"centroid_{axis}"]
        if length is not None:
            table[f"centroid_{axis}_um"] = pixels[f"centroid_{axis}"] * length
    names = [f"{axis}_{end}" for axis in "zyx" for end in ("start", "stop")]
    names += [f"mean_channel_{number}" for number in range(channels)]
    return table | {name: pixels[name] for name in names}


def _circle(area: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Diameter of the circle of that area."""
    diameter: npt.NDArray[np.float64] = 2 * np.sqrt(area / np.pi)
    return diameter


def _sphere(volume: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Diameter of the sphere of that volume."""
    diameter: npt.NDArray[np.float64] = np.cbrt(6 * volume / np.pi)
    return diameter
