"""What an operation is, and those that look at one pixel at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_unet.inference.exact.intervals import Interval, Window, view

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass(frozen=True, slots=True)
class Part:
    """What an operation gets of one of its inputs.

    Attributes
    ----------
    pixels : (..., *size of `given`)
    wanted : Window
        What it asked for; may reach beyond the border.
    given : Window
        The same, cut off at the border of the image.
    """

    pixels: Tensor
    wanted: Window
    given: Window

    @property
    def missing(self) -> tuple[tuple[int, int], ...]:
        """Pixels beyond the border before and after the image, for each axis."""
        return tuple((g.start - w.start, w.stop - g.stop) for w, g in zip(self.wanted, self.given, strict=True))


class Operation(ABC):
    """A layer: its geometry along each axis, and its arithmetic on any window.

    Tensors are (..., *size): the spatial axes come last, most often behind N and C.

    Attributes
    ----------
    shares : bool
        Whether the result may share memory with the input.
    overwrites : bool
        Whether `run` can put its result where its first input was.
    """

    shares: ClassVar[bool] = False
    overwrites: ClassVar[bool] = False

    @abstractmethod
    def size(self, axis: int, n: int) -> int:
        """Return the size of the output along an axis where the input has `n` pixels."""

    @abstractmethod
    def needs(self, axis: int, wanted: Interval) -> Interval:
        """Return the interval of each input that an interval of the output depends on."""

    @abstractmethod
    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Compute the output on a window.

        Parameters
        ----------
        parts : sequence of Part
            Of each input, what `needs` says.
        window : Window
        out : (..., *size of the window), optional
            Where the result should be written; an operation that cannot do so returns it elsewhere.
        """

    def pace(self, axis: int) -> Fraction | None:
        """Return the pixels of the input for each one of the output; None if that depends on the place."""
        del axis
        return Fraction(1)

    def grain(self, axis: int) -> int:
        """Return how many pixels of the output come at the price of one."""
        del axis
        return 1


class Local(Operation):
    """An operation whose output at a pixel depends on the inputs at that pixel."""

    def size(self, axis: int, n: int) -> int:
        """Return the same size."""
        del axis
        return n

    def needs(self, axis: int, wanted: Interval) -> Interval:
        """Return the same interval."""
        del axis
        return wanted


class Image(Local):
    """The image itself: a graph begins with it."""

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Return what was read."""
        del window, out
        return parts[0].pixels


@dataclass(frozen=True, slots=True)
class Slot:
    """Stands for an input in the arguments of a function."""

    index: int


@dataclass(frozen=True, eq=False)
class Pointwise(Local):
    """Any function that treats all pixels alike: activations, sums, products, work on channels alone.

    Attributes
    ----------
    function : callable
    arguments : tuple
        With slots where the inputs belong.
    keywords : dict
    into : callable, optional
        The same function with a keyword argument `out`.
    shares : bool
        Whether the result is a view of the input.
    """

    function: Callable[..., Tensor]
    arguments: tuple[Any, ...] = (Slot(0),)
    keywords: Mapping[str, Any] = field(default_factory=dict)
    into: Callable[..., Tensor] | None = None
    shares: bool = False  # type: ignore[misc]  # a class variable elsewhere

    @property
    def overwrites(self) -> bool:  # type: ignore[override]
        """Whether `run` can put its result where its first input was."""
        return self.into is not None

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Call the function."""
        del window
        arguments = fill(self.arguments, [part.pixels for part in parts])
        if out is not None and self.into is not None:
            return self.into(*arguments, **self.keywords, out=out)
        return self.function(*arguments, **self.keywords)


def fill(arguments: Any, inputs: Sequence[Tensor]) -> Any:  # noqa: ANN401
    """Put inputs where the slots are."""
    if isinstance(arguments, Slot):
        return inputs[arguments.index]
    if isinstance(arguments, tuple | list):
        return type(arguments)(fill(argument, inputs) for argument in arguments)
    return arguments


@dataclass(frozen=True, eq=False)
class Reshape(Local):
    """Rearrange the axes before the spatial ones.

    Attributes
    ----------
    lead : tuple of int
        Their sizes; the first one is that of the batch.
    """

    lead: tuple[int, ...]
    shares: ClassVar[bool] = True

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Reshape the axes, as a view where that can be."""
        del out
        x = parts[0].pixels
        return x.reshape(*self.lead, *x.shape[x.ndim - len(window) :])


@dataclass(frozen=True, eq=False)
class ChannelNorm(Local):
    """Layer normalization over the channels of each pixel."""

    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Normalize (N, C, *size)."""
        del window, out
        x = parts[0].pixels
        return F.layer_norm(x.movedim(1, -1), (x.shape[1],), self.weight, self.bias, self.eps).movedim(-1, 1)


@dataclass(frozen=True, eq=False)
class Affine(Local):
    """Batch normalization in evaluation mode: each channel scaled and shifted.

    Attributes
    ----------
    scale, shift : (C,) tensor
    """

    scale: Tensor
    shift: Tensor
    overwrites: ClassVar[bool] = True

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Scale and shift (N, C, *size)."""
        shape = (-1, *(1,) * len(window))
        return torch.addcmul(self.shift.view(shape), parts[0].pixels, self.scale.view(shape), out=out)


@dataclass(frozen=True, eq=False)
class Concat(Local):
    """Concatenation along an axis before the spatial ones, such as that of the channels."""

    axis: int

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Join all inputs."""
        del window
        pixels = [part.pixels for part in parts]
        return torch.cat(pixels, self.axis) if out is None else torch.cat(pixels, self.axis, out=out)


def cropped(x: Tensor, starts: Sequence[int], window: Window) -> Tensor:
    """View a result that begins at `starts` on a window inside of it."""
    first = x.ndim - len(window)
    given = tuple(Interval(a, a + n) for a, n in zip(starts, x.shape[first:], strict=True))
    return view(x, given, window)


def like(x: Tensor, size: Sequence[int], lead: Sequence[int] | None = None) -> Tensor:
    """Return an empty tensor of another size, spatially and perhaps before, and the same layout in memory."""
    shape = (*(lead or x.shape[: x.ndim - len(size)]), *size)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout_of(x))


def beside(x: Tensor, other: Tensor) -> Tensor:
    """Return a small tensor of the CPU on the device of another one, which does not stop working for that."""
    return x.to(other.device, non_blocking=other.device.type == "cuda")


def layout_of(x: Tensor) -> torch.memory_format:
    """Return the order in which the axes of a tensor lie in memory: channels first or last."""
    last = CHANNELS_LAST.get(x.ndim)
    channels_are_last = last is not None and x.stride(1) == 1 and x.shape[1] > 1
    return last if last is not None and channels_are_last else torch.contiguous_format
