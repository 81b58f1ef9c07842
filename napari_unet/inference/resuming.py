"""What of a result has been written, so that a run that was interrupted can go on from there.

While a Zarr array on a disk is written, a small file in its folder lists the regions whose chunks have been written,
and says of which image, model and settings they are. It is replaced as a whole, never changed, and removed
at the end. A process may be killed at any moment: what it was just writing is simply written again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from napari_unet.atomic import write_bytes
from napari_unet.errors import ImageError
from napari_unet.imaging.image import Image
from napari_unet.imaging.statistics import Statistics
from napari_unet.inference.canvas import Placed, Reordered
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.exact.intervals import Interval, Window, size_of
from napari_unet.inference.regions import join
from napari_unet.inference.writing import Writer
from napari_unet.weights.file import weights_sha256
from napari_unet.weights.model import Model

NAME = ".napari-unet-unfinished.json"
# Shorter runs leave no record: they are not worth the time that it takes to write one.
PATIENCE_S = 3.0
# Of the time, that may be spent with records.
SHARE = 0.02
# Of the image, what is compared.
SAMPLES, SAMPLE_PX = 8, 64


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a result depends on.

    Attributes
    ----------
    model : Model
    image : Image
    config : InferenceConfig
    window : Window along T, Z, Y, X
        Of the image, that is wanted.
    device : str
        That computes.
    statistics : Statistics
        Of the image.
    """

    model: Model
    image: Image
    config: InferenceConfig
    window: Window
    device: str
    statistics: Statistics

    def fingerprint(self) -> str:
        """Return what is the same if, and only if, the result would be."""
        image, statistics = self.image, self.statistics
        told = {
            "version": _version(),
            "weights": weights_sha256(self.model.network.state_dict()),
            "model": self.model.spec.model_dump_json(),
            "settings": self.config.model_dump_json(exclude={"device"}),
            "device": self.device,
            "image": [list(image.array.shape), str(image.dtype), image.axes, str(image.pixel_size), _sampled(image)],
            "window": self.window,
            "low": {t: values.tolist() for t, values in statistics.low.items()},
            "high": {t: values.tolist() for t, values in statistics.high.items()},
        }
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


class Record:
    """The list of what has been written.

    Parameters
    ----------
    path : Path
        Of the file.
    resume : bool
        Whether to go on from what it lists.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path, self.resume = path, resume
        self._written: list[Window] = []
        self._circumstances: Circumstances | None = None
        self._fingerprint = ""
        self._first = self._next = 0.0

    def begin(self, circumstances: Circumstances) -> tuple[list[Window], str]:
        """Return what has been written already, and a sentence about it; both are empty for a new result."""
        self._circumstances = circumstances
        self._first = self._next = time.monotonic() + PATIENCE_S
        if not self.resume or not self.path.exists():
            self.finish()
            return [], ""
        self._fingerprint = circumstances.fingerprint()
        found = self._read()
        if found is None:
            self.finish()
            return [], "What is there was made of another image or with other settings, so all of it is computed anew."
        self._written = found
        whole = np.prod(size_of(circumstances.window))
        share = sum(np.prod(size_of(window)) for window in found) / whole
        return list(found), f"{100 * share:.0f} % of the result had been written before, and the rest was computed now."

    def add(self, windows: Sequence[Window], *, last: bool = False) -> None:
        """Add what has been written, and save the list now and then, and after the last windows.

        Raises
        ------
        ExportError
            If it cannot be saved.
        """
        for window in windows:
            join(self._written, window)
        begun = time.monotonic()
        if not windows or begun < (self._first if last else self._next):
            return
        self._save()
        self._next = time.monotonic() + (time.monotonic() - begun) / SHARE

    def finish(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    def _save(self) -> None:
        assert self._circumstances is not None
        self._fingerprint = self._fingerprint or self._circumstances.fingerprint()
        content = {"fingerprint": self._fingerprint, "written": self._written}
        write_bytes(self.path, json.dumps(content).encode())

    def _read(self) -> list[Window] | None:
        """Return what the file lists, if it is of the same circumstances and readable."""
        try:
            content = json.loads(self.path.read_bytes())
            if content["fingerprint"] != self._fingerprint:
                return None
            return [tuple(Interval(int(a), int(b)) for a, b in window) for window in content["written"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None


class Recorded:
    """A writer whose regions are recorded when they have been written.

    Parameters
    ----------
    writer : Writer
    record : Record
    """

    def __init__(self, writer: Writer, record: Record) -> None:
        self._writer, self._record = writer, record

    def write(self, placed: Placed) -> list[Window]:
        """Write a block."""
        written = self._writer.write(placed)
        self._record.add(written)
        return written

    def close(self) -> list[Window]:
        """Write what is left."""
        written = self._writer.close()
        self._record.add(written, last=True)
        return written


def record_for(out: Any, *, resume: bool = False) -> Record | None:  # noqa: ANN401
    """Return the record of an array that is to be written; None if it is not a Zarr array on a disk.

    Raises
    ------
    ImageError
        If it is none and something is to be resumed.
    """
    array = out.array if isinstance(out, Reordered) else out
    root = getattr(getattr(array, "store", None), "root", None)
    folder = None if root is None else Path(root) / array.path
    if folder is not None and folder.is_dir():
        return Record(folder / NAME, resume=resume)
    if resume:
        raise ImageError("Only a result in a Zarr array on a disk can be resumed. Give one as `out`.")
    return None


def _sampled(image: Image) -> str:
    """Fingerprint of a few blocks of an image, spread over it."""
    size, digest = image.sizes, hashlib.sha256()
    for number in range(SAMPLES):
        share = (number + 0.5) / SAMPLES
        t, z = int(share * size["T"]), int(share * size["Z"])
        y, x = (
            slice(start, min(start + SAMPLE_PX, size[axis]))
            for axis, part in (("Y", share), ("X", 5 * share % 1))
            for start in [int(part * max(0, size[axis] - SAMPLE_PX))]
        )
        block = image.read(t, slice(z, z + 1), y, x)
        digest.update(np.ascontiguousarray(block).tobytes())
    return digest.hexdigest()


def _version() -> str:
    """Return the version of this package, without importing all of it."""
    try:
        return version("napari-unet")
    except PackageNotFoundError:
        return "unknown"
