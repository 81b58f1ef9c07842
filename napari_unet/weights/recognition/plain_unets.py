"""U-Nets of PyTorch tutorials: double convolutions, pooling, transposed convolutions."""

from __future__ import annotations

from collections.abc import Iterator

from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.recognition.recognised import (
    Mismatch,
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


def _joined(reading: Reading) -> Recognised:
    """Read a BatchNorm U-Net with three ways to join (inc.conv, down1.maxpool_conv.1.conv, up1.up, outc)."""
    depth = reading.count("down{}.maxpool_conv.1.conv.0.weight", first=1)
    join, questions = answer(reading, JOIN)
    variant = {"crop": "unet-batchnorm-crop", "pad": "unet-batchnorm-pad", "same": "unet-batchnorm"}[join]
    widths = (reading.out("inc.conv.0"), *(reading.out(f"down{n}.maxpool_conv.1.conv.0") for n in range(1, depth + 1)))
    modules = [("head", "outc")]
    modules += double("encoder.0", "inc.conv", norm=True)
    for level in range(1, depth + 1):
        modules += double(f"encoder.{level}", f"down{level}.maxpool_conv.1.conv", norm=True)
        modules.append((f"decoder.{level - 1}.up.conv", f"up{level}.up"))
        modules += double(f"decoder.{level - 1}.block", f"up{level}.conv.conv", norm=True)
    outputs = reading.out("outc")
    options = {"widths": widths, "depth": depth}
    return Recognised(
        why="inc.conv, down1.maxpool_conv and outc name a BatchNorm U-Net",
        network=NetworkSpec(
            variant=variant, in_channels=reading.into("inc.conv.0"), out_channels=outputs, options=options
        ),
        sources=pair(reading.shapes, modules),
        activation=probability_of(outputs),
        questions=questions,
    )


def double(ours: str, theirs: str, *, norm: bool) -> Iterator[tuple[str, str]]:
    """Pair the units of a block with a `Sequential` of twice convolution, [normalization,] activation."""
    for unit, first in enumerate((0, 3) if norm else (0, 2)):
        yield f"{ours}.{unit}.conv", f"{theirs}.{first}"
        if norm:
            yield f"{ours}.{unit}.norm", f"{theirs}.{first + 1}"


def _plain(reading: Reading) -> Recognised:
    """Read a padded U-Net without normalization; up_*_1 is the deepest level (debuggercafe)."""
    count = reading.count("down_convolution_{}.0.weight", first=1)
    depth = count - 1
    if depth < 1:
        message = "there are too few levels"
        raise Mismatch(message)
    modules = [("head", "out")]
    for level in range(count):
        modules += double(f"encoder.{level}", f"down_convolution_{level + 1}", norm=False)
    for step in range(depth):
        modules.append((f"decoder.{step}.up.conv", f"up_transpose_{step + 1}"))
        modules += double(f"decoder.{step}.block", f"up_convolution_{step + 1}", norm=False)
    outputs = reading.out("out")
    options = {"depth": depth, "widths": tuple(reading.out(f"down_convolution_{n}.0") for n in range(1, count + 1))}
    return Recognised(
        why="down_convolution_1, up_transpose_1 and out name the debuggercafe U-Net",
        network=NetworkSpec(
            variant="unet-plain",
            in_channels=reading.into("down_convolution_1.0"),
            out_channels=outputs,
            options=options,
        ),
        sources=pair(reading.shapes, modules),
        activation=probability_of(outputs),
    )


ORIGINS = (
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
)
