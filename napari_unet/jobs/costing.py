"""The question what a network costs on an image, and its answer."""

from __future__ import annotations

from typing import Literal

from napari_unet.inference.config import Cost, InferenceConfig
from napari_unet.networks.spec import Config, NetworkSpec


class CostRequest(Config):
    """Estimate what a network costs on an image of `size` (T, Z, Y, X)."""

    kind: Literal["cost"] = "cost"
    network: NetworkSpec
    size: tuple[int, int, int, int]
    inference: InferenceConfig = InferenceConfig()


class CostResult(Config):
    """What a network costs."""

    kind: Literal["cost"] = "cost"
    cost: Cost
