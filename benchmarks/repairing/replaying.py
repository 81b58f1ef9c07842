"""Doing again what was planned: with napari's own layer, and with our edits on the whole image."""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import numpy as np
from napari.layers import Labels

from repairing import ours
from repairing.hand import Action
from repairing.matching import Labels as Array


class Paper(Protocol):
    """Something to work on."""

    def do(self, actions: tuple[Action, ...]) -> Array:
        """Do what was planned, and return what it led to."""


class Sheet:
    """The whole image, in napari's own layer.

    Parameters
    ----------
    labels : (Y, X) integer
    seen : Seen
    """

    def __init__(self, labels: Array, seen: ours.Seen) -> None:
        self._layer, self._seen = Labels(labels.astype(np.int32).copy()), seen

    def do(self, actions: tuple[Action, ...]) -> Array:
        """Do what was planned, and return what it led to."""
        for name, *rest in actions:
            if name in OWN:
                OWN[name](self._layer, *rest)
            elif name in OURS:
                self._layer.data[:] = OURS[name](self._layer.data, self._seen, *rest)
        return np.array(self._layer.data)


def _paint(layer: Labels, label: int, size: int, preserve: bool, points: tuple[tuple[float, float], ...]) -> None:
    layer.mode, layer.brush_size, layer.preserve_labels = "paint", size, preserve
    _draw(layer, label, points)


def _erase(layer: Labels, size: int, points: tuple[tuple[float, float], ...]) -> None:
    layer.mode, layer.brush_size, layer.preserve_labels = "erase", size, False
    _draw(layer, 0, points)


def _draw(layer: Labels, label: int, points: tuple[tuple[float, float], ...]) -> None:
    layer._draw(label, points[0], points[0])
    for a, b in pairwise(points):
        layer._draw(label, a, b)


def _fill(layer: Labels, label: int, at: tuple[int, int]) -> None:
    layer.mode, layer.preserve_labels = "fill", False
    layer.fill(at, label)


def _encircle(layer: Labels, label: int, size: int, preserve: bool, points: tuple[tuple[float, float], ...]) -> None:
    _paint(layer, label, size, preserve, points)
    layer.paint_polygon([list(at) for at in points], label)


OWN = {"paint": _paint, "erase": _erase, "fill": _fill, "encircle": _encircle}
OURS = {
    "merge": lambda labels, _seen, points, drawn: ours.merged(labels, points, drawn=drawn),
    "split": lambda labels, _seen, points, first: ours.split(labels, points, first),
    "seeds": lambda labels, seen, seeds, first: ours.seeded(labels, seeds, first, seen),
    "delete": lambda labels, _seen, points: ours.deleted(labels, points),
    "wipe": lambda labels, _seen, at: ours.deleted(labels, [at]),
    "smart fill": lambda labels, seen, at, extent, number: ours.smart(labels, at, extent, number, seen),
    "reshape all": lambda labels, _seen, how, pixels, times: _many(labels, None, how, pixels, times),
    "reshape": lambda labels, _seen, at, how, pixels, times: _many(labels, at, how, pixels, times),
}


def _many(labels: Array, at: tuple[int, int] | None, how: ours.Shape, pixels: int, times: int) -> Array:
    for _ in range(times):
        labels = ours.all_reshaped(labels, how, pixels) if at is None else ours.reshaped(labels, at, how, pixels)
    return labels
