"""Opening weights files: ours at once, those of other programs in the background process."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from napari_unet.errors import ImageError, JobError, NapariUnetError
from napari_unet.events import Event, Progress
from napari_unet.gui import layers
from napari_unet.gui.browsing import Browsing, is_package
from napari_unet.gui.desk import Desk
from napari_unet.gui.modelling import Modelling
from napari_unet.gui.remembering import opened_folder
from napari_unet.gui.state import Activity, ModelChoice, Opening
from napari_unet.gui.tasks import Aside, Remote, Task
from napari_unet.imaging.image import Image
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.requests import (
    ANSWER,
    Answers,
    AnswerValue,
    Asked,
    CompareRequest,
    CompareResult,
    DownloadRequest,
    DownloadResult,
    OpenRequest,
    OpenResult,
    Region,
)
from napari_unet.weights.bundled import bundled, own
from napari_unet.weights.file import SUFFIX, read_spec

MOST_VALUES = 2**26
WINDOW_PX = 256
SLICES = 16
TRUST = "trust"
ASK = "This file leaves a question open. Answer it in step 1."
_HEAD_BYTES = 4096


class Opener:
    """Opens weights files, asks what they leave open, and downloads packages.

    Parameters
    ----------
    desk : Desk
    modelling : Modelling
        Is given the models.
    browsing : Browsing
        Remembers the files.
    """

    def __init__(self, desk: Desk, modelling: Modelling, browsing: Browsing) -> None:
        self._desk, self._modelling, self._browsing = desk, modelling, browsing
        self._pictures = 0

    def open_file(self, path: str, answers: Answers | None = None, *, ask_again: bool = False) -> None:
        """Open a weights file and choose it; what it leaves open is asked in the Model step.

        While other work runs, it waits for it.
        """
        self._stop_comparing()
        if self._desk.state.busy and self._desk.state.activity is not Activity.CANCELLING:
            self._desk.state.tell(f"{Path(path).name} will be opened when this is done.")
        whole = str(Path(path).expanduser().absolute())
        self._desk.when_idle(lambda: self._open(whole, answers or {}, ask_again=ask_again))

    def open_folder(self, folder: str) -> None:
        """Open a folder that is a model as a whole; of any other, list the weights files."""
        if is_package(Path(folder)):
            self.open_file(folder)
        else:
            self._browsing.choose_folder(folder)

    def choose(self, choice: ModelChoice) -> None:
        """Make a model of the list the current one; its file is opened again if it has changed since."""
        self.dismiss()
        path = choice.origin or choice.source or ""
        if choice.stamp and _stamp(path) not in {0, choice.stamp}:
            self.open_file(path)
        else:
            self._modelling.choose(choice)

    def answer(self, value: AnswerValue) -> None:
        """Answer the question that is asked, and go on opening."""
        opening = self._desk.state.opening
        if opening is not None and opening.question is not None:
            self.open_file(opening.path, {**opening.given, opening.question.keyword: value})

    def open_what_fits(self) -> None:
        """Open a file that is almost one of a known network; the rest gets random weights."""
        opening = self._desk.state.opening
        if opening is not None:
            self.open_file(opening.path, {**opening.given, "partial": True})

    def dismiss(self) -> None:
        """Leave the file that could not be opened, and go on with the model that is chosen."""
        self._stop_comparing()
        self._desk.state.opening = None
        self._desk.state.tell("")

    def download(self, name: str) -> None:
        """Fetch a package of the bioimage.io collection by its name, and open it."""
        if name.strip():
            self._desk.run(Activity.DOWNLOADING, self._download_task(name.strip()))

    def _stop_comparing(self) -> None:
        if self._desk.state.activity is Activity.COMPARING:
            self._desk.cancel()

    def _open(self, path: str, answers: Answers, *, ask_again: bool) -> None:
        if _is_ours(Path(path)):
            self._desk.state.opening = None
            self._desk.attempt(lambda: self._open_ours(Path(path)))
        else:
            self._desk.run(Activity.OPENING, self._open_task(path, answers, ask_again=ask_again))

    def _open_ours(self, path: Path) -> None:
        if path in {*bundled().values(), *own().values()}:
            self._modelling.list_models()
            self._modelling.choose(next(one for one in self._desk.state.models if one.source == str(path)))
        else:
            choice = ModelChoice(title=path.name, source=str(path), spec=read_spec(path), stamp=_stamp(str(path)))
            self._modelling.add(choice)
            self._browsing.add_recent(str(path))
        self._desk.state.tell(f"Opened {path.name}.")

    def _open_task(self, path: str, answers: Answers, *, ask_again: bool) -> Task:
        image = self._image_to_scale()
        staged = None if image is None else (yield Aside(lambda: self._desk.stage_image(image)))
        request = OpenRequest(
            source=path,
            answers=answers,
            folder=str(opened_folder()),
            ask_again=ask_again,
            image=staged,
            channels=self._desk.state.channels,
        )
        try:
            result: OpenResult = yield Remote(request, self._desk.show)
        except JobError as error:
            self._desk.state.opening = Opening(path=path, given=answers, refusal=str(error))
            raise
        finally:
            if staged is not None:
                self._desk.release(staged.array)
        self._settle(path, result)

    def _image_to_scale(self) -> Image | None:
        """Return the chosen image, unless it is so large that staging it would delay the opening."""
        try:
            image = self._desk.chosen_image()
        except NapariUnetError:
            return None
        return image if prod(image.sizes.values()) <= MOST_VALUES else None

    def _settle(self, path: str, result: OpenResult) -> None:
        """Choose the model, show the question, or say why neither is possible."""
        state = self._desk.state
        if result.spec is not None:
            state.opening = None
            name = Path(path).name
            self._modelling.add(
                ModelChoice(
                    title=name, source=result.source, spec=result.spec, answers=result.answers, origin=path,
                    report=result.report, can_train=result.can_train, stamp=_stamp(path),
                )
            )  # fmt: skip
            self._browsing.add_recent(path)
            state.tell(f"Opened {name}.")
            return
        question = result.questions[0] if result.questions else None
        state.opening = opening = Opening(
            path=path, given=result.given, question=question, refusal=result.refusal, almost=result.almost
        )
        if question is None:
            state.tell(f"{opening.name} was not opened. Step 1 says why.", "error")
            return
        state.tell(ASK)
        if question.keyword != TRUST:
            self._desk.when_idle(lambda: self._compare(opening, question))

    def _compare(self, opening: Opening, question: Asked) -> None:
        """Draw each answer on the image, if there is one."""
        if self._desk.state.opening is not opening:  # it was answered or left meanwhile
            return
        try:
            layer, image = self._desk.image_layer(), self._desk.chosen_image()
            region = self._window(layer, image)
        except NapariUnetError:
            return
        self._desk.run(Activity.COMPARING, self._compare_task(opening, question, image, region))

    def _window(self, layer: Any, image: Image) -> Region:  # noqa: ANN401  # a napari layer
        """Choose a window around the middle of what is seen."""
        box = dict(zip(image.axes, layers.visible_box(self._desk.viewer, layer, image.axes), strict=True))
        if "Y" not in box or "X" not in box:
            raise ImageError("The image has no plane.")
        z, t = box.get("Z", (0, 1)), box.get("T", (0, 1))
        return (
            (t[0], t[0] + 1),
            _around(z, SLICES, image.sizes["Z"]),
            _around(box["Y"], WINDOW_PX, image.sizes["Y"]),
            _around(box["X"], WINDOW_PX, image.sizes["X"]),
        )

    def _compare_task(self, opening: Opening, question: Asked, image: Image, region: Region) -> Task:
        staged = yield Aside(lambda: self._desk.stage_image(image))
        self._pictures += 1
        folder = self._desk.scratch.folder
        count = len(question.choices) + 1
        request = CompareRequest(
            source=opening.path,
            answers=opening.given,
            keyword=question.keyword,
            values=tuple(choice.value for choice in question.choices),
            image=staged,
            inference=InferenceConfig(device=self._desk.state.device),
            region=region,
            pictures=tuple(str(folder / f"answer-{self._pictures}-{number}.png") for number in range(count)),
        )

        def show(event: Event) -> None:
            self._desk.show(event)
            if isinstance(event, Progress) and event.stage.startswith(ANSWER) and event.done:
                self._show_pictures(opening, _drawn_so_far(request.pictures, event.done))

        try:
            result: CompareResult = yield Remote(request, show)
            self._show_pictures(opening, result)
            self._desk.state.tell(ASK)
        finally:
            self._desk.release(staged.array)

    def _show_pictures(self, opening: Opening, result: CompareResult) -> None:
        state = self._desk.state
        shown = state.opening
        if shown is not None and (shown.path, shown.question) == (opening.path, opening.question):
            state.opening = opening.model_copy(
                update={"pictures": result.pictures, "failures": result.failures, "difference": result.difference}
            )

    def _download_task(self, name: str) -> Task:
        request = DownloadRequest(name=name)
        result: DownloadResult = yield Remote(request, self._desk.show)
        self._desk.when_idle(lambda: self.open_file(result.path))


def _drawn_so_far(pictures: tuple[str, ...], done: int) -> CompareResult:
    """Say which pictures there are when the first answers have been tried."""
    *answers, image = pictures
    drawn = [path if number < done and Path(path).is_file() else "" for number, path in enumerate(answers)]
    return CompareResult(pictures=(*drawn, image), failures=("",) * len(drawn))


def _is_ours(path: Path) -> bool:
    """Whether a file says at its beginning that this program wrote it; nothing else of it is read."""
    if path.suffix != SUFFIX:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return b'"napari_unet"' in head


def _stamp(path: str) -> int:
    """When a file has changed last; 0 if it is not there."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def _around(seen: tuple[int, int], wanted: int, size: int) -> tuple[int, int]:
    """Return (start, stop) of at most `wanted` pixels around the middle of what is seen.

    >>> _around((100, 200), 50, 512), _around((0, 30), 50, 40)
    ((125, 175), (0, 40))
    """
    length = min(wanted, size)
    start = (seen[0] + seen[1] - length) // 2
    start = min(max(start, 0), size - length)
    return start, start + length
