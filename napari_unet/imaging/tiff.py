"""Reading TIFF: plain, ImageJ hyperstack and OME; complete or not at all.

tifffile reads a truncated stack as a shorter one and only logs a complaint. Here its complaints,
a page too few and bytes behind the end of the file are all errors.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_unet.axes import PixelSize
from napari_unet.errors import AxesError, ImageError, SeveralImagesError
from napari_unet.imaging.image import ArrayLike, Image, open_image
from napari_unet.imaging.limits import IN_MEMORY_BYTES, check_claim, pixel_bytes
from napari_unet.imaging.units import to_um

_DAMAGE = re.compile(
    r"corrupt|truncated|missing|incomplete|out of range|failed to read|expected \d+ frames|invalid page offset",
    re.IGNORECASE,
)
_SMALLEST_UM, _LARGEST_UM = 0.001, 10.0
"""Pixel sizes that a plain TIFF's resolution may stand for; 300 dpi, a printer's, would be 85 µm."""


def read_tiff(path: Path, axes: str | None = None, *, colours: bool = True) -> Image:
    """Read a TIFF file; see `read_image`.

    Parameters
    ----------
    colours : bool
        Translate a palette into colours; if not, keep its indices, as for labels.

    Raises
    ------
    ImageError
        If the file is no TIFF, is incomplete or damaged, or holds several images.
    AxesError
        If its axes are ambiguous, or `axes` do not describe it.
    """
    with _decoder_errors(path), _log() as log, tifffile.TiffFile(path) as tif:
        series = _only_series(tif, path.name)
        _check_complete(tif, series, path.name, log)
        known = _known_axes(series, path.name) if axes is None else axes
        array = _pixels(tif, series, path)
        keyframe = series.keyframe
        if colours and keyframe.colormap is not None and not tif.is_imagej:
            array, known = _apply_palette(np.asarray(array), keyframe.colormap, known, axes)
        array = _without_alpha(array, series)
        pixel_size = _pixel_size(tif)
        if log.damage():
            raise _damaged(path.name, log.damage())
    return open_image(array, known, pixel_size, path.name)


# --- damage -------------------------------------------------------------------------------------


class _Log(logging.Filter):
    """Catches what tifffile logs in this thread, and keeps it from the terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()
        self._records: list[logging.LogRecord] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread:
            return True
        self._records.append(record)
        return False

    def damage(self) -> str:
        """Return the first complaint about missing or damaged content; empty where there is none."""
        for record in self._records:
            message = record.getMessage()
            if record.levelno >= logging.ERROR or (record.levelno >= logging.WARNING and _DAMAGE.search(message)):
                return message
        return ""


@contextmanager
def _log() -> Iterator[_Log]:
    logger, log = logging.getLogger("tifffile"), _Log()
    logger.addFilter(log)
    try:
        yield log
    finally:
        logger.removeFilter(log)


@contextmanager
def _decoder_errors(path: Path) -> Iterator[None]:
    """Turn whatever tifffile and the codecs raise on a bad file into one sentence."""
    try:
        yield
    except (ImageError, AxesError):
        raise
    except OSError as error:
        raise ImageError(f'"{path.name}" cannot be read: {error.strerror or error}.') from error
    except tifffile.TiffFileError as error:
        raise ImageError(f'"{path.name}" is no valid TIFF file ({error}). Save it again from its source.') from error
    except Exception as error:  # codecs raise anything, from IndexError to their own RuntimeError
        raise _damaged(path.name, str(error) or type(error).__name__) from error


def _damaged(name: str, reason: str) -> ImageError:
    # tifffile puts the object that complains, in angle brackets, before its complaint
    reason = re.sub(r"^(<[^>]*>\s*)+", "", reason).strip(" .")[:120]
    return ImageError(f'"{name}" is incomplete or damaged ({reason}). Copy or save it again from its source.')


def _only_series(tif: tifffile.TiffFile, name: str) -> tifffile.TiffPageSeries:
    """Return the one image of the file; thumbnails and labels of slides do not count."""
    if not tif.series:
        raise ImageError(f'"{name}" holds no image. Save it again from its source.')
    first, *others = sorted(tif.series, key=lambda series: -series.size)
    if any(series.size * 4 > first.size for series in others):
        raise SeveralImagesError(
            f'"{name}" holds {len(tif.series)} separate images. Save the wanted one as its own file.'
        )
    return first


def _check_complete(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, name: str, log: _Log) -> None:
    """Check that every page that the metadata promise is there, with all its bytes."""
    pages = list(series.pages)
    if log.damage():
        raise _damaged(name, log.damage())
    files = {page.parent.filehandle.path: page.parent.filehandle for page in pages if page is not None}
    file_bytes = sum(handle.size for handle in files.values() if not handle.closed) or tif.filehandle.size
    check_claim(name, pixel_bytes(series.shape, series.dtype), file_bytes)
    promised = math.prod(series.shape) // max(1, math.prod(series.keyframe.shape))
    found = sum(page is not None for page in pages)
    if series.dataoffset is not None:
        end = series.dataoffset + series.nbytes
        if not series.is_multifile and end > tif.filehandle.size:
            raise _damaged(name, f"it ends {end - tif.filehandle.size} bytes too early")
        return
    if found < promised:
        raise _damaged(name, f"it holds {found} of {promised} planes")
    _check_declared(tif, series, name)
    if not series.is_multifile:
        _check_bytes(pages, tif.filehandle.size, name)


def _check_declared(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, name: str) -> None:
    """Compare with the number of planes that ImageJ wrote down."""
    declared = int((tif.imagej_metadata or {}).get("images", 1))
    planes = math.prod(n for n, axis in zip(series.shape, series.axes, strict=True) if axis not in "YXS")
    if "S" not in series.axes and declared > planes:
        raise _damaged(name, f"it holds {planes} of {declared} planes")


def _check_bytes(pages: list[Any], file_bytes: int, name: str) -> None:
    for number, page in enumerate(pages):
        pieces = zip(page.dataoffsets, page.databytecounts, strict=False)
        if any(count and offset + count > file_bytes for offset, count in pieces):
            raise _damaged(name, f"the data of plane {number + 1} of {len(pages)} are cut off")


# --- pixels -------------------------------------------------------------------------------------


def _pixels(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> ArrayLike:
    """Small images whole; large ones mapped where stored plainly, otherwise decoded where read."""
    if pixel_bytes(series.shape, series.dtype) <= IN_MEMORY_BYTES:
        return _native(series.asarray())
    if series.dataoffset is not None and not series.is_multifile:
        kind = series.dtype.newbyteorder(tif.byteorder)
        return np.memmap(path, kind, mode="r", offset=series.dataoffset, shape=series.shape)
    number = next(i for i, other in enumerate(tif.series) if other is series)
    return _lazy(path, number)


def _native(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Byte order of this machine: torch knows no other."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def written_by_us(path: Path) -> bool:
    """Whether a TIFF file names this program as the one that wrote it."""
    with _decoder_errors(path), _log(), tifffile.TiffFile(path) as tif:
        return str(tif.pages.first.tags.valueof("Software", "")).startswith("napari-unet")


def tiff_levels(path: Path) -> tuple[ArrayLike, ...]:
    """Return the smaller versions of the image in a TIFF file, largest first; none where it holds only the image.

    Raises
    ------
    ImageError
        As `read_tiff`.
    """
    with _decoder_errors(path), _log(), tifffile.TiffFile(path) as tif:
        wanted = _only_series(tif, path.name)
        number = next(i for i, other in enumerate(tif.series) if other is wanted)
        count = len(wanted.levels)
    return tuple(_lazy(path, number, level) for level in range(1, count))


def _lazy(path: Path, number: int, level: int = 0) -> ArrayLike:
    """Open a Zarr view of the file, which is closed when the view is collected.

    The file is kept open, not opened anew for each read: so replacing it changes nothing here.
    """
    import zarr

    tif = tifffile.TiffFile(path)
    try:
        array: ArrayLike = zarr.open_array(tif.series[number].aszarr(level=level), mode="r")
    except BaseException:
        tif.close()
        raise
    weakref.finalize(array, tif.close)
    return array


def _without_alpha(array: ArrayLike, series: tifffile.TiffPageSeries) -> ArrayLike:
    """Drop transparency from an image in memory; a lazy one shows it as a further channel."""
    extra = series.keyframe.extrasamples
    alpha = {tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA}
    if not extra or extra[-1] not in alpha or "S" not in series.axes or not isinstance(array, np.ndarray):
        return array
    samples = series.axes.index("S")
    return array[(slice(None),) * samples + (slice(0, array.shape[samples] - len(extra)),)]


def _apply_palette(
    indices: npt.NDArray[Any], colormap: npt.NDArray[Any], axes: str, asked: str | None
) -> tuple[npt.NDArray[Any], str]:
    """Translate palette indices into grey, or into a last channel axis.

    ImageJ writes a palette for display only, so its files are not treated here.
    """
    table = (colormap >> 8).astype(np.uint8)
    if (table[0] == table[1]).all() and (table[0] == table[2]).all():
        return table[0][indices], axes
    coloured = np.moveaxis(table[:, indices], 0, -1)
    return coloured, axes if asked is not None and len(asked.strip()) == coloured.ndim else axes + "C"


# --- metadata -----------------------------------------------------------------------------------


def _known_axes(series: tifffile.TiffPageSeries, name: str) -> str:
    """Translate tifffile's axes; one axis of unknown meaning is taken for Z where there is no Z.

    Raises
    ------
    AxesError
        If that leaves a doubt.
    """
    axes = series.axes.replace("S", "C")
    unknown = [axis for axis in axes if axis not in "TCZYX"]
    if len(unknown) == 1 and "Z" not in axes:
        axes = axes.replace(unknown[0], "Z")
        unknown = []
    if unknown or len(set(axes)) != len(axes):
        shape = " × ".join(str(n) for n in series.shape)
        raise AxesError(
            f'The file "{name}" does not say what its {len(axes)} axes ({shape}) are. '
            "Name them with --axes, using each of T, C, Z, Y and X at most once, for example --axes TZYX."
        )
    return axes


def _pixel_size(tif: tifffile.TiffFile) -> PixelSize:
    if tif.is_ome and tif.ome_metadata:
        return _ome_pixel_size(tif.ome_metadata)
    if tif.is_imagej and "unit" in (tif.imagej_metadata or {}):
        return _imagej_pixel_size(tif, tif.imagej_metadata or {})
    return _plain_pixel_size(tif)


def _ome_pixel_size(xml: str) -> PixelSize:
    images = tifffile.xml2dict(xml).get("OME", {}).get("Image", {})
    first: Mapping[str, Any] = images[0] if isinstance(images, list) else images
    pixels = first.get("Pixels", {})

    def size(axis: str) -> float | None:
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        return to_um(pixels.get(f"PhysicalSize{axis}"), unit)

    return PixelSize(size("Z"), size("Y"), size("X"))


def _imagej_pixel_size(tif: tifffile.TiffFile, metadata: Mapping[str, Any]) -> PixelSize:
    unit = str(metadata["unit"])
    y, x = (_pixels_per_unit(tif, name) for name in ("YResolution", "XResolution"))
    return PixelSize(
        z_um=to_um(metadata.get("spacing"), unit),
        y_um=to_um(1 / y, unit) if y else None,
        x_um=to_um(1 / x, unit) if x else None,
    )


def _plain_pixel_size(tif: tifffile.TiffFile) -> PixelSize:
    """Take the resolution for a pixel size only where it can be a microscope's."""
    tag = tif.pages.first.tags.get("ResolutionUnit")
    unit = {2: "inch", 3: "cm"}.get(int(tag.value)) if tag is not None else None
    y, x = (_pixels_per_unit(tif, name) for name in ("YResolution", "XResolution"))
    sizes = [to_um(1 / n, unit) if n else None for n in (y, x)]
    if any(size is None or not _SMALLEST_UM <= size <= _LARGEST_UM for size in sizes):
        return PixelSize()
    return PixelSize(y_um=sizes[0], x_um=sizes[1])


def _pixels_per_unit(tif: tifffile.TiffFile, name: str) -> float | None:
    tag = tif.pages.first.tags.get(name)
    if tag is None:
        return None
    numerator, denominator = tag.value
    return numerator / denominator if numerator and denominator else None
