"""Opening other people's weights, and drawing what each answer to a question would make of an image.

Only the background process does this: nothing of a foreign file is read in the viewer's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import write_bytes
from napari_unet.errors import AlmostKnownError, ExportError, ImageError, ModelError, NapariUnetError, UnansweredError
from napari_unet.events import Event, Progress
from napari_unet.imaging.image import Image
from napari_unet.inference.pipeline import Wish, predict_events
from napari_unet.inference.scaling import scaling_events
from napari_unet.jobs.explaining import explain
from napari_unet.jobs.requests import (
    ANSWER,
    Answers,
    AnswerValue,
    Asked,
    Choice,
    CompareRequest,
    CompareResult,
    DownloadRequest,
    DownloadResult,
    OpenRequest,
    OpenResult,
    Region,
)
from napari_unet.weights import collection
from napari_unet.weights.file import SUFFIX, read_spec
from napari_unet.weights.formats.identify import Kind, identify, locate
from napari_unet.weights.loading import load_model
from napari_unet.weights.model import Model

ANSWERS_FILE = "answers.json"
MOST_OPENED = 24  # model files that are kept of other people's weights; the oldest go first
MOST_QUESTIONS = 8
# These say themselves how images are scaled.
SCALED = (Kind.OWN, Kind.BIOIMAGE, Kind.NNUNET)
# What only this file needs; the others change what is loaded, and are chosen anew each time.
_NOT_KEPT = ("partial",)


def open_events(request: OpenRequest, image: Image | None = None) -> Generator[Event, None, OpenResult]:
    """Open a weights file and keep it as one of our model files.

    Parameters
    ----------
    request : OpenRequest
    image : Image, optional
        That of the request.
    """
    path, folder = Path(request.source).expanduser(), Path(request.folder)
    yield Progress("Reading the file", 0, 3)
    fingerprint = _fingerprint(path)
    earlier = {} if request.ask_again else _remembered(folder).get(fingerprint, {})
    answers: Answers = {**earlier, **request.answers}
    yield Progress("Recognising the network", 1, 3)
    try:
        model = load_model(path, **answers)
    except UnansweredError as error:
        return OpenResult(questions=tuple(_asked(question) for question in error.questions), given=answers)
    except AlmostKnownError as error:
        return OpenResult(refusal=error.finding, almost=True, given=answers)
    except ModelError as error:
        return OpenResult(refusal=str(error), given=answers)
    if _is_own(path) and not answers:
        return OpenResult(source=str(path), spec=model.spec, report=model.report)
    if image is not None and identify(locate(path)) not in SCALED:
        model = yield from _scaled(model, image, request.channels)
    yield Progress("Keeping the model", 2, 3)
    result = _keep(model, path, folder, answers, fingerprint)
    _remember(folder, fingerprint, answers)
    return result


def _scaled(model: Model, image: Image, channels: tuple[int, ...] | None) -> Generator[Event, None, Model]:
    """Scale images as the weights remember it, where what their author's code does plainly does not suit them."""
    try:
        scaling = yield from scaling_events(model, image, channels)
    except ImageError:  # an image with other channels tells nothing
        return model
    if scaling is None or not scaling.decisive:
        return model
    nearest = scaling.distances[scaling.best]
    note = (
        f"Of {len(scaling.distances)} ways to scale “{image.name}”, “{scaling.best}” fits best what the weights "
        f"remember of their training, so it is used (distance {nearest:.2g}, and {scaling.present:.2g} for what the "
        "author's code does)."
    )
    notes = model.report.notes if model.report else ()
    return model.with_spec(normalization=scaling.normalization).with_report(notes=(*notes, note))


def _keep(model: Model, path: Path, folder: Path, answers: Answers, fingerprint: str) -> OpenResult:
    """Save a model among the opened ones, or go on with its own file if it cannot be saved."""
    key = hashlib.sha256(f"{fingerprint}{json.dumps(answers, sort_keys=True)}".encode()).hexdigest()
    target = folder / f"{path.stem}-{key[:10]}{SUFFIX}"
    _make_folder(folder)
    try:
        model.save(target)
    except ExportError:
        raise
    except ModelError:  # networks that can only predict stay in their own files
        return OpenResult(
            source=str(path.resolve()), answers=answers, spec=model.spec, report=model.report, can_train=False
        )
    _drop_oldest(folder)
    return OpenResult(source=str(target), spec=read_spec(target), report=model.report)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(
            f'The folder "{folder}" cannot be made ({error.strerror}), and opened models are kept there. '
            "Set NAPARI_UNET_HOME to another folder."
        ) from error


def _drop_oldest(folder: Path) -> None:
    opened = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in opened[MOST_OPENED:]:
        with suppress(OSError):
            path.unlink()


def _is_own(path: Path) -> bool:
    if path.suffix != SUFFIX:
        return False
    try:
        read_spec(path)
    except ModelError:
        return False
    return True


def _asked(question: Any) -> Asked:  # noqa: ANN401  # an error carries any kind of question
    choices = tuple(Choice(value=value, text=str(text)) for value, text in question.values.items())
    return Asked(keyword=question.keyword, sentence=question.sentence, choices=choices)


def _fingerprint(path: Path) -> str:
    """Fingerprint of a file's bytes, or of the names and sizes in a folder.

    Raises
    ------
    ModelError
        If it cannot be read.
    """
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            listing = "\n".join(f"{file.relative_to(path)} {file.stat().st_size}" for file in files)
            return hashlib.sha256(listing.encode()).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f'The file "{path}" cannot be read: {error.strerror}.') from error


def _remembered(folder: Path) -> dict[str, Answers]:
    """Answers by fingerprint; none where they were never written, or are damaged."""
    try:
        kept = json.loads((folder / ANSWERS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(kept, dict):
        return {}
    return {str(key): answers for key, answers in kept.items() if isinstance(answers, dict)}


def _remember(folder: Path, fingerprint: str, answers: Answers) -> None:
    kept = {keyword: value for keyword, value in answers.items() if keyword not in _NOT_KEPT}
    known = _remembered(folder)
    if known.get(fingerprint, {}) == kept:
        return
    _make_folder(folder)
    write_bytes(folder / ANSWERS_FILE, json.dumps({**known, fingerprint: kept}, indent=1).encode())


def compare_events(request: CompareRequest, image: Image) -> Generator[Event, None, CompareResult]:
    """Predict a window of an image with each answer to a question, and draw the foreground."""
    count = len(request.values)
    drawn, failures, foregrounds = [], [], []
    yield Progress("Drawing the image", 0, count + 1)
    *targets, own = request.pictures
    _save_picture(Path(own), _image_picture(image, request.region))
    for number, (value, target) in enumerate(zip(request.values, targets, strict=True)):
        yield Progress(f"{ANSWER} {number + 1} of {count}", number, count)
        try:
            answers = {**request.answers, request.keyword: value}
            foreground = yield from _foreground(_load_guessing(request.source, answers), image, request)
            _save_picture(Path(target), np.round(255 * foreground).astype(np.uint8))
        except Exception as error:  # one answer may be impossible for this file
            if not isinstance(error, NapariUnetError | RuntimeError | MemoryError):
                raise
            drawn.append("")
            failures.append(str(error) if isinstance(error, NapariUnetError) else explain(error))
            continue
        drawn.append(target)
        failures.append("")
        foregrounds.append(foreground)
    return CompareResult(pictures=(*drawn, own), failures=tuple(failures), difference=_difference(foregrounds))


def _difference(foregrounds: Sequence[npt.NDArray[np.float32]]) -> float | None:
    """Largest difference between any two of the maps; None where there are not two of the same size."""
    if len(foregrounds) < 2 or len({one.shape for one in foregrounds}) > 1:
        return None
    stacked = np.stack(foregrounds)
    return float((stacked.max(axis=0) - stacked.min(axis=0)).max())


def _load_guessing(source: str, answers: Mapping[str, AnswerValue]) -> Model:
    """Open a file, and answer what is still asked with the first possibility."""
    given = dict(answers)
    for _ in range(MOST_QUESTIONS):
        try:
            return load_model(source, **given)
        except UnansweredError as error:
            given = {**{question.keyword: next(iter(question.values)) for question in error.questions}, **given}
    raise ModelError("There are too many questions about this file to draw pictures.")


def _foreground(model: Model, image: Image, request: CompareRequest) -> Generator[Event, None, npt.NDArray[np.float32]]:
    """Probability of any foreground in one plane of the window, (Y, X) float32."""
    takes, there = model.spec.image_channels, image.sizes["C"]
    grey = model.spec.normalization.channels == "grey"
    channels = None if grey else tuple(number % there for number in range(takes))
    config = request.inference.model_copy(update={"channels": channels, "axes": image.axes})
    region = request.region if model.spec.dims == 3 else _one_plane(request.region)
    prediction = yield from predict_events(model, image, config, wish=Wish(region))
    values = np.asarray(prediction.probabilities)
    plane = values[:, 0, values.shape[2] // 2]
    if model.spec.activation == "none":
        low, high = float(plane.min()), float(plane.max())
        plane = (plane - low) / max(high - low, 1e-6)
    background = model.spec.class_activation == "softmax" and len(plane) > 1
    shown = 1 - plane[0] if background else plane.max(axis=0)
    foreground: npt.NDArray[np.float32] = np.clip(np.nan_to_num(shown), 0, 1).astype(np.float32)
    return foreground


def _one_plane(region: Region) -> Region:
    t, (start, stop), y, x = region
    middle = (start + stop) // 2 if stop - start > 1 else start
    return (t, (middle, middle + 1), y, x)


def _image_picture(image: Image, region: Region) -> npt.NDArray[np.uint8]:
    """Draw the window itself: (Y, X), or (Y, X, 3) for three channels."""
    (t, _), (z, _), (y0, y1), (x0, x1) = _one_plane(region)
    block = image.read(t, slice(z, z + 1), slice(y0, y1), slice(x0, x1))[:, 0].astype(np.float32)
    block = np.nan_to_num(block, posinf=0, neginf=0)
    low, high = np.percentile(block, (0.5, 99.5))
    scaled = np.clip((block - low) / max(float(high - low), 1e-6), 0, 1)
    picture: npt.NDArray[np.uint8] = np.round(255 * scaled).astype(np.uint8)
    if len(picture) in {3, 4}:
        return np.moveaxis(picture[:3], 0, -1)
    first: npt.NDArray[np.uint8] = picture[0]
    return first


def _save_picture(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    from imagecodecs import png_encode

    write_bytes(path, bytes(png_encode(np.ascontiguousarray(picture))))


def download_events(request: DownloadRequest) -> Generator[Event, None, DownloadResult]:
    """Fetch a package of the bioimage.io collection."""
    path = yield from collection.download_events(request.name)
    return DownloadResult(path=str(path))
