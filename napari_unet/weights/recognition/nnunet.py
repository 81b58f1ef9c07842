"""The networks of nnU-Net v2: PlainConvUNet and ResidualEncoderUNet.

A weight is stored under up to four names: ``conv`` and ``all_modules.0``, below ``encoder`` and
``decoder.encoder``. The deep-supervision heads but the last one serve training only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.recognition.nnunet_plans import Plans, read_plans
from napari_unet.weights.recognition.recognised import (
    Mismatch,
    Origin,
    Question,
    Reading,
    Recognised,
    answer,
    pair,
)

UNUSED = ("decoder.encoder.*", "*.all_modules.*", "decoder.seg_layers.*")
URL = "https://github.com/MIC-DKFZ/nnUNet"
FOLDS = "Which of the networks, each trained on another part of the images? nnU-Net averages all of them."
WORDS = {
    "all": "trained on all images",
    "final": "at the end of the training",
    "best": "best on the validation images",
}
CHECKPOINTS = "The weights at the end of the training, or those that were best on the validation images?"


def _plain(reading: Reading) -> Recognised:
    """Read encoder.stages.*.0.convs, decoder.transpconvs, decoder.stages and decoder.seg_layers."""
    plans = read_plans(reading)
    plans.check_network("PlainConvUNet")
    depth = _depth(reading, "encoder.stages.{}.0.convs.0.conv.weight")
    stages = [f"encoder.stages.{level}.0.convs" for level in range(depth + 1)]
    raised = [f"decoder.stages.{depth - 1 - level}.convs" for level in range(depth)]
    options = _unit_options(reading, plans, f"{stages[0]}.0")
    options |= {
        "depth": depth,
        "encoder": tuple(_widths(reading, stage) for stage in stages),
        "decoder": tuple(_widths(reading, stage) for stage in raised),
        **_sides(reading, [f"{stage}.0.conv" for stage in stages], usual=2),
    }
    modules = [(f"encoder.{level}.{i}", f"{stages[level]}.{i}") for level, i in _units(reading, stages)]
    modules += [
        (f"decoder.{depth - 1 - level}.block.{i}", f"{raised[level]}.{i}") for level, i in _units(reading, raised)
    ]
    pairs = [part for ours, theirs in modules for part in _unit(ours, theirs)]
    pairs += [(f"decoder.{step}.up.conv", f"decoder.transpconvs.{step}") for step in range(depth)]
    return _recognised(reading, plans, "unet-nnunet", options, pairs)


def _residual(reading: Reading) -> Recognised:
    """Read encoder.stem and encoder.stages.*.blocks, and a plain decoder."""
    plans = read_plans(reading)
    plans.check_network("ResidualEncoderUNet")
    if reading.has("encoder.stages.*.conv3.*"):
        message = "its blocks have three convolutions"
        raise Mismatch(message)
    depth = _depth(reading, "encoder.stages.{}.blocks.0.conv1.conv.weight")
    stages = [f"encoder.stages.{level}.blocks" for level in range(depth + 1)]
    raised = [f"decoder.stages.{depth - 1 - level}.convs" for level in range(depth)]
    options = _unit_options(reading, plans, "encoder.stem.convs.0")
    options |= {
        "depth": depth,
        "widths": tuple(reading.out(f"{stage}.0.conv1.conv") for stage in stages),
        "blocks": tuple(reading.count(f"{stage}.{{}}.conv1.conv.weight") for stage in stages),
        "decoder_blocks": tuple(reading.count(f"{stage}.{{}}.conv.weight") for stage in raised),
        "stem": reading.out("encoder.stem.convs.0.conv"),
        **_sides(reading, [f"{stage}.0.conv1.conv" for stage in stages], usual=3),
    }
    pairs = list(_unit("stem", "encoder.stem.convs.0"))
    for level, stage in enumerate(stages):
        for block in range(options["blocks"][level]):
            ours, theirs = f"encoder.{level}.{block}", f"{stage}.{block}"
            pairs += [*_unit(f"{ours}.units.0", f"{theirs}.conv1"), *_unit(f"{ours}.units.1", f"{theirs}.conv2")]
            for place in (0, 1):
                if f"{theirs}.skip.{place}.conv.weight" in reading.shapes:
                    pairs += _unit(f"{ours}.shortcut.{place}", f"{theirs}.skip.{place}")
    for level, i in _units(reading, raised):
        pairs += _unit(f"decoder.{depth - 1 - level}.block.{i}", f"{raised[level]}.{i}")
    pairs += [(f"decoder.{step}.up", f"decoder.transpconvs.{step}") for step in range(depth)]
    return _recognised(reading, plans, "residual-unet-nnunet", options, pairs)


def _depth(reading: Reading, pattern: str) -> int:
    depth = reading.count("decoder.transpconvs.{}.weight")
    if reading.count(pattern) != depth + 1:
        message = f"{reading.count(pattern)} stages of the encoder do not belong to {depth} of the decoder"
        raise Mismatch(message)
    return depth


def _units(reading: Reading, stages: list[str]) -> Iterator[tuple[int, int]]:
    """Level and number of each convolution."""
    for level, stage in enumerate(stages):
        for i in range(reading.count(f"{stage}.{{}}.conv.weight")):
            yield level, i


def _widths(reading: Reading, stage: str) -> tuple[int, ...]:
    return tuple(reading.out(f"{stage}.{i}.conv") for i in range(reading.count(f"{stage}.{{}}.conv.weight")))


def _unit(ours: str, theirs: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Pair a convolution and its normalization."""
    return (f"{ours}.conv", f"{theirs}.conv"), (f"{ours}.norm", f"{theirs}.norm")


def _sides(reading: Reading, convs: list[str], usual: int) -> dict[str, Any]:
    """Read dimensions, kernels and, from transposed convolutions, factors, unless they are the usual ones."""
    depth = len(convs) - 1
    kernels = tuple(reading.shape(f"{conv}.weight")[2:] for conv in convs)
    factors = tuple(reading.shape(f"decoder.transpconvs.{depth - 1 - level}.weight")[2:] for level in range(depth))
    sides: dict[str, Any] = {} if len(kernels[0]) == usual else {"dims": len(kernels[0])}
    if any(set(kernel) != {3} for kernel in kernels):
        sides["kernels"] = kernels
    if any(set(factor) != {2} for factor in factors):
        sides["factors"] = factors
    return sides


def _unit_options(reading: Reading, plans: Plans, unit: str) -> dict[str, Any]:
    """Options of a convolution with what belongs to it; those that nnU-Net always has are left out."""
    if f"{unit}.norm.weight" not in reading.shapes:
        message = "its convolutions have no normalization with weights"
        raise Mismatch(message)
    norm = "batch" if f"{unit}.norm.running_mean" in reading.shapes else "instance"
    options: dict[str, Any] = {
        "norm": norm,
        "eps": plans.eps,
        "order": "can" if plans.activation_first else "cna",
        "activation": plans.activation,
        "slope": plans.slope,
        "bias": f"{unit}.conv.bias" in reading.shapes,
        "up_bias": "decoder.transpconvs.0.bias" in reading.shapes,
    }
    usual = {"norm": "instance", "eps": 1e-5, "order": "cna", "activation": "leaky_relu", "slope": 0.01}
    usual |= {"bias": True, "up_bias": True}
    return {name: value for name, value in options.items() if value != usual[name]}


def _recognised(
    reading: Reading, plans: Plans, variant: str, options: dict[str, Any], pairs: list[tuple[str, str]]
) -> Recognised:
    depth = options["depth"]
    pairs = [*pairs, ("head", f"decoder.seg_layers.{depth - 1}")]
    outputs, inputs = reading.out(f"decoder.seg_layers.{depth - 1}"), reading.into(pairs[0][1])
    plans.check_strides(inputs)
    normalization, sentences = plans.normalization(inputs)
    return Recognised(
        why="encoder.stages, decoder.transpconvs and decoder.seg_layers name a network of nnU-Net",
        network=NetworkSpec(variant=variant, in_channels=inputs, out_channels=outputs, options=options),
        sources=pair(reading.shapes, pairs),
        activation="sigmoid" if plans.regions else "softmax",
        because="as dataset.json says" if plans.dataset else "the usual one of nnU-Net, which has no regions then",
        normalization=normalization,
        questions=tuple(_choices(reading)),
        unused=UNUSED,
        notes=(*sentences, *plans.notes()),
        classes=plans.classes(outputs),
        channel_names=plans.channel_names(inputs),
        patch_px=plans.patch_px,
    )


def _choices(reading: Reading) -> Iterator[Question]:
    """Ask what a folder of results leaves open: which fold, and which of its checkpoints."""
    found = reading.extras.get("choices")
    for keyword, sentence in {"fold": FOLDS, "checkpoint": CHECKPOINTS}.items():
        # What a file itself holds under that name is no tuple.
        choice = found.get(keyword) if isinstance(found, Mapping) else None
        if isinstance(choice, tuple):
            chosen, values = choice
            question = Question(keyword, {value: WORDS.get(value, f"fold {value}") for value in values}, sentence)
            yield from answer(reading, question, chosen)[1]


ORIGINS = (
    Origin(
        "nnU-Net",
        URL,
        (
            "encoder.stages.0.0.convs.0.conv.weight",
            "decoder.stages.0.convs.0.conv.weight",
            "decoder.transpconvs.0.weight",
            "decoder.seg_layers.0.weight",
        ),
        _plain,
    ),
    Origin(
        "nnU-Net with residual encoder",
        URL,
        (
            "encoder.stem.convs.0.conv.weight",
            "encoder.stages.0.blocks.0.conv1.conv.weight",
            "decoder.transpconvs.0.weight",
            "decoder.seg_layers.0.weight",
        ),
        _residual,
    ),
)
