"""A project that is being worked on: every edit goes to the journal, and now and then all layers to a snapshot."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from napari_unet.errors import ExportError, NapariUnetError
from napari_unet.session.journal import Journal, Saved, retire
from napari_unet.session.places import FILE
from napari_unet.session.project import LayerEntry, Project
from napari_unet.session.records import Box, Patch
from napari_unet.session.snapshots import prune, write_snapshot

# A box up to this size is copied at once; a larger one is read by the journal's thread.
COPIED_BYTES = 2**20
# A larger box is written as several records, each of which fits into memory easily.
RECORD_BYTES = 2**24
# A snapshot is made after so many edits, or so many seconds without one.
MOST_EDITS = 2000
IDLE_S = 60.0
# After a snapshot that failed, another one is tried.
RETRY_S = 5.0
# A snapshot waits for the journal, and looks so often whether that can be written; if not, a snapshot is all there is.
SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Status:
    """What the user is told.

    Attributes
    ----------
    saved : bool
        Whether all that has been done is on the disk.
    problem : str
        Why something could not be saved, in a sentence; empty if all is well.
    last : float
        When something was saved last, in seconds since 1970, UTC.
    folder : Path
        Where it is.
    """

    saved: bool
    problem: str
    last: float
    folder: Path


@dataclass(slots=True)
class _Living:
    """A layer that is open."""

    array: Any
    about: Mapping[str, Any]


class Session:
    """Saves the layers of a project while they are worked on.

    Parameters
    ----------
    project : Project
        Writable.
    number : int
        Of the last edit that the project holds, see `napari_unet.session.recovery.restore`.
    on_change : callable, optional
        Is called with a `Status` whenever it changes, in a thread of the session.
    prompted : bool
        Whether `all_is_told` is called while `asks` is true: a snapshot that may hold what nobody has told of yet, such
        as half a stroke, becomes one only when all of that is in the journal.
    """

    def __init__(
        self,
        project: Project,
        number: int = 0,
        on_change: Callable[[Status], None] | None = None,
        *,
        prompted: bool = False,
    ) -> None:
        self.project = project
        self._on_change = on_change
        self._prompted, self._asks, self._told = prompted, False, 0
        self._layers: dict[str, _Living] = {}
        self._entered: dict[str, _Living] = {}
        self._lock = threading.Condition()
        self._entering = threading.Lock()  # two threads do: who comes later must know of more layers
        self._wanted = self._closing = False
        self._since = 0
        self._unsafe: set[str] = set()  # layers of which no snapshot has been made
        self._problem = ""
        self._last = time.time()
        self._touched = time.monotonic()
        self.journal = Journal(project.journal, project.elsewhere, number, self._on_journal, self._ask)
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    def add_layer(self, key: str, array: Any, about: Mapping[str, Any]) -> None:  # noqa: ANN401
        """Take care of a layer from now on; a snapshot of it is made at once.

        Parameters
        ----------
        key : str
            Short, and fit for a file name.
        array : array
            The living one; its edits are told with `record`.
        about : dict
            What JSON can hold.
        """
        with self._lock:
            self._layers[key] = _Living(array, dict(about))
            self._unsafe.add(key)
            self._wanted = True
            self._lock.notify_all()
        self._announce()

    def remove_layer(self, key: str) -> None:
        """Forget a layer that the user has removed; what was saved of it stays in the snapshots that are kept."""
        with self._lock:
            self._layers.pop(key, None)
            self._unsafe.discard(key)
            self._wanted = True
            self._lock.notify_all()

    def record(self, key: str, kind: str, boxes: Sequence[Box], *, ended: bool = True) -> int:
        """Tell that boxes of a layer have just been changed; return the number of the edit.

        Small ones are copied at once, others are read while the user goes on.

        Parameters
        ----------
        key : str
            Of the layer.
        kind : str
            What the user did.
        boxes : sequence of Box
        ended : bool
            False for what a stroke has touched that is still being painted.
        """
        array = self._layers[key].array
        itemsize = np.dtype(array.dtype).itemsize
        small: list[Patch] = []
        large: list[list[Patch]] = []
        for box in boxes:
            if prod(stop - start for start, stop in box) * itemsize <= COPIED_BYTES:
                small.append(Patch(box, np.array(array[tuple(slice(*part) for part in box)])))
            else:
                large += [[Patch(part, array, living=True)] for part in _divided(box, RECORD_BYTES // itemsize)]
        number = self.journal.append(key, kind, *large, *([small] if small or not large else []), ended=ended)
        self._touched = time.monotonic()
        with self._lock:
            self._since += ended
            if self._since >= MOST_EDITS:
                self._wanted = True
                self._lock.notify_all()
        return number

    def replace_array(self, key: str, array: Any) -> None:  # noqa: ANN401
        """Tell that a layer has another array now."""
        with self._lock:
            known = self._layers[key]
        if (known.array.shape, known.array.dtype) != (array.shape, array.dtype):
            self.add_layer(key, array, known.about)
            return
        with self._lock:
            self._layers[key] = _Living(array, known.about)
        # An edit like any other: strokes that follow are on top of it, also if no snapshot is made in between.
        self.record(key, "data", [tuple((0, int(n)) for n in array.shape)])

    @property
    def status(self) -> Status:
        """Whether all is saved."""
        state = self.journal.state
        with self._lock:
            saved = not state.waiting and not self._unsafe
            problem = state.problem or self._problem
            return Status(saved and not problem, problem, self._last, self.project.folder)

    def wait(self, timeout_s: float = 30.0) -> bool:
        """Wait until all is on the disk; whether it is."""
        until = time.monotonic() + timeout_s
        self.journal.wait(timeout_s=timeout_s)
        with self._lock:
            self._lock.wait_for(lambda: not self._unsafe and not self._wanted, max(0.0, until - time.monotonic()))
        return self.status.saved

    @property
    def asks(self) -> bool:
        """Whether a snapshot waits until all is told."""
        return self._asks

    def all_is_told(self) -> None:
        """Say, in the thread that changes the layers, that each change so far has been told with `record`."""
        with self._lock:
            self._asks = False
            self._told += 1
            self._lock.notify_all()

    def snapshot(self) -> None:
        """Make a snapshot soon."""
        with self._lock:
            self._wanted = True
            self._lock.notify_all()

    def close(self, timeout_s: float = 60.0) -> bool:
        """Write all that is left, give the project back; whether all is on the disk.

        The journal is enough to go on from: a last snapshot is made only of layers that have none.
        """
        with self._lock:
            self._prompted = self._asks = False  # who closes it has told of everything
            self._lock.notify_all()
        self.journal.close(timeout_s)
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._thread.join(timeout_s)
        saved = self.status.saved and not self._thread.is_alive()
        self.project.close(clean=saved)
        return saved

    def _run(self) -> None:
        """Make snapshots when they are wanted, and a last one at the end."""
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._wanted or self._closing, RETRY_S if self._problem else IDLE_S)
                closing = self._closing
                idle = self._since > 0 and time.monotonic() - self._touched >= IDLE_S
                if not (self._wanted or idle or self._problem or (closing and self._unsafe)):
                    if closing:
                        return
                    continue
                # Both at once: a new array must not be taken for one that holds the edits of the old one.
                layers, number = dict(self._layers), self.journal.rotate()
                self._wanted, self._since = False, 0
            self._save(layers, number)
            if closing:
                return

    def _save(self, layers: Mapping[str, _Living], number: int) -> None:
        """Make a snapshot and drop what it makes needless."""
        try:
            self._enter()
            contents = {key: (living.array, living.about) for key, living in layers.items()}
            write_snapshot(self.project.snapshots, number, time.time(), contents, self._settle)
            retire(self.project.journal, prune(self.project.snapshots))
            problem = ""
        except (NapariUnetError, OSError) as error:
            problem = str(error)
        except Exception as error:  # whatever it is: it must be seen, and tried again
            problem = f"A snapshot could not be made ({error!r})."
        with self._lock:
            self._problem = problem
            if not problem:
                self._unsafe -= {key for key, living in layers.items() if self._layers.get(key) is living}
                # Those that have another array meanwhile are not in it.
                self._wanted = self._wanted or bool(self._unsafe & set(self._layers))
                self._last = time.time()
            self._lock.notify_all()
        self._announce()

    def _ask(self) -> None:
        """Return when all that the layers hold now has been told."""
        with self._lock:
            self._asks, told = self._prompted, self._told
            self._lock.wait_for(lambda: not self._prompted or self._told > told)

    def _settle(self) -> None:
        """Return when all that the layers hold now is in the journal, or that cannot be written."""
        self._ask()
        while not (self.journal.wait(None, SETTLE_S) or self.journal.state.problem or self._closing):
            pass

    def _enter(self) -> None:
        """Write into the project which layers there are, if that is not there yet."""
        with self._entering:
            with self._lock:
                layers = dict(self._layers)
            entries = {
                key: LayerEntry(
                    shape=tuple(living.array.shape), dtype=np.dtype(living.array.dtype).str, about=dict(living.about)
                )
                for key, living in layers.items()
            }
            if entries != self.project.file.layers:
                self.project.update(layers=entries)
            self._entered = layers

    def _on_journal(self, state: Saved) -> None:
        if not state.problem:
            self._last = time.time()
            if self._layers and not (self.project.folder / FILE).is_file():
                self._begin_anew()
            if self._entered.keys() != self._layers.keys():  # without that, edits mean nothing
                with contextlib.suppress(NapariUnetError):
                    self._enter()
        self._announce()

    def _begin_anew(self) -> None:
        """Save everything again: somebody has removed the folder."""
        with contextlib.suppress(ExportError):
            self.project.update()
        with self._lock:
            self._unsafe |= set(self._layers)
            self._wanted = True
            self._lock.notify_all()

    def _announce(self) -> None:
        if self._on_change is not None:
            self._on_change(self.status)


def _divided(box: Box, most: int) -> list[Box]:
    """Halve a box along its longest side until each part is small enough."""
    sides = [stop - start for start, stop in box]
    if prod(sides) <= most:
        return [box]
    axis = max(range(len(sides)), key=lambda i: sides[i])
    start, stop = box[axis]
    middle = (start + stop) // 2
    halves = ((*box[:axis], part, *box[axis + 1 :]) for part in ((start, middle), (middle, stop)))
    return [part for half in halves for part in _divided(half, most)]
