"""File > Save Selected Layers: label and image layers as files that keep axes, pixel size and every number.

napari's own writer drops the pixel size, and makes 32-bit integers of labels, which ImageJ shows as floats.
"""

# No postponed annotations here: napari reads those of what its manifest names.

from typing import Any

from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer

from napari_unet.axes import without
from napari_unet.errors import ExportError
from napari_unet.gui import layers
from napari_unet.imaging.image import Image, open_image

LayerData = tuple[Any, dict[str, Any], str]


def write_labels(path: str, array: Any, about: dict[str, Any]) -> list[str]:  # noqa: ANN401
    """Write a label layer as a TIFF of 16 bits, or of 32 where there are more than 65,535 objects.

    Raises
    ------
    ExportError
        If it cannot be written; what stood there is unchanged.
    """
    from napari_unet.export.tiff import save_masks

    image = _labels_of(_layer(array, about, "labels"))
    return [str(save_masks(path, image.array, axes=image.axes, pixel_size=image.pixel_size))]


def write_image(path: str, array: Any, about: dict[str, Any]) -> list[str]:  # noqa: ANN401
    """Write an image or probability layer as a TIFF of its own type.

    Raises
    ------
    ExportError
        If it is of colours, or of a type that TIFF programs do not open, or cannot be written.
    """
    from napari_unet.export.images import save_image

    layer = _layer(array, about, "image")
    if layer.rgb:
        raise ExportError(
            f'"{layer.name}" is a colour image, which napari\'s own writer saves as it is. '
            "Choose “napari builtins” as the file type."
        )
    return [str(save_image(path, _image_of(layer), largest=float(layer.contrast_limits[1])))]


def write_ome_zarr(path: str, written: list[LayerData]) -> list[str]:
    """Write an image and the labels that lie on it as one OME-Zarr; without labels or without an image, too.

    Raises
    ------
    ExportError
        If there is more than one image, or it cannot be written.
    LabelsError
        If labels have another size than the image.
    """
    from napari_unet.export.ome_zarr import save_ome_zarr

    made = [_layer(*one) for one in written]
    images = [layer for layer in made if isinstance(layer, ImageLayer)]
    if len(images) > 1:
        raise ExportError(
            f"{len(images)} image layers are selected, and an OME-Zarr holds one image. "
            "Select one image and the labels that lie on it."
        )
    labels = {layer.name: _labels_of(layer) for layer in made if isinstance(layer, Labels)}
    return [str(save_ome_zarr(path, _image_of(images[0]) if images else None, labels))]


def _layer(array: Any, about: dict[str, Any], kind: str) -> Layer:  # noqa: ANN401
    """Make the layer again that napari took apart; its pixels are not touched."""
    return Layer.create(array, about, kind)


def _labels_of(layer: Labels) -> Image:
    """Return a label layer as an image without channels."""
    axes = layers.frame_of_labels(layer).axes
    array = layers.full_resolution(layer)
    if "C" in axes:
        array = array[tuple(0 if axis == "C" else slice(None) for axis in axes)]
    size = layers.pixel_size_of(layer, axes)
    return open_image(array, without(axes, "C"), size, layer.name)


def _image_of(layer: ImageLayer) -> Image:
    """Return an image layer as an image; one of ours knows its axes."""
    axes = str(layer.metadata.get(layers.KEY, {}).get("axes", "")) or layers.guess_axes(layer)
    return layers.image_of(layer, axes)
