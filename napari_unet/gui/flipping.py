"""Fields whose answer changes when they are flipped: looked for by the background process when it has nothing to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_unet.errors import NapariUnetError
from napari_unet.gui.desk import Desk
from napari_unet.gui.tasks import Aside, AsideThread
from napari_unet.imaging.image import Image
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.requests import ArrayRef, FlipRequest, ImageRef, ModelRef
from napari_unet.jobs.scratch import open_array
from napari_unet.objects.editing.changes import Box
from napari_unet.objects.reviewing import Gain

# So many fields are asked for at once: the next ones are chosen when it is known what has been reviewed by then.
BATCH = 256


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the answers depend on."""

    model: ModelRef
    classes: int
    inference: InferenceConfig


@dataclass(slots=True)
class _Asked:
    """Fields that the background process looks at, and where it writes what it finds."""

    indices: list[int]
    gains: ArrayRef
    running: bool = True


@dataclass(slots=True)
class _Staged:
    """An image that is being made readable for the background process, in a thread."""

    desk: Desk
    image: Image
    thread: AsideThread = field(init=False)
    dropped: bool = False

    def __post_init__(self) -> None:
        self.thread = AsideThread(Aside(self._stage))
        self.thread.start()

    def drop(self) -> None:
        """Remove the copy, now or when it is there."""
        self.dropped = True
        if self.thread.done.is_set() and self.thread.error is None:
            self.desk.release(self.thread.result.array)

    def _stage(self) -> ImageRef:
        ref = self.desk.stage_image(self.image)
        if self.dropped:
            self.desk.release(ref.array)
        return ref


@dataclass(slots=True)
class Flipping:
    """Looks at the fields of the chosen image, here and there, and gives way to all other work.

    Attributes
    ----------
    desk : Desk
    fields : sequence of Box
        Along T, Z, Y and X.
    is_reviewed : callable
        Whether a field need not be looked at.
    gains : dict of int to Gain
        As far as they are known.
    problem : str
        Why there are no more; may be empty.
    """

    desk: Desk
    fields: Sequence[Box]
    is_reviewed: Callable[[int], bool]
    gains: dict[int, Gain] = field(default_factory=dict)
    problem: str = ""
    _settings: _Settings | None = None
    _staged: _Staged | None = None
    _asked: _Asked | None = None

    def go_on(self) -> None:
        """Take what has been found, and ask for more; call it now and then."""
        try:
            self._go_on()
        except NapariUnetError as error:
            self.problem = str(error)

    def rest(self) -> None:
        """Ask for nothing more until `go_on` is called again."""
        if self._asked is not None and self._asked.running:
            self.desk.runner.give_way()
        self._take()

    def close(self) -> None:
        """End all work and remove the scratch files."""
        self.rest()
        self._drop()

    def _go_on(self) -> None:
        settings = _settings_of(self.desk)
        if settings != self._settings:
            self.rest()
            self._drop()
            self._settings, self.problem = settings, ""
            self.gains.clear()
        self._take()
        if settings is None or self.problem or self._asked is not None or self.desk.state.busy:
            return
        image = self._image()
        indices = self._next()
        if image is not None and indices:
            self._ask(settings, image, indices)

    def _image(self) -> ImageRef | None:
        """Return the image as the background process reads it, as soon as it can."""
        if self._staged is None:
            self._staged = _Staged(self.desk, self.desk.chosen_image())
        thread = self._staged.thread
        if not thread.done.is_set():
            return None
        if thread.error is not None:
            self.problem = str(thread.error)
            return None
        ref: ImageRef = thread.result
        return ref

    def _next(self) -> list[int]:
        """Choose fields here and there, so that the first ones tell of the whole image."""
        order = np.random.default_rng(0).permutation(len(self.fields))
        left = [int(index) for index in order if int(index) not in self.gains]
        return [index for index in left if not self.is_reviewed(index)][:BATCH]

    def _ask(self, settings: _Settings, image: ImageRef, indices: list[int]) -> None:
        gains = self.desk.scratch.array((len(indices), 2 + settings.classes), np.float32)
        request = FlipRequest(
            model=settings.model,
            image=image,
            inference=settings.inference,
            fields=tuple(self.fields[index] for index in indices),
            gains=gains,
        )
        asked = _Asked(indices, gains)

        def end(problem: str) -> None:
            asked.running = False
            self.problem = self.problem or problem

        if self.desk.runner.meanwhile(request, end):
            self._asked = asked
        else:
            self.desk.release(gains)

    def _take(self) -> None:
        """Take what has been written so far."""
        asked = self._asked
        if asked is None:
            return
        rows = np.array(open_array(asked.gains))
        for index, row in zip(asked.indices, rows, strict=True):
            if row[1:].sum() > 0.5:  # the shares of a field that has been looked at add up to 1
                self.gains[index] = Gain(float(row[0]), tuple(float(share) for share in row[1:]))
        if not asked.running:
            self.desk.release(asked.gains)
            self._asked = None

    def _drop(self) -> None:
        """Remove the copy of the image."""
        staged, self._staged = self._staged, None
        if staged is not None:
            staged.drop()


def can_flip(desk: Desk) -> bool:
    """Whether the chosen model can be asked about the chosen image."""
    return _settings_of(desk) is not None


def _settings_of(desk: Desk) -> _Settings | None:
    state, model = desk.state, desk.state.model
    if state.image is None or state.obstacle or model is None or not model.trained or model.spec.activation == "none":
        return None
    inference = InferenceConfig(
        axes=state.axes, channels=state.channels, diameter_px=state.diameter_px, device=state.device
    )
    return _Settings(model.ref, len(model.spec.classes), inference)
