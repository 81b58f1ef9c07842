"""A segmentation that was interrupted goes on from what was written, as long as nothing has changed."""

from __future__ import annotations

import math
import weakref
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_unet.errors import NapariUnetError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.layers import Frame
from napari_unet.gui.state import Interrupted, ModelChoice
from napari_unet.imaging.image import Image
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.requests import ArrayRef, Region
from napari_unet.jobs.scratch import open_array
from napari_unet.weights.bundled import resolve

_FIELDS = ("model", "images", "image", "axes", "channels", "diameter_px", "device", "turns", "fast")


@dataclass(frozen=True, slots=True)
class Job:
    """What a segmentation was asked for; later changes in the panel do not touch it.

    Attributes
    ----------
    image_id : str
    image : Image
    frame : Frame
    model : ModelChoice
    region : (start, stop) along T, Z, Y, X, optional
        What is segmented; None is the whole image.
    visible : (start, stop) along T, Z, Y, X
        What was on the screen.
    inference : InferenceConfig
    """

    image_id: str
    image: Image
    frame: Frame
    model: ModelChoice
    region: Region | None
    visible: Region
    inference: InferenceConfig

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape (T, Z, Y, X) of what is segmented."""
        if self.region is not None:
            t, z, y, x = (stop - start for start, stop in self.region)
            return (t, z, y, x)
        size = self.image.sizes
        return (size["T"], size["Z"], size["Y"], size["X"])


@dataclass(frozen=True, slots=True)
class Asked:
    """All that the probabilities depend on, as far as it can be compared at once."""

    image_id: str
    image: weakref.ref[Any]
    pixel_size: tuple[float | None, ...]
    model: str
    file: tuple[object, ...]
    inference: InferenceConfig

    def still(self, other: Asked | None) -> bool:
        """Whether the same is asked for again, of an image that is still there."""
        return other == self and self.image() is not None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What an interrupted segmentation has written.

    Attributes
    ----------
    asked : Asked
    pixels : int
        Checksum of the image's pixels or, where they lie in a file of the user's, of its state.
    probabilities : ArrayRef
    done : tuple of (start, stop) along T, Z, Y, X
        Windows of the image that have been written.
    share : float
        Of the image.
    """

    asked: Asked
    pixels: int
    probabilities: ArrayRef
    done: tuple[Region, ...]
    share: float


class Continuing:
    """Keeps the last interrupted segmentation, and `state.interrupted` true.

    Parameters
    ----------
    desk : Desk
    job : callable
        What would be segmented now.
    """

    def __init__(self, desk: Desk, job: Callable[[], Job]) -> None:
        self._desk, self._job = desk, job
        self._unfinished: Unfinished | None = None
        for name in _FIELDS:
            getattr(desk.state.events, name).connect(self._check, max_args=0)

    def matching(self, job: Job, pixels: int) -> Unfinished | None:
        """Return what has been written of a job."""
        kept = self._unfinished
        if kept is None or kept.pixels != pixels or not kept.asked.still(asked_for(job)):
            return None
        return kept

    def keep(self, unfinished: Unfinished) -> None:
        """Remember what an interrupted job has written."""
        self.forget(but=unfinished.probabilities)
        self._unfinished = unfinished
        self._check()

    def forget(self, but: ArrayRef | None = None) -> None:
        """Give up what was written, all or all `but` these probabilities, which are kept for something else."""
        kept, self._unfinished = self._unfinished, None
        if kept is not None and kept.probabilities != but:
            self._desk.release(kept.probabilities)
        self._desk.state.interrupted = None

    def _check(self) -> None:
        kept, state = self._unfinished, self._desk.state
        if kept is None or not self._desk.open:
            return
        if layers.by_id(self._desk.viewer, kept.asked.image_id) is None:
            self.forget()
            return
        same = kept.asked.still(self._asked_now())
        state.interrupted = Interrupted(image=kept.asked.image_id, share=kept.share) if same else None

    def _asked_now(self) -> Asked | None:
        try:
            return asked_for(self._job())
        except NapariUnetError:
            return None


def asked_for(job: Job) -> Asked | None:
    """Describe a job; None if it cannot be told later whether it is the same."""
    size = job.image.pixel_size
    try:
        return Asked(
            image_id=job.image_id,
            image=weakref.ref(job.image.array),
            pixel_size=(size.z_um, size.y_um, size.x_um),
            model=job.model.ref.model_dump_json(),
            file=_file_of(job.model),
            inference=job.inference,
        )
    except TypeError:  # an array that cannot be referred to
        return None


def checksum(array: ArrayRef, own: Path) -> int:
    """Sum up pixels that were copied to our folder, or the state of the file that they are read from."""
    path = Path(array.path)
    if path.parent == own:
        return zlib.crc32(open_array(array).reshape(-1).view("u1"))
    return hash((array.model_dump_json(), _state_of(path)))


def _file_of(model: ModelChoice) -> tuple[object, ...]:
    try:
        return _state_of(resolve(model.source or ""))
    except (OSError, NapariUnetError):  # the background process says so, if it needs the file
        return ()


def _state_of(path: Path) -> tuple[object, ...]:
    state = path.stat()
    return (str(path.resolve()), state.st_mtime_ns, state.st_size)


def joined(done: tuple[Region, ...], new: tuple[Region, ...]) -> tuple[Region, ...]:
    """Add windows to others; neighbours become one.

    >>> joined((((0, 1), (0, 1), (0, 8), (0, 9)),), (((0, 1), (0, 1), (8, 16), (0, 9)),))
    (((0, 1), (0, 1), (0, 16), (0, 9)),)
    """
    found = list(done)
    for window in new:
        found.append(window)
        while len(found) > 1 and (both := _together(found[-2], found[-1])) is not None:
            found[-2:] = [both]
    return tuple(found)


def _together(one: Region, other: Region) -> Region | None:
    """Make one window of two that share a face or are the same."""
    differ = [i for i in range(4) if one[i] != other[i]]
    if not differ:
        return one
    axis = differ[0]
    if len(differ) > 1 or (one[axis][1] != other[axis][0] and other[axis][1] != one[axis][0]):
        return None
    span = (min(one[axis][0], other[axis][0]), max(one[axis][1], other[axis][1]))
    return as_region((*one[:axis], span, *one[axis + 1 :]))


def as_region(window: Sequence[tuple[int, int]]) -> Region:
    """Take a window of four axes."""
    t, z, y, x = window
    return (t, z, y, x)


def share_of(done: tuple[Region, ...], shape: tuple[int, ...]) -> float:
    """Part of an image that windows cover; they do not overlap.

    >>> share_of((((0, 1), (0, 1), (0, 8), (0, 9)),), (1, 1, 16, 9))
    0.5
    """
    covered = sum(math.prod(stop - start for start, stop in window) for window in done)
    return min(1.0, covered / math.prod(shape))
