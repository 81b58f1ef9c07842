"""What of a batch is done: a file in the folder of its results, to which each image adds two lines.

The first line is written before the results of an image, and the second when all of them are in place. So a process may
be killed at any moment: what only has its first line is made again, and nothing is replaced that was not written here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_unet.errors import ExportError

NAME = ".napari-unet-done.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known about the results of one image.

    Attributes
    ----------
    recipe : str
        See `Recipe.digest`.
    image : str
        See `image_stamp`.
    objects : int
    files : tuple of str
        Relative to the folder of all results.
    """

    recipe: str
    image: str
    objects: int
    files: tuple[str, ...]


class Ledger:
    """The file, and what it says.

    Parameters
    ----------
    folder : Path
        Of all results; it exists.

    Raises
    ------
    ExportError
        If the file is there and cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._folder = folder
        self._done: dict[str, Entry] = {}
        self._begun: dict[str, set[str]] = {}
        for line in self._lines():
            self._take(line)

    def entry(self, name: str) -> Entry | None:
        """Return what is known about an image whose results are all there; None if they are not."""
        entry = self._done.get(name)
        if entry is None or not all((self._folder / file).exists() for file in entry.files):
            return None
        return entry

    def unfinished(self, name: str) -> set[str]:
        """Return the files of an image whose results were being put in place when the process ended."""
        return self._begun.get(name, set())

    def begin(self, name: str, files: Iterable[str]) -> None:
        """Note that the files of an image are about to be put in place.

        Raises
        ------
        ExportError
            If that cannot be written.
        """
        self._add({"begun": name, "files": sorted(files)})

    def finish(self, name: str, entry: Entry) -> None:
        """Note that they all are.

        Raises
        ------
        ExportError
            If that cannot be written.
        """
        told = {"recipe": entry.recipe, "image": entry.image, "objects": entry.objects, "files": list(entry.files)}
        self._add({"done": name, **told})

    def _lines(self) -> list[dict[str, Any]]:
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        except OSError as error:
            raise ExportError(f'"{self.path}" cannot be read ({error.strerror}). Choose another folder.') from error
        lines = []
        for line in text.splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:  # a process was killed while it wrote this line
                continue
        return [line for line in lines if isinstance(line, dict)]

    def _take(self, line: dict[str, Any]) -> None:
        """Take in one line; one that another version wrote is not known."""
        match line:
            case {"begun": str(name), "files": [*files]}:
                self._begun[name] = set(map(str, files))
                self._done.pop(name, None)
            case {"done": str(name), "recipe": str(recipe), "image": str(image), "objects": int(n), "files": [*files]}:
                self._done[name] = Entry(recipe, image, n, tuple(map(str, files)))
                self._begun.pop(name, None)

    def _add(self, line: dict[str, Any]) -> None:
        """Add a line; whatever the last process left of its last line ends before it."""
        content = b"\n" + json.dumps(line, ensure_ascii=False).encode() + b"\n"
        try:
            with self.path.open("ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ExportError(
                f'Nothing can be written to the folder "{self._folder}" ({error.strerror}). Choose another one.'
            ) from error
        self._take(line)


def image_stamp(path: Path) -> str:
    """Return what changes when an image does: its size and when it was last changed; of a Zarr store, of all its files.

    Raises
    ------
    OSError
        If it is not there.
    """
    if path.is_file():
        found = path.stat()
        return f"{found.st_size}-{found.st_mtime_ns}"
    stats = [file.stat() for file in path.rglob("*") if file.is_file()]
    newest = max((found.st_mtime_ns for found in stats), default=path.stat().st_mtime_ns)
    return f"{len(stats)}-{sum(found.st_size for found in stats)}-{newest}"
