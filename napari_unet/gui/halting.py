"""Fine-tunings that were interrupted: what they were begun with, and how they can go on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

from pydantic import ValidationError

from napari_unet.atomic import write_bytes
from napari_unet.errors import ExportError, ModelError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.progress import in_words
from napari_unet.gui.state import ModelChoice, ReviewedCount
from napari_unet.gui.training_state import Halted
from napari_unet.jobs.leftovers import is_running
from napari_unet.networks.spec import Config
from napari_unet.weights.bundled import own_folder
from napari_unet.weights.file import read_header

_OLD_S = 30 * 24 * 3600.0


class Learnt(Config):
    """What of a correction layer a fine-tuning learns from."""

    title: str
    reviewed_px: int
    objects: int


class Begun(Config):
    """What a fine-tuning was begun with, beside its checkpoint.

    Attributes
    ----------
    model, source : str
        Title and file of the model; the file is empty for one without weights.
    minutes, diameter_px, channels, forget, neighbours
        Its settings.
    learns_from : tuple of Learnt
    pid : int
        The process that runs it.
    """

    model: str
    source: str
    minutes: float
    diameter_px: float | None
    channels: tuple[int, ...] | None
    forget: bool = False
    neighbours: int = 0
    learns_from: tuple[Learnt, ...]
    pid: int

    def same_settings(self, other: Begun) -> bool:
        """Whether model and settings are the same."""
        keys = ("model", "source", "minutes", "diameter_px", "channels", "forget", "neighbours")
        return all(getattr(self, key) == getattr(other, key) for key in keys)


class Halting:
    """Knows where the checkpoint of a fine-tuning of these images lies, and whether one was left.

    Parameters
    ----------
    desk : Desk
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seen: tuple[Path, int, tuple[int, float]] | None = None
        events = desk.state.events
        for signal in (
            events.counts,
            events.skipped,
            events.model,
            events.minutes,
            events.forget,
            events.neighbours,
            events.activity,
        ):
            signal.connect(self.look, max_args=0)

    def chosen(self) -> list[ReviewedCount]:
        """Return the correction layers that are learnt from."""
        state = self._desk.state
        return [count for count in state.counts if count.correction not in state.skipped and count.reviewed_px]

    def path(self) -> Path | None:
        """Return where the checkpoint of the chosen images lies; None if no image is chosen."""
        chosen = self.chosen()
        if not chosen or not self._desk.open:
            return None
        named = sorted(self._named(count) for count in chosen)
        mark = hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]
        return trainings() / f"{mark}.safetensors"

    def begin(self, model: ModelChoice) -> tuple[Path, Begun] | None:
        """Return what has to be written down when a fine-tuning begins; see `write`."""
        path = self.path()
        return None if path is None else (path, self._begun(model))

    def end(self, path: Path) -> None:
        """Forget a fine-tuning that has come to its end."""
        for one in (path, path.with_suffix(".json")):
            with contextlib.suppress(OSError):
                one.unlink(missing_ok=True)
        self.look()

    def forget(self) -> None:
        """Throw away what was interrupted: the next fine-tuning begins anew."""
        path = self.path()
        if path is not None and not self._desk.state.busy:
            self.end(path)

    def restore(self) -> bool:
        """Choose the model and the settings that the interrupted fine-tuning had; whether that can be done."""
        path, state = self.path(), self._desk.state
        begun = None if path is None else _read(path)
        if begun is None:
            return False
        model = next(
            (one for one in state.models if (one.title, one.source or "") == (begun.model, begun.source)), None
        )
        if model is None:
            state.tell(f'The model "{begun.model}" that it began with is not in the list of step 1 any more.', "error")
            return False
        state.model = model
        state.minutes, state.diameter_px, state.channels = begun.minutes, begun.diameter_px, begun.channels
        state.forget, state.neighbours = begun.forget, begun.neighbours
        return True

    def look(self) -> None:
        """Tell the panel whether a fine-tuning of the chosen images was interrupted."""
        state = self._desk.state
        if state.busy or not self._desk.open:
            return
        path = self.path()
        halted = None if path is None or state.model is None else self._halted(path, state.model)
        if halted != state.halted:
            state.halted = halted

    def _halted(self, path: Path, model: ModelChoice) -> Halted | None:
        begun = _read(path)
        if begun is None or (begun.pid != os.getpid() and is_running(begun.pid)):
            return None
        stands = self._stands(path)
        if stands is None:
            return None
        step, seconds = stands
        images = ", ".join(learnt.title for learnt in begun.learns_from)
        what = (
            f"A fine-tuning of {begun.model} on {images} was interrupted at step {step:,}, "
            f"after {in_words(seconds)} of {in_words(60 * begun.minutes)}."
        )
        now = self._begun(model)
        if now.learns_from != begun.learns_from:
            return Halted(sentence=f"{what} The corrections have changed since: “Fine-tune” begins anew.")
        if not now.same_settings(begun):
            return Halted(
                sentence=f"{what} The model or the settings are others now: “Fine-tune” begins anew.",
                other_settings=True,
            )
        return Halted(sentence=f"{what} “Fine-tune” goes on with it.")

    def _stands(self, path: Path) -> tuple[int, float] | None:
        """Return the step and the seconds at which a checkpoint was saved."""
        try:
            stamp = path.stat().st_mtime_ns
            if self._seen is None or self._seen[:2] != (path, stamp):
                told = json.loads(read_header(path)["__metadata__"]["napari_unet_training"])
                self._seen = (path, stamp, (int(told["steps"]), float(told["elapsed_s"])))
        except (OSError, ModelError, KeyError, TypeError, ValueError):
            return None
        return self._seen[2]

    def _begun(self, model: ModelChoice) -> Begun:
        state = self._desk.state
        return Begun(
            model=model.title,
            source=model.source or "",
            minutes=state.minutes,
            diameter_px=state.diameter_px,
            channels=state.channels,
            forget=state.forget,
            neighbours=state.neighbours,
            learns_from=tuple(
                Learnt(title=self._title(count), reviewed_px=count.reviewed_px, objects=count.objects)
                for count in self.chosen()
            ),
            pid=os.getpid(),
        )

    def _title(self, count: ReviewedCount) -> str:
        layer = layers.by_id(self._desk.viewer, count.image)
        return count.title if layer is None else str(layer.name)

    def _named(self, count: ReviewedCount) -> tuple[str, ...]:
        """Return how the image of a correction layer is known again."""
        layer = layers.by_id(self._desk.viewer, count.image)
        path = None if layer is None else layer.source.path
        return (str(Path(path).resolve()) if path else count.title, str(count.total_px))


def trainings() -> Path:
    """Return the folder of checkpoints, in the user's own one."""
    return own_folder().parent / "trainings"


def write(path: Path, begun: Begun) -> bool:
    """Write down what a fine-tuning begins with; runs in a thread. False if it cannot be kept: it need not be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_old(path.parent)
        former = _read(path)
        if former is None or former.model_copy(update={"pid": begun.pid}) != begun:
            path.unlink(missing_ok=True)
        write_bytes(path.with_suffix(".json"), begun.model_dump_json().encode())
    except (OSError, ExportError):
        return False
    return True


def _remove_old(folder: Path) -> None:
    """Remove what nobody has come back to for a month."""
    for one in folder.glob("*"):
        with contextlib.suppress(OSError):
            if one.stat().st_mtime < time.time() - _OLD_S:
                one.unlink()


def _read(path: Path) -> Begun | None:
    try:
        return Begun.model_validate_json(path.with_suffix(".json").read_bytes())
    except (OSError, ValidationError):
        return None
