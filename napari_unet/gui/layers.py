"""Layers to images and back: axes, pixel size, placement, and finding the layers that we made.

Nothing outside this module turns layer coordinates into array indices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.transforms import Affine

from napari_unet.axes import CANONICAL, PixelSize, sizes
from napari_unet.errors import AxesError
from napari_unet.imaging.image import Image, from_canonical, open_image, to_canonical
from napari_unet.jobs.requests import Region

KEY = "napari-unet"
Role = Literal["prediction", "preview", "probability", "correction", "reviewed", "held-out"]
_WORDS = {"time": "T", "frame": "T", "channel": "C", "plane": "Z", "slice": "Z"}
_PLACEMENT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_MOST_CHANNELS = 4
_COLOURS = {"reviewed": "#2ecc71", "held-out": "#e67e22"}


def layer_id(layer: Layer) -> str:
    """Return a text that names this layer for as long as it lives."""
    return str(layer.unique_id)


def by_id(viewer: ViewerModel, wanted: str | None) -> Layer | None:
    """Return the layer with an id, or None."""
    return next((layer for layer in viewer.layers if layer_id(layer) == wanted), None)


def role_of(layer: Layer) -> str | None:
    """Return what a layer of ours is for; None for other layers."""
    role: str | None = layer.metadata.get(KEY, {}).get("role")
    return role


def image_id_of(layer: Layer) -> str | None:
    """Return the id of the image that a layer of ours belongs to; None for other layers."""
    image: str | None = layer.metadata.get(KEY, {}).get("image")
    return image


def with_role(viewer: ViewerModel, role: Role, image: str | None = None) -> Iterator[Layer]:
    """Yield our layers of one role, of one image or of all."""
    for layer in viewer.layers:
        if role_of(layer) == role and image in (None, image_id_of(layer)):
            yield layer


def find(viewer: ViewerModel, role: Role, image: str) -> Layer | None:
    """Return our layer of one role and image, or None."""
    return next(with_role(viewer, role, image), None)


def full_resolution(layer: Layer) -> Any:  # noqa: ANN401
    """Return the array of a layer; the finest level of a multiscale one."""
    return layer.data[0] if layer.multiscale else layer.data


def guess_axes(layer: Layer) -> str:
    """Guess the axes of a layer's array from its colours, axis labels and shape.

    Names such as ("t", "z", "y", "x") or ("time", "y", "x") are believed. Otherwise the last two
    dimensions are Y and X; a first one of 2 to 4 in three dimensions is taken for channels, unless
    the layer has colours.
    """
    if getattr(layer, "rgb", False):
        return _guess(layer, full_resolution(layer).shape[:-1], most_channels=0) + "C"
    return _guess(layer, full_resolution(layer).shape)


def _guess(layer: Layer, shape: tuple[int, ...], most_channels: int = _MOST_CHANNELS) -> str:
    names = [str(name).lower() for name in layer.axis_labels]
    letters = "".join(_WORDS.get(name, name.upper()) for name in names)
    if set(letters) <= set(CANONICAL) and len(set(letters)) == len(shape) and {*"YX"} <= {*letters}:
        return letters
    if len(shape) == 3 and 2 <= shape[0] <= most_channels < min(shape[1:]):
        return "CYX"
    return {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}.get(len(shape), "")


def pixel_size_of(layer: Layer, axes: str) -> PixelSize:
    """Pixel size in µm from a layer's scale and units; unknown where the unit is no length."""
    known = {
        axis: _micrometres(float(scale), unit)
        for axis, scale, unit in zip(axes, layer.scale, layer.units, strict=False)
    }
    return PixelSize(known.get("Z"), known.get("Y"), known.get("X"))


def _micrometres(scale: float, unit: Any) -> float | None:  # noqa: ANN401
    import pint

    try:
        return abs(float((scale * unit).to("micrometer").magnitude))
    except pint.DimensionalityError:
        return None


def image_of(layer: ImageLayer, axes: str) -> Image:
    """Wrap a layer's array as an image, without reading it.

    Raises
    ------
    AxesError
        If `axes` do not describe the array.
    ImageError
        If it holds no pixels, or pixels that are no numbers.
    """
    array = full_resolution(layer)
    if layer.rgb and not (axes.endswith("C") and len(axes) == layer.ndim + 1):
        raise AxesError(
            f'"{layer.name}" is a colour image with {layer.ndim + 1} dimensions, and the axes "{axes}" do not end '
            'with its colours. Give one letter for each, C last, for example "YXC".'
        )
    if not hasattr(array, "dtype"):
        array = np.asarray(array)
    return open_image(array, axes, pixel_size_of(layer, axes), layer.name)


@dataclass(frozen=True, slots=True)
class Frame:
    """How labels of an image sit in the viewer.

    A leading or colour channel axis is left out. One in the middle becomes an axis of size 1
    that is stretched over all channels, because napari aligns layers by their last axes.

    Attributes
    ----------
    axes : str
        Of the label layer's array.
    shape : tuple of int
        Of that array.
    placement : dict
        Keyword arguments for a new layer: scale, translate, units and so on.
    """

    axes: str
    shape: tuple[int, ...]
    placement: dict[str, Any] = field(default_factory=dict)

    def from_tzyx(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """View a (T, Z, Y, X) array with the axes of the label layer."""
        return from_canonical(array[:, None], self.axes)

    def to_tzyx(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """View an array of the label layer as (T, Z, Y, X)."""
        return to_canonical(array, self.axes)[:, 0]

    def region(self, box: tuple[tuple[int, int], ...]) -> Region:
        """Translate (start, stop) along the label layer's axes to T, Z, Y and X."""
        known = dict(zip(self.axes, box, strict=True))
        t, z, y, x = (known.get(axis, (0, 1)) for axis in "TZYX")
        return (t, z, y, x)


def frame_of(layer: ImageLayer, axes: str) -> Frame:
    """Work out where labels of an image layer go.

    Parameters
    ----------
    layer : napari.layers.Image
    axes : str
        Of the image, or of labels of it, which have no leading or colour channel axis.
    """
    shape = full_resolution(layer).shape
    if len(axes) < len(shape):
        axes = f"{axes}C" if getattr(layer, "rgb", False) else f"C{axes}"
    size = sizes(shape, axes)
    own = axes.removesuffix("C") if getattr(layer, "rgb", False) else axes
    kept = own.removeprefix("C")
    dims = [own.index(axis) for axis in kept]
    placement = {name: _reduced(layer, name, dims) for name in _PLACEMENT}
    if len(dims) < layer.ndim:
        placement.pop("shear")
    if "C" in kept:
        _stretch(placement, kept.index("C"), size["C"])
    return Frame(kept, tuple(1 if a == "C" else size[a] for a in kept), placement)


def _reduced(layer: Layer, name: str, dims: list[int]) -> Any:  # noqa: ANN401
    value = getattr(layer, name)
    if name == "affine":
        return value.set_slice(dims)
    if name == "rotate":
        return np.asarray(value)[np.ix_(dims, dims)]
    if name == "shear":
        return np.asarray(value)
    if name in {"units", "axis_labels"}:
        return tuple(value[i] for i in dims)
    return np.asarray(value)[dims]


def _stretch(placement: dict[str, Any], dim: int, count: int) -> None:
    scale, translate = placement["scale"].copy(), placement["translate"].copy()
    translate[dim] += scale[dim] * (count - 1) / 2
    scale[dim] *= count
    placement |= {"scale": scale, "translate": translate}


def shifted(frame: Frame, box: tuple[tuple[int, int], ...]) -> Frame:
    """Return the frame of a window of a frame; `box` is (start, stop) along its axes."""
    own = {name: frame.placement.get(name) for name in ("scale", "rotate", "shear")}
    start = Affine(**own).linear_matrix @ np.array([low for low, _ in box], float)
    placement = frame.placement | {"translate": frame.placement["translate"] + start}
    return Frame(frame.axes, tuple(high - low for low, high in box), placement)


def visible_box(viewer: ViewerModel, layer: Layer, axes: str) -> tuple[tuple[int, int], ...]:
    """Return what of a layer is on the screen, as (start, stop) along `axes`.

    Along an axis that is not displayed it is the position of the slider; C is returned whole, and
    so is a volume that is displayed in 3D.
    """
    shape = full_resolution(layer).shape
    steps = plane_of(viewer, layer)
    first_dim = viewer.dims.ndim - layer.ndim
    shown = {dim - first_dim for dim in viewer.dims.displayed}
    corners = _full_resolution_corners(layer)
    box = []
    for dim, axis in enumerate(axes):
        size = int(shape[dim])
        if axis == "C" or dim >= layer.ndim or (dim in shown and viewer.dims.ndisplay == 3):
            box.append((0, size))
        elif dim in shown:
            low, high = int(corners[0][dim]), int(corners[1][dim]) + 1
            box.append((min(max(low, 0), size - 1), max(min(high, size), 1)))
        else:
            box.append((steps[dim], steps[dim] + 1))
    return tuple(box)


def region_of(box: tuple[tuple[int, int], ...], image: Image) -> Region:
    """Translate (start, stop) along the axes of an image to T, Z, Y and X."""
    known = dict(zip(image.axes, box, strict=True))
    t, z, y, x = (known.get(axis, (0, 1)) for axis in "TZYX")
    return (t, z, y, x)


def _full_resolution_corners(layer: Layer) -> npt.NDArray[np.int64]:
    corners = np.asarray(layer.corner_pixels)
    if not corners.any():  # it has not been drawn yet
        return np.stack([corners[0], np.asarray(full_resolution(layer).shape[: layer.ndim]) - 1])
    if not layer.multiscale:
        return corners
    factors = np.asarray(layer.downsample_factors[layer.data_level])
    return np.stack([np.floor(corners[0] * factors), np.ceil((corners[1] + 1) * factors) - 1])


def plane_of(viewer: ViewerModel, layer: Layer) -> tuple[int, ...]:
    """Return the array index of the point that the viewer's sliders stand at.

    Displayed axes count as well; there the index is that of the middle of the range.
    """
    world = viewer.dims.point[viewer.dims.ndim - layer.ndim :]
    position = layer.world_to_data(world)
    shape = full_resolution(layer).shape
    return tuple(min(max(round(float(p)), 0), int(n) - 1) for p, n in zip(position, shape, strict=False))


def tagged(role: Role, image: ImageLayer, frame: Frame, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the keyword arguments that make a new layer ours."""
    tag = {"role": role, "image": layer_id(image), "axes": frame.axes, **more}
    return {"name": f"{image.name} {role}", "metadata": {KEY: tag}, **frame.placement}


def look_of(role: Role) -> dict[str, Any]:
    """Return the keyword arguments that give a layer of ours its look."""
    if role not in _COLOURS:
        return {}
    colour = _COLOURS[role]
    colormap = DirectLabelColormap(color_dict={0: "transparent", 1: colour, None: colour})
    return {"colormap": colormap, "opacity": 0.3, "blending": "translucent_no_depth"}


def frame_of_labels(layer: Labels) -> Frame:
    """Return the frame of a label layer, made by us or not."""
    axes = layer.metadata.get(KEY, {}).get("axes") or _guess(layer, layer.data.shape)
    placement = {name: getattr(layer, name) for name in _PLACEMENT}
    return Frame(axes, tuple(layer.data.shape), placement)


def set_labels(layer: Labels, data: npt.NDArray[Any], frame: Frame) -> None:
    """Replace a label layer's array and forget its undo steps, which belonged to the old one."""
    layer.data = data
    for name in ("scale", "translate"):
        if not np.array_equal(getattr(layer, name), frame.placement[name]):  # each makes napari draw it again
            setattr(layer, name, frame.placement[name])
    layer.editable = False
    layer.editable = True
