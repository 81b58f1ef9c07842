"""The description of a package: bioimage.io's format for models.

It is written with the fields that version 0.5.4 of the format knows, which newer programs read, too: what the
newest version adds is not read by programs of a year ago.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_unet.export.answering import Output
from napari_unet.export.package.card import PackageCard, description_of, dois_of, title_of
from napari_unet.export.package.geometry import Geometry
from napari_unet.export.package.steps import steps_of
from napari_unet.imaging.config import Normalization
from napari_unet.weights.spec import ModelSpec

FORMAT = "0.5.4"
DESCRIPTION, README, COVER = "rdf.yaml", "README.md", "cover.png"
OWN, TORCHSCRIPT, ONNX = "model.safetensors", "weights.torchscript.pt", "weights.onnx"
TEST_INPUT, TEST_OUTPUT = "test_input.npy", "test_output.npy"
IMAGE = "image"
_ZOO = re.compile(r"^bioimage\.io ([a-z0-9][a-z0-9-]+(?:/[\w.-]+)?)")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a description is made of.

    Attributes
    ----------
    spec : ModelSpec
    card : PackageCard
    geometry : Geometry
    normalization : Normalization
        What the package's own steps do.
    output : "logits" | "probabilities"
    created : str
        When, as ISO 8601.
    versions : dict of str
        Of "napari-unet" and "torch", and the operator set of "onnx" where there is such a file.
    sha256 : dict of str
        Of the model's weights by "model", of each file by its name.
    """

    spec: ModelSpec
    card: PackageCard
    geometry: Geometry
    normalization: Normalization
    output: Output
    created: str
    versions: Mapping[str, str]
    sha256: Mapping[str, str]


def document(parts: Parts) -> dict[str, Any]:
    """Return what the description of a package says, ready for YAML."""
    spec, card = parts.spec, parts.card
    described: dict[str, Any] = {
        "format_version": FORMAT,
        "type": "model",
        "name": title_of(card, spec),
        "description": description_of(card, spec),
        "authors": [{"name": author} for author in card.authors],
        "cite": [{"text": f"doi:{doi}", "doi": doi} for doi in dois_of(card, spec)],
        "license": card.license,
        "documentation": README,
        "covers": [COVER],
        "tags": _tags(spec, card),
        "version": "1",
        "timestamp": parts.created,
        "inputs": [_input(parts)],
        "outputs": [_output(parts)],
        "weights": _weights(parts),
        "attachments": [{"source": OWN, "sha256": parts.sha256[OWN]}],
        "config": {"napari_unet": _ours(parts)},
    }
    parent = _ZOO.match(spec.provenance.source)
    return described | ({"parent": {"id": parent.group(1)}} if parent else {})


def _tags(spec: ModelSpec, card: PackageCard) -> list[str]:
    kind = "instance-segmentation" if spec.meaning == "instances" else "semantic-segmentation"
    usual = ("napari-unet", "unet", "segmentation", kind, f"{spec.dims}d")
    return list(dict.fromkeys((*usual, *card.tags)))


def _input(parts: Parts) -> dict[str, Any]:
    spec, geometry = parts.spec, parts.geometry
    sizes = [{"min": least, "step": step} for least, step in zip(geometry.least, geometry.steps, strict=True)]
    names = spec.channel_names if len(spec.channel_names) == spec.network.in_channels else ()
    channels = names or tuple(f"channel{number}" for number in range(spec.network.in_channels))
    return {
        "id": IMAGE,
        "description": "The image as it is, without any scaling.",
        "axes": [{"type": "batch"}, _channels(channels), *_space(spec, [{"size": size} for size in sizes])],
        "data": {"type": "float32"},
        "test_tensor": {"source": TEST_INPUT, "sha256": parts.sha256[TEST_INPUT]},
        "preprocessing": steps_of(parts.normalization, spec.network.in_channels, spec.dims),
    }


def _output(parts: Parts) -> dict[str, Any]:
    spec = parts.spec
    letters = "zyx"[3 - spec.dims :]
    sizes = [
        {"size": {"tensor_id": IMAGE, "axis_id": letter}, **({"halo": lost} if lost else {})}
        for letter, lost in zip(letters, parts.geometry.halo, strict=True)
    ]
    probable = parts.output == "probabilities" and spec.activation != "none"
    return {
        "id": parts.output,
        "description": f"{'Probability' if probable else 'Raw value'} of each class in each pixel.",
        "axes": [{"type": "batch"}, _channels(spec.classes), *_space(spec, sizes)],
        "data": {"type": "float32", **({"range": [0.0, 1.0]} if probable else {})},
        "test_tensor": {"source": TEST_OUTPUT, "sha256": parts.sha256[TEST_OUTPUT]},
    }


def _channels(names: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "channel", "channel_names": _identifiers(names)}


def _identifiers(names: tuple[str, ...]) -> list[str]:
    """Return names in the letters that older readers allow, all of them different.

    >>> _identifiers(("cell body", "2nd", "cell-body"))
    ['cell_body', 'c_2nd', 'cell_body_2']
    """
    found: list[str] = []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII) or "channel"
        plain = plain if plain[0].isalpha() else f"c_{plain.strip('_')}"
        number = 1 + sum(other == plain or other.startswith(f"{plain}_") for other in found)
        found.append(plain if number == 1 else f"{plain}_{number}")
    return found


def _space(spec: ModelSpec, sizes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    letters = "zyx"[3 - spec.dims :]
    known = {"scale": spec.pixel_size_um, "unit": "micrometer"} if spec.pixel_size_um else {}
    return [
        {"type": "space", "id": letter, **size, **(known if letter != "z" else {})}
        for letter, size in zip(letters, sizes, strict=True)
    ]


def _weights(parts: Parts) -> dict[str, Any]:
    torchscript = {
        "source": TORCHSCRIPT,
        "sha256": parts.sha256[TORCHSCRIPT],
        "pytorch_version": parts.versions["torch"],
    }
    if ONNX not in parts.sha256:
        return {"torchscript": torchscript}
    onnx = {"source": ONNX, "sha256": parts.sha256[ONNX], "opset_version": int(parts.versions["onnx"])}
    return {"torchscript": torchscript, "onnx": {**onnx, "parent": "torchscript"}}


def _ours(parts: Parts) -> dict[str, Any]:
    """Say where our own model file is, and for people what is in it."""
    spec, origin = parts.spec, parts.spec.provenance
    return {
        "model": OWN,
        "version": parts.versions["napari-unet"],
        "variant": spec.network.variant,
        "weights_sha256": parts.sha256["model"],
        "parent_sha256": origin.parent_sha256,
        "trained_on": origin.trained_on,
        "classes": list(spec.classes),
        "meaning": spec.meaning,
        "activation": spec.class_activation,
        "output": parts.output,
        "normalization": spec.normalization.model_dump(mode="json"),
        "objects": spec.objects.model_dump(mode="json"),
        "diameter_px": spec.diameter_px,
        "exact_tiles": parts.geometry.exact,
    }
