"""How pixel values become what a network was trained on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from napari_unet.networks.spec import Config


class Normalization(Config):
    """From pixel values to network input; stored in the model, used by training and inference alike.

    The statistics are taken from the whole image: per channel and time point, over the whole
    Z stack, never from a tile.

    Attributes
    ----------
    channels : "as-is" | "grey"
        "grey" makes one channel of one or of three (red, green, blue; ITU-R BT.709 luminance).
    polarity : "as-is" | "bright-objects"
        "bright-objects" inverts an image whose background is brighter than its objects, which is
        told by the median lying closer to the upper percentile than to the lower one.
    low_percentile, high_percentile : float
        Are mapped to 0 and 1. Values beyond are kept, not clipped.
    """

    channels: Literal["as-is", "grey"] = "as-is"
    polarity: Literal["as-is", "bright-objects"] = "as-is"
    low_percentile: float = Field(default=1.0, ge=0, le=100)
    high_percentile: float = Field(default=99.8, ge=0, le=100)

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Normalization:
        if self.low_percentile >= self.high_percentile:
            message = "low_percentile must be below high_percentile"
            raise ValueError(message)
        return self
