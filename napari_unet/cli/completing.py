"""What Tab completes; it must answer at once, so nothing here imports torch, numpy or pydantic."""

from __future__ import annotations

OUTPUTS = ("masks", "binary", "classes", "probabilities", "zarr", "table", "parquet", "rois", "geojson", "overlay")


def complete_models(beginning: str) -> list[str]:
    """Names of models that begin so. Files are completed by the shell where no name fits."""
    from napari_unet.weights.bundled import bundled, own

    return [name for name in sorted({**own(), **bundled()}) if name.startswith(beginning)]


def complete_outputs(beginning: str) -> list[str]:
    """Names of outputs that begin so, after those that a comma separates."""
    former, comma, last = beginning.rpartition(",")
    return [f"{former}{comma}{name}" for name in OUTPUTS if name.startswith(last)]


def complete_devices(beginning: str) -> list[str]:
    """Devices that begin so."""
    return [name for name in ("auto", "cpu", "cuda", "cuda:0", "mps") if name.startswith(beginning)]
