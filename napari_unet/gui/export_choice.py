"""What the step Export writes: chosen once, and remembered from session to session."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from napari_unet.atomic import write_bytes
from napari_unet.errors import ExportError
from napari_unet.export.outputs import OUTPUTS, ExportOptions, Output
from napari_unet.networks.spec import Config
from napari_unet.weights.bundled import own_folder

Kind = Output | Literal["summary"]

KINDS: dict[Kind, str] = {
    **{kind: says for kind, says in OUTPUTS.items()},  # noqa: C416  # a dict of outputs is none of kinds
    "summary": "A page for the browser: picture, counts, sizes and settings (HTML)",
}
"""What can be ticked, in the order in which it is written."""
SUMMARY_ENDING = "_summary.html"


class ExportChoice(Config):
    """What is written, how, and where.

    Attributes
    ----------
    kinds : tuple of Kind
        May be none at all.
    probability_type : "float32" | "uint8"
    zarr_version : "0.4" | "0.5"
    sidecar : bool
    folder : str
        Where files were written last; empty if that was never.
    """

    kinds: tuple[Kind, ...] = ("masks", "table")
    probability_type: Literal["float32", "uint8"] = "float32"
    zarr_version: Literal["0.4", "0.5"] = "0.5"
    sidecar: bool = True
    folder: str = ""

    def with_kind(self, kind: Kind, on: bool) -> ExportChoice:
        """Return it with one more kind of file, or without it."""
        wanted = {*self.kinds, kind} if on else {*self.kinds} - {kind}
        return self.model_copy(update={"kinds": tuple(one for one in KINDS if one in wanted)})

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The kinds of files that are about one image."""
        return tuple(output for output in OUTPUTS if output in self.kinds)

    def options(self, outputs: Sequence[Output]) -> ExportOptions:
        """Return how to write some of them; at least one."""
        return ExportOptions(
            outputs=tuple(outputs),
            probability_type=self.probability_type,
            zarr_version=self.zarr_version,
            sidecar=self.sidecar,
        )


class Exported(Config):
    """What was written last.

    Attributes
    ----------
    folder : str
    names : tuple of str
        Of the files.
    warning : str
        Which program will not open them as they are; empty where all do.
    """

    folder: str
    names: tuple[str, ...]
    warning: str = ""


def recall_choice() -> ExportChoice:
    """Read what was chosen last; the defaults where that was never written, or is damaged."""
    try:
        return ExportChoice.model_validate_json(_file().read_bytes())
    except (OSError, ValidationError):
        return ExportChoice()


def remember_choice(choice: ExportChoice) -> None:
    """Write it down. Where that is impossible, it only lasts as long as the session."""
    with contextlib.suppress(OSError, ExportError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_bytes(_file(), choice.model_dump_json(indent=1).encode())


def _file() -> Path:
    return own_folder().parent / "export.json"
