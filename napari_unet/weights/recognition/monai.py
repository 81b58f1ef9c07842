"""MONAI's networks: their arguments, told from the tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any

from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.recognition.recognised import (
    BY_LOSS,
    Mismatch,
    Origin,
    Question,
    Reading,
    Recognised,
    answer,
    probability_of,
)

URL = "https://github.com/Project-MONAI/MONAI"
SCALING = "MONAI leaves to each program how images are scaled: check the normalization."
LEVELS = 5

NORMS = {
    "batch": "batch normalization",
    "instance": "instance normalization",
    "group": "group normalization",
    "none": "no normalization",
}
ACTIVATIONS = {
    "relu": "ReLU",
    "leakyrelu": "LeakyReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "swish": "Swish",
    "mish": "Mish",
    "relu6": "ReLU6",
}
NORM_ASKED = "Which normalization is it? These have the same tensors."
ACTIVATION_ASKED = "Which activation is it? These have no tensors."


@dataclass(frozen=True, slots=True)
class Style:
    """What is told about normalization and activation, and what is asked.

    Attributes
    ----------
    norm, act : object
        As MONAI's constructors take them.
    questions : tuple of Question
    """

    norm: Any
    act: Any
    questions: tuple[Question, ...]


def _unet(reading: Reading) -> Recognised:
    """Read UNet: model.0 is the way down, model.1.submodule what is below, model.2 the way up."""
    units = reading.count("model.0.conv.unit{}.conv.weight")
    inner = ".conv.unit0" if units else ""
    prefixes = ["model."]
    while f"{prefixes[-1]}1.submodule.0{inner}.conv.weight" in reading.shapes:
        prefixes.append(f"{prefixes[-1]}1.submodule.")
    downs = [f"{prefix}0{inner}" for prefix in prefixes]
    bottom = f"{prefixes[-1]}1.submodule{inner}"
    up = "model.2.0.conv" if units else "model.2.conv"
    style = _style(reading, f"{downs[0]}.adn.N", f"{downs[0]}.adn.A", "prelu")
    strides, asked = _strides(reading, [_told_stride(reading, prefix) for prefix in prefixes])
    kernel, up_kernel = reading.shape(f"{downs[0]}.conv.weight")[2:], reading.shape(f"{up}.weight")[2:]
    arguments = {
        "channels": tuple(reading.out(f"{place}.conv") for place in (*downs, bottom)),
        "strides": strides,
        "kernel_size": kernel,
        "up_kernel_size": up_kernel,
        "num_res_units": units,
        "norm": style.norm,
        "act": style.act,
        "bias": f"{downs[0]}.conv.bias" in reading.shapes,
        "adn_ordering": _ordering(reading, f"{downs[0]}.adn"),
    }
    outputs = reading.out("model.2.1.conv.unit0.conv") if units else reading.into(up)
    channels = (reading.into(f"{downs[0]}.conv"), outputs)
    return _recognised(reading, "monai-unet", channels, arguments, style.questions + asked)


def _told_stride(reading: Reading, prefix: str) -> int:
    """Stride of a level: with residual units, one that is 1 shows in the convolution beside them."""
    if f"{prefix}0.conv.unit0.conv.weight" not in reading.shapes:
        return 2
    beside = reading.shapes.get(f"{prefix}0.residual.weight", (1, 1, 1))
    kernel = reading.shape(f"{prefix}0.conv.unit0.conv.weight")[2:]
    return 1 if set(beside[2:]) == {1} and set(kernel) != {1} else 2


def _ordering(reading: Reading, adn: str) -> str:
    """Order of normalization, dropout and activation, where the order of names tells it."""
    names = list(reading.shapes)
    norm, act = f"{adn}.N.weight", f"{adn}.A.weight"
    if norm in names and act in names and names != sorted(names) and names.index(act) < names.index(norm):
        return "ADN"
    return "NDA"


def _attention(reading: Reading) -> Recognised:
    """Read AttentionUnet: model.1.attention, .upconv, .merge and .submodule, one in the other."""
    prefixes = ["model.1."]
    while f"{prefixes[-1]}submodule.1.upconv.up.conv.weight" in reading.shapes:
        prefixes.append(f"{prefixes[-1]}submodule.1.")
    below = tuple(reading.out(f"{prefix}upconv.up.conv") for prefix in prefixes)
    strides, asked = _strides(reading, [2] * len(prefixes))
    arguments = {
        "channels": (reading.out("model.0.conv.0.conv"), *below),
        "strides": strides,
        "kernel_size": reading.shape("model.0.conv.0.conv.weight")[2:],
        "up_kernel_size": reading.shape("model.1.upconv.up.conv.weight")[2:],
    }
    channels = (reading.into("model.0.conv.0.conv"), reading.out("model.2.conv"))
    return _recognised(reading, "monai-attention-unet", channels, arguments, asked)


def _basic(reading: Reading) -> Recognised:
    """Read BasicUNet: conv_0, down_1 to 4, upcat_4 to 1, final_conv."""
    top = ["conv_0", *(f"down_{level}.convs" for level in range(1, LEVELS)), "upcat_1.convs"]
    return _five_levels(reading, "monai-basic-unet", top, "upcat_4", "final_conv")


def _basic_plus_plus(reading: Reading) -> Recognised:
    """Read BasicUNetPlusPlus: conv_0_0 to conv_4_0, upcat_*_*, final_conv_0_1 to 4."""
    top = ["conv_0_0", *(f"conv_{level}_0.convs" for level in range(1, LEVELS)), "upcat_0_4.convs"]
    return _five_levels(reading, "monai-basic-unet++", top, "upcat_3_1", "final_conv_0_4")


def _five_levels(reading: Reading, variant: str, blocks: Sequence[str], lowest: str, head: str) -> Recognised:
    first = f"{blocks[0]}.conv_0"
    leaky = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
    style = _style(reading, f"{first}.adn.N", f"{first}.adn.A", leaky)
    arguments = {
        "features": tuple(reading.out(f"{block}.conv_1.conv") for block in blocks),
        "norm": style.norm,
        "act": style.act,
        "bias": f"{first}.conv.bias" in reading.shapes,
        "upsample": _upsample(reading, f"{lowest}.upsample"),
    }
    return _recognised(reading, variant, (reading.into(f"{first}.conv"), reading.out(head)), arguments, style.questions)


def _upsample(reading: Reading, place: str) -> str:
    kinds = {"deconv": "deconv", "preconv": "nontrainable", "pixelshuffle.conv_block": "pixelshuffle"}
    for name, kind in kinds.items():
        if f"{place}.{name}.weight" in reading.shapes:
            return kind
    message = f'there is no known up-sampling at "{place}"'
    raise Mismatch(message)


def _dynamic(reading: Reading) -> Recognised:
    """Read DynUNet: input_block, downsamples, bottleneck, upsamples, output_block."""
    downs = reading.count("downsamples.{}.conv1.conv.weight")
    blocks = ["input_block", *(f"downsamples.{level}" for level in range(downs)), "bottleneck"]
    ups = [f"upsamples.{downs - level}.transp_conv.conv" for level in range(downs + 1)]
    leaky = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})
    style = _style(reading, "input_block.norm1", "input_block.lrelu", leaky)
    factors = tuple(reading.shape(f"{up}.weight")[2:] for up in ups)
    heads = reading.count("deep_supervision_heads.{}.conv.conv.weight")
    arguments: dict[str, Any] = {
        "kernel_size": tuple(reading.shape(f"{block}.conv1.conv.weight")[2:] for block in blocks),
        "strides": ((1,) * len(factors[0]), *factors),
        "upsample_kernel_size": factors,
        "filters": tuple(reading.out(f"{block}.conv1.conv") for block in blocks),
        "norm_name": style.norm,
        "act_name": style.act,
        "res_block": reading.has("*.conv3.conv.weight"),
        "trans_bias": f"{ups[0]}.bias" in reading.shapes,
    }
    if heads:
        arguments |= {"deep_supervision": True, "deep_supr_num": heads}
    channels = (reading.into("input_block.conv1.conv"), reading.out("output_block.conv.conv"))
    found = _recognised(reading, "monai-dynunet", channels, arguments, style.questions)
    return replaced(found, sources=dict(_nested(reading, downs)), unused=("skip_layers.*",))


def _nested(reading: Reading, downs: int) -> Iterator[tuple[str, str]]:
    """Pair the tensors of DynUNet, whose blocks have a second name each as parts of nested layers: ours."""
    second = {"bottleneck": "skip_layers." + "next_layer." * (downs + 1)}
    for level in range(downs + 1):
        place = "skip_layers." + "next_layer." * level
        second[f"downsamples.{level - 1}" if level else "input_block"] = f"{place}downsample."
        second[f"upsamples.{downs - level}"] = f"{place}upsample."
        second[f"deep_supervision_heads.{level - 1}"] = f"{place}super_head."
    for name in reading.shapes:
        if name.startswith("skip_layers."):
            continue
        block = next((block for block in second if name.startswith(f"{block}.")), "")
        yield f"network.{second.get(block, '')}{name.removeprefix(f'{block}.') if block else name}", name


def _style(reading: Reading, norm: str, act: str, usual: Any) -> Style:  # noqa: ANN401  # as MONAI takes it
    """Tell normalization and activation from their tensors, or ask."""
    found, asked = _norm(reading, norm)
    parameters = reading.shapes.get(f"{act}.weight")
    if parameters is not None:
        count = parameters[0] if parameters else 1
        return Style(found, "prelu" if count == 1 else ("prelu", {"num_parameters": count}), asked)
    usual_name = (usual if isinstance(usual, str) else usual[0]).lower()
    question = Question("act", ACTIVATIONS, ACTIVATION_ASKED)
    if usual_name == "prelu":
        name, more = answer(reading, question)
    else:
        name, more = answer(reading, question, usual_name)
    return Style(found, usual if name == usual_name else name, asked + more)


def _norm(reading: Reading, norm: str) -> tuple[Any, tuple[Question, ...]]:
    """Tell the normalization: instance normalization has weights only if it is asked for."""
    if f"{norm}.running_mean" in reading.shapes:
        return "batch", ()
    shape = reading.shapes.get(f"{norm}.weight")
    names = ("instance", "none") if shape is None else ("instance", "group")
    if len(shape or (0,)) != 1:
        message = f"its normalization has weights of the shape {shape}"
        raise Mismatch(message)
    name, asked = answer(reading, Question("norm", {name: NORMS[name] for name in names}, NORM_ASKED), "instance")
    if name == "none":
        return None, asked
    if name == "instance":
        return ("instance" if shape is None else ("instance", {"affine": True})), asked
    counts = {shape[0] for name, shape in reading.shapes.items() if len(shape) == 1 and name.endswith("N.weight")}
    counts |= set() if shape is None else {shape[0]}
    groups = {n: f"{n} groups" for n in (8, 1, 2, 4, 16, 32) if all(count % n == 0 for count in counts)}
    found, more = answer(reading, Question("num_groups", groups, "How many groups are normalized together?"))
    return ("group", {"num_groups": found}), asked + more


def _strides(reading: Reading, told: list[int]) -> tuple[tuple[Any, ...], tuple[Question, ...]]:
    """Strides between levels, which leave no trace: 2, as everywhere in MONAI's documentation."""
    usual: tuple[Any, ...] = tuple(told)
    values = {usual: "what is usual"}
    modules = reading.extras.get("modules")
    network = modules.get("") if isinstance(modules, Mapping) else None
    known = network.get("strides") if isinstance(network, Mapping) else None
    if isinstance(known, list) and len(known) == len(told):
        # A network that was saved whole says it itself.
        found = tuple(tuple(part) if isinstance(part, list) else part for part in known)
        usual, values = (found, {found: "as saved"}) if all(map(_is_stride, found)) else (usual, values)
    given = reading.answers.get("strides")
    if isinstance(given, list | tuple):
        wanted = tuple(tuple(part) if isinstance(part, list | tuple) else part for part in given)
        reading = replaced(reading, answers={**reading.answers, "strides": wanted})
        if len(wanted) == len(told) and all(_is_stride(part) for part in wanted):
            values.setdefault(wanted, "as given")
    return answer(reading, Question("strides", values, "By how much does each level reduce the size?"), usual)


def _is_stride(part: object) -> bool:
    sides = part if isinstance(part, tuple) else (part,)
    return bool(sides) and all(isinstance(side, int) and 1 <= side <= 16 for side in sides)


def _recognised(
    reading: Reading,
    variant: str,
    channels: tuple[int, int],
    arguments: Mapping[str, Any],
    questions: tuple[Question, ...],
) -> Recognised:
    sides = next(shape for shape in reading.shapes.values() if len(shape) > 2)
    dims = len(sides) - 2
    if dims not in (2, 3):
        message = f"its kernels have {dims} dimensions"
        raise Mismatch(message)
    return Recognised(
        why=f"the names and their nesting are those of {variant}",
        network=NetworkSpec(
            variant=variant,
            in_channels=channels[0],
            out_channels=channels[1],
            options={"dims": dims, "arguments": dict(arguments)},
        ),
        sources={f"network.{name}": name for name in reading.shapes},
        activation=probability_of(channels[1]),
        because=BY_LOSS,
        questions=questions,
        notes=(SCALING,),
    )


ORIGINS = (
    Origin(
        "MONAI UNet",
        URL,
        ("model.0.conv*.weight", "model.1.submodule.*", "model.2.*"),
        _unet,
        foreign=("*.attention.*",),
    ),
    Origin(
        "MONAI AttentionUnet",
        URL,
        ("model.0.conv.0.conv.weight", "model.1.attention.W_g.0.conv.weight", "model.1.upconv.up.conv.weight"),
        _attention,
    ),
    Origin(
        "MONAI BasicUNet",
        URL,
        ("conv_0.conv_0.conv.weight", "down_1.convs.conv_0.conv.weight", "upcat_4.convs.conv_0.conv.weight"),
        _basic,
    ),
    Origin(
        "MONAI BasicUNetPlusPlus",
        URL,
        ("conv_0_0.conv_0.conv.weight", "upcat_0_4.convs.conv_0.conv.weight", "final_conv_0_4.weight"),
        _basic_plus_plus,
    ),
    Origin(
        "MONAI DynUNet",
        URL,
        ("input_block.conv1.conv.weight", "upsamples.0.transp_conv.conv.weight", "output_block.conv.conv.weight"),
        _dynamic,
    ),
)
