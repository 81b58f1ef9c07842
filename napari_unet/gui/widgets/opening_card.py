"""A weights file that leaves a question open, with a picture of each answer; or why it is refused."""

from __future__ import annotations

from functools import partial

from qtpy.compat import isalive
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_unet.gui.controller import Controller
from napari_unet.gui.opening import TRUST
from napari_unet.gui.state import Activity, Opening
from napari_unet.gui.widgets.base import MARGIN, Step, button, card, heading, say, sentence
from napari_unet.jobs.requests import Asked, Choice

PICTURE_PX = 132
SAME = 0.02


class AnswerButton(QPushButton):  # type: ignore[misc]
    """A possible answer: the image, what the network makes of it, and what the answer means.

    Parameters
    ----------
    keyword : str
    choice : Choice
    """

    def __init__(self, keyword: str, choice: Choice) -> None:
        super().__init__()
        self.setObjectName("answer")
        self.setToolTip("Open the file with this answer; it is remembered for this file")
        self.image, self.foreground = QLabel(), QLabel()
        self.text = _passive(sentence(choice.text[:1].upper() + choice.text[1:], "facts"))
        self.keyword = _passive(sentence(f"{keyword} = {choice.value}"))
        self.why_not = _passive(sentence(name="warning"))
        self._pictures = QWidget()
        row = QHBoxLayout(_passive(self._pictures))
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for label in (self.image, self.foreground):
            label.setFixedHeight(PICTURE_PX)
            row.addWidget(label)
        row.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(4)
        for widget in (self._pictures, self.text, self.keyword, self.why_not):
            column.addWidget(widget)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.show_pictures("", "", "")

    def show_pictures(self, image: str, foreground: str, failure: str) -> None:
        """Show picture files, or why there are none."""
        self._pictures.setVisible(bool(foreground))
        if foreground:
            self.image.setPixmap(_picture(image))
            self.foreground.setPixmap(_picture(foreground))
        say(self.why_not, failure)
        self.updateGeometry()

    def hasHeightForWidth(self) -> bool:  # noqa: N802  # Qt's name
        """Return True: its sentences wrap."""
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802  # Qt's name
        """Return the height at which everything can be read."""
        layout = self.layout()
        assert layout is not None
        return int(layout.totalHeightForWidth(width))

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Return a size at which everything can be read."""
        width = max(self.width(), 2 * PICTURE_PX + 24)
        return QSize(width, self.heightForWidth(width))

    def minimumSizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Return the height that is needed, at any width."""
        return QSize(0, self.sizeHint().height())


class OpeningCard(Step):
    """Shown as long as a weights file waits for an answer or was refused."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        opening = controller.opening
        frame, self.inside = card()
        self.title = heading("")
        self.title.setWordWrap(True)
        self.refusal = sentence(name="error")
        self.question = sentence(name="facts")
        self.hint = sentence()
        self.partial = button(
            "Open what fits", "Load the tensors that fit; the others get random weights", opening.open_what_fits
        )
        self.leave = button("Close", "Leave this file, and go on with the model that is chosen", opening.dismiss)
        self._answers = QVBoxLayout()
        self._answers.setSpacing(6)
        self.answers: list[QPushButton] = []
        self._asked: tuple[str, Asked] | None = None
        for widget in (self.title, self.refusal, self.question, self.hint):
            self.inside.addWidget(widget)
        self.inside.addLayout(self._answers)
        row = QHBoxLayout()
        for widget in (self.partial, self.leave):
            row.addWidget(widget, 1)
        self.inside.addLayout(row)
        self.add(frame)
        self.bind(self._show, "opening")
        self.bind(self._enable, "activity")

    def _show(self) -> None:
        opening = self.state.opening
        if (opening is None) != self.isHidden():
            QTimer.singleShot(0, self._come_into_view)
        self.setVisible(opening is not None)
        if opening is None:
            self._build(None)
            return
        self.title.setText(opening.name if opening.question else f"{opening.name} was not opened")
        say(self.refusal, opening.refusal)
        self.partial.setVisible(opening.almost)
        self._build(opening)
        question = opening.question
        trust = question is not None and question.keyword == TRUST
        self.question.setObjectName("warning" if trust else "facts")
        self.question.style().unpolish(self.question)
        self.question.style().polish(self.question)
        say(self.question, question.sentence if question else "")
        self.leave.setText("Do not run it" if trust else "Close")
        for answer, picture, failure in zip(self.answers, opening.pictures, opening.failures, strict=False):
            if isinstance(answer, AnswerButton):
                answer.show_pictures(opening.pictures[-1], picture, failure)
        self._enable()

    def _come_into_view(self) -> None:
        """Scroll to the top of what has just appeared, or of the step when that has gone."""
        area: QWidget | None = self if isalive(self) else None
        while area is not None and not isinstance(area, QScrollArea):
            area = area.parentWidget()
        if area is not None:
            area.verticalScrollBar().setValue(0 if self.isHidden() else self.y() - MARGIN)

    def _build(self, opening: Opening | None) -> None:
        """Make a button for each answer, unless they are there."""
        question = opening.question if opening is not None else None
        asked = None if opening is None or question is None else (opening.path, question)
        if asked == self._asked:
            return
        self._asked = asked
        for answer in self.answers:
            self._answers.removeWidget(answer)
            answer.hide()
            answer.deleteLater()
        self.answers = [] if question is None else [self._button(question, choice) for choice in question.choices]
        for answer in self.answers:
            self._answers.addWidget(answer)

    def _button(self, question: Asked, choice: Choice) -> QPushButton:
        call = partial(self.controller.opening.answer, choice.value)
        if question.keyword == TRUST:
            text = choice.text[:1].upper() + choice.text[1:]
            return button(text, "Your answer is remembered for this very file", call)
        made = AnswerButton(question.keyword, choice)
        made.clicked.connect(lambda _checked=False: call())
        return made

    def _enable(self) -> None:
        state = self.state
        free = not state.busy or state.activity is Activity.COMPARING
        for widget in (self.partial, self.leave, *self.answers):
            widget.setEnabled(free)
        say(self.hint, "" if state.opening is None else self._hint(state.opening))

    def _hint(self, opening: Opening) -> str:
        if opening.question is None or opening.question.keyword == TRUST:
            return ""
        if self.state.activity is Activity.COMPARING:
            return "Trying each answer on your image… You can click one already."
        if not opening.pictures:
            return "" if self.state.image else "Click one. With an image open there would be a picture of each."
        if opening.difference is not None and opening.difference < SAME:
            most = f"{100 * opening.difference:.1f}\N{NO-BREAK SPACE}%"
            return (
                f"On this part of your image the answers make next to no difference (at most {most}). Take any, or "
                "show another part and open the file again."
            )
        return "Click the one that shows what you want: left your image, right what the network finds."


def _picture(path: str) -> QPixmap:
    pixmap = QPixmap(path)
    return pixmap.scaled(
        PICTURE_PX,
        PICTURE_PX,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )


def _passive(widget: QWidget) -> QWidget:
    """Let clicks through to the button behind."""
    widget.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
    if isinstance(widget, QLabel):
        widget.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
    return widget
