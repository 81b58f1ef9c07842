"""A histogram as a small SVG, for a page without a script."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 14, 44
_MOST_BINS = 40


def histogram_svg(values: npt.NDArray[Any], title: str) -> str:
    """Draw how many values lie where; their median is marked.

    Parameters
    ----------
    values : (n,) numbers
        Those that are not finite are left out.
    title : str
        What they are, with their unit.

    Returns
    -------
    str
        An ``svg`` element, empty if there are no values. Its colours follow the text around it.
    """
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return ""
    counts, edges = np.histogram(values, _edges(values))
    step = max(_round(int(counts.max()) / 4), 1.0)
    frame = _Frame(float(edges[0]), float(edges[-1]), step * math.ceil(counts.max() / step), step)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Histogram: {escape(title)}">'
        f"{_grid(frame)}{_bars(frame, counts.tolist(), edges.tolist())}{_median(frame, float(np.median(values)))}"
        f'<text x="{(WIDTH + _LEFT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(title)}</text></svg>'
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values and counts lie in the picture."""

    low: float
    high: float
    top: float
    step: float

    def across(self, value: float) -> float:
        return _LEFT + (value - self.low) / (self.high - self.low) * (WIDTH - _LEFT - _RIGHT)

    def up(self, count: float) -> float:
        return HEIGHT - _BOTTOM - count / self.top * (HEIGHT - _TOP - _BOTTOM)


def _grid(frame: _Frame) -> str:
    """Draw lines at round counts, and round values below."""
    lines = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{frame.up(n):.1f}" y2="{frame.up(n):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{frame.up(n) + 4:.1f}" text-anchor="end">{n:g}</text>'
        for n in np.arange(0, frame.top + frame.step / 2, frame.step).tolist()
    )
    values = "".join(
        f'<text x="{frame.across(value):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value:g}</text>'
        for value in _round_steps(frame.low, frame.high, 8)
    )
    return lines + values


def _bars(frame: _Frame, counts: list[int], edges: list[float]) -> str:
    return "".join(
        f'<rect class="bar" x="{frame.across(start) + 0.5:.1f}" y="{frame.up(count):.1f}" '
        f'width="{max(frame.across(stop) - frame.across(start) - 1, 0.5):.1f}" '
        f'height="{frame.up(0) - frame.up(count):.1f}"><title>{start:.4g} – {stop:.4g}: {count}</title></rect>'
        for start, stop, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    )


def _median(frame: _Frame, median: float) -> str:
    x = f"{frame.across(median):.1f}"
    return (
        f'<line class="median" x1="{x}" x2="{x}" y1="{_TOP}" y2="{frame.up(0):.1f}">'
        f"<title>median {median:.4g}</title></line>"
    )


def _edges(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the edges of the bins: at round numbers, about as wide as Freedman and Diaconis advise."""
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-30):
        span = max(abs(low) * 0.1, 0.5)
        return np.array([low - span, low + span])
    lower, upper = np.percentile(values, (25, 75))
    width = 2 * (upper - lower) / values.size ** (1 / 3) or (high - low) / 10
    width = _round(max(width, (high - low) / _MOST_BINS) / 2)
    first = math.floor(low / width)
    return np.arange(first, math.floor(high / width) + 2, dtype=np.float64) * width


def _round_steps(low: float, high: float, most: int) -> list[float]:
    """Return round numbers from low to high, at most about so many."""
    step = _round((high - low) / most)
    numbers = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
    return [float(f"{number:.6g}") for number in numbers.tolist()]


def _round(length: float) -> float:
    """Return the next of 1, 2 or 5 times a power of ten that is not shorter.

    >>> [_round(length) for length in (0.3, 1.0, 1.2, 23.0)]
    [0.5, 1.0, 2.0, 50.0]
    """
    power = 10.0 ** math.floor(math.log10(length))
    return next(digit * power for digit in (1.0, 2.0, 5.0, 10.0) if digit * power >= length * (1 - 1e-9))
