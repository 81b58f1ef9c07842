"""Fine-tuning: from corrections to a new model, and whether it is better."""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import Cancelled, LabelsError, ModelError
from napari_unet.events import Event, HeldOut, ValidationDone, finish_warning
from napari_unet.imaging.image import Image, check_channels, open_image, to_canonical
from napari_unet.inference.devices import choose_device
from napari_unet.networks.adapting import with_channels
from napari_unet.networks.field import receptive_field
from napari_unet.training.budget import Budget
from napari_unet.training.checkpoints import Checkpoint, circumstances
from napari_unet.training.config import MAX_FORGOTTEN, FineTuneConfig
from napari_unet.training.course import Course, Watch
from napari_unet.training.evaluation import evaluate_events
from napari_unet.training.gate import Replay, Score, judge
from napari_unet.training.optimization import Trainer
from napari_unet.training.pairs import TrainingPair, check_pairs, load_fields
from napari_unet.training.replay import load_replay
from napari_unet.training.settling import SHARES, Recall, Settled, mixes, settle_events
from napari_unet.training.splitting import hold_out
from napari_unet.training.telling import tell_split
from napari_unet.version import VERSION
from napari_unet.weights.flows import without_flows
from napari_unet.weights.model import Model
from napari_unet.weights.slices import with_slices
from napari_unet.weights.spec import Provenance, changed_spec, check_slices

MAX_CONTEXT_PX = 128
# Settings for objects are fitted within these seconds, and within this share of the budget.
FITTING_S, FITTING_SHARE = 4.0, 0.1
NOT_RECALLED = (
    " Whether it has got worse on other images that the old one knows was not checked, because that came without any."
)


@dataclass(frozen=True, eq=False)
class FineTuneResult:
    """What a fine-tuning ended with.

    Attributes
    ----------
    candidate : Model
        The trained model: the best on the held-out corrections that was seen.
    model : Model
        The one to go on with: the candidate if it was accepted, else the one started from.
    accepted : bool or None
        None where there were too few labels to judge.
    old_score, new_score : Score or None
        On the held-out corrections.
    held_out_px : int
        Reviewed pixels that were not trained on.
    steps, seconds : int, float
        Optimizer steps, and the time of it all; pauses do not count.
    history : tuple of events
        `StepDone` and `ValidationDone` in order.
    replay : Replay or None
        How both did on images that the old one came with; None if it came without.
    sentence : str
        The verdict, for people.
    held_out : HeldOut
        What it was judged on. Later fine-tunings from the candidate keep to it.
    """

    candidate: Model
    model: Model
    accepted: bool | None
    old_score: Score | None
    new_score: Score | None
    held_out_px: int
    steps: int
    seconds: float
    history: tuple[Event, ...]
    replay: Replay | None
    sentence: str
    held_out: HeldOut


def finetune_events(
    model: Model,
    pairs: Sequence[TrainingPair],
    config: FineTuneConfig,
    channels: Sequence[int] | None = None,
    watch: Watch | None = None,
    checkpoint: Path | None = None,
) -> Generator[Event, None, FineTuneResult]:
    """Fine-tune a model on reviewed corrections, and judge it on those held out.

    A `Cancelled` thrown in ends the training; the best model so far is judged and returned. The
    model given is not changed.

    Parameters
    ----------
    model : Model
        To start from; one with random weights is trained from scratch.
    pairs : sequence of TrainingPair
        Images, labels, reviewed regions.
    config : FineTuneConfig
        Budget, device, seed and so on.
    channels : sequence of int, optional
        Which channels of the images feed the model.
    watch : Watch, optional
        What to segment anew after each check, for somebody who looks at it.
    checkpoint : Path, optional
        Of a file that is there while the training runs: one that is found is of a training that was interrupted, and
        goes on if it was of the same model, corrections and settings.

    Raises
    ------
    LabelsError
        If nothing is reviewed, shapes differ or a class id has no class.
    ChannelError
        If the channels do not fit the model.
    ModelError
        If the model cannot be given the classes, or be shown the slices, that are asked for.
    Cancelled
        If cancelled before the first step.
    """
    budget = Budget(config.seconds, config.clock)
    base = model if config.slices is None else with_slices(model, config.slices)
    base = base if config.classes is None else with_classes(base, config.classes, config.seed)
    if config.classes is not None and all(len(check_channels(pair.image, channels)) == 1 for pair in pairs):
        # Where a third of the image is one class, its median tells nothing: some images would be inverted and some not.
        base = base.with_spec(normalization=base.spec.normalization.model_copy(update={"polarity": "as-is"}))
    check_pairs(pairs, base.spec)
    work = _finetune((model, base), pairs, (config, budget), channels, (watch, checkpoint))
    return (yield from budget.leave_out(work))


def _finetune(
    models: tuple[Model, Model],
    pairs: Sequence[TrainingPair],
    settings: tuple[FineTuneConfig, Budget],
    channels: Sequence[int] | None,
    company: tuple[Watch | None, Path | None],
) -> Generator[Event, None, FineTuneResult]:
    (model, base), (config, budget), (watch, path) = models, settings, company
    rng = np.random.default_rng(config.seed)
    margin = min(receptive_field(base.network).halo, MAX_CONTEXT_PX)
    fields = yield from load_fields(pairs, base.spec, margin, channels, config.diameter_px)
    split = hold_out(fields, rng, base.spec.meaning, margin, base.spec.split, base.spec.slices)
    told = tell_split(split, base.spec.meaning)
    yield told
    trainer = Trainer(base, config, choose_device(config.device))
    checkpoint = None if path is None else Checkpoint(path, circumstances(base, split.fields, config))
    recall = Recall(load_replay(base.spec), config.forget, config.seconds)
    course = Course(trainer, split, rng, budget, watch, checkpoint, recall.rehearsed)
    begun = budget.elapsed
    yield from recall.look_events(trainer.averaged_model(), trainer.footing)
    looked = budget.elapsed
    old_score = yield from evaluate_events(trainer.averaged_model(), split, trainer.footing)
    course.check_s = budget.elapsed - looked
    # At the end both are done again, the second also for each mixture of old and new weights; and settings are fitted.
    course.judging_s = looked - begun + course.check_s
    mixtures = len(SHARES) * course.check_s if mixes(trainer) else 0.0
    course.reserved_s = course.judging_s + mixtures + min(FITTING_S, FITTING_SHARE * config.seconds)
    if old_score is not None:
        yield ValidationDone(0, old_score.value, old_score.value, budget.elapsed)
    try:
        yield from course.run()
    except Cancelled:
        if not course.steps:
            raise
    try:
        settled = yield from settle_events(trainer, course, recall, old_score)
    except Cancelled:  # neither what was learnt is lost by it, nor what is known of it
        settled = Settled(trainer.model_with(course.weights), course.best_score, None)
    if checkpoint is not None:  # only now: what follows the last step takes long enough to be interrupted, too
        checkpoint.remove()
    forgotten = settled.replay is not None and config.forget and settled.replay.lost > MAX_FORGOTTEN
    kept = () if forgotten else base.spec.replay  # what it has forgotten it cannot teach
    candidate = _candidate(models, settled.model, pairs).with_spec(split=split.lineage, replay=kept)
    recalled = settled.replay is not None or recall.known is None or config.forget
    verdict = judge(old_score, settled.score, split.held_out_px, settled.replay, recalled=recalled)
    return FineTuneResult(
        candidate,
        candidate if verdict.accepted else model,
        verdict.accepted,
        old_score,
        settled.score,
        split.held_out_px,
        course.steps,
        budget.elapsed,
        tuple(course.history),
        settled.replay,
        verdict.sentence + (NOT_RECALLED if recall.known is None and base.trained else ""),
        told,
    )


def _candidate(models: tuple[Model, Model], learnt: Model, pairs: Sequence[TrainingPair]) -> Model:
    """Describe what was learnt, from the model that was given and what was made of it to begin with."""
    model, base = models
    network = copy.deepcopy(base.network).cpu()
    network.load_state_dict(learnt.network.state_dict())
    names = ", ".join(dict.fromkeys(pair.image.name for pair in pairs))
    reviewed = sum(int(pair.reviewed.sum()) for pair in pairs)
    old = base.spec.provenance
    provenance = Provenance(
        trained_on=f"{reviewed:,} reviewed pixels of {names}"
        + (f"; before that: {old.trained_on}" if base.trained and old.trained_on else ""),
        source=old.source,
        license=old.license,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        parent_sha256=model.sha256 if model.trained else "",
        version=VERSION,
    )
    stem = base.spec.name.removeprefix("untrained ").removesuffix(", fine-tuned")
    changes = {"name": f"{stem}, fine-tuned", "objects": learnt.spec.objects, "trained": True}
    spec = changed_spec(base.spec, **changes, provenance=provenance)
    return Model(network.eval(), spec)


def with_classes(model: Model, classes: tuple[str, ...], seed: int = 0) -> Model:
    """Give a model a new semantic head with random weights.

    Parameters
    ----------
    model : Model
    classes : tuple of str
        The first is the background.
    seed : int
        Of the weights.

    Raises
    ------
    ModelError
        If there are fewer than two.
    """
    if len(classes) < 2:
        raise ModelError(f"A model needs a background and at least one more class, and {list(classes)} was given.")
    model = without_flows(model)
    old = model.spec.network
    described = old.model_copy(update={"out_channels": len(classes)})
    network, _ = with_channels(model.network, old, described, seed=seed)
    changes = {
        "classes": tuple(classes),
        "meaning": "semantic",
        "activation": "softmax",
        "network": described,
        "replay": (),
    }
    return Model(network, changed_spec(model.spec, **changes))


def finetune(  # noqa: PLR0913  # the public face: scripts rely on these names
    model: Model,
    pairs: Sequence[tuple[Any, ...]],
    axes: str | None = None,
    classes: Sequence[str] | None = None,
    seconds: float = 120,
    device: str = "auto",
    seed: int = 0,
    *,
    forget: bool = False,
    slices: int | None = None,
) -> FineTuneResult:
    """Fine-tune a model on images with corrected labels.

    Parameters
    ----------
    model : Model
        To start from; it is not changed.
    pairs : sequence of (image, labels) or (image, labels, reviewed)
        Arrays (or `Image`); labels and the boolean reviewed region have the image's shape without
        C. Without a reviewed region every pixel counts.
    axes : str, optional
        Of the images, such as "YXC"; YX or ZYX by default.
    classes : sequence of str, optional
        Give the model a new semantic head, the first class being the background.
    seconds : float
        Wall-clock time, validation and gate included.
    device : str
        "auto", "cpu", "mps", "cuda" or "cuda:N".
    seed : int
        Of every random choice.
    forget : bool
        Learn from these images alone, even if the new model gets worse on the kinds of image that the old one came
        with.
    slices : int, optional
        Show a network for planes so many slices of a stack at once, odd and at most 9: the one that it labels, and
        its neighbours, reviewed or not. At first it says the same as without them. None leaves the model as it is.

    Returns
    -------
    FineTuneResult
        `result.model` is the one to go on with.

    Raises
    ------
    LabelsError
        If nothing is reviewed, shapes differ, or a class id has no class.
    ModelError
        If the model cannot be shown so many slices.
    """
    if slices is not None:
        check_slices(slices, model.spec.dims)
    names = None if classes is None else tuple(classes)
    config = FineTuneConfig(seconds=seconds, device=device, seed=seed, classes=names, slices=slices, forget=forget)
    training_pairs = [as_pair(pair, axes, f"image {number}") for number, pair in enumerate(pairs, start=1)]
    return finish_warning(finetune_events(model, training_pairs, config))


def as_pair(pair: tuple[Any, ...], axes: str | None, name: str) -> TrainingPair:
    """Check (image, labels[, reviewed]) and bring the labels into canonical order.

    Raises
    ------
    LabelsError
        If the labels do not have the image's shape without C.
    """
    image = pair[0] if isinstance(pair[0], Image) else open_image(pair[0], axes, name=name)
    labels = _as_labels(np.asarray(pair[1]), image)
    if len(pair) > 2 and pair[2] is not None:
        reviewed = _as_labels(np.asarray(pair[2]), image) > 0
    else:
        reviewed = np.ones(labels.shape, dtype=bool)
    return TrainingPair(image, labels, reviewed)


def _as_labels(array: npt.NDArray[Any], image: Image) -> npt.NDArray[Any]:
    if array.shape != image.label_shape:
        raise LabelsError(
            f'The labels of "{image.name}" have the shape {array.shape}, and the image needs {image.label_shape}. '
            "Use the labels of this image."
        )
    if array.dtype.kind not in "biu" and not np.array_equal(array, np.rint(array)):
        raise LabelsError(
            f'The labels of "{image.name}" contain fractions. Labels are whole numbers: use a label image.'
        )
    canonical = to_canonical(array, image.label_axes)[:, 0]
    return canonical.astype(np.int64) if array.dtype.kind == "f" else canonical
