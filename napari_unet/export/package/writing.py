"""Writing a package: into a folder of its own first, then to a zip that is read back before it is put in place."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import yaml

from napari_unet.atomic import replace_file
from napari_unet.errors import ExportError, ModelError
from napari_unet.events import Event, Progress, finish
from napari_unet.export.answering import Answering, Output
from napari_unet.export.onnx import LIBRARIES, OPSET, save_onnx
from napari_unet.export.package import description as names
from napari_unet.export.package.card import PackageCard, package_obstacle
from napari_unet.export.package.description import Parts, document
from napari_unet.export.package.example import cover, example_image, run_example
from napari_unet.export.package.geometry import geometry_of
from napari_unet.export.package.readme import readme
from napari_unet.export.package.steps import packaged
from napari_unet.export.torchscript import save_torchscript
from napari_unet.imaging.image import ArrayLike, Image, open_image
from napari_unet.version import VERSION
from napari_unet.weights.loading import load_model
from napari_unet.weights.model import Model

STAGE = "Writing the package"
STEPS = 6
SUFFIX = ".zip"
# Weights hardly become smaller, and programs read them quicker as they are.
_AS_THEY_ARE = {names.OWN, names.TORCHSCRIPT, names.ONNX, names.COVER}


@dataclass(frozen=True, slots=True)
class Packaged:
    """A package that has been written.

    Attributes
    ----------
    path : Path
    notes : tuple of str
        In sentences: what other programs must do to an image first, and what was left out.
    """

    path: Path
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """The image from which the test image of a package is taken; anybody who gets the package sees it.

    Attributes
    ----------
    image : Image
    channels : tuple of int, optional
        Which channels feed the model; all by default.
    """

    image: Image
    channels: tuple[int, ...] | None = None


def save_package(
    path: str | os.PathLike[str],
    model: Model,
    card: PackageCard,
    *,
    image: Image | ArrayLike | None = None,
    axes: str | None = None,
    channels: tuple[int, ...] | None = None,
    output: Output = "probabilities",
) -> Path:
    """Write a model as a package for bioimage.io, which ilastik, deepImageJ and QuPath can open, too.

    It holds the network as TorchScript and, with the extra ``onnx``, as ONNX, a test image with its result, the
    description in the format of bioimage.io, documentation, a picture, and our own model file: what `load_model`
    opens is the same model, to be fine-tuned further.

    Parameters
    ----------
    path : str or path-like
        A ``.zip`` file.
    model : Model
        Is not changed.
    card : PackageCard
        Authors, licence, description.
    image : Image or array, optional
        Its middle becomes the test image, which anybody sees who gets the package; by default one that comes with
        this program.
    axes : str, optional
        Of an array; None means YX for 2 dimensions and ZYX for 3.
    channels : tuple of int, optional
        Which channels of the image feed the model; all by default.
    output : "probabilities" | "logits"
        What the network in the package gives. Probabilities suit programs that know no softmax.

    Raises
    ------
    ExportError
        If the model is untrained or a program of another file, or the package cannot be written or read again;
        what stood there is unchanged.
    ChannelError
        If the test image does not have the channels that the model takes.
    """
    opened = image if isinstance(image, Image) or image is None else open_image(image, axes)
    shown = None if opened is None else Shown(opened, channels)
    return finish(package_events(path, model, card, shown=shown, output=output)).path


def package_events(
    path: str | os.PathLike[str],
    model: Model,
    card: PackageCard,
    *,
    shown: Shown | None = None,
    output: Output = "probabilities",
) -> Generator[Event, None, Packaged]:
    """Write a package and say how far it is; see `save_package`."""
    target = Path(path)
    _check(target, model)
    with tempfile.TemporaryDirectory(prefix="napari-unet-") as temporary:
        folder = Path(temporary)
        yield Progress(STAGE, 0, STEPS)
        answering = Answering(model, output)
        geometry, (normalization, notes) = geometry_of(model.network), packaged(model.spec.normalization)
        yield Progress(STAGE, 1, STEPS)
        image = example_image(model.spec, geometry.usual, *((shown.image, shown.channels) if shown else ()))
        example = run_example(answering, image, normalization)
        np.save(folder / names.TEST_INPUT, example.image[None])
        np.save(folder / names.TEST_OUTPUT, example.result[None])
        (folder / names.COVER).write_bytes(_picture(cover(example, answering)))
        yield Progress(STAGE, 2, STEPS)
        model.save(folder / names.OWN)
        save_torchscript(model, folder / names.TORCHSCRIPT, output)
        yield Progress(STAGE, 3, STEPS)
        lacking = _add_onnx(model, folder / names.ONNX, output)
        yield Progress(STAGE, 4, STEPS)
        parts = Parts(
            model.spec, card, geometry, normalization, output, _now(), _versions(), _fingerprints(folder, model)
        )
        (folder / names.README).write_text(readme(parts, notes), encoding="utf-8")
        described = yaml.safe_dump(document(parts), sort_keys=False, allow_unicode=True)
        (folder / names.DESCRIPTION).write_text(described, encoding="utf-8")
        yield Progress(STAGE, 5, STEPS)
        replace_file(target, lambda file: _zip(folder, file), lambda file: _verify(file, model))
    return Packaged(target, (*notes, *lacking))


def _check(target: Path, model: Model) -> None:
    if target.suffix.lower() != SUFFIX:
        raise ExportError(f'"{target.name}" was not saved: a package is a {SUFFIX} file. Choose a name that ends so.')
    if not model.trained:
        raise ExportError(f'The model "{model.spec.name}" has random weights. Train it before you share it.')
    if obstacle := package_obstacle(model.spec):
        raise ExportError(obstacle)


def _add_onnx(model: Model, file: Path, output: Output) -> tuple[str, ...]:
    """Write the network as ONNX, too; return why it is left out, if it is."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        how = 'pip install "napari-unet[onnx]"'
        return (f"The package has no ONNX file, since {', '.join(missing)} is not installed ({how}).",)
    try:
        save_onnx(model, file, output)
    except ExportError as error:
        return (f"The package has no ONNX file: {error}",)
    return ()


def _picture(picture: npt.NDArray[np.uint8]) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.png_encode(picture))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    return {
        "napari-unet": VERSION,
        "torch": torch.__version__.partition("+")[0],
        "onnx": str(OPSET),
    }


def _fingerprints(folder: Path, model: Model) -> dict[str, str]:
    found = {"model": model.sha256}
    for file in folder.iterdir():
        with file.open("rb") as opened:
            found[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def _zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.iterdir()):
            packing = zipfile.ZIP_STORED if file.name in _AS_THEY_ARE else zipfile.ZIP_DEFLATED
            archive.write(file, file.name, packing)


def _verify(file: Path, model: Model) -> None:
    """Open the package as anybody would, and compare.

    Raises
    ------
    ExportError
        If it is not the model.
    """
    wrong = "The package was not written correctly"
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ExportError(f'{wrong}: "{damaged}" is damaged. Nothing was changed.')
    try:
        again = load_model(file)
    except ModelError as error:
        raise ExportError(f"{wrong}: {error} Nothing was changed.") from error
    if again.spec != model.spec or again.sha256 != model.sha256:
        raise ExportError(f"{wrong}: it holds another model. Nothing was changed.")
