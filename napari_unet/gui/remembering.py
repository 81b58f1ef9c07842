"""What the list of models remembers from session to session: a small file beside the user's models."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pydantic import ValidationError

from napari_unet.atomic import write_bytes
from napari_unet.errors import ExportError
from napari_unet.networks.spec import Config
from napari_unet.weights.bundled import own_folder

MOST_RECENT = 12


class Memory(Config):
    """Files that were opened, the last one first, and a folder with weights of the user's."""

    recent: tuple[str, ...] = ()
    folder: str = ""

    def with_recent(self, path: str) -> Memory:
        """Return it with a file at the top."""
        others = tuple(one for one in self.recent if one != path)
        return self.model_copy(update={"recent": (path, *others)[:MOST_RECENT]})


def opened_folder() -> Path:
    """Folder of the model files that are made of other people's weights. It need not exist."""
    return own_folder().parent / "opened"


def recall() -> Memory:
    """Read what was remembered; nothing where that was never written, or is damaged."""
    try:
        return Memory.model_validate_json(_file().read_bytes())
    except (OSError, ValidationError):
        return Memory()


def remember(memory: Memory) -> None:
    """Write it down. Where that is impossible, it only lasts as long as the session."""
    with contextlib.suppress(OSError, ExportError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_bytes(_file(), memory.model_dump_json(indent=1).encode())


def _file() -> Path:
    return own_folder().parent / "browser.json"
