"""What the gate said beside what was true, over all runs that are kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

# Worse and better mean by more than this; the rest are ties.
TIE_AP50 = 0.02
FORGOTTEN_AP50 = 0.03
OUTCOMES = ("better", "tie", "worse")
VERDICTS = {True: "accepted", False: "withheld", None: "undecided"}
GROUPS = ("all", "good", "bad")
Runs = Sequence[dict[str, Any]]


def outcome(run: dict[str, Any]) -> str:
    """Whether the new model is truly better on that kind of image."""
    change = gain(run)
    return "tie" if abs(change) <= TIE_AP50 else "better" if change > 0 else "worse"


def gain(run: dict[str, Any]) -> float:
    """AP50 of the new model minus that of the old one; no more digits than are kept."""
    return round(run["new"]["ap50"] - run["old"]["ap50"], 4)


def forgot(run: dict[str, Any]) -> bool:
    """Whether the new model lost too much in fluorescence, though it was to learn something else."""
    known = "old_fluorescence" in run
    return known and run["old_fluorescence"]["ap50"] - run["new_fluorescence"]["ap50"] > FORGOTTEN_AP50


def group(runs: Runs, labels: str) -> Runs:
    """All runs, or those with good or bad labels."""
    return [r for r in runs if labels == "all" or (r["labels"] == "good") == (labels == "good")]


def summary(runs: Runs) -> dict[str, Any]:
    """Count verdicts and outcomes, and how often the gate errs."""
    counts = Counter((VERDICTS[r["accepted"]], outcome(r)) for r in runs)
    totals = Counter(outcome(r) for r in runs)
    wrong, missed = counts["accepted", "worse"], counts["withheld", "better"]
    proposed = [r for r in runs if r["accepted"]]
    only_forgetting = [
        r for r in runs if r["accepted"] is False and r["accepted_on_corrections"] and outcome(r) == "better"
    ]
    return {
        "runs": len(runs),
        "counts": {v: {o: counts[v, o] for o in OUTCOMES} for v in VERDICTS.values()},
        "worse_proposed": {"of_runs": share(wrong, len(runs)), "of_worse": share(wrong, totals["worse"])},
        "better_withheld": {
            "of_runs": share(missed, len(runs)),
            "of_better": share(missed, totals["better"]),
            "only_for_forgetting": len(only_forgetting),
        },
        "better_undecided": share(counts["undecided", "better"], totals["better"]),
        "worse_undecided": share(counts["undecided", "worse"], totals["worse"]),
        "proposed_that_forgot": share(sum(forgot(r) for r in proposed), len(proposed)),
    }


def share(part: int, whole: int) -> dict[str, Any]:
    """Return a share with its 95 % interval.

    References
    ----------
    Clopper, Pearson (1934), The Use of Confidence or Fiducial Limits, https://doi.org/10.1093/biomet/26.4.404.
    """
    if not whole:
        return {"part": 0, "whole": 0}
    interval = binomtest(part, whole).proportion_ci()
    return {"part": part, "whole": whole, "low": round(float(interval.low), 4), "high": round(float(interval.high), 4)}


def said(found: dict[str, Any]) -> str:
    """Write a share for people."""
    if not found["whole"]:
        return "none of 0"
    percent, low, high = (round(100 * value) for value in (found["part"] / found["whole"], found["low"], found["high"]))
    return f"{found['part']} of {found['whole']} ({percent} %; 95 % interval {low} to {high} %)"


def write(results: Iterable[dict[str, Any]], folder: Path) -> str:
    """Write results.json and results.md; return the latter."""
    runs = sorted(results, key=lambda r: r["number"])
    summaries = {name: summary(group(runs, name)) for name in GROUPS}
    compact = [{k: v for k, v in r.items() if k != "sentence"} for r in runs]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps({"summary": summaries, "runs": compact}, indent=1))
    text = "\n\n".join([paragraph(runs), table(summaries), rates(summaries), damages(runs), each(runs)]) + "\n"
    (folder / "results.md").write_text(text)
    return text


def paragraph(runs: Runs) -> str:
    """Say it in one paragraph, as it stands in the documentation."""
    every, good, bad = (summary(group(runs, name)) for name in GROUPS)
    totals = Counter(outcome(r) for r in runs)
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(r["kind"] for r in runs).most_common())
    budgets = ", ".join(f"{s:g}" for s in sorted({r["seconds"] for r in runs}))
    splits = " and ".join(sorted({r["report"] for r in runs}))
    wrong, wrong_good, wrong_bad = (s["worse_proposed"]["of_runs"]["part"] for s in (every, good, bad))
    missed = every["better_withheld"]
    return (
        f"In {every['runs']} random runs of fine-tuning ({kinds}; {budgets} s of CPU time), {bad['runs']} of them on "
        f"deliberately bad labels, the new model was better {totals['better']} times, worse {totals['worse']} times "
        f"and as good {totals['tie']} times, better and worse meaning by more than {TIE_AP50} AP50 on the {splits} "
        f"images of that kind. A worse model was proposed {wrong} times ({wrong_good} on good labels, {wrong_bad} on "
        f"bad ones). A better one was withheld in {said(missed['of_better'])} cases in which there was one, in "
        f"{missed['only_for_forgetting']} of them only because it had forgotten what the old one knew; in "
        f"{every['better_undecided']['part']} others there were too few labels to judge, and the user decides. Of the "
        f"models proposed, {every['proposed_that_forgot']['part']} had lost more than {FORGOTTEN_AP50} AP50 in "
        "fluorescence after learning something else. What is held out is spoiled with the rest, as it is when a user "
        "errs: the gate can then know only what the user said."
    )


def table(summaries: dict[str, Any]) -> str:
    """Verdicts and outcomes, for all, good and bad labels."""
    heads = [f"{o}, {g} labels" for g in GROUPS for o in OUTCOMES]
    lines = [f"| | {' | '.join(heads)} |", "|" + "---|" * (len(heads) + 1)]
    for verdict in VERDICTS.values():
        counts = [str(summaries[g]["counts"][verdict][o]) for g in GROUPS for o in OUTCOMES]
        lines.append(f"| {verdict} | {' | '.join(counts)} |")
    return "\n".join(lines)


def rates(summaries: dict[str, Any]) -> str:
    """How often the gate errs."""
    rows = {
        "worse proposed, of all runs (aim: never)": ("worse_proposed", "of_runs"),
        "worse proposed, of the worse": ("worse_proposed", "of_worse"),
        "better withheld, of all runs (aim: under 10 %)": ("better_withheld", "of_runs"),
        "better withheld, of the better": ("better_withheld", "of_better"),
        "better, but too few labels to judge": ("better_undecided",),
        "worse, but too few labels to judge": ("worse_undecided",),
        "forgot fluorescence, of the proposed": ("proposed_that_forgot",),
    }
    lines = ["| | all labels | good labels | bad labels |", "|---|---|---|---|"]
    for name, keys in rows.items():
        cells = []
        for labels in GROUPS:
            found = summaries[labels]
            for key in keys:
                found = found[key]
            cells.append(said(found))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def damages(runs: Runs) -> str:
    """Tell the ways to spoil labels apart."""
    lines = ["| labels | runs | their AP50 | better, tie, worse | accepted, withheld, undecided | worse proposed |"]
    lines.append("|" + "---|" * 6)
    for labels in sorted({r["labels"] for r in runs}, key=lambda name: (name != "good", name)):
        members = [r for r in runs if r["labels"] == labels]
        given = sum(r["given"]["ap50"] for r in members) / len(members)
        found = summary(members)
        outcomes = [sum(found["counts"][v][o] for v in VERDICTS.values()) for o in OUTCOMES]
        verdicts = [sum(found["counts"][v].values()) for v in VERDICTS.values()]
        wrong = found["worse_proposed"]["of_runs"]["part"]
        lines.append(
            f"| {labels} | {len(members)} | {given:.2f} | {', '.join(map(str, outcomes))} "
            f"| {', '.join(map(str, verdicts))} | {wrong} |"
        )
    return "\n".join(lines)


def each(runs: Runs) -> str:
    """All runs, one a line."""
    heads = (
        "run | measured on | from | kind | images | corrected | CPU s | labels | their AP50 | held-out objects "
        "| held-out score | replay | verdict | AP50 | fluorescence AP50 | truth"
    )
    lines = [f"| {heads} |", "|" + "---|" * (heads.count("|") + 1)]
    for r in runs:
        held_out, replay = r["held_out"], r["replay"]
        objects = held_out["new"]["objects"] if held_out["new"] else ""
        cells = [
            *(r[name] for name in ("number", "report", "base", "kind", "k", "amount", "seconds", "labels")),
            f"{r['given']['ap50']:.2f}",
            objects,
            arrow(held_out["old"]["value"], held_out["new"]["value"]) if held_out["new"] and held_out["old"] else "",
            arrow(replay["old"], replay["new"]) if replay else "",
            VERDICTS[r["accepted"]],
            arrow(r["old"]["ap50"], r["new"]["ap50"]),
            arrow(r["old_fluorescence"]["ap50"], r["new_fluorescence"]["ap50"]) if "old_fluorescence" in r else "",
            outcome(r),
        ]
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines)


def arrow(old: float, new: float) -> str:
    """Before and after."""
    return f"{old:.3f} → {new:.3f}"
