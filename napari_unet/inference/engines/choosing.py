"""Which engine runs a network, and which one goes on when memory or precision give out.

The first choice is the quickest. When memory runs out, the next one takes half of it, then half precision,
then the processor; when half precision is not enough, the next one has the range of float32. What has been
computed stays, and only the piece at hand is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import torch
from torch import Tensor

from napari_unet.errors import DeviceError, is_out_of_memory
from napari_unet.events import Notice
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.devices import describe_device
from napari_unet.inference.engines.base import Engine, Read
from napari_unet.inference.engines.exact import ExactEngine
from napari_unet.inference.engines.tiled import TiledEngine
from napari_unet.inference.exact.intervals import Window
from napari_unet.inference.exact.tracing import UntraceableError
from napari_unet.inference.regions import subtract
from napari_unet.inference.running import Precision, PrecisionError, Runner
from napari_unet.networks.registry import is_buildable
from napari_unet.weights.model import Model

# What is kept of a tile with a halo: large enough for the halo not to dominate.
TILE_PX = {2: {"cpu": 512, "mps": 1024, "cuda": 2048}, 3: {"cpu": 64, "mps": 96, "cuda": 160}}
# Planes are run together on GPUs only, up to so many pixels: on a CPU it gains nothing.
BATCH_PX = {"cpu": 0, "mps": 2**20, "cuda": 2**23}
# Features of a strip may take so much memory; a wider image is done in columns.
STRIP_BYTES = {"cpu": 200 * 2**20, "mps": 2**30}
# Of the free memory of a GPU, for features. The rest is for what its libraries need beside them.
FREE_SHARE = 0.5
# GPU kernels count the elements of a tensor with 32 bits.
MOST_ELEMENTS = 2**31
SMALLEST_SHARE = 1 / 16


@dataclass(frozen=True, slots=True)
class Means:
    """With what a network is run.

    Attributes
    ----------
    device : torch.device
    precision : "float32" | "float16" | "bfloat16"
    share : float
        Of the memory that would be taken at first.
    """

    device: torch.device
    precision: Precision
    share: float = 1.0

    def after(self, error: BaseException) -> Means | None:
        """Return the means to go on with after an error; None if there are none."""
        if isinstance(error, PrecisionError):
            return replace(self, precision="bfloat16" if self.precision == "float16" else "float32")
        if not is_out_of_memory(error):
            return None
        if self.share > SMALLEST_SHARE:
            return replace(self, share=self.share / 2)
        if self.device.type == "cpu":
            return None
        if self.device.type == "cuda" and self.precision == "float32":
            return Means(self.device, "float16")
        return Means(torch.device("cpu"), "float32")

    def change(self, following: Means) -> str:
        """Say in a sentence what has been changed, and why."""
        if following.device != self.device:
            return f"The memory of {describe_device(self.device)} is too small for this network: the CPU goes on."
        if following.share < self.share:
            return f"The memory of {describe_device(self.device)} ran out: the image is done in smaller pieces."
        if self.precision == "float32":
            return f"The memory of {describe_device(self.device)} ran out: numbers are kept in half precision."
        return f"Numbers became too large for {self.precision}: {following.precision} is used instead."


def first_means(device: torch.device, precision: str) -> Means:
    """Return the quickest means that a configuration allows."""
    if precision == "auto":
        return Means(device, "float16" if device.type == "cuda" else "float32")
    known: dict[str, Precision] = {"float16": "float16", "bfloat16": "bfloat16"}
    return Means(device, known.get(precision, "float32"))


def planes_at_once(device: torch.device, plane_px: int) -> int:
    """How many planes a 2D network is given at once."""
    return max(1, BATCH_PX[device.type] // plane_px)


def choose_engine(model: Model, size: Sequence[int], means: Means, tile: int | None = None, planes: int = 1) -> Engine:
    """Choose the exact engine where it can be had, else tiles.

    Parameters
    ----------
    model : Model
    size : sequence of int
        ([Z,] Y, X) of the plane or volume, on the network's grid.
    means : Means
    tile : int, optional
        Largest side of a piece; None chooses.
    planes : int
        That are run at once.
    """
    runner = Runner(model, means.device, means.precision)
    smaller = means.share ** (1 / runner.dims)
    side = None if tile is None else max(1, round(tile * smaller))
    if is_buildable(model.spec.network.variant):  # a program of others has no layers to look at
        try:
            return ExactEngine.of(runner, size, int(budget_bytes(means) / planes), side)
        except UntraceableError:
            pass
    return TiledEngine.of(runner, size, side or round(TILE_PX[runner.dims][means.device.type] * smaller))


def budget_bytes(means: Means) -> float:
    """Memory that features may take."""
    if means.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(means.device)
        dtype: torch.dtype = getattr(torch, means.precision)
        most = MOST_ELEMENTS * dtype.itemsize
        return means.share * min(FREE_SHARE * free, most)
    return means.share * STRIP_BYTES[means.device.type]


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
    notes : list of str
        What had to be changed so far.
    """

    def __init__(self, make: Callable[[Means], Engine], means: Means) -> None:
        self._make, self.means = make, means
        self.notes: list[str] = []
        self.engine = self._made()

    @classmethod
    def of(cls, model: Model, size: Sequence[int], device: torch.device, config: InferenceConfig) -> Ladder:
        """Begin with the quickest engine for a plane or volume of a size ([Z,] Y, X)."""
        planes = planes_at_once(device, prod(size)) if model.spec.dims == 2 else 1
        make = partial(choose_engine, model, size, tile=config.tile, planes=planes)
        return cls(make, first_means(device, config.precision))

    def run(self, read: Read, window: Window) -> Iterator[Notice | tuple[Window, Tensor]]:
        """Compute a window piece by piece as an engine does; tell of each change of the means.

        Raises
        ------
        DeviceError
            If no means are left.
        """
        left = [window]
        while left:
            done = []
            try:
                for piece, values in self.engine.run(read, left[0]):
                    yield piece, values
                    done.append(piece)
                left.pop(0)
            except (RuntimeError, MemoryError, PrecisionError) as error:
                self.notes.append(self._step(error))
                failed = True
            else:
                failed = False
            if failed:  # outside of the handler, where the error no longer keeps tensors alive
                left[:1] = subtract(left[0], done)
                self._make_room()
                yield Notice(self.notes[-1])

    def _step(self, error: BaseException) -> str:
        """Choose the means to go on with and say what changed; raises what cannot be helped."""
        following = self.means.after(error)
        if following is None:
            if is_out_of_memory(error):
                raise _too_small(self.means.device) from error
            raise error
        note = self.means.change(following)
        self.means = following
        return note

    def _make_room(self) -> None:
        del self.engine
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.engine = self._made()

    def _made(self) -> Engine:
        """Make the engine, with other means where even its weights find no room."""
        while True:
            try:
                return self._make(self.means)
            except (RuntimeError, MemoryError) as error:
                note = self._step(error)
            self.notes.append(note)


def _too_small(device: torch.device) -> DeviceError:
    return DeviceError(
        f"The memory of {describe_device(device)} is too small for this network, even piece by piece. Close other "
        "programs that use memory, or choose a smaller network."
    )
