"""Models of the bioimage.io collection, by name. Nothing is asked of the internet before one is named.

What was downloaded is kept beside the user's own models, and then opens without internet.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from napari_unet.atomic import PREFIX as SAVING
from napari_unet.errors import ExportError, ModelError
from napari_unet.events import Event, Progress, finish
from napari_unet.weights.bundled import own_folder
from napari_unet.weights.formats.limits import leads_outside, reason, shorten
from napari_unet.weights.packages.contents import Source
from napari_unet.weights.packages.description import Description, describe
from napari_unet.weights.packages.document import MAX_BYTES, read_document

ADDRESS = "https://hypha.aicell.io/bioimage-io/artifacts"
PREFIX = "bioimage.io:"
DESCRIPTION = "rdf.yaml"
DESCRIPTION_SINCE_0_5 = "bioimageio.yaml"
TIMEOUT_S = 20.0
MAX_LIST_BYTES = 64 * 1024**2
MAX_FILE_BYTES = 4 * 1024**3
PIECE_BYTES = 2**20
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,63}")
_DATA = ("pytorch_state_dict", "keras_hdf5", "keras_v3")
_PROGRAMS = ("onnx", "torchscript")


class _MissingError(ModelError):
    """There is no such file."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of the collection: its name, title and a line about it."""

    name: str
    title: str
    description: str


def collection_folder() -> Path:
    """Folder of downloaded packages, beside the user's own models. It need not exist."""
    return own_folder().parent / "bioimage.io"


def downloaded(folder: Path | None = None) -> dict[str, Path]:
    """Names and folders of the packages that are here."""
    folder = folder or collection_folder()
    packages = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.name: path for path in packages if _NAME.fullmatch(path.name) and (path / DESCRIPTION).is_file()}


def list_models() -> tuple[Listed, ...]:
    """Ask the collection for all of its models.

    Raises
    ------
    ModelError
        If it cannot be reached or answers something else.
    """
    content = _fetch(f"{ADDRESS}/bioimage.io/children?limit=10000", MAX_LIST_BYTES)
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise ModelError("bioimage.io answered with something that is no list of models. Try again later.") from error
    return tuple(filter(None, map(_listed, entries if isinstance(entries, list) else [])))


def _listed(entry: object) -> Listed | None:
    """Take what is known of a model from an entry of the list; None for whatever is no model."""
    if not isinstance(entry, dict) or not isinstance(entry.get("manifest"), dict):
        return None
    manifest: Mapping[str, Any] = entry["manifest"]
    name = str(entry.get("id", "")).removeprefix("bioimage-io/")
    if entry.get("type", manifest.get("type")) != "model" or not _NAME.fullmatch(name):
        return None
    return Listed(name, shorten(str(manifest.get("name", name))), shorten(str(manifest.get("description", "")), 300))


def download(name: str, folder: Path | None = None) -> Path:
    """Download the package of a model, unless it is here already.

    Parameters
    ----------
    name : str
        Such as "affable-shark" or "bioimage.io:affable-shark".
    folder : Path, optional
        Where packages are kept; that of the user by default.

    Returns
    -------
    Path
        A folder: the description, the weights that can be opened, and the test image.

    Raises
    ------
    ModelError
        If there is no such model, the collection cannot be reached, or a file is not what was described.
    ExportError
        If it cannot be written.
    """
    return finish(download_events(name, folder))


def download_events(name: str, folder: Path | None = None) -> Generator[Event, None, Path]:
    """Download a package, and say how far it is; see `download`."""
    folder = folder or collection_folder()
    name = name.strip().removeprefix(PREFIX).removeprefix("bioimage-io/")
    if not _NAME.fullmatch(name):
        raise ModelError(
            f'"{shorten(name)}" is no name of a model at bioimage.io. They look like "affable-shark" and stand on the '
            "page of each model."
        )
    target = folder / name
    if (target / DESCRIPTION).is_file():
        return target
    yield Progress("Asking bioimage.io", 0, 1)
    base = f"{ADDRESS}/{name}/files"
    missing = f'There is no model "{name}" at bioimage.io.'
    try:
        content = _fetch(f"{base}/{DESCRIPTION}", MAX_BYTES, missing)
    except _MissingError:
        content = _fetch(f"{base}/{DESCRIPTION_SINCE_0_5}", MAX_BYTES, missing)
    sources = _needed(name, describe(DESCRIPTION, read_document(DESCRIPTION, content)))
    with _new_folder(target) as temporary:
        for number, source in enumerate(sources):
            yield from _save(f"{base}/{urllib.parse.quote(source.name)}", source, temporary, (number, len(sources)))
        (temporary / DESCRIPTION).write_bytes(content)
    return target


def _needed(name: str, description: Description) -> list[Source]:
    """Files of a package that can be used: the best weights as data, the best program, the test image.

    Raises
    ------
    ModelError
        If they are not in the package, or nothing can be opened.
    """
    weights = description.weights
    chosen = [next((weights[kind] for kind in kinds if kind in weights), None) for kinds in (_DATA, _PROGRAMS)]
    if description.own is not None:
        chosen = [description.own]
    if not any(chosen):
        raise ModelError(
            f'The model "{name}" has weights as {", ".join(weights)}, and only {", ".join((*_DATA, *_PROGRAMS))} can '
            "be opened."
        )
    tests = [tensor.test for tensor in (description.inputs[0], description.outputs[0])]
    sources = {source.name: source for source in (*chosen, *tests) if source is not None}
    for place in sources:
        if "://" in place or leads_outside(place) or place == DESCRIPTION:
            raise ModelError(
                f'The model "{name}" keeps a file elsewhere ("{shorten(place)}"), and only complete packages are '
                "downloaded. Download it from its page by hand."
            )
    return list(sources.values())


@contextlib.contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """Give a folder to fill, which takes its place at the end or disappears."""
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=SAVING, dir=target.parent))
        yield temporary
        with contextlib.suppress(OSError):
            target.rmdir()  # an empty one is in the way on Windows
        os.replace(temporary, target)  # noqa: PTH105
    except OSError as error:
        if (target / DESCRIPTION).is_file():  # another process was faster
            return
        raise ExportError(f'The package cannot be kept in "{target}": {reason(error)}. Free some space.') from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _save(address: str, source: Source, folder: Path, place: tuple[int, int]) -> Generator[Event, None, None]:
    """Download a file piece by piece and verify it."""
    number, count = place
    path = folder / source.name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with _opened(address) as (answer, size), path.open("wb") as file:
        for received, piece in _pieces(address, answer, size, MAX_FILE_BYTES):
            digest.update(piece)
            file.write(piece)
            share = received / size if size else 0.0
            yield Progress(f"Downloading {source.name}", int(1000 * (number + min(share, 1.0))), 1000 * count)
    if source.sha256 and digest.hexdigest() != source.sha256.lower():
        raise ModelError(
            f'"{source.name}" arrived from bioimage.io, but it is not the file that its author described (its SHA-256 '
            "differs). Try again later."
        )


def _fetch(address: str, limit: int, missing: str = "") -> bytes:
    """Download a small file into memory."""
    with _opened(address, missing) as (answer, size):
        return b"".join(piece for _, piece in _pieces(address, answer, size, limit))


def _pieces(address: str, answer: IO[bytes], size: int, limit: int) -> Iterator[tuple[int, bytes]]:
    """Read an answer in pieces, each with the bytes received so far."""
    received = 0
    while True:
        try:
            piece = answer.read(PIECE_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _lost(address, error) from error
        if not piece:
            break
        received += len(piece)
        if max(received, size) > limit:
            raise ModelError(f'"{_last(address)}" at bioimage.io is larger than {limit:,} bytes, which is refused.')
        yield received, piece
    if received < size:
        raise ModelError(f'"{_last(address)}" arrived from bioimage.io only in part. Try again.')


@contextlib.contextmanager
def _opened(address: str, missing: str = "") -> Iterator[tuple[IO[bytes], int]]:
    """Ask for a file; gives the answer and its size, 0 if that is not said."""
    opener = urllib.request.build_opener(_Careful())
    try:
        answer = opener.open(address, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404:
                raise _MissingError(missing or f'bioimage.io has no file "{_last(address)}".') from error
            raise ModelError(f'bioimage.io answered "{error.code} {error.reason}". Try again later.') from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _lost(address, error) from error
    with answer:
        stated = answer.headers.get("Content-Length", "")
        yield answer, int(stated) if stated.isdigit() else 0


class _Careful(urllib.request.HTTPRedirectHandler):
    """Follows redirections to the web only, and never from a safe connection to an open one."""

    def redirect_request(self, *args: Any) -> urllib.request.Request | None:  # noqa: ANN401
        request, new = args[0], str(args[-1])
        scheme = urllib.parse.urlsplit(new).scheme
        if scheme != "https" and scheme != urllib.parse.urlsplit(request.full_url).scheme:
            message = f"a redirection to {scheme or 'nowhere'} is refused"
            raise ValueError(message)
        return super().redirect_request(*args)


def _lost(address: str, error: Exception) -> ModelError:
    why = getattr(error, "reason", error)
    text = reason(why) if isinstance(why, BaseException) else str(why)
    host = urllib.parse.urlsplit(address).hostname or "bioimage.io"
    return ModelError(
        f"bioimage.io cannot be reached ({host}: {shorten(text, 100)}). Check the internet connection, or open a "
        "package that was downloaded before."
    )


def _last(address: str) -> str:
    return shorten(urllib.parse.unquote(urllib.parse.urlsplit(address).path.rpartition("/")[2]))
