"""UNet++ and the U-Net beside it of 4uiiurz1's pytorch-nested-unet, which many tutorials follow."""

from __future__ import annotations

from typing import Any

from napari_unet.imaging.config import Normalization
from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.recognition.levels import ALIGN_CORNERS, OF_TYPE, Block, biased, level_options, level_width
from napari_unet.weights.recognition.recognised import Origin, Question, Reading, Recognised, answer, pair

URL = "https://github.com/4uiiurz1/pytorch-nested-unet"
LAYERS = (("0.conv", "conv1"), ("0.norm", "bn1"), ("1.conv", "conv2"), ("1.norm", "bn2"))
MEANS, DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Pixels of 8 bit normalized by mean and deviation of ImageNet, then divided by 255 once more.
IMAGENET_TWICE = Normalization(
    method="fixed",
    low=tuple(255 * mean for mean in MEANS),
    high=tuple(255 * (mean + 255 * deviation) for mean, deviation in zip(MEANS, DEVIATIONS, strict=True)),
)
BGR = "In the author's code images are normalized twice and their channels are blue, green and red, in that order."


def _nested(reading: Reading) -> Recognised:
    """Read UNet++: node i.j is conv{i}_{j}."""
    depth = reading.highest("conv{}_0.")
    deep = reading.has("final1.weight")
    heads = [f"final{column}" for column in range(1, depth + 1)] if deep else ["final"]
    modules = [(f"heads.{number}", head) for number, head in enumerate(heads)]
    for level in range(depth + 1):
        for column in range(depth + 1 - level):
            modules += _node(f"nodes.{level}_{column}", f"conv{level}_{column}")
    corners, questions = answer(reading, ALIGN_CORNERS, settled=True)
    options: dict[str, Any] = {"align_corners": corners}
    if deep:
        options["branch"], more = answer(reading, _branch(depth), settled=None)
        questions += more
    how = "a head for each column: deep supervision" if deep else "one head"
    return _described(
        reading,
        f"conv0_0.conv1, conv1_1 and {heads[0]} name UNet++ with {how}",
        NetworkSpec(
            variant="unet++-deep" if deep else "unet++",
            in_channels=reading.into("conv0_0.conv1"),
            out_channels=reading.out(heads[-1]),
            options=options | _levels(reading, depth),
        ),
        modules,
        questions,
    )


def _plain(reading: Reading) -> Recognised:
    """Read the U-Net: the encoder is conv{i}_0, the decoder the rim of the triangle."""
    depth = reading.highest("conv{}_0.")
    decoder = [f"conv{level}_{depth - level}" for level in range(depth)]
    modules = [("head", "final")]
    for level in range(depth + 1):
        modules += _node(f"encoder.{level}", f"conv{level}_0")
    for level, node in enumerate(decoder):
        modules += _node(f"decoder.{depth - 1 - level}.block", node)
    corners, questions = answer(reading, ALIGN_CORNERS, settled=True)
    widths = tuple(
        (level_width(reading, (f"{node}.conv1", f"{node}.bn1")), level_width(reading, (f"{node}.conv2", f"{node}.bn2")))
        for node in decoder
    )
    options = {"up": "linear", "up_kernel": 0, "align_corners": corners, "decoder": widths}
    return _described(
        reading,
        "conv0_0.conv1 and final, without conv1_1, name the U-Net beside UNet++",
        NetworkSpec(
            variant="unet",
            in_channels=reading.into("conv0_0.conv1"),
            out_channels=reading.out("final"),
            options=options | _levels(reading, depth),
        ),
        modules,
        questions,
    )


def _node(ours: str, theirs: str) -> list[tuple[str, str]]:
    return [(f"{ours}.{mine}", f"{theirs}.{name}") for mine, name in LAYERS]


def _levels(reading: Reading, depth: int) -> dict[str, Any]:
    blocks: list[Block] = [tuple(f"conv{level}_0.{name}" for _, name in LAYERS) for level in range(depth + 1)]
    return level_options(reading, blocks) | {"bias": biased(reading, "conv0_0.conv1")}


def _branch(depth: int) -> Question:
    values: dict[int | None, str] = {None: "the mean of all heads, the accurate way"}
    values |= {
        column: f"head {column} of {depth} alone; what it does not need is not computed"
        for column in range(1, depth + 1)
    }
    return Question("branch", values, "Which head gives the result?")


def _described(
    reading: Reading, why: str, network: NetworkSpec, modules: list[tuple[str, str]], questions: tuple[Question, ...]
) -> Recognised:
    twice = network.in_channels == 3 and _saw_tiny_values(reading)
    return Recognised(
        why=why,
        network=network,
        sources=pair(reading.shapes, modules),
        activation="sigmoid",
        normalization=IMAGENET_TWICE if twice else OF_TYPE,
        questions=questions,
        notes=(BGR,) if twice else (),
    )


def _saw_tiny_values(reading: Reading) -> bool:
    """Whether the first convolution was trained on values around 1/255, as after the second division.

    What it gave has the variance that its normalization remembers; divided by the squares of its
    weights it is about the variance of the images: 0.05 for values from 0 to 1, 0.00002 after that.
    """
    weight, variance = reading.tensors.get("conv0_0.conv1.weight"), reading.tensors.get("conv0_0.bn1.running_var")
    if weight is None or variance is None or weight.is_meta or weight.ndim < 3 or variance.shape != weight.shape[:1]:
        return False
    ratio = variance.double() / weight.double().pow(2).flatten(1).sum(1).clamp_min(1e-12)
    return bool(ratio.median() < 1e-3)


ORIGINS = (
    Origin(
        "4uiiurz1 UNet++",
        URL,
        ("conv0_0.conv1.weight", "conv0_0.bn1.weight", "conv1_0.conv1.weight", "conv0_1.conv1.weight", "final*.weight"),
        _nested,
    ),
    Origin(
        "4uiiurz1 U-Net",
        URL,
        ("conv0_0.conv1.weight", "conv0_0.bn1.weight", "conv1_0.conv1.weight", "final.weight"),
        _plain,
        foreign=("conv1_1.*", "conv0_1.*"),
    ),
)
