"""What the new model is worth, and what to do with it."""

from __future__ import annotations

from functools import partial

from qtpy.QtWidgets import QFileDialog, QGridLayout, QHBoxLayout, QLabel, QPushButton

from napari_unet.gui.controller import Controller
from napari_unet.gui.training_state import Side
from napari_unet.gui.verdicts import MEASURES, told
from napari_unet.gui.widgets.base import SPACING, Step, button, card, heading, say, sentence, set_primary


class Verdict(Step):
    """Scores before and after, a look at both, and the decision.

    Parameters
    ----------
    controller : Controller
    origins : tuple of "corrections" and "image"
        What a model may have learnt from that is decided about here.
    """

    def __init__(self, controller: Controller, origins: tuple[str, ...] = ("corrections", "image")) -> None:
        super().__init__(controller)
        self._origins = origins
        self.column.setContentsMargins(0, 0, 0, 0)
        frame, column = card()
        self.title, self.text = heading(""), sentence(name="facts")
        self.basis = sentence()
        self.scores = [[QLabel() for _ in range(3)] for _ in range(2)]
        grid = QGridLayout()
        grid.setHorizontalSpacing(2 * SPACING)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(2, 1)
        for number, row in enumerate(self.scores):
            row[2].setObjectName("hint")
            row[2].setToolTip("Were other objects held out, the score would lie between these 95 times of 100")
            for place, label in enumerate(row):
                grid.addWidget(label, number, place)
        column.addWidget(self.title)
        column.addLayout(grid)
        column.addWidget(self.basis)
        column.addWidget(self.text)
        self.compare = Compare(controller)
        column.addWidget(self.compare)
        finetuning = controller.finetuning
        self.again = button(
            "Use and segment again",
            "Go on with the new model and segment the image with it",
            lambda: finetuning.use(segment_again=True),
            primary=True,
        )
        self.use = button("Use", "Go on with the new model", lambda: finetuning.use(segment_again=False))
        self.save = button("Save as…", "Save the new model as a file", self._save)
        self.discard = button("Discard", "Throw the new model away and keep the old one", finetuning.discard)
        self.add(frame, self.again)
        self.add_row(self.use, self.save, self.discard)
        self.bind(self._show, "proposal")
        self.bind(self._enable, "activity")

    def _show(self) -> None:
        proposal = self.state.proposal
        here = proposal is not None and proposal.result.learnt_from in self._origins
        self.setVisible(here)
        if proposal is None or not here:
            return
        said = told(proposal.result, proposal.base.spec.meaning, trained=proposal.base.trained)
        self.title.setText(said.title)
        for number, labels in enumerate(self.scores):
            row = said.rows[number] if said.rows else ("", "", "")
            for label, text in zip(labels, row, strict=True):
                label.setText(text)
                label.setVisible(bool(text))
            labels[1].setToolTip(MEASURES[proposal.base.spec.meaning])
        say(self.basis, said.basis)
        say(self.text, said.text)
        # The button that stands out is the one that the verdict speaks for.
        set_primary(self.again, proposal.result.accepted is True)
        set_primary(self.discard, proposal.result.accepted is False)

    def _enable(self) -> None:
        for widget in (self.again, self.use, self.save, self.discard):
            widget.setEnabled(not self.state.busy)

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the new model", "model.safetensors", "Models (*.safetensors)")
        if path:
            self.controller.finetuning.save_as(path)


class Compare(Step):
    """Two buttons that show what the old and the new model find in the region that was visible."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(4)
        self.count = sentence()
        self.before = self._button("Before", "Show what the old model finds there; once more hides it", "before")
        self.after = self._button("After", "Show what the new model finds there; once more hides it", "after")
        row = QHBoxLayout()
        row.setSpacing(2)
        row.addWidget(self.before, 1)
        row.addWidget(self.after, 1)
        self.column.addLayout(row)
        self.add(self.count)
        self.bind(self._show, "proposal", "compared", "activity")

    def _button(self, text: str, tip: str, side: Side) -> QPushButton:
        made = button(text, tip, partial(self._compare, side))
        made.setObjectName("side")
        made.setCheckable(True)
        return made

    def _compare(self, side: Side) -> None:
        self.controller.finetuning.compare("" if self.state.compared == side else side)
        self._show()

    def _show(self) -> None:
        proposal = self.state.proposal
        seen = None if proposal is None else proposal.result.seen
        self.setVisible(seen is not None)
        if proposal is None or seen is None:
            return
        say(self.count, told(proposal.result, proposal.base.spec.meaning).seen)
        self.before.setChecked(self.state.compared == "before")
        self.after.setChecked(self.state.compared == "after")
        self.before.setEnabled(seen.before is not None and not self.state.busy)
        self.after.setEnabled(not self.state.busy)
