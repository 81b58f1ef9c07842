"""Weights of other people's code, opened as one of our networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_unet.errors import AlmostKnownError, ModelError, UnansweredError
from napari_unet.networks.registry import build, resolve_options
from napari_unet.weights.changing import GENERAL, change_model, class_names, listed
from napari_unet.weights.formats.checkpoint import Checkpoint, State
from napari_unet.weights.formats.opening import open_checkpoint
from napari_unet.weights.matching import Match, find_match
from napari_unet.weights.model import Model, check_finite
from napari_unet.weights.recognition.recognised import Question
from napari_unet.weights.report import LoadReport
from napari_unet.weights.spec import ModelSpec, Provenance

# Keywords of `load_model` that fit every file of other people's weights.
CHOICES: Mapping[str, str] = {"averaged": "True, False", "family": "a name", "partial": "True, False"}


def load_foreign(path: Path, answers: Mapping[str, Any]) -> Model:
    """Open weights of other people's code; see `napari_unet.weights.loading.load_model`.

    Raises
    ------
    UnansweredError
        If something must be answered.
    ModelError
        If the file is damaged, dangerous or unknown.
    """
    return from_checkpoint(open_checkpoint(path), answers)


def from_checkpoint(checkpoint: Checkpoint, answers: Mapping[str, Any]) -> Model:
    """Recognise the network of a checkpoint and make the model."""
    state, match = _best_match(checkpoint, answers)
    _check_keywords(checkpoint, match, answers)
    _check_questions(checkpoint, match.recognised.questions)
    if match.faults and not answers.get("partial"):
        raise AlmostKnownError(
            f'"{checkpoint.path.name}" is almost a {match.origin.name}, but not quite ({match.describe_faults()}).'
        )
    own = {keyword: value for keyword, value in answers.items() if keyword in GENERAL}
    return change_model(_make(checkpoint, state, match), own)


def questions_of(checkpoint: Checkpoint, answers: Mapping[str, Any]) -> tuple[Question, ...]:
    """Return what could be answered about a checkpoint, and what became of each question.

    Raises
    ------
    ModelError
        If it is unknown.
    """
    return _best_match(checkpoint, answers)[1].recognised.questions


def _best_match(checkpoint: Checkpoint, answers: Mapping[str, Any]) -> tuple[State, Match]:
    """Match the sets of weights, the likeliest first, until one fits entirely; otherwise the nearest."""
    almost: list[tuple[State, Match]] = []
    errors: list[ModelError] = []
    for state in _wanted_states(checkpoint, bool(answers.get("averaged"))):
        try:
            match = find_match(checkpoint, state, answers)
        except UnansweredError:
            raise
        except ModelError as error:
            errors.append(error)
            continue
        if not match.faults:
            return state, match
        almost.append((state, match))
    if not almost:
        raise errors[0]
    return min(almost, key=lambda pair: pair[1].faults)


def _wanted_states(checkpoint: Checkpoint, averaged: bool) -> list[State]:
    wanted = [state for state in checkpoint.states if state.averaged == averaged]
    if averaged and not wanted:
        raise ModelError(f'"{checkpoint.path.name}" holds no averaged weights. Leave averaged=True out.')
    states = wanted or list(checkpoint.states)
    if not states:
        raise ModelError(f'"{checkpoint.path.name}" ({checkpoint.format}) holds no weights. Choose another file.')
    return states


def _check_keywords(checkpoint: Checkpoint, match: Match, answers: Mapping[str, Any]) -> None:
    questions = match.recognised.questions
    known = {*GENERAL, *CHOICES, *(question.keyword for question in questions)}
    unknown = [keyword for keyword in answers if keyword not in known]
    if unknown:
        own = {question.keyword: ", ".join(map(repr, question.values)) for question in questions}
        raise ModelError(
            f'{", ".join(unknown)}: "{checkpoint.path.name}" ({match.origin.name}) leaves nothing of that kind open. '
            f"Possible: {listed({**own, **GENERAL, **CHOICES})}."
        )


def _check_questions(checkpoint: Checkpoint, questions: tuple[Question, ...]) -> None:
    unanswered = tuple(question for question in questions if question.state == "open")
    if not unanswered:
        return
    asked = " ".join(
        f"{question.sentence} Pass {question.keyword}= one of {', '.join(map(repr, question.values))}."
        for question in unanswered
    )
    raise UnansweredError(f'"{checkpoint.path.name}" does not say everything. {asked}', unanswered)


def _make(checkpoint: Checkpoint, state: State, match: Match) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(match.recognised.network)
    filled, used, random = fill(network.state_dict(), match)
    check_finite(checkpoint.path, filled)
    network.load_state_dict(filled)
    notes = _notes(checkpoint, state, match)
    return Model(network.eval(), _describe(checkpoint, match), _report(checkpoint, match, notes, (used, random)))


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
        taken = match.taken(name)
        if taken is not None and taken.shape == tensor.shape:
            filled[name] = taken.to(tensor.dtype).contiguous()
            used += 1
        elif not name.endswith("num_batches_tracked"):
            random.append(name)
    return filled, used, tuple(random)


def _describe(checkpoint: Checkpoint, match: Match) -> ModelSpec:
    recognised = match.recognised
    network, named = recognised.network, recognised.classes
    dims = resolve_options(network).dims
    return ModelSpec(
        name=checkpoint.path.stem,
        network=network,
        dims=dims,
        classes=named
        if len(named) == network.out_channels
        else class_names(network.out_channels, recognised.activation),
        meaning="semantic",
        activation=recognised.activation,
        normalization=recognised.normalization,
        channel_names=recognised.channel_names,
        patch_px=recognised.patch_px if len(recognised.patch_px) == dims else (),
        provenance=Provenance(source=f"{match.origin.name}, {match.origin.url}", notes=f"from {checkpoint.path.name}"),
    )


def _notes(checkpoint: Checkpoint, state: State, match: Match) -> tuple[str, ...]:
    notes = [*checkpoint.notes, *match.recognised.notes]
    for question in match.recognised.questions:
        if question.state == "settled":
            keyword, value = question.keyword, question.value
            meaning = question.values.get(value, "as in the author's code")
            others = ", ".join(repr(other) for other in question.values if other != value)
            notes.append(f"{keyword}={value!r}, {meaning}; {keyword}= can also be {others}.")
    if state.where and len(checkpoint.states) > 1:
        notes.append(f'The weights are those that the file keeps under "{state.where}".')
    if not state.averaged and any(other.averaged for other in checkpoint.states):
        notes.append("The file also holds averaged weights; pass averaged=True for those.")
    return tuple(notes)


def _report(
    checkpoint: Checkpoint, match: Match, notes: tuple[str, ...], tensors: tuple[int, tuple[str, ...]]
) -> LoadReport:
    recognised = match.recognised
    return LoadReport(
        file=checkpoint.path.name,
        format=checkpoint.format,
        family=match.origin.name,
        url=match.origin.url,
        why=recognised.why,
        network=_in_words(match),
        activation=f"{recognised.activation}, {recognised.because}",
        answers={question.keyword: question.value for question in recognised.questions if question.state == "answered"},
        used=tensors[0],
        missing=match.missing,
        left_over=match.left_over,
        misfit=match.misfit,
        unused=match.unused,
        made=tensors[1],
        notes=notes,
    )


def _in_words(match: Match) -> str:
    network = match.recognised.network
    options = "".join(f", {name} {value}" for name, value in network.options.items())
    return f"{network.variant}, {network.in_channels} channels in, {network.out_channels} out{options}"
