"""Which engine runs a network, and which one goes on when memory or precision give out.

The first choice is the quickest. When memory runs out, the next one takes half of it, then half precision,
then the processor; when half precision is not enough, the next one has the range of float32. What has been
computed stays, and only the piece at hand is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Literal, assert_never

import torch
from torch import Tensor

from napari_unet.errors import DeviceError, is_out_of_memory
from napari_unet.events import Notice
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.devices import describe_device, empty_caches, usable_bytes
from napari_unet.inference.downloading import Convert, downloaded
from napari_unet.inference.engines.base import Engine, Read
from napari_unet.inference.engines.blended import BlendedEngine
from napari_unet.inference.engines.exact import ExactEngine
from napari_unet.inference.engines.tiled import TiledEngine
from napari_unet.inference.engines.turned import TurnedEngine, context_px
from napari_unet.inference.exact.intervals import Window
from napari_unet.inference.exact.tracing import UntraceableError
from napari_unet.inference.fast.engine import FastEngine
from napari_unet.inference.fast.quantizing import FastNetwork
from napari_unet.inference.regions import subtract
from napari_unet.inference.running import Precision, PrecisionError, Runner
from napari_unet.networks.registry import is_buildable
from napari_unet.weights.model import Model

# What is kept of a tile with a halo: large enough for the halo not to dominate.
TILE_PX = {2: {"cpu": 512, "mps": 1024, "cuda": 2048}, 3: {"cpu": 64, "mps": 96, "cuda": 160}}
# Planes are run together on GPUs only, up to so many pixels: on a CPU it gains nothing.
BATCH_PX = {"cpu": 0, "mps": 2**20, "cuda": 2**23}
# Windows that are blended are run together up to so many pixels: enough to keep a GPU busy.
WINDOWS_PX = {"cpu": 0, "mps": 2**18, "cuda": 2**20}
# Features of a strip may take so much memory; a wider image is done in columns.
STRIP_BYTES = {"cpu": 200 * 2**20, "mps": 2**30}
# Of the free memory of a GPU, for features. The rest is for what its libraries need beside them.
FREE_SHARE = 0.5
# GPU kernels count the elements of a tensor with 32 bits.
MOST_ELEMENTS = 2**31
# Of the memory for features, for the mean of what turned images give, beside them.
TURNED_SHARE = 0.5
SMALLEST_SHARE = 1 / 16

Trouble = Literal["memory", "precision", "operation"]
"""Memory ran out; numbers became too large; the device cannot compute something with these numbers."""


def trouble_of(error: BaseException) -> Trouble | None:
    """Tell what other means may help against; None if they would not."""
    if isinstance(error, PrecisionError):
        return "precision"
    if is_out_of_memory(error):
        return "memory"
    missing = ("not implemented for", "not supported on mps", "not currently supported on the mps")
    if isinstance(error, NotImplementedError) or any(words in str(error).lower() for words in missing):
        return "operation"
    return None


@dataclass(frozen=True, slots=True)
class Means:
    """With what a network is run.

    Attributes
    ----------
    device : torch.device
    precision : "float32" | "float16" | "bfloat16"
    share : float
        Of the memory that would be taken at first.
    too_coarse : frozenset
        Precisions with which numbers became too large.
    """

    device: torch.device
    precision: Precision
    share: float = 1.0
    too_coarse: frozenset[Precision] = frozenset()

    def after(self, trouble: Trouble) -> Means | None:
        """Return the means to go on with; None if there are none."""
        match trouble:
            case "precision":
                known = self.too_coarse | {self.precision}
                return replace(self, precision=next(p for p in FINER if p not in known), too_coarse=known)
            case "memory":
                return self._after_memory()
            case "operation":
                on_cpu = Means(torch.device("cpu"), "float32")
                return None if self.device.type == "cpu" and self.precision == "float32" else on_cpu
            case _:
                assert_never(trouble)

    def _after_memory(self) -> Means | None:
        if self.share > SMALLEST_SHARE:
            return replace(self, share=self.share / 2)
        if self.device.type == "cpu":
            return None
        half = next((p for p in FINER[:-1] if p not in self.too_coarse), None)
        if self.device.type == "cuda" and self.precision == "float32" and half is not None:
            return replace(self, precision=half, share=1.0)
        return Means(torch.device("cpu"), "float32")

    def change(self, following: Means, trouble: Trouble) -> str:
        """Say in a sentence what has been changed, and why."""
        name = describe_device(self.device)
        if trouble == "operation":
            numbers = "" if self.precision == "float32" else f" with {self.precision} numbers"
            return f"{name} cannot compute a layer of this network{numbers}: the CPU goes on with float32."
        if trouble == "precision":
            return f"Numbers became too large for {self.precision}: {following.precision} is used instead."
        if following.device != self.device:
            return f"{_memory_of(self.device)} is too small for this network: the CPU goes on."
        if following.precision != self.precision:
            return f"{_memory_of(self.device)} ran out: numbers are kept in half precision."
        return f"{_memory_of(self.device)} ran out: the image is done in smaller pieces."


# From the quickest one to the one that holds the largest numbers most exactly.
FINER: tuple[Precision, ...] = ("float16", "bfloat16", "float32")


def first_means(device: torch.device, precision: str) -> Means:
    """Return the quickest means that a configuration allows."""
    if precision == "auto":
        return Means(device, "float16" if device.type == "cuda" else "float32")
    return Means(device, next(known for known in FINER if known == precision))


def planes_at_once(device: torch.device, plane_px: int, share: float = 1.0) -> int:
    """How many planes a 2D network is given at once, with a share of the memory."""
    return max(1, int(BATCH_PX[device.type] * share) // plane_px)


def choose_engine(
    model: Model,
    size: Sequence[int],
    means: Means,
    tile: int | None = None,
    planes: int = 1,
    fast: FastNetwork | None = None,
) -> Engine:
    """Choose the exact engine where it can be had, else blended windows or tiles.

    Only a graph tells whether a network that interpolates by the size of the whole image can be exact, so the exact
    engine is tried first. Of a program of others nothing is known but how far it was seen to look: tiles have that
    as their halo.

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
    fast : FastNetwork, optional
        Integers to compute with on the CPU.
    """
    if fast is not None and means.device.type == "cpu":
        return FastEngine.of(fast, model, size, means.share, tile)
    runner = Runner(model, means.device, means.precision)
    if is_buildable(model.spec.network.variant):  # a program of others has no layers to look at
        try:
            return ExactEngine.of(runner, size, int(budget_bytes(means) / planes), tile)
        except UntraceableError:
            if not runner.network.local:
                return _blended(runner, size, means, tile, planes)
    smaller = means.share ** (1 / runner.dims)
    side = tile or TILE_PX[runner.dims][means.device.type]
    return TiledEngine.of(runner, size, max(1, round(side * smaller)))


def configured_engine(
    model: Model, size: Sequence[int], config: InferenceConfig, means: Means, fast: FastNetwork | None = None
) -> Engine:
    """Choose the engine that a configuration asks for, for a plane or volume of a size ([Z,] Y, X)."""
    planes = planes_at_once(means.device, prod(size), means.share) if model.spec.dims == 2 else 1
    one = partial(choose_engine, model, means=means, tile=config.tile, planes=planes, fast=fast)
    if config.turns == "none":
        return one(size)
    most_px = int(budget_bytes(means) * TURNED_SHARE / planes / (4 * model.spec.network.out_channels))
    return TurnedEngine.of(one, size, config.turns, context_px(model.network), most_px)


def _blended(runner: Runner, size: Sequence[int], means: Means, tile: int | None, planes: int) -> BlendedEngine:
    budget, batch_px = int(budget_bytes(means) / planes), WINDOWS_PX[means.device.type] // planes
    sides = runner.model.spec.patch_px if tile is None else (tile,) * runner.dims
    return BlendedEngine.of(runner, size, budget, sides, batch_px)


def budget_bytes(means: Means) -> float:
    """Memory that features may take."""
    if means.device.type != "cuda":
        return means.share * STRIP_BYTES[means.device.type]
    dtype: torch.dtype = getattr(torch, means.precision)
    # So no tensor can have more elements than its kernels can count.
    most = MOST_ELEMENTS * dtype.itemsize
    return means.share * min(FREE_SHARE * usable_bytes(means.device), most)


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
        f"{_memory_of(device)} is too small for this network, even piece by piece. Close other "
        "programs that use memory, or choose a smaller network."
    )


def _memory_of(device: torch.device) -> str:
    return "The computer's memory" if device.type == "cpu" else f"The memory of {describe_device(device)}"
