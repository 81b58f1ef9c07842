"""The serialisable description of a network."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """A frozen set of settings that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkSpec(Config):
    """Everything that is needed to build a network again.

    Attributes
    ----------
    variant : str
        A name from `napari_unet.variants`.
    in_channels, out_channels : int
        Channels of the input image and of the logits.
    options : dict
        The variant's own options; those not given have the variant's defaults.
    """

    variant: str
    in_channels: int = Field(default=1, ge=1)
    out_channels: int = Field(default=2, ge=1)
    options: dict[str, Any] = {}
