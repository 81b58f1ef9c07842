"""Stores to write, and what the models of the specification say of them."""

import sys

import numpy as np
import ome_zarr_models.v04.image as image_04
import ome_zarr_models.v04.image_label as label_04
import ome_zarr_models.v04.labels as labels_04
import ome_zarr_models.v05.image as image_05
import ome_zarr_models.v05.image_label as label_05
import pydantic_zarr.v2
import zarr

from napari_unet.axes import PixelSize
from napari_unet.imaging.image import open_image
from napari_unet.imaging.zarrs import zarr_labels

RNG = np.random.default_rng(0)
SIZE = PixelSize(2.0, 0.325, 0.65)
VERSIONS = ["0.4", "0.5"]
LENGTHS = {"T": 2, "C": 3, "Z": 4, "Y": 70, "X": 90}

# The models of 0.4 name classes that they import for the type checker only.
for _model in (labels_04.Labels, image_04.Image, label_04.ImageLabel):
    _names = {
        "ArraySpec": pydantic_zarr.v2.ArraySpec,
        "GroupSpec": pydantic_zarr.v2.GroupSpec,
        "Labels": labels_04.Labels,
    }
    _model.model_rebuild(force=True, _types_namespace={**_names, **vars(sys.modules[_model.__module__])})


def image_of(axes, largest=60_000, dtype=np.uint16, **lengths):
    shape = [{**LENGTHS, **lengths}[axis] for axis in axes]
    array = RNG.integers(0, largest, shape, dtype=np.int64, endpoint=True)
    array.flat[0] = largest
    return open_image(array.astype(dtype), axes, SIZE, "Zelle 3 (α).tif")


def labels_of(axes, largest=300, **lengths):
    return image_of(axes, largest, np.int64, **lengths)


def attributes(folder):
    return dict(zarr.open_group(folder, mode="r").attrs)


def check_valid(folder, version):
    """Check an image and all its labels against the models of the specification."""
    group = zarr.open_group(folder, mode="r")
    (image_04 if version == "0.4" else image_05).Image.from_zarr(image_group(group, version))
    for name in zarr_labels(folder):
        check_valid_labels(group[f"labels/{name}"], version)


def image_group(group, version):
    """Return a group without its labels: the models of 0.5 want colours, which the specification only recommends."""
    if version == "0.4":
        return group
    alone = zarr.open_group(zarr.storage.MemoryStore(), mode="w", attributes=dict(group.attrs))
    for level in group.attrs["ome"]["multiscales"][0]["datasets"]:
        array = group[level["path"]]
        names = array.metadata.dimension_names
        alone.create_array(level["path"], shape=array.shape, dtype=array.dtype, dimension_names=names)
    return alone


def check_valid_labels(group, version):
    if version == "0.4":
        label_04.ImageLabel.from_zarr(group)
        return
    found = dict(group.attrs["ome"])
    label_05.ImageLabelAttrs(**{**found, "image-label": {"colors": (), **found["image-label"]}})
    image_group(group, version)


def names(folder):
    return [path.name for path in folder.iterdir()]


def snapshot(folder):
    """Return every file with its content and the time when it was written."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
