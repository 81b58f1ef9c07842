"""Step 4: train on what is reviewed, and decide about the new model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from napari_unet.errors import LabelsError, ModelError
from napari_unet.events import Event, StepDone, ValidationDone
from napari_unet.gui import layers
from napari_unet.gui.choosing import reading_of
from napari_unet.gui.desk import Desk
from napari_unet.gui.keeping import Keeper
from napari_unet.gui.merging import Labelled, snapshot
from napari_unet.gui.modelling import Modelling, copy_model
from napari_unet.gui.segmenting import Segmenting
from napari_unet.gui.state import Activity, Advance, Curve, ModelChoice, Proposal, ReviewedCount
from napari_unet.gui.tasks import Aside, Remote, Task
from napari_unet.imaging.image import Image
from napari_unet.jobs.requests import (
    ArrayRef,
    FinetuneRequest,
    FinetuneResult,
    PairRef,
)
from napari_unet.session.project import ModelEntry
from napari_unet.training.config import FineTuneConfig
from napari_unet.weights.file import SUFFIX


@dataclass(frozen=True, slots=True)
class Pair:
    """An image, its channels, and a copy of its corrections: the user may go on painting."""

    image: Image
    labels: Labelled
    reviewed: Labelled
    channels: tuple[int, ...] | None = None


class FineTuning:
    """Trains in the background process and holds the result until the user decides."""

    def __init__(self, desk: Desk, modelling: Modelling, segmenting: Segmenting, keeper: Keeper) -> None:
        self._desk, self._modelling, self._segmenting, self._keeper = desk, modelling, segmenting, keeper
        self._number = 0

    def start(self) -> None:
        """Fine-tune on all chosen pairs of image and correction."""
        self._desk.attempt(self._start)

    def use(self, *, segment_again: bool) -> None:
        """Take the proposed model, keep its file for good, and segment with it if asked to."""
        proposal = self._desk.state.proposal
        if proposal is not None:
            self._desk.run(Activity.EXPORTING, self._use_task(proposal, segment_again))

    def save_as(self, path: str) -> None:
        """Save the proposed model as a file; it stays proposed."""
        proposal = self._desk.state.proposal
        if proposal is not None:
            self._desk.run(Activity.EXPORTING, self._save_task(proposal, path))

    def discard(self) -> None:
        """Throw the proposed model away."""
        proposal = self._desk.state.proposal
        if proposal is not None:
            Path(proposal.result.candidate).unlink(missing_ok=True)
            self._desk.state.proposal = None
            self._desk.state.curve = Curve()
            self._desk.state.tell("The new model is discarded; the old one is in use.")

    def skip(self, correction: str, skipped: bool) -> None:
        """Leave a correction layer out of the training, or take it in again."""
        state = self._desk.state
        one = frozenset({correction})
        state.skipped = state.skipped | one if skipped else state.skipped - one

    def _start(self) -> None:
        state = self._desk.state
        model = state.model
        assert model is not None
        if not model.can_train:
            raise ModelError(
                f'"{model.title}" can only predict: its file holds a program and no weights that could be trained. '
                "Choose another model in step 1."
            )
        pairs = [self._pair(count) for count in state.counts if count.correction not in state.skipped]
        pairs = [pair for pair in pairs if pair.reviewed.any()]
        if not pairs:
            raise LabelsError(
                "Nothing is marked as reviewed. Check a region in step 3 and mark it as reviewed: "
                "only that is learned from."
            )
        state.curve = Curve()
        self._desk.run(Activity.FINE_TUNING, self._task(model, pairs))

    def _pair(self, count: ReviewedCount) -> Pair:
        correction, reviewed = self._desk.correction(count.image)
        layer = self._desk.image_layer(count.image)
        reading = reading_of(self._desk, layer)
        image = layers.image_of(layer, reading.axes)
        return Pair(image, snapshot(correction), snapshot(reviewed) > 0, reading.channels)

    def _task(self, model: ModelChoice, pairs: list[Pair]) -> Task:
        refs: list[ArrayRef] = []
        try:
            staged = yield Aside(lambda: tuple(self._stage(pair, refs) for pair in pairs))
            request = self._request(model, staged)
            result: FinetuneResult = yield Remote(request, self._on_event)
            # Only now: until there is a new model, the user may still decide about the last one.
            self._forget_proposal()
            self._desk.state.proposal = Proposal(result=result, base=model)
            self._desk.state.tell("Fine-tuning is done. Decide about the new model in step 4.")
        finally:
            self._desk.release(*refs)

    def _stage(self, pair: Pair, refs: list[ArrayRef]) -> PairRef:
        image = self._desk.stage_image(pair.image)
        refs.append(image.array)
        labels = self._desk.scratch.stage(pair.labels)
        refs.append(labels)
        reviewed = self._desk.scratch.stage(pair.reviewed.astype("uint8"))
        refs.append(reviewed)
        return PairRef(image=image, labels=labels, reviewed=reviewed, channels=pair.channels)

    def _request(self, model: ModelChoice, pairs: tuple[PairRef, ...]) -> FinetuneRequest:
        state = self._desk.state
        self._number += 1
        candidate = self._desk.scratch.folder / f"candidate-{self._number}{SUFFIX}"
        return FinetuneRequest(
            model=model.ref,
            pairs=pairs,
            channels=state.channels,
            config=FineTuneConfig(seconds=60 * state.minutes, device=state.device, diameter_px=state.diameter_px),
            candidate=str(candidate),
        )

    def _on_event(self, event: Event) -> None:
        state = self._desk.state
        curve, budget = state.curve, 60 * state.minutes
        if isinstance(event, StepDone):
            point = (event.elapsed_s, event.loss)
            state.curve = Curve(loss=(*curve.loss, point), score=curve.score)
            state.advance = Advance(
                stage=f"Step {event.step}",
                done=min(round(event.elapsed_s), round(budget)),
                total=round(budget),
                eta_s=max(0.0, budget - event.elapsed_s),
            )
        elif isinstance(event, ValidationDone):
            point = (event.elapsed_s, event.score)
            state.curve = Curve(loss=curve.loss, score=(*curve.score, point))
        else:
            self._desk.show(event)

    def _use_task(self, proposal: Proposal, segment_again: bool) -> Task:
        name = (proposal.base.spec.name if proposal.base.trained else proposal.base.variant).strip()
        stem = name if name.endswith("fine-tuned") else f"{name} fine-tuned"
        choice = yield Aside(lambda: self._modelling.keep(proposal.result.candidate, stem))
        if choice.source is not None:
            self._keeper.note_model(_lineage(proposal, choice.title), Path(choice.source))
        self._forget_proposal()
        self._modelling.list_models()
        self._modelling.go_on_with(choice)
        self._desk.state.tell(f"{choice.title} is in use now, and will be in the list of models.")
        if segment_again:
            self._desk.when_idle(self._segmenting.segment)

    def _save_task(self, proposal: Proposal, path: str) -> Task:
        target = Path(path).with_suffix(SUFFIX)
        yield Aside(lambda: copy_model(Path(proposal.result.candidate), target))
        self._desk.state.tell(f"Saved the new model as {target}.")

    def _forget_proposal(self) -> None:
        proposal, self._desk.state.proposal = self._desk.state.proposal, None
        if proposal is not None:
            Path(proposal.result.candidate).unlink(missing_ok=True)


def _lineage(proposal: Proposal, title: str) -> ModelEntry:
    """Say where a model comes from, for the projects whose corrections it learnt from."""
    base, result = proposal.base, proposal.result
    return ModelEntry(
        file="",
        title=title,
        parent=base.source or base.variant,
        time=time.time(),
        score=result.new_score,
        old_score=result.old_score,
        held_out_px=result.held_out_px,
    )
