"""U-Nets of PyTorch tutorials: two convolutions a level, joined by concatenation."""

from __future__ import annotations

from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.recognition.levels import OF_TYPE, biased, double, level_options, sequential
from napari_unet.weights.recognition.recognised import (
    BY_LOSS,
    Origin,
    Question,
    Reading,
    Recognised,
    answer,
    pair,
    probability_of,
)

JOIN = Question(
    "join",
    {
        "crop": "unpadded convolutions, the encoder's features cropped around their centre",
        "pad": "unpadded convolutions, the decoder's features padded with zeros",
        "same": "padded convolutions, all sizes stay",
    },
    "How do the features of encoder and decoder meet? The three ways have the same tensors.",
)


def _valid(reading: Reading) -> Recognised:
    """Read an unpadded U-Net; conv_6 is the deepest of the decoder where depth is 4."""
    depth = reading.highest("up_conv_{}.")
    # Activations in a Sequential have no tensors but count: conv_1.0 and conv_1.2 have one between them.
    active = reading.has("conv_1.2.weight")
    blocks = [f"conv_{number + 1}" for number in range(2 * depth + 1)]
    encoder = [sequential(block, norm=False, skipped=int(active)) for block in blocks[: depth + 1]]
    modules = [("head", "result")]
    for number, block in enumerate(blocks):
        place = f"encoder.{number}" if number <= depth else f"decoder.{number - depth - 1}.block"
        modules += double(place, block, norm=False, skipped=int(active))
    modules += [(f"decoder.{step}.up.conv", f"up_conv_{depth - step}.0") for step in range(depth)]
    outputs = reading.out("result")
    options = level_options(reading, encoder) | {"activation": "relu" if active else "none"}
    between = "an activation" if active else "no activation"
    return Recognised(
        why=f"conv_1, up_conv_1 and result name an unpadded U-Net, with {between} between its convolutions",
        network=NetworkSpec(
            variant="unet-valid", in_channels=reading.into("conv_1.0"), out_channels=outputs, options=options
        ),
        sources=pair(reading.shapes, modules),
        activation=probability_of(outputs),
        because=BY_LOSS,
        notes=()
        if active
        else ("There is no activation in that code, so that only pooling keeps it from being linear.",),
    )


def _strided(reading: Reading) -> Recognised:
    """Read a U-Net with strided convolutions and nearest-neighbour up-sampling; U1 is the deepest."""
    depth = reading.highest("D{}.")
    # The layers of a block: convolution, normalization, dropout, activation; twice.
    encoder = [sequential(f"C{level + 1}.layer", norm=True, skipped=2) for level in range(depth + 1)]
    modules = [("head", "pred")]
    for level in range(depth + 1):
        modules += double(f"encoder.{level}", f"C{level + 1}.layer", norm=True, skipped=2)
    for step in range(depth):
        modules.append((f"downs.{step}.0", f"D{step + 1}.Down.0"))
        modules.append((f"decoder.{step}.up.conv.conv", f"U{step + 1}.Up"))
        modules += double(f"decoder.{step}.block", f"C{depth + 2 + step}.layer", norm=True, skipped=2)
    return Recognised(
        why="C1.layer, D1.Down, U1.Up and pred name a U-Net with strided convolutions",
        network=NetworkSpec(
            variant="unet-strided",
            in_channels=reading.into("C1.layer.0"),
            out_channels=reading.out("pred"),
            options=level_options(reading, encoder) | {"bias": biased(reading, "C1.layer.0")},
        ),
        sources=pair(reading.shapes, modules),
        activation="sigmoid",
    )


def _joined(reading: Reading) -> Recognised:
    """Read a BatchNorm U-Net with three ways to join; up1 is the deepest."""
    depth = reading.highest("down{}.")
    join, questions = answer(reading, JOIN)
    variant = {"crop": "unet-batchnorm-crop", "pad": "unet-batchnorm-pad", "same": "unet-batchnorm"}[join]
    blocks = ["inc.conv", *(f"down{level}.maxpool_conv.1.conv" for level in range(1, depth + 1))]
    modules = [("head", "outc")]
    for level, block in enumerate(blocks):
        modules += double(f"encoder.{level}", block, norm=True)
    for step in range(depth):
        modules.append((f"decoder.{step}.up.conv", f"up{step + 1}.up"))
        modules += double(f"decoder.{step}.block", f"up{step + 1}.conv.conv", norm=True)
    outputs = reading.out("outc")
    options = level_options(reading, [sequential(block, norm=True) for block in blocks])
    return Recognised(
        why="inc.conv, down1.maxpool_conv and outc name a BatchNorm U-Net",
        network=NetworkSpec(
            variant=variant,
            in_channels=reading.into("inc.conv.0"),
            out_channels=outputs,
            options=options | {"bias": biased(reading, "inc.conv.0")},
        ),
        sources=pair(reading.shapes, modules),
        activation=probability_of(outputs),
        because=BY_LOSS,
        questions=questions,
    )


def _plain(reading: Reading) -> Recognised:
    """Read a padded U-Net without normalization; up_*_1 is the deepest."""
    depth = reading.highest("up_transpose_{}.")
    blocks = [f"down_convolution_{level + 1}" for level in range(depth + 1)]
    modules = [("head", "out")]
    for level, block in enumerate(blocks):
        modules += double(f"encoder.{level}", block, norm=False)
    for step in range(depth):
        modules.append((f"decoder.{step}.up.conv", f"up_transpose_{step + 1}"))
        modules += double(f"decoder.{step}.block", f"up_convolution_{step + 1}", norm=False)
    outputs = reading.out("out")
    return Recognised(
        why="down_convolution_1, up_transpose_1 and out name the debuggercafe U-Net",
        network=NetworkSpec(
            variant="unet-plain",
            in_channels=reading.into("down_convolution_1.0"),
            out_channels=outputs,
            options=level_options(reading, [sequential(block, norm=False) for block in blocks]),
        ),
        sources=pair(reading.shapes, modules),
        activation=probability_of(outputs),
        because=BY_LOSS,
        normalization=OF_TYPE,
    )


def _resized(reading: Reading) -> Recognised:
    """Read a U-Net of any widths that resizes its decoder to the skips; ups.0 is the deepest."""
    depth = reading.highest("downs.{}.") + 1
    linear = reading.has("ups.0.1.weight")
    blocks = [*(f"downs.{level}.conv" for level in range(depth)), "bottleneck.conv"]
    modules = [("head", "final_conv")]
    for level, block in enumerate(blocks):
        modules += double(f"encoder.{level}", block, norm=True)
    for step in range(depth):
        up = ("up.conv.conv", f"ups.{2 * step}.1") if linear else ("up.conv", f"ups.{2 * step}")
        modules.append((f"decoder.{step}.{up[0]}", up[1]))
        modules += double(f"decoder.{step}.block", f"ups.{2 * step + 1}.conv", norm=True)
    outputs = reading.out("final_conv")
    options = level_options(reading, [sequential(block, norm=True) for block in blocks])
    options |= {"bias": biased(reading, "downs.0.conv.0"), "up": "linear" if linear else "transpose"}
    how = "bilinear up-sampling" if linear else "transposed convolutions"
    return Recognised(
        why=f"downs, bottleneck, ups and final_conv name a U-Net for any size, with {how}",
        network=NetworkSpec(
            variant="unet-bilinear",
            in_channels=reading.into("downs.0.conv.0"),
            out_channels=outputs,
            options=options,
        ),
        sources=pair(reading.shapes, modules),
        activation=probability_of(outputs),
        because=BY_LOSS,
        normalization=OF_TYPE,
    )


ORIGINS = (
    Origin(
        "unpadded U-Net with centre crop",
        "https://doi.org/10.1007/978-3-319-24574-4_28",
        ("conv_1.0.weight", "up_conv_1.0.weight", "result.weight"),
        _valid,
    ),
    Origin(
        "U-Net with strided convolutions",
        "a common PyTorch tutorial network",
        ("C1.layer.0.weight", "D1.Down.0.weight", "U1.Up.weight", "pred.weight"),
        _strided,
    ),
    Origin(
        "BatchNorm U-Net with three ways to join",
        "https://zhuanlan.zhihu.com/p/87593567",
        ("inc.conv.0.weight", "down1.maxpool_conv.1.conv.0.weight", "up1.up.weight", "outc.weight"),
        _joined,
    ),
    Origin(
        "debuggercafe U-Net",
        "https://debuggercafe.com/unet-from-scratch-using-pytorch/",
        ("down_convolution_1.0.weight", "up_transpose_1.weight", "up_convolution_1.0.weight", "out.weight"),
        _plain,
    ),
    Origin(
        "U-Net of any widths for any size",
        "https://github.com/aladdinpersson/Machine-Learning-Collection",
        ("downs.0.conv.0.weight", "bottleneck.conv.0.weight", "ups.0.*weight", "final_conv.weight"),
        _resized,
    ),
)
