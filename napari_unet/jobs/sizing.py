"""The question how large the objects of an image are, and its answer."""

from __future__ import annotations

from typing import Literal

from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.references import ImageRef, ModelRef, Region
from napari_unet.networks.spec import Config


class DiameterRequest(Config):
    """Estimate the diameter of the objects in an image.

    Attributes
    ----------
    around : (start, stop) along T, Z, Y, X, optional
        What the user looks at: the image is looked at around its middle.
    """

    kind: Literal["diameter"] = "diameter"
    model: ModelRef
    image: ImageRef
    inference: InferenceConfig = InferenceConfig()
    around: Region | None = None


class DiameterResult(Config):
    """In pixels; None where hardly any objects were found."""

    kind: Literal["diameter"] = "diameter"
    diameter_px: float | None
