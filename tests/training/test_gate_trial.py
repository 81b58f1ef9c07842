"""The trial of the gate: what is drawn, how its errors are counted, and that it goes on where it was."""

import json
import sys
from collections import Counter

import pytest
from annotated import write_squares

import napari_unet as nu

command = pytest.importorskip("benchmarks.annotation.gate")
drawing = pytest.importorskip("benchmarks.annotation.drawing")
report = pytest.importorskip("benchmarks.annotation.gate_report")

BASES = ("usual", "weak")


def test_runs_are_drawn_by_their_number_in_the_shares_that_are_wanted():
    runs = [drawing.draw(number, "train", BASES) for number in range(60)]
    assert runs[50] == drawing.draw(50, "train", BASES)
    assert Counter(run.kind for run in runs) == {"colour": 30, "bright": 9, "fluo": 21}
    labels = Counter(run.labels for run in runs)
    assert labels.pop("good") == 36
    assert labels == dict.fromkeys(("merged", "resized", "shifted", "missing", "swapped", "otsu"), 4)
    assert Counter(run.base for run in runs) == {"usual": 42, "weak": 18}
    assert Counter(run.seconds for run in runs) == {20: 20, 40: 20, 80: 20}
    assert {run.k for run in runs if run.kind == "colour"} == {1, 2, 3, 5, 8}
    assert max(run.k for run in runs if run.kind == "bright") == 5
    assert len({run.name for run in runs}) == len({run.seed for run in runs}) == 60


def test_what_is_drawn_does_not_hang_together():
    runs = [drawing.draw(number, "train", BASES) for number in range(600)]
    pairs = Counter((run.kind, run.labels == "good") for run in runs)
    assert pairs["colour", True] == pytest.approx(180, abs=30)
    assert pairs["fluo", False] == pytest.approx(84, abs=25)


def test_other_budgets_and_models_change_nothing_else_of_a_run():
    run, other = drawing.draw(7, "train", BASES), drawing.draw(7, "train", ("a", "b"), [1.0])
    for name in ("kind", "k", "amount", "labels", "seed"):
        assert getattr(run, name) == getattr(other, name)


def run_of(number, accepted, gain, labels="good", on_corrections=None, forgotten=0.0):
    """What is kept of a run."""
    score = {"value": 0.5, "objects": 12}
    return {
        "number": number,
        "report": "test",
        "base": "usual",
        "kind": "colour",
        "k": 3,
        "amount": "whole",
        "seconds": 20.0,
        "labels": labels,
        "accepted": accepted,
        "given": {"ap50": 1.0},
        "replay": None,
        "accepted_on_corrections": accepted if on_corrections is None else on_corrections,
        "held_out": {"old": score, "new": score, "px": 5000},
        "old": {"ap50": 0.5},
        "new": {"ap50": 0.5 + gain},
        "old_fluorescence": {"ap50": 0.9},
        "new_fluorescence": {"ap50": 0.9 - forgotten},
    }


RUNS = [
    run_of(0, True, 0.2, forgotten=0.05),
    run_of(1, True, -0.1, labels="merged"),
    run_of(2, False, 0.1),
    run_of(3, False, 0.3, on_corrections=True),
    run_of(4, None, 0.1),
    run_of(5, True, 0.02),  # a tie, not more than that
    run_of(6, False, -0.02),
    run_of(7, None, -0.3, labels="otsu"),
]


def test_errors_of_the_gate_are_counted():
    found = report.summary(RUNS)
    assert found["counts"] == {
        "accepted": {"better": 1, "tie": 1, "worse": 1},
        "withheld": {"better": 2, "tie": 1, "worse": 0},
        "undecided": {"better": 1, "tie": 0, "worse": 1},
    }
    assert found["worse_proposed"]["of_runs"]["part"] == 1
    assert found["worse_proposed"]["of_runs"]["whole"] == 8
    assert found["worse_proposed"]["of_worse"]["whole"] == 2
    assert (found["better_withheld"]["of_better"]["part"], found["better_withheld"]["of_better"]["whole"]) == (2, 4)
    assert found["better_withheld"]["only_for_forgetting"] == 1
    assert found["proposed_that_forgot"]["part"] == 1
    good = report.summary(report.group(RUNS, "good"))
    assert good["worse_proposed"]["of_runs"]["part"] == 0


def test_no_error_in_few_runs_leaves_much_open():
    interval = report.share(0, 10)
    assert interval["low"] == 0
    assert interval["high"] == pytest.approx(1 - 0.025 ** (1 / 10), abs=1e-4)


def test_the_report_names_verdicts_rates_and_each_run(tmp_path):
    text = report.write(RUNS, tmp_path)
    assert text == (tmp_path / "results.md").read_text()
    assert "| withheld | 2 | 1 | 0 | 2 | 1 | 0 | 0 | 0 | 0 |" in text
    assert "A worse model was proposed 1 times (0 on good labels, 1 on bad ones)." in text
    assert text.count("| colour |") == len(RUNS)
    kept = json.loads((tmp_path / "results.json").read_text())
    assert len(kept["runs"]) == 8
    assert kept["summary"]["bad"]["runs"] == 2


def test_images_are_taken_evenly():
    assert command.evenly(list(range(9)), 3) == [0, 4, 8]
    assert command.evenly([1, 2], 3) == [1, 2]
    assert command.evenly([1, 2, 3], 0) == [1, 2, 3]


@pytest.fixture
def folder(tmp_path):
    return write_squares(tmp_path, ("fluo", "bright"))


def test_it_tries_the_gate_and_goes_on_where_it_was(folder, tmp_path, monkeypatch, capsys):
    base = nu.new_model("unet", width=4, depth=1).save(tmp_path / "base.safetensors")
    arguments = f"--data {folder} --base {base} --weak {base} --report test --runs 2 --seconds 0.05"
    monkeypatch.setattr(drawing, "KINDS", ("bright",))
    monkeypatch.setattr(sys, "argv", ["gate", *arguments.split(), "--out", str(tmp_path / "out")])
    command.main()
    first = capsys.readouterr().out
    files = sorted((tmp_path / "out" / "runs").iterdir())
    assert len(files) == 2
    kept = json.loads(files[0].read_text())
    assert {"accepted", "held_out", "given", "old", "new", "old_fluorescence", "new_fluorescence"} <= kept.keys()
    assert len(kept["new"]["each_ap50"]) == 1
    assert kept["old"] == json.loads(files[1].read_text())["old"]
    assert len(list((tmp_path / "out" / "old").iterdir())) == 2  # the old model is measured once on each kind
    monkeypatch.setattr(command.Trial, "measure", lambda *_: pytest.fail("measured again"))
    command.main()
    again = capsys.readouterr().out
    assert first.endswith(again)
