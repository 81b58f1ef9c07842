"""Lines and spots drawn over a correction layer while a tool is used."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components.overlays import SceneOverlay
from napari.layers import Labels
from pydantic import Field

from napari_unet.objects.editing.changes import Box, Mask

_NAME = "napari-unet sketch"


class SketchOverlay(SceneOverlay):  # type: ignore[misc]
    """What is drawn, in indices of the layer's array.

    Attributes
    ----------
    lines : list of (start, end)
    spots : list of points
    """

    lines: list[Any] = Field(default_factory=list)
    spots: list[Any] = Field(default_factory=list)


class Sketch:
    """Draws over a layer; without a canvas it remembers what it would draw.

    Parameters
    ----------
    layer : Labels
    name : str
        Of the sketch: a layer can have several.
    """

    def __init__(self, layer: Labels, name: str = _NAME) -> None:
        _register()
        self.overlay, self._name = SketchOverlay(), name
        layer._overlays[name] = self.overlay  # noqa: SLF001  # napari has no other place for overlays of a layer
        self._layer = layer

    def line(self, points: Sequence[npt.ArrayLike]) -> None:
        """Draw a line with corners."""
        self._show(lines=np.asarray(list(pairwise(points))).tolist())

    def spots(self, points: Sequence[npt.ArrayLike]) -> None:
        """Mark points."""
        self._show(spots=np.asarray(points).tolist())

    def outline(self, segments: npt.NDArray[np.float64]) -> None:
        """Draw the outline of a proposal, (n, 2, ndim)."""
        self._show(lines=segments.tolist())

    def clear(self) -> None:
        """Draw nothing."""
        self._show()

    def remove(self) -> None:
        """Take it off the layer."""
        self._layer._overlays.pop(self._name, None)  # noqa: SLF001

    def _show(self, lines: Sequence[Any] = (), spots: Sequence[Any] = ()) -> None:
        self.overlay.lines, self.overlay.spots = list(lines), list(spots)
        self.overlay.visible = bool(lines or spots)


def outline_of(mask: Mask, box: Box) -> npt.NDArray[np.float64]:
    """Return the outline of a plane along the edges of its pixels, as (n, 2, 2) segments.

    Parameters
    ----------
    mask : (Y, X) bool
    box : Box
        Where the mask lies.

    >>> outline_of(np.ones((1, 1), bool), ((4, 5), (7, 8))).tolist()[0]
    [[3.5, 6.5], [3.5, 7.5]]
    """
    padded = np.pad(mask, 1)
    y, x = np.nonzero(padded[1:] != padded[:-1])
    flat = np.stack([np.stack([y, x - 1], 1), np.stack([y, x], 1)], 1)
    y, x = np.nonzero(padded[:, 1:] != padded[:, :-1])
    steep = np.stack([np.stack([y - 1, x], 1), np.stack([y, x], 1)], 1)
    segments: npt.NDArray[np.float64] = np.concatenate([flat, steep]) - 0.5 + [box[0][0], box[1][0]]
    return segments


def _register() -> None:
    """Tell napari how to draw the overlay: it has no public way to add one."""
    from napari._vispy.utils.visual import overlay_to_visual

    if SketchOverlay not in overlay_to_visual:
        from napari_unet.gui.tools.sketch_visual import SketchVisual

        overlay_to_visual[SketchOverlay] = SketchVisual
