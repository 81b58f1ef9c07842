"""The scripted annotator of the benchmark: what it corrects, how it scores, and that it goes on where it was."""

import sys

import numpy as np
import pytest
from annotated import squares, write_squares

import napari_unet as nu

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
command = pytest.importorskip("benchmarks.annotation.__main__")
annotator = pytest.importorskip("benchmarks.annotation.annotator")
cells = pytest.importorskip("benchmarks.annotation.cells")
images = pytest.importorskip("benchmarks.annotation.images")
scoring = pytest.importorskip("benchmarks.annotation.scoring")


@pytest.fixture
def folder(tmp_path):
    return write_squares(tmp_path, ("bright",))


@pytest.mark.parametrize(
    ("amount", "least", "most"), [("whole", 1, 1), ("window-32", 0.19, 0.2), ("strokes", 0.1, 0.7)]
)
def test_as_much_is_reviewed_as_asked_for(amount, least, most):
    pixels, labels = squares(0)
    region = annotator.reviewed_region(images.Sample("a", pixels, labels), amount, np.random.default_rng(0))
    assert least <= region.mean() <= most


def test_fewer_corrections_are_the_first_of_more():
    samples = [images.Sample(str(i), *squares(i)) for i in range(5)]
    one, three = (annotator.correct(samples, k, "window-32", seed=4) for k in (1, 3))
    assert one[0].sample is three[0].sample
    assert np.array_equal(one[0].reviewed, three[0].reviewed)
    others = [annotator.correct(samples, 1, "whole", seed)[0].sample.name for seed in range(8)]
    assert len(set(others)) > 1


def test_choosing_never_sees_the_test_images_nor_corrects_what_it_measures_on(folder):
    correctable, measured = images.divided(folder, "bright", "train")
    assert {s.name for s in correctable} | {s.name for s in measured} == {"0", "1", "2"}
    assert not {s.name for s in correctable} & {s.name for s in measured}
    assert [s.name for s in images.divided(folder, "bright", "test")[1]] == ["3"]


def test_scores_of_known_labels():
    truth = squares(0)[1]
    assert scoring.score_objects(truth, truth) == {"ap50": 1, "map": 1, "dice": 1}
    merged = np.where(truth == 2, 1, truth)  # one hit less, one miss more: the merged one is half of either
    assert scoring.score_objects(merged, truth)["ap50"] == pytest.approx(14 / 17)
    walls = np.zeros((40, 40), np.uint32)
    walls[:, 20] = 1
    assert scoring.score_membranes(walls, walls) == {"dice": 1, "rand_error": pytest.approx(0)}
    assert scoring.score_membranes(0 * walls, walls)["rand_error"] > 0.3
    thick = np.zeros((40, 40), np.uint32)
    thick[:, 17:24] = 1
    found = scoring.score_membranes(thick, walls)  # that it is too thick shows in Dice, for the cells are the same
    assert found["dice"] == pytest.approx(0.25)
    assert found["rand_error"] == pytest.approx(0)
    assert scoring.score_membranes(np.ones_like(walls), walls)["rand_error"] > 0.3


def test_it_fills_the_table_and_goes_on_where_it_was(folder, tmp_path, monkeypatch, capsys):
    base = nu.new_model("unet", width=4, depth=1).save(tmp_path / "base.safetensors")
    arguments = f"--data {folder} --base {base} --report test --kinds bright --k 1 --seconds 2 --seeds 0"
    monkeypatch.setattr(cells, "MOST_IMAGES", {})
    monkeypatch.setattr(sys, "argv", ["annotation", *arguments.split(), "--out", str(tmp_path / "out")])
    monkeypatch.setattr("benchmarks.annotation.measuring.Bench._remembered", lambda *_: {"ap50": 0.5})
    command.main()
    first = capsys.readouterr().out
    arms = set(cells.ARMS) - {"ours-2.5d"}  # which is for membranes
    assert all(f"| {arm} |" in first for arm in arms)
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"results.json", "results.md", "bright.svg"}
    command.main()
    again = capsys.readouterr().out
    counted = f"/{len(arms)} "
    assert counted in first
    assert counted not in again
    assert again.strip() == first[first.index("| measured on") :].strip()
