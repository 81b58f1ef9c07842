"""Tables and plots of what is kept."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.annotation.cells import ARMS

SCORES = ("ap50", "map", "dice", "rand_error")
TITLES = {"ap50": "AP at IoU 0.5", "dice": "Dice", "rand_error": "adapted Rand error"}
ROW = ("report", "kind", "k", "amount", "seconds", "arm")
COLOURS = dict(
    zip(ARMS, ("0.5", "tab:brown", "tab:green", "tab:blue", "tab:red", "tab:orange", "tab:purple"), strict=True)
)


def rows(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over the seeds of each row of the table."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        groups[tuple(result[name] for name in ROW)].append(result)
    return [{**dict(zip(ROW, key, strict=True)), **_summary(members)} for key, members in sorted(groups.items())]


def _summary(members: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"seeds": len(members)}
    for name in SCORES:
        values = [m["scores"][name] for m in members if name in m["scores"]]
        if values:
            found[name], found[f"{name}_sd"] = float(np.mean(values)), float(np.std(values))
    remembered = [m["fluorescence"]["ap50"] for m in members if "fluorescence" in m]
    if remembered:
        found["fluorescence_ap50"] = float(np.mean(remembered))
    return found


def markdown(table: list[dict[str, Any]]) -> str:
    """Write the rows as a table."""
    lines = [
        (
            "| measured on | kind | images | corrected | CPU s | arm | seeds "
            "| AP50 | mAP | Dice | Rand error | fluorescence AP50 |"
        ),
        "|" + "---|" * 12,
    ]
    for row in table:
        scores = " | ".join(_cell(row, name) for name in SCORES)
        known = " | ".join(str(row[name]) for name in ROW)
        remembered = f"{row['fluorescence_ap50']:.3f}" if "fluorescence_ap50" in row else ""
        lines.append(f"| {known} | {row['seeds']} | {scores} | {remembered} |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:.3f} ± {row[f'{name}_sd']:.3f}" if name in row else ""


def write(results: Iterable[dict[str, Any]], folder: Path) -> str:
    """Write results.json, results.md and one plot for each kind; return the table."""
    table = rows(results)
    (folder / "results.json").write_text(json.dumps(table, indent=1))
    (folder / "results.md").write_text(markdown(table))
    for kind in sorted({row["kind"] for row in table}):
        _plot([row for row in table if row["kind"] == kind], kind, folder / f"{kind}.svg")
    return markdown(table)


def _plot(table: list[dict[str, Any]], kind: str, path: Path) -> None:
    """Draw the main scores of all rows, with their spread over the seeds, below each other."""
    from matplotlib.figure import Figure

    names = ("dice", "rand_error") if kind == "membrane" else ("ap50",)
    figure = Figure(figsize=(4 + 3 * len(names), 0.8 + 0.3 * len(table)), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for name, axes in zip(names, panels, strict=True):
        for place, row in enumerate(table):
            axes.errorbar(
                row[name], place, xerr=row[f"{name}_sd"], fmt="o", capsize=3, color=COLOURS.get(row["arm"], "black")
            )
        axes.set(xlabel=TITLES[name], yticks=range(len(table)), yticklabels=[_label(row) for row in table])
        axes.grid(axis="x", alpha=0.3)
    panels[0].invert_yaxis()
    figure.savefig(path, metadata={"Date": None})


def _label(row: dict[str, Any]) -> str:
    """Say what a row is about."""
    if not row["k"]:
        return str(row["arm"])
    unit = "section" if row["kind"] == "membrane" else "image"
    images = f"{row['k']} {unit}{'s' if row['k'] > 1 else ''}"
    amount = "" if row["amount"] == "whole" else f", {row['amount']}"
    budget = f", {row['seconds']:.0f} s" if row["seconds"] else ""
    return f"{row['arm']}: {images}{amount}{budget}"
