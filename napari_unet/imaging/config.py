"""How pixel values become what a network was trained on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat, model_validator

from napari_unet.networks.spec import Config


class Normalization(Config):
    """From pixel values to network input; stored in the model, used by training and inference alike.

    What becomes 0 and what becomes 1 is told by the method. Statistics are taken from the whole
    image: per channel and time point, over the whole Z stack, never from a tile.

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
    method : "percentile" | "z-score" | "dtype" | "fixed"
        What becomes 0 and 1: two percentiles (0 and 100: minimum and maximum); the mean, and the mean
        plus the standard deviation; zero and the largest value of the integer type (1 for floating-point
        images and masks); or `low` and `high`, whatever the image.
    low_percentile, high_percentile : float
        Of "percentile"; with `polarity` they also tell what is bright.
    low, high : tuple of float
        Of "fixed": one value for all channels or one a channel. A `high` below `low` inverts.
    eps : float
        Is added to the distance of what becomes 0 and 1, as many training programs do.
    per_channel : bool
        Whether each channel has its own statistics; otherwise all channels share them.
    clip_low, clip_high : tuple of float
        Bounds of the normalized values, one for all channels or one a channel; none by default, so
        that values beyond 0 and 1 are kept.
    """

    channels: Literal["as-is", "grey"] = "as-is"
    polarity: Literal["as-is", "bright-objects"] = "as-is"
    stain: Literal["luminance", "haematoxylin"] = "luminance"
    method: Literal["percentile", "z-score", "dtype", "fixed"] = "percentile"
    low_percentile: float = Field(default=1.0, ge=0, le=100)
    high_percentile: float = Field(default=99.8, ge=0, le=100)
    low: tuple[FiniteFloat, ...] = ()
    high: tuple[FiniteFloat, ...] = ()
    eps: FiniteFloat = Field(default=0.0, ge=0)
    per_channel: bool = True
    clip_low: tuple[FiniteFloat, ...] = ()
    clip_high: tuple[FiniteFloat, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Normalization:
        if self.low_percentile >= self.high_percentile:
            message = "low_percentile must be below high_percentile"
            raise ValueError(message)
        if self.polarity == "bright-objects" and self.channels != "grey":
            message = 'polarity "bright-objects" needs channels "grey": one channel decides what is bright'
            raise ValueError(message)
        if self.stain == "haematoxylin" and self.method in {"dtype", "fixed"}:
            message = f'stain "haematoxylin" measures absorbance, which method "{self.method}" has no bounds for'
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _bounds_are_sound(self) -> Normalization:
        if (self.method == "fixed") != bool(self.low) or len(self.low) != len(self.high):
            message = 'low and high, as many of each, belong to method "fixed" and to no other'
            raise ValueError(message)
        if any(low == high for low, high in zip(self.low, self.high, strict=True)):
            message = "low and high must differ: they become 0 and 1"
            raise ValueError(message)
        counts = {len(values) for values in (self.low, self.clip_low, self.clip_high)} - {0, 1}
        if len(counts) > 1:
            message = "low, high, clip_low and clip_high need one value for all channels, or one a channel"
            raise ValueError(message)
        count = max(len(self.clip_low), len(self.clip_high))
        bounds = zip(self.clip_low * count, self.clip_high * count, strict=False)
        if any(low >= high for low, high in bounds):
            message = "clip_low must be below clip_high"
            raise ValueError(message)
        return self
