"""U-Nets in napari: predict, correct, fine-tune, predict better.

Everything that scripts and notebooks rely on is here. Importing the package loads neither torch
nor Qt nor napari; each name brings what it needs when it is first used.

    import napari_unet as nu

    model = nu.load_model("nuclei")
    labels = nu.segment(model, image)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_unet.version import VERSION

if TYPE_CHECKING:
    from napari_unet.axes import PixelSize
    from napari_unet.errors import NapariUnetError
    from napari_unet.export.geojson import save_geojson
    from napari_unet.export.ome_zarr import add_labels, save_ome_zarr
    from napari_unet.export.onnx import save_onnx
    from napari_unet.export.overlay import save_overlay
    from napari_unet.export.package.card import PackageCard
    from napari_unet.export.package.writing import save_package
    from napari_unet.export.rois import save_rois
    from napari_unet.export.table import save_table
    from napari_unet.export.tiff import save_binary, save_classes, save_masks, save_probabilities
    from napari_unet.export.torchscript import save_torchscript
    from napari_unet.imaging.image import open_image
    from napari_unet.imaging.reading import read_image, read_labels
    from napari_unet.inference.diameters import estimate_diameter
    from napari_unet.inference.predicting import predict
    from napari_unet.inference.scaling import suggest_normalization
    from napari_unet.inference.segmentation import segment
    from napari_unet.jobs.batches import BatchReport, run_recipe
    from napari_unet.jobs.recipes import Recipe, read_recipe, write_recipe
    from napari_unet.networks.registry import build_network, variants
    from napari_unet.objects.measuring import measure
    from napari_unet.training.adaptation import adapt
    from napari_unet.training.fit import FineTuneResult, finetune
    from napari_unet.weights.loading import load_model
    from napari_unet.weights.model import Model, new_model
    from napari_unet.weights.report import LoadReport

__version__ = VERSION

_HOMES = {
    "BatchReport": "jobs.batches",
    "FineTuneResult": "training.fit",
    "LoadReport": "weights.report",
    "Model": "weights.model",
    "NapariUnetError": "errors",
    "PackageCard": "export.package.card",
    "PixelSize": "axes",
    "Recipe": "jobs.recipes",
    "adapt": "training.adaptation",
    "add_labels": "export.ome_zarr",
    "build_network": "networks.registry",
    "estimate_diameter": "inference.diameters",
    "finetune": "training.fit",
    "load_model": "weights.loading",
    "measure": "objects.measuring",
    "new_model": "weights.model",
    "open_image": "imaging.image",
    "predict": "inference.predicting",
    "read_image": "imaging.reading",
    "read_labels": "imaging.reading",
    "read_recipe": "jobs.recipes",
    "run_recipe": "jobs.batches",
    "save_binary": "export.tiff",
    "save_classes": "export.tiff",
    "save_geojson": "export.geojson",
    "save_masks": "export.tiff",
    "save_ome_zarr": "export.ome_zarr",
    "save_onnx": "export.onnx",
    "save_overlay": "export.overlay",
    "save_package": "export.package.writing",
    "save_probabilities": "export.tiff",
    "save_rois": "export.rois",
    "save_table": "export.table",
    "save_torchscript": "export.torchscript",
    "segment": "inference.segmentation",
    "suggest_normalization": "inference.scaling",
    "variants": "networks.registry",
    "write_recipe": "jobs.recipes",
}

__all__ = [
    "BatchReport",
    "FineTuneResult",
    "LoadReport",
    "Model",
    "NapariUnetError",
    "PackageCard",
    "PixelSize",
    "Recipe",
    "__version__",
    "adapt",
    "add_labels",
    "build_network",
    "estimate_diameter",
    "finetune",
    "load_model",
    "measure",
    "new_model",
    "open_image",
    "predict",
    "read_image",
    "read_labels",
    "read_recipe",
    "run_recipe",
    "save_binary",
    "save_classes",
    "save_geojson",
    "save_masks",
    "save_ome_zarr",
    "save_onnx",
    "save_overlay",
    "save_package",
    "save_probabilities",
    "save_rois",
    "save_table",
    "save_torchscript",
    "segment",
    "suggest_normalization",
    "variants",
    "write_recipe",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
