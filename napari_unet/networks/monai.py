"""Networks that the MONAI library builds; it is an optional extra."""

from __future__ import annotations

from torch import Tensor, nn

from napari_unet.errors import ModelError
from napari_unet.networks.base import Network
from napari_unet.networks.options.monai import MonaiOptions


class MonaiNetwork(Network):
    """A U-Net of the MONAI library.

    What they look like: its UNet halves the resolution with the first convolution already, and has
    residual units and PReLU; BasicUNet is the classic U-Net of five levels, BasicUNetPlusPlus the
    UNet++ on top of it; DynUNet is MONAI's version of the network that nnU-Net plans, each level with
    a kernel and a stride of its own; AttentionUnet has gates on its skips.

    The names of tensors are those of MONAI behind "network."; of the two names that DynUNet has for
    each, the one that begins with "skip_layers.".

    Parameters
    ----------
    in_channels, out_channels : int
        Of the image and of the logits.
    options : MonaiOptions

    Raises
    ------
    ModelError
        If MONAI is not installed, or its network cannot be built like that.

    References
    ----------
    Cardoso et al. (2022), https://doi.org/10.48550/arXiv.2211.02701, https://monai.io;
    UNet: Kerfoot et al. (2019), https://doi.org/10.1007/978-3-030-12029-0_40;
    BasicUNet: Falk et al. (2019), https://doi.org/10.1038/s41592-018-0261-2;
    BasicUNetPlusPlus: Zhou et al. (2018), https://doi.org/10.1007/978-3-030-00889-5_1;
    DynUNet: Isensee et al. (2021), https://doi.org/10.1038/s41592-020-01008-z;
    AttentionUnet: Oktay et al. (2018), https://arxiv.org/abs/1804.03999.
    """

    def __init__(self, in_channels: int, out_channels: int, options: MonaiOptions) -> None:
        super().__init__(in_channels, out_channels, options)
        self.network = _build(in_channels, out_channels, options)

    def forward(self, x: Tensor) -> Tensor:
        """From an image (N, in_channels, [Z,] Y, X) to logits of its size.

        Where MONAI gives the answers of several depths, it is the one at full depth.
        """
        answer: Tensor | list[Tensor] = self.network(x)
        if isinstance(answer, list):
            return answer[-1]
        # In training DynUNet stacks the answers of all depths behind the batch axis.
        return answer[:, 0] if answer.ndim > x.ndim else answer


def _build(in_channels: int, out_channels: int, options: MonaiOptions) -> nn.Module:
    try:
        from monai.networks import nets
    except ImportError as error:
        raise ModelError(
            f"{options.network} is a network of the MONAI library, which is not installed. "
            'Install it with: pip install "napari-unet[monai]"'
        ) from error
    make = getattr(nets, options.network)
    try:
        network: nn.Module = make(
            spatial_dims=options.dims, in_channels=in_channels, out_channels=out_channels, **options.arguments
        )
    except (TypeError, ValueError, KeyError, AttributeError, NotImplementedError, AssertionError) as error:
        raise ModelError(f"MONAI could not build {options.network} with these arguments: {error}") from error
    if options.network == "DynUNet":
        # Its blocks are parts of nested layers, too, and tensors with two names could not be saved.
        for name in ("input_block", "downsamples", "bottleneck", "upsamples", "deep_supervision_heads"):
            if hasattr(network, name):
                delattr(network, name)
    return network
