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
        "bright-objects" inverts an image whose background is brighter than its objects. With one
        channel this is told by the median lying closer to the upper percentile than to the lower
        one; in colour, where zero is black, by the brightest of red, green and blue: whether its
        median exceeds a third of its upper percentile.
    stain : "luminance" | "haematoxylin"
        What a colour image with a bright background, a stained section, is reduced to: inverted
        luminance, or how much haematoxylin, which stains nuclei, absorbs (colour deconvolution,
        Ruifrok and Johnston 2001, PMID 11531144).
    low_percentile, high_percentile : float
        Are mapped to 0 and 1. Values beyond are kept, not clipped.
    """

    channels: Literal["as-is", "grey"] = "as-is"
    polarity: Literal["as-is", "bright-objects"] = "as-is"
    stain: Literal["luminance", "haematoxylin"] = "luminance"
    low_percentile: float = Field(default=1.0, ge=0, le=100)
    high_percentile: float = Field(default=99.8, ge=0, le=100)

    @model_validator(mode="after")
    def _fits_together(self) -> Normalization:
        if self.low_percentile >= self.high_percentile:
            message = "low_percentile must be below high_percentile"
            raise ValueError(message)
        if self.polarity == "bright-objects" and self.channels != "grey":
            message = 'polarity "bright-objects" needs channels "grey": one channel decides what is bright'
            raise ValueError(message)
        return self
