"""A look over all fields of an image, in a thread: which are reviewed, and what looking at the others may teach."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.objects.editing.changes import Box, slices
from napari_unet.objects.reviewing import Gain, gains_of

# So many fields are looked at in the main thread after an edit.
AT_ONCE = 8


class Scout:
    """Looks at fields until it is told to stop.

    Parameters
    ----------
    reviewed : array
        The living array of the reviewed layer.
    boxes : sequence of Box
        The fields along its axes.
    fields : sequence of Box
        The same along T, Z, Y and X.
    probabilities : (K, T, Z, Y, X) array, optional
        Of the network.

    Attributes
    ----------
    reviewed : (n,) bool
        Which fields are fully reviewed.
    gains : dict of int to Gain
        As far as they are known.
    ready : threading.Event
        Set when it is known of all fields whether they are reviewed.
    """

    def __init__(
        self,
        reviewed: npt.NDArray[Any],
        boxes: Sequence[Box],
        fields: Sequence[Box],
        probabilities: npt.NDArray[Any] | None = None,
    ) -> None:
        self._array, self._boxes, self._fields, self._probabilities = reviewed, boxes, fields, probabilities
        self._starts, self._stops = np.moveaxis(np.array(boxes), 2, 0)
        self.reviewed = np.zeros(len(boxes), bool)
        self.gains: dict[int, Gain] = {}
        self.ready = threading.Event()
        self._waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._stopped = False
        threading.Thread(target=self._run, name="napari-unet fields", daemon=True).start()

    @property
    def knows_doubt(self) -> bool:
        """Whether there are probabilities to look at."""
        return self._probabilities is not None

    def stop(self) -> None:
        """Look no further."""
        self._stopped = True
        self._waiting.put(None)

    def look_again(self, boxes: Sequence[Box]) -> None:
        """Look whether the fields that were touched by an edit are reviewed: few at once, many in the thread."""
        for box in boxes:
            low, high = np.array(box).T
            touched = np.flatnonzero(((self._starts < high) & (low < self._stops)).all(axis=1))
            for place, index in enumerate(touched):
                if place < AT_ONCE:
                    self._look(int(index))
                else:
                    self._waiting.put(int(index))

    def _look(self, index: int) -> None:
        self.reviewed[index] = np.asarray(self._array[slices(self._boxes[index])]).all()

    def _run(self) -> None:
        for index in range(len(self._boxes)):
            if self._stopped:
                return
            self._look(index)
        self.ready.set()
        if self._probabilities is not None:
            self._weigh()
        while not self._stopped:
            self._look_at(self._waiting.get())

    def _weigh(self) -> None:
        """Work out gains here and there, so that the first ones tell of the whole image."""
        order = [int(index) for index in np.random.default_rng(0).permutation(len(self._fields))]
        for index, gain in zip(order, gains_of(self._probabilities, [self._fields[i] for i in order]), strict=True):
            self.gains[index] = gain
            while not self._waiting.empty():
                self._look_at(self._waiting.get())
            if self._stopped:
                return

    def _look_at(self, index: int | None) -> None:
        if index is not None and not self._stopped:
            self._look(index)
