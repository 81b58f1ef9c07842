"""What can go wrong, in words for the person in front of the screen.

Every message says what was found, what was expected and what to do. None of these derives from
``RuntimeError``: Qt generator workers swallow those, and torch's out-of-memory error is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class NapariUnetError(Exception):
    """Anything that the user can understand and act on."""


class AxesError(NapariUnetError):
    """An axes string that does not describe the array."""


class ImageError(NapariUnetError):
    """An image that cannot be read or used."""


class SeveralImagesError(ImageError):
    """A file or folder with several images, of which none can be taken for the one that is meant."""


class ChannelError(ImageError):
    """The channels of the image do not fit what the model expects."""


class LabelsError(NapariUnetError):
    """Labels or a reviewed region that cannot be trained on, measured or exported."""


class SessionError(NapariUnetError):
    """A project folder that cannot be used, or only read."""


class ModelError(NapariUnetError):
    """A model, weights file or network description that cannot be used."""


class UnansweredError(ModelError):
    """A weights file that leaves open what its author's code does.

    Parameters
    ----------
    message : str
    questions : sequence of Question
        With a `keyword` of `load_model` and its possible `values`.
    """

    def __init__(self, message: str, questions: Sequence[Any]) -> None:
        super().__init__(message)
        self.questions = tuple(questions)

    def __reduce__(self) -> tuple[type[UnansweredError], tuple[str, tuple[Any, ...]]]:
        """Errors cross from the background process."""
        return type(self), (str(self), self.questions)


class AlmostKnownError(ModelError):
    """A weights file that is almost one of a known network.

    Parameters
    ----------
    finding : str
        What it almost is, and what differs. The message adds what to do.
    """

    def __init__(self, finding: str) -> None:
        super().__init__(f"{finding} Pass partial=True to load what fits; what is missing gets random weights.")
        self.finding = finding

    def __reduce__(self) -> tuple[type[AlmostKnownError], tuple[str]]:
        """Errors cross from the background process."""
        return type(self), (self.finding,)


class DeviceError(NapariUnetError):
    """The requested device does not exist or has too little memory."""


class FastModeError(NapariUnetError):
    """The fast mode cannot be had: a package is missing, or the network or the device does not suit it."""


class ExportError(NapariUnetError):
    """A file that could not be written; whatever stood in its place is unchanged."""


class JobError(NapariUnetError):
    """The background process ended before its job did."""


class Cancelled(Exception):  # noqa: N818  # not an error: the user asked for it
    """Thrown into a running generator at its next event; a fit answers with its best so far."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the processor or on a GPU; torch says it in several ways."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (text in _OF_ONEDNN or any(words in text for words in _OUT_OF_MEMORY))


# PyTorch, then the C++ library, then cuDNN and cuBLAS, which find no algorithm when none gets the memory it needs.
_OUT_OF_MEMORY = (
    "out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "bad allocation", "alloc_failed",
    "find a valid cudnn algorithm", "unable to find an engine",
)  # fmt: skip
# All that oneDNN says when it cannot even get the memory for its code, or for what it computes with.
_OF_ONEDNN = {"could not create a primitive", "could not create a memory object", "could not execute a primitive"}
