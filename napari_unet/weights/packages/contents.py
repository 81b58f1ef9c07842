"""The files of a package: a folder or a zip."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from napari_unet.errors import ModelError
from napari_unet.weights.formats.identify import DESCRIPTIONS
from napari_unet.weights.formats.limits import check_file, leads_outside, open_zip, read_member, shorten
from napari_unet.weights.packages.document import MAX_BYTES

_ADDRESS = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://|^(?:doi|zenodo):")


@dataclass(frozen=True, slots=True)
class Source:
    """A file that a description names.

    Attributes
    ----------
    name : str
        Relative to the description.
    sha256 : str
        What its content must be; empty if the description does not say.
    """

    name: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Contents:
    """The files of a package; nothing outside it can be reached.

    Attributes
    ----------
    path : Path
        A folder or a zip.
    description : str
        Name of the description in it.
    """

    path: Path
    description: str

    def has(self, source: Source) -> bool:
        """Whether a file is there."""
        if self.path.is_dir():
            return (self.path / source.name).exists()
        with open_zip(self.path) as archive:
            return self._member(source.name) in archive.namelist()

    def read(self, source: Source, limit: int) -> bytes:
        """Read a file of at most `limit` bytes, and verify it.

        Raises
        ------
        ModelError
            If it is missing, too large, outside of the package, or has changed.
        """
        with self.file(source, limit) as path:
            return path.read_bytes()

    @contextmanager
    def file(self, source: Source, limit: int) -> Iterator[Path]:
        """Give a file as one on the disk, unpacked for as long as it is needed.

        Raises
        ------
        ModelError
            As for `read`.
        """
        _check_name(self.path, source.name)
        if self.path.is_dir():
            path = self._inside(source.name)
            self._verify(source, path, limit)
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="napari-unet-") as folder:
            path = Path(folder) / Path(source.name).name
            self._unpack(source.name, path, limit)
            self._verify(source, path, limit)
            yield path

    def _inside(self, name: str) -> Path:
        path = self.path / name
        if not path.exists():
            raise ModelError(f'The package "{self.path.name}" lacks the file "{shorten(name)}". Copy it again.')
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise ModelError(
                f'The package "{self.path.name}" is refused: "{shorten(name)}" is a link to a file outside.'
            )
        return path

    def _member(self, name: str) -> str:
        """Return the name in a zip: descriptions name files beside them."""
        return self.description.rpartition("/")[0] + "/" + name if "/" in self.description else name

    def _unpack(self, name: str, target: Path, limit: int) -> None:
        member = self._member(name)
        with open_zip(self.path) as archive:
            if member not in archive.namelist():
                raise ModelError(f'The package "{self.path.name}" lacks the file "{shorten(name)}". Copy it again.')
            size = archive.getinfo(member).file_size
            if size > limit:
                raise ModelError(
                    f'"{self.path.name}" is refused: its "{shorten(name)}" claims {size:,} bytes, more than {limit:,}.'
                )
            with archive.open(member) as packed, target.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)

    def _verify(self, source: Source, path: Path, limit: int) -> None:
        check_file(path, limit)
        if not source.sha256:
            return
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != source.sha256.lower():
            raise ModelError(
                f'"{shorten(source.name)}" in the package "{self.path.name}" is not the file that its author '
                "described (its SHA-256 differs): it is damaged or was replaced. Download the package again."
            )


def open_contents(path: Path) -> Contents:
    """Find the description of a package.

    Parameters
    ----------
    path : Path
        A folder, a zip, or the description itself.

    Raises
    ------
    ModelError
        If there is none.
    """
    if path.is_dir():
        names = [name for name in DESCRIPTIONS if (path / name).is_file()]
        return Contents(path, _first(path, names))
    if path.suffix.lower() in {".yaml", ".yml"}:
        return Contents(path.parent, path.name)
    with open_zip(path) as archive:
        members = archive.namelist()
    roots = {member.partition("/")[0] for member in members}
    places = ["", f"{next(iter(roots))}/"] if len(roots) == 1 else [""]
    return Contents(path, _first(path, [place + name for place in places for name in DESCRIPTIONS], members))


def read_description(contents: Contents) -> bytes:
    """Read the text of the description."""
    if contents.path.is_dir():
        return contents.read(Source(contents.description), MAX_BYTES)
    with open_zip(contents.path) as archive:
        return read_member(archive, contents.description, MAX_BYTES)


def _first(path: Path, names: list[str], members: list[str] | None = None) -> str:
    for name in names:
        if members is None or name in members:
            return name
    raise ModelError(f'"{path.name}" is no bioimage.io package: it holds none of {", ".join(DESCRIPTIONS)}.')


def _check_name(package: Path, name: str) -> None:
    if _ADDRESS.match(name):
        raise ModelError(
            f'The package "{package.name}" does not hold all of its files: one is at {shorten(name, 200)}. Download '
            "the complete package from bioimage.io; nothing is fetched while a file is opened."
        )
    if leads_outside(name):
        raise ModelError(f'The package "{package.name}" is refused: it names a file outside, "{shorten(name)}".')
