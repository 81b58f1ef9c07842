"""What is drawn for one run of the gate's trial: from its number alone, so that each can be repeated.

Cards are dealt from a hand that is shuffled anew when it is empty: few runs have the wanted shares, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.annotation.cells import MOST_IMAGES
from benchmarks.annotation.damage import DAMAGES
from benchmarks.annotation.images import Kind, Split

SEED = 6000
KINDS: tuple[Kind, ...] = ("colour",) * 10 + ("bright",) * 3 + ("fluo",) * 7
KS = (1, 2, 3, 5, 8)
AMOUNTS = ("whole", "window-128", "window-256")
SECONDS = (20.0, 40.0, 80.0)
# Of ten, three times the weaker model is started from, so that there is something to gain in fluorescence too.
WEAK = (False,) * 7 + (True,) * 3
LABELS = ("good",) * 18 + tuple(DAMAGES) * 2
Card = TypeVar("Card")


@dataclass(frozen=True, slots=True)
class Run:
    """What one run is.

    Attributes
    ----------
    report : "train" | "test"
        What the truth is measured on: a part of the training images, or the test images.
    number : int
    base : str
        Name or file of the model to start from.
    kind : str
    k : int
        Corrected images.
    amount : str
        How much of each image is corrected.
    seconds : float
        CPU seconds of fine-tuning.
    labels : str
        "good", or how they are spoiled.
    seed : int
        Of the images, of the region in them, of the damage, and of the training.
    """

    report: Split
    number: int
    base: str
    kind: Kind
    k: int
    amount: str
    seconds: float
    labels: str
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        described = {**asdict(self), "number": f"{self.number:03}", "base": Path(self.base).stem}
        return "_".join(str(value) for value in described.values())


def draw(number: int, report: Split, bases: tuple[str, str], seconds: Sequence[float] = SECONDS) -> Run:
    """Draw a run by its number; other models or budgets change nothing else.

    Parameters
    ----------
    number : int
    report : "train" | "test"
    bases : (str, str)
        Two models: the usual one, and a weaker one.
    seconds : sequence of float
        Budgets to draw from.
    """
    kind = dealt(KINDS, number, 0)
    k = min(dealt(KS, number, 1), MOST_IMAGES.get(kind, max(KS)))
    amount, budget = dealt(AMOUNTS, number, 2), dealt(seconds, number, 3)
    base, labels = bases[dealt(WEAK, number, 4)], dealt(LABELS, number, 5)
    seed = int(np.random.default_rng((SEED, 6, number)).integers(1_000_000))
    return Run(report, number, base, kind, k, amount, budget, labels, seed)


def dealt(hand: Sequence[Card], number: int, stream: int) -> Card:
    """Deal the card with a number from a hand that is shuffled anew each time it is empty."""
    round_number, place = divmod(number, len(hand))
    order = np.random.default_rng((SEED, stream, round_number)).permutation(len(hand))
    return hand[order[place]]
