"""What correcting took, field by field, remembered in the project of the image."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from napari_unet.gui.desk import Desk
from napari_unet.gui.keeping import Keeper
from napari_unet.gui.review_state import FieldEffort
from napari_unet.objects.reviewing import Effort, pays, recent

# Key in the settings of a project.
EFFORTS = "efforts"
# So many are remembered: a plot shows no more.
MOST = 1000


class Efforts:
    """Keeps what correcting took for each image.

    Parameters
    ----------
    desk : Desk
    keeper : Keeper
        Brings back what is in the project of an image.
    on_change : callable
        Called when efforts of an earlier day have been brought back.
    """

    def __init__(self, desk: Desk, keeper: Keeper, on_change: Callable[[], None]) -> None:
        self._desk, self._keeper, self._on_change = desk, keeper, on_change
        self._efforts: dict[str, tuple[FieldEffort, ...]] = {}
        self._unkept: set[str] = set()
        self._models: dict[str, str] = {}
        desk.state.events.segmented.connect(self._on_segmented)
        desk.state.events.keeping.connect(self._write)
        keeper.brought_back.connect(self._on_brought_back)

    def of(self, image: str) -> tuple[FieldEffort, ...]:
        """Return what is known of an image, in the order in which fields were accepted."""
        return self._efforts.get(image, ())

    def add(self, image: str, field: int, effort: Effort) -> None:
        """Remember what a field took; of a field that is accepted again under the same model, the last time counts."""
        before, model = self.of(image), self._model(image)
        others = [one for one in before if (one.field, one.model) != (field, model)]
        new = FieldEffort(field=field, pixels=effort.pixels, objects=effort.objects, time=time.time(), model=model)
        self._efforts[image] = (*others, new)[-MOST:]
        self._unkept.add(image)
        self._write()

    def _model(self, image: str) -> str:
        """Return the title of the model whose prediction is being corrected."""
        before, chosen = self.of(image), self._desk.state.model
        known = self._models.get(image) or (before[-1].model if before else "")
        return known or ("" if chosen is None else chosen.title)

    def _on_segmented(self) -> None:
        segmented, model = self._desk.state.segmented, self._desk.state.model
        if segmented is not None and model is not None:
            self._models[segmented.image] = model.title

    def _write(self) -> None:
        """Write into the projects what is not in them yet, as far as they are open."""
        for image in list(self._unkept):
            known = [one.model_dump(mode="json") for one in self._efforts[image]]
            if self._keeper.note(image, EFFORTS, known):
                self._unkept.discard(image)

    def _on_brought_back(self, image: str) -> None:
        self._efforts[image] = _read(self._keeper.noted(image, EFFORTS))
        self._on_change()


def _read(known: Any) -> tuple[FieldEffort, ...]:  # noqa: ANN401
    """Read what a project says; what another program wrote there is left out."""
    efforts = []
    for one in known if isinstance(known, list) else []:
        try:
            efforts.append(FieldEffort.model_validate(one))
        except ValidationError:
            continue
    return tuple(efforts)


def verdict(efforts: Sequence[FieldEffort]) -> str:
    """Say whether correcting more pays, from the fields that were accepted under the last model.

    >>> verdict([FieldEffort(field=n, pixels=0.001, objects=0.02) for n in range(5)])[:60]
    'In the last 5 fields 0.1 % of the pixels and 2 % of the obje'
    """
    last = recent([Effort(one.pixels, one.objects) for one in efforts if one.model == efforts[-1].model])
    if last is None:
        return ""
    shares = " and ".join(
        f"{100 * share:.2g} % of the {of}" for share, of in ((last.pixels, "pixels"), (last.objects, "objects"))
    )
    end = "correcting still pays." if pays(last) else "correcting more hardly pays. Fine-tune now."
    return f"In the last 5 fields {shares} changed: {end}"
