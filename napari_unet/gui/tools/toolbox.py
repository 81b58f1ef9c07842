"""The tools of a viewer: which one is chosen, and what the mouse and the keys do."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial

from napari.layers import Labels

from napari_unet.errors import LabelsError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.segmenting import Kept
from napari_unet.gui.tools import shaped
from napari_unet.gui.tools.bench import Bench, Tool
from napari_unet.gui.tools.chosen import Chosen
from napari_unet.gui.tools.clicked import Delete, Merge, Split
from napari_unet.gui.tools.evidence import Evidence
from napari_unet.gui.tools.filling import SmartFill
from napari_unet.gui.tools.filtering import Filtering
from napari_unet.gui.tools.showing import Scope, ToolName
from napari_unet.gui.tools.work import Work
from napari_unet.objects.editing.shaping import Shape

TOOL_KEYS: dict[str, ToolName] = {"J": "merge", "S": "split", "D": "delete", "A": "smart fill"}
SHAPE_KEYS: dict[str, tuple[Shape, int]] = {
    "G": ("grow", 1),
    "Shift-G": ("shrink", 1),
    "H": ("fill holes", 1),
    "R": ("smooth", 2),
    "K": ("keep largest", 1),
}


class Toolbox:
    """One per viewer.

    Parameters
    ----------
    desk : Desk
    kept : callable
        Returns the probabilities that are kept.
    """

    def __init__(self, desk: Desk, kept: Callable[[], Kept | None]) -> None:
        self._desk, self._kept = desk, kept
        self._work = Work(desk)
        self._benches: dict[str, Bench] = {}
        self._chosen: Chosen | None = None
        self.filtering = Filtering(desk, self.bench)
        events = desk.viewer.layers.events
        events.inserted.connect(self._on_layers)
        events.removed.connect(self._on_layers)
        desk.viewer.layers.selection.events.active.connect(self._on_active)
        self._on_layers()

    @property
    def busy(self) -> bool:
        """Whether an edit is being worked out."""
        return self._work.busy

    def bench(self, image: str | None = None) -> Bench:
        """Return the bench of an image's correction layer.

        Raises
        ------
        LabelsError
            If it has none.
        """
        return self._bench_of(self._desk.correction(image)[0])

    def toggle(self, name: ToolName) -> None:
        """Choose a tool, or put it away if it is chosen."""
        if self._desk.state.tooling.tool == name:
            self.stop()
        else:
            self._desk.attempt(lambda: self._start(name, self.bench()))

    def stop(self) -> None:
        """Put the tool away."""
        chosen, self._chosen = self._chosen, None
        if chosen is not None:
            chosen.end()
            self._show("")

    def close(self) -> None:
        """Forget all layers: the viewer is closing."""
        self._chosen = None
        self._work.close()
        self.filtering.close()
        for bench in self._benches.values():
            bench.close()
        self._benches.clear()

    def set_extent(self, extent: float) -> None:
        """Change how much proposals take in, from 0 to 1."""
        state = self._desk.state
        state.tooling = state.tooling.model_copy(update={"extent": min(max(extent, 0.03), 0.97)})
        chosen = self._chosen
        if chosen is not None:
            self._desk.attempt(chosen.tool.extent_changed)

    def set_scope(self, scope: Scope) -> None:
        """Choose whose outlines the buttons change."""
        state = self._desk.state
        state.tooling = state.tooling.model_copy(update={"scope": scope})

    # -- operations of buttons and keys -----------------------------------------

    def reshape(self, how: Shape, pixels: int = 1) -> None:
        """Change the outline of the chosen object, or of several, as `Tooling.scope` says."""
        tooling = self._desk.state.tooling
        if tooling.scope == "reviewed":
            self.reshape_reviewed(how, pixels)
        elif tooling.scope == "chosen":
            self._do(lambda bench: shaped.reshape_chosen(bench, tooling.chosen, how, pixels))
        else:
            self._do(lambda bench: shaped.reshape_one(bench, how, pixels))

    def reshape_reviewed(self, how: Shape, pixels: int = 1) -> None:
        """Change the outlines of all reviewed objects."""
        self._do(lambda bench: shaped.reshape_reviewed(bench, how, pixels))

    def new_object(self) -> None:
        """Choose a free id and the brush."""
        self.stop()
        self._do(shaped.new_object)

    def interpolate(self) -> None:
        """Fill the slices between those in which the chosen object is painted."""
        self._do(shaped.interpolate_one)

    def copy(self, step: int) -> None:
        """Copy the chosen object to another slice."""
        self._do(lambda bench: shaped.copy_one(bench, step))

    def edit_volume(self, on: bool) -> None:
        """Have edits act on all slices or time points, or on the plane on the screen only."""

        def turn(bench: Bench) -> None:
            bench.layer.n_edit_dimensions = 3 if on else 2

        self._do(turn)

    def _do(self, call: Callable[[Bench], None]) -> None:
        self._desk.attempt(lambda: call(self.bench()))

    # -- layers -------------------------------------------------------------------

    def _on_layers(self, _event: object = None) -> None:
        """Put tools on new correction layers, and forget those that are gone."""
        if not self._desk.open:
            return
        present = {layers.layer_id(layer): layer for layer in layers.with_role(self._desk.viewer, "correction")}
        for gone in set(self._benches) - set(present):
            if self._chosen is not None and self._chosen.bench is self._benches[gone]:
                self._chosen = None
                self._show("")
            self._benches.pop(gone).close()
            self.filtering.forget()
        for name, layer in present.items():
            if name not in self._benches:
                self._benches[name] = Bench(self._desk, self._work, layer)
                self._bind(layer)

    def _bench_of(self, layer: Labels) -> Bench:
        return self._benches[layers.layer_id(layer)]

    def _on_active(self, _event: object = None) -> None:
        active = self._desk.viewer.layers.selection.active if self._desk.open else None
        if self._chosen is not None and active is not self._chosen.bench.layer:
            self.stop()

    # -- keys ---------------------------------------------------------------------

    def _bind(self, layer: Labels) -> None:
        """Bind the keys of a layer; the layer must not keep the toolbox alive."""
        for key, name in TOOL_KEYS.items():
            self._key(layer, key, partial(Toolbox._toggle_on, name=name))
        for key, (how, pixels) in SHAPE_KEYS.items():
            self._key(layer, key, partial(_reshape_under_cursor, how=how, pixels=pixels))
        self._key(layer, "N", Toolbox._new)
        self._key(layer, "Q", Toolbox._paint_on)
        self._key(layer, "W", lambda _box, bench: shaped.delete_one(bench))
        self._key(layer, "I", lambda _box, bench: shaped.interpolate_one(bench, under_cursor=True))
        self._key(layer, "C", lambda _box, bench: shaped.copy_one(bench, 1, under_cursor=True))
        self._key(layer, "Shift-C", lambda _box, bench: shaped.copy_one(bench, -1, under_cursor=True))

    def _key(self, layer: Labels, key: str, call: Callable[[Toolbox, Bench], None]) -> None:
        me = weakref.ref(self)

        def pressed(layer: Labels) -> None:
            box = me()
            if box is not None:
                box._desk.attempt(lambda: call(box, box._bench_of(layer)))  # noqa: SLF001

        layer.bind_key(key, pressed, overwrite=True)

    def _new(self, bench: Bench) -> None:
        self.stop()
        shaped.new_object(bench)

    def _paint_on(self, bench: Bench) -> None:
        self.stop()
        shaped.paint_on(bench)

    # -- the chosen tool ------------------------------------------------------------

    def _toggle_on(self, bench: Bench, name: ToolName) -> None:
        if self._desk.state.tooling.tool == name:
            self.stop()
        else:
            self._start(name, bench)

    def _start(self, name: ToolName, bench: Bench) -> None:
        self.stop()
        if not bench.layer.editable:
            raise LabelsError("The correction layer cannot be edited.")
        bench.layer.visible = True
        self._desk.viewer.layers.selection.active = bench.layer
        self._chosen = Chosen(self._tool(name, bench), bench, self.stop)
        self._show(name)

    def _tool(self, name: ToolName, bench: Bench) -> Tool:
        if name == "merge":
            return Merge(bench)
        if name == "delete":
            return Delete(bench)
        evidence = partial(self._evidence, bench)
        if name == "smart fill":
            return SmartFill(bench, evidence, lambda: self._desk.state.tooling.extent, self.set_extent)
        return Split(bench, lambda pane, box: evidence().border(pane, box))

    def _evidence(self, bench: Bench) -> Evidence:
        """Return what is known of the image of a correction layer."""
        image, kept = layers.image_id_of(bench.layer), self._kept()
        if kept is not None and kept.image == image:
            return Evidence(kept, None)
        state = self._desk.state
        return Evidence(None, self._desk.chosen_image() if state.image == image else None, state.channels)

    def _show(self, name: ToolName) -> None:
        state = self._desk.state
        state.tooling = state.tooling.model_copy(update={"tool": name})


def _reshape_under_cursor(_toolbox: Toolbox, bench: Bench, how: Shape, pixels: int) -> None:
    shaped.reshape_one(bench, how, pixels, under_cursor=True)
