"""What opening a weights file found out. Importing this does not import torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from napari_unet.networks.spec import Config

SHOWN = 5


class LoadReport(Config):
    """What was recognised in a weights file, and what became of each tensor.

    Attributes
    ----------
    file, format : str
        Name of the file and what kind it is.
    family, url, why : str
        Whose network it is, where its code is, and what told it.
    network : str
        The network in a few words.
    activation : str
        What turns its logits into probabilities, and why that.
    answers : dict
        What was asked and answered, by keyword.
    used : int
        Tensors that were taken from the file.
    missing, left_over, misfit : tuple of str
        Tensors that the file lacks, that nothing needs, and whose shapes do not fit.
    unused : int
        Tensors that only training needs.
    made : tuple of str
        Tensors with random weights.
    notes : tuple of str
        Whatever else is worth knowing, in sentences.
    """

    file: str
    format: str
    family: str = ""
    url: str = ""
    why: str = ""
    network: str = ""
    activation: str = ""
    answers: dict[str, Any] = Field(default_factory=dict)
    used: int = 0
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    misfit: tuple[str, ...] = ()
    unused: int = 0
    made: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every tensor found its place."""
        return not (self.missing or self.left_over or self.misfit)

    def rows(self) -> dict[str, str]:
        """Headings and texts for people."""
        answers = ", ".join(f"{keyword}={value!r}" for keyword, value in self.answers.items())
        tensors = f"{self.used} used"
        if self.unused:
            tensors += f", {self.unused} left out that only training needs"
        rows = {
            "File": f"{self.file} ({self.format})",
            "Recognised": f"{self.family}: {self.why}" if self.family else "",
            "Network": self.network,
            "Activation": self.activation,
            "Answers": answers,
            "Tensors": tensors,
            "Missing": some(self.missing),
            "Left over": some(self.left_over),
            "Do not fit": some(self.misfit),
            "Random weights": some(self.made),
            "Notes": " ".join(self.notes),
        }
        return {heading: text for heading, text in rows.items() if text}

    def __str__(self) -> str:
        """All rows, one a line."""
        return "\n".join(f"{heading}: {text}" for heading, text in self.rows().items())


def some(names: tuple[str, ...]) -> str:
    """Name the first few, and say how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
