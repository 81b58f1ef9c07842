"""The reviewed region: painted, drawn, and marked around what is corrected."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.editing import apply_changes
from napari_unet.gui.margins import Margins
from napari_unet.gui.rectangle import Rectangle
from napari_unet.objects.editing.changes import Box, Change, changes_of

_BRUSH_PX = 40


class Vouching:
    """Keeps watch over all correction layers of a viewer.

    Parameters
    ----------
    desk : Desk
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._margins: dict[tuple[str, str], Margins] = {}
        self._rectangle: Rectangle | None = None
        events = desk.viewer.layers.events
        events.inserted.connect(self._on_layers)
        events.removed.connect(self._on_layers)
        desk.viewer.layers.selection.events.active.connect(self._on_active)
        self._on_layers()

    def close(self) -> None:
        """Forget all layers: the viewer is closing."""
        for margins in self._margins.values():
            margins.close()
        self._margins.clear()

    def set_margin(self, pixels: int) -> None:
        """Choose how far around an edit pixels are marked."""
        self._show(margin_px=pixels)

    def brush(self) -> None:
        """Paint the reviewed region with napari's brush."""
        self._desk.attempt(self._brush)

    def rectangle(self) -> None:
        """Draw the reviewed region in rectangles."""
        self._desk.attempt(self._draw)

    def correct(self) -> None:
        """Give the mouse back to the correction layer."""
        self._desk.attempt(self._correct)

    def vouch(self, box: Box, value: int = 1) -> None:
        """Mark a box of the chosen image's reviewed layer, or unmark it, as one step that Ctrl+Z takes back."""
        _, reviewed = self._desk.correction()
        self.settle()
        apply_changes(reviewed, changes_to(reviewed, box, value))

    def settle(self) -> None:
        """Let all marks stay that were made so far, whatever is undone later."""
        for margins in self._margins.values():
            margins.settle()

    # -- tools --------------------------------------------------------------------

    def _brush(self) -> None:
        reviewed = self._take()
        reviewed.mode = "paint"
        reviewed.brush_size = max(reviewed.brush_size, _BRUSH_PX)
        self._show(marking="brush")
        self._desk.state.tell("Paint over what is right. The eraser (1) takes marks away.")

    def _draw(self) -> None:
        reviewed = self._take()
        self._rectangle = Rectangle(reviewed, self._on_box, self._end)
        self._show(marking="rectangle")
        self._desk.state.tell("Draw rectangles around what is right. With Shift they take marks away.")

    def _take(self) -> Labels:
        """Bring the reviewed layer to the front."""
        _, reviewed = self._desk.correction()
        self._end()
        reviewed.visible = True
        reviewed.selected_label = 1
        self._desk.viewer.layers.selection.active = reviewed
        return reviewed

    def _correct(self) -> None:
        correction, _ = self._desk.correction()
        self._end()
        self._desk.viewer.layers.selection.active = correction
        if correction.mode == "pan_zoom":
            correction.mode = "paint"
        self._desk.state.tell("")

    def _on_box(self, box: Box, removing: bool) -> None:
        self._desk.attempt(lambda: self.vouch(box, 0 if removing else 1))

    def _end(self) -> None:
        rectangle, self._rectangle = self._rectangle, None
        if rectangle is not None:
            rectangle.end()
        self._show(marking="")

    def _on_active(self, _event: object = None) -> None:
        """Put the tool away when another layer is chosen; whoever turns to the reviewed layer vouches for it."""
        if not self._desk.open:
            return
        active = self._desk.viewer.layers.selection.active
        if active is not None and layers.role_of(active) == "reviewed":
            self.settle()
        else:
            self._end()

    # -- layers -------------------------------------------------------------------

    def _on_layers(self, _event: object = None) -> None:
        if not self._desk.open:
            return
        pairs = {}
        for correction in layers.with_role(self._desk.viewer, "correction"):
            reviewed = layers.find(self._desk.viewer, "reviewed", layers.image_id_of(correction) or "")
            if reviewed is not None:
                pairs[layers.layer_id(correction), layers.layer_id(reviewed)] = (correction, reviewed)
        for gone in set(self._margins) - set(pairs):
            self._margins.pop(gone).close()
        for key, (correction, reviewed) in pairs.items():
            if key not in self._margins:
                self._margins[key] = Margins(correction, reviewed, partial(self._reach, correction))

    def _reach(self, layer: Labels) -> tuple[int, tuple[int, ...]]:
        """Return the margin, and the axes that it has: those of the plane on the screen."""
        shown = tuple(layer._slice_input.displayed)[-2:]  # noqa: SLF001
        return self._desk.state.review.margin_px, shown

    def _show(self, **changes: Any) -> None:  # noqa: ANN401
        state = self._desk.state
        if any(getattr(state.review, name) != value for name, value in changes.items()):
            state.review = state.review.model_copy(update=changes)


def changes_to(layer: Labels, box: Box, value: int) -> list[Change]:
    """Return what gives a box of a layer one value, as far as it has others."""
    return changes_of(layer.data, box, np.full([stop - start for start, stop in box], value, layer.data.dtype))
