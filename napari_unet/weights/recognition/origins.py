"""All families whose files are recognised."""

from __future__ import annotations

from importlib import import_module

from napari_unet.weights.recognition.recognised import Origin

# Each of these modules has a tuple ORIGINS.
MODULES = (
    "plain_unets",
    "milesial",
    "nested_unets",
    "hub_unet",
    "gated_unets",
    "keras_unets",
    "slim_unet",
    "torch_em",
    "encoder_unets",
    "unet3d",
    "nnunet",
    "monai",
)


def origins() -> tuple[Origin, ...]:
    """All families, those with the most telling names first."""
    modules = (import_module(f"napari_unet.weights.recognition.{name}") for name in MODULES)
    found: tuple[Origin, ...] = ()
    for module in modules:
        found += module.ORIGINS
    return found
