"""Step 1: writing the chosen model as a file for somebody else, in the background process."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from napari_unet.atomic import write_bytes
from napari_unet.errors import ExportError, ModelError, NapariUnetError
from napari_unet.export.package.card import LICENSES, package_obstacle
from napari_unet.export.sharing import SUFFIXES, Format, ShareOptions
from napari_unet.gui.desk import Desk
from napari_unet.gui.state import Activity, ModelChoice
from napari_unet.gui.tasks import Aside, Remote, Task
from napari_unet.imaging.image import Image
from napari_unet.jobs.requests import ArrayRef, ImageRef
from napari_unet.jobs.sharing import ShareRequest, ShareResult
from napari_unet.networks.spec import Config
from napari_unet.weights.bundled import own_folder

ONNX_LIBRARIES = ("onnx", "onnxruntime", "onnxscript")


class Habits(Config):
    """How somebody shares models: remembered from session to session."""

    format: Format = "package"
    authors: str = ""
    license: str = LICENSES[0]


class Sharing:
    """Writes the chosen model in one of the formats; a failure leaves every file as it was."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def obstacle(self) -> str:
        """What keeps the chosen model from being saved or shared; empty if nothing does."""
        model = self._desk.state.model
        if model is None:
            return "No model is chosen."
        if not model.trained:
            return "This model has random weights. Train it in step 4 before you share it."
        if not model.can_train:
            return "This model is a program of another file: pass that file on."
        return ""

    def obstacle_of(self, kind: Format) -> str:
        """Say what keeps the chosen model from being written in a format; empty if nothing does."""
        model = self._desk.state.model
        if kind == "package" and model is not None and (obstacle := package_obstacle(model.spec)):
            return obstacle
        missing = [name for name in ONNX_LIBRARIES if find_spec(name) is None] if kind == "onnx" else []
        return f"It needs {', '.join(missing)}: pip install napari-unet[onnx]" if missing else ""

    def recall(self) -> Habits:
        """Return how models were shared last."""
        try:
            return Habits.model_validate_json(_file().read_bytes())
        except (OSError, ValidationError):
            return Habits()

    def share(self, path: str, options: ShareOptions, habits: Habits, *, show_image: bool = False) -> None:
        """Write the chosen model.

        Parameters
        ----------
        path : str
            The suffix of the format is added if it is missing.
        options : ShareOptions
        habits : Habits
            To be remembered.
        show_image : bool
            Whether the test image of a package is taken from the chosen image.
        """
        self._desk.attempt(lambda: self._start(path, options, habits, show_image=show_image))

    def _start(self, path: str, options: ShareOptions, habits: Habits, *, show_image: bool) -> None:
        model = self._desk.state.model
        if self.obstacle or model is None:
            raise ModelError(self.obstacle)
        suffix = SUFFIXES[options.format]
        target = path if path.lower().endswith(suffix) else path + suffix
        if model.source is not None and Path(target).resolve() == Path(model.source).resolve():
            raise ExportError(f'"{target}" is the file of this model itself. Choose another name.')
        image = self._desk.chosen_image() if show_image else None
        _remember(habits)
        self._desk.run(Activity.SHARING, self._task(model, target, options, image))

    def _task(self, model: ModelChoice, path: str, options: ShareOptions, image: Image | None) -> Task:
        desk, state, refs = self._desk, self._desk.state, list[ArrayRef]()
        try:
            staged: ImageRef | None = None
            if image is not None:
                staged = yield Aside(lambda: desk.stage_image(image))
                refs.append(staged.array)
            request = ShareRequest(
                model=model.ref, path=path, options=options, image=staged, channels=state.channels if staged else None
            )
            result: ShareResult = yield Remote(request, desk.show)
        finally:
            desk.release(*refs)
        state.tell(" ".join((f"Saved the model as {result.path}.", *result.notes)))


def _remember(habits: Habits) -> None:
    """Write it down. Where that is impossible, nothing is lost but a little typing."""
    with contextlib.suppress(OSError, NapariUnetError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_bytes(_file(), habits.model_dump_json(indent=1).encode())


def _file() -> Path:
    return own_folder().parent / "sharing.json"
