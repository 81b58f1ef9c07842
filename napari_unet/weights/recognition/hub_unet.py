"""The U-Net for abnormalities in brain images, known from torch.hub."""

from __future__ import annotations

from napari_unet.imaging.config import Normalization
from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.recognition.levels import biased, level_options
from napari_unet.weights.recognition.recognised import Origin, Reading, Recognised, pair

LAYERS = (("0.conv", "conv1"), ("0.norm", "norm1"), ("1.conv", "conv2"), ("1.norm", "norm2"))


def _recognise(reading: Reading) -> Recognised:
    """Read the network; upconv1 is the topmost."""
    depth = reading.highest("upconv{}.")
    # A block names itself in each of its layers: encoder1.enc1conv1, bottleneck.bottleneckconv1.
    blocks = [*(f"encoder{level + 1}.enc{level + 1}" for level in range(depth)), "bottleneck.bottleneck"]
    modules = [("head", "conv")]
    for level, block in enumerate(blocks):
        modules += [(f"encoder.{level}.{ours}", block + theirs) for ours, theirs in LAYERS]
    for step in range(depth):
        number = depth - step
        modules.append((f"decoder.{step}.up.conv", f"upconv{number}"))
        modules += [(f"decoder.{step}.block.{ours}", f"decoder{number}.dec{number}{theirs}") for ours, theirs in LAYERS]
    options = level_options(reading, [tuple(block + theirs for _, theirs in LAYERS) for block in blocks])
    first = f"{blocks[0]}conv1"
    return Recognised(
        why="encoder1.enc1conv1, bottleneck.bottleneckconv1 and upconv1 name the U-Net of mateuszbuda",
        network=NetworkSpec(
            variant="unet",
            in_channels=reading.into(first),
            out_channels=reading.out("conv"),
            options=options | {"first": "decoder", "bias": biased(reading, first) or None},
        ),
        sources=pair(reading.shapes, modules),
        activation="sigmoid",
        normalization=Normalization(method="z-score"),
        notes=("In the author's code the image is first clipped to its percentiles 10 and 99.",),
    )


ORIGINS = (
    Origin(
        "mateuszbuda brain-segmentation-pytorch",
        "https://github.com/mateuszbuda/brain-segmentation-pytorch",
        ("encoder1.enc1conv1.weight", "bottleneck.bottleneckconv1.weight", "upconv1.weight", "conv.weight"),
        _recognise,
    ),
)
