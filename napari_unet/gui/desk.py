"""What the parts of the controller share: the viewer, the state, the tasks and the scratch files."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable

from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from napari.layers import Labels

from napari_unet.errors import Cancelled, ImageError, LabelsError, NapariUnetError
from napari_unet.events import Event, Notice
from napari_unet.gui import layers
from napari_unet.gui.pacing import Pace
from napari_unet.gui.progress import Stopwatch
from napari_unet.gui.state import Activity, Advance, ViewerState
from napari_unet.gui.tasks import Client, Task, TaskRunner
from napari_unet.imaging.image import Image
from napari_unet.jobs.messages import Ready
from napari_unet.jobs.requests import ArrayRef, ImageRef
from napari_unet.jobs.scratch import Scratch


class Desk:
    """One per viewer. Holds no layer: those are found when they are needed.

    Parameters
    ----------
    viewer : ViewerModel
        Held weakly.
    state : ViewerState
    client : Client
        The background process.
    scratch : Scratch
        Files that both processes map into memory.
    """

    def __init__(self, viewer: ViewerModel, state: ViewerState, client: Client, scratch: Scratch) -> None:
        self._viewer = weakref.ref(viewer)
        self.state = state
        self.scratch = scratch
        self.runner = TaskRunner(client, self._on_ready, self._on_end)
        self.pace = Pace()
        self._stopwatch = Stopwatch()
        self._advance = Advance()
        self._waiting: list[Callable[[], None]] = []

    @property
    def open(self) -> bool:
        """Whether the viewer still lives."""
        return self._viewer() is not None

    @property
    def viewer(self) -> ViewerModel:
        """The viewer, as long as it lives."""
        viewer = self._viewer()
        assert viewer is not None
        return viewer

    def image_layer(self, image: str | None = None) -> ImageLayer:
        """Return an image layer, by default the one that is chosen.

        Raises
        ------
        ImageError
            If there is none.
        """
        layer = layers.by_id(self.viewer, image or self.state.image)
        if layer is None and image:
            raise ImageError("The image layer was removed meanwhile; its labels stay. Open the image again to go on.")
        if layer is None:
            raise ImageError(
                "No image is chosen. Open one, or take one from File > Open Sample, and choose it in step 2."
            )
        return layer

    def chosen_image(self) -> Image:
        """Wrap the chosen image layer with the axes that the user gave.

        Raises
        ------
        ImageError
            If there is none, or it cannot be used.
        AxesError
            If the axes do not describe it.
        """
        return layers.image_of(self.image_layer(), self.state.axes)

    def correction(self, image: str | None = None) -> tuple[Labels, Labels]:
        """Return the correction layer of an image and its reviewed layer.

        Raises
        ------
        LabelsError
            If one of them is missing.
        """
        image = image or self.state.image
        found = [layers.find(self.viewer, role, image or "") for role in ("correction", "reviewed")]
        if found[0] is None or found[1] is None:
            raise LabelsError("This image has no correction layer. Press “Start correcting” first.")
        return found[0], found[1]

    def stage_image(self, image: Image) -> ImageRef:
        """Make an image readable for the background process; runs in a thread."""
        size = image.pixel_size
        return ImageRef(
            array=self.scratch.stage(image.array),
            axes=image.axes,
            pixel_size_um=(size.z_um, size.y_um, size.x_um),
            name=image.name,
        )

    def release(self, *refs: ArrayRef | None) -> None:
        """Remove scratch arrays."""
        for ref in refs:
            if ref is not None:
                self.scratch.release(ref)

    def run(self, activity: Activity, task: Task) -> bool:
        """Start a task, unless one is running; whether it was started."""
        if self.state.busy:
            return False
        self._stopwatch = Stopwatch()
        self.pace.forget()
        self.state.advance = Advance()
        self.state.activity = activity
        self.state.tell("")
        self.runner.run(task)
        return True

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call something now, or when the running task has ended."""
        if self.state.busy:
            self._waiting.append(call)
        else:
            call()

    def attempt(self, call: Callable[[], None]) -> None:
        """Call something and tell the user what went wrong, if it did."""
        try:
            call()
        except NapariUnetError as error:
            self.state.tell(str(error), "error")

    def cancel(self, *, keep: bool = True) -> None:
        """Ask the running task to end, and to `keep` what can be used of it."""
        if self.state.cancellable:
            self.state.activity = Activity.CANCELLING
            self.runner.cancel(keep=keep)

    def close(self) -> None:
        """End all work and remove the scratch files."""
        self._waiting.clear()
        with contextlib.suppress(RuntimeError):  # when Python ends, Qt may have deleted its timers already
            self.pace.forget()
        self.runner.close()
        self.scratch.close()

    def show(self, event: Event) -> None:
        """Show an event in the status line."""
        if isinstance(event, Notice):
            self.state.tell(event.text)
            return
        advance = self._stopwatch.read(event)
        if advance is not None:
            self._advance = advance
            self.pace.ask(self._show_advance)

    def _show_advance(self) -> None:
        self.state.advance = self._advance

    def _on_ready(self, ready: Ready) -> None:
        automatic, *_ = self.state.devices
        self.state.devices = (automatic, *ready.devices)

    def _on_end(self, error: Exception | None) -> None:
        self.state.activity = Activity.IDLE  # first: whatever fails below, the panel is not stuck
        self.pace.forget()
        self.state.advance = Advance()
        if isinstance(error, Cancelled):
            self.state.tell(str(error) or "Cancelled.")
        elif isinstance(error, NapariUnetError):
            self.state.tell(str(error), "error")
        elif error is not None:
            self.state.tell(f"This should not have happened: {error!r}", "error")
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self.when_idle(call)
