"""U-Nets and UNet++ of segmentation-models-pytorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

from pydantic import ValidationError

from napari_unet.imaging.config import Normalization
from napari_unet.networks.encoders.plans import ENCODERS, MobilePlan
from napari_unet.networks.options.encoder import DECODER_CHANNELS, EncoderUNetOptions
from napari_unet.networks.spec import NetworkSpec
from napari_unet.networks.variants import VARIANTS
from napari_unet.weights.recognition.encoder_names import encoder_pairs, find_encoder
from napari_unet.weights.recognition.recognised import (
    BY_LOSS,
    Mismatch,
    Origin,
    Question,
    Reading,
    Recognised,
    answer,
    pair,
    probability_of,
)

# Of ImageNet, for red, green and blue from 0 to 1.
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

INTERPOLATION = Question(
    "interpolation",
    {"nearest": "each pixel repeated, the library's default", "linear": "bilinear interpolation"},
    "How does the decoder enlarge?",
)

PADDING = Question(
    "padding",
    {
        "exact": "for the size of each level, as efficientnet-pytorch does since 0.7",
        "even": "for an even size at all levels, as efficientnet-pytorch did before 0.7",
    },
    "How does the encoder pad?",
)


def _recognise(reading: Reading, *, nested: bool) -> Recognised:
    """Read a U-Net or UNet++ of segmentation-models-pytorch, as its state dict names it."""
    encoder, style = find_encoder(reading)
    block = "decoder.blocks.x_0_{}.conv1" if nested else "decoder.blocks.{}.conv1"
    depth = reading.count(f"{block}.0.weight")
    up, questions = answer(reading, INTERPOLATION, settled=_interpolation(reading.extras))
    padding, more = _padding(reading, encoder)
    channels = tuple(reading.out(f"{block.format(step)}.0") for step in range(depth))
    options = _checked(
        encoder=encoder,
        nested=nested,
        depth=depth,
        decoder_channels=None if channels == DECODER_CHANNELS[:depth] else channels,
        up=up,
        padding=padding,
        attention=reading.has("decoder.blocks.*.attention1.attention.cSE.1.weight"),
        **_norm(reading, block.format(0)),
    )
    pairs, beyond = encoder_pairs(style, ENCODERS[encoder], depth)
    inputs, outputs = reading.into(pairs[0][1]), reading.out("segmentation_head.0")
    activation, because = _activation(reading.extras, outputs)
    return Recognised(
        why=f"{block.format(0)}.0 and segmentation_head.0 name a {'UNet++' if nested else 'U-Net'} of "
        f"segmentation-models-pytorch, and the tensors of its encoder are those of {encoder}",
        network=NetworkSpec(
            variant=_variant(encoder, nested=nested),
            in_channels=inputs,
            out_channels=outputs,
            options=options.model_dump(exclude_unset=True),
        ),
        sources=pair(reading.shapes, [*pairs, *_decoder(options), ("head", "segmentation_head.0")]),
        activation=activation,
        because=because,
        normalization=_colours() if inputs == len(MEAN) else Normalization(),
        questions=(*questions, *more),
        unused=(*style.unused, *(f"{module}.*" for module in beyond), *_idle(depth, nested=nested)),
        notes=_notes(inputs),
    )


def _padding(reading: Reading, encoder: str) -> tuple[str, tuple[Question, ...]]:
    """Return how an encoder pads; only those that were published for some odd sizes leave it open."""
    plan = ENCODERS[encoder]
    sides = [plan.side >> level for level in range(5)] if isinstance(plan, MobilePlan) else []
    if not any(side % 2 for side in sides):
        return "exact", ()
    return answer(reading, PADDING, settled="exact")


def _checked(**options: Any) -> EncoderUNetOptions:  # noqa: ANN401
    try:
        return EncoderUNetOptions(**options)
    except ValidationError as error:
        raise Mismatch(error.errors()[0]["msg"]) from error


def _variant(encoder: str, *, nested: bool) -> str:
    """Name the variant that has this encoder by default, or the one with any encoder."""
    general = "encoder-unet++" if nested else "encoder-unet"
    for name, variant in VARIANTS.items():
        own = variant.defaults.get("encoder") == encoder
        if variant.family == "encoder" and own and variant.defaults.get("nested", False) == nested:
            return name
    return general


def _norm(reading: Reading, unit: str) -> dict[str, Any]:
    """Options of the decoder's normalization; `unit` is a convolution and what follows it."""
    if f"{unit}.1.running_mean" in reading.shapes:
        return {}
    if f"{unit}.0.bias" in reading.shapes:
        return {"norm": "none"}
    return {"norm": "instance", "affine": f"{unit}.1.weight" in reading.shapes, "bias": False}


def _config(extras: Mapping[str, Any], name: str) -> str:
    """Return a setting of `save_pretrained`, if there is one."""
    config = extras.get("config")
    value = config.get(name) if isinstance(config, Mapping) else None
    return value if isinstance(value, str) else ""


def _interpolation(extras: Mapping[str, Any]) -> Literal["nearest", "linear"]:
    return "linear" if _config(extras, "decoder_interpolation") == "bilinear" else "nearest"


def _activation(extras: Mapping[str, Any], outputs: int) -> tuple[Literal["none", "sigmoid", "softmax"], str]:
    named = _config(extras, "activation")
    if named == "sigmoid":
        return "sigmoid", "as in its config.json"
    if named in {"softmax", "softmax2d"}:
        return "softmax", "as in its config.json"
    return probability_of(outputs), BY_LOSS


def _colours() -> Normalization:
    """From colours of 8 bits to ImageNet's mean and spread."""
    high = tuple(255 * (mean + spread) for mean, spread in zip(MEAN, SPREAD, strict=True))
    return Normalization(method="fixed", low=tuple(255 * mean for mean in MEAN), high=high)


def _notes(inputs: int) -> tuple[str, ...]:
    if inputs != len(MEAN):
        return ()
    return (
        "Colours from 0 to 255 are normalized by ImageNet's mean and standard deviation, as is usual; no file says so.",
    )


def _idle(depth: int, *, nested: bool) -> Iterator[str]:
    """Patterns of what the author's network has but never uses: it joins nothing at full resolution."""
    yield "classification_head.*"
    yield f"decoder.blocks.{f'x_0_{depth - 1}' if nested else depth - 1}.attention1.*"
    if nested:
        yield "decoder.center.*"


def _decoder(options: EncoderUNetOptions) -> Iterator[tuple[str, str]]:
    """Pair the modules of a decoder."""
    if options.centre:
        for unit in range(2):
            yield from _unit(f"decoder.centre.{unit}", f"decoder.center.{unit}", options)
    if options.nested:
        levels = [(f"decoder.nodes.{n}_{step}", f"decoder.blocks.x_{n}_{step}") for n, step in options.nodes]
    else:
        levels = [(f"decoder.levels.{n}", f"decoder.blocks.{n}") for n in range(options.depth)]
    for ours, theirs in levels:
        for unit in range(2):
            yield from _unit(f"{ours}.block.{unit}", f"{theirs}.conv{unit + 1}", options)
        if options.attention:
            if (ours, theirs) != levels[-1]:
                yield from _attention(f"{ours}.before", f"{theirs}.attention1.attention")
            yield from _attention(f"{ours}.after", f"{theirs}.attention2.attention")


def _unit(ours: str, theirs: str, options: EncoderUNetOptions) -> Iterator[tuple[str, str]]:
    yield f"{ours}.conv", f"{theirs}.0"
    if options.norm == "batch" or (options.norm == "instance" and options.affine):
        yield f"{ours}.norm", f"{theirs}.1"


def _attention(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.channels.reduce", f"{theirs}.cSE.1"
    yield f"{ours}.channels.expand", f"{theirs}.cSE.3"
    yield f"{ours}.pixels", f"{theirs}.sSE.0"


URL = "https://github.com/qubvel-org/segmentation_models.pytorch"

ORIGINS = (
    Origin(
        "segmentation-models-pytorch U-Net",
        URL,
        (
            "encoder.*",
            "decoder.blocks.0.conv1.0.weight",
            "decoder.blocks.0.conv2.0.weight",
            "segmentation_head.0.weight",
        ),
        partial(_recognise, nested=False),
    ),
    Origin(
        "segmentation-models-pytorch UNet++",
        URL,
        (
            "encoder.*",
            "decoder.blocks.x_0_0.conv1.0.weight",
            "decoder.blocks.x_0_0.conv2.0.weight",
            "segmentation_head.0.weight",
        ),
        partial(_recognise, nested=True),
    ),
)
