"""What opening the file of the chosen model found out, folded until somebody wants to know."""

from __future__ import annotations

from html import escape

from napari_unet.gui.controller import Controller
from napari_unet.gui.widgets.base import Step, button, fold, sentence
from napari_unet.weights.report import LoadReport


class ReportView(Step):
    """The report behind “How it was opened”, and a way to answer differently."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        tip = "What was recognised in the file and why, and what became of its tensors"
        self.fold = fold("How it was opened", tip, self._unfold)
        self.text = sentence(name="facts")
        self.again = button("Answer again…", "Open the file anew and ask what it leaves open", self._ask_again)
        self.add(self.fold, self.text, self.again)
        self.bind(self._show, "model")
        self.bind(self._enable, "activity")

    def _show(self) -> None:
        model = self.state.model
        report = None if model is None else model.report
        self.setVisible(report is not None)
        if report is not None:
            self.text.setText(report_text(report))
        self._unfold(self.fold.isChecked())

    def _unfold(self, unfolded: bool) -> None:
        model = self.state.model
        self.text.setVisible(unfolded)
        answered = model is not None and model.report is not None and bool(model.report.answers)
        self.again.setVisible(unfolded and answered)

    def _enable(self) -> None:
        self.again.setEnabled(not self.state.busy)

    def _ask_again(self) -> None:
        model = self.state.model
        if model is not None and model.origin:
            self.controller.opening.open_file(model.origin, ask_again=True)


def report_text(report: LoadReport) -> str:
    """Write a report as rich text, for people."""
    rows = dict(report.rows())
    if report.url:
        rows["Recognised"] = f"{rows.get('Recognised', report.family)} ({report.url})"
    if report.used:
        place = "each found its place" if report.complete else "not all found a place"
        rows["Tensors"] = f"{rows['Tensors']}; {place}"
    else:  # a program, whose tensors are not looked at
        del rows["Tensors"]
    return "".join(f"<p style='margin:0 0 4px 0'><b>{k}:</b> {escape(v)}</p>" for k, v in rows.items())
