"""Operations that look at several pixels at once: convolutions and pooling."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_unet.inference.exact.intervals import Interval, Window, size_of
from napari_unet.inference.exact.operations import CHANNELS_LAST, Operation, Part, beside, cropped, layout_of

Sides = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

CONVOLVE: dict[int, Callable[..., Tensor]] = {2: F.conv2d, 3: F.conv3d}
TRANSPOSE: dict[int, Callable[..., Tensor]] = {2: F.conv_transpose2d, 3: F.conv_transpose3d}
MAX: dict[int, Callable[..., Tensor]] = {2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE: dict[int, Callable[..., Tensor]] = {2: F.avg_pool2d, 3: F.avg_pool3d}


@dataclass(frozen=True, eq=False, kw_only=True)
class Sampling(Operation):
    """A kernel that moves over the input.

    Attributes
    ----------
    kernel, stride, dilation : tuple of int
        One an axis.
    padding : tuple of (int, int)
        Pixels before and after the image, for each axis.
    """

    kernel: Sides
    stride: Sides
    padding: Pairs
    dilation: Sides

    def extent(self, axis: int) -> int:
        """Return from how many pixels in a row one of the output is made."""
        return self.dilation[axis] * (self.kernel[axis] - 1) + 1

    def size(self, axis: int, n: int) -> int:
        """Return how often the kernel fits in."""
        return (n + sum(self.padding[axis]) - self.extent(axis)) // self.stride[axis] + 1

    def needs(self, axis: int, wanted: Interval) -> Interval:
        """Return what the kernel covers."""
        stride, before = self.stride[axis], self.padding[axis][0]
        return Interval(wanted.start * stride - before, (wanted.stop - 1) * stride - before + self.extent(axis))

    def pace(self, axis: int) -> Fraction:
        """Return the stride."""
        return Fraction(self.stride[axis])

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Apply the kernel, without padding but where the border of the image is.

        The functions of PyTorch pad both ends alike. To copy nothing, both get as much as the end that
        needs more, in whole strides, and what that gives too much is not looked at.
        """
        del out
        pads, extra = zip(*map(_alike, parts[0].missing, self.stride), strict=True)
        return cropped(self.apply(parts[0].pixels, pads), [-n for n in extra], _from_zero(window))

    @abstractmethod
    def apply(self, x: Tensor, padding: Sides) -> Tensor:
        """Compute (N, C, *size) with so much padding on both sides."""


def _alike(missing: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return padding for both ends, and how many pixels of the output come too early.

    >>> _alike((1, 0), 1), _alike((0, 1), 1), _alike((0, 1), 2), _alike((0, 0), 1)
    ((1, 0), (1, 1), (2, 1), (0, 0))
    """
    before, after = missing
    extra = max(0, -(-(after - before) // stride))
    return before + extra * stride, extra


def _from_zero(window: Window) -> Window:
    return tuple(Interval(0, n) for n in size_of(window))


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Sampling):
    """A convolution; beyond the border there are zeros.

    Attributes
    ----------
    weight : (out, in / groups, *kernel) tensor
    bias : (out,) tensor, optional
    groups : int
    """

    weight: Tensor
    bias: Tensor | None
    groups: int = 1

    def apply(self, x: Tensor, padding: Sides) -> Tensor:
        """Convolve.

        On a CPU, PyTorch leaves small volumes to code that is up to 20 times slower than oneDNN's; so that
        is asked directly.
        """
        if x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            x, sides = x.contiguous(memory_format=self.layout(x)), (padding, self.stride, self.dilation)
            return torch.mkldnn_convolution(x, self.weight, self.bias, *sides, self.groups)
        convolve = CONVOLVE[len(self.kernel)]
        return convolve(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def layout(self, x: Tensor) -> torch.memory_format:
        """Return the order of axes in memory that the weights ask for, or else that of the input."""
        last = CHANNELS_LAST[self.weight.ndim]
        weight_is_last = self.weight.is_contiguous(memory_format=last) and not self.weight.is_contiguous()
        return last if weight_is_last else layout_of(x)


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(Sampling):
    """The largest value under the kernel; beyond the border there is nothing.

    Attributes
    ----------
    ceil : bool
        Whether the last pixels count where they do not fill a kernel.
    """

    ceil: bool = False

    def size(self, axis: int, n: int) -> int:
        """Return how often the kernel fits in."""
        return _pooled(self, axis, n) if self.ceil else super().size(axis, n)

    def apply(self, x: Tensor, padding: Sides) -> Tensor:
        """Pool; PyTorch pads no more than half a kernel by itself."""
        pool = MAX[len(self.kernel)]
        if all(2 * pad <= side for pad, side in zip(padding, self.kernel, strict=True)):
            return pool(x, self.kernel, self.stride, padding, self.dilation)
        both = [pad for pad in reversed(padding) for _ in range(2)]
        return pool(F.pad(x, both, value=-torch.inf), self.kernel, self.stride, 0, self.dilation)


def _pooled(pool: Sampling, axis: int, n: int) -> int:
    """Size after pooling that keeps incomplete kernels, unless they lie in the padding alone."""
    (before, after), stride = pool.padding[axis], pool.stride[axis]
    count = -(-(n + before + after - pool.extent(axis)) // stride) + 1
    return count - 1 if (count - 1) * stride >= n + before else count


@dataclass(frozen=True, eq=False, kw_only=True)
class AveragePool(Sampling):
    """The mean of what is under the kernel.

    Attributes
    ----------
    shape : tuple of int
        Of the input, along the spatial axes.
    ceil : bool
        Whether the last pixels count where they do not fill a kernel.
    counts_padding : bool
        Whether the zeros of the padding belong to the mean.
    """

    shape: Sides
    ceil: bool = False
    counts_padding: bool = True

    def size(self, axis: int, n: int) -> int:
        """Return how often the kernel fits in."""
        return _pooled(self, axis, n) if self.ceil else super().size(axis, n)

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Add up, and divide by the pixels that count at each place."""
        pool = AVERAGE[len(self.kernel)]
        if not any(map(any, parts[0].missing)):
            return pool(parts[0].pixels, self.kernel, self.stride)
        result = super().run(parts, window, out)
        for axis, wanted in enumerate(window):
            shape = [-1 if other == axis else 1 for other in range(len(window))]
            share = torch.tensor([self.kernel[axis] / n for n in self._counts(axis, wanted)], dtype=result.dtype)
            result = result * beside(share, result).view(shape)
        return result

    def _counts(self, axis: int, wanted: Interval) -> list[int]:
        """Return how many pixels along an axis each mean is taken of."""
        before, after = self.padding[axis] if self.counts_padding else (0, 0)
        starts = [i * self.stride[axis] - self.padding[axis][0] for i in range(*wanted)]
        end = self.shape[axis] + after
        return [min(start + self.kernel[axis], end) - max(start, -before) for start in starts]

    def apply(self, x: Tensor, padding: Sides) -> Tensor:
        """Return the mean with zeros beyond the border."""
        both = [pad for pad in reversed(padding) for _ in range(2)]
        return AVERAGE[len(self.kernel)](F.pad(x, both), self.kernel, self.stride)


@dataclass(frozen=True, eq=False, kw_only=True)
class Transposed(Operation):
    """A transposed convolution: each pixel of the input spreads the kernel over the output.

    Attributes
    ----------
    weight : (in, out / groups, *kernel) tensor
    bias : (out,) tensor, optional
    kernel, stride, padding, beyond, dilation : tuple of int
        One an axis; `beyond` is what PyTorch calls the output padding.
    groups : int
    """

    weight: Tensor
    bias: Tensor | None
    kernel: Sides
    stride: Sides
    padding: Sides
    beyond: Sides
    dilation: Sides
    groups: int = 1

    def extent(self, axis: int) -> int:
        """Return over how many pixels in a row one of the input is spread."""
        return self.dilation[axis] * (self.kernel[axis] - 1) + 1

    def size(self, axis: int, n: int) -> int:
        """Return where the last kernel ends."""
        return (n - 1) * self.stride[axis] - 2 * self.padding[axis] + self.extent(axis) + self.beyond[axis]

    def needs(self, axis: int, wanted: Interval) -> Interval:
        """Return the pixels whose kernels touch the interval."""
        stride, padding = self.stride[axis], self.padding[axis]
        first = -(-(wanted.start + padding - self.extent(axis) + 1) // stride)
        last = (wanted.stop - 1 + padding) // stride
        return Interval(min(first, last), last + 1)

    def pace(self, axis: int) -> Fraction:
        """Return one over the stride."""
        return Fraction(1, self.stride[axis])

    def grain(self, axis: int) -> int:
        """Return the stride, where kernels do not overlap."""
        exact = self.extent(axis) == self.stride[axis] and self.padding[axis] == 0
        return self.stride[axis] if exact else 1

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Spread what there is, and leave out what lies outside the window."""
        del out
        lost, beyond, starts = [], [], []
        for axis, (wanted, given) in enumerate(zip(window, parts[0].given, strict=True)):
            start = given.start * self.stride[axis] - self.padding[axis]
            stop = (given.stop - 1) * self.stride[axis] - self.padding[axis] + self.extent(axis)
            lost.append(max(0, min(wanted.start - start, stop - wanted.stop)))
            beyond.append(max(0, wanted.stop - stop))
            starts.append(start + lost[-1])
        sides: Any = (self.stride, lost, beyond, self.groups, self.dilation)
        spread = TRANSPOSE[len(self.kernel)](parts[0].pixels, self.weight, self.bias, *sides)
        return cropped(spread, starts, window)
