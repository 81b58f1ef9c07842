"""A U-Net as Keras describes it, put into levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from napari_unet.weights.formats.limits import shorten
from napari_unet.weights.recognition.recognised import Mismatch

UPS = ("Conv2DTranspose", "UpSampling2D")
POOLS = {"MaxPooling2D": "max", "AveragePooling2D": "average"}
IDLE = frozenset(
    {"Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianNoise", "GaussianDropout", "ActivityRegularization"}
)
NAMES = {"relu": "relu", "elu": "elu", "gelu": "gelu", "swish": "silu", "silu": "silu", "leaky_relu": "leaky_relu"}
LOGITS = {"linear": "none", "sigmoid": "sigmoid", "softmax": "softmax"}


@dataclass(slots=True)
class KerasUnit:
    """A convolution and what follows it.

    Attributes
    ----------
    conv : str
        Name of its layer.
    order : str
        As in the options of our blocks: c convolution, n normalization, a activation.
    norm : str
        Name of the layer of normalization, if there is one.
    activation : str
        Ours; or "sigmoid" or "softmax" at the head.
    slope, eps : float
    """

    conv: str
    order: str = "c"
    norm: str = ""
    activation: str = "none"
    slope: float = 0.01
    eps: float = 1e-3


@dataclass(slots=True)
class KerasUp:
    """How the resolution is doubled: `mode` as in our options, and the convolution, if there is one."""

    mode: Literal["transpose", "transpose3", "nearest", "linear"]
    unit: KerasUnit | None

    @property
    def transposed(self) -> bool:
        """Whether it is a transposed convolution."""
        return self.mode in {"transpose", "transpose3"}


@dataclass(slots=True)
class Plan:
    """A U-Net in levels, the first at full resolution; `rescaling` is the factor and summand of its first layer."""

    encoder: list[list[KerasUnit]]
    decoder: list[list[KerasUnit]]
    ups: list[KerasUp]
    head: KerasUnit
    first: Literal["skip", "decoder"]
    down: str = "max"
    rescaling: tuple[float, float] | None = None


Layers = dict[str, dict[str, Any]]


def fail(message: str) -> Mismatch:
    """Make the error for a network that is not one of these U-Nets."""
    return Mismatch(message)


def plan_of_graph(graph: list[dict[str, Any]], outputs: list[str]) -> Plan:
    """Read the levels, joins and activations from the graph of a model.

    Raises
    ------
    Mismatch
        If it is not an encoder, a decoder and skips between them.
    """
    layers: Layers = {layer["name"]: layer for layer in graph}
    if len(outputs) != 1:
        raise fail(f"it has {len(outputs)} outputs")
    if any(layer["calls"] > 1 for layer in graph):
        raise fail("one of its layers is used more than once")
    chain, stop = _back(layers, outputs[0])
    decoder: list[list[KerasUnit]] = []
    ups, skips, firsts = [], [], []
    while stop is not None and layers[stop]["class_name"] == "Concatenate":
        if len(decoder) > 12:
            raise fail("it has more than 12 levels")
        decoder.append(_units(layers, chain))
        (chain, stop), up, skip, first = _take_join(layers, stop)
        ups.append(_up(layers, up))
        skips.append(skip)
        firsts.append(first)
    if not decoder or len(set(firsts)) != 1:
        raise fail("its layers are not joined as those of a U-Net")
    encoder, down = _encoder(layers, chain, stop, skips)
    rescaling = _rescaling(layers, skips[0][0])
    *units, head = decoder[0]
    if not units:
        raise fail("its last level has a single convolution")
    decoder[0] = units
    return Plan(encoder, decoder, ups, head, firsts[0], down, rescaling)


def _back(layers: Layers, name: str) -> tuple[list[str], str | None]:
    """Walk back from a layer; return what was passed, in order, and the join, pooling or input before it."""
    passed: list[str] = []
    current: str | None = name
    while current is not None:
        layer = layers.get(current)
        if layer is None or len(passed) > len(layers):
            raise fail("its graph is not whole")
        inbound = layer["inbound"]
        # A model in the model begins with an input, too.
        is_input = layer["class_name"] == "InputLayer"
        if layer["class_name"] in (*POOLS, "Concatenate") or (is_input and not inbound):
            break
        if len(inbound) > 1:
            raise fail(f'its layer "{shorten(current)}" ({shorten(layer["class_name"])}) has several inputs')
        if layer["class_name"] not in IDLE and not is_input:
            passed.append(current)
        current = inbound[0] if inbound else None
    return passed[::-1], current


def _take_join(
    layers: Layers, name: str
) -> tuple[tuple[list[str], str | None], list[str], tuple[list[str], str | None], Literal["skip", "decoder"]]:
    """Take a join apart: what is below it, the up-sampling, the skip, and which of them comes first."""
    inbound = layers[name]["inbound"]
    if len(inbound) != 2 or layers[name]["config"].get("axis", -1) not in (-1, 3):
        raise fail(f'its layer "{shorten(name)}" does not join the channels of two layers')
    walks = [_back(layers, source) for source in inbound]
    rising = [[i for i, x in enumerate(walk[0]) if layers[x]["class_name"] in UPS] for walk in walks]
    # The skip starts within the encoder, where nothing is up-sampled.
    if bool(rising[0]) == bool(rising[1]):
        raise fail(f'neither or both sides of its join "{shorten(name)}" are up-sampled')
    side = 0 if rising[0] else 1
    chain, stop = walks[side]
    if len(rising[side]) != 1:
        raise fail(f'the resolution is doubled several times before its join "{shorten(name)}"')
    at = rising[side][0]
    return (chain[:at], stop), chain[at:], walks[1 - side], "skip" if side else "decoder"


def _encoder(
    layers: Layers, chain: list[str], stop: str | None, skips: list[tuple[list[str], str | None]]
) -> tuple[list[list[KerasUnit]], str]:
    """Units of the encoder from the top, and how it pools; `chain` is the bottom, `skips` are given from the top."""
    encoder = [_units(layers, chain)]
    kinds: set[str] = set()
    for skip, before in reversed(skips):
        if stop is None or layers[stop]["class_name"] not in POOLS:
            raise fail("a level of its encoder does not begin with pooling")
        kinds.add(_pooling(layers[stop]))
        passed, above = _back(layers, layers[stop]["inbound"][0])
        if passed != skip or above != before:
            raise fail("what it joins is not what it pools")
        encoder.append(_units(layers, skip[1:] if _rescaling(layers, skip) else skip))
        stop = above
    if stop is not None and layers[stop]["class_name"] != "InputLayer":
        raise fail("it has more levels down than up")
    if len(kinds) != 1:
        raise fail("it pools in several ways")
    return encoder[::-1], kinds.pop()


def _rescaling(layers: Layers, chain: list[str]) -> tuple[float, float] | None:
    """Factor and summand, if the network begins with a layer that only rescales the image."""
    if not chain or layers[chain[0]]["class_name"] != "Rescaling":
        return None
    layer = layers[chain[0]]
    factor, summand = layer["config"].get("scale", 1), layer["config"].get("offset", 0)
    if not isinstance(factor, (int, float)) or not isinstance(summand, (int, float)) or factor == 0:
        raise fail("it rescales each channel of the image in its own way")
    return float(factor), float(summand)


def _pooling(layer: dict[str, Any]) -> str:
    # Padded pooling differs for odd sides only, which such a network does not take.
    config = layer["config"]
    sides = _pair(config.get("pool_size", 2))
    if sides != (2, 2) or _pair(config.get("strides") or sides) != (2, 2):
        raise fail("it does not halve the resolution from level to level")
    return POOLS[layer["class_name"]]


def _pair(value: object) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value, value)


def _units(layers: Layers, chain: list[str]) -> list[KerasUnit]:
    units: list[KerasUnit] = []
    for name in chain:
        layer = layers[name]
        if layer["class_name"] == "Conv2D":
            units.append(_conv(name, layer["config"]))
        elif not units:
            raise fail(f'a level begins with "{shorten(name)}" ({shorten(layer["class_name"])}), not a convolution')
        else:
            _follow(units[-1], name, layer)
    if not units:
        raise fail("a level has no convolution")
    return units


def _conv(name: str, config: dict[str, Any]) -> KerasUnit:
    plain = (_pair(config.get("strides", 1)), _pair(config.get("dilation_rate", 1)), config.get("groups", 1))
    kernel = _pair(config.get("kernel_size"))
    if plain != ((1, 1), (1, 1), 1) or config.get("data_format", "channels_last") != "channels_last":
        raise fail(f'its convolution "{shorten(name)}" has strides, dilation, groups or its channels first')
    if config.get("padding", "valid") != "same" and kernel != (1, 1):
        raise fail(f'its convolution "{shorten(name)}" is not padded')
    unit = KerasUnit(name)
    _activate(unit, config.get("activation"), config)
    return unit


def _follow(unit: KerasUnit, name: str, layer: dict[str, Any]) -> None:
    """Add a layer to the unit before it."""
    kind, config = layer["class_name"], layer["config"]
    if kind == "BatchNormalization":
        if "n" in unit.order:
            raise fail(f'"{shorten(name)}" normalizes a second time')
        unit.order, unit.norm = unit.order + "n", name
        unit.eps = float(config.get("epsilon", 1e-3))
    elif kind == "Activation":
        _activate(unit, config.get("activation"), config)
    elif kind == "LeakyReLU":
        _activate(unit, "leaky_relu", config)
        unit.slope = float(config.get("alpha", config.get("negative_slope", 0.3)))
    elif kind == "ReLU" and not (config.get("max_value") or config.get("negative_slope") or config.get("threshold")):
        _activate(unit, "relu", config)
    elif kind == "ELU" and config.get("alpha", 1) == 1:
        _activate(unit, "elu", config)
    elif kind == "Softmax" and config.get("axis", -1) in (-1, 3):
        _activate(unit, "softmax", config)
    else:
        raise fail(f'it has the layer "{shorten(name)}" of class {shorten(kind)}, which none of these U-Nets has')


def _activate(unit: KerasUnit, activation: object, config: dict[str, Any]) -> None:
    if isinstance(activation, dict):
        activation = activation.get("config")
    if activation in (None, "linear"):
        return
    ours = NAMES.get(str(activation), LOGITS.get(str(activation)))
    if ours is None or "a" in unit.order:
        raise fail(f'its convolution "{shorten(unit.conv)}" has the activation {shorten(str(activation))}')
    unit.order += "a"
    unit.activation = ours
    if ours == "leaky_relu":
        unit.slope = float(config.get("negative_slope", 0.2))


def _up(layers: Layers, chain: list[str]) -> KerasUp:
    """Read the up-sampling from its layer and those after it."""
    name, *rest = chain
    layer = layers[name]
    config = layer["config"]
    if layer["class_name"] == "UpSampling2D":
        mode = {"nearest": "nearest", "bilinear": "linear"}.get(config.get("interpolation", "nearest"))
        if mode is None or _pair(config.get("size", 2)) != (2, 2):
            raise fail(f'its layer "{shorten(name)}" does not double the resolution in a known way')
        units = _units(layers, rest) if rest else []
        if len(units) > 1:
            raise fail("there are several convolutions between an up-sampling and its join")
        return KerasUp("nearest" if mode == "nearest" else "linear", units[0] if units else None)
    kernel = _pair(config.get("kernel_size"))
    plain = kernel == (2, 2) or (kernel == (3, 3) and config.get("padding") == "same")
    if not plain or _pair(config.get("strides", 1)) != (2, 2) or config.get("output_padding"):
        raise fail(
            f'its transposed convolution "{shorten(name)}" has another kernel than 2 or 3, or another stride than 2'
        )
    unit = KerasUnit(name)
    _activate(unit, config.get("activation"), config)
    for follower in rest:
        _follow(unit, follower, layers[follower])
    return KerasUp("transpose" if kernel == (2, 2) else "transpose3", unit)
