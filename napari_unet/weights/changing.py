"""A model that is opened with other channels, classes or activation than it was saved with."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, get_args

from napari_unet.errors import ModelError
from napari_unet.imaging.config import Normalization
from napari_unet.networks.adapting import Stem, with_channels
from napari_unet.weights.flows import without_flows
from napari_unet.weights.model import Model
from napari_unet.weights.spec import INSTANCE_CLASSES, Activation, changed_spec

# Flows are nothing that outputs can be called: only networks that were trained to give them do.
ACTIVATIONS = tuple(name for name in get_args(Activation) if name != "flows")
# Keywords of `load_model` that fit every model, with their values.
GENERAL: Mapping[str, str] = {
    "activation": ", ".join(map(repr, ACTIVATIONS)),
    "classes": "names",
    "in_channels": "a number",
    "stem": ", ".join(map(repr, get_args(Stem))),
}


def change_model(model: Model, answers: Mapping[str, Any]) -> Model:
    """Return a model with the activation, classes and channels that were asked for.

    Raises
    ------
    ModelError
        If a keyword is unknown or its value impossible.
    """
    unknown = [keyword for keyword in answers if keyword not in GENERAL]
    if unknown:
        raise ModelError(
            f"{', '.join(unknown)}: this model leaves nothing of that kind open. Possible: {listed(GENERAL)}."
        )
    classes, _, _ = _wanted(model, answers)
    if "activation" in answers or classes != model.spec.classes:
        model = without_flows(model)
    model = _with_activation(model, answers.get("activation"))
    return _with_channels(model, answers)


def listed(keywords: Mapping[str, str]) -> str:
    """List keywords with their values, for an error."""
    return ", ".join(f"{keyword} ({values})" for keyword, values in keywords.items())


def _with_activation(model: Model, activation: str | None) -> Model:
    if activation is None:
        return model
    if activation not in ACTIVATIONS:
        raise ModelError(f"activation={activation!r} was given. Choose one of: {GENERAL['activation']}.")
    if activation == "softmax" and len(model.spec.classes) == 1:
        raise ModelError("activation='softmax' of a single output is 1 everywhere. Choose 'sigmoid' or 'none'.")
    changed = model.with_spec(activation=activation, **renamed_classes(model, activation))
    return changed.with_report(activation=f"{activation}, as asked for")


def renamed_classes(model: Model, activation: str) -> dict[str, tuple[str, ...]]:
    """Names that fit an activation: with "sigmoid" there is no background."""
    spec = model.spec
    sigmoid = activation == "sigmoid"
    if spec.meaning == "instances" or sigmoid == (spec.activation == "sigmoid"):
        return {}
    return {"classes": class_names(len(spec.classes), activation)}


def class_names(outputs: int, activation: str) -> tuple[str, ...]:
    """Names of classes that nobody has named."""
    if outputs == 1:
        return ("foreground",)
    if activation == "sigmoid":
        return tuple(f"class {n}" for n in range(1, outputs + 1))
    if outputs == 2:
        return ("background", "foreground")
    return ("background", *(f"class {n}" for n in range(1, outputs)))


def _with_channels(model: Model, answers: Mapping[str, Any]) -> Model:
    classes, in_channels, stem = _wanted(model, answers)
    spec = model.spec.network
    outputs = spec.out_channels if classes == model.spec.classes else len(classes)  # which may have flows besides
    if (outputs, in_channels) == (spec.out_channels, spec.in_channels):
        return model if classes == model.spec.classes else _with_names(model, classes)
    described = spec.model_copy(update={"in_channels": in_channels, "out_channels": outputs})
    network, made = with_channels(model.network, spec, described, stem)
    changes: dict[str, Any] = {"network": described, "classes": classes}
    if outputs != spec.out_channels:
        activation = answers.get("activation", "softmax")
        changes |= {"meaning": _meaning(classes, activation), "activation": activation}
        model = model.with_report(activation=f"{activation}, as the head was made anew")
    if in_channels != spec.in_channels:
        changes["channel_names"] = ()
        if len(model.spec.normalization.low) > 1:  # bounds of channels that are no longer there
            changes["normalization"] = Normalization()
    before = model.report
    return Model(network, changed_spec(model.spec, **changes), before).with_report(
        made=(*(name for name in (before.made if before else ()) if name not in made), *made),
        notes=(*(before.notes if before else ()), *_said(spec.in_channels, in_channels, stem, made)),
    )


def _wanted(model: Model, answers: Mapping[str, Any]) -> tuple[tuple[str, ...], int, Stem]:
    """Classes, input channels and stem that are asked for, or what the model has."""
    spec = model.spec
    classes = answers.get("classes", spec.classes)
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        raise ModelError(f'classes={classes!r} was given. Give a sequence of names, such as ("background", "cell").')
    alone = answers.get("activation") == "sigmoid" or len(classes) == len(spec.classes)
    if len(classes) < (1 if alone else 2):
        raise ModelError(
            f"A model needs a background and at least one more class, and {list(classes)} was given. For one class "
            'alone pass activation="sigmoid" too.'
        )
    in_channels = answers.get("in_channels", spec.image_channels)
    if not isinstance(in_channels, Integral) or isinstance(in_channels, bool) or in_channels < 1:
        raise ModelError(f"in_channels={in_channels!r} was given. Choose a whole number of at least 1.")
    if spec.slices > 1 and in_channels != spec.image_channels:
        raise ModelError(
            f'"{spec.name}" is shown {spec.slices} slices at once, so the number of its channels cannot be changed. '
            "Leave in_channels= out."
        )
    stem = answers.get("stem", "new")
    if stem not in get_args(Stem):
        raise ModelError(f"stem={stem!r} was given. Choose one of: {GENERAL['stem']}.")
    if "stem" in answers and "in_channels" not in answers:
        raise ModelError(f"stem={stem!r} says how the model gets other input channels. Pass in_channels= too.")
    return tuple(classes), int(in_channels) * spec.slices, stem


def _with_names(model: Model, classes: tuple[str, ...]) -> Model:
    return model.with_spec(classes=classes, meaning=_meaning(classes, model.activation))


def _meaning(classes: tuple[str, ...], activation: str) -> str:
    return "instances" if classes == INSTANCE_CLASSES and activation != "sigmoid" else "semantic"


def _said(before: int, after: int, stem: Stem, made: tuple[str, ...]) -> tuple[str, ...]:
    said = []
    if before != after:
        how = {"new": "random weights", "sum": "the sum of its weights", "repeat": "its weights repeated"}[stem]
        said.append(f"The first convolution took {before} channels, and takes {after} now, with {how}.")
    if made:
        tensors = "1 tensor has" if len(made) == 1 else f"{len(made)} tensors have"
        said.append(f"{tensors} random weights: fine-tune the model before using it.")
    return tuple(said)
