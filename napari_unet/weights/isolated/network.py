"""A network that runs in a process of its own, with the face of any other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, Self

import numpy as np
import torch
from torch import Tensor

from napari_unet.errors import ModelError
from napari_unet.networks.base import Network
from napari_unet.networks.options.base import NetworkOptions
from napari_unet.networks.options.isolated import IsolatedOptions
from napari_unet.weights.isolated.client import Program

TINY = 1e-7
ALIGNMENT = 32


class IsolatedNetwork(Network):
    """A network whose layers are not looked at: it can predict, and nothing else.

    Parameters
    ----------
    in_channels, out_channels : int
    options : IsolatedOptions
        What was found out about it.
    program : Program
        The process that runs it.

    Raises
    ------
    ModelError
        Without a program: such a network cannot be built from its description.
    """

    geometry: IsolatedOptions

    def __init__(
        self, in_channels: int, out_channels: int, options: NetworkOptions, program: Program | None = None
    ) -> None:
        super().__init__(in_channels, out_channels, options)
        if program is None:
            raise ModelError(
                "An ONNX or TorchScript network cannot be built anew or changed: it only exists in its file. "
                "Open that file, or choose a variant to train."
            )
        self.program = program

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image (N, in_channels, [Z,] Y, X) of sides that the network takes."""
        images = image.detach().to("cpu", torch.float32)
        found = torch.stack([self._run(one) for one in images])
        return _logits(found, self.geometry.gives).to(image.device)

    def on_grid(self, image: Tensor) -> Tensor:
        """Logits on the grid of the image, whatever its size; see `Network.on_grid`.

        A network of one fixed size is moved over the image, and of each window the middle is kept.
        """
        if not self.geometry.window:
            return super().on_grid(image)
        size = image.shape[2:]
        result = image.new_zeros((len(image), self.out_channels, *size))
        for read, keep in _windows(size, self.geometry.window):
            clipped = [slice(part.start, min(part.stop, side)) for part, side in zip(read, size, strict=True)]
            logits = self(_grown(image[_last(clipped)], self.geometry.window))
            inside = [slice(k.start - r.start, k.stop - r.start) for k, r in zip(keep, read, strict=True)]
            result[_last(keep)] = logits[_last(inside)]
        return result

    def _run(self, image: Tensor) -> Tensor:
        last = self.geometry.channels_last
        array = np.moveaxis(image.numpy(), 0, -1) if last else image.numpy()
        found = self.program.run(array[None])[0]
        logits = torch.from_numpy(np.moveaxis(found, -1, 0).copy() if last else found.copy())
        if logits.ndim != image.ndim or logits.shape[0] != self.out_channels:
            raise ModelError(
                f'"{self.program.name}" gave an output of shape {tuple(found.shape)}, and {self.out_channels} channels '
                f"in {self.dims} dimensions were expected. It cannot be used."
            )
        return logits

    def train(self, mode: bool = True) -> Self:
        """Only evaluation is possible.

        Raises
        ------
        ModelError
            If training is wanted.
        """
        if mode:
            self._refuse()
        return super().train(mode)

    def state_dict(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ANN401, ARG002
        """Its weights cannot be taken out.

        Raises
        ------
        ModelError
            Always.
        """
        self._refuse()

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        self._refuse()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ModelError(
            f'"{self.program.name}" is a program that can only predict: its weights cannot be fine-tuned, copied or '
            "saved. Keep its file, or open the weights that it was exported from."
        )


def _logits(values: Tensor, gives: str) -> Tensor:
    """Turn what a network (N, K, ...) gives into logits."""
    if gives == "sigmoid":
        return torch.logit(values, eps=TINY)
    return torch.log(values.clamp(min=TINY)) if gives == "softmax" else values


Ranges = tuple[slice, ...]


def _windows(size: Sequence[int], window: Sequence[int]) -> Iterator[tuple[Ranges, Ranges]]:
    """Places of a window of fixed size, and the parts (that partition the image) that are kept of each.

    >>> [(read[0].start, keep[0].start, keep[0].stop) for read, keep in _windows((150,), (64,))]
    [(0, 0, 48), (32, 48, 80), (64, 80, 112), (96, 112, 150)]
    """
    axes = [_along(side, window_side) for side, window_side in zip(size, window, strict=True)]
    for places in itertools.product(*axes):
        yield tuple(read for read, _ in places), tuple(keep for _, keep in places)


def _along(side: int, window: int) -> list[tuple[slice, slice]]:
    if side <= window:
        return [(slice(0, window), slice(0, side))]
    # Where windows start at multiples of a common down-sampling, they sample the same pixels.
    align = math.gcd(window, ALIGNMENT)
    pitch = max(align, window // 2 // align * align)
    starts = [number * pitch for number in range(-(-(side - window) // pitch) + 1)]
    borders = [0, *((one + window + other) // 2 for one, other in itertools.pairwise(starts)), side]
    return [
        (slice(start, start + window), slice(*keep))
        for start, keep in zip(starts, itertools.pairwise(borders), strict=True)
    ]


def _last(parts: Sequence[slice]) -> tuple[Any, ...]:
    """Index of the last axes."""
    return (..., *parts)


def _grown(block: Tensor, window: Sequence[int]) -> Tensor:
    """Repeat the far borders of a block (N, C, ...) until it has the size of the window."""
    for axis, side in enumerate(window, start=2):
        positions = torch.arange(side, device=block.device).clamp(max=block.shape[axis] - 1)
        block = block.index_select(axis, positions)
    return block
