"""Options of the ConvNeXt U-Net family."""

from __future__ import annotations

from typing import Self

from pydantic import Field, PositiveInt, model_validator

from napari_unet.networks.options.levels import LevelOptions, u_outline
from napari_unet.networks.outline import Outline


class ConvNextOptions(LevelOptions):
    """Options of the ConvNeXt U-Net family, beyond those of its levels.

    Attributes
    ----------
    kernel : int
        Side of the depthwise kernels, odd.
    expansion : int
        How many times more channels there are between the two 1-pixel convolutions of a block.
    blocks : tuple of int, optional
        Blocks of each level of the encoder from the top to the bottom; 1 by default.
    decoder_blocks : tuple of int, optional
        Blocks of each level of the decoder from the top; 1 by default.
    layer_scale : float
        By which what a block finds is multiplied before it is added, at the beginning of the training.
    eps : float
        Added to the variance.
    """

    kernel: int = Field(default=7, ge=1)
    expansion: int = Field(default=4, ge=1, le=16)
    blocks: tuple[PositiveInt, ...] | None = None
    decoder_blocks: tuple[PositiveInt, ...] | None = None
    # The paper's 1e-6 is for trainings of many days.
    layer_scale: float = Field(default=0.1, gt=0)
    eps: float = Field(default=1e-6, gt=0)

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        for name, count in (("blocks", self.depth + 1), ("decoder_blocks", self.depth)):
            given = getattr(self, name)
            if given is not None and len(given) != count:
                message = f"depth {self.depth} needs {count} {name}, and {len(given)} were given"
                raise ValueError(message)
        if self.kernel % 2 == 0:
            message = f"kernel must be odd, not {self.kernel}"
            raise ValueError(message)
        return self

    @property
    def local(self) -> bool:
        """Whether an output pixel depends on a neighbourhood only: normalization is over channels alone."""
        return True

    @property
    def level_blocks(self) -> tuple[int, ...]:
        """Blocks of each level of the encoder, from the top."""
        return self.blocks or (1,) * (self.depth + 1)

    @property
    def level_decoder_blocks(self) -> tuple[int, ...]:
        """Blocks of each level of the decoder, from the top."""
        return self.decoder_blocks or (1,) * self.depth

    def outline(self, in_channels: int, out_channels: int) -> Outline:
        """Return what the picture of the network shows."""
        legend = {
            "block": f"blocks of a {self.kernel}-pixel depthwise and two 1-pixel convolutions",
            "down": "2-pixel convolution with stride 2",
            "up": "transposed convolution",
            "skip": "joined by concatenation",
        }
        convs = tuple(3 * n for n in self.level_blocks), tuple(3 * n for n in self.level_decoder_blocks)
        return u_outline((in_channels, out_channels), self.level_widths, convs, legend)
