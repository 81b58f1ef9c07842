"""The request to adapt a model to an image without labels."""

from __future__ import annotations

from typing import Literal

from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.finetuned import WatchRef
from napari_unet.jobs.references import ImageRef, ModelRef
from napari_unet.networks.spec import Config


class AdaptRequest(Config):
    """Estimate anew, on an image, what batch normalization remembers; answered as a fine-tuning is.

    Attributes
    ----------
    model : ModelRef
    image : ImageRef
    inference : InferenceConfig
        How the image is read and rescaled.
    candidate : str
        The file for the adapted model.
    watch : WatchRef, optional
        What somebody looks at: at the end it is segmented with both models.
    """

    kind: Literal["adapt"] = "adapt"
    model: ModelRef
    image: ImageRef
    inference: InferenceConfig = InferenceConfig()
    candidate: str
    watch: WatchRef | None = None
