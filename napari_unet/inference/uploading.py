"""Raw pixels brought to a device, and normalized there: a quarter of the bytes of float32, and no work for the CPU.

On CUDA they travel through pinned buffers on a stream of their own, so that meanwhile the CPU goes on reading and the
network goes on computing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_unet.imaging.colour import HAEMATOXYLIN, LUMINANCE
from napari_unet.imaging.statistics import Statistics

# While one buffer travels the next one is filled; a third evens out blocks of different sizes.
BUFFERS = 3
# What travels as it is; other types become float32 before.
TRAVELLING = {np.dtype(kind) for kind in ("u1", "i1", "u2", "i2", "f2", "f4")}


class Lane(Protocol):
    """The way to a device."""

    def buffer(self, size: int) -> Tensor:
        """Return a buffer (size,) uint8 on the CPU."""

    def send(self, pixels: Tensor) -> tuple[Tensor, Callable[[], None]]:
        """Start to copy from a buffer; return the copy, and what waits until the buffer is free again."""


class DirectLane:
    """A copy that is complete when `send` returns.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def buffer(self, size: int) -> Tensor:
        """Return a buffer (size,) uint8 on the CPU."""
        return torch.empty(size, dtype=torch.uint8)

    def send(self, pixels: Tensor) -> tuple[Tensor, Callable[[], None]]:
        """Copy from a buffer."""
        return pixels.to(self._device, copy=True), lambda: None


class CudaLane:
    """Copies on a stream of their own; work that is started later on the device's current stream waits for them.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def buffer(self, size: int) -> Tensor:
        """Return a pinned buffer (size,) uint8 on the CPU."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def send(self, pixels: Tensor) -> tuple[Tensor, Callable[[], None]]:
        """Start to copy from a pinned buffer."""
        sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream):
            copy = pixels.to(self._device, non_blocking=True)
            sent.record(self._stream)
        current = torch.cuda.current_stream(self._device)
        current.wait_event(sent)
        copy.record_stream(current)  # its memory belongs to the other stream
        return copy, sent.synchronize


def lane_to(device: torch.device) -> Lane:
    """Return the fastest way to a device."""
    return CudaLane(device) if device.type == "cuda" else DirectLane(device)


class Uploader:
    """Normalizes on a device as `Statistics.normalize` does on the CPU.

    Parameters
    ----------
    statistics : Statistics
    device : torch.device
    lane : Lane, optional
        The way there; the fastest one by default.

    Notes
    -----
    Belongs to one thread. Buffers grow to the largest block.
    """

    def __init__(self, statistics: Statistics, device: torch.device, lane: Lane | None = None) -> None:
        self._statistics, self._device = statistics, device
        self._lane = lane or lane_to(device)
        self._buffers: deque[tuple[Tensor, Callable[[], None]]] = deque(
            (torch.empty(0, dtype=torch.uint8), lambda: None) for _ in range(BUFFERS)
        )
        self._bounds: dict[int, tuple[Tensor, Tensor]] = {}

    def upload(self, block: npt.NDArray[Any], t: int) -> Tensor:
        """Bring a block to the device and normalize it there.

        Parameters
        ----------
        block : (C, Z, Y, X) any integer, float or boolean type
            Is copied before this returns.
        t : int
            Its time point.

        Returns
        -------
        (C', Z, Y, X) float32 on the device
            Pixels that are no finite number became 0.
        """
        with torch.inference_mode():
            return self._normalize(self._reduce(self._bring(block)), t)

    def _bring(self, block: npt.NDArray[Any]) -> Tensor:
        """Return (C, Z, Y, X) float32 on the device."""
        if block.dtype.kind == "b":
            block = block.view(np.uint8)
        native = block.dtype.newbyteorder("=")
        kind = native if native in TRAVELLING else np.dtype(np.float32)
        # In the order in which it lies in memory, such as with colours last, for a straight copy.
        order = sorted(range(block.ndim), key=lambda axis: -abs(block.strides[axis]))
        ordered = block.transpose(order)
        pixels = self._send(ordered, kind)
        values = pixels.to(torch.int32).bitwise_and_(0xFFFF) if kind == np.uint16 else pixels
        return values.to(torch.float32).permute(*np.argsort(order).tolist())

    def _send(self, block: npt.NDArray[Any], kind: np.dtype[Any]) -> Tensor:
        """Fill the buffer that has been travelling for longest, and send it."""
        buffer, wait = self._buffers.popleft()
        wait()
        size = block.size * kind.itemsize
        if buffer.numel() < size:
            buffer = self._lane.buffer(size)
        np.copyto(buffer[:size].numpy().view(kind).reshape(block.shape), block, casting="same_kind")
        # torch knows hardly anything to do with unsigned 16 bits, so they travel as signed ones
        carried = torch.from_numpy(np.empty(0, np.int16 if kind == np.uint16 else kind)).dtype
        pixels, wait = self._lane.send(buffer[:size].view(carried).view(block.shape))
        self._buffers.append((buffer, wait))
        return pixels

    def _reduce(self, values: Tensor) -> Tensor:
        """Reduce channels as `reduce_channels` does."""
        reduction, white = self._statistics.reduction, self._statistics.white
        if reduction == "none":
            return values
        if reduction == "haematoxylin":
            absorbance = (values / white).clamp_(min=0).add_(1 / 255).log_().neg_()
            return _weighted(absorbance, HAEMATOXYLIN)
        luminance = values if len(values) == 1 else _weighted(values, LUMINANCE)
        return white - luminance if reduction == "inverted" else luminance

    def _normalize(self, values: Tensor, t: int) -> Tensor:
        low, span = self._bounds_of(t)
        scaled = torch.sub(values, low, out=torch.empty(values.shape, device=values.device))
        scaled.div_(torch.where(span == 0, 1, span)).mul_(span != 0)
        scaled.nan_to_num_(0, 0, 0)
        below, above = self._statistics.clip_low, self._statistics.clip_high
        if below:
            scaled.clamp_(min=_column(below, self._device))
        if above:
            scaled.clamp_(max=_column(above, self._device))
        return scaled

    def _bounds_of(self, t: int) -> tuple[Tensor, Tensor]:
        """Return what becomes 0, and its distance to what becomes 1, (C', 1, 1, 1) on the device."""
        if t not in self._bounds:
            low, high = self._statistics.low[t], self._statistics.high[t]
            self._bounds[t] = _column(low, self._device), _column(high - low, self._device)
        return self._bounds[t]


def _column(values: npt.ArrayLike, device: torch.device) -> Tensor:
    """One value a channel, or one for all, to go with (C, Z, Y, X)."""
    return torch.from_numpy(np.array(values, np.float32)[:, None, None, None]).to(device)


def _weighted(values: Tensor, weights: npt.NDArray[np.float32]) -> Tensor:
    """Add channels up to one."""
    first, *others = (float(weight) for weight in weights)
    total = values[:1] * first
    for number, weight in enumerate(others, start=1):
        total.add_(values[number : number + 1], alpha=weight)
    return total
