"""Writing a TIFF file from bands: metadata for ImageJ or OME, strips, and what it says of the image."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tifffile

from napari_unet.atomic import replacing
from napari_unet.errors import ExportError
from napari_unet.events import Event, Progress
from napari_unet.export.feeding import feed
from napari_unet.export.layouts import Layout
from napari_unet.export.rasters import Raster, band_rows
from napari_unet.export.strips import compressed
from napari_unet.export.verifying import checksum, difference_events
from napari_unet.version import VERSION


def write_tiff_events(path: Path, raster: Raster) -> Generator[Event, None, Path]:
    """Write a raster beside `path`, read it back with two readers, and put it in place.

    Raises
    ------
    ExportError
        If it cannot be written or reads back differently; what stood there is unchanged.
    ImageError
        If the pixels themselves cannot be read.
    """
    layout = raster.layout
    itemsize = max(layout.dtype.itemsize, raster.image.dtype.itemsize)
    rows = band_rows(layout.shape[-1], itemsize, layout.rows_per_strip)
    with replacing(path) as temporary:
        sums: list[int] = []
        try:
            yield from _write_events(temporary, raster, layout, rows, sums)
        except (ValueError, RuntimeError, struct.error) as error:  # a disk that fills up shows itself in many ways
            raise _not_saved(path, str(error)) from error
        difference = yield from difference_events(temporary, raster, rows, sums)
        if difference:
            raise _not_saved(path, f"it did not read back as it was written ({difference[:200]})")
    return path


def _not_saved(path: Path, reason: str) -> ExportError:
    return ExportError(
        f'"{path.name}" was not saved, and what was there before is unchanged: {reason}. '
        "Check the disk or choose another folder."
    )


def _write_events(
    path: Path, raster: Raster, layout: Layout, rows: int, sums: list[int]
) -> Generator[Event, None, None]:
    """Write all bands, and note the checksum of each."""

    def bands() -> Iterator[npt.NDArray[Any]]:
        for band in raster.bands(rows):
            sums.append(checksum(band))
            yield band

    total = layout.shape[0] * layout.shape[1] * layout.shape[2] * -(-layout.shape[3] // rows)
    for _ in feed(lambda bands: _write(path, raster, layout, bands), bands()):
        yield Progress("Writing", len(sums), total)


def _write(path: Path, raster: Raster, layout: Layout, bands: Iterator[npt.NDArray[Any]]) -> None:
    options: dict[str, Any] = {}
    size, imagej = raster.image.pixel_size, layout.kind == "imagej"
    if imagej and size.y_um is not None and size.x_um is not None:
        options["resolution"] = (1 / size.x_um, 1 / size.y_um)
    with tifffile.TiffWriter(path, bigtiff=layout.bigtiff, imagej=imagej, ome=not imagej, byteorder="<") as writer:
        writer.write(
            compressed(bands, layout.rows_per_strip),
            # without an axis of samples, tifffile takes an image one pixel wide for one row of samples
            shape=(*layout.shape, 1) if imagej else layout.shape,
            dtype=layout.dtype,
            photometric="minisblack",
            rowsperstrip=layout.rows_per_strip,
            compression="zlib",
            predictor=False,
            software=f"napari-unet {VERSION}",
            metadata=_imagej_metadata(raster, layout) if imagej else _ome_metadata(raster),
            **options,
        )


def _imagej_metadata(raster: Raster, layout: Layout) -> dict[str, Any]:
    size, about = raster.image.pixel_size, raster.about
    metadata: dict[str, Any] = {"axes": "TZCYXS", "min": 0, "max": raster.largest}
    if size.known:
        metadata["unit"] = "um"
        if size.z_um is not None:
            metadata["spacing"] = size.z_um
    if about.interval_s is not None:
        metadata |= {"finterval": about.interval_s, "tunit": "sec"}
    metadata["Info"] = _description(raster)
    channels = len(raster.channels)
    if channels > 1:
        metadata["Ranges"] = (0.0, float(raster.largest)) * channels
        metadata["Labels"] = list(raster.channels) * (layout.shape[0] * layout.shape[1])
    return metadata


def _ome_metadata(raster: Raster) -> dict[str, Any]:
    size, about = raster.image.pixel_size, raster.about
    metadata: dict[str, Any] = {
        "axes": "TZCYX",
        "Name": _printable(about.image_name or raster.image.name),
        "Description": _printable(_description(raster)),
        "Channel": {"Name": [_printable(name) for name in raster.channels]},
    }
    if size.known:
        for axis, length in zip("ZYX", size.along("ZYX"), strict=True):
            if length is not None:
                metadata |= {f"PhysicalSize{axis}": length, f"PhysicalSize{axis}Unit": "µm"}
    if about.interval_s is not None:
        metadata |= {"TimeIncrement": about.interval_s, "TimeIncrementUnit": "s"}
    return metadata


def _description(raster: Raster) -> str:
    image = f"Image: {raster.about.image_name}\n" if raster.about.image_name else ""
    return f"{image}Values: {raster.values}\nWritten by napari-unet {VERSION}\n"


def _printable(text: str) -> str:
    """Drop what XML cannot hold, and replace letters of more than 16 bits, such as emoji: Bio-Formats fails at them."""
    letters = (letter if ord(letter) < 2**16 else "_" for letter in text)
    return "".join(letter for letter in letters if letter.isprintable() or letter == "\n")
