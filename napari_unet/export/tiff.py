"""Masks and probability maps as TIFF that ImageJ, Bio-Formats and Python read alike.

Up to 65535 objects: a uint16 ImageJ hyperstack in strips, compressed with zlib. More, or 3.5 GiB
and above: a uint32 OME-TIFF, because ImageJ's own reader turns 32-bit integers into floats.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_unet.atomic import replacing
from napari_unet.axes import PixelSize, check_axes
from napari_unet.errors import AxesError, ExportError, ImageError, LabelsError
from napari_unet.imaging.image import ArrayLike, Image, open_image
from napari_unet.imaging.limits import pixel_bytes
from napari_unet.imaging.tiff import read_tiff

LARGEST_UINT16 = 65535
IMAGEJ_BYTES = int(3.5 * 2**30)
BIGTIFF_BYTES = 2**32 - 2**25
"""tifffile's own threshold."""


def save_masks(
    path: str | os.PathLike[str], labels: ArrayLike, axes: str | None = None, pixel_size: PixelSize | None = None
) -> Path:
    """Save a label image as TIFF, read it back, and only then put it in place.

    Parameters
    ----------
    path : str or path-like
        Ends in ``.tif`` or ``.tiff``.
    labels : array of integers, or of floats with integral values
        0 is background. Ids are kept as they are; none is ever wrapped or renumbered.
    axes : str, optional
        Of `labels`; YX for 2 dimensions and ZYX for 3 by default.
    pixel_size : PixelSize, optional
        Is written where the size in the plane is known.

    Returns
    -------
    Path
        Of the file: uint16 ImageJ hyperstack, or uint32 OME-TIFF where ids exceed 65535 or the
        pixels take 3.5 GiB or more.

    Raises
    ------
    LabelsError
        If `labels` are boolean, negative, not integral, or beyond 2**32 - 1.
    ExportError
        If the file cannot be written or reads back differently; what stood there is unchanged.
    """
    path = _tiff_path(path)
    image = _open_labels(labels, axes, pixel_size)
    dtype = np.uint16 if _largest_id(image) <= LARGEST_UINT16 else np.uint32
    _save(path, image, np.dtype(dtype))
    return path


def save_probabilities(
    path: str | os.PathLike[str],
    probabilities: ArrayLike,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
) -> Path:
    """Save a probability map as float32 TIFF; its classes become channels.

    Parameters
    ----------
    probabilities : (class, *axes) array
        As `predict` returns it.
    axes : str, optional
        Of one class; YX or ZYX by default.

    Raises
    ------
    ExportError
        If the file cannot be written or reads back differently; what stood there is unchanged.
    """
    path = _tiff_path(path)
    of_class = _label_axes(axes, len(probabilities.shape) - 1)
    image = open_image(probabilities, "C" + of_class, pixel_size, "probability map")
    _save(path, image, np.dtype(np.float32))
    return path


# --- what is to be written ----------------------------------------------------------------------


def _tiff_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix.lower() not in {".tif", ".tiff"}:
        raise ExportError(f'"{path.name}" does not end in .tif, and only TIFF is written. Add .tif to the name.')
    return path


def _label_axes(axes: str | None, ndim: int) -> str:
    checked = check_axes(axes, ndim)
    if "C" in checked:
        raise AxesError(f'The axes "{checked}" contain C, but labels have no channels. Name only T, Z, Y and X.')
    return checked


def _open_labels(labels: ArrayLike, axes: str | None, pixel_size: PixelSize | None) -> Image:
    kind = np.dtype(labels.dtype).kind
    if kind not in "uif":
        found = "True and False" if kind == "b" else f"values of type {labels.dtype}"
        raise LabelsError(
            f"The labels hold {found}, and numbers of objects were expected. Number them, "
            "for example with skimage.measure.label."
        )
    try:
        return open_image(labels, _label_axes(axes, len(labels.shape)), pixel_size, "labels")
    except ImageError as error:
        raise LabelsError(str(error)) from error


def _largest_id(image: Image) -> int:
    """Largest id, after checking plane by plane that every id is a number of an object.

    Raises
    ------
    LabelsError
        If one is negative, not integral, or does not fit into 32 bits.
    """
    largest = 0
    for plane in _planes(image):
        low, high = plane.min(), plane.max()
        if plane.dtype.kind == "f" and not (np.isfinite(plane).all() and (plane == np.rint(plane)).all()):
            raise LabelsError("The labels hold fractions or NaN, and whole numbers were expected. Round them first.")
        if low < 0:
            raise LabelsError(f"The labels go down to {low}, and 0 is the lowest. Give every object a positive number.")
        largest = max(largest, int(high))
    if largest > np.iinfo(np.uint32).max:
        raise LabelsError(f"The labels go up to {largest}, and TIFF holds up to 4294967295. Number the objects anew.")
    return largest


def _planes(image: Image) -> Iterator[npt.NDArray[Any]]:
    """Every plane (Y, X), in the order T, Z, C of a hyperstack."""
    size = image.sizes
    y, x = slice(0, size["Y"]), slice(0, size["X"])
    for t in range(size["T"]):
        for z in range(size["Z"]):
            yield from image.read(t, slice(z, z + 1), y, x)[:, 0]


# --- writing and reading back -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the file is laid out."""

    imagej: bool
    bigtiff: bool
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """T, Z, C, Y, X."""


def _layout(image: Image, dtype: np.dtype[Any]) -> _Layout:
    shape = tuple(image.sizes[axis] for axis in "TZCYX")
    count = pixel_bytes(shape, dtype)
    imagej = count < IMAGEJ_BYTES and dtype != np.uint32
    if not imagej and dtype == np.uint16:
        dtype = np.dtype(np.uint32)
        count *= 2
    return _Layout(imagej, count >= BIGTIFF_BYTES and not imagej, dtype, shape)


def _save(path: Path, image: Image, dtype: np.dtype[Any]) -> None:
    layout = _layout(image, dtype)
    with replacing(path) as temporary:
        try:
            _write(temporary, image, layout)
            difference = _difference(temporary, image, layout)
        except (ImageError, AxesError, ValueError, RuntimeError, struct.error) as error:
            # a disk that fills up shows itself in many ways, down to a file without a header
            difference = str(error)
        if difference:
            raise ExportError(
                f'"{path.name}" was not saved, and what was there before is unchanged: it did not read back '
                f"as it was written ({difference[:200]}). Check the disk or choose another folder."
            )


def _write(path: Path, image: Image, layout: _Layout) -> None:
    options: dict[str, Any] = {}
    if layout.imagej and image.pixel_size.known:
        _, y, x = image.pixel_size.along("ZYX")
        assert y is not None
        assert x is not None
        options["resolution"] = (1 / x, 1 / y)
    with tifffile.TiffWriter(
        path, bigtiff=layout.bigtiff, imagej=layout.imagej, ome=not layout.imagej, byteorder="<"
    ) as writer:
        writer.write(
            (plane.astype(layout.dtype) for plane in _planes(image)),
            # without an axis of samples, tifffile takes an image one pixel wide for one row of samples
            shape=(*layout.shape, 1) if layout.imagej else layout.shape,
            dtype=layout.dtype,
            photometric="minisblack",
            compression="zlib",
            predictor=False,
            metadata=_metadata(image.pixel_size, layout),
            **options,
        )


def _metadata(pixel_size: PixelSize, layout: _Layout) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": "TZCYXS" if layout.imagej else "TZCYX"}
    if not pixel_size.known:
        return metadata
    if layout.imagej:
        metadata["unit"] = "um"
        if pixel_size.z_um is not None:
            metadata["spacing"] = pixel_size.z_um
        return metadata
    for axis, size in zip("ZYX", pixel_size.along("ZYX"), strict=True):
        if size is not None:
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    return metadata


def _difference(path: Path, image: Image, layout: _Layout) -> str:
    """Compare a file with what it should hold; empty where nothing differs."""
    found = read_tiff(path)
    if found.sizes != image.sizes:
        return f"{found.sizes} instead of {image.sizes}"
    if np.dtype(found.array.dtype) != layout.dtype:
        return f"{found.array.dtype} instead of {layout.dtype}"
    expected = image.pixel_size if image.pixel_size.known else PixelSize()
    for read, meant in zip(found.pixel_size.along("ZYX"), expected.along("ZYX"), strict=True):
        if (read is None) != (meant is None) or not np.isclose(read or 1, meant or 1, rtol=1e-6):
            return f"a pixel size of {read} µm instead of {meant} µm"
    for number, (one, other) in enumerate(zip(_planes(found), _planes(image), strict=True)):
        if not np.array_equal(one, other.astype(layout.dtype), equal_nan=layout.dtype.kind == "f"):
            return f"plane {number + 1} differs"
    return ""
