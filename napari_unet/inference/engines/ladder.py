"""An engine, and which one goes on when memory or precision give out.

When memory runs out, the next one takes half of it, then half precision, then the processor; when half precision
is not enough, the next one has the range of float32. What has been computed stays, and only the piece at hand is
computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from napari_unet.errors import DeviceError
from napari_unet.events import Notice
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.devices import empty_caches
from napari_unet.inference.downloading import Convert, downloaded
from napari_unet.inference.engines.base import Engine, Read
from napari_unet.inference.engines.choosing import configured_engine
from napari_unet.inference.engines.means import Means, Trouble, first_means, memory_of, trouble_of
from napari_unet.inference.exact.intervals import Window
from napari_unet.inference.fast.quantizing import FastNetwork
from napari_unet.inference.regions import subtract
from napari_unet.inference.running import PrecisionError
from napari_unet.weights.model import Model


class Ladder:
    """An engine, and others to go on with when it cannot.

    Parameters
    ----------
    make : callable
        From means to an engine.
    means : Means
        To begin with.

    Attributes
    ----------
    engine : Engine
        The one in use.
    means : Means
        That it uses.
    pieces_left : int
        Of the window that is being computed, if nothing goes wrong.
    notes : list of str
        What had to be changed so far.
    """

    def __init__(self, make: Callable[[Means], Engine], means: Means) -> None:
        self._make, self.means = make, means
        self._left: list[Window] = []
        self.pieces_left = 0
        self.notes: list[str] = []
        self._untold: list[str] = []
        if (trouble := self._make_engine()) is not None:
            self._note(means, trouble)

    @classmethod
    def of(
        cls,
        model: Model,
        size: Sequence[int],
        device: torch.device,
        config: InferenceConfig,
        fast: FastNetwork | None = None,
    ) -> Ladder:
        """Begin with the quickest engine for a plane or volume of a size ([Z,] Y, X)."""
        return cls(partial(configured_engine, model, size, config, fast=fast), first_means(device, config.precision))

    def run(
        self, read: Read, window: Window, convert: Convert | None = None
    ) -> Iterator[Notice | tuple[Window, Tensor]]:
        """Compute a window piece by piece as an engine does; tell of each change of the means.

        Parameters
        ----------
        read : callable
        window : Window
        convert : callable, optional
            What is done to probabilities on the device, before they come from there.

        Yields
        ------
        piece, probabilities : Window, (N, K, *size of the piece)
            On the CPU, float32 unless they were converted.

        Raises
        ------
        DeviceError
            If no means are left.
        """
        self._left = [window]
        while self._left:
            while self._untold:
                yield Notice(self._untold.pop(0))
            trouble = yield from self._attempt(read, convert)
            # Here the error is gone, and so is what it kept alive.
            if trouble is not None:
                self._change(trouble)

    def _attempt(self, read: Read, convert: Convert | None) -> Generator[tuple[Window, Tensor], None, Trouble | None]:
        """Compute the first window that is left, until something goes wrong."""
        done: list[Window] = []
        trouble, self.pieces_left = None, self._count()
        try:
            for piece, values in self._found(read, convert):
                done.append(piece)
                self.pieces_left -= 1
                yield piece, values
                del values  # not kept while the next one needs memory
        except (RuntimeError, MemoryError, PrecisionError) as error:
            trouble = self._checked(error)
        self._left[:1] = subtract(self._left[0], done) if trouble else []
        return trouble

    def _found(self, read: Read, convert: Convert | None) -> Iterator[tuple[Window, Tensor]]:
        found = self.engine.run(read, self._left[0])
        return downloaded(found, self.means.device, self.means.precision, convert)

    def _count(self) -> int:
        return sum(len(self.engine.pieces(window)) for window in self._left)

    def _checked(self, error: BaseException) -> Trouble:
        """Return what the trouble is; raises what cannot be helped."""
        trouble = trouble_of(error)
        if trouble is None or (trouble == "operation" and self.means.after(trouble) is None):
            raise error
        if self.means.after(trouble) is None:
            raise _too_small(self.means.device) from error
        return trouble

    def _change(self, trouble: Trouble) -> None:
        """Change the means, and the engine with them."""
        before = self.means
        self._note(before, self._step(trouble))
        self.pieces_left = self._count()

    def _note(self, before: Means, trouble: Trouble) -> None:
        note = before.change(self.means, trouble)
        self._untold.append(note)
        if note not in self.notes[-1:]:  # once is enough for pieces that become smaller and smaller
            self.notes.append(note)

    def _step(self, trouble: Trouble) -> Trouble:
        """Take the next means; return what made them necessary."""
        following = self.means.after(trouble)
        if following is None:
            raise _too_small(self.means.device)
        self.means = following
        del self.engine
        empty_caches()
        return self._make_engine() or trouble

    def _make_engine(self) -> Trouble | None:
        """Make the engine, with other means where even its weights find no room; return what made them necessary."""
        trouble: Trouble | None = None
        while True:
            try:
                self.engine = self._make(self.means)
            except (RuntimeError, MemoryError) as error:
                trouble = self._checked(error)
            else:
                return trouble
            following = self.means.after(trouble)
            assert following is not None
            self.means = following


def _too_small(device: torch.device) -> DeviceError:
    return DeviceError(
        f"{memory_of(device)} is too small for this network, even piece by piece. Close other "
        "programs that use memory, or choose a smaller network."
    )
