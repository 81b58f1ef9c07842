"""Weights of other people's code, opened as one of our networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_unet.errors import ModelError, UnansweredError
from napari_unet.networks.registry import build, resolve_options
from napari_unet.networks.variants import VARIANTS
from napari_unet.weights.changing import GENERAL, change_model, class_names
from napari_unet.weights.formats.checkpoint import Checkpoint, State
from napari_unet.weights.formats.identify import Kind
from napari_unet.weights.formats.opening import open_checkpoint
from napari_unet.weights.matching import Match, as_take, find_match
from napari_unet.weights.model import Model
from napari_unet.weights.recognition.recognised import Question
from napari_unet.weights.report import LoadReport
from napari_unet.weights.spec import ModelSpec, Provenance

# Keywords of `load_model` that fit every file of other people's weights.
CHOICES = ("averaged", "family", "partial")


def load_foreign(path: Path, kind: Kind, answers: Mapping[str, Any]) -> Model:
    """Open weights of other people's code; see `napari_unet.weights.loading.load_model`.

    Raises
    ------
    UnansweredError
        If something must be answered.
    ModelError
        If the file is damaged, dangerous or unknown.
    """
    del kind
    return from_checkpoint(open_checkpoint(path), answers)


def from_checkpoint(checkpoint: Checkpoint, answers: Mapping[str, Any]) -> Model:
    """Recognise the network of a checkpoint and make the model."""
    state = _choose_state(checkpoint, bool(answers.get("averaged")))
    match = find_match(checkpoint, state, answers)
    _check_questions(checkpoint, match.recognised.questions)
    if match.faults and not answers.get("partial"):
        raise ModelError(
            f'"{checkpoint.path.name}" is almost a {match.origin.name}, but not quite ({match.describe_faults()}). '
            "Pass partial=True to load what fits; the rest gets random weights."
        )
    own = {keyword: value for keyword, value in answers.items() if keyword in GENERAL}
    return change_model(_make(checkpoint, match, answers), own)


def _choose_state(checkpoint: Checkpoint, averaged: bool) -> State:
    wanted = [state for state in checkpoint.states if state.averaged == averaged]
    if averaged and not wanted:
        raise ModelError(f'"{checkpoint.path.name}" holds no averaged weights. Leave averaged=True out.')
    return (wanted or list(checkpoint.states))[0]


def _check_questions(checkpoint: Checkpoint, questions: tuple[Question, ...]) -> None:
    if not questions:
        return
    asked = " ".join(
        f"{question.sentence} Pass {question.keyword}= one of {', '.join(map(repr, question.values))}."
        for question in questions
    )
    raise UnansweredError(f'"{checkpoint.path.name}" does not say everything. {asked}', questions)


def _make(checkpoint: Checkpoint, match: Match, answers: Mapping[str, Any]) -> Model:
    network = build(match.recognised.network)
    state, used, missing = fill(network.state_dict(), match)
    network.load_state_dict(state)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise ModelError(
            f'The weights in "{checkpoint.path.name}" contain values that are no numbers. Choose another model.'
        )
    return Model(network.eval(), _describe(checkpoint, match), _report(checkpoint, match, answers, (used, missing)))


def fill(state: Mapping[str, Tensor], match: Match) -> tuple[dict[str, Tensor], int, tuple[str, ...]]:
    """Fill the tensors of a network from a file's; those without a fitting source stay as they are.

    Returns
    -------
    state : dict of torch.Tensor
    used : int
        How many come from the file.
    random : tuple of str
        Those that do not.
    """
    filled, used, random = dict(state), 0, []
    for name, tensor in state.items():
        source = match.recognised.sources.get(name)
        taken = None if source is None else as_take(source)(match.tensors)
        if taken is not None and taken.shape == tensor.shape:
            filled[name] = taken.to(tensor.dtype).contiguous()
            used += 1
        elif not name.endswith("num_batches_tracked"):
            random.append(name)
    return filled, used, tuple(random)


def _describe(checkpoint: Checkpoint, match: Match) -> ModelSpec:
    recognised = match.recognised
    network = recognised.network
    return ModelSpec(
        name=checkpoint.path.stem,
        network=network,
        dims=resolve_options(network).dims,
        classes=class_names(network.out_channels, recognised.activation),
        meaning="semantic",
        activation=recognised.activation,
        normalization=recognised.normalization,
        provenance=Provenance(source=f"{match.origin.name}, {match.origin.url}", notes=f"from {checkpoint.path.name}"),
    )


def _report(
    checkpoint: Checkpoint, match: Match, answers: Mapping[str, Any], tensors: tuple[int, tuple[str, ...]]
) -> LoadReport:
    recognised = match.recognised
    notes = [*checkpoint.notes, *recognised.notes]
    if any(state.averaged for state in checkpoint.states) and not answers.get("averaged"):
        notes.append("The file also holds averaged weights; pass averaged=True for those.")
    return LoadReport(
        file=checkpoint.path.name,
        format=checkpoint.format,
        family=match.origin.name,
        url=match.origin.url,
        why=recognised.why,
        network=_in_words(match),
        activation=f"{recognised.activation}, as in the author's code",
        answers={keyword: value for keyword, value in answers.items() if keyword not in (*GENERAL, *CHOICES)},
        used=tensors[0],
        missing=match.missing,
        left_over=match.left_over,
        misfit=match.misfit,
        unused=match.unused,
        made=tensors[1],
        notes=tuple(notes),
    )


def _in_words(match: Match) -> str:
    network = match.recognised.network
    options = ", ".join(f"{name} {value}" for name, value in network.options.items())
    return f"{VARIANTS[network.variant].description}; {network.in_channels} channels in, {network.out_channels} out" + (
        f"; {options}" if options else ""
    )
