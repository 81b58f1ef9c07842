"""File > Open Sample: real images that come with a dependency, and synthetic ones with known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_unet.imaging.samples import SampleName
    from napari_unet.imaging.synthetic import SyntheticImage

LayerData = tuple[Any, dict[str, Any], str]


def tissue() -> list[LayerData]:
    """Return a section of colon, stained for FHL2 and counterstained with haematoxylin; RGB."""
    from skimage.data import immunohistochemistry

    return [(immunohistochemistry(), {"name": "ihc", "rgb": True}, "image")]


def fluorescence() -> list[LayerData]:
    """Return nuclei in fluorescence and their labels, from the 2018 Data Science Bowl."""
    return _real("fluorescence")


def stained_tissue() -> list[LayerData]:
    """Return nuclei of stained tissue and their labels, from the 2018 Data Science Bowl; RGB."""
    return _real("tissue")


def brightfield() -> list[LayerData]:
    """Return nuclei in brightfield and their labels, from the 2018 Data Science Bowl."""
    return _real("brightfield")


def single_cell() -> list[LayerData]:
    """Return a cell in bright field, from a quantitative phase imaging study."""
    from skimage.data import cell

    return [(cell(), {"name": "cell"}, "image")]


def membranes() -> list[LayerData]:
    """Return cells with stained membranes, which a model for nuclei gets wrong, and their truth."""
    from napari_unet.imaging.synthetic import membrane_cells

    return _with_truth(membrane_cells(), "membranes")


def nuclei_3d() -> list[LayerData]:
    """Return a stack of nuclei and their truth."""
    from napari_unet.imaging.synthetic import nuclei_stack

    return _with_truth(nuclei_stack(), "nuclei 3D")


def _real(name: SampleName) -> list[LayerData]:
    from napari_unet.imaging.samples import open_sample

    sample = open_sample(name)
    placement = {"units": ("pixel", "pixel"), "axis_labels": ("y", "x")}
    image = {"name": name, "rgb": sample.axes == "YXC", **placement}
    return [
        (sample.image, image, "image"),
        (sample.truth, {"name": f"{name} truth", "visible": False, **placement}, "labels"),
    ]


def _with_truth(made: SyntheticImage, name: str) -> list[LayerData]:
    axes = "ZYX"[-made.image.ndim :]
    known = made.pixel_size.known
    scale = tuple(size or 1.0 for size in made.pixel_size.along(axes))
    placement = {
        "scale": scale if known else (1.0,) * len(axes),
        "units": ("um" if known else "pixel",) * len(axes),
        "axis_labels": tuple(axes.lower()),
    }
    truth = {"name": f"{name} truth", "visible": False, **placement}
    return [(made.image, {"name": name, **placement}, "image"), (made.truth, truth, "labels")]
