"""Image files that are opened in napari: with their axes and pixel size, and read where they are looked at.

napari's own reader drops both and loads everything. What is none of ours goes on to that reader.
"""

# No postponed annotations here: napari reads those of what its manifest names.

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_unet.axes import without
from napari_unet.errors import AxesError, SeveralImagesError
from napari_unet.imaging.image import ArrayLike, Image
from napari_unet.imaging.limits import pixel_bytes
from napari_unet.imaging.reading import image_name, read_image, read_labels
from napari_unet.imaging.tiff import tiff_levels, written_by_us
from napari_unet.imaging.zarrs import holds_zarr_labels, is_zarr, zarr_labels, zarr_levels

LayerData = tuple[Any, dict[str, Any], str]
Reader = Callable[..., list[LayerData]]

NAPARI = "napari"
"""npe2's name of napari's own readers."""
EDITABLE_BYTES = 2**30
"""Labels up to this size are loaded, so that one can paint in them."""
_COLOURS = {np.dtype(np.uint8), np.dtype(np.uint16)}
_WIDE_INTEGERS = {np.dtype(kind) for kind in ("i4", "u4", "i8", "u8")}
_NAMED_LABELS = re.compile(r"(^|[\s_.-])(masks?|labels?)$", re.IGNORECASE)


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader for TIFF files and folders, and None where there is nothing."""
    first = Path(path if isinstance(path, str) else path[0])
    return read if first.exists() else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Read a file as layers; several, which are to be a stack, and folders of files by napari's own reader.

    Raises
    ------
    ImageError
        If the file is damaged or incomplete.
    """
    if not isinstance(path, str):
        return _by_napari(list(path), stack=True)
    file = Path(path)
    if file.is_dir() and not is_zarr(file):
        return _by_napari([path], stack=False)
    try:
        return _zarr_layers(file) if file.is_dir() else [_tiff_layer(file)]
    except (AxesError, SeveralImagesError):
        # It holds what our images are not: a plate, several images, axes of unknown meaning.
        return _by_napari([path], stack=False)


def _by_napari(paths: list[str], *, stack: bool) -> list[LayerData]:
    import npe2

    found: list[Any] = npe2.read(paths, stack=stack, plugin_name=NAPARI)
    return found


def _tiff_layer(path: Path) -> LayerData:
    image = read_image(path)
    if _holds_labels(path, image):
        return labels_layer(read_labels(path), image_name(path))
    return image_layer(image, _levels(image, tiff_levels, path), image_name(path))


def _holds_labels(path: Path, image: Image) -> bool:
    """Whether a file says that it holds labels, by how it was written, by its type, or by its name."""
    if image.sizes["C"] > 1 or image.dtype.kind not in "ui":
        return False
    if image.dtype in _WIDE_INTEGERS or _NAMED_LABELS.search(image_name(path)):
        return True
    return image.dtype == np.uint16 and written_by_us(path)  # our masks of 8 bits are pictures: 0 and 255


def _zarr_layers(path: Path) -> list[LayerData]:
    """Return an image of a Zarr store and the labels that lie in it."""
    image, name = read_image(path), path.name.removesuffix(".zarr").removesuffix(".ome")
    if holds_zarr_labels(path):
        return [labels_layer(image, name)]
    shown = image_layer(image, _levels(image, zarr_levels, path), name)
    inside = zarr_labels(path)
    return [shown, *(labels_layer(read_image(path / "labels" / one), f"{name} {one}") for one in inside)]


def _levels(image: Image, find: Callable[[Path], tuple[ArrayLike, ...]], path: Path) -> tuple[ArrayLike, ...]:
    """Return the smaller versions of an image that napari can draw instead; none of a small image."""
    if isinstance(image.array, np.ndarray) and not isinstance(image.array, np.memmap):
        return ()
    levels = find(path)
    fits = all(len(level.shape) == len(image.array.shape) and level.dtype == image.dtype for level in levels)
    return levels if fits else ()


def image_layer(image: Image, levels: Sequence[ArrayLike], name: str) -> LayerData:
    """Return the layer of an image, and of smaller versions of it.

    Channels stay together, on a slider of their own: the panel asks which of them the network is to see, and
    a table of objects measures all of them. Colours of 8 or 16 bits are shown as colours.
    """
    size, axes = image.sizes, image.axes
    rgb = axes.endswith("C") and size["C"] in {3, 4} and image.dtype in _COLOURS
    shown = in_view_order(axes, rgb=rgb)
    arrays = [_ordered(array, axes, shown) for array in (image.array, *levels)]
    about = {"name": name, "rgb": rgb, **_placement(image, without(shown, "C") if rgb else shown)}
    if levels:
        return (arrays, {**about, "multiscale": True}, "image")
    return (arrays[0], {**about, "multiscale": False}, "image")


def labels_layer(image: Image, name: str) -> LayerData:
    """Return the layer of a label image; in memory unless it is very large, so that one can paint in it."""
    axes = without(image.axes, "C")
    array: Any = image.array
    if "C" in image.axes:
        array = array[tuple(0 if axis == "C" else slice(None) for axis in image.axes)]
    shown = in_view_order(axes, rgb=False)
    if pixel_bytes(array.shape, array.dtype) <= EDITABLE_BYTES:
        array = np.array(array)
    return (_ordered(array, axes, shown), {"name": name, **_placement(image, shown)}, "labels")


def in_view_order(axes: str, *, rgb: bool) -> str:
    """Put Y and X last, before colours: napari shows the last two."""
    return without(axes, "YXC" if rgb else "YX") + ("YXC" if rgb else "YX")


def _ordered(array: Any, axes: str, wanted: str) -> Any:  # noqa: ANN401
    """Give an array another order of axes without reading it."""
    if axes == wanted:
        return array
    order = [axes.index(axis) for axis in wanted]
    if isinstance(array, np.ndarray):
        return array.transpose(order)
    import dask.array

    return dask.array.from_array(array).transpose(order)


def _placement(image: Image, axes: str) -> dict[str, Any]:
    """Return scale, units and names of axes; a size that is not known is one pixel."""
    known = image.pixel_size.along(axes)
    return {
        "scale": tuple(size or 1.0 for size in known),
        "units": tuple("um" if size else "pixel" for size in known),
        "axis_labels": tuple(axes.lower()),
    }
