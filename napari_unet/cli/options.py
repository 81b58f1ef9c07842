"""From what is typed after an option to what the compute rooms take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from napari_unet.axes import PixelSize
from napari_unet.errors import AlmostKnownError, NapariUnetError, UnansweredError
from napari_unet.export.outputs import OUTPUTS, ExportOptions
from napari_unet.inference.config import Diameter
from napari_unet.networks.spec import checked


def parse_channels(text: str | None) -> tuple[int, ...] | None:
    """Read channel numbers.

    >>> parse_channels("2,0")
    (2, 0)

    Raises
    ------
    NapariUnetError
        If they are no whole numbers.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise NapariUnetError(
            f'The channels "{text}" are no whole numbers. Give them as 1 or as 2,0, counted from 0.'
        ) from error


def parse_diameter(text: str | None) -> Diameter:
    """Read the diameter of objects in pixels, or "auto".

    >>> parse_diameter("22.5"), parse_diameter("auto")
    (22.5, 'auto')

    Raises
    ------
    NapariUnetError
        If it is neither.
    """
    if text is None:
        return None
    if text == "auto":
        return "auto"
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise NapariUnetError(f'The diameter "{text}" is neither a positive number of pixels nor "auto".')
    return number


def parse_names(text: str | None) -> tuple[str, ...] | None:
    """Read names that are separated by commas.

    >>> parse_names("background, cell")
    ('background', 'cell')
    """
    return None if text is None else tuple(part.strip() for part in text.split(","))


def parse_answers(texts: Sequence[str] | None) -> dict[str, Any]:
    """Read answers to what a weights file leaves open: keywords of `load_model`.

    >>> parse_answers(["join=crop", "align_corners=true", "recurrences=2", "classes=background,cell"])
    {'join': 'crop', 'align_corners': True, 'recurrences': 2, 'classes': ('background', 'cell')}

    Raises
    ------
    NapariUnetError
        If one is not KEYWORD=VALUE.
    """
    answers: dict[str, Any] = {}
    for text in texts or ():
        keyword, is_there, value = (part.strip() for part in text.partition("="))
        if not (keyword.isidentifier() and is_there and value):
            raise NapariUnetError(f'The answer "{text}" is not KEYWORD=VALUE, such as join=crop.')
        answers[keyword] = tuple(parse_names(value) or ()) if keyword == "classes" else _value(value)
    return answers


def _value(text: str) -> bool | int | str:
    """Read one value: true and false, whole numbers, anything else as it is."""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    return int(text) if text.removeprefix("-").isdecimal() else text


def parse_outputs(
    texts: Iterable[str] | None, *, probability_type: str = "float32", zarr_version: str = "0.5", sidecar: bool = True
) -> ExportOptions:
    """Read what is to be written: names, separated by commas or given one by one; masks by default.

    >>> parse_outputs(["masks,table", "rois"]).outputs
    ('masks', 'table', 'rois')

    Raises
    ------
    NapariUnetError
        If there is no such output.
    """
    names = [name.strip() for text in texts or ("masks",) for name in text.split(",")]
    for name in names:
        if name not in OUTPUTS:
            raise NapariUnetError(f'"{name}" cannot be written. Choose among {", ".join(OUTPUTS)}.')
    return checked(
        ExportOptions,
        outputs=tuple(names),
        probability_type=probability_type,
        zarr_version=zarr_version,
        sidecar=sidecar,
    )


def how_to_answer(error: NapariUnetError) -> str:
    """Say how what an error asks for is given on the command line; empty if it asks for nothing."""
    if isinstance(error, AlmostKnownError):
        return " Here: --answer partial=true."
    if isinstance(error, UnansweredError):
        first = [f"--answer {question.keyword}={next(iter(question.values))}" for question in error.questions]
        return f" Here, for example: {' '.join(first)}"
    return ""


def parse_pixel_size(text: str | None) -> PixelSize | None:
    """Read a pixel size in µm: one number for Y and X, or Z,Y,X.

    >>> parse_pixel_size("2,0.5,0.4")
    PixelSize(z_um=2.0, y_um=0.5, x_um=0.4)
    >>> parse_pixel_size("0.5")
    PixelSize(z_um=None, y_um=0.5, x_um=0.5)

    Raises
    ------
    NapariUnetError
        If it is anything else.
    """
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in {1, 3} or not all(0 < number < float("inf") for number in numbers):
        raise NapariUnetError(f'The pixel size "{text}" is not one positive number of µm, nor Z,Y,X such as 2,0.5,0.5.')
    if len(numbers) == 1:
        return PixelSize(None, numbers[0], numbers[0])
    return PixelSize(*numbers)
