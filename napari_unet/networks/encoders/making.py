"""An encoder from its plan."""

from __future__ import annotations

from napari_unet.networks.encoders.densenet import DenseEncoder
from napari_unet.networks.encoders.mobile import MobileEncoder
from napari_unet.networks.encoders.parts import Encoder
from napari_unet.networks.encoders.plans import DensePlan, EncoderPlan, MobilePlan, ResNetPlan, VGGPlan
from napari_unet.networks.encoders.resnet import ResNetEncoder
from napari_unet.networks.encoders.vgg import VGGEncoder


def make_encoder(in_channels: int, plan: EncoderPlan, depth: int) -> Encoder:
    """Build an encoder with random weights.

    Parameters
    ----------
    in_channels : int
    plan : EncoderPlan
    depth : int
        How often the resolution is halved, 1 to 5.
    """
    match plan:
        case ResNetPlan():
            return ResNetEncoder(in_channels, plan, depth)
        case VGGPlan():
            return VGGEncoder(in_channels, plan, depth)
        case MobilePlan():
            return MobileEncoder(in_channels, plan, depth)
        case DensePlan():
            return DenseEncoder(in_channels, plan, depth)
        case _:
            message = f"no encoder is made from {type(plan).__name__}"
            raise TypeError(message)
