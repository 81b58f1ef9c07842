"""What a bioimage.io description of a model says: formats 0.4 and 0.5 in one form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_unet.errors import ModelError
from napari_unet.weights.formats.limits import shorten
from napari_unet.weights.packages.contents import Source

_UM = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "micron": 1.0, "um": 1.0, "µm": 1.0, "nm": 1e-3}
_KINDS = {"batch": "b", "channel": "c", "time": "t", "index": "i"}
_NO_NAME = re.compile(r"^(?:channel|c|ch|out|output|class)?[ _]?\d*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a tensor.

    Attributes
    ----------
    letter : str
        b, c, z, y, x, t (time) or i (index).
    size : int
        0 where several are possible.
    pixel_um : float, optional
        Of a pixel along it, in µm.
    names : tuple of str
        Of channels.
    """

    letter: str
    size: int = 0
    pixel_um: float | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A step before or after the network, with its keywords."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output.

    Attributes
    ----------
    name : str
    axes : tuple of Axis
        In the network's order.
    steps : tuple of Step
        Before an input enters the network, or after an output leaves it.
    test : Source, optional
        An example, as NumPy file.
    """

    name: str
    axes: tuple[Axis, ...]
    steps: tuple[Step, ...] = ()
    test: Source | None = None

    @property
    def letters(self) -> str:
        """One letter an axis."""
        return "".join(axis.letter for axis in self.axes)

    @property
    def sides(self) -> tuple[int, ...]:
        """Sizes along z, y and x; 0 where several are possible."""
        return tuple(axis.size for axis in self.axes if axis.letter in "zyx")

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names that say something, or none."""
        names = next((axis.names for axis in self.axes if axis.letter == "c"), ())
        return () if any(map(_NO_NAME.match, names)) or len(set(names)) < len(names) else names

    def axis(self, letter: str) -> Axis | None:
        """Return the axis of a letter, if it is there."""
        return next((axis for axis in self.axes if axis.letter == letter), None)


@dataclass(frozen=True, slots=True)
class Description:
    """What a package says about its model.

    Attributes
    ----------
    name : str
    version : str
        Of the format.
    inputs, outputs : tuple of Tensor
    weights : dict of Source
        By format, such as "pytorch_state_dict".
    facts : dict
        Authors, licence, citations, identifier and so on, as strings.
    arguments : dict
        Of the author's class, by name; the class itself never runs.
    own : Source, optional
        The model file of this program, where this program wrote the package.
    """

    name: str
    version: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weights: Mapping[str, Source]
    facts: Mapping[str, str]
    arguments: Mapping[str, Any]
    own: Source | None = None


def describe(file: str, document: Mapping[str, Any]) -> Description:
    """Bring a description into one form.

    Parameters
    ----------
    file : str
        For messages.
    document : dict
        The YAML file.

    Raises
    ------
    ModelError
        If it does not describe a model, or in a format that is too old or too new.
    """
    version = str(document.get("format_version", ""))
    if document.get("type", "model") != "model":
        raise ModelError(f'"{file}" describes a {shorten(str(document["type"]), 30)} and not a model.')
    if not re.match(r"0\.[45](\.|$)", version):
        raise ModelError(
            f'"{file}" has the format "{shorten(version, 20)}", and 0.4 and 0.5 can be read. Bring it to format 0.5 '
            "with the program that wrote it, or with bioimageio.spec."
        )
    reading = _Reading(file)
    old = version.startswith("0.4")
    try:
        inputs, outputs = (_tensors(reading, document, key, old) for key in ("inputs", "outputs"))
        weights = {
            kind: source
            for kind, entry in reading.mapping(document.get("weights"), "weights").items()
            if (source := reading.source(entry, f"weights.{kind}")) is not None
        }
        arguments = _arguments(reading, document.get("weights"))
        own = _own(reading, document)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f'"{file}" is damaged: {shorten(str(error), 160)}.') from error
    if not inputs or not outputs or not weights:
        raise ModelError(f'"{file}" names no input, no output or no weights. Expected is a trained model.')
    name = str(document.get("name") or "unnamed")[:128]
    return Description(name, version, inputs, outputs, weights, _facts(document), arguments, own)


def _own(reading: _Reading, document: Mapping[str, Any]) -> Source | None:
    """Find the attachment that our part of the description names."""
    config = document.get("config")
    ours = config.get("napari_unet") if isinstance(config, dict) else None
    name = ours.get("model") if isinstance(ours, dict) else None
    attached = reading.sequence(document.get("attachments"), "attachments") if isinstance(name, str) else []
    sources = (reading.source(entry, "attachments") for entry in attached)
    return next((source for source in sources if source is not None and source.name == name), None)


def _arguments(reading: _Reading, weights: Any) -> dict[str, Any]:  # noqa: ANN401
    entry = reading.mapping(weights, "weights").get("pytorch_state_dict")
    parts = reading.mapping(entry, "weights.pytorch_state_dict") if isinstance(entry, dict) else {}
    architecture = parts.get("architecture")
    place = architecture if isinstance(architecture, dict) else parts
    return reading.mapping(place.get("kwargs"), "the arguments of the architecture")


@dataclass(frozen=True, slots=True)
class _Reading:
    """Takes parts of a document that have the expected form.

    Attributes
    ----------
    file : str
        For messages.
    """

    file: str

    def mapping(self, value: Any, where: str) -> dict[str, Any]:  # noqa: ANN401
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._refuse(where, "a mapping", value)
        return {str(key): item for key, item in value.items()}

    def sequence(self, value: Any, where: str) -> list[Any]:  # noqa: ANN401
        if value is None:
            return []
        if not isinstance(value, list):
            self._refuse(where, "a list", value)
        return list(value)

    def source(self, entry: Any, where: str) -> Source | None:  # noqa: ANN401
        """Take the name of a file, which may lie in a mapping beside its fingerprint."""
        if entry is None or isinstance(entry, str):
            return Source(entry) if entry else None
        parts = self.mapping(entry, where)
        inner = parts.get("source")
        if isinstance(inner, dict):
            return self.source(inner, where)
        if inner is None:
            return None
        sha256 = parts.get("sha256") or ""
        if not isinstance(inner, str) or not isinstance(sha256, str):
            self._refuse(where, "the name of a file", inner)
        return Source(str(inner).removeprefix("./"), str(sha256))

    def _refuse(self, where: str, expected: str, value: object) -> None:
        raise ModelError(
            f'"{self.file}" is damaged: {where} is {shorten(repr(value), 40)}, and {expected} was expected.'
        )


def _tensors(reading: _Reading, document: Mapping[str, Any], key: str, old: bool) -> tuple[Tensor, ...]:
    tests = reading.sequence(document.get(f"test_{key}"), f"test_{key}") if old else []
    steps_key = "preprocessing" if key == "inputs" else "postprocessing"
    tensors = []
    for number, entry in enumerate(reading.sequence(document.get(key), key)):
        where = f"{key}[{number}]"
        parts = reading.mapping(entry, where)
        test = (tests[number] if number < len(tests) else None) if old else parts.get("test_tensor")
        tensors.append(
            Tensor(
                name=str(parts.get("name" if old else "id") or where),
                axes=_old_axes(parts) if old else _axes(reading, parts, where),
                steps=tuple(_step(reading, step, where) for step in reading.sequence(parts.get(steps_key), where)),
                test=reading.source(test, f"{where}.test_tensor"),
            )
        )
    return tuple(tensors)


def _old_axes(parts: Mapping[str, Any]) -> tuple[Axis, ...]:
    letters, shape = str(parts["axes"]), parts.get("shape")
    sizes: Sequence[Any] = shape if isinstance(shape, list) and len(shape) == len(letters) else (0,) * len(letters)
    # {min, step}: only channels have a size that is known, and it is the smallest.
    if isinstance(shape, dict) and isinstance(shape.get("min"), list) and len(shape["min"]) == len(letters):
        sizes = [size if letter == "c" else 0 for letter, size in zip(letters, shape["min"], strict=True)]
    return tuple(Axis(letter, int(size or 0)) for letter, size in zip(letters, sizes, strict=True))


def _axes(reading: _Reading, parts: Mapping[str, Any], where: str) -> tuple[Axis, ...]:
    return tuple(_axis(reading, entry, f"{where}.axes") for entry in reading.sequence(parts.get("axes"), where))


def _axis(reading: _Reading, entry: Any, where: str) -> Axis:  # noqa: ANN401
    parts = {"type": entry} if isinstance(entry, str) else reading.mapping(entry, where)
    kind = str(parts.get("type"))
    letter = _KINDS.get(kind) or str(parts.get("id", "?"))
    if kind == "channel":
        named = parts.get("channel_names")
        names = tuple(str(name) for name in named) if isinstance(named, list) else ()
        return Axis("c", len(names), names=names)
    size = parts.get("size")
    unit, scale = _UM.get(str(parts.get("unit"))), parts.get("scale", 1.0)
    known = unit is not None and isinstance(scale, int | float) and scale > 0
    return Axis(letter, size if isinstance(size, int) else 0, float(unit or 0) * float(scale) if known else None)


def _step(reading: _Reading, entry: Any, where: str) -> Step:  # noqa: ANN401
    parts = reading.mapping(entry, where)
    return Step(str(parts.get("id") or parts.get("name")), reading.mapping(parts.get("kwargs"), where))


def _facts(document: Mapping[str, Any]) -> dict[str, str]:
    authors = [str(one.get("name", "")) for one in _mappings(document.get("authors"))]
    cites = [
        " ".join(str(one[key]) for key in ("text", "doi", "url") if one.get(key))
        for one in _mappings(document.get("cite"))
    ]
    config = document.get("config")
    zoo = config.get("bioimageio") if isinstance(config, dict) else None
    nickname = (zoo.get("nickname") if isinstance(zoo, dict) else None) or document.get("nickname")
    training = document.get("training_data")
    facts = {
        "authors": ", ".join(filter(None, authors)),
        "license": _text(document.get("license")),
        "cite": "; ".join(filter(None, cites)),
        "id": _text(nickname or document.get("id")),
        "version": _text(document.get("version")),
        "created": _text(document.get("timestamp")),
        "trained_on": _text(training.get("id") or training.get("name")) if isinstance(training, dict) else "",
        "description": _text(document.get("description")),
    }
    return {key: value[:2000] for key, value in facts.items() if value}


def _mappings(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)
