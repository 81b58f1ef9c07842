"""A tool in the hand: the mouse and some keys of its layer belong to it until it is put away."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_unet.gui.tools.bench import Bench, Tool
from napari_unet.gui.tools.pane import Place, index_at

# A mouse that moved less far on the screen has clicked.
CLICK_PX = 4
_KEYS = ("Enter", "Escape", "Space", "5", "L")


class Chosen:
    """Takes the mouse, and gives it back.

    Beneath, napari is in its mode "pick" without what a click does there. When another mode or layer is chosen, the
    tool is put away.

    Parameters
    ----------
    tool : Tool
    bench : Bench
    stop : callable
        Puts the tool away.
    """

    def __init__(self, tool: Tool, bench: Bench, stop: Callable[[], None]) -> None:
        self.tool, self.bench, self._stop = tool, bench, stop
        self._switching = False
        layer = bench.layer
        self._before = layer.mode
        with self._switch():
            layer.mode = "pick"
            self._pick = layer._drag_modes[layer._mode]  # noqa: SLF001  # what a click does in that mode
            if self._pick in layer.mouse_drag_callbacks:
                layer.mouse_drag_callbacks.remove(self._pick)
        layer.mouse_drag_callbacks.append(self._on_drag)
        layer.mouse_wheel_callbacks.append(self._on_wheel)
        layer.events.mode.connect(self._on_mode)
        bench.viewer.dims.events.current_step.connect(self._on_slice)
        for key, call in zip(_KEYS, (self._enter, self._escape, self._pan, self._to_pick, self._to_pick), strict=True):
            layer.bind_key(key, call, overwrite=True)
        bench.tell(tool.hint)

    def end(self) -> None:
        """Give the mouse and the keys back."""
        layer = self.bench.layer
        layer.mouse_drag_callbacks.remove(self._on_drag)
        layer.mouse_wheel_callbacks.remove(self._on_wheel)
        layer.events.mode.disconnect(self._on_mode)
        self.bench.viewer.dims.events.current_step.disconnect(self._on_slice)
        for key in _KEYS:
            layer.bind_key(key, None)
        self.tool.drop()
        self.bench.sketch.clear()
        if layer.mode == "pick":
            layer.mode = self._before if self._before != "pick" else "pan_zoom"
        layer.help = ""
        self.bench.desk.state.tell("")

    @contextmanager
    def _switch(self) -> Iterator[None]:
        self._switching = True
        try:
            yield
        finally:
            self._switching = False

    def _on_mode(self, _event: object = None) -> None:
        if not self._switching:
            self._stop()

    def _on_slice(self, _event: object = None) -> None:
        self.bench.desk.attempt(self.tool.moved)

    # -- keys ----------------------------------------------------------------------

    def _enter(self, _layer: Labels) -> None:
        self.bench.desk.attempt(self.tool.accept)

    def _escape(self, _layer: Labels) -> None:
        if not self.tool.drop():
            self._stop()

    def _to_pick(self, layer: Labels) -> None:
        """Choose napari's own mode "pick", in which the layer is already."""
        self._stop()
        layer.mode = "pan_zoom"
        layer.mode = "pick"

    def _pan(self, layer: Labels) -> Generator[None]:
        """Move the camera as long as Space is held: napari would change the mode, and the tool would be gone."""
        layer.mouse_pan = True
        yield
        layer.mouse_pan = layer.mode == "pan_zoom"

    # -- mouse ---------------------------------------------------------------------

    def _on_drag(self, layer: Labels, event: Any) -> Generator[None]:  # noqa: ANN401
        if event.button != 1 or layer.mouse_pan:
            return
        start, moved = np.array(event.pos), 0.0
        line: list[Place] = []
        self._extend(line, event)
        yield
        while event.type == "mouse_move":
            moved = max(moved, float(np.abs(np.array(event.pos) - start).max()))
            self._extend(line, event)
            if moved >= CLICK_PX and len(line) > 1:
                self.bench.sketch.line(line)
            yield
        self.bench.desk.attempt(lambda: self._take(line, clicked=moved < CLICK_PX))

    def _take(self, line: list[Place], *, clicked: bool) -> None:
        if not line:
            return
        if clicked or len(line) == 1:
            self.tool.click(line[0])
            return
        self.bench.sketch.clear()
        self.tool.draw(line)

    def _extend(self, line: list[Place], event: Any) -> None:  # noqa: ANN401
        at = index_at(self.bench.layer, event)
        if at is not None:
            line.append(at)

    def _on_wheel(self, _layer: Labels, event: Any) -> None:  # noqa: ANN401
        if "Shift" in event.modifiers:
            self.bench.desk.attempt(lambda: self.tool.turn(float(event.delta[1] or event.delta[0])))
            event.handled = True
