"""The U-Nets of pytorch-3dunet and PlantSeg, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from napari_unet.imaging.config import Normalization
from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.recognition.recognised import (
    Mismatch,
    Origin,
    Question,
    Reading,
    Recognised,
    answer,
    pair,
)

NORMS = {"groupnorm": "group", "batchnorm": "batch"}
ACTIVATIONS = {"r": "relu", "l": "leaky_relu", "e": "elu"}
WORDS = {
    "g": "group normalization",
    "b": "batch normalization",
    "c": "convolution",
    "r": "ReLU",
    "l": "LeakyReLU",
    "e": "ELU",
}
GROUPS = (8, 1, 2, 3, 4, 5, 6, 10, 12, 16, 24, 32, 48, 64)
INTERPOLATIONS = {"default": "nearest", "nearest": "nearest", "bilinear": "linear", "trilinear": "linear"}
STANDARDIZED = Normalization(method="z-score", per_channel=False, eps=1e-10)


def _plain(reading: Reading) -> Recognised:
    """Read double convolutions: encoders.*.basic_module.SingleConv1 and so on."""
    levels = reading.count("encoders.{}.basic_module.SingleConv1.conv.weight")
    depth = reading.count("decoders.{}.basic_module.SingleConv1.conv.weight")
    blocks = [f"encoders.{level}.basic_module" for level in range(levels)]
    raised = [f"decoders.{depth - 1 - level}.basic_module" for level in range(depth)]
    if levels != depth + 1:
        message = f"{levels} levels of the encoder do not belong to {depth} of the decoder"
        raise Mismatch(message)
    options, questions = _unit_options(reading, "decoders.0.basic_module.SingleConv1", blocks + raised)
    options |= {"depth": depth, "encoder": _widths(reading, blocks), "decoder": _widths(reading, raised)}
    options |= _up_options(reading)
    dims = reading.dims(f"{blocks[0]}.SingleConv1.conv")
    kernels = tuple(reading.shape(f"{block}.SingleConv1.conv.weight")[2:] for block in blocks)
    if any(set(kernel) != {3} for kernel in kernels):
        options["kernels"] = kernels
    return _recognised(
        reading,
        "unet-3dunet",
        options if dims == 3 else {"dims": 2, **options},
        list(_plain_modules(reading, blocks, depth)),
        questions,
    )


def _residual(reading: Reading) -> Recognised:
    """Read residual blocks: encoders.*.basic_module.conv2 and so on."""
    levels = reading.count("encoders.{}.basic_module.conv2.conv.weight")
    depth = reading.count("decoders.{}.basic_module.conv2.conv.weight")
    blocks = [f"encoders.{level}.basic_module" for level in range(levels)]
    if levels != depth + 1 or not transposed_name(reading, 0):
        message = f"{levels} levels of the encoder and {depth} of the decoder do not belong together"
        raise Mismatch(message)
    raised = [f"decoders.{step}.basic_module" for step in range(depth)]
    options, questions = _unit_options(reading, f"{blocks[0]}.conv2", blocks + raised)
    options |= {"depth": depth, "widths": tuple(reading.out(f"{block}.conv2.conv") for block in blocks)}
    if options.get("activation") == "leaky_relu":
        options["sum_slope"] = 0.1
    up = _up_options(reading)
    options |= {"up_fills": True} if up["fit"] == "multiple" else {}
    options |= {"up_bias": True} if up["up_bias"] else {}
    dims = reading.dims(f"{blocks[0]}.conv2.conv")
    modules = [(f"encoder.{level}.0.before.conv", f"{block}.conv1") for level, block in enumerate(blocks)]
    modules = [(ours, theirs) for ours, theirs in modules if f"{theirs}.weight" in reading.shapes]
    ours = {f"encoder.{level}.0": block for level, block in enumerate(blocks)}
    ours |= {f"decoder.{step}.block.0": block for step, block in enumerate(raised)}
    for name, block in ours.items():
        for unit in (0, 1):
            modules += unit_modules(reading, f"{name}.units.{unit}", f"{block}.conv{unit + 2}")
    kind, names = _excitation(reading, blocks[0])
    options |= {"squeeze": kind} if kind else {}
    modules += [(f"{n}.excite.{mine}", f"{block}.se_module.{its}") for n, block in ours.items() for mine, its in names]
    modules += [(f"decoder.{step}.up", transposed_name(reading, step)) for step in range(depth)]
    modules += [("head", "final_conv")]
    options = options if dims == 3 else {"dims": 2, **options}
    return _recognised(reading, "residual-unet-3dunet", options, modules, questions)


def _excitation(reading: Reading, block: str) -> tuple[str, list[tuple[str, str]]]:
    """Kind of squeeze and excitation, and how its layers are called."""
    channel = [("reduce", "fc1"), ("expand", "fc2")]
    if f"{block}.se_module.cSE.fc1.weight" in reading.shapes:
        return "both", [*((mine, f"cSE.{its}") for mine, its in channel), ("point", "sSE.conv")]
    if f"{block}.se_module.fc1.weight" in reading.shapes:
        return "channel", channel
    if f"{block}.se_module.conv.weight" in reading.shapes:
        return "spatial", [("point", "conv")]
    return "", []


def _widths(reading: Reading, blocks: list[str]) -> tuple[tuple[int, ...], ...]:
    """Channels after both convolutions of each block."""
    return tuple(tuple(reading.out(f"{block}.SingleConv{n}.conv") for n in (1, 2)) for block in blocks)


def _plain_modules(reading: Reading, blocks: list[str], depth: int) -> Iterator[tuple[str, str]]:
    ours = {f"encoder.{level}": block for level, block in enumerate(blocks)}
    ours |= {f"decoder.{step}.block": f"decoders.{step}.basic_module" for step in range(depth)}
    for name, block in ours.items():
        for unit in (0, 1):
            yield from unit_modules(reading, f"{name}.{unit}", f"{block}.SingleConv{unit + 1}")
    for step in range(depth):
        transposed = transposed_name(reading, step)
        if transposed:
            yield f"decoder.{step}.up.conv", transposed
    yield "head", "final_conv"


def unit_modules(reading: Reading, ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    """Pair a convolution and its normalization."""
    yield f"{ours}.conv", f"{theirs}.conv"
    for norm in NORMS:
        if f"{theirs}.{norm}.weight" in reading.shapes:
            yield f"{ours}.norm", f"{theirs}.{norm}"


def transposed_name(reading: Reading, step: int) -> str:
    """Name of the transposed convolution of a level of the decoder, if it has one."""
    place = f"decoders.{step}.upsampling.upsample"
    names = (f"{place}.conv_transposed", place)
    return next((name for name in names if f"{name}.weight" in reading.shapes), "")


def _up_options(reading: Reading) -> dict[str, Any]:
    """Options of up-sampling; before 2023 transposed convolutions had another name and gave the full size."""
    name = transposed_name(reading, 0)
    if name:
        old = not name.endswith("conv_transposed")
        bias = f"{name}.bias" in reading.shapes
        return {"up": "transpose3", "fit": "multiple" if old else "resize", "up_bias": bias}
    told = str(_told(reading).get("upsample") or "default")
    if told not in INTERPOLATIONS:
        message = f'up-sampling "{told}" is none that can be built'
        raise Mismatch(message)
    return {} if INTERPOLATIONS[told] == "nearest" else {"up": "linear"}


def _unit_options(reading: Reading, unit: str, blocks: list[str]) -> tuple[dict[str, Any], tuple[Question, ...]]:
    """Options of a convolution with what belongs to it, from one whose channels change."""
    norm = next((letter for letter in NORMS if f"{unit}.{letter}.weight" in reading.shapes), "")
    order, questions = _layer_order(reading, unit, norm)
    letters = {"g": "n", "b": "n", "c": "c"}
    options: dict[str, Any] = {"bias": f"{unit}.conv.bias" in reading.shapes}
    options["order"] = "".join(letters.get(letter, "a") for letter in order)
    options["activation"] = next(ACTIVATIONS[letter] for letter in order if letter in ACTIVATIONS)
    options["norm"] = NORMS.get(norm, "none")
    if norm == "groupnorm":
        options["groups"], more = _groups(reading, blocks)
        questions += more
    usual = {"bias": False, "order": "nca", "activation": "relu", "norm": "group", "groups": 8}
    return {name: value for name, value in options.items() if usual[name] != value}, questions


def _layer_order(reading: Reading, unit: str, norm: str) -> tuple[str, tuple[Question, ...]]:
    """Order of the layers: whether normalization comes before the convolution is told by its channels."""
    letter = norm[:1]
    if not letter:
        values = [f"c{a}" for a in ACTIVATIONS]
    else:
        before = _comes_first(reading, unit, norm)
        values = [f"{letter}c{a}" for a in ACTIVATIONS] if before is not False else []
        values += [f"c{letter}{a}" for a in ACTIVATIONS] if not before else []
        values += [f"c{a}{letter}" for a in ACTIVATIONS] if not before else []
    question = Question(
        "layer_order",
        {value: ", ".join(WORDS[letter] for letter in value) for value in values},
        "In which order are the layers of each convolution, and which activation do they have?",
    )
    told = str(_told(reading).get("layer_order") or "").replace("d", "").replace("D", "")
    if told in values:
        return answer(reading, question, told)
    if letter and all(value.startswith(letter) for value in values):
        return answer(reading, question, values[0])
    return answer(reading, question)


def _comes_first(reading: Reading, unit: str, norm: str) -> bool | None:
    """Whether the normalization of a unit comes before its convolution; None if names in order hide it."""
    channels = sum(reading.shape(f"{unit}.{norm}.weight")[:1])
    if reading.into(f"{unit}.conv") != reading.out(f"{unit}.conv"):
        return channels == reading.into(f"{unit}.conv")
    names = list(reading.shapes)
    if names == sorted(names):
        return None
    return names.index(f"{unit}.{norm}.weight") < names.index(f"{unit}.conv.weight")


def _groups(reading: Reading, blocks: list[str]) -> tuple[int, tuple[Question, ...]]:
    """Count of groups, which leaves no trace: 8, the default, unless it does not divide the channels."""
    counts = {
        sum(shape[:1])
        for name, shape in reading.shapes.items()
        if name.endswith(".groupnorm.weight") and name.startswith(tuple(blocks))
    }
    told = _told(reading).get("num_groups")
    candidates = (*GROUPS, told) if isinstance(told, int) and told > 0 else GROUPS
    values = {n: f"{n} groups" for n in candidates if all(count < n or count % n == 0 for count in counts)}
    question = Question("num_groups", values, "How many groups are normalized together? The default is 8.")
    if told in values:
        return answer(reading, question, told)
    return answer(reading, question, 8) if 8 in values else answer(reading, question)


def _told(reading: Reading) -> Mapping[str, Any]:
    """Return what config_train.yml says about the network."""
    config = reading.extras.get("config")
    told = config.get("model") if isinstance(config, Mapping) else None
    return told if isinstance(told, Mapping) else {}


def _recognised(
    reading: Reading,
    variant: str,
    options: dict[str, Any],
    modules: list[tuple[str, str]],
    questions: tuple[Question, ...],
) -> Recognised:
    told = _told(reading)
    activation: Literal["none", "sigmoid", "softmax"] = "sigmoid"
    if told.get("is_segmentation") is False:
        activation = "none"
    elif told.get("final_sigmoid") is False:
        activation = "softmax"
    normalization, notes = _normalization(reading)
    pools = told.get("pool_kernel_size", 2)
    if any(side != 2 for side in (pools if isinstance(pools, list) else [pools])):
        notes += (
            f"The configuration names pool_kernel_size {pools}, which the author's present code ignores: 2 is used.",
        )
    return Recognised(
        why="encoders, decoders, basic_module and final_conv name a U-Net of pytorch-3dunet or PlantSeg",
        network=NetworkSpec(
            variant=variant,
            in_channels=reading.into(modules[0][1]),
            out_channels=reading.out("final_conv"),
            options=options,
        ),
        sources=pair(reading.shapes, modules),
        activation=activation,
        because="as the configuration says" if told else "the default of the author's code (final_sigmoid)",
        normalization=normalization,
        questions=questions,
        notes=notes,
    )


def _normalization(reading: Reading) -> tuple[Normalization, tuple[str, ...]]:
    """Return what the configuration does to images, or else what the examples of the program do."""
    config = reading.extras.get("config")
    steps = list(_steps(config)) if isinstance(config, Mapping) else []
    for step in steps:
        name = step.get("name")
        if name == "Standardize" and step.get("mean") is None:
            return STANDARDIZED.model_copy(update={"per_channel": bool(step.get("channelwise"))}), ()
        if name == "PercentileNormalizer":
            low, high = step.get("pmin", 1.0), step.get("pmax", 99.6)
            if isinstance(low, int | float) and isinstance(high, int | float) and 0 <= low < high <= 100:
                return Normalization(low_percentile=low, high_percentile=high, eps=1e-10), ()
    if any(step.get("name") in ("Normalize", "Standardize", "PercentileNormalizer") for step in steps):
        return STANDARDIZED, ("Its own way to normalize images is not known here; the z-score stands for it.",)
    return STANDARDIZED, ()


def _steps(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of the transformation of raw images that do not depend on chance."""
    loaders = config.get("loaders")
    for phase in ("test", "val", "train"):
        place: Any = loaders
        for key in (phase, "transformer", "raw"):
            place = place.get(key) if isinstance(place, Mapping) else None
        if isinstance(place, list):
            yield from (step for step in place if isinstance(step, Mapping))
            return


ORIGINS = (
    Origin(
        "pytorch-3dunet",
        "https://github.com/wolny/pytorch-3dunet",
        (
            "encoders.0.basic_module.SingleConv1.conv.weight",
            "decoders.0.basic_module.SingleConv1.conv.weight",
            "final_conv.weight",
        ),
        _plain,
    ),
    Origin(
        "pytorch-3dunet with residual blocks",
        "https://github.com/wolny/pytorch-3dunet",
        (
            "encoders.0.basic_module.conv2.conv.weight",
            "decoders.0.basic_module.conv2.conv.weight",
            "final_conv.weight",
        ),
        _residual,
    ),
)
