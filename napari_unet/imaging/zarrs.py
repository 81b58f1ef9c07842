"""Reading Zarr arrays (format 2 and 3) and OME-Zarr images (0.1 to 0.5)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_unet.axes import PixelSize
from napari_unet.errors import AxesError, ImageError, LabelsError, SeveralImagesError
from napari_unet.imaging.image import ArrayLike, Image, open_image
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


def zarr_levels(path: Path) -> tuple[ArrayLike, ...]:
    """Return the smaller versions of the image that `read_zarr` gives, largest first; none where there are none."""
    import zarr

    node: Any = zarr.open(path, mode="r")
    while not isinstance(node, zarr.Array):
        ome = node.attrs.get("ome", node.attrs)
        if ome.get("multiscales"):
            return tuple(node[level["path"]] for level in ome["multiscales"][0]["datasets"][1:])
        node = node[_member(node, ome, path.name)]
    return ()


def zarr_labels(path: Path) -> tuple[str, ...]:
    """Return the names of the label images that an OME-Zarr image holds in its group `labels`."""
    import zarr

    if not is_zarr(path / "labels"):
        return ()
    attributes: Any = zarr.open_group(path / "labels", mode="r").attrs
    names = attributes.get("ome", attributes).get("labels", ())
    return tuple(str(name) for name in names if is_zarr(path / "labels" / str(name)))


def label_folder(path: Path) -> Path:
    """Return the folder of the one label image of a store: the store itself where it holds no labels beside an image.

    Raises
    ------
    LabelsError
        If there are several.
    """
    names = zarr_labels(path)
    if len(names) > 1:
        raise LabelsError(
            f'"{path.name}" holds the labels {", ".join(names[:8])}. Choose the folder of one, such as '
            f'"{path.name}/labels/{names[0]}".'
        )
    return path / "labels" / names[0] if names else path


def holds_zarr_labels(path: Path) -> bool:
    """Whether an OME-Zarr image says itself that it is a label image."""
    import zarr

    attributes: Any = zarr.open(path, mode="r").attrs
    return "image-label" in attributes.get("ome", attributes)


def _read_group(group: Any, axes: str | None, name: str) -> Image:  # noqa: ANN401
    ome = group.attrs.get("ome", group.attrs)
    multiscales = ome.get("multiscales")
    if multiscales:
        return _read_multiscale(group, multiscales[0], axes, name)
    member = group[_member(group, ome, name)]
    if hasattr(member, "dtype"):
        return open_image(member, axes or _dimension_names(member), name=name)
    return _read_group(member, axes, name)


def _member(group: Any, ome: Mapping[str, Any], name: str) -> str:  # noqa: ANN401
    """Return the key of the one image that a group holds.

    Raises
    ------
    ImageError
        If it holds none, or several.
    """
    if "plate" in ome:
        raise SeveralImagesError(f'"{name}" is a plate of many images. Choose the folder of one field of view.')
    keys = sorted(group.keys())
    if "bioformats2raw.layout" in ome:
        keys = [key for key in keys if key.isdigit()]
    if len(keys) != 1:
        listed = ", ".join(keys[:8]) or "nothing"
        raise SeveralImagesError(
            f'"{name}" holds {listed}, and one image was expected. Choose the folder of one of them.'
        )
    return str(keys[0])


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


def zarr_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a group or array; none where it is neither.

    Raises
    ------
    ImageError
        If they cannot be read.
    """
    try:
        if (path / "zarr.json").is_file():
            return dict(json.loads((path / "zarr.json").read_bytes()).get("attributes", {}))
        return dict(json.loads((path / ".zattrs").read_bytes())) if (path / ".zattrs").is_file() else {}
    except (OSError, ValueError, TypeError) as error:
        raise ImageError(f'The description of "{path.name}" cannot be read ({error}). Copy the store again.') from error
