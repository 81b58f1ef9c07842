"""From a device to the CPU: copied while the device computes what comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from napari_unet.inference.exact.intervals import Window
from napari_unet.inference.running import Precision, check_numbers

Copy = TypeVar("Copy")
Convert = Callable[[Tensor], Tensor]


def downloaded(
    found: Iterator[tuple[Window, Tensor]], device: torch.device, precision: Precision, convert: Convert | None = None
) -> Iterator[tuple[Window, Tensor]]:
    """Bring pieces to the CPU, those of CUDA one behind what it computes.

    Parameters
    ----------
    found : iterator of (window, tensor)
    device : torch.device
    precision : "float32" | "float16" | "bfloat16"
    convert : callable, optional
        What is done to the tensors before they are copied.

    Raises
    ------
    PrecisionError
        If half precision was not enough for a piece.
    """
    if device.type == "cuda":
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        begin = partial(_CudaCopy, stream=stream, convert=convert)
        yield from one_behind(found, begin, lambda copy: copy.result(precision))
        return
    for piece, values in found:
        # Not a number anywhere makes the sum so, and a sum needs no memory.
        check_numbers(precision, finite=precision == "float32" or bool(values.sum().isfinite()))
        yield piece, (values if convert is None else convert(values)).cpu()
        del values


def one_behind(
    found: Iterator[tuple[Window, Tensor]], begin: Callable[[Tensor], Copy], end: Callable[[Copy], Tensor]
) -> Iterator[tuple[Window, Tensor]]:
    """Begin to copy each piece when it comes, and end that when the next one has been begun."""
    waiting: tuple[Window, Copy] | None = None
    for piece, values in found:
        following = piece, begin(values)
        del values
        if waiting is not None:
            yield waiting[0], end(waiting[1])
        waiting = following
    if waiting is not None:
        yield waiting[0], end(waiting[1])


class _CudaCopy:
    """A copy that is on its way; it does not hold up what the device computes.

    Parameters
    ----------
    values : CUDA tensor
        May be forgotten at once.
    stream : torch.cuda.Stream
        Where copies queue.
    convert : callable, optional
        What is done to them before.
    """

    def __init__(self, values: Tensor, stream: torch.cuda.Stream, convert: Convert | None) -> None:
        finite = values.sum().isfinite()
        # Channels first, as files are written.
        values = (values if convert is None else convert(values)).contiguous()
        stream.wait_stream(torch.cuda.current_stream(values.device))
        with torch.cuda.stream(stream):
            self._values, self._finite = (_begun(x, stream) for x in (values, finite))
            self._ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._ready.record(stream)

    def result(self, precision: Precision) -> Tensor:
        """Wait for the copy and return it."""
        self._ready.synchronize()
        check_numbers(precision, finite=bool(self._finite))
        return self._values


def _begun(values: Tensor, stream: torch.cuda.Stream) -> Tensor:
    """Begin to copy to memory that is pinned; PyTorch uses that again when the result is gone."""
    there = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    there.copy_(values, non_blocking=True)
    values.record_stream(stream)
    return there
