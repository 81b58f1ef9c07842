"""Removing objects by size and place, with a count before anything is removed, and numbering those that are left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from napari_unet.gui.desk import Desk
from napari_unet.gui.tools.bench import Bench
from napari_unet.gui.tools.pane import Pane, everything
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
        self._counted: tuple[object, list[Census]] | None = None

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

    def forget(self) -> None:
        """Forget what was counted: its layer may be gone."""
        self._counted = None

    def close(self) -> None:
        """Stop counting."""
        self._work.close()
        self.forget()

    def _count(self, bench: Bench) -> None:
        panes = bench.pane().moments()
        if self._censuses(bench, panes) is not None:
            self._tell_count()
            return
        self._show(objects=None)
        if self._work.busy:
            return

        def use(found: list[Census]) -> None:
            self._counted = (_key(bench, panes), found)
            self._tell_count()

        self._work.do(bench.layer, lambda: [census(pane.labels) for pane in panes], use)

    def _censuses(self, bench: Bench, panes: Sequence[Pane]) -> list[Census] | None:
        """Return what was counted, if nothing has changed since."""
        counted = self._counted  # the main thread may forget it
        return counted[1] if counted is not None and counted[0] == _key(bench, panes) else None

    def _tell_count(self) -> None:
        assert self._counted is not None
        options, all_found = self._desk.state.tooling.filter, self._counted[1]
        unwanted = sum(len(found.unwanted(options.smaller_px, no_border=options.border)) for found in all_found)
        self._show(objects=sum(len(found.ids) for found in all_found), unwanted=unwanted)

    def _show(self, **changes: object) -> None:
        state = self._desk.state
        shown = Filter(**(state.tooling.filter.model_dump() | changes))
        state.tooling = state.tooling.model_copy(update={"filter": shown})

    def _remove(self) -> None:
        """Remove objects, at each time point by itself: the same id may be another object there."""
        bench, options = self._bench(), self._desk.state.tooling.filter

        def names(found: Census) -> Mapping[int, int]:
            return dict.fromkeys(found.unwanted(options.smaller_px, no_border=options.border), 0)

        self._rename(bench, bench.pane().moments(), names, "Removed {:,} objects.", "No object is unwanted.")

    def _relabel(self) -> None:
        """Give objects new ids everywhere: what has one id in several slices or time points keeps one."""
        bench = self._bench()
        told = "The objects are numbered 1, 2, 3 and so on."
        self._rename(bench, [everything(bench.layer)], Census.in_order, told, "They are already.")

    def _rename(
        self,
        bench: Bench,
        panes: Sequence[Pane],
        names: Callable[[Census], Mapping[int, int]],
        told: str,
        nothing: str,
    ) -> None:
        count = 0

        def compute() -> Sequence[Change]:  # once more if the labels are edited meanwhile
            nonlocal count
            changes: list[Change] = []
            known = self._censuses(bench, panes) or [census(pane.labels) for pane in panes]
            renamed = [names(found) for found in known]
            count = sum(map(len, renamed))
            for pane, found, new in zip(panes, known, renamed, strict=True):
                changes += map(pane.whole, _renamed(pane, found, new))
            return changes

        def done() -> str:
            self._desk.attempt(lambda: self._count(bench))
            return told.format(count)

        bench.edit(everything(bench.layer), compute, done, nothing, looked_at=False)


def _renamed(pane: Pane, found: Census, names: Mapping[int, int]) -> Iterable[Change]:
    if len(names) > MANY:
        return renumber(pane.labels, names)
    return rename(pane.labels, found.boxes, names)


def _key(bench: Bench, panes: Sequence[Pane]) -> tuple[object, ...]:
    """Return what tells whether what was counted is still so."""
    first = panes[0]
    fixed = tuple(at for dim, at in enumerate(first.place) if dim not in first.dims)
    return (*state_of(bench.layer), len(panes), first.dims, fixed)
