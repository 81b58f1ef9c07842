"""Fine-tuning that learns, can be cancelled, and is judged honestly."""

import time

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.errors import Cancelled, ChannelError, LabelsError, ModelError
from napari_unet.events import Progress, StepDone, ValidationDone, finish
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.synthetic import membrane_cells
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.fit import as_pair, finetune_events
from napari_unet.training.pairs import load_fields


def blobs(seed=0, shape=(160, 200), count=80):
    """Bright squares on a dark, noisy background, with their labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    for number in range(1, count + 1):
        y, x = (int(rng.integers(0, size - 14)) for size in shape)
        if not labels[y - 2 : y + 14, x - 2 : x + 14].any():
            labels[y : y + 12, x : x + 12] = number
    image = (labels > 0) * 100.0 + rng.normal(0, 10, shape)
    return image, labels


def fit(model, pairs, **config):
    """Fine-tune with small patches, so that a few seconds are many steps, however busy the machine is."""
    named = [as_pair(pair, None, f"image {number}") for number, pair in enumerate(pairs, start=1)]
    settings = FineTuneConfig(**{"seconds": 4, "clock": "cpu", "patch_px": 64, "learning_rate": 1e-2, **config})
    return finish(finetune_events(model, named, settings))


@pytest.fixture(scope="module")
def result():
    model = nu.new_model("unet", width=4, depth=2)
    before = model.sha256
    found = fit(model, [blobs(seed) for seed in range(2)], seconds=8)
    assert model.sha256 == before
    return found


def test_it_learns_and_the_gate_accepts(result):
    assert result.accepted is True
    assert result.model is result.candidate
    assert result.new_score.dice > 0.9 > result.old_score.dice
    image, truth = blobs(seed=99)
    labels = nu.segment(result.model, image)
    assert 2 * ((labels > 0) & (truth > 0)).sum() / ((labels > 0).sum() + (truth > 0).sum()) > 0.9


def test_it_keeps_to_its_budget_and_tells_what_happened(result):
    assert result.seconds < 12
    steps = [event for event in result.history if isinstance(event, StepDone)]
    checks = [event for event in result.history if isinstance(event, ValidationDone)]
    assert len(steps) == result.steps > 10
    assert steps[-1].loss < steps[0].loss
    assert max(check.score for check in checks) == result.new_score.value
    assert f"{result.new_score.objects} objects" in result.sentence
    assert result.new_score.low <= result.new_score.value <= result.new_score.high


def test_the_candidate_says_where_it_comes_from(result):
    assert "image 1, image 2" in result.candidate.spec.provenance.trained_on
    again = fit(result.candidate, [blobs()], seconds=1)
    assert again.candidate.spec.provenance.parent_sha256 == result.candidate.sha256


def start(model=None, pairs=None, **config):
    model = model or nu.new_model("unet", width=4, depth=1)
    pairs = [as_pair(blobs(), None, "blobs")] if pairs is None else pairs
    return finetune_events(model, pairs, FineTuneConfig(**{"seconds": 30, **config}))


def test_cancel_keeps_the_best_so_far():
    work = start(clock="cpu")
    for event in work:
        if isinstance(event, StepDone) and event.step == 5:
            break
    result = rest(work)
    assert result.steps == 5
    assert result.accepted is None
    assert "cancelled before" in result.sentence


def rest(work):
    """Cancel, and return what comes of it."""
    try:
        work.throw(Cancelled())
        while True:
            next(work)
    except StopIteration as end:
        return end.value


def test_cancelling_while_the_end_is_judged_loses_nothing(monkeypatch):
    work, checks = start(seconds=1.0), []
    for event in work:
        if isinstance(event, ValidationDone):
            checks.append(event)
        if isinstance(event, Progress) and event.stage == "Fitting thresholds":
            break
    result = rest(work)
    assert result.steps >= 1
    assert result.new_score.value == checks[-1].best_score
    assert result.accepted is not None  # the weights that were scored are what is left
    assert "that were not trained on" in result.sentence


def test_a_pause_does_not_use_up_the_budget():
    work = start(seconds=2.0)
    begun, resting = time.monotonic(), 0.0
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            result = end.value
            break
        if isinstance(event, StepDone) and event.step == 1:
            resting = 2.0
            time.sleep(resting)
    assert resting
    assert result.seconds < time.monotonic() - begun - 0.9 * resting


def test_cancel_before_the_first_step_ends_it():
    work = start()
    next(work)
    with pytest.raises(Cancelled):
        work.throw(Cancelled())


def test_a_model_that_knows_already_is_not_replaced_by_a_worse_one(result):
    # a step size that ruins any network
    refused = fit(result.model, [blobs(seed=5)], seconds=3, learning_rate=10.0)
    assert refused.accepted is False
    assert refused.model is result.model
    assert "The old one stays in use" in refused.sentence


def test_too_few_labels_are_not_judged():
    image, labels = blobs()
    reviewed = np.zeros(labels.shape, bool)
    reviewed[:20, :40] = True
    labels[5:12, 5:12] = 50
    found = nu.finetune(nu.new_model("unet", width=4, depth=1), [(image, labels, reviewed)], seconds=1)
    assert found.accepted is None
    assert found.old_score is None
    assert "review more" in found.sentence


def test_unreviewed_labels_are_never_learnt():
    """Where nobody looked the labels are wrong; the model learns only what was reviewed."""
    image, labels = blobs(seed=1)
    wrong = labels.copy()
    reviewed = np.zeros(labels.shape, bool)
    reviewed[:, :120] = True
    wrong[:, 120:] = 999  # all one object
    found = fit(nu.new_model("unet", width=4, depth=2), [(image, wrong, reviewed)], seconds=6)
    predicted = nu.segment(found.candidate, image)
    assert (predicted[:, 125:] > 0).mean() < 0.4


def test_a_seed_repeats_the_first_step():
    losses = [next(e.loss for e in start(seed=3) if isinstance(e, StepDone)) for _ in range(2)]
    assert losses[0] == losses[1]


def test_new_classes_give_a_new_head():
    image, labels = blobs()
    classes = np.where(labels > 0, np.where(labels % 2, 1, 2), 0)
    found = nu.finetune(
        nu.new_model("unet", width=4, depth=1), [(image, classes)], classes=("nothing", "odd", "even"), seconds=2
    )
    assert found.candidate.spec.meaning == "semantic"
    assert nu.predict(found.candidate, image).shape == (3, *image.shape)


def test_images_are_not_inverted_for_new_classes():
    """Membranes cover a fifth of one section and a half of the next: the median must not decide what is bright."""
    image, labels = blobs()
    model = nu.new_model("unet", width=4, depth=1).with_spec(
        normalization=Normalization(channels="grey", polarity="bright-objects"), trained=True
    )
    found = nu.finetune(model, [(image, (labels > 0).astype(int))], classes=("nothing", "cell"), seconds=1)
    assert found.candidate.spec.normalization.polarity == "as-is"
    assert fit(model, [(image, labels)], seconds=1).candidate.spec.normalization.polarity == "bright-objects"


def test_a_stray_number_outside_the_reviewed_region_is_no_class():
    image, labels = blobs()
    classes = (labels > 0).astype(np.int32)
    reviewed = np.zeros(labels.shape, bool)
    reviewed[:100] = True
    classes[130:, :] = 700
    found = fit(nu.new_model("unet", width=4, depth=1, classes=("a", "b")), [(image, classes, reviewed)], seconds=1)
    assert found.steps > 0


def test_training_sees_the_image_at_the_scale_of_a_prediction():
    """Objects of 24 pixels, said to be so, are shown to a model of 12 pixels at half their size."""
    image, labels = blobs()
    double = [np.kron(array, np.ones((2, 2), array.dtype)) for array in (image, labels)]
    model = nu.new_model("unet", width=4, depth=1).with_spec(diameter_px=12.0)
    pair = as_pair(tuple(double), None, "blobs")
    (shown,) = finish(load_fields([pair], model.spec, 16, diameter_px=24))
    assert shown.labels.shape == labels.shape
    assert np.array_equal(shown.labels, labels)
    assert shown.image.shape == (1, *labels.shape)
    assert shown.image[0][labels > 0].mean() > 0.7
    assert shown.image[0][labels == 0].mean() < 0.4


def test_volumes_are_fine_tuned_too():
    rng = np.random.default_rng(0)
    labels = np.zeros((12, 64, 64), np.uint32)
    labels[2:9, 10:24, 10:24], labels[4:11, 40:52, 36:50], labels[1:6, 40:52, 8:20] = 1, 2, 3
    image = (labels > 0) * 50.0 + rng.normal(0, 5, labels.shape)
    found = fit(nu.new_model("unet-3d", width=4, depth=2), [(image, labels)], seconds=5)
    assert found.steps > 0
    assert found.candidate.spec.dims == 3


# ---- bad input


def test_nothing_reviewed():
    image, labels = blobs()
    with pytest.raises(LabelsError, match="No pixel is marked as reviewed"):
        nu.finetune(nu.new_model("unet", width=4, depth=1), [(image, labels, labels < 0)])


def test_no_pairs():
    with pytest.raises(LabelsError, match="no image with corrections"):
        nu.finetune(nu.new_model("unet", width=4, depth=1), [])


def test_no_object_in_the_reviewed_region():
    image, labels = blobs()
    with pytest.raises(LabelsError, match="contains no object"):
        nu.finetune(nu.new_model("unet", width=4, depth=1), [(image, labels * 0)])


def test_labels_of_another_image():
    image, labels = blobs()
    with pytest.raises(LabelsError, match="have the shape"):
        nu.finetune(nu.new_model("unet", width=4, depth=1), [(image, labels[:-1])])


def test_channels_that_do_not_fit():
    image, labels = blobs()
    with pytest.raises(ChannelError, match="takes 2 channels"):
        nu.finetune(nu.new_model("unet", in_channels=2, width=4, depth=1), [(image, labels)])


def test_a_class_without_a_name():
    image, labels = blobs()
    model = nu.new_model("unet", width=4, depth=1, classes=("background", "cell"))
    with pytest.raises(LabelsError, match="use class 2"):
        nu.finetune(model, [(image, np.where(labels > 0, 2, 0))])


@pytest.mark.parametrize(("factor", "words"), [(-1, "negative number"), (0.9, "fractions")])
def test_labels_that_are_no_labels(factor, words):
    image, labels = blobs()
    with pytest.raises(LabelsError, match=words):
        nu.finetune(nu.new_model("unet", width=4, depth=1), [(image, labels.astype(np.int64) * factor)])


def test_one_class_is_too_few():
    image, labels = blobs()
    with pytest.raises(ModelError, match="at least one more class"):
        nu.finetune(nu.new_model("unet", width=4, depth=1), [(image, labels)], classes=["all"])


def test_a_few_steps_on_images_of_another_kind_do_no_harm():
    """A slow computer takes a dozen steps in the time that is given: none of them may ruin what was known."""
    made = membrane_cells()
    image, truth = made.image[:256, :256], made.truth[:256, :256]
    model = nu.load_model("nuclei").with_spec(replay=())  # to look at what it knew takes long
    reviewed = np.zeros(truth.shape, bool)
    reviewed[:, :128] = True
    config = FineTuneConfig(seconds=60, clock="cpu", patch_px=64)
    work = finetune_events(model, [as_pair((image, truth, reviewed), None, "membranes")], config)
    for event in work:
        if isinstance(event, StepDone) and event.step == 10:
            break
    candidate = rest(work).candidate
    unseen = np.s_[:, 140:]
    before, after = (foreground_dice(nu.segment(one, image)[unseen], truth[unseen]) for one in (model, candidate))
    assert after > before


def foreground_dice(labels, truth):
    return 2 * ((labels > 0) & (truth > 0)).sum() / ((labels > 0).sum() + (truth > 0).sum())
