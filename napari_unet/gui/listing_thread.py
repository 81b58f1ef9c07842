"""The thread that finds out what the table of objects shows."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

from napari_unet.objects.editing.changes import Box
from napari_unet.objects.listing import Listing, Rows, Sources

# It tells what it has so often, and rests a moment after each block: the viewer goes first.
_TELL_S, _REST_S = 0.4, 0.001


class ListingThread:
    """Lists objects in a thread of its own, and measures again what has been edited."""

    def __init__(self, sources: Sources) -> None:
        self._listing = Listing(sources)
        self._edits: queue.Queue[list[Box] | None] = queue.Queue()
        self._stopped = False
        self.complete = False
        self.news = threading.Event()
        threading.Thread(target=self._run, name="objects", daemon=True).start()

    @property
    def rows(self) -> Rows:
        """The objects found so far."""
        return self._listing.rows

    def look(self, boxes: list[Box]) -> None:
        """Look at boxes along T, Z, Y and X that have changed."""
        self._edits.put(boxes)

    def stop(self) -> None:
        """End soon."""
        self._stopped = True
        self._edits.put(None)

    def _run(self) -> None:
        self._go(self._listing.build(), tell=True)
        while not self._stopped:
            self.complete = True
            self.news.set()
            boxes = self._edits.get()
            while boxes is not None and not self._edits.empty():
                more = self._edits.get()
                boxes = None if more is None else boxes + more
            if boxes is None:
                return
            self._go(self._listing.update(dict.fromkeys(boxes)), tell=False)

    def _go(self, work: Iterator[None], *, tell: bool) -> None:
        told = time.monotonic()
        for _ in work:
            if self._stopped:
                return
            if tell and time.monotonic() - told > _TELL_S:
                told = time.monotonic()
                self.news.set()
            time.sleep(_REST_S)
