"""The graph of a Keras model, read from its description as data: no class is looked up, no code is run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_unet.errors import ModelError
from napari_unet.weights.formats.limits import shorten

MODELS = frozenset({"Model", "Functional", "Sequential"})
CODE = frozenset({"Lambda", "__lambda__"})
MAX_LAYERS = 20_000
MAX_NESTING = 12


@dataclass(slots=True)
class Layer:
    """One layer; those of a model inside the model are called "<model>/<layer>".

    Attributes
    ----------
    name, class_name : str
    config : dict
        As Keras wrote it.
    inbound : list of str
        Names of the layers that it takes its input from, in order.
    calls : int
        How often it is used.
    """

    name: str
    class_name: str
    config: dict[str, Any]
    inbound: list[str] = field(default_factory=list)
    calls: int = 1


@dataclass(slots=True)
class Graph:
    """A model without models in it.

    Attributes
    ----------
    layers : list of Layer
        In the order of the file.
    outputs : list of str
        Names of the layers that give the output.
    """

    layers: list[Layer]
    outputs: list[str]

    def plain(self) -> list[dict[str, Any]]:
        """Return the layers as plain dicts."""
        return [
            {"name": x.name, "class_name": x.class_name, "config": x.config, "inbound": x.inbound, "calls": x.calls}
            for x in self.layers
        ]


def parse_graph(path: Path, description: str) -> Graph | None:
    """Read the graph from a model's description; None if it is a class of its author's own.

    Parameters
    ----------
    path : Path
        For messages.
    description : str
        JSON, as Keras 2 or Keras 3 writes it.

    Raises
    ------
    ModelError
        If it is damaged or contains code.
    """
    try:
        model = json.loads(description)
        _refuse_code(path, model)
        if not isinstance(model, dict) or model.get("class_name") not in MODELS:
            return None
        return _flatten(model, "", [], 0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ModelError(
            f'"{path.name}" is damaged: its description of the network is not what Keras writes. Save the model again, '
            "or its weights alone."
        ) from error


def _refuse_code(path: Path, model: object) -> None:
    for found in _dicts(model):
        name = found.get("class_name")
        config = found.get("config")
        if name in CODE or (isinstance(config, dict) and config.get("function_type") == "lambda"):
            label = config.get("name") if isinstance(config, dict) else None
            raise ModelError(
                f'"{path.name}" is refused: it contains the Lambda layer "{shorten(str(label or name))}", which is '
                "code and never run. Replace it by a layer of Keras, or save the weights alone."
            )


def _dicts(model: object) -> Iterator[dict[str, Any]]:
    pending = [model]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            yield found
            # How it was trained does not matter here, and is not read.
            pending += [value for key, value in found.items() if key not in {"compile_config", "build_config"}]
        elif isinstance(found, list):
            pending += found


def _flatten(model: dict[str, Any], prefix: str, inbound: list[str], nesting: int) -> Graph:
    """Lay the layers of a model, and of the models in it, into one list; `inbound` is what feeds the model."""
    if nesting > MAX_NESTING:
        raise ValueError("too many models in models")
    config = model["config"]
    # The first versions of Keras 2 wrote the list of layers of a sequential model alone.
    entries = config if isinstance(config, list) else config["layers"]
    if len(entries) > MAX_LAYERS:
        raise ValueError("too many layers")
    sequential = model["class_name"] == "Sequential"
    layers: list[Layer] = []
    ends: dict[str, list[str]] = {}
    last = inbound
    for entry in entries:
        name = _name_of(entry)
        calls = [] if sequential else entry.get("inbound_nodes") or []
        sources = last if sequential else [end for source in _sources(calls[:1]) for end in ends[source]]
        if entry["class_name"] == "InputLayer":
            sources = inbound
        inner, last = _layers_of(entry, prefix + name, sources, max(1, len(calls)), nesting)
        layers += inner
        ends[name] = last
    outputs = last if sequential else [end for name in _references(config["output_layers"]) for end in ends[name]]
    return Graph(layers, outputs)


def _layers_of(
    entry: dict[str, Any], name: str, sources: list[str], calls: int, nesting: int
) -> tuple[list[Layer], list[str]]:
    """Layers that an entry stands for, and the names of those that give its output."""
    if entry["class_name"] in MODELS:
        inner = _flatten(entry, f"{name}/", sources, nesting + 1)
        for layer in inner.layers:
            layer.calls *= calls
        return inner.layers, inner.outputs
    wrapped = entry["config"]
    if not isinstance(wrapped, dict):
        raise TypeError("a layer without a configuration")
    return [Layer(name, str(entry["class_name"]), wrapped, list(sources), calls)], [name]


def _name_of(entry: dict[str, Any]) -> str:
    config = entry["config"]
    name = entry.get("name") or (config.get("name") if isinstance(config, dict) else None)
    if not isinstance(name, str):
        raise TypeError("a layer without a name")
    return name


def _sources(call: object) -> list[str]:
    """Names of the layers a call takes as input: ``["name", 0, 0, {}]`` in Keras 2, "keras_history" in Keras 3."""
    if isinstance(call, dict):
        if "keras_history" in call:
            return [call["keras_history"][0]]
        return [name for value in call.values() for name in _sources(value)]
    if isinstance(call, list):
        if _is_reference(call):
            return [call[0], *(name for value in call[3:] for name in _sources(value))]
        return [name for value in call for name in _sources(value)]
    return []


def _references(outputs: object) -> list[str]:
    """Names in ``[["name", 0, 0]]``, or in ``["name", 0, 0]`` as Keras 3 writes a single one."""
    if isinstance(outputs, dict):
        return [name for value in outputs.values() for name in _references(value)]
    if not isinstance(outputs, list):
        return []
    return [outputs[0]] if _is_reference(outputs) else [name for value in outputs for name in _references(value)]


def _is_reference(call: list[Any]) -> bool:
    return len(call) >= 3 and isinstance(call[0], str) and all(type(index) is int for index in call[1:3])
