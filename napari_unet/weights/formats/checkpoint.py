"""What any weights file is read into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class State:
    """One set of weights in a file.

    Attributes
    ----------
    where : str
        For people: under which names it lies in the file, such as "state_dict"; empty for the whole file.
    tensors : dict of torch.Tensor
        On the CPU, by the names and in the layout of the program that wrote them; 0 to 6 dimensions.
    averaged : bool
        Whether it is a running average of another set (EMA).
    """

    where: str
    tensors: Mapping[str, Tensor]
    averaged: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A weights file, read as data.

    Attributes
    ----------
    path : Path
    format : str
        For people, such as "PyTorch checkpoint" or "Keras 3 weights".
    states : tuple of State
        The sets of weights, the one to use first.
    extras : dict
        What else the file says, as plain numbers, strings, lists and dicts: hyper-parameters, the
        graph of a Keras model (under "keras"), plans of nnU-Net (under "plans" and "dataset").
    notes : tuple of str
        Sentences about what was left out, such as unknown classes whose code was not run.
    """

    path: Path
    format: str
    states: tuple[State, ...]
    extras: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
