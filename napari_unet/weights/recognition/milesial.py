"""The U-Net of milesial's Pytorch-UNet, of 2017 and later."""

from __future__ import annotations

from typing import Any

from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.recognition.levels import (
    ALIGN_CORNERS,
    OF_TYPE,
    biased,
    double,
    level_options,
    level_width,
    sequential,
)
from napari_unet.weights.recognition.recognised import (
    Origin,
    Question,
    Reading,
    Recognised,
    answer,
    pair,
    probability_of,
)

# Where two convolutions with normalization and activation lie: in inc, in each down and in each up.
SINCE_2019 = ("double_conv", "maxpool_conv.1.double_conv", "conv.double_conv")
BEFORE_2019 = ("conv.conv", "mpconv.1.conv", "conv.conv")


def _since_2019(reading: Reading) -> Recognised:
    return _recognise(reading, *SINCE_2019)


def _before_2019(reading: Reading) -> Recognised:
    return _recognise(reading, *BEFORE_2019)


def _recognise(reading: Reading, top: str, below: str, decoded: str) -> Recognised:
    """Read the network; up1 is the deepest."""
    depth = reading.highest("down{}.")
    blocks = [f"inc.{top}", *(f"down{level}.{below}" for level in range(1, depth + 1))]
    ups = [f"up{step + 1}" for step in range(depth)]
    linear = not reading.has("up*.up.weight")
    modules = [("head", "outc.conv")]
    for level, block in enumerate(blocks):
        modules += double(f"encoder.{level}", block, norm=True)
    for step, up in enumerate(ups):
        modules += [] if linear else [(f"decoder.{step}.up.conv", f"{up}.up")]
        modules += double(f"decoder.{step}.block", f"{up}.{decoded}", norm=True)
    options, questions = _options(reading, blocks, [f"{up}.{decoded}" for up in reversed(ups)])
    if not linear:
        up_widths = tuple(_up_width(reading, f"{up}.up") for up in reversed(ups))
        options["up_widths"] = None if up_widths == _widths(reading, blocks[:-1]) else up_widths
    colours, outputs = reading.into(f"{blocks[0]}.0"), reading.out("outc.conv")
    how = "bilinear up-sampling, as there is no up1.up" if linear else "transposed convolutions"
    return Recognised(
        why=f"inc, down1, up1 and outc.conv name the network of milesial, with {how}",
        network=NetworkSpec(variant="unet", in_channels=colours, out_channels=outputs, options=options),
        sources=pair(reading.shapes, modules),
        # Its first versions ended in a sigmoid, whatever the number of classes.
        activation="sigmoid" if top == BEFORE_2019[0] else probability_of(outputs),
        normalization=OF_TYPE,
        questions=questions,
        notes=_said(reading, published=(colours, outputs) in {(3, 1), (3, 2)}),
    )


def _options(reading: Reading, blocks: list[str], decoder: list[str]) -> tuple[dict[str, Any], tuple[Question, ...]]:
    """Read the options, and what is asked, from the blocks of the encoder and the decoder, both from the top."""
    options = level_options(reading, [sequential(block, norm=True) for block in blocks])
    options |= {"fit": "pad", "bias": biased(reading, f"{blocks[0]}.0") or None}
    widths = tuple(_decoder_widths(reading, block) for block in decoder)
    plain = tuple((width, width) for width in _widths(reading, blocks[:-1]))
    options["decoder"] = None if widths == plain else widths
    if reading.has("up*.up.weight"):
        return options, ()
    corners, questions = answer(reading, ALIGN_CORNERS, settled=True)
    return options | {"up": "linear", "up_kernel": 0, "align_corners": corners}, questions


def _widths(reading: Reading, blocks: list[str]) -> tuple[int, ...]:
    return tuple(level_width(reading, sequential(block, norm=True)) for block in blocks)


def _decoder_widths(reading: Reading, block: str) -> tuple[int, int]:
    """Channels after both convolutions of a block; they have changed more than once in that code."""
    first, norm, second, last = sequential(block, norm=True)
    return level_width(reading, (first, norm)), level_width(reading, (second, last))


def _up_width(reading: Reading, up: str) -> int:
    """Channels after a transposed convolution; its bias tells them too, where the kernel is missing."""
    bias = reading.shapes.get(f"{up}.bias")
    return bias[0] if bias else reading.into(up)


def _said(reading: Reading, *, published: bool) -> tuple[str, ...]:
    values = reading.extras.get("mask_values")
    notes: tuple[str, ...] = ()
    if published:
        notes += ("The weights that are published for Carvana expect an image at half its size (scale 0.5).",)
    if isinstance(values, list) and values:
        notes += (f"In its masks the classes had the values {', '.join(map(str, values))}.",)
    return notes


ORIGINS = (
    Origin(
        "milesial Pytorch-UNet",
        "https://github.com/milesial/Pytorch-UNet",
        ("inc.double_conv.0.weight", "down1.maxpool_conv.1.double_conv.0.weight", "up1.conv.*", "outc.conv.weight"),
        _since_2019,
    ),
    Origin(
        "milesial Pytorch-UNet before October 2019",
        "https://github.com/milesial/Pytorch-UNet",
        ("inc.conv.conv.0.weight", "down1.mpconv.1.conv.0.weight", "up1.conv.*", "outc.conv.weight"),
        _before_2019,
    ),
)
