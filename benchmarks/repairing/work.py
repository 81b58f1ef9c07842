"""The images, and the repair of one of them from beginning to end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

import napari_unet as nu
from repairing import replaying
from repairing.chains import removed_together
from repairing.hand import Cost, Hand
from repairing.matching import Error, Labels, Overlaps, errors_of
from repairing.ours import Seen, everything
from repairing.search import Floats, Way, nearest, placed, shifted, solve, task_of

COUNTS = {"fluo": 12, "colour": 6, "bright": 2}
ROUNDS = 3
EDITS = {*replaying.OWN, *replaying.OURS}
# Smaller true objects are left out: in one image many are marked by the same disk of 21 pixels.
SPECK_PX = 30
LEFT = "left: "
# What an outline costs with a key, about.
ERROR_S = 0.8


@dataclass(frozen=True, slots=True)
class Sample:
    """An image that was segmented.

    Attributes
    ----------
    truth, labels : (Y, X) integer
    probabilities : (class, Y, X) float32
    """

    kind: str
    name: str
    truth: Labels
    labels: Labels
    probabilities: Floats


def chosen(folder: Path) -> list[tuple[str, str]]:
    """Return the images: of each kind as many as `COUNTS` says, evenly over the names."""
    found = []
    for kind, count in COUNTS.items():
        names = sorted(path.stem for path in (folder / "test" / kind / "labels").glob("*.tif"))
        places = np.linspace(0, len(names) - 1, 2 * count + 1).round().astype(int)[1::2]
        found += [(kind, names[place]) for place in places]
    return found


def segmented(folder: Path, kind: str, name: str) -> Sample:
    """Segment an image with the bundled model."""
    image = tifffile.imread(folder / "test" / kind / "images" / f"{name}.tif")
    truth = tifffile.imread(folder / "test" / kind / "labels" / f"{name}.tif")
    model, axes = nu.load_model("nuclei"), "YXC" if image.ndim == 3 else "YX"
    labels = np.asarray(nu.segment(model, image, axes=axes))
    probabilities = np.asarray(nu.predict(model, image, axes=axes), np.float32)
    return Sample(kind, name, *without_specks(truth.astype(np.int32), labels.astype(np.int32)), probabilities)


def without_specks(truth: Labels, labels: Labels) -> tuple[Labels, Labels]:
    """Leave out true objects that are too small to have an outline, and what was found mostly there."""
    sizes = np.bincount(truth.ravel())
    specks = (sizes > 0) & (sizes < SPECK_PX)
    specks[0] = False
    on = np.bincount(labels[specks[truth]], minlength=int(labels.max()) + 1)
    gone = on >= 0.5 * np.maximum(np.bincount(labels.ravel()), 1)
    gone[0] = False
    return np.where(specks[truth], 0, truth), np.where(gone[labels], 0, labels)


def repair(sample: Sample, way: Way, least: float, sheet: replaying.Paper | None = None) -> list[dict[str, Any]]:
    """Repair an image, error by error, always the nearest one.

    What was planned in a window is done on the whole image. If that leads to something else, the next round sees it.

    Parameters
    ----------
    sheet : optional
        Where it is done; by default in one of napari's layers that nobody sees.
    """
    middle = sample.labels.shape[0] / 2, sample.labels.shape[1] / 2
    hand = Hand(middle, int(sample.labels.max()) + 1, quick=way == "ours")
    begun = _everywhere(sample, hand, least) if way == "ours" and sheet is None else None
    found = _one_by_one(sample, way, least, sheet or _fresh(sample), hand)
    if begun is None:
        return found
    other = [_row(sample, way, "all outlines", 0, begun), *_one_by_one(sample, way, least, _fresh(sample), begun)]
    return min(found, other, key=_worth)


def _worth(rows: list[dict[str, Any]]) -> tuple[int, float]:
    """Return by what ways of repairing an image are compared: errors that are left, then what it cost."""
    return sum(row["error"].startswith(LEFT) for row in rows), sum(row["seconds"] for row in rows)


def _fresh(sample: Sample) -> replaying.Sheet:
    return replaying.Sheet(sample.labels, Seen(sample.probabilities))


def _one_by_one(sample: Sample, way: Way, least: float, sheet: replaying.Paper, hand: Hand) -> list[dict[str, Any]]:
    """Repair error by error, after what the hand has done already."""
    labels = sheet.do(hand.actions)
    rows: list[dict[str, Any]] = []
    for _ in range(ROUNDS):
        errors = errors_of(Overlaps.of(sample.truth, labels), least)
        while errors:
            error = nearest(errors, sample.truth, labels, hand.at)
            begun = replace(hand, actions=(), cost=Cost())
            done, ended = _repaired(sample, labels, begun, error, errors, way, least)
            errors = [one for one in errors if one not in ended]
            if done is not None:
                hand, labels = done, sheet.do(done.actions)
                rows.append(_row(sample, way, error.kind, len(ended), hand))
    left = errors_of(Overlaps.of(sample.truth, labels), least)
    rows += [_row(sample, way, f"{LEFT}{error.kind}", 1, replace(hand, actions=(), cost=Cost())) for error in left]
    return rows


def _everywhere(sample: Sample, hand: Hand, least: float) -> Hand | None:
    """Change all outlines at once, if that mends so much that it pays."""
    now = len(errors_of(Overlaps.of(sample.truth, sample.labels), least))
    best: tuple[float, Hand] | None = None
    for state in everything(sample.labels, hand):
        saved = ERROR_S * (now - len(errors_of(Overlaps.of(sample.truth, state.labels), least)))
        gain = saved - state.hand.cost.seconds
        if gain > 0 and (best is None or gain > best[0]):
            best = gain, state.hand
    return None if best is None else best[1]


def _repaired(
    sample: Sample, labels: Labels, hand: Hand, error: Error, errors: list[Error], way: Way, least: float
) -> tuple[Hand | None, list[Error]]:
    """Repair an error, or several at once; return the hand (None if that failed) and the errors that were looked at."""
    if error.kind == "false":
        false = {p for one in errors if one.kind == "false" for p in one.found}
        together = removed_together(labels, hand, next(iter(error.found)), false, way)
        if together is not None:
            state, ids = together
            return state.hand, [one for one in errors if one.kind == "false" and one.found <= ids]
    task, corner = task_of(sample.truth, labels, sample.probabilities, error, least)
    done = solve(task, placed(hand, (-corner[0], -corner[1])), way)
    if done is None:
        return None, [error]
    actions = tuple(shifted(action, corner) for action in done.hand.actions)
    return replace(placed(done.hand, corner), actions=actions), [error]


def _row(sample: Sample, way: Way, kind: str, errors: int, hand: Hand) -> dict[str, Any]:
    cost = hand.cost
    return {
        "image": sample.name,
        "image_kind": sample.kind,
        "way": way,
        "error": kind,
        "errors": errors,
        "clicks": cost.clicks,
        "keys": cost.keys,
        "wheel": cost.wheel,
        "travel_px": round(cost.travel_px, 1),
        "travel_s": cost.travel_s,
        "seconds": cost.seconds,
        "actions": [action[0] for action in hand.actions if action[0] in EDITS],
    }
