"""Operations that move pixels: cropping, padding, repeating, interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_unet.inference.exact.intervals import Interval, Window, size_of, view
from napari_unet.inference.exact.operations import Operation, Part, beside, cropped, like

MODES = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True, eq=False)
class Crop(Operation):
    """A window of the input, as a view.

    Attributes
    ----------
    window : Window
    """

    window: Window
    shares: ClassVar[bool] = True

    def size(self, axis: int, n: int) -> int:
        """Return the size of the window."""
        del n
        return self.window[axis].length

    def needs(self, axis: int, wanted: Interval) -> Interval:
        """Return the interval, shifted."""
        start = self.window[axis].start
        return Interval(wanted.start + start, wanted.stop + start)

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Return what is there."""
        del window, out
        return parts[0].pixels


@dataclass(frozen=True, eq=False)
class Pad(Operation):
    """A constant around the input.

    Attributes
    ----------
    padding : tuple of (int, int)
        Pixels before and after, for each axis; negative ones cut off.
    value : float
    """

    padding: tuple[tuple[int, int], ...]
    value: float = 0.0

    def size(self, axis: int, n: int) -> int:
        """Return the size with the padding."""
        return n + sum(self.padding[axis])

    def needs(self, axis: int, wanted: Interval) -> Interval:
        """Return the interval, shifted."""
        before = self.padding[axis][0]
        return Interval(wanted.start - before, wanted.stop - before)

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Put what is there into the constant."""
        x, part = parts[0].pixels, parts[0]
        if out is None:
            out = like(x, size_of(window))
        out.fill_(self.value)
        common = tuple(
            Interval(max(w.start, g.start), min(w.stop, g.stop)) for w, g in zip(part.wanted, part.given, strict=True)
        )
        if all(c.length > 0 for c in common):
            view(out, part.wanted, common).copy_(view(x, part.given, common))
        return out


@dataclass(frozen=True, eq=False)
class Gather(Operation):
    """Each pixel is one of the input: mirrored borders, nearest neighbours at any scale, strides.

    Attributes
    ----------
    positions : tuple of (size,) int64 tensor
        In the input, for each axis.
    """

    positions: tuple[Tensor, ...]
    shares: ClassVar[bool] = True

    def size(self, axis: int, n: int) -> int:
        """Return how many positions there are."""
        del n
        return len(self.positions[axis])

    def needs(self, axis: int, wanted: Interval) -> Interval:
        """Return what lies between the first position and the last one."""
        there = self.positions[axis][slice(*wanted)]
        return Interval(int(there.min()), int(there.max()) + 1)

    def pace(self, axis: int) -> Fraction | None:
        """Return 1 where only borders are changed."""
        size, longest = len(self.positions[axis]), 1
        steps = self.positions[axis].diff()
        longest += int((steps == 1).sum())
        return Fraction(1) if 2 * longest > size else None

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Pick the pixels; nothing is copied where they lie side by side."""
        del out
        x = parts[0].pixels
        first = x.ndim - len(window)
        for axis, (wanted, given) in enumerate(zip(window, parts[0].given, strict=True)):
            there = self.positions[axis][slice(*wanted)]
            if wanted.length != given.length or not bool((there.diff() == 1).all()):
                x = x.index_select(first + axis, beside(there - given.start, x))
        return x


@dataclass(frozen=True, eq=False)
class Enlarge(Operation):
    """Interpolation by whole factors, between the centres of pixels.

    Attributes
    ----------
    factors : tuple of int
        One an axis.
    linear : bool
        Whether between neighbours; otherwise pixels are repeated.
    """

    factors: tuple[int, ...]
    linear: bool

    def size(self, axis: int, n: int) -> int:
        """Return the size times the factor."""
        return n * self.factors[axis]

    def needs(self, axis: int, wanted: Interval) -> Interval:
        """Return the pixel under each one of the output, or the two around it."""
        factor = self.factors[axis]
        first, last = wanted.start, wanted.stop - 1
        if not self.linear or factor == 1:
            return Interval(first // factor, last // factor + 1)
        # Pixel i lies at (i + 1/2) / factor - 1/2 of the input.
        lower, upper = ((2 * i + 1 - factor) // (2 * factor) for i in (first, last))
        return Interval(lower, upper + 2)

    def pace(self, axis: int) -> Fraction:
        """Return one over the factor."""
        return Fraction(1, self.factors[axis])

    def grain(self, axis: int) -> int:
        """Return the factor where pixels are repeated."""
        return 1 if self.linear else self.factors[axis]

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Interpolate."""
        del out
        scale = tuple(float(factor) for factor in self.factors)
        if self.linear:
            larger = F.interpolate(parts[0].pixels, scale_factor=scale, mode=MODES[len(window)], align_corners=False)
        else:
            larger = F.interpolate(parts[0].pixels, scale_factor=scale, mode="nearest")
        starts = [given.start * factor for given, factor in zip(parts[0].given, self.factors, strict=True)]
        return cropped(larger, starts, window)


@dataclass(frozen=True, slots=True)
class Stretch:
    """How one axis is interpolated linearly from `old` to `new` pixels.

    Attributes
    ----------
    old, new : int
    corners : bool
        Whether the centres of the first and last pixels stay where they are; otherwise their outer edges.
    scale : float
        Pixels of the input for each one of the output.
    dtype : torch.dtype
        In which places are computed, as PyTorch does: at large positions float32 is not exact.
    """

    old: int
    new: int
    corners: bool
    scale: float
    dtype: torch.dtype

    def places(self, wanted: Interval) -> tuple[Tensor, Tensor]:
        """Return the pixel before each place, and how far behind it the place is."""
        i = torch.arange(*wanted, dtype=self.dtype)
        scale = torch.tensor(self.scale, dtype=self.dtype)
        place = i * scale if self.corners else ((i + 0.5) * scale - 0.5).clamp(min=0)
        before = place.to(torch.int64).clamp(max=self.old - 1)
        return before, (place - before).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Interpolate(Operation):
    """Linear interpolation to any size, with the geometry of the whole image.

    Only two pixels along each axis count for one of the output, but where they are depends on the size
    of the whole image; so its places are computed here rather than by the window.

    Attributes
    ----------
    axes : tuple of Stretch
    """

    axes: tuple[Stretch, ...]

    def size(self, axis: int, n: int) -> int:
        """Return the new size."""
        assert n == self.axes[axis].old
        return self.axes[axis].new

    def needs(self, axis: int, wanted: Interval) -> Interval:
        """Return the pixels around the first place and around the last one."""
        ends = (self.axes[axis].places(Interval(i, i + 1))[0] for i in (wanted.start, wanted.stop - 1))
        first, last = (int(end) for end in ends)
        return Interval(first, last + 2)

    def pace(self, axis: int) -> Fraction | None:
        """Return a number only where nothing is changed, or corners are not kept."""
        stretch = self.axes[axis]
        if stretch.old == stretch.new:
            return Fraction(1)
        even = not stretch.corners and math.isclose(stretch.scale * stretch.new, stretch.old)
        return Fraction(stretch.old, stretch.new) if even else None

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Mix the two neighbours along one axis after the other."""
        del out
        x = parts[0].pixels
        first = x.ndim - len(window)
        for axis, (wanted, given) in enumerate(zip(window, parts[0].given, strict=True)):
            if self.axes[axis].old == self.axes[axis].new:
                continue
            before, share = self.axes[axis].places(wanted)
            after = (before + 1).clamp(max=self.axes[axis].old - 1)
            shape = [-1 if other == axis else 1 for other in range(len(window))]
            lower, upper = (x.index_select(first + axis, beside(i - given.start, x)) for i in (before, after))
            x = torch.lerp(lower, upper, beside(share.to(x.dtype), x).view(shape))
        return x


@dataclass(frozen=True, eq=False)
class Shuffle(Operation):
    """Depth to space: groups of channels become pixels."""

    scale: int

    def size(self, axis: int, n: int) -> int:
        """Return the size times the scale."""
        del axis
        return n * self.scale

    def needs(self, axis: int, wanted: Interval) -> Interval:
        """Return the pixels whose channels are wanted."""
        del axis
        return Interval(wanted.start // self.scale, (wanted.stop - 1) // self.scale + 1)

    def pace(self, axis: int) -> Fraction:
        """Return one over the scale."""
        del axis
        return Fraction(1, self.scale)

    def grain(self, axis: int) -> int:
        """Return the scale."""
        del axis
        return self.scale

    def run(self, parts: Sequence[Part], window: Window, out: Tensor | None = None) -> Tensor:
        """Rearrange."""
        del out
        starts = [given.start * self.scale for given in parts[0].given]
        return cropped(F.pixel_shuffle(parts[0].pixels, self.scale), starts, window)
