"""Removing objects by size and place, with a count before anything is removed, and numbering those that are left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from napari_unet.gui.desk import Desk
from napari_unet.gui.tools.bench import Bench
from napari_unet.gui.tools.pane import Pane
from napari_unet.gui.tools.showing import Filter
from napari_unet.gui.tools.work import Work, state_of
from napari_unet.objects.editing.changes import Change
from napari_unet.objects.editing.filtering import Census, census, renumber
from napari_unet.objects.editing.joining import rename

# So many objects are faster to find by looking at everything than each by itself.
MANY = 100


class Filtering:
    """Counts, then removes.

    Parameters
    ----------
    desk : Desk
    bench : callable
        Returns the bench of the chosen image.
    """

    def __init__(self, desk: Desk, bench: Callable[[], Bench]) -> None:
        self._desk, self._bench = desk, bench
        self._work = Work(desk)
        self._counted: tuple[object, Census] | None = None

    def look(self, smaller_px: int = 0, *, border: bool = False) -> None:
        """Count the objects that are smaller than so many pixels, or touch the border."""
        self._show(smaller_px=smaller_px, border=border)
        self._desk.attempt(lambda: self._count(self._bench()))

    def remove(self) -> None:
        """Remove what was counted."""
        self._desk.attempt(self._remove)

    def relabel(self) -> None:
        """Give the objects the ids 1, 2, 3 and so on."""
        self._desk.attempt(self._relabel)

    @property
    def busy(self) -> bool:
        """Whether objects are being counted."""
        return self._work.busy

    def close(self) -> None:
        """Stop counting."""
        self._work.close()

    def _count(self, bench: Bench) -> None:
        pane = bench.pane()
        if self._census(bench, pane) is not None:
            self._tell_count()
            return
        self._show(objects=None)
        if self._work.busy:
            return
        labels = pane.labels

        def use(found: Census) -> None:
            self._counted = (_key(bench, pane), found)
            self._tell_count()

        self._work.do(bench.layer, lambda: census(labels), use)

    def _census(self, bench: Bench, pane: Pane) -> Census | None:
        """Return what was counted, if nothing has changed since."""
        if self._counted is None or self._counted[0] != _key(bench, pane):
            return None
        return self._counted[1]

    def _tell_count(self) -> None:
        assert self._counted is not None
        found, options = self._counted[1], self._desk.state.tooling.filter
        unwanted = found.unwanted(options.smaller_px, no_border=options.border)
        self._show(objects=len(found.ids), unwanted=len(unwanted))

    def _show(self, **changes: object) -> None:
        state = self._desk.state
        shown = Filter(**(state.tooling.filter.model_dump() | changes))
        state.tooling = state.tooling.model_copy(update={"filter": shown})

    def _remove(self) -> None:
        bench, options = self._bench(), self._desk.state.tooling.filter
        gone: list[int] = []

        def names(found: Census) -> Mapping[int, int]:
            gone.extend(found.unwanted(options.smaller_px, no_border=options.border))
            return dict.fromkeys(gone, 0)

        self._rename(bench, names, lambda: f"Removed {len(gone):,} objects.", "No object is unwanted.")

    def _relabel(self) -> None:
        self._rename(
            self._bench(), Census.in_order, lambda: "The objects are numbered 1, 2, 3 and so on.", "They are already."
        )

    def _rename(
        self, bench: Bench, names: Callable[[Census], Mapping[int, int]], told: Callable[[], str], nothing: str
    ) -> None:
        pane = bench.pane()
        known, labels = self._census(bench, pane), pane.labels

        def compute() -> Sequence[Change]:
            found = known or census(labels)
            new = names(found)
            if len(new) > MANY:
                return list(renumber(labels, new))
            return rename(labels, found.boxes, new)

        def done() -> str:
            self._desk.attempt(lambda: self._count(bench))
            return told()

        bench.edit(pane, compute, done, nothing, looked_at=False)


def _key(bench: Bench, pane: Pane) -> tuple[object, ...]:
    return (*state_of(bench.layer), pane.dims, tuple(at for dim, at in enumerate(pane.place) if dim not in pane.dims))
