"""Corrections on the disk while they are made, and brought back when the image is opened again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image as ImageLayer
from napari.layers import Labels
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_unet.errors import LabelsError, NapariUnetError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.earlier import Found, announced, clock, find, identity, last_saved, offer_of, show_beside, told
from napari_unet.gui.keeping_state import Keeping
from napari_unet.gui.recording import STROKE, Recorder
from napari_unet.gui.tasks import Aside, AsideThread
from napari_unet.gui.whereabouts import go_back, model_of, whereabouts
from napari_unet.session.project import ModelEntry, Project, open_project
from napari_unet.session.recovery import Restored, RestoredLayer
from napari_unet.session.session import Session

KEYS: tuple[layers.Role, ...] = ("correction", "reviewed")
_POLL_MS = 200
_CLOSE_S = 10.0
_NOTE_S = 5.0
# Key in the settings of a project.
WHEREABOUTS = "whereabouts"


@dataclass(slots=True)
class _Kept:
    """An image whose corrections are kept."""

    session: Session
    recorders: list[Recorder] = field(default_factory=list)

    def answer(self) -> None:
        """Tell of all that has been done, if a snapshot waits for that."""
        if self.session.asks:
            for recorder in self.recorders:
                recorder.tell_stroke()
            self.session.all_is_told()


class Keeper:
    """Keeps the corrections of each image in a project of its own.

    Parameters
    ----------
    desk : Desk

    Attributes
    ----------
    brought_back : signal
        With the id of an image whose layers are there again.
    models_noted : signal
        When the models of a project may be others.
    """

    brought_back = Signal(str)
    models_noted = Signal()

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._found: dict[str, Found] = {}
        self._kept: dict[str, _Kept] = {}
        self._projects: dict[str, Project] = {}  # those that can only be read, too
        self._asides: list[tuple[AsideThread, Callable[[AsideThread], None]]] = []
        self._looking: set[str] = set()  # images whose projects are being looked for
        self._waiting: set[str] = set()  # those of them that are to be kept when that has ended
        self._closed = False
        self._noted = 0.0
        self._timer = QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._poll)
        self._timer.start()
        desk.state.events.image.connect(self.look)
        desk.viewer.layers.events.removed.connect(self._on_removed)

    def look(self) -> None:
        """Look whether the chosen image has been corrected before, and offer to go on."""
        image = self._desk.state.image
        if self._closed or image is None or image in self._found or image in self._kept:
            self._show()
            return
        if image in self._looking:
            return
        self._looking.add(image)
        identify = identity(self._desk.image_layer(image))
        self._aside(partial(find, identify), partial(self._on_found, image))

    def go_on(self) -> None:
        """Take the layers of the project as they were at the end."""
        self._desk.attempt(lambda: self._take(*self._offered()))

    def open_saved(self) -> None:
        """Take the layers as they were in the last snapshot; all that is there is put aside too."""
        self._desk.attempt(lambda: self._with_saved(lambda image, saved: self._take(image, saved, whole=True)))

    def keep_both(self) -> None:
        """Take the layers as they were at the end, and show those of the last snapshot beside them."""
        self._desk.attempt(lambda: self._with_saved(self._take_both))

    def begin(self, image: str) -> None:
        """Keep the correction layers of an image from now on."""
        if image in self._kept:
            return
        if image in self._looking:  # it is just being opened, and nobody else can
            self._waiting.add(image)
            return
        found = self._found.pop(image, None)
        if found is not None:
            self._keep_anew(image, found.project)
            return
        identify = identity(self._desk.image_layer(image))
        self._aside(lambda: open_project(identify()), partial(self._on_opened, image))

    def close(self) -> None:
        """Write what is left and give the projects back."""
        self._closed = True
        with contextlib.suppress(RuntimeError):  # when Python ends, Qt may have deleted the timer already
            self._timer.stop()
        for kept in self._kept.values():
            for recorder in kept.recorders:
                recorder.close()
            kept.session.close(_CLOSE_S)
        for found in self._found.values():
            found.project.close(clean=not found.project.unclean)
        self._kept.clear()
        self._found.clear()

    # -- finding --------------------------------------------------------------

    def _on_found(self, image: str, aside: AsideThread) -> None:
        self._looking.discard(image)
        waiting = image in self._waiting
        self._waiting.discard(image)
        found: Found | None = aside.result
        if aside.error is not None:
            self._desk.state.tell(str(aside.error), "warning")
        if found is not None and layers.by_id(self._desk.viewer, image) is None:
            found.project.close(clean=not found.project.unclean)
            return
        if found is not None:
            self._found[image] = found
            self._know(image, found.project)
            if not waiting:
                self._desk.state.tell(announced(found))
        if waiting:
            self.begin(image)
        self._show()

    # -- bringing back --------------------------------------------------------

    def _offered(self) -> tuple[str, Restored]:
        """Return the image and what is kept of it."""
        image = self._desk.state.image
        found = self._found.get(image or "")
        if image is None or found is None:
            raise LabelsError("Nothing is kept of this image.")
        return image, found.restored

    def _with_saved(self, then: Callable[[str, Restored], None]) -> None:
        """Read the last snapshot in a thread, and do something with it."""
        image, _ = self._offered()
        self._aside(partial(last_saved, self._found[image]), partial(self._on_saved, image, then))

    def _on_saved(self, image: str, then: Callable[[str, Restored], None], aside: AsideThread) -> None:
        if aside.error is not None:
            self._desk.state.tell(str(aside.error), "error")
        elif image in self._found:
            self._desk.attempt(lambda: then(image, aside.result))

    def _take_both(self, image: str, saved: Restored) -> None:
        layer = self._desk.image_layer(image)
        show_beside(self._desk.viewer, layer, saved)
        self._take(image, self._found[image].restored)

    def _take(self, image: str, restored: Restored, *, whole: bool = False) -> None:
        """Make layers of what a project holds, and go on keeping them; `whole` if its journal is to follow them."""
        layer = self._desk.image_layer(image)
        viewer = self._desk.viewer
        for role in KEYS:
            for old in list(layers.with_role(viewer, role, image)):
                viewer.layers.remove(old)
        kept = dict(restored.layers)
        correction = kept.get("correction")
        if correction is not None and "reviewed" not in kept:  # it ended before anything of that was saved
            kept["reviewed"] = RestoredLayer(np.zeros(correction.array.shape, np.uint8), correction.about)
        for key in reversed(KEYS):
            if key in kept:
                self._add(key, layer, kept[key].array, kept[key].about)
        project = self._found.pop(image).project
        self._desk.state.tell(told(restored))
        for remark in restored.remarks:
            self._desk.state.tell(remark, "warning")
        self._follow(image, project, restored.number, whole=whole)
        self.brought_back.emit(image)
        self._go_back(project.file.settings)

    def _go_back(self, settings: Mapping[str, Any]) -> None:
        """Show what was on the screen, and choose the model that was chosen."""
        known = settings.get(WHEREABOUTS, {})
        go_back(self._desk.viewer, known)
        model = model_of(self._desk.state, known)
        if model is not None and model != self._desk.state.model:
            self._desk.state.model = model

    def _note_whereabouts(self) -> None:
        """Write now and then where the user is, if that has changed."""
        kept = self._kept.get(self._desk.state.image or "") if self._desk.open else None
        if kept is None or time.monotonic() - self._noted < _NOTE_S:
            return
        self._noted = time.monotonic()
        here, project = whereabouts(self._desk.viewer, self._desk.state), kept.session.project
        if here != project.file.settings.get(WHEREABOUTS):
            self._aside(partial(_set, project, WHEREABOUTS, here), _ignored)

    def note(self, image: str, key: str, known: Any) -> bool:  # noqa: ANN401
        """Write a setting, which JSON can hold, into the project of an image; whether its project is open."""
        kept = self._kept.get(image)
        if kept is not None:
            self._aside(partial(_set, kept.session.project, key, known), _ignored)
        return kept is not None

    def noted(self, image: str, key: str) -> Any:  # noqa: ANN401
        """Return a setting from the project of an image; None if there is none."""
        kept = self._kept.get(image)
        return None if kept is None else kept.session.project.file.settings.get(key)

    def note_model(self, entry: ModelEntry, file: Path) -> None:
        """Keep a model that was trained on the corrections, and say where it comes from.

        Parameters
        ----------
        entry : ModelEntry
            Without a file.
        file : Path
            Of the model; a copy of it goes into each project whose corrections are shown.
        """
        for kept in self._kept.values():
            learnt = entry.model_copy(update={"edits": kept.session.journal.state.number})
            self._aside(partial(_add_model, kept.session.project, learnt, file), lambda _: self.models_noted.emit())

    def project(self, image: str) -> Project | None:
        """Return the project of an image, also if it can only be read; None if it has none."""
        return self._projects.get(image)

    def _add(self, key: layers.Role, layer: ImageLayer, array: npt.NDArray[Any], about: Mapping[str, Any]) -> Labels:
        axes = str(about.get("axes", ""))
        frame = layers.frame_of(layer, axes)
        return self._desk.viewer.add_labels(array, **layers.tagged(key, layer, frame), **layers.look_of(key))

    # -- keeping --------------------------------------------------------------

    def _on_opened(self, image: str, aside: AsideThread) -> None:
        if aside.error is not None:
            self._desk.state.tell(str(aside.error), "error")
            return
        self._keep_anew(image, aside.result)

    def _keep_anew(self, image: str, project: Project) -> None:
        """Keep layers that are new; what the project held before is put aside, never removed."""
        if project.writable:
            try:
                project.set_aside()
            except (OSError, NapariUnetError) as error:
                self._desk.state.tell(f"Corrections are not saved: {error}", "error")
                return
        self._follow(image, project, 0)

    def _know(self, image: str, project: Project) -> None:
        self._projects[image] = project
        self.models_noted.emit()

    def _follow(self, image: str, project: Project, number: int, *, whole: bool = False) -> None:
        self._know(image, project)
        if not project.writable:
            self._desk.state.tell(
                f"Corrections of this image are not saved: {project.obstacle} Export the masks to keep them.", "warning"
            )
            return
        try:
            correction, reviewed = self._desk.correction(image)
        except LabelsError:
            project.close(clean=False)
            return
        session = Session(project, number, prompted=True)
        kept = self._kept[image] = _Kept(session)
        for key, layer in zip(KEYS, (correction, reviewed), strict=True):
            session.add_layer(key, layer.data, {"axes": layers.frame_of_labels(layer).axes, "name": layer.name})
            if whole:
                session.replace_array(key, layer.data)
            kept.recorders.append(Recorder(layer, partial(self._on_edit, session, key, layer), strokes=True))
        if project.remark:
            self._desk.state.tell(project.remark)
        self._show()

    def _on_edit(self, session: Session, key: str, layer: Labels, kind: str, boxes: list[Any]) -> None:
        if kind == "data":
            session.replace_array(key, layer.data)
        else:
            session.record(key, kind, boxes, ended=kind != STROKE)
        self._show()

    def _on_removed(self, _event: object = None) -> None:
        """End what belongs to layers that are gone."""
        viewer = self._desk.viewer
        self._projects = {image: one for image, one in self._projects.items() if layers.by_id(viewer, image)}
        for image, kept in list(self._kept.items()):
            if layers.find(viewer, "correction", image) is None or layers.by_id(viewer, image) is None:
                del self._kept[image]
                for recorder in kept.recorders:
                    recorder.close()
                threading.Thread(target=kept.session.close, daemon=True).start()
        for image, found in list(self._found.items()):
            if layers.by_id(viewer, image) is None:
                del self._found[image]
                found.project.close(clean=not found.project.unclean)
        self._show()

    # -- showing --------------------------------------------------------------

    def _aside(self, work: Callable[[], Any], then: Callable[[AsideThread], None]) -> None:
        """Do something in a thread, and something else afterwards in the main one."""
        aside = AsideThread(Aside(work))
        self._asides.append((aside, then))
        aside.start()

    def _poll(self) -> None:
        for one in list(self._asides):
            aside, then = one
            if aside.done.is_set():
                self._asides.remove(one)
                then(aside)
        for kept in self._kept.values():
            kept.answer()
        self._note_whereabouts()
        self._show()

    def _show(self) -> None:
        """Tell the panel how the chosen image stands."""
        if self._closed or not self._desk.open:
            return
        state = self._desk.state
        image = state.image or ""
        kept, found = self._kept.get(image), self._found.get(image)
        shown = Keeping()
        if kept is not None:
            status = kept.session.status
            saved = status.saved and not any(recorder.owes for recorder in kept.recorders)
            shown = Keeping(
                kept=True, saved=saved, problem=status.problem, at=clock(status.last), folder=str(status.folder)
            )
        elif found is not None:
            shown = Keeping(offer=offer_of(found), folder=str(found.project.folder))
        if shown != state.keeping:
            state.keeping = shown


def _ignored(_aside: AsideThread) -> None:
    """Of what is a courtesy no failure is told: corrections are safe without it."""


def _set(project: Project, key: str, known: Any) -> None:  # noqa: ANN401
    if project.writable:
        project.set(key, known)


def _add_model(project: Project, entry: ModelEntry, file: Path) -> None:
    if project.writable:
        project.add_model(entry, file)
