"""All variants: named architectures, each a family with its own defaults. Importing this does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_unet.networks.options.attention import AttentionOptions
from napari_unet.networks.options.base import NetworkOptions
from napari_unet.networks.options.convnext import ConvNextOptions
from napari_unet.networks.options.encoder import EncoderUNetOptions
from napari_unet.networks.options.full_scale import FullScaleOptions
from napari_unet.networks.options.isolated import IsolatedOptions
from napari_unet.networks.options.monai import MonaiOptions
from napari_unet.networks.options.nested import NestedOptions
from napari_unet.networks.options.recurrent import RecurrentOptions
from napari_unet.networks.options.residual import ResidualOptions
from napari_unet.networks.options.unet import UNetOptions


@dataclass(frozen=True, slots=True)
class Family:
    """Networks that share one class and one set of options.

    Attributes
    ----------
    options : type
        Of its options.
    network : str
        "module:class" of the network.
    extra : str
        Optional extra of this package that it needs, if any.
    buildable : bool
        False for networks that need the file of their author, which can only predict.
    """

    options: type[NetworkOptions]
    network: str
    extra: str = ""
    buildable: bool = True


@dataclass(frozen=True, slots=True)
class Variant:
    """A named U-Net architecture: a family with its own defaults.

    Attributes
    ----------
    description : str
        One line.
    family : str
        A name in `FAMILIES`.
    defaults : dict
        Options in which it differs from its family's.
    source : str
        Paper or public code.
    """

    description: str
    family: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


RONNEBERGER = "Ronneberger, Fischer and Brox (2015), https://doi.org/10.1007/978-3-319-24574-4_28"
CICEK = "Çiçek et al. (2016), https://doi.org/10.1007/978-3-319-46723-8_49"
ZHOU = "Zhou et al. (2018), https://doi.org/10.1007/978-3-030-00889-5_1"
OKTAY = "Oktay et al. (2018), https://arxiv.org/abs/1804.03999"
ALOM = "Alom et al. (2018), https://arxiv.org/abs/1802.06955"
MONAI = "MONAI, https://doi.org/10.48550/arXiv.2211.02701"
SMP = "segmentation-models-pytorch, https://github.com/qubvel-org/segmentation_models.pytorch"
ZHANG = "Zhang, Liu and Wang (2018), https://doi.org/10.1109/LGRS.2018.2802944"
HUANG = "Huang et al. (2020), https://doi.org/10.1109/ICASSP40776.2020.9053405"
LIU = "Liu et al. (2022), https://doi.org/10.1109/CVPR52688.2022.01167"

FAMILIES: dict[str, Family] = {
    "unet": Family(UNetOptions, "napari_unet.networks.unet:UNet"),
    "nested": Family(NestedOptions, "napari_unet.networks.nested:NestedUNet"),
    "attention": Family(AttentionOptions, "napari_unet.networks.attention:AttentionUNet"),
    "recurrent": Family(RecurrentOptions, "napari_unet.networks.recurrent:RecurrentUNet"),
    "residual": Family(ResidualOptions, "napari_unet.networks.residual:ResidualUNet"),
    "full-scale": Family(FullScaleOptions, "napari_unet.networks.full_scale:FullScaleUNet"),
    "convnext": Family(ConvNextOptions, "napari_unet.networks.convnext:ConvNextUNet"),
    "monai": Family(MonaiOptions, "napari_unet.networks.monai:MonaiNetwork", extra="monai"),
    "encoder": Family(EncoderUNetOptions, "napari_unet.networks.encoder_unet:EncoderUNet"),
    # The class is in a room above this one: only names of files lead to it, never these options alone.
    "isolated": Family(IsolatedOptions, "napari_unet.weights.isolated.network:IsolatedNetwork", buildable=False),
}

VARIANTS: dict[str, Variant] = {
    "unet": Variant("U-Net for planes, 32 to 512 channels, batch normalization", "unet", source=RONNEBERGER),
    "unet-small": Variant(
        "U-Net for planes, 16 to 256 channels, quick on a laptop", "unet", {"width": 16}, RONNEBERGER
    ),
    "unet-3d": Variant(
        "U-Net for volumes, 16 to 128 channels, batch normalization",
        "unet",
        {"dims": 3, "depth": 3, "width": 16},
        CICEK,
    ),
    "unet-valid": Variant(
        "The original U-Net: convolutions without padding, skips cropped around the centre, no normalization",
        "unet",
        {"width": 64, "norm": "none", "padding": "valid", "fit": "crop"},
        RONNEBERGER,
    ),
    "unet-plain": Variant(
        "U-Net with padded convolutions and no normalization, 64 to 1024 channels",
        "unet",
        {"width": 64, "norm": "none"},
        "debuggercafe, https://debuggercafe.com/unet-from-scratch-using-pytorch/",
    ),
    "unet-batchnorm": Variant(
        "U-Net with batch normalization, 64 to 1024 channels",
        "unet",
        {"width": 64, "bias": True},
        "https://zhuanlan.zhihu.com/p/87593567",
    ),
    "unet-batchnorm-crop": Variant(
        "Unpadded U-Net with batch normalization, skips cropped around the centre",
        "unet",
        {"width": 64, "bias": True, "padding": "valid", "fit": "crop"},
        "https://zhuanlan.zhihu.com/p/87593567",
    ),
    "unet-batchnorm-pad": Variant(
        "Unpadded U-Net with batch normalization, the decoder padded with zeros to the skips",
        "unet",
        {"width": 64, "bias": True, "padding": "valid", "fit": "pad"},
        "https://zhuanlan.zhihu.com/p/87593567",
    ),
    "unet-bilinear": Variant(
        "U-Net for images of any size: bilinear up-sampling with a 3-pixel convolution, resized to the skips",
        "unet",
        {"width": 64, "bias": False, "up": "linear", "up_kernel": 3, "fit": "resize"},
        "https://zhuanlan.zhihu.com/p/87593567",
    ),
    "unet-keras": Variant(
        "The U-Net of many Keras tutorials: 32 to 512 channels, no normalization, the decoder first in each join",
        "unet",
        {"norm": "none", "first": "decoder"},
        "https://github.com/jocicmarko/ultrasound-nerve-segmentation",
    ),
    "unet-strided": Variant(
        "Strided convolutions instead of pooling, nearest-neighbour up-sampling, dropout, LeakyReLU",
        "unet",
        {
            "width": 64, "order": "cnda", "bias": True, "unit_dropout": (0.3, 0.4), "activation": "leaky_relu",
            "down": "conv3", "down_activation": True, "up": "nearest", "first": "decoder", "head_kernel": 3,
        },
        "a common PyTorch tutorial network",
    ),
    "unet-slim": Variant(
        "TensorFlow-slim U-Net: LeakyReLU 0.2, any size, the output as large as the input",
        "unet",
        {
            "norm": "none", "activation": "leaky_relu", "slope": 0.2, "pool_ceil": True, "up_bias": False,
            "first": "decoder", "fit": "cut",
        },
        "Chen et al. (2018), https://doi.org/10.1109/CVPR.2018.00347",
    ),
    "unet-slim-3x": Variant(
        "TensorFlow-slim U-Net with an output of three times the size (depth to space)",
        "unet",
        {
            "norm": "none", "activation": "leaky_relu", "slope": 0.2, "pool_ceil": True, "up_bias": False,
            "first": "decoder", "fit": "cut", "head_scale": 3,
        },
        "Chen et al. (2018), https://doi.org/10.1109/CVPR.2018.00347",
    ),
    "unet++": Variant(
        "UNet++: a triangle of densely connected nodes, 32 to 512 channels, any size", "nested", source=ZHOU
    ),
    "unet++-deep": Variant(
        "UNet++ with deep supervision: the mean of one head for each depth, or one of them",
        "nested",
        {"deep_supervision": True},
        ZHOU,
    ),
    "attention-unet": Variant(
        "Attention U-Net: the decoder gates the skips, 64 to 1024 channels", "attention", source=OKTAY
    ),
    "r2-unet": Variant(
        "R2 U-Net: recurrent residual blocks whose weights serve at every turn, 64 to 1024 channels",
        "recurrent",
        source=ALOM,
    ),
    "attention-r2-unet": Variant(
        "R2 U-Net with attention gates on its skips", "recurrent", {"attention": True}, f"{ALOM}; {OKTAY}"
    ),
    "unet-torch-em": Variant(
        "U-Net of torch_em: normalization before each convolution, linear up-sampling, the decoder first in each join",
        "unet",
        {
            "order": "nca", "norm": "instance", "affine": False, "groups": 32, "own_groups": True, "bias": True,
            "up": "linear", "first": "decoder",
        },
        "https://github.com/constantinpape/torch-em",
    ),
    "unet-3dunet": Variant(
        "U-Net of pytorch-3dunet and PlantSeg: group normalization before each convolution, nearest up-sampling",
        "unet",
        {
            "dims": 3, "depth": 3, "width": 64, "order": "nca", "norm": "group", "bias": False, "up": "nearest",
            "up_kernel": 0, "fit": "resize",
        },
        "https://github.com/wolny/pytorch-3dunet",
    ),
    "unet-nnunet": Variant(
        "The plain U-Net of nnU-Net: strided convolutions, instance normalization, LeakyReLU",
        "unet",
        {
            "norm": "instance", "activation": "leaky_relu", "bias": True, "down": "strided", "first": "decoder",
        },
        "Isensee et al. (2021), https://doi.org/10.1038/s41592-020-01008-z",
    ),
    "residual-unet": Variant(
        "Residual U-Net: each block is added to what enters it, 64 to 512 channels", "residual", {"start": "c"}, ZHANG
    ),
    "residual-unet-3d": Variant(
        "Residual U-Net for volumes, 16 to 128 channels",
        "residual",
        {"dims": 3, "width": 16, "start": "c"},
        ZHANG,
    ),
    "residual-unet-3dunet": Variant(
        "Residual U-Net of pytorch-3dunet and PlantSeg: group normalization, skips joined by addition",
        "residual",
        {
            "dims": 3, "depth": 4, "order": "nca", "norm": "group", "bias": False, "activate_sum": True,
            "projection": "before", "down": "max", "up": "transpose3", "up_bias": False, "skip": "add",
        },
        "https://github.com/wolny/pytorch-3dunet; Lee et al. (2017), https://doi.org/10.48550/arXiv.1706.00120",
    ),
    "residual-unet-nnunet": Variant(
        "Residual encoder U-Net of nnU-Net: many blocks on the way down, one convolution on the way up",
        "residual",
        {
            "dims": 3, "depth": 5, "widths": (32, 64, 128, 256, 320, 320), "stem": 32, "blocks": (1, 3, 4, 6, 6, 6),
            "order": "cna", "bias": True, "norm": "instance", "activation": "leaky_relu", "decoder": "plain",
            "activate_sum": True, "projection_order": "cn", "projection_bias": False, "shortcut": "average",
            "up": "transpose", "first": "decoder",
        },
        "Isensee et al. (2024), https://doi.org/10.1007/978-3-031-72114-4_47",
    ),
    "unet3+": Variant(
        "UNet 3+: every level of the decoder sees every scale, 64 channels from each", "full-scale", source=HUANG
    ),
    "convnext-unet": Variant(
        "U-Net of ConvNeXt blocks: large depthwise kernels, exact tiles, 32 to 512 channels", "convnext", source=LIU
    ),
    "convnext-unet-3d": Variant(
        "U-Net of ConvNeXt blocks for volumes, 16 to 128 channels",
        "convnext",
        {"dims": 3, "depth": 3, "width": 16, "kernel": 5},
        f"{LIU}; Roy et al. (2023), https://doi.org/10.1007/978-3-031-43901-8_39",
    ),
    "monai-unet": Variant(
        "MONAI's UNet: residual units, the first convolution halves the resolution already",
        "monai",
        {
            "network": "UNet",
            "arguments": {
                "channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2), "num_res_units": 2, "norm": "batch"
            },
        },
        f"{MONAI}; Kerfoot et al. (2019), https://doi.org/10.1007/978-3-030-12029-0_40",
    ),
    "monai-basic-unet": Variant(
        "MONAI's BasicUNet: five levels, instance normalization, LeakyReLU 0.1",
        "monai",
        {"network": "BasicUNet"},
        f"{MONAI}; Falk et al. (2019), https://doi.org/10.1038/s41592-018-0261-2",
    ),
    "monai-basic-unet++": Variant(
        "MONAI's UNet++ on top of its BasicUNet", "monai", {"network": "BasicUNetPlusPlus"}, f"{MONAI}; {ZHOU}"
    ),
    "monai-attention-unet": Variant(
        "MONAI's attention U-Net: gates on the skips, strided convolutions",
        "monai",
        {
            "network": "AttentionUnet",
            "arguments": {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2)},
        },
        f"{MONAI}; {OKTAY}",
    ),
    "monai-dynunet": Variant(
        "MONAI's DynUNet: the network of nnU-Net, each level with its own kernel and stride",
        "monai",
        {
            "network": "DynUNet",
            "arguments": {
                "kernel_size": (3, 3, 3, 3, 3), "strides": (1, 2, 2, 2, 2), "upsample_kernel_size": (2, 2, 2, 2)
            },
        },
        f"{MONAI}; Isensee et al. (2021), https://doi.org/10.1038/s41592-020-01008-z",
    ),
    "encoder-unet": Variant(
        "U-Net with an encoder known from image classification, a ResNet-34 unless another is named",
        "encoder",
        source=SMP,
    ),
    "encoder-unet++": Variant(
        "UNet++ with an encoder known from image classification, a ResNet-34 unless another is named",
        "encoder",
        {"nested": True},
        f"{SMP}; {ZHOU}",
    ),
    "resnet18-unet": Variant("U-Net with a ResNet-18 encoder", "encoder", {"encoder": "resnet18"}, SMP),
    "resnet34-unet": Variant("U-Net with a ResNet-34 encoder", "encoder", {"encoder": "resnet34"}, SMP),
    "resnet50-unet": Variant("U-Net with a ResNet-50 encoder", "encoder", {"encoder": "resnet50"}, SMP),
    "vgg16-unet": Variant("U-Net with a VGG-16 encoder, batch-normalized", "encoder", {"encoder": "vgg16_bn"}, SMP),
    "efficientnet-b0-unet": Variant(
        "U-Net with an EfficientNet-B0 encoder", "encoder", {"encoder": "efficientnet-b0"}, SMP
    ),
    "mobilenet-v2-unet": Variant(
        "U-Net with a MobileNetV2 encoder, small and quick", "encoder", {"encoder": "mobilenet_v2"}, SMP
    ),
    "densenet121-unet": Variant("U-Net with a DenseNet-121 encoder", "encoder", {"encoder": "densenet121"}, SMP),
    "resnet34-unet++": Variant(
        "UNet++ with a ResNet-34 encoder", "encoder", {"encoder": "resnet34", "nested": True}, f"{SMP}; {ZHOU}"
    ),
    "efficientnet-b0-unet++": Variant(
        "UNet++ with an EfficientNet-B0 encoder",
        "encoder",
        {"encoder": "efficientnet-b0", "nested": True},
        f"{SMP}; {ZHOU}",
    ),
    "onnx": Variant("A network of other people's in ONNX, which can only predict", "isolated"),
    "torchscript": Variant("A network of other people's in TorchScript, which can only predict", "isolated"),
}  # fmt: skip
