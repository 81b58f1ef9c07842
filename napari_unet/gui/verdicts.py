"""What a fine-tuning came to, in few words."""

from __future__ import annotations

from dataclasses import dataclass

from napari_unet.jobs.finetuned import Measured
from napari_unet.jobs.requests import FinetuneResult
from napari_unet.training.config import MAX_FORGOTTEN
from napari_unet.weights.spec import Meaning

MEASURES: dict[Meaning, str] = {
    "instances": "How well objects are found: F1, averaged over overlaps from 0.5 to 0.8; 1 is perfect",
    "semantic": "How well the classes are found: Dice; 1 is perfect",
}
_TITLES = {
    True: "The new model is better",
    False: "The new model is not better",
    None: "A new model, not judged",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What the panel says of a new model.

    Attributes
    ----------
    title : str
    rows : tuple of (str, str, str)
        Which model, its score, and between what it lies.
    basis : str
        What the scores were measured on.
    text : str
        What follows from it.
    seen : str
        What both models find in the region that is on the screen.
    """

    title: str
    rows: tuple[tuple[str, str, str], ...]
    basis: str
    text: str
    seen: str


def told(result: FinetuneResult, meaning: Meaning, *, trained: bool = True) -> Told:
    """Say what a fine-tuning came to.

    Parameters
    ----------
    result : FinetuneResult
    meaning : "instances" | "semantic"
        Of the model's output.
    trained : bool
        Whether the old model knew anything.
    """
    rows = [_row("Before", result.old), _row("After", result.new)]
    judged = all(rows)
    return Told(
        title=_title(result),
        rows=tuple(row for row in rows if row is not None) if judged else (),
        basis=_basis(result, meaning, trained=trained) if judged else "",
        text=_consequence(result) if judged else result.sentence,
        seen=_seen(result, meaning),
    )


def counted(count: int, word: str) -> str:
    """Say a number of things.

    >>> counted(1, "object"), counted(34000, "pixel")
    ('1 object', '34,000 pixels')
    """
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _row(name: str, measured: Measured | None) -> tuple[str, str, str] | None:
    if measured is None:
        return None
    return (name, f"{measured.value:.2f}", f"{measured.low:.2f} to {measured.high:.2f}")


def _basis(result: FinetuneResult, meaning: Meaning, *, trained: bool) -> str:
    assert result.new is not None
    parts = [counted(result.new.pixels, "pixel")]
    if meaning == "instances":
        parts.insert(0, counted(result.new.objects, "object"))
    held_out = f"Measured on {', '.join(parts)} that were held out."
    if result.replay is None:
        return f"{held_out} Whether it got worse on other images was not checked." if trained else held_out
    old, new = result.replay
    return f"{held_out} On images that the old model came with: {old:.2f} before, {new:.2f} after."


def _title(result: FinetuneResult) -> str:
    if result.learnt_from == "image":
        return "An adapted model, not judged"
    if result.accepted is None and _higher(result):
        return "Better here, not checked elsewhere"
    if result.accepted is not False or not _higher(result):
        return _TITLES[result.accepted]
    return "Better here, but it has forgotten" if _forgotten(result) else "Not surely better"


def _forgotten(result: FinetuneResult) -> bool:
    return result.replay is not None and result.replay[0] - result.replay[1] > MAX_FORGOTTEN


def _consequence(result: FinetuneResult) -> str:
    if result.accepted:
        return "Higher by more than chance explains."
    if result.accepted is None:
        return (
            "Higher by more than chance explains, but it was cancelled before anybody could tell what it has "
            "forgotten. The old model stays in use, unless you take the new one: look at its prediction first."
        )
    if _higher(result) and _forgotten(result):
        return (
            "It has lost too much on other images, so the old model stays in use. Take the new one if you need it for "
            "images like these only."
        )
    if _higher(result):
        return (
            "It is higher, but that may be chance. The old model stays in use, unless you take the new one; "
            "review more to be sure."
        )
    return "The old model stays in use."


def _higher(result: FinetuneResult) -> bool:
    return result.old is not None and result.new is not None and result.new.value > result.old.value


def _seen(result: FinetuneResult, meaning: Meaning) -> str:
    if result.seen is None or meaning != "instances":
        return ""
    after = counted(result.seen.after, "object")
    return f"{after} in view" if result.seen.before is None else f"{result.seen.before:,} → {after} in view"
