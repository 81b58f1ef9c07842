"""R2 U-Net: blocks that convolve again what they found, with the same weights."""

from __future__ import annotations

from torch import Tensor, nn

from napari_unet.networks.blocks import CONV, Unit
from napari_unet.networks.levels import LevelUNet
from napari_unet.networks.options.recurrent import RecurrentOptions


class RecurrentUnit(nn.Module):
    """One unit whose output is added to its input and sent through it again, `recurrences` times."""

    def __init__(self, width: int, options: RecurrentOptions) -> None:
        super().__init__()
        self.unit = Unit(width, width, options)
        self.recurrences = options.recurrences

    def forward(self, x: Tensor) -> Tensor:
        """From (N, width, *size) to the same."""
        found: Tensor = self.unit(x)
        for _ in range(self.recurrences):
            found = self.unit(x + found)
        return found


class RecurrentBlock(nn.Module):
    """A 1-pixel convolution, then recurrent units, and a sum around them."""

    def __init__(self, in_channels: int, width: int, options: RecurrentOptions) -> None:
        super().__init__()
        self.projection = CONV[options.dims](in_channels, width, 1)
        self.units = nn.Sequential(*(RecurrentUnit(width, options) for _ in range(options.convs)))

    def forward(self, x: Tensor) -> Tensor:
        """From (N, in_channels, *size) to (N, width, *size)."""
        x = self.projection(x)
        out: Tensor = x + self.units(x)
        return out


class RecurrentUNet(LevelUNet):
    """A U-Net of recurrent residual blocks, with attention gates if wanted.

    A picture of it is that of a U-Net in which every convolution has a loop back to its own input, and
    every block an arrow around it: a 1-pixel convolution brings the channels to the width of the level,
    each unit then sees the sum of the block's input and of its own last answer, and what the units
    found is added to what they got. The weights of a unit are the same at each turn, so that a file
    of weights does not tell how many turns there were. Each turn makes the receptive field larger.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the image and of the logits.
    options : RecurrentOptions

    References
    ----------
    Alom et al. (2018), https://arxiv.org/abs/1802.06955; computed like R2U_Net and R2AttU_Net of the
    public https://github.com/LeeJunHyun/Image_Segmentation.
    """

    def __init__(self, in_channels: int, out_channels: int, options: RecurrentOptions) -> None:
        self._options = options
        super().__init__(in_channels, out_channels, options, gated=options.attention)

    def block(self, in_channels: int, out_channels: int) -> nn.Module:
        """Build the block of one level."""
        return RecurrentBlock(in_channels, out_channels, self._options)
