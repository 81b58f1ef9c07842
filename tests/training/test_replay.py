"""What a model came with is learnt from again, and tells what it has forgotten."""

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.errors import Cancelled
from napari_unet.events import Progress, finish
from napari_unet.imaging.config import Normalization
from napari_unet.training import fit, gate, replay
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.course import Course
from napari_unet.training.fit import as_pair, finetune_events, with_classes
from napari_unet.training.gate import Replay, judge
from napari_unet.training.replay import load_replay, write_crops
from napari_unet.training.settling import Recall
from napari_unet.weights.model import Model
from napari_unet.weights.spec import changed_spec

GREY = Normalization(channels="grey")
RNG = np.random.default_rng(0)


def squares(step=16, side=9):
    labels = np.zeros((96, 96), np.int32)
    places = [(y, x) for y in range(4, 90, step) for x in range(4, 90, step)]
    for number, (row, column) in enumerate(places, start=1):
        labels[row : row + side, column : column + side] = number
    return labels


LABELS = squares()
IMAGE = (LABELS > 0) * 1.0 + RNG.normal(0, 0.05, LABELS.shape)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder with a set of four crops, two of which tell."""
    monkeypatch.setattr(replay, "FOLDER", tmp_path)
    (tmp_path / "replay").mkdir()
    pixels = np.stack([np.float32(1 - IMAGE)] * 4)  # what the old model knows: dark objects
    write_crops(tmp_path / "replay" / "dark.npz", pixels, np.stack([LABELS] * 4), np.array([0, 0, 1, 1], bool), GREY)
    return tmp_path / "replay"


def model(**changes):
    made = nu.new_model("unet", width=4, depth=1)
    return Model(made.network, changed_spec(made.spec, normalization=GREY, replay=("dark",), trained=True, **changes))


def test_crops_come_back_as_they_were_written(shelf):
    known = load_replay(model().spec)
    assert len(known.train) == len(known.telling) == 2
    assert all(field.train.all() and not field.validation.any() for field in known.train)
    assert all(field.validation.all() and not field.train.any() for field in known.telling)
    np.testing.assert_allclose(known.train[0].image[0], np.clip(1 - IMAGE, replay.LOW, replay.HIGH), atol=0.005)
    assert np.array_equal(known.telling[1].labels, LABELS)


@pytest.mark.parametrize(
    "spec",
    [
        model().spec.model_copy(update={"replay": ()}),
        model().spec.model_copy(update={"replay": ("dark", "no such set")}),
        model().spec.model_copy(update={"normalization": Normalization(channels="grey", low_percentile=5)}),
        with_classes(model(), ("cell", "membrane")).spec,
    ],
    ids=["none", "one is missing", "seen in another way", "other classes"],
)
def test_a_set_that_does_not_suit_the_model_is_not_used(shelf, spec):
    assert load_replay(spec) is None


def test_a_damaged_set_is_as_none(shelf):
    path = shelf / "dark.npz"
    path.write_bytes(path.read_bytes()[:500])
    assert load_replay(model().spec) is None


def drawn(monkeypatch, forget):
    """Where the patches of two steps came from, and the result."""
    places = []
    original = Course._batch

    def noted(self, count):
        batch = original(self, count)
        places.extend(batch.places)
        return batch

    monkeypatch.setattr(Course, "_batch", noted)
    config = FineTuneConfig(seconds=1.5, clock="cpu", patch_px=32, batch=4, forget=forget)
    pair = as_pair((IMAGE * 100, LABELS), None, "blobs")
    return places, finish(finetune_events(model(), [pair], config))


def test_half_of_what_is_learnt_is_what_the_model_came_with(shelf, monkeypatch):
    places, result = drawn(monkeypatch, forget=False)
    assert sum("replay set dark" in place for place in places) == len(places) / 2
    assert isinstance(result.replay, Replay)
    assert not result.replay.forgetting
    assert fit.NOT_RECALLED not in result.sentence
    assert result.model.spec.replay == ("dark",)  # and so does the model that comes of it


def test_who_chooses_to_forget_learns_from_the_corrections_alone_and_is_told(shelf, monkeypatch):
    places, result = drawn(monkeypatch, forget=True)
    assert not any("replay" in place for place in places)
    assert result.replay.forgetting


def test_without_a_set_the_user_is_told_that_nobody_looked(monkeypatch):
    _, result = drawn(monkeypatch, forget=False)  # the real folder has no such set
    assert result.replay is None
    assert result.sentence.endswith(fit.NOT_RECALLED)


@pytest.mark.parametrize(("forget", "accepted"), [(False, None), (True, True)])
def test_who_cancels_before_it_is_known_what_was_forgotten_decides_alone(shelf, monkeypatch, forget, accepted):
    monkeypatch.setattr(gate, "surely_better", lambda *_: True)
    labels = np.block([[LABELS, LABELS + 36], [LABELS + 72, LABELS + 108]]) * np.tile(LABELS > 0, (2, 2))
    pair = as_pair((np.tile(IMAGE, (2, 2)), labels), None, "blobs")
    config = FineTuneConfig(seconds=1.5, clock="cpu", patch_px=32, batch=4, forget=forget)
    work = finetune_events(model(), [pair], config)
    next(event for event in work if isinstance(event, Progress) and event.stage == "Fitting thresholds")
    with pytest.raises(StopIteration) as end:
        work.throw(Cancelled())
    result = end.value.value
    assert result.replay is None
    assert result.new_score is not None
    assert result.accepted is accepted
    assert ("whether it has forgotten the kinds of image" in result.sentence) is (accepted is None)


def test_forgetting_is_told_where_nobody_can_judge():
    said = judge(None, None, 0, Replay(0.8, 0.5))
    assert said.accepted is None
    assert "0.50, before 0.80" in said.sentence


def test_the_bundled_sets_are_small_and_fit_the_bundled_models():
    files = list((replay.FOLDER / "replay").glob("*.npz"))
    assert sum(path.stat().st_size for path in files) < 3e6
    for name in ("nuclei", "nuclei-fluorescence", "nuclei-small"):
        known = load_replay(nu.load_model(name).spec)
        assert len(known.train) > 20
        assert sum(len(np.unique(field.labels)) for field in known.telling) > 200


def test_a_model_that_was_let_forget_does_not_teach_what_it_forgot(shelf, monkeypatch):
    def lost(self, model, device):
        return Replay(0.9, 0.4, self.forgetting)
        yield

    monkeypatch.setattr(Recall, "compare_events", lost)
    assert drawn(monkeypatch, forget=True)[1].candidate.spec.replay == ()
    assert drawn(monkeypatch, forget=False)[1].candidate.spec.replay == ("dark",)


@pytest.mark.parametrize("forget", [False, True])
def test_statistics_follow_new_images_only_together_with_known_ones(shelf, forget):
    old = model()
    found = nu.finetune(old, [(IMAGE, LABELS)], seconds=1, seed=0, forget=forget)
    means = [dict(one.network.named_buffers()) for one in (old, found.candidate)]
    kept = all(np.array_equal(means[0][name], means[1][name]) for name in means[0] if name.endswith("running_mean"))
    assert kept is forget
