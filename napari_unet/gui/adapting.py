"""Before any correction: adapt the model to the image, without labels; the user decides about the result."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from napari_unet.errors import ModelError
from napari_unet.gui.desk import Desk
from napari_unet.gui.finetuning import FineTuning
from napari_unet.gui.live_view import LiveView, live_view
from napari_unet.gui.state import Activity, ModelChoice, Proposal
from napari_unet.gui.tasks import Aside, Remote, Task
from napari_unet.imaging.image import Image
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.finetuned import WatchRef
from napari_unet.jobs.requests import AdaptRequest, ArrayRef, FinetuneResult, ImageRef
from napari_unet.weights.bundled import resolve
from napari_unet.weights.file import SUFFIX, has_batch_statistics

_DONE = "The model was adapted, and nothing was held out to judge it by: compare Before and After, and decide."


class Adapting:
    """Estimates anew, on the chosen image, what the chosen model remembers of its images.

    Parameters
    ----------
    desk : Desk
    finetuning : FineTuning
        Holds the adapted model until the user decides.
    """

    def __init__(self, desk: Desk, finetuning: FineTuning) -> None:
        self._desk, self._finetuning = desk, finetuning
        self._number = 0
        self._can_adapt = True
        desk.state.events.model.connect(self._look, max_args=0)

    @property
    def obstacle(self) -> str:
        """What keeps the chosen model from being adapted to the chosen image; empty if nothing does."""
        state = self._desk.state
        if state.obstacle:
            return state.obstacle
        if not self._can_adapt:
            return (
                "This model has no batch normalization, so it remembers nothing of its images that could be estimated "
                "anew. Fine-tune it on corrections instead."
            )
        if state.proposal is not None and state.proposal.result.learnt_from == "corrections":
            return (
                "A model that learnt from your corrections waits for your decision in step 4. Use or discard it first."
            )
        return ""

    def start(self) -> None:
        """Adapt a copy of the chosen model to the chosen image."""
        self._desk.attempt(self._start)

    def _look(self) -> None:
        """Find out, when another model is chosen, whether it can be adapted."""
        model = self._desk.state.model
        self._can_adapt = model is None or not model.trained or _can_adapt(model)

    def _start(self) -> None:
        if self._desk.state.busy:
            return
        if self.obstacle:
            raise ModelError(self.obstacle)
        model = self._desk.state.model
        assert model is not None
        self._number += 1
        candidate = self._desk.scratch.folder / f"adapted-{self._number}{SUFFIX}"
        task = self._task(model, self._desk.chosen_image(), live_view(self._desk), candidate)
        self._desk.run(Activity.ADAPTING, task)

    def _task(self, model: ModelChoice, image: Image, view: LiveView | None, candidate: Path) -> Task:
        desk, state, refs = self._desk, self._desk.state, list[ArrayRef]()
        try:
            staged, watch = yield Aside(partial(self._stage, image, view, refs))
            request = AdaptRequest(
                model=model.ref,
                image=staged,
                inference=InferenceConfig(
                    axes=image.axes, channels=state.channels, diameter_px=state.diameter_px, device=state.device
                ),
                candidate=str(candidate),
                watch=watch,
            )
            result: FinetuneResult = yield Remote(request, desk.show)
        except Exception:
            candidate.unlink(missing_ok=True)
            if view is not None and desk.open:  # the viewer may be closing
                view.close(desk)
            raise
        finally:
            desk.release(*refs)
        self._finetuning.propose(Proposal(result=result, base=model), view)
        state.tell(_DONE)
        if result.seen is not None:
            self._finetuning.compare("after")

    def _stage(self, image: Image, view: LiveView | None, refs: list[ArrayRef]) -> tuple[ImageRef, WatchRef | None]:
        """Make the image readable for the background process; runs in a thread."""
        staged = self._desk.stage_image(image)
        refs.append(staged.array)
        return staged, None if view is None else view.stage(self._desk, staged, live=False)


def _can_adapt(model: ModelChoice) -> bool:
    """Whether a model remembers statistics of features; one whose file cannot be looked at may."""
    if not model.can_train:  # a program, not weights
        return False
    try:
        path = resolve(model.source or "")
        return path.suffix != SUFFIX or has_batch_statistics(path)
    except ModelError:
        return True
