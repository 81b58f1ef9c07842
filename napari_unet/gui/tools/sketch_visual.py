"""How napari's canvas draws a sketch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from napari._vispy.overlays.base import LayerOverlayMixin, VispySceneOverlay
from vispy.scene.visuals import Compound, Line, Markers  # type: ignore[import-untyped]

_INK, _EDGE = "#ffd400", "black"
_NOTHING = np.zeros((2, 2), np.float32)


class SketchVisual(LayerOverlayMixin, VispySceneOverlay):  # type: ignore[misc]
    """Yellow lines on black ones, seen on any image and label."""

    def __init__(self, **given: Any) -> None:  # noqa: ANN401
        self._edge = Line(pos=_NOTHING, color=_EDGE, width=4, connect="segments", method="gl")
        self._ink = Line(pos=_NOTHING, color=_INK, width=2, connect="segments", method="gl")
        self._spots = Markers(pos=_NOTHING)
        super().__init__(node=Compound([self._edge, self._ink, self._spots]), **given)
        self.overlay.events.lines.connect(self._draw)
        self.overlay.events.spots.connect(self._draw)
        self.reset()

    def reset(self) -> None:
        """Draw everything anew."""
        super().reset()
        self._draw()

    def close(self) -> None:
        """Draw no more."""
        self.overlay.events.lines.disconnect(self._draw)
        self.overlay.events.spots.disconnect(self._draw)
        super().close()

    def _draw(self) -> None:
        lines, spots = (self._seen(points) for points in (self.overlay.lines, self.overlay.spots))
        for line in (self._edge, self._ink):
            line.visible = len(lines) > 0
            if len(lines):
                line.set_data(pos=lines)
        self._spots.visible = len(spots) > 0
        if len(spots):
            self._spots.set_data(pos=spots, face_color=_INK, edge_color=_EDGE, size=9, edge_width=1.5)
        self.node.update()

    def _seen(self, points: list[Any]) -> npt.NDArray[np.float32]:
        """Turn indices of the array into places of the canvas."""
        displayed = list(self.layer._slice_input.displayed)  # noqa: SLF001
        if not points:
            return np.zeros((0, len(displayed)), np.float32)
        flat = np.asarray(points, np.float64).reshape(-1, self.layer.ndim)
        # Vispy counts from the corner of the first pixel, and has x first.
        shift = 0.5 if len(displayed) == 2 else 0.0
        if len(displayed) == 2:
            flat = np.asarray(self.layer._transforms["tile2data"].inverse(flat))  # noqa: SLF001  # huge layers are shown coarsely
        return (flat[:, displayed[::-1]] + shift).astype(np.float32)
