"""From what is typed after an option to what the compute rooms take."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from napari_unet.axes import PixelSize
from napari_unet.errors import NapariUnetError
from napari_unet.networks.spec import Config

Settings = TypeVar("Settings", bound=Config)


def checked(kind: type[Settings], **values: Any) -> Settings:  # noqa: ANN401
    """Make a config.

    Raises
    ------
    NapariUnetError
        If a value is not allowed.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(str(part) for part in fault["loc"])
        raise NapariUnetError(
            f"{fault['input']} is not allowed for {name}: {fault['msg']}. Choose another value."
        ) from error


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


def parse_names(text: str | None) -> tuple[str, ...] | None:
    """Read names that are separated by commas.

    >>> parse_names("background, cell")
    ('background', 'cell')
    """
    return None if text is None else tuple(part.strip() for part in text.split(","))


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
