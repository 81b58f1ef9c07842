"""The models that the corrections of an image produced, and the way back to each of them."""

from __future__ import annotations

import time
from pathlib import Path

from napari_unet.gui.desk import Desk
from napari_unet.gui.keeping import Keeper
from napari_unet.gui.modelling import Modelling
from napari_unet.gui.state import ModelChoice
from napari_unet.gui.training_state import Ancestor
from napari_unet.networks.registry import variants
from napari_unet.session.project import ModelEntry
from napari_unet.weights.bundled import bundled, own, own_folder
from napari_unet.weights.file import read_spec

MISSING = "Its file is gone"


class Lineage:
    """Lists the models so far, newest first, and chooses an earlier one again.

    Parameters
    ----------
    desk : Desk
    modelling : Modelling
    keeper : Keeper
        Knows the projects, which remember the models.
    """

    def __init__(self, desk: Desk, modelling: Modelling, keeper: Keeper) -> None:
        self._desk, self._modelling, self._keeper = desk, modelling, keeper
        self._made: list[ModelEntry] = []
        keeper.models_noted.connect(self.look)
        for signal in (desk.state.events.image, desk.state.events.model):
            signal.connect(self.look, max_args=0)

    def note(self, entry: ModelEntry, file: Path) -> None:
        """Take in a model that was just made."""
        self._made.append(entry.model_copy(update={"file": file.name}))
        self._keeper.note_model(entry, file)
        self.look()

    def go_back(self, ancestor: Ancestor) -> None:
        """Choose an earlier model again; all settings stay."""
        if not self._desk.state.busy:
            self._desk.attempt(lambda: self._go_back(ancestor))

    def look(self) -> None:
        """Tell the panel which models there are."""
        if not self._desk.open:
            return
        lineage = self._lineage()
        if lineage != self._desk.state.lineage:
            self._desk.state.lineage = lineage

    def _go_back(self, ancestor: Ancestor) -> None:
        state = self._desk.state
        try:
            choice = self._listed(ancestor) or ModelChoice(
                title=ancestor.title, source=ancestor.source, spec=read_spec(ancestor.source)
            )
        finally:
            self.look()
        if choice not in state.models:
            state.models = (*state.models, choice)
        self._modelling.go_on_with(choice)
        state.tell(f"{choice.title} is in use again.")

    def _listed(self, ancestor: Ancestor) -> ModelChoice | None:
        """Return the entry in the list of models, if it is there; one without weights always is."""
        named = ((one, one.source or "", "" if one.trained else one.variant) for one in self._desk.state.models)
        return next((one for one, *known in named if known == [ancestor.source, ancestor.variant]), None)

    def _lineage(self) -> tuple[Ancestor, ...]:
        project = self._keeper.project(self._desk.state.image or "")
        kept = () if project is None else project.file.models
        known = {entry.file for entry in kept}
        entries = sorted((*kept, *(one for one in self._made if one.file not in known)), key=lambda one: -one.time)
        folders = [own_folder()] if project is None else [own_folder(), project.models]
        files = {entry.file for entry in entries}
        roots = dict.fromkeys(one.parent for one in entries if one.parent and _name(one.parent) not in files)
        made = (self._ancestor(entry, folders) for entry in entries)
        return (*made, *(self._root(parent) for parent in roots))

    def _ancestor(self, entry: ModelEntry, folders: list[Path]) -> Ancestor:
        path = next((folder / entry.file for folder in folders if (folder / entry.file).is_file()), None)
        source = "" if path is None else str(path)
        return Ancestor(
            title=entry.title,
            about=f"{_when(entry.time)} · {_scores(entry)}",
            source=source,
            current=self._is_current(source, ""),
            missing=MISSING if path is None else "",
        )

    def _root(self, parent: str) -> Ancestor:
        """Return the model that it all began with: a file, one of ours by its name, or one without weights."""
        about = "Where it began"
        if parent in variants():
            return Ancestor(
                title=f"Untrained {parent}", about=about, variant=parent, current=self._is_current("", parent)
            )
        stem = _name(parent).rpartition(".")[0] or parent
        path = Path(parent) if Path(parent).is_file() else {**own(), **bundled()}.get(stem)
        source = "" if path is None else str(path)
        return Ancestor(
            title=stem,
            about=about,
            source=source,
            current=self._is_current(source, ""),
            missing=MISSING if path is None else "",
        )

    def _is_current(self, source: str, variant: str) -> bool:
        model = self._desk.state.model
        if model is None or not (source or variant):
            return False
        return (model.source or "", "" if model.trained else model.variant) == (source, variant)


def _name(path: str) -> str:
    """Return the name of a file, from whichever system its path is."""
    return path.replace("\\", "/").rpartition("/")[2]


def _when(seconds: float) -> str:
    made, today = time.localtime(seconds), time.localtime()
    return time.strftime("%H:%M" if made[:3] == today[:3] else "%d %b %Y", made)


def _scores(entry: ModelEntry) -> str:
    if entry.score is None or entry.old_score is None:
        return "not judged"
    return f"score {entry.score:.2f}, before {entry.old_score:.2f}"
