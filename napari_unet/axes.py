"""Axes strings and pixel sizes.

An axes string names every dimension of an array with one upper-case letter: T (time), C (channel),
Z, Y and X. The canonical order is ``TCZYX``. A colour image is ``YXC``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari_unet.errors import AxesError

CANONICAL = "TCZYX"
NAMES = {"T": "time points", "C": "channels", "Z": "slices", "Y": "rows", "X": "columns"}


@dataclass(frozen=True, slots=True)
class PixelSize:
    """Physical size of a pixel in µm; None where it is not known.

    >>> PixelSize(y_um=0.5, x_um=0.5).along("ZYX")
    (None, 0.5, 0.5)
    """

    z_um: float | None = None
    y_um: float | None = None
    x_um: float | None = None

    def along(self, axes: str) -> tuple[float | None, ...]:
        """Pixel size in µm along each of `axes`; None for T and C."""
        known = {"Z": self.z_um, "Y": self.y_um, "X": self.x_um}
        return tuple(known.get(axis) for axis in axes)

    @property
    def known(self) -> bool:
        """Whether the size in the plane is known."""
        return self.y_um is not None and self.x_um is not None


def default_axes(ndim: int) -> str:
    """Return the axes that an array of `ndim` dimensions has when nobody says: YX or ZYX.

    Raises
    ------
    AxesError
        For any other number of dimensions.
    """
    if ndim == 2:
        return "YX"
    if ndim == 3:
        return "ZYX"
    raise AxesError(
        f"The image has {ndim} dimensions, and only 2 (YX) or 3 (ZYX) explain themselves. "
        'Name the axes, for example axes="TZYX" or axes="YXC".'
    )


def check_axes(axes: str | None, ndim: int) -> str:
    """Return `axes` in upper case after checking that it describes an array of `ndim` dimensions.

    Raises
    ------
    AxesError
        If a letter is unknown or repeated, Y or X is missing, or the length is wrong.
    """
    if axes is None:
        return default_axes(ndim)
    axes = axes.strip().upper()
    unknown = sorted(set(axes) - set(CANONICAL))
    if unknown:
        raise AxesError(f'The axes "{axes}" contain {", ".join(unknown)}. Use only the letters T, C, Z, Y and X.')
    if len(set(axes)) != len(axes):
        raise AxesError(f'The axes "{axes}" name a dimension twice. Use each of T, C, Z, Y and X at most once.')
    if not {"Y", "X"} <= set(axes):
        raise AxesError(f'The axes "{axes}" lack Y or X. Every image needs both.')
    if len(axes) != ndim:
        raise AxesError(
            f'The axes "{axes}" name {len(axes)} dimensions, but the image has {ndim}. Give one letter for each.'
        )
    return axes


def without(axes: str, letters: str) -> str:
    """Return `axes` without some letters.

    >>> without("YXC", "C")
    'YX'
    """
    return "".join(axis for axis in axes if axis not in letters)


def sizes(shape: Sequence[int], axes: str) -> dict[str, int]:
    """Size of each canonical axis; 1 where the array has no such axis.

    >>> sizes((4, 5, 3), "YXC")
    {'T': 1, 'C': 3, 'Z': 1, 'Y': 4, 'X': 5}
    """
    present = dict(zip(axes, (int(n) for n in shape), strict=True))
    return {axis: present.get(axis, 1) for axis in CANONICAL}


def describe(shape: Sequence[int], axes: str, channels: Sequence[int] | None = None) -> str:
    """Say what an image holds, for people.

    >>> describe((12, 30, 3, 256, 300), "TZCYX", channels=[1])
    '12 time points × 30 slices, channel 2 of 3, 256 × 300 pixels'
    >>> describe((256, 300), "YX")
    'one plane, 256 × 300 pixels'
    """
    size = sizes(shape, axes)
    counts = [f"{size[axis]} {NAMES[axis]}" for axis in "TZ" if size[axis] > 1]
    parts = [" × ".join(counts) or "one plane"]
    if "C" in axes:
        chosen = list(range(size["C"])) if channels is None else list(channels)
        if len(chosen) == size["C"]:
            parts.append(f"{size['C']} channel{'s' if size['C'] > 1 else ''}")
        else:
            numbers = ", ".join(str(c + 1) for c in chosen)
            parts.append(f"channel{'s' if len(chosen) > 1 else ''} {numbers} of {size['C']}")
    parts.append(f"{size['Y']} × {size['X']} pixels")
    return ", ".join(parts)
