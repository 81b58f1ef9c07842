"""Whether a new model may replace the old one."""

from __future__ import annotations

from dataclasses import dataclass

from napari_unet.training.metrics import Tally
from napari_unet.weights.spec import Meaning

MARGIN = 0.005


@dataclass(frozen=True, slots=True)
class Score:
    """How a model did on the held-out corrections.

    Attributes
    ----------
    value : float
        What is compared; higher is better.
    dice : float
    f1 : float or None
        Of objects; None for classes.
    pixels : int
        That it was compared on.
    """

    value: float
    dice: float
    f1: float | None
    pixels: int

    def __str__(self) -> str:
        objects = "" if self.f1 is None else f", objects found {self.f1:.0%} (F1)"
        return f"Dice {self.dice:.3f}{objects}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Accepted, refused, or None where there were too few labels to judge; said in one sentence."""

    accepted: bool | None
    sentence: str


def score(tally: Tally, meaning: Meaning) -> Score:
    """Reduce counts to a score: Dice; for objects its mean with the F1 of objects."""
    if meaning == "semantic":
        return Score(tally.dice, tally.dice, None, tally.pixels)
    return Score((tally.dice + tally.f1) / 2, tally.dice, tally.f1, tally.pixels)


def judge(old: Score | None, new: Score | None, held_out_px: int) -> Verdict:
    """Compare the new model with the old one on the same held-out corrections."""
    if held_out_px and new is None:
        return Verdict(
            None,
            "The fine-tuning was cancelled before the new model could be checked on held-out corrections: "
            "look at its prediction before you use it.",
        )
    if old is None or new is None:
        return Verdict(
            None,
            "Too little is reviewed to hold some of it out, so nobody can say whether the new model is better: "
            "look at its prediction before you use it, or review more.",
        )
    basis = f"on {new.pixels:,} reviewed pixels that were not trained on"
    if new.value > old.value + MARGIN:
        return Verdict(True, f"The new model is better {basis}: {new}; before: {old}.")
    return Verdict(False, f"The new model is not better {basis}: {new}; before: {old}. The old one stays in use.")
