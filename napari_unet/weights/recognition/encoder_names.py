"""The tensors of encoders known from image classification, by the names of torchvision, timm and others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from napari_unet.networks.encoders.plans import ENCODERS, DensePlan, EncoderPlan, MobilePlan, ResNetPlan, VGGPlan
from napari_unet.weights.recognition.recognised import Mismatch, Reading

Pairs = Iterator[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Style:
    """One way to name the tensors of one family of encoders.

    Attributes
    ----------
    mark : str
        A tensor that every such file has.
    names : callable
        From a plan to pairs of (our module, theirs) of the encoder at its full depth.
    fits : callable
        Whether a reading has the shapes of a plan, as far as encoders of the family differ.
    encoders : tuple of str
        Names of the family.
    unused : tuple of str
        Patterns of tensors that classification alone needs.
    """

    mark: str
    names: Callable[[Any], Pairs]
    fits: Callable[[Reading, Any], bool]
    encoders: tuple[str, ...]
    unused: tuple[str, ...] = ()


def find_encoder(reading: Reading) -> tuple[str, Style]:
    """Tell which encoder a file has, and how its tensors are named.

    Raises
    ------
    Mismatch
        If it is none that is known.
    """
    for style in STYLES:
        if reading.has(style.mark):
            for name in style.encoders:
                if style.fits(reading, ENCODERS[name]):
                    return name, style
    message = f"its encoder is none of {', '.join(ENCODERS)}"
    raise Mismatch(message)


def encoder_pairs(style: Style, plan: EncoderPlan, depth: int) -> tuple[list[tuple[str, str]], list[str]]:
    """Pair the modules of an encoder, and name those of theirs that a smaller depth does not use."""
    pairs, beyond = [], []
    for ours, theirs in style.names(plan):
        if int(ours.split(".")[1]) <= depth - plan.top:
            pairs.append((f"encoder.{ours}", theirs))
        else:
            beyond.append(theirs)
    return pairs, beyond


def _unit(ours: str, conv: str, norm: str) -> Pairs:
    yield f"{ours}.conv", conv
    yield f"{ours}.norm", norm


def _resnet(prefix: str, stem: str) -> Callable[[ResNetPlan], Pairs]:
    def names(plan: ResNetPlan) -> Pairs:
        yield from _unit("stages.0", f"{prefix}{stem}conv1", f"{prefix}{stem}bn1")
        for level, blocks in enumerate(plan.blocks, start=1):
            for n in range(blocks):
                ours, theirs = f"stages.{level}.blocks.{n}", f"{prefix}layer{level}.{n}"
                for unit in range(3 if plan.bottleneck else 2):
                    yield from _unit(f"{ours}.units.{unit}", f"{theirs}.conv{unit + 1}", f"{theirs}.bn{unit + 1}")
                if n == 0 and (level > 1 or plan.bottleneck):
                    yield from _unit(f"{ours}.project", f"{theirs}.downsample.0", f"{theirs}.downsample.1")
                if plan.squeeze:
                    yield f"{ours}.squeeze.reduce", f"{theirs}.se_module.fc1"
                    yield f"{ours}.squeeze.expand", f"{theirs}.se_module.fc2"

    return names


def _is_resnet(prefix: str) -> Callable[[Reading, ResNetPlan], bool]:
    def fits(reading: Reading, plan: ResNetPlan) -> bool:
        # timm leaves out the levels that a smaller depth does not use.
        counts = [reading.count(f"{prefix}layer{level}.{{}}.conv1.weight") for level in range(1, 5)]
        blocks = tuple(count for count in counts if count)
        first = f"{prefix}layer1.0"
        inner = reading.out(f"{first}.conv1")
        return (
            plan.blocks[: len(blocks)] == blocks
            and (plan.inner, plan.inner // plan.groups) == (inner, reading.into(f"{first}.conv2"))
            and plan.bottleneck == (f"{first}.conv3.weight" in reading.shapes)
        )

    return fits


def _vgg_positions(plan: VGGPlan) -> Iterator[tuple[int, int, int]]:
    """Level, number in the level, and place in their `Sequential` of each convolution."""
    place = 0
    for level, count in enumerate(plan.blocks):
        for n in range(count):
            yield level, n, place
            place += 3 if plan.norm else 2
        place += 1


def _vgg(plan: VGGPlan) -> Pairs:
    for level, n, place in _vgg_positions(plan):
        conv = f"encoder.features.{place}"
        yield f"stages.{level}.{n}.conv", conv
        if plan.norm:
            yield f"stages.{level}.{n}.norm", f"encoder.features.{place + 1}"


def _is_vgg(reading: Reading, plan: VGGPlan) -> bool:
    weights = {name: int(name.split(".")[2]) for name in reading.matching("encoder.features.*.weight")}
    found = sorted(place for name, place in weights.items() if len(reading.shape(name)) > 1)
    return found == [place for _, _, place in _vgg_positions(plan)]


def _places(plan: MobilePlan) -> Iterator[tuple[str, int, int, int, int]]:
    """Our name of each block, its number, its row, its number in the row, and by how much it expands."""
    number, taken = 0, [1] + [0] * len(plan.ends)
    for n, row in enumerate(plan.rows):
        for repeat in range(row.repeats):
            level = sum(number > end for end in plan.ends)
            yield f"stages.{level}.{taken[level]}", number, n, repeat, row.expand
            taken[level] += 1
            number += 1


def _mobilenet(plan: MobilePlan) -> Pairs:
    yield from _unit("stages.0.0", "encoder.features.0.0", "encoder.features.0.1")
    blocks = list(_places(plan))
    for ours, number, _, _, expand in blocks:
        theirs = f"encoder.features.{number + 1}.conv"
        first = 0 if expand == 1 else 1
        if first:
            yield from _unit(f"{ours}.expand", f"{theirs}.0.0", f"{theirs}.0.1")
        yield from _unit(f"{ours}.depthwise", f"{theirs}.{first}.0", f"{theirs}.{first}.1")
        yield from _unit(f"{ours}.project", f"{theirs}.{first + 1}", f"{theirs}.{first + 2}")
    level, place = blocks[-1][0].split(".")[1:]
    last = f"encoder.features.{len(blocks) + 1}"
    yield from _unit(f"stages.{level}.{int(place) + 1}", f"{last}.0", f"{last}.1")


def _is_mobilenet(reading: Reading, plan: MobilePlan) -> bool:
    return reading.out("encoder.features.0.0") == plan.width


def _efficientnet(plan: MobilePlan) -> Pairs:
    yield from _unit("stages.0.0", "encoder._conv_stem", "encoder._bn0")
    for ours, number, _, _, expand in _places(plan):
        theirs = f"encoder._blocks.{number}"
        if expand > 1:
            yield from _unit(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        yield from _unit(f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        yield f"{ours}.squeeze.reduce", f"{theirs}._se_reduce"
        yield f"{ours}.squeeze.expand", f"{theirs}._se_expand"
        yield from _unit(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")


def _is_efficientnet(reading: Reading, plan: MobilePlan) -> bool:
    count = reading.count("encoder._blocks.{}._project_conv.weight")
    last = reading.out(f"encoder._blocks.{count - 1}._project_conv")
    return _numbers(plan) == (count, reading.out("encoder._conv_stem"), last)


def _timm(plan: MobilePlan) -> Pairs:
    yield from _unit("stages.0.0", "encoder.conv_stem", "encoder.bn1")
    for ours, _, row, repeat, expand in _places(plan):
        theirs = f"encoder.blocks.{row}.{repeat}"
        if expand > 1:
            yield from _unit(f"{ours}.expand", f"{theirs}.conv_pw", f"{theirs}.bn1")
        depthwise, project, last = ("bn2", "conv_pwl", "bn3") if expand > 1 else ("bn1", "conv_pw", "bn2")
        yield from _unit(f"{ours}.depthwise", f"{theirs}.conv_dw", f"{theirs}.{depthwise}")
        if plan.squeeze:
            yield f"{ours}.squeeze.reduce", f"{theirs}.se.conv_reduce"
            yield f"{ours}.squeeze.expand", f"{theirs}.se.conv_expand"
        yield from _unit(f"{ours}.project", f"{theirs}.{project}", f"{theirs}.{last}")


def _is_timm(reading: Reading, plan: MobilePlan) -> bool:
    rows = reading.count("encoder.blocks.{}.0.conv_dw.weight")
    count = sum(reading.count(f"encoder.blocks.{row}.{{}}.conv_dw.weight") for row in range(rows))
    found = count, reading.out("encoder.conv_stem"), reading.out(f"encoder.blocks.{rows - 1}.0.conv_pwl")
    squeezes = "encoder.blocks.0.0.se.conv_reduce.weight" in reading.shapes
    return _numbers(plan) == found and plan.squeeze == squeezes


def _numbers(plan: MobilePlan) -> tuple[int, int, int]:
    """Return what tells EfficientNets apart: blocks, first and last channels."""
    return len(plan.block_channels), plan.width, plan.block_channels[-1]


def _dense(plan: DensePlan) -> Pairs:
    yield from _unit("stages.0", "encoder.features.conv0", "encoder.features.norm0")
    for level, layers in enumerate(plan.blocks, start=1):
        if level > 1:
            yield f"stages.{level}.conv", f"encoder.features.transition{level - 1}.conv"
        for n in range(layers):
            ours, theirs = f"stages.{level}.layers.{n}.added", f"encoder.features.denseblock{level}.denselayer{n + 1}"
            yield f"{ours}.norm", f"{theirs}.norm1"
            yield f"{ours}.first", f"{theirs}.conv1"
            yield f"{ours}.inner_norm", f"{theirs}.norm2"
            yield f"{ours}.second", f"{theirs}.conv2"
        last = level == len(plan.blocks)
        yield f"stages.{level}.norm", f"encoder.features.{'norm5' if last else f'transition{level}.norm'}"


def _is_dense(reading: Reading, plan: DensePlan) -> bool:
    layers = "encoder.features.denseblock{}.denselayer{{}}.conv1.weight"
    blocks = tuple(reading.count(layers.format(block), first=1) for block in range(1, 5))
    return (plan.blocks, plan.width) == (blocks, reading.out("encoder.features.conv0"))


def _named(kind: type[EncoderPlan], beginning: str = "") -> tuple[str, ...]:
    return tuple(name for name, plan in ENCODERS.items() if isinstance(plan, kind) and name.startswith(beginning))


_RESNETS = tuple(name for name in _named(ResNetPlan) if not name.startswith("se_"))

STYLES = (
    Style(
        "encoder.layer1.0.se_module.fc1.weight",
        _resnet("encoder.", "layer0."),
        _is_resnet("encoder."),
        _named(ResNetPlan, "se_"),
        ("encoder.last_linear.*",),
    ),
    Style(
        "encoder.conv1.weight",
        _resnet("encoder.", ""),
        _is_resnet("encoder."),
        _RESNETS,
        ("encoder.fc.*",),
    ),
    Style(
        "encoder.model.conv1.weight",
        _resnet("encoder.model.", ""),
        _is_resnet("encoder.model."),
        _RESNETS,
        ("encoder.model.fc.*",),
    ),
    Style(
        "encoder._conv_stem.weight",
        _efficientnet,
        _is_efficientnet,
        _named(MobilePlan, "efficientnet"),
        ("encoder._conv_head.*", "encoder._bn1.*", "encoder._fc.*"),
    ),
    Style(
        "encoder.conv_stem.weight",
        _timm,
        _is_timm,
        _named(MobilePlan, "timm"),
        ("encoder.conv_head.*", "encoder.bn2.*", "encoder.classifier.*"),
    ),
    Style(
        "encoder.features.0.weight",
        _vgg,
        _is_vgg,
        _named(VGGPlan),
        ("encoder.classifier.*",),
    ),
    Style(
        "encoder.features.0.0.weight",
        _mobilenet,
        _is_mobilenet,
        _named(MobilePlan, "mobilenet"),
        ("encoder.classifier.*",),
    ),
    Style(
        "encoder.features.conv0.weight",
        _dense,
        _is_dense,
        _named(DensePlan),
        ("encoder.classifier.*",),
    ),
)
