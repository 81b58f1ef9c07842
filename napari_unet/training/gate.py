"""Whether a new model may replace the old one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_unet.training.config import MAX_FORGOTTEN
from napari_unet.training.metrics import Tally, values
from napari_unet.weights.spec import Meaning

DRAWS = 1000
MOST_UNITS = 1000
SURE = 0.95
"""How sure it must be that the new model is better, and not merely luckier."""
LIKELY = 0.8
"""How sure it must be where little is at stake."""


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """How a model did on the held-out corrections.

    Attributes
    ----------
    value : float
        What is compared; higher is better: F1 of objects, averaged over intersections over union from 0.5 to 0.8;
        Dice for classes.
    low, high : float
        Between these lies the value in 95 of 100 redraws of the objects, or of blocks of pixels.
    dice : float
        Of the foreground.
    f1 : float or None
        Of objects at an intersection over union of 0.5; None for classes.
    pixels, objects : int
        That it was compared on.
    tally : Tally
        What it was made from.
    """

    value: float
    low: float
    high: float
    dice: float
    f1: float | None
    pixels: int
    objects: int
    tally: Tally

    def __str__(self) -> str:
        objects = "" if self.f1 is None else f", {self.f1:.0%} of objects found (F1)"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f}; Dice {self.dice:.2f}{objects})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Accepted, refused, or None where there were too few labels to judge; said in one sentence."""

    accepted: bool | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Replay:
    """Scores of the old and the new model on labelled images that the old one came with.

    Attributes
    ----------
    old, new : float
    forgetting : bool
        Whether the user has chosen to let the new model forget them.
    """

    old: float
    new: float
    forgetting: bool = False

    @property
    def lost(self) -> float:
        """By how much the new model is worse on them."""
        return self.old - self.new

    def __str__(self) -> str:
        return f"on the kinds of image that the old model came with: {self.new:.2f}, before {self.old:.2f}"


def score(tally: Tally, meaning: Meaning) -> Score:
    """Reduce counts to a score with its uncertainty."""
    low, high = np.quantile(_redrawn(tally), [0.025, 0.975])
    f1 = None if meaning == "semantic" else tally.f1
    objects = int(tally.objects[2])
    return Score(tally.value, float(low), float(high), tally.dice, f1, tally.pixels, objects, tally)


def judge(
    old: Score | None, new: Score | None, held_out_px: int, replay: Replay | None = None, *, recalled: bool = True
) -> Verdict:
    """Compare the new model with the old one on the same held-out corrections.

    The new one must be better there by more than chance explains: in 95 of 100 redraws of the held-out objects
    (or blocks of pixels), the same for both models.

    Parameters
    ----------
    old, new : Score, optional
        None where too little was held out, or the new model was not checked.
    held_out_px : int
    replay : Replay, optional
        How they did on images that the old model came with; a new model that has forgotten them is refused.
    recalled : bool
        Whether it is known that the new model has not forgotten what it must not; else it is not accepted.

    References
    ----------
    Efron, Tibshirani (1993), An Introduction to the Bootstrap, https://doi.org/10.1201/9780429246593.
    """
    forgotten = "" if replay is None else f" {str(replay)[0].upper()}{str(replay)[1:]}."
    if held_out_px and new is None:
        return Verdict(
            None,
            "The fine-tuning was cancelled before the new model could be checked on held-out corrections: "
            f"look at its prediction before you use it.{forgotten}",
        )
    if old is None or new is None:
        return Verdict(
            None,
            "Too little is reviewed to hold some of it out, so nobody can say whether the new model is better: "
            f"look at its prediction before you use it, or review more.{forgotten}",
        )
    counted = f"{new.objects:,} objects" if new.f1 is not None else f"{new.pixels:,} pixels"
    compared = f"on {counted} of the reviewed region that were not trained on: {new}; before: {old}."
    if not surely_better(old.tally, new.tally):
        close = "Nobody can tell yet whether the new model is better" if new.value > old.value else None
        return Verdict(
            False, f"{close or 'The new model is not better'} {compared}{forgotten} The old one stays in use."
        )
    if replay is not None and replay.lost > MAX_FORGOTTEN and not replay.forgetting:
        return Verdict(
            False,
            f"The new model is better {compared} But it has forgotten too much {replay}. The old one stays in use; "
            "use the new one if you need it for images like these only.",
        )
    if not recalled:
        return Verdict(
            None,
            f"The new model is better {compared} But the fine-tuning was cancelled before anybody could tell whether "
            "it has forgotten the kinds of image that the old one came with: look at its prediction before you use it.",
        )
    return Verdict(True, f"The new model is better {compared}{forgotten}")


def surely_better(old: Tally, new: Tally, sure: float = SURE) -> bool:
    """Whether the new one is higher, also in a share `sure` of redraws that are the same for both."""
    return new.value > old.value and float((_redrawn(new) > _redrawn(old)).mean()) >= sure


def _redrawn(tally: Tally) -> npt.NDArray[np.float64]:
    """Scores (draw,) of redrawn units; of two tallies of the same truth the same units are drawn each time."""
    units = _grouped(tally.units)
    count = len(units)
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    return values(np.tensordot(draws.astype(np.float64), units, axes=1))


def _grouped(units: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Join neighbours, so that there are not too many to draw from."""
    size = -(-len(units) // MOST_UNITS)
    grouped: npt.NDArray[np.float64] = np.add.reduceat(units, np.arange(0, len(units), size), axis=0)
    return grouped
