"""Step 4: train on what is reviewed, and decide about the new model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from napari_unet.errors import Cancelled, JobError, LabelsError, ModelError
from napari_unet.events import Event, HeldOut, Notice, Progress, StepDone, TileDone, ValidationDone, ViewDone
from napari_unet.gui import layers
from napari_unet.gui.choosing import reading_of
from napari_unet.gui.desk import Desk
from napari_unet.gui.halting import Begun, Halting, write
from napari_unet.gui.held_out import HeldOutView
from napari_unet.gui.lineage import Lineage
from napari_unet.gui.live_view import LiveView, live_view
from napari_unet.gui.merging import Labelled, snapshot
from napari_unet.gui.modelling import Modelling, copy_model
from napari_unet.gui.progress import in_words
from napari_unet.gui.segmenting import Segmenting
from napari_unet.gui.state import Activity, Advance, ModelChoice, Proposal, ReviewedCount
from napari_unet.gui.tasks import Aside, Remote, Task
from napari_unet.gui.training_state import Curve, Side, Training
from napari_unet.imaging.image import Image
from napari_unet.jobs.finetuned import WatchRef
from napari_unet.jobs.requests import ArrayRef, FinetuneRequest, FinetuneResult, ImageRef, PairRef
from napari_unet.session.project import ModelEntry
from napari_unet.training.config import FineTuneConfig
from napari_unet.weights.file import SUFFIX


@dataclass(frozen=True, slots=True)
class Pair:
    """An image, its channels, and a copy of its corrections: the user may go on painting."""

    image_id: str
    image: Image
    labels: Labelled
    reviewed: Labelled
    channels: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Staged:
    """What the background process is given."""

    pairs: tuple[PairRef, ...]
    watch: WatchRef | None
    checkpoint: str


class FineTuning:
    """Trains in the background process and holds the result until the user decides.

    Parameters
    ----------
    desk : Desk
    modelling : Modelling
    segmenting : Segmenting
    lineage : Lineage
        Takes in each model that is used.
    halting : Halting
        Knows where a training is saved while it runs.
    """

    def __init__(
        self, desk: Desk, modelling: Modelling, segmenting: Segmenting, lineage: Lineage, halting: Halting
    ) -> None:
        self._desk, self._modelling, self._segmenting = desk, modelling, segmenting
        self._lineage, self._halting = lineage, halting
        self.held_out = HeldOutView(desk)
        self._number = 0
        self._discarding = False
        self._at = (0, 0.0)  # step and seconds
        self._remarks: tuple[str, ...] = ()  # what the user should still know at the end
        self._running: LiveView | None = None  # while a model learns
        self._view: LiveView | None = None  # of the proposed model
        desk.viewer.layers.events.removed.connect(self._on_removed)

    def start(self) -> None:
        """Fine-tune on all chosen pairs of image and correction."""
        self._desk.attempt(self._start)

    def go_on(self) -> None:
        """Go on with the training that was interrupted, with the model and the settings that it had."""
        if not self._desk.state.busy and self._halting.restore():
            self.start()

    def pause(self, paused: bool) -> None:
        """Let the training rest, or go on."""
        state = self._desk.state
        if state.activity is Activity.FINE_TUNING and state.training.running:
            self._desk.runner.pause(paused)
            state.training = state.training.model_copy(update={"paused": paused})
            self._show_stage()

    def stop(self, *, keep: bool) -> None:
        """End the training now; judge the best so far, or throw it away."""
        if self._desk.state.activity is Activity.FINE_TUNING:
            self._discarding = not keep
            self._desk.cancel(keep=keep)

    @property
    def neighbours_obstacle(self) -> str:
        """What keeps the model from being shown neighbouring slices; empty if nothing does."""
        state = self._desk.state
        if state.model is not None and state.model.spec.dims == 3:
            return "A model for volumes sees all slices as they are."
        return "The chosen image has a single slice." if state.image_slices < 2 else ""

    def set_live(self, live: bool) -> None:
        """Choose whether the visible region is segmented while a model learns."""
        self._desk.state.live = live

    def compare(self, side: Side) -> None:
        """Show what the old or the new model finds in the region that was visible; or neither."""
        self._desk.attempt(lambda: self._compare(side))

    def use(self, *, segment_again: bool) -> None:
        """Take the proposed model, keep its file for good, and segment with it if asked to."""
        proposal = self._desk.state.proposal
        if proposal is not None:
            self._desk.run(Activity.EXPORTING, self._use_task(proposal, segment_again))

    def propose(self, proposal: Proposal, view: LiveView | None) -> None:
        """Ask the user to decide about a new model, in place of the last one.

        Parameters
        ----------
        proposal : Proposal
        view : LiveView, optional
            What the old and the new model find in the region that is on the screen.
        """
        self._forget_proposal()
        self._view = view
        self._desk.state.proposal = proposal
        self.held_out.tell(proposal.result.held_out)

    def save_as(self, path: str) -> None:
        """Save the proposed model as a file; it stays proposed."""
        proposal = self._desk.state.proposal
        if proposal is not None:
            self._desk.run(Activity.EXPORTING, self._save_task(proposal, path))

    def discard(self) -> None:
        """Throw the proposed model away."""
        proposal = self._desk.state.proposal
        if proposal is not None:
            self._forget_proposal()
            self.held_out.tell(None)
            self._desk.state.curve = Curve()
            self._desk.state.tell("The new model is discarded; the old one is in use.")

    def skip(self, correction: str, skipped: bool) -> None:
        """Leave a correction layer out of the training, or take it in again."""
        state = self._desk.state
        one = frozenset({correction})
        state.skipped = state.skipped | one if skipped else state.skipped - one

    def _compare(self, side: Side) -> None:
        if self._view is not None:
            self._view.compare(self._desk, side)
            self._desk.state.compared = side

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
        if not state.busy:
            state.curve = Curve()
            self._desk.run(Activity.FINE_TUNING, self._task(model, pairs))

    def _pair(self, count: ReviewedCount) -> Pair:
        correction, reviewed = self._desk.correction(count.image)
        layer = self._desk.image_layer(count.image)
        reading = reading_of(self._desk, layer)
        image = layers.image_of(layer, reading.axes)
        return Pair(count.image, image, snapshot(correction), snapshot(reviewed) > 0, reading.channels)

    def _task(self, model: ModelChoice, pairs: list[Pair]) -> Task:
        state, refs = self._desk.state, list[ArrayRef]()
        self._discarding, self._at, self._remarks = False, (0, 0.0), ()
        for pair in pairs:
            self.held_out.know(pair.image.name, pair.image_id)
        state.training = Training(sentence="Preparing…")
        self._running, begun = live_view(self._desk), self._halting.begin(model)
        try:
            if self._running is not None and state.live:
                self._running.prepare(self._desk)
            staged = yield Aside(partial(self._stage_all, pairs, begun, state.live, refs))
            request = self._request(model, staged)
            try:
                result: FinetuneResult = yield Remote(request, self._on_event)
            except Cancelled:
                if not self._discarding:
                    raise
                self._throw_away(Path(request.candidate), begun)
                return
            self._end(result, model, begun)
        except Exception as error:
            raise self._with_advice(error, begun) from error
        finally:
            state.training = Training()
            if self._desk.open:  # the viewer may be closing
                self.held_out.tell(None if state.proposal is None else state.proposal.result.held_out)
                if self._running is not None:
                    self._running.close(self._desk)
            self._desk.release(*refs)

    def _end(self, result: FinetuneResult, model: ModelChoice, begun: tuple[Path, Begun] | None) -> None:
        state = self._desk.state
        if self._discarding:  # it came to its end just before it heard of that
            self._throw_away(Path(result.candidate), begun)
            return
        if begun is not None:
            self._halting.end(begun[0])
        # Only now: until there is a new model, the user may still decide about the last one.
        view, self._running = self._running, None
        shown = view is not None and result.seen is not None and view.show_new(self._desk)
        self.propose(Proposal(result=result, base=model), view)
        if shown:
            state.compared = "after"
        done = "Fine-tuning is done. Decide about the new model in step 4."
        state.tell(" ".join((done, *self._remarks)), "warning" if self._remarks else "info")

    def _throw_away(self, candidate: Path, begun: tuple[Path, Begun] | None) -> None:
        if begun is not None:
            self._halting.end(begun[0])
        candidate.unlink(missing_ok=True)
        self._desk.state.curve = Curve()
        self._desk.state.tell("The training was stopped and thrown away; the model in use is as it was.")

    def _with_advice(self, error: Exception, begun: tuple[Path, Begun] | None) -> Exception:
        """Return an error that ended the training, and what to do about it."""
        if begun is not None and self._discarding:
            self._halting.end(begun[0])
        if begun is None or not isinstance(error, JobError) or not begun[0].is_file():
            return error
        return JobError(f"{error} “Fine-tune” goes on from where the training was saved last.")

    def _stage_all(
        self, pairs: list[Pair], begun: tuple[Path, Begun] | None, live: bool, refs: list[ArrayRef]
    ) -> Staged:
        """Make everything readable for the background process; runs in a thread."""
        images: dict[str, ImageRef] = {}
        staged = tuple(self._stage(pair, images, refs) for pair in pairs)
        view, watch = self._running, None
        if view is not None:
            if view.image_id not in images:
                images[view.image_id] = self._desk.stage_image(view.image)
                refs.append(images[view.image_id].array)
            watch = view.stage(self._desk, images[view.image_id], live=live)
        return Staged(staged, watch, str(begun[0]) if begun is not None and write(*begun) else "")

    def _stage(self, pair: Pair, images: dict[str, ImageRef], refs: list[ArrayRef]) -> PairRef:
        image = images[pair.image_id] = self._desk.stage_image(pair.image)
        refs.append(image.array)
        labels = self._desk.scratch.stage(pair.labels)
        refs.append(labels)
        reviewed = self._desk.scratch.stage(pair.reviewed.astype("uint8"))
        refs.append(reviewed)
        return PairRef(image=image, labels=labels, reviewed=reviewed, channels=pair.channels)

    def _request(self, model: ModelChoice, staged: Staged) -> FinetuneRequest:
        state = self._desk.state
        self._number += 1
        slices = 1 if self.neighbours_obstacle else 1 + 2 * state.neighbours
        candidate = self._desk.scratch.folder / f"candidate-{self._number}{SUFFIX}"
        return FinetuneRequest(
            model=model.ref,
            pairs=staged.pairs,
            channels=state.channels,
            config=FineTuneConfig(
                seconds=60 * state.minutes,
                device=state.device,
                diameter_px=state.diameter_px,
                slices=slices if slices > model.spec.slices else None,
                forget=state.forget,
            ),
            candidate=str(candidate),
            watch=staged.watch,
            checkpoint=staged.checkpoint,
        )

    def _on_event(self, event: Event) -> None:
        state = self._desk.state
        curve = state.curve
        match event:
            case StepDone(step, loss, elapsed_s):
                state.curve = curve.model_copy(update={"loss": (*curve.loss, (elapsed_s, loss))})
                self._at = (step, elapsed_s)
                self._show_stage()
            case ValidationDone(0, score):
                state.curve = curve.model_copy(update={"old_score": score})
            case ValidationDone(_, score, _, elapsed_s):
                state.curve = curve.model_copy(update={"score": (*curve.score, (elapsed_s, score))})
            case HeldOut():
                self.held_out.tell(event)
            case ViewDone():
                if self._running is not None:
                    self._running.show_new(self._desk)
            case TileDone():  # of what the user looks at: no progress of the training
                pass
            case _:
                self._desk.show(event)
                if isinstance(event, Notice) and self._at[0]:
                    self._remarks = (*self._remarks, event.text)
                if isinstance(event, Progress) and not state.training.paused:
                    state.training = state.training.model_copy(update={"sentence": f"{event.stage}…"})

    def _show_stage(self) -> None:
        """Tell how far the training is."""
        state, (step, elapsed_s) = self._desk.state, self._at
        budget, paused = 60 * state.minutes, state.training.paused
        left = max(0.0, budget - elapsed_s)
        state.advance = Advance(
            stage=f"Paused at step {step:,}" if paused else f"Step {step:,}",
            done=min(round(elapsed_s), round(budget)),
            total=round(budget),
            eta_s=None if paused else left,
        )
        how = f"Paused at step {step:,}" if paused else f"Step {step:,}"
        state.training = Training(running=True, paused=paused, sentence=f"{how} · {in_words(left)} left")

    def _use_task(self, proposal: Proposal, segment_again: bool) -> Task:
        name = (proposal.base.spec.name if proposal.base.trained else proposal.base.variant).strip()
        how = "adapted" if proposal.result.learnt_from == "image" else "fine-tuned"
        stem = name if name.endswith(how) else f"{name} {how}"
        choice = yield Aside(lambda: self._modelling.keep(proposal.result.candidate, stem))
        if choice.source is not None:
            self._lineage.note(_entry(proposal, choice.title), Path(choice.source))
        self._forget_proposal()
        self.held_out.tell(None)
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
        if self._view is not None:
            self._view.close(self._desk)
            self._view = None

    def _on_removed(self, _event: object = None) -> None:
        """Note that the layer with the labels of a model has been removed."""
        if self._desk.open and self._view is not None and not self._view.is_shown(self._desk):
            self._desk.state.compared = ""


def _entry(proposal: Proposal, title: str) -> ModelEntry:
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
