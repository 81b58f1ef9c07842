"""What may happen to a training on its way: crashes, odd numbers, too little memory; and who watches."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.events import Notice, Progress, StepDone, ViewDone, finish
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.pipeline import Wish
from napari_unet.inference.segmentation import segment_events
from napari_unet.training import checkpoints, course, evaluation, optimization
from napari_unet.training.checkpoints import Checkpoint, Saved
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.course import Watch
from napari_unet.training.fit import as_pair, finetune_events
from napari_unet.training.optimization import Trainer
from napari_unet.training.patches import Batch

RNG = np.random.default_rng(0)
LABELS = np.zeros((96, 96), np.uint32)
for number, (row, column) in enumerate(((y, x) for y in range(4, 90, 16) for x in range(4, 90, 16)), start=1):
    LABELS[row : row + 9, column : column + 9] = number
IMAGE = (LABELS > 0) * 100.0 + RNG.normal(0, 10, LABELS.shape)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return nu.new_model("unet", width=4, depth=1)


def start(model, seconds=3.0, config=None, **more):
    settings = {"seconds": seconds, "clock": "cpu", "patch_px": 32, "batch": 4, **(config or {})}
    return finetune_events(model, [as_pair((IMAGE, LABELS), None, "blobs")], FineTuneConfig(**settings), **more)


def run(work):
    """Return all events and the result."""
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return events, end.value


def notices(events):
    return [event.text for event in events if isinstance(event, Notice)]


def batch(seed=0):
    rng = torch.Generator().manual_seed(seed)
    image = torch.rand((4, 1, 32, 32), generator=rng)
    return Batch(
        image, (image[:, 0] > 0.5).long(), torch.ones(4, 32, 32), image, torch.zeros(4, 32, 32), torch.zeros(4, 32, 32)
    )


def test_a_training_that_was_killed_goes_on_where_it_was(model, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)
    path = tmp_path / "unfinished.safetensors"
    work = start(model, checkpoint=path)
    for event in work:
        if isinstance(event, StepDone) and event.step == 6:
            break
    work.close()  # as a kill: nothing more is run
    assert path.exists()

    events, result = run(start(model, checkpoint=path))
    (sentence,) = notices(events)
    step = int(sentence.split("step ")[1].split()[0])
    assert 4 <= step <= 6
    steps = [event.step for event in events if isinstance(event, StepDone)]
    assert steps == list(range(1, result.steps + 1))  # the curve comes back, and goes on
    assert result.steps > 6
    assert not path.exists()


def test_a_checkpoint_of_other_corrections_or_settings_is_not_used(model, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)
    path = tmp_path / "unfinished.safetensors"
    work = start(model, checkpoint=path)
    while not path.exists():
        next(work)
    work.close()
    events, _ = run(start(model, seconds=0.5, config={"seed": 3}, checkpoint=path))
    assert notices(events) == []


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_damaged_checkpoint_is_none(tmp_path, share):
    checkpoint = Checkpoint(tmp_path / "x.safetensors", "these")
    checkpoint.save(Saved({"a": torch.ones(100)}, None, 3, 1.0, {"state": 1}, [StepDone(1, 0.5, 1.0)]))
    found = checkpoint.found()
    assert found is not None
    assert found.history == [StepDone(1, 0.5, 1.0)]
    whole = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(whole[: int(share * len(whole))])
    assert checkpoint.found() is None


def test_a_restored_trainer_takes_the_same_steps(model):
    config = FineTuneConfig(learning_rate=1e-2)
    one, other = Trainer(model, config, CPU), Trainer(model, config, CPU)
    for seed in range(3):
        one.step(batch(seed), 0.1)
    other.restore({name: tensor.clone() for name, tensor in one.state().items()})
    losses = [[trainer.step(batch(seed), 0.2) for seed in range(3, 6)] for trainer in (one, other)]
    assert losses[0] == losses[1]
    weights = [trainer.averaged_weights() for trainer in (one, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def spoilt(monkeypatch, when):
    """Make the loss no number in some steps; `when` is asked with the number of the step."""
    calls, real = iter(range(10**6)), optimization.segmentation_loss

    def loss(logits, *more):
        value = real(logits, *more)
        return value * math.nan if when(next(calls)) else value

    monkeypatch.setattr(optimization, "segmentation_loss", loss)


def test_single_odd_steps_are_left_out(model, monkeypatch):
    spoilt(monkeypatch, lambda step: step % 3 == 1)
    events, result = run(start(model))
    assert notices(events) == []
    assert all(torch.isfinite(x).all() for x in result.candidate.network.state_dict().values())


def test_three_odd_steps_go_back_to_the_best_and_the_training_goes_on(model, monkeypatch):
    spoilt(monkeypatch, lambda step: 4 <= step < 7)
    events, result = run(start(model))
    (sentence,) = notices(events)
    assert "went back to its best" in sentence
    assert '"blobs" around y' in sentence
    assert result.steps > 8


def test_odd_steps_without_end_end_the_training_with_what_was_learnt(model, monkeypatch):
    spoilt(monkeypatch, lambda step: step >= 4)
    events, result = run(start(model, seconds=60))
    assert "stopped early" in notices(events)[-1]
    assert result.steps == 4 + 2 * course.ODD_STEPS
    assert all(torch.isfinite(x).all() for x in result.candidate.network.state_dict().values())


def test_too_little_memory_is_answered_with_smaller_parts(model, monkeypatch):
    real = Trainer._learn

    def learn(self, part, trust):
        if len(part.image) > 1:
            raise MemoryError
        return real(self, part, trust)

    monkeypatch.setattr(Trainer, "_learn", learn)
    events, result = run(start(model))
    assert ["2 parts" in notices(events)[0], "4 parts" in notices(events)[1]] == [True, True]
    assert result.steps > 2


class Short:
    """An engine for which memory runs out in the middle of its work."""

    def __init__(self, engine):
        self.pieces = engine.pieces

    def run(self, read, window):
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_too_little_memory_for_a_check_does_not_end_the_training(model, monkeypatch):
    real = evaluation.choose_engine

    def choose(model, size, means):
        engine = real(model, size, means)
        return Short(engine) if means.share == 1 else engine

    monkeypatch.setattr(evaluation, "choose_engine", choose)
    labels = np.block([[LABELS, LABELS + 36], [LABELS + 72, LABELS + 108]]) * np.tile(LABELS > 0, (2, 2))
    config = FineTuneConfig(seconds=3, clock="cpu", patch_px=32, batch=4)
    pair = as_pair((np.tile(IMAGE, (2, 2)), labels), None, "blobs")
    events, result = run(finetune_events(model, [pair], config))
    assert notices(events) == ["The computer's memory ran out: the image is done in smaller pieces."]
    assert result.steps > 2
    assert result.accepted is not None


@pytest.mark.gpu
def test_an_average_that_was_looked_at_on_the_cpu_follows_again_on_the_gpu(model):
    trainer = Trainer(model, FineTuneConfig(batch=4), torch.device("cuda:0"))
    trainer.average.to(CPU)
    assert math.isfinite(trainer.step(batch(), 0))
    assert {weight.device.type for weight in trainer.average.parameters()} == {"cuda"}


def test_parts_learn_what_the_whole_teaches(model):
    config = FineTuneConfig(batch=4)
    whole, parted = Trainer(model, config, CPU), Trainer(model, config, CPU)
    for trainer in (whole, parted):
        trainer.network.eval()
        trainer.network.train = lambda mode=True: None  # statistics of a batch differ from those of its parts
    parted.parts = 4
    assert parted.step(batch(), 0) == pytest.approx(whole.step(batch(), 0), rel=0.05)


def test_parts_imitate_as_much_as_the_whole(model):
    known, both = batch(), []
    nothing = replace(known, weight=torch.zeros_like(known.weight), rehearsed=3)
    for parts in (1, 2, 4):
        trainer = Trainer(model.with_spec(trained=True), FineTuneConfig(batch=4), CPU)
        with torch.no_grad():
            for weight in trainer.network.parameters():
                weight.mul_(0.5)
        trainer.parts = parts
        both.append(trainer.step(nothing, 0))
    assert both[0] > 0.01
    assert both[1:] == pytest.approx([both[0]] * 2, rel=0.02)


def unreviewed(count=4):
    """Patches of which nothing is labelled, and so many are unreviewed."""
    free = torch.zeros(4, 32, 32)
    free[:count] = 1
    return replace(batch(), weight=torch.zeros_like(free), unreviewed=free)


def trainer_that_is_sure(model, average, begun=True):
    """Whose average says `average` everywhere, and is sure of it; it has taken a step of which nothing is learnt."""
    trainer = Trainer(model, FineTuneConfig(batch=4, learning_rate=0.1), CPU)
    logits = torch.full((1, 3, 1, 1), -5.0)
    logits[:, average] = 5.0
    trainer.average.on_grid = lambda image: logits.expand(len(image), 3, *image.shape[2:])
    if begun:
        trainer.step(unreviewed(0), 0.0)
    return trainer


def says(trainer, of):
    """How probable the network holds a class to be."""
    with torch.no_grad():
        return float(torch.softmax(trainer.network.train().on_grid(batch().image), dim=1)[:, of].mean())


def test_of_unreviewed_pixels_is_learnt_what_the_average_is_sure_of(model):
    for average in (0, 2):
        trainer = trainer_that_is_sure(model, average)
        before = says(trainer, average)
        for _ in range(30):
            trainer.step(unreviewed(), 0.5)
        assert says(trainer, average) > max(0.8, before)


def test_early_in_a_training_the_average_is_not_trusted(model):
    losses = {share: trainer_that_is_sure(model, 2).step(unreviewed(), share) for share in (0, 0.05, 0.2, 0.3, 0.9)}
    assert losses[0] == losses[0.05] < losses[0.2] < losses[0.3] == losses[0.9]


@pytest.mark.parametrize("first", [0.4, 1.0])
def test_what_was_spent_before_the_first_step_is_no_reason_to_trust_the_average(model, first):
    trainer = trainer_that_is_sure(model, 2, begun=False)
    assert trainer.step(unreviewed(), first) == 0  # it still is the old model
    restored = trainer_that_is_sure(model, 2)
    restored.restore({name: tensor.clone() for name, tensor in trainer.state().items()})
    assert trainer.step(unreviewed(), 0.42) == restored.step(unreviewed(), 0.42) == 0
    assert trainer.step(unreviewed(), 2.0) > 0


def test_a_speck_that_nobody_has_reviewed_counts_little(model):
    losses = []
    for pixels in (1, 32, 4 * 32):
        patches = unreviewed(0)
        patches.unreviewed[0].view(-1)[:pixels] = 1
        losses.append(trainer_that_is_sure(model, 2).step(patches, 0.5))
    whole = trainer_that_is_sure(model, 2).step(unreviewed(), 0.5)
    assert 0 < losses[0] < 0.01 * whole
    assert losses[0] < losses[1] < losses[2] < 0.5 * whole


@pytest.mark.parametrize("count", [1, 2, 4])
def test_parts_agree_with_the_average_as_much_as_the_whole(model, count):
    values = []
    for parts in (1, 2, 4):
        trainer = trainer_that_is_sure(model, 2)
        trainer.network.train = lambda mode=True: None  # statistics of a batch differ from those of its parts
        trainer.network.eval()
        trainer.parts = parts
        values.append(trainer.step(unreviewed(count), 0.5))
    assert values[1:] == pytest.approx([values[0]] * 2, rel=0.05)


def test_what_was_learnt_is_kept_until_the_new_model_is_there(model, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)
    path = tmp_path / "unfinished.safetensors"
    for event in start(model, seconds=1.0, checkpoint=path):
        if isinstance(event, Progress) and event.stage == "Fitting thresholds":
            assert path.exists()
            break
    else:
        pytest.fail("No thresholds were fitted.")


def test_memory_that_is_never_enough_is_told_as_it_is(model, monkeypatch):
    def learn(self, part, trust):
        raise MemoryError

    monkeypatch.setattr(Trainer, "_learn", learn)
    with pytest.raises(MemoryError):
        run(start(model))


def test_whoever_watches_sees_the_region_after_each_check(model):
    few = np.zeros(LABELS.shape, bool)
    few[:34, :34] = True  # so little that nothing is held out, and the last state is the result
    pair = as_pair((IMAGE, LABELS, few), None, "blobs")
    labels = np.full((1, 1, 40, 50), 7, np.uint32)
    region = ((0, 1), (0, 1), (10, 50), (20, 70))
    watch = Watch(pair.image, InferenceConfig(), region, labels)
    config = FineTuneConfig(seconds=3, clock="cpu", patch_px=32, learning_rate=1e-2)
    events, result = run(finetune_events(model, [pair], config, watch=watch))
    seen = [event.step for event in events if isinstance(event, ViewDone)]
    assert len(seen) > 1
    assert seen[-1] == result.steps
    assert np.array_equal(labels, finish(segment_events(result.candidate, pair.image, wish=Wish(region))).labels)


def test_a_view_that_cannot_be_segmented_does_not_end_the_training(model, monkeypatch):
    def fail(*_):
        raise MemoryError
        yield

    monkeypatch.setattr(course, "segment_events", fail)
    image = as_pair((IMAGE, LABELS), None, "blobs").image
    watch = Watch(image, InferenceConfig(), ((0, 1), (0, 1), (10, 50), (20, 70)), np.zeros((1, 1, 40, 50), np.uint32))
    events, result = run(start(model, watch=watch))
    assert [text for text in notices(events) if "could not be segmented" in text] == notices(events)[:1]
    assert result.steps > 1
