"""The options of each family of networks. Importing this does not import torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from napari_unet.networks.spec import Config

# In evaluation mode these see no more than the convolutions between them.
LOCAL_NORMS = ("batch", "none")


class UNetOptions(Config):
    """Options of the U-Net family.

    Attributes
    ----------
    dims : 2 | 3
        Planes or volumes.
    depth : int
        How often the resolution is halved.
    width : int
        Channels at full resolution; doubled at each level.
    widths : tuple of int, optional
        Channels of each level from the top to the bottom, instead of `width`.
    convs : int
        Convolutions a level.
    kernel : int
        Side of their kernels, odd.
    norm : "batch" | "instance" | "group" | "none"
        With "instance" and "group" a network sees its whole input at once, so that tiles cannot be exact.
    groups : int
        Of "group"; must divide every width.
    activation : "relu" | "leaky_relu" | "elu" | "gelu" | "silu"
    slope : float
        Of "leaky_relu" below zero.
    down : "max" | "average" | "conv"
        Pooling over 2 pixels, or a convolution of kernel 2 and stride 2.
    up : "transpose" | "nearest" | "linear"
        Transposed convolution of kernel 2, or interpolation followed by a 1-pixel convolution.
    skip : "concat" | "add" | "none"
        How the encoder's features join the decoder's.
    dropout : float
        Probability, after each level of the decoder and at the bottom.
    head_kernel : 1 | 3
        Side of the kernel that gives the logits.
    """

    dims: Literal[2, 3] = 2
    depth: int = Field(default=4, ge=0, le=7)
    width: int = Field(default=32, ge=1)
    widths: tuple[PositiveInt, ...] | None = None
    convs: int = Field(default=2, ge=1, le=6)
    kernel: int = Field(default=3, ge=1)
    norm: Literal["batch", "instance", "group", "none"] = "batch"
    groups: int = Field(default=8, ge=1)
    activation: Literal["relu", "leaky_relu", "elu", "gelu", "silu"] = "relu"
    slope: float = 0.01
    down: Literal["max", "average", "conv"] = "max"
    up: Literal["transpose", "nearest", "linear"] = "transpose"
    skip: Literal["concat", "add", "none"] = "concat"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    head_kernel: Literal[1, 3] = 1

    @model_validator(mode="after")
    def _shapes_fit(self) -> UNetOptions:
        if self.kernel % 2 == 0:
            message = f"kernel must be odd, not {self.kernel}"
            raise ValueError(message)
        if self.widths is not None and len(self.widths) != self.depth + 1:
            message = f"depth {self.depth} needs {self.depth + 1} widths, and {len(self.widths)} were given"
            raise ValueError(message)
        if self.norm == "group" and any(width % self.groups for width in self.level_widths):
            message = f"{self.groups} groups do not divide all of the widths {self.level_widths}"
            raise ValueError(message)
        return self

    @property
    def level_widths(self) -> tuple[int, ...]:
        """Channels of each level, from the top to the bottom."""
        return self.widths or tuple(self.width * 2**level for level in range(self.depth + 1))
