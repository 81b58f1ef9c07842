"""What the repairs cost, in a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Rows = Sequence[dict[str, Any]]

DRAWS = 2000
_KINDS = ("false", "missing", "outline", "in pieces", "merged", "tangled", "all outlines")
_NAMES = {"fluo": "fluorescence", "colour": "stained tissue", "bright": "brightfield"}
_HEAD = (
    "| | errors | clicks: ours, napari | keys and wheel | travel, s "
    "| ratio of clicks | of travel | of all, in seconds |\n"
    "|---|---|---|---|---|---|---|---|"
)


def table(rows: Rows) -> str:
    """Return a table in Markdown: sums by kind of error and of image, ratios, and how sure those of all are."""
    left = [row for row in rows if row["error"].startswith("left")]
    done = [row for row in rows if row not in left]
    lines = [_HEAD, *(_line(kind, [row for row in done if row["error"] == kind]) for kind in _KINDS)]
    lines += [_line(_NAMES[kind], [row for row in done if row["image_kind"] == kind]) for kind in _NAMES]
    lines += [_line("**all**", done), "", *_spread(done), f"Left as they were: {_count(left)}."]
    return "\n".join(lines)


def _line(name: str, rows: Rows) -> str:
    ours, napari = _of(rows, "ours"), _of(rows, "napari")
    pressed = [_sum(some, "keys") + _sum(some, "wheel") for some in (ours, napari)]
    cells = [
        name,
        f"{_sum(ours, 'errors'):.0f}, {_sum(napari, 'errors'):.0f}",
        f"{_sum(ours, 'clicks'):.0f}, {_sum(napari, 'clicks'):.0f}",
        f"{pressed[0]:.0f}, {pressed[1]:.0f}",
        f"{_sum(ours, 'travel_s'):.0f}, {_sum(napari, 'travel_s'):.0f}",
        *(f"{_ratio(ours, napari, what):.2f}" for what in ("clicks", "travel_s", "seconds")),
    ]
    return "| " + " | ".join(cells) + " |"


def _spread(rows: Rows) -> Iterator[str]:
    """Return quartiles over images, and intervals from drawing images again and again."""
    images = sorted({row["image"] for row in _of(rows, "napari")} & {row["image"] for row in _of(rows, "ours")})
    if not images:
        return
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(images), (DRAWS, len(images)))
    for what in ("clicks", "travel_s", "seconds"):
        ours, napari = (np.array([_sum(_of(rows, way, image), what) for image in images]) for way in ("ours", "napari"))
        drawn = ours[draws].sum(axis=1) / napari[draws].sum(axis=1)
        low, high = np.percentile(drawn, (2.5, 97.5))
        quartiles = np.percentile(ours[napari > 0] / napari[napari > 0], (25, 50, 75))
        yield (
            f"{what}: {ours.sum() / napari.sum():.2f} (95 % of draws {low:.2f} to {high:.2f}); "
            "quartiles over images " + ", ".join(f"{q:.2f}" for q in quartiles)
        )


def _count(rows: Rows) -> str:
    return ", ".join(f"{len(_of(rows, way))} ({way})" for way in ("ours", "napari"))


def _of(rows: Rows, way: str, image: str | None = None) -> Rows:
    return [row for row in rows if row["way"] == way and image in (None, row["image"])]


def _sum(rows: Rows, what: str) -> float:
    return float(sum(row[what] for row in rows))


def _ratio(ours: Rows, napari: Rows, what: str) -> float:
    whole = _sum(napari, what)
    return _sum(ours, what) / whole if whole else float("nan")
