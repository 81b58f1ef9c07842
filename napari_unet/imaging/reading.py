"""Image files as images: one function, one table of formats.

>>> sorted(READERS)
['.btf', '.jpeg', '.jpg', '.npy', '.png', '.tf2', '.tf8', '.tif', '.tiff']
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import ImageError, LabelsError
from napari_unet.imaging.image import Image, open_image
from napari_unet.imaging.limits import IN_MEMORY_BYTES, check_claim
from napari_unet.imaging.tiff import read_tiff
from napari_unet.imaging.zarrs import is_zarr, label_folder, read_zarr

Reader = Callable[[Path, str | None], Image]


def read_image(path: str | os.PathLike[str], axes: str | None = None) -> Image:
    """Open an image file, lazily where that is possible and worthwhile.

    TIFF (plain, ImageJ, OME), PNG, JPEG, ``.npy``, Zarr and OME-Zarr. Axes and pixel size come
    from the file where it knows them. Images of up to 64 MiB are read at once and their file is
    closed; larger TIFF and ``.npy`` files and all Zarr stores are read where they are sliced.

    Parameters
    ----------
    path : str or path-like
        A file, or the folder of a Zarr store.
    axes : str, optional
        One letter a dimension, instead of what the file says; for example "TZYX".

    Returns
    -------
    Image
        Transparency is dropped. Palettes become colours, but those of ImageJ, which are for
        display only.

    Raises
    ------
    ImageError
        If the file is missing, of an unknown kind, damaged, incomplete, or claims to hold more
        pixels than it can.
    AxesError
        If the file does not say what its axes are, or `axes` do not describe it.
    """
    path = Path(path)
    check_there(path)
    if path.is_dir():
        return read_zarr(path, axes)
    return _reader(path)(path, axes)


def read_labels(path: str | os.PathLike[str], axes: str | None = None, shape: Sequence[int] | None = None) -> Image:
    """Open labels: a label image, masks of Cellpose, ROIs of ImageJ and Fiji, or outlines of QuPath.

    Parameters
    ----------
    path : str or path-like
        Of any kind that `read_image` opens, or a ``_seg.npy``, a ``.zip`` or ``.roi`` of ROIs, or GeoJSON. Nothing in
        a file is ever run.
    axes : str, optional
        Of the image that the labels belong to, or without `shape` those of the file.
    shape : sequence of int, optional
        Of that image. Outlines do not know it and need it; of other files it is checked.

    Returns
    -------
    Image
        Of integers. Outlines that are called by a number have that number; others get numbers that are free. Where
        outlines overlap, a pixel belongs to the smallest.

    Raises
    ------
    ImageError, AxesError
        As `read_image`.
    LabelsError
        If the file holds channels or colours instead of labels, outlines come without a shape, or the labels are not
        those of an image of that shape.
    """
    from napari_unet.imaging.foreign_labels.reading import is_foreign, read_foreign_labels

    path = Path(path)
    check_there(path)
    if shape is not None or is_foreign(path):
        return read_foreign_labels(path, shape, axes)
    return read_label_image(path, axes)


def read_label_image(path: Path, axes: str | None = None) -> Image:
    """Open a label image; like `read_image`, but the indices of a palette are the labels.

    Raises
    ------
    ImageError, AxesError
        As `read_image`.
    LabelsError
        If the file holds channels or colours instead of labels.
    """
    check_there(path)
    if path.is_dir():
        labels = read_zarr(label_folder(path), axes)
    elif path.suffix.lower() == ".png":
        labels = _read_png(path, axes, colours=False)
    elif READERS.get(path.suffix.lower()) is read_tiff:
        labels = read_tiff(path, axes, colours=False)
    else:
        labels = _reader(path)(path, axes)
    if labels.sizes["C"] > 1:
        raise LabelsError(
            f'"{path.name}" holds {labels.sizes["C"]} channels, and labels have none. '
            "Save the labels as integers in one channel."
        )
    return labels


def image_name(path: str | os.PathLike[str]) -> str:
    """Name of an image without its suffixes, to name results after.

    >>> image_name("data/cells 1.ome.tif"), image_name("well.B2.png")
    ('cells 1', 'well.B2')
    """
    stem = Path(path).stem
    return stem[:-4] if stem.lower().endswith(".ome") and len(stem) > 4 else stem


def check_there(path: Path) -> None:
    """Check that there is something to read.

    Raises
    ------
    ImageError
        If it is missing, empty, or a folder that is no Zarr store.
    """
    try:
        if not path.exists():
            raise ImageError(f'There is no file "{path}". Check the name and the folder.')
        if path.is_dir() and not is_zarr(path):
            raise ImageError(f'"{path}" is a folder and not a Zarr store. Choose the image files in it.')
        if path.is_file() and path.stat().st_size == 0:
            raise ImageError(f'"{path.name}" is empty (0 bytes). Copy or save it again from its source.')
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ImageError(f'"{path}" cannot be read: {getattr(error, "strerror", error)}.') from error


def _reader(path: Path) -> Reader:
    try:
        return READERS[path.suffix.lower()]
    except KeyError:
        raise ImageError(
            f'"{path.name}" is of a kind that cannot be read. '
            "Use TIFF, PNG, JPEG, .npy or (OME-)Zarr; other formats can be converted with Fiji."
        ) from None


def _read_npy(path: Path, axes: str | None) -> Image:
    try:
        # what is packed in a zip, np.load would open as one, and not close
        array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy takes the header for Python, and lets the parser's errors through
        raise ImageError(
            f'"{path.name}" is no complete .npy file of numbers ({str(error)[:120]}). Save it again.'
        ) from error
    small = array.nbytes <= IN_MEMORY_BYTES
    return open_image(np.array(array) if small else array, axes, name=path.name)


def _read_png(path: Path, axes: str | None, *, colours: bool = True) -> Image:
    content = _content(path)
    if not content.startswith(b"\x89PNG\r\n\x1a\n") or len(content) < 33:
        raise _not_what_it_says(path, "PNG")
    width, height, depth, kind = struct.unpack(">IIBB", content[16:26])
    samples = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(kind, 4)
    check_claim(path.name, width * height * samples * max(1, depth // 8), len(content))
    indexed = kind == 3 and not colours
    array = _palette_indices(path) if indexed else _decoded(path, content, "png_decode")
    return _colour_image(array, axes, path.name, alpha=array.ndim == 3 and array.shape[-1] in {2, 4})


def _read_jpeg(path: Path, axes: str | None) -> Image:
    content = _content(path)
    if not content.startswith(b"\xff\xd8"):
        raise _not_what_it_says(path, "JPEG")
    # the decoder fills what is missing with grey and says nothing
    if b"\xff\xd9" not in content[-4096:]:
        raise _damaged(path, "its end is missing")
    height, width, samples = _jpeg_size(path, content)
    check_claim(path.name, width * height * samples, len(content))
    array = _decoded(path, content, "jpeg_decode")
    if array.ndim == 3 and array.shape[-1] == 4:
        raise ImageError(f'"{path.name}" holds printing inks (CMYK). Save it as RGB.')
    return _colour_image(array, axes, path.name)


def _jpeg_size(path: Path, content: bytes) -> tuple[int, int, int]:
    """Height, width and number of samples from the frame header."""
    place = 2
    while place + 10 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width, samples = struct.unpack(">HHB", content[place + 5 : place + 10])
            return height, width, samples
        # 0xFF before a marker is padding
        place += 1 if marker == 0xFF else 2 + int.from_bytes(content[place + 2 : place + 4])
    raise _damaged(path, "it has no frame header")


def _decoded(path: Path, content: bytes, decoder: str) -> npt.NDArray[Any]:
    import imagecodecs

    try:
        array: npt.NDArray[Any] = getattr(imagecodecs, decoder)(content)
    except Exception as error:  # the codecs' own errors derive from RuntimeError
        raise _damaged(path, str(error)[:120]) from error
    return array


def _palette_indices(path: Path) -> npt.NDArray[Any]:
    from PIL import Image as Pillow

    try:
        with Pillow.open(path) as picture:
            return np.array(picture)
    except Exception as error:  # Pillow raises anything, from SyntaxError to DecompressionBombError
        raise _damaged(path, str(error)[:120]) from error


def _colour_image(array: npt.NDArray[Any], axes: str | None, name: str, *, alpha: bool = False) -> Image:
    """Wrap a decoded picture: grey as YX, colours as YXC, transparency dropped."""
    if alpha:
        array = array[..., :-1]
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return open_image(array, axes or ("YXC" if array.ndim == 3 else "YX"), name=name)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f'"{path.name}" cannot be read: {error.strerror or error}.') from error


def _damaged(path: Path, reason: str) -> ImageError:
    return ImageError(f'"{path.name}" is incomplete or damaged ({reason}). Copy or save it again from its source.')


def _not_what_it_says(path: Path, kind: str) -> ImageError:
    return ImageError(f'"{path.name}" is not a {kind} file, although its name says so. Save it again as {kind}.')


READERS: dict[str, Reader] = {
    **dict.fromkeys((".tif", ".tiff", ".btf", ".tf2", ".tf8"), read_tiff),
    **dict.fromkeys((".jpg", ".jpeg"), _read_jpeg),
    ".png": _read_png,
    ".npy": _read_npy,
}
