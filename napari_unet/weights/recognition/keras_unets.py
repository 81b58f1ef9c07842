"""U-Nets of Keras with padded convolutions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from napari_unet.imaging.config import Normalization
from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.recognition.keras_plan import LOGITS, KerasUnit, Plan, fail, plan_of_graph
from napari_unet.weights.recognition.keras_tensors import is_tutorial, is_zhixuhao, plan_of_tensors
from napari_unet.weights.recognition.recognised import (
    BY_LOSS,
    Origin,
    Question,
    Reading,
    Recognised,
    Shapes,
    Take,
    answer,
    probability_of,
)

# From (kh, kw, in, out) to ours, and from (kh, kw, out, in) to that of our transposed convolutions.
KERNEL = (3, 2, 0, 1)
ZHIXUHAO = "zhixuhao U-Net"
TUTORIAL = "Keras U-Net of 32 to 512 channels"
OBJECT_NAME = r"(?:.*/)?(layer_with_weights-\d+)/(\w+)/\.ATTRIBUTES/VARIABLE_VALUE"
CONCAT = Question(
    "concat",
    {
        "decoder": "the decoder's features first, as in concatenate([up, conv])",
        "skip": "the encoder's features first, as in concatenate([conv, up])",
    },
    "Which features come first where encoder and decoder meet? The file holds the weights alone.",
)
NORM = Question(
    "norm",
    {
        "before": "convolution, normalization, activation",
        "after": "convolution, activation, normalization",
    },
    "Is the normalization before or after the activation? The file holds the weights alone.",
)


def _zhixuhao(reading: Reading) -> Recognised:
    return _recognise(reading, ZHIXUHAO)


def _tutorial(reading: Reading) -> Recognised:
    return _recognise(reading, TUTORIAL)


def _other(reading: Reading) -> Recognised:
    return _recognise(reading, "")


def _recognise(reading: Reading, family: str) -> Recognised:
    description = reading.extras.get("keras")
    if description:
        return _recognise_layers(reading, description, family)
    names = _object_names(reading.shapes)
    if not names:
        raise fail("it is no file of Keras")
    shapes = {short: reading.shapes[name] for short, name in names.items()}
    order = sorted({name.rsplit("/", 1)[0] for name in names}, key=lambda layer: int(layer.rsplit("-", 1)[1]))
    found = _recognise_layers(replace(reading, shapes=shapes), {"graph": None, "order": order}, family)
    return replace(found, sources={ours: _renamed(take, names) for ours, take in found.sources.items()})


def _renamed(source: str | Take, names: Mapping[str, str]) -> str | Take:
    if isinstance(source, str):
        return names.get(source, source)
    return replace(source, name=names.get(source.name, source.name))


def _object_names(shapes: Shapes) -> dict[str, str]:
    """Names in a TensorFlow 2 checkpoint of a Keras model, which numbers the layers with weights in their order."""
    matches = {name: re.fullmatch(OBJECT_NAME, name) for name in shapes}
    return {f"{match[1]}/{match[2]}": name for name, match in matches.items() if match}


def _recognise_layers(reading: Reading, description: Mapping[str, Any], family: str) -> Recognised:
    shapes = reading.shapes
    questions: tuple[Question, ...] = ()
    notes: tuple[str, ...] = ()
    if description["graph"]:
        plan = plan_of_graph(description["graph"], description["outputs"])
        why = "the graph in the file is that of a U-Net"
    else:
        plan = plan_of_tensors(shapes, description["order"])
        why = "the numbers of channels of its convolutions are those of a U-Net"
    _check_kernels(shapes, plan)
    known = ZHIXUHAO if is_zhixuhao(shapes, plan) else TUTORIAL if is_tutorial(shapes, plan) else ""
    if family != known:
        raise fail("it has other convolutions")
    if not description["graph"]:
        questions, notes = _settle(reading, plan, family)
    return replace(_describe(shapes, plan, family), why=why, questions=questions, notes=notes)


def _settle(reading: Reading, plan: Plan, family: str) -> tuple[tuple[Question, ...], tuple[str, ...]]:
    """Settle what the tensors do not tell: by the family's own code, an answer, or a question."""
    if family:
        plan.first, questions = answer(reading, CONCAT, settled="skip" if family == ZHIXUHAO else "decoder")
    else:
        plan.first, questions = answer(reading, CONCAT)
    units = [unit for level in (*plan.encoder, *plan.decoder) for unit in level]
    if any(unit.norm for unit in units):
        place, more = answer(reading, NORM)
        questions += more
        for unit in (*units, *(up.unit for up in plan.ups if up.unit)):
            unit.order = unit.order.replace("na", "an") if place == "after" else unit.order
    return questions, ("The file holds no graph of the network: that its activations are ReLU was taken for granted.",)


def _check_kernels(shapes: Shapes, plan: Plan) -> None:
    """Check that each convolution has weights and takes as many channels as there are."""
    for unit in (*_all_units(plan), plan.head):
        if len(shapes.get(f"{unit.conv}/kernel", ())) != 4:
            raise fail(f'the layer "{unit.conv}" has no kernel in two dimensions')


def _all_units(plan: Plan) -> Iterator[KerasUnit]:
    for level in (*plan.encoder, *plan.decoder):
        yield from level
    yield from (up.unit for up in plan.ups if up.unit is not None)


def _describe(shapes: Shapes, plan: Plan, family: str) -> Recognised:
    head = plan.head
    outputs = shapes[f"{head.conv}/kernel"][3]
    if head.norm or head.activation not in {*LOGITS.values()}:
        raise fail(f"its last convolution has the activation {head.activation}")
    activation: Any = head.activation
    because = "that of the last layer"
    if activation == "none":
        activation, because = probability_of(outputs), BY_LOSS
    return Recognised(
        why="",
        network=NetworkSpec(
            variant="unet-keras",
            in_channels=shapes[f"{plan.encoder[0][0].conv}/kernel"][2],
            out_channels=outputs,
            options=_options(shapes, plan),
        ),
        sources=_sources(shapes, plan),
        activation=activation,
        because=because,
        normalization=_normalization(plan, family),
    )


def _normalization(plan: Plan, family: str) -> Normalization:
    if plan.rescaling is not None:
        factor, summand = plan.rescaling
        return Normalization(method="fixed", low=(-summand / factor,), high=((1 - summand) / factor,))
    # Its code divides 8-bit images by 255.
    return Normalization(method="dtype") if family == ZHIXUHAO else Normalization()


def _options(shapes: Shapes, plan: Plan) -> dict[str, Any]:
    units = [unit for level in (*plan.encoder, *plan.decoder) for unit in level]
    ups = [up.unit for up in plan.ups if up.unit is not None]
    first = units[0]
    if len({_style(unit) for unit in units}) > 1:
        raise fail("its convolutions are not followed by the same layers everywhere")
    if len({(up.mode, up.unit is None) for up in plan.ups}) > 1 or len({unit.order for unit in ups}) > 1:
        raise fail("it raises the resolution in several ways")
    options: dict[str, Any] = {
        "depth": len(plan.decoder),
        **_widths(shapes, plan),
        "kernel": _only({shapes[f"{unit.conv}/kernel"][:2] for unit in units}),
        "order": first.order,
        "bias": any(f"{unit.conv}/bias" in shapes for unit in units),
        "norm": "batch" if first.norm else "none",
        **({"eps": first.eps} if first.norm else {}),
        "activation": first.activation,
        "slope": first.slope,
        "down": plan.down,
        "up": plan.ups[0].mode,
        "first": plan.first,
        "head_kernel": shapes[f"{plan.head.conv}/kernel"][0],
    }
    return options | (_up_options(shapes, plan, ups, first) if ups else {"up_kernel": 0})


def _widths(shapes: Shapes, plan: Plan) -> dict[str, Any]:
    """Channels of the levels, in short where each has one width."""
    encoder = tuple(tuple(_out(shapes, unit) for unit in level) for level in plan.encoder)
    decoder = tuple(tuple(_out(shapes, unit) for unit in level) for level in plan.decoder)
    widths, convs = tuple(level[-1] for level in encoder), len(encoder[0])
    if encoder == tuple((width,) * convs for width in widths) and decoder == encoder[:-1]:
        return {"widths": widths, "convs": convs}
    return {"encoder": encoder, "decoder": decoder}


def _up_options(shapes: Shapes, plan: Plan, ups: list[KerasUnit], first: KerasUnit) -> dict[str, Any]:
    transposed = plan.ups[0].transposed
    if any("a" in up.order and _function(up) != _function(first) for up in ups):
        raise fail("the convolutions after its up-sampling have another activation")
    axis = 2 if transposed else 3
    up_widths = tuple(shapes[f"{unit.conv}/kernel"][axis] for unit in ups)
    usual = up_widths == tuple(_out(shapes, level[-1]) for level in plan.encoder[:-1])
    options: dict[str, Any] = {
        **({} if usual else {"up_widths": up_widths}),
        "up_bias": any(f"{unit.conv}/bias" in shapes for unit in ups),
        "up_order": ups[0].order,
    }
    if plan.ups[0].mode == "transpose3":
        options["fit"] = "cut"
    if not transposed:
        options["up_kernel"] = _only({shapes[f"{unit.conv}/kernel"][:2] for unit in ups})
    return options


def _style(unit: KerasUnit) -> tuple[Any, ...]:
    return (unit.order, *_function(unit), unit.eps if unit.norm else 0)


def _function(unit: KerasUnit) -> tuple[Any, ...]:
    return (unit.activation, unit.slope if unit.activation == "leaky_relu" else 0)


def _only(kernels: set[tuple[int, ...]]) -> int:
    """Side of the one kernel that all convolutions have."""
    if len(kernels) != 1 or len(set(next(iter(kernels)))) != 1:
        raise fail(f"its convolutions have several kernels ({', '.join(map(str, sorted(kernels)))})")
    return next(iter(kernels))[0]


def _out(shapes: Shapes, unit: KerasUnit) -> int:
    return shapes[f"{unit.conv}/kernel"][3]


def _sources(shapes: Shapes, plan: Plan) -> dict[str, str | Take]:
    sources: dict[str, str | Take] = {}
    has_bias = any(f"{unit.conv}/bias" in shapes for level in (*plan.encoder, *plan.decoder) for unit in level)
    up_bias = any(up.unit is not None and f"{up.unit.conv}/bias" in shapes for up in plan.ups)
    for level, units in enumerate(plan.encoder):
        for i, unit in enumerate(units):
            sources |= _unit(shapes, f"encoder.{level}.{i}", unit, bias=has_bias)
    depth = len(plan.decoder)
    for level, units in enumerate(plan.decoder):
        step = f"decoder.{depth - 1 - level}"
        for i, unit in enumerate(units):
            sources |= _unit(shapes, f"{step}.block.{i}", unit, bias=has_bias)
        up = plan.ups[level]
        if up.unit is not None and up.transposed and up.unit.order == "c":
            sources |= _conv(shapes, f"{step}.up.conv", up.unit.conv, bias=up_bias, outputs=2)
        elif up.unit is not None:
            outputs = 2 if up.transposed else 3
            sources |= _unit(shapes, f"{step}.up.conv", up.unit, bias=up_bias, outputs=outputs)
    return sources | _conv(shapes, "head", plan.head.conv, bias=True)


def _unit(shapes: Shapes, ours: str, unit: KerasUnit, *, bias: bool, outputs: int = 3) -> dict[str, str | Take]:
    sources = _conv(shapes, f"{ours}.conv", unit.conv, bias=bias, outputs=outputs)
    return sources | (_norm(shapes, f"{ours}.norm", unit.norm) if unit.norm else {})


def _conv(shapes: Shapes, ours: str, theirs: str, *, bias: bool, outputs: int = 3) -> dict[str, str | Take]:
    sources: dict[str, str | Take] = {f"{ours}.weight": Take(f"{theirs}/kernel", KERNEL)}
    if f"{theirs}/bias" in shapes:
        sources[f"{ours}.bias"] = f"{theirs}/bias"
    elif bias:
        # Ours has a bias wherever one of theirs has; a missing one adds nothing.
        width = shapes[f"{theirs}/kernel"][outputs]
        sources[f"{ours}.bias"] = Take(f"{theirs}/kernel", convert=_constant(0.0, width))
    return sources


def _norm(shapes: Shapes, ours: str, theirs: str) -> dict[str, str | Take]:
    """Pair a normalization; Keras may leave out its scale (1) and its shift (0)."""
    mean = f"{theirs}/moving_mean"
    width = shapes.get(mean, (0,))[0]
    return {
        f"{ours}.running_mean": mean,
        f"{ours}.running_var": f"{theirs}/moving_variance",
        f"{ours}.weight": _or_constant(shapes, f"{theirs}/gamma", mean, _constant(1.0, width)),
        f"{ours}.bias": _or_constant(shapes, f"{theirs}/beta", mean, _constant(0.0, width)),
    }


def _or_constant(shapes: Shapes, name: str, instead: str, convert: Callable[[Tensor], Tensor]) -> str | Take:
    return name if name in shapes else Take(instead, convert=convert)


def _constant(value: float, width: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: torch.full((width,), value, dtype=tensor.dtype)


FINGERPRINT = ("*/kernel*",)

ORIGINS = (
    Origin("Keras U-Net", "https://keras.io", FINGERPRINT, _other),
    Origin(ZHIXUHAO, "https://github.com/zhixuhao/unet", FINGERPRINT, _zhixuhao),
    Origin(TUTORIAL, "https://github.com/jocicmarko/ultrasound-nerve-segmentation", FINGERPRINT, _tutorial),
)
