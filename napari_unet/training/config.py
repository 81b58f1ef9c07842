"""How a model is fine-tuned."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from napari_unet.networks.spec import Config
from napari_unet.training.budget import Clock
from napari_unet.weights.spec import Slices

MAX_FORGOTTEN = 0.03
"""What a new model may lose on the images that the old one came with; in the unit of the score."""


class FineTuneConfig(Config):
    """Settings of a fine-tuning.

    Attributes
    ----------
    seconds : float
        Budget, validation and gate included.
    clock : "wall" | "cpu"
        What the budget is measured with: wall-clock time, or CPU time of this process, for benchmarks.
    device : str
        "auto", "cpu", "mps", "cuda" or "cuda:N".
    seed : int
        Of what is held out, of the patches and their variations, and of a new head.
    diameter_px : float, optional
        Of the objects in the images; they are rescaled as they are for a prediction.
    classes : tuple of str, optional
        Give the model a new semantic head with these classes, the first being the background.
    slices : int, optional
        Show a network for planes so many slices of a stack at once, the one that it labels and its neighbours; None
        leaves the model as it is.
    patch_px : int
        Side of a training patch.
    batch : int
        Patches a step.
    learning_rate : float
        At its highest; the encoder of a trained model learns half as fast.
    forget : bool
        Whether the new model may get worse on the kinds of image that the old one came with: then it learns from the
        corrections alone.
    """

    seconds: float = Field(default=120, gt=0)
    clock: Clock = "wall"
    device: str = "auto"
    seed: int = 0
    diameter_px: float | None = Field(default=None, gt=0)
    classes: tuple[str, ...] | None = None
    slices: Slices | None = None
    patch_px: int = Field(default=128, ge=16)
    batch: int = Field(default=4, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    forget: bool = False

    @model_serializer(mode="wrap")
    def _without_slices(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not asked for: so a training that was interrupted is known again."""
        written: dict[str, Any] = write(self)
        if self.slices is None:
            written.pop("slices", None)
        return written
