"""One cell of the table: an arm, on corrections of one kind, with one budget and one seed; once known it is kept."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Protocol

from benchmarks.annotation.images import Kind, Split

ARMS = ("unchanged", "otsu", "forest", "scratch", "ours", "forgetting", "ours-2.5d")
# Whose result depends on the budget
TIMED = ("scratch", "ours", "forgetting", "ours-2.5d")
# Brightfield has eight training images in all.
MOST_IMAGES = {"bright": 5}


class Named(Protocol):
    """A description of something measured that knows what its file is called."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """Of its file."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is measured.

    Attributes
    ----------
    report : "train" | "test"
        What the result is measured on: a part of the training images, or the test images.
    kind : str
    k : int
        Corrected images.
    amount : str
        How much of each image is corrected.
    arm : str
    seconds : float
        CPU seconds of fine-tuning; 0 for arms without a budget.
    seed : int
        Of the images, of the region in them, and of the training.
    """

    report: Split
    kind: Kind
    k: int
    amount: str
    arm: str
    seconds: float
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return "_".join(str(value) for value in asdict(self).values())


def all_cells(report: Split, axes: dict[str, Iterable[Any]]) -> list[Cell]:
    """Combine kinds, numbers of images, amounts, arms, budgets and seeds, seed by seed, each cell once."""
    names = ("seeds", "kinds", "ks", "amounts", "seconds", "arms")
    found: dict[Cell, None] = {}
    for seed, kind, k, amount, seconds, arm in product(*(axes[name] for name in names)):
        membranes = kind == "membrane"
        if k > MOST_IMAGES.get(kind, k) or (arm == "unchanged" and membranes) or (arm == "ours-2.5d" and not membranes):
            continue
        if arm == "unchanged":
            found[Cell(report, kind, 0, "whole", arm, 0, 0)] = None
        else:
            found[Cell(report, kind, k, amount, arm, seconds if arm in TIMED else 0, seed)] = None
    return list(found)


def read(folder: Path, cell: Named) -> dict[str, Any] | None:
    """Return a kept result, if there is one."""
    path = folder / f"{cell.name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def keep(folder: Path, cell: Named, found: dict[str, Any]) -> None:
    """Write a result, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{cell.name}.{os.getpid()}.part"
    written = time.strftime("%Y-%m-%dT%H:%M:%S")
    unfinished.write_text(json.dumps({**asdict(cell), **found, "written": written}, indent=1))
    unfinished.replace(folder / f"{cell.name}.json")


def kept(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield all kept results."""
    for path in sorted(folder.glob("*.json")):
        yield json.loads(path.read_text())
