"""Reading Zarr arrays (format 2 and 3) and OME-Zarr images (0.1 to 0.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_unet.axes import PixelSize
from napari_unet.errors import AxesError, ImageError
from napari_unet.imaging.image import Image, open_image
from napari_unet.imaging.units import to_um

MARKERS = (".zarray", ".zgroup", "zarr.json")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any((path / marker).is_file() for marker in MARKERS)


def read_zarr(path: Path, axes: str | None = None) -> Image:
    """Open a Zarr store lazily; of a pyramid, its full resolution.

    Raises
    ------
    ImageError
        If the store cannot be opened or does not hold exactly one image.
    AxesError
        If its axes are ambiguous, or `axes` do not describe it.
    """
    import zarr

    try:
        node: Any = zarr.open(path, mode="r")
        if isinstance(node, zarr.Array):
            return open_image(node, axes or _dimension_names(node), name=path.name)
        return _read_group(node, axes, path.name)
    except (ImageError, AxesError):
        raise
    except Exception as error:  # zarr raises anything, from KeyError to JSONDecodeError
        reason = str(error) or type(error).__name__
        raise ImageError(f'"{path.name}" is no readable Zarr store ({reason[:120]}).') from error


def _read_group(group: Any, axes: str | None, name: str) -> Image:  # noqa: ANN401
    ome = group.attrs.get("ome", group.attrs)
    multiscales = ome.get("multiscales")
    if multiscales:
        return _read_multiscale(group, multiscales[0], axes, name)
    if "plate" in ome:
        raise ImageError(f'"{name}" is a plate of many images. Choose the folder of one field of view.')
    keys = sorted(group.keys())
    if "bioformats2raw.layout" in ome:
        keys = [key for key in keys if key.isdigit()]
    if len(keys) != 1:
        listed = ", ".join(keys[:8]) or "nothing"
        raise ImageError(f'"{name}" holds {listed}, and one image was expected. Choose the folder of one of them.')
    member = group[keys[0]]
    if hasattr(member, "dtype"):
        return open_image(member, axes or _dimension_names(member), name=name)
    return _read_group(member, axes, name)


def _read_multiscale(
    group: Any,  # noqa: ANN401
    multiscale: Mapping[str, Any],
    axes: str | None,
    name: str,
) -> Image:
    level = multiscale["datasets"][0]
    array = group[level["path"]]
    described = multiscale.get("axes") or list("tczyx")  # 0.1 and 0.2 had a fixed order
    names = [axis["name"] if isinstance(axis, Mapping) else axis for axis in described]
    units = [axis.get("unit") if isinstance(axis, Mapping) else None for axis in described]
    scale = _scale(level, multiscale, len(names))
    known = dict(zip((n.upper() for n in names), zip(scale, units, strict=True), strict=False))
    z, y, x = (to_um(*known[axis]) if axis in known else None for axis in "ZYX")
    return open_image(array, axes or _axes(names, name), PixelSize(z, y, x), name)


def _axes(names: Sequence[str], name: str) -> str:
    if any(len(axis) != 1 or axis.upper() not in "TCZYX" for axis in names):
        raise AxesError(
            f'"{name}" names its axes {", ".join(names)}, and t, c, z, y and x are known. '
            "Name them with --axes, for example --axes TZYX."
        )
    return "".join(names).upper()


def _scale(level: Mapping[str, Any], multiscale: Mapping[str, Any], ndim: int) -> list[float]:
    """Multiply the scale of the level by that of the whole image."""
    total = [1.0] * ndim
    for holder in (level, multiscale):
        for transformation in holder.get("coordinateTransformations", ()):
            if transformation.get("type") == "scale" and len(transformation.get("scale", ())) == ndim:
                total = [a * float(b) for a, b in zip(total, transformation["scale"], strict=True)]
    return total


def _dimension_names(array: Any) -> str | None:  # noqa: ANN401
    """Axes from the dimension names of Zarr 3, where they are ours."""
    names = getattr(array.metadata, "dimension_names", None) or ()
    joined = "".join(str(name) for name in names).upper()
    fits = len(joined) == len(names) == len(set(joined)) and set(joined) <= set("TCZYX")
    return joined if fits and {"Y", "X"} <= set(joined) else None
