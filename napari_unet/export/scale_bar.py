"""A bar of a round length, so that sizes can be read off a picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

_ROUND = (1.0, 2.0, 5.0, 10.0)
_SHARE = 0.25
"""Of the width of the picture that the bar may take."""
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def round_length(longest_um: float) -> tuple[float, str]:
    """Return the longest length of 1, 2 or 5 times a power of ten that is not longer, and its name.

    >>> round_length(34.0), round_length(0.7), round_length(2600.0)
    ((20.0, '20 µm'), (0.5, '500 nm'), (2000.0, '2 mm'))
    """
    power = 10.0 ** math.floor(math.log10(longest_um))
    # a tenth of a percent more, since powers of ten are rounded
    length = max(digit * power for digit in _ROUND if digit * power <= longest_um * 1.001)
    for unit, um in (("mm", 1000.0), ("µm", 1.0), ("nm", 0.001)):
        if length >= um * 0.999:
            return length, f"{length / um:g} {unit}"
    return length, f"{length / 0.001:g} nm"


def draw_scale_bar(picture: npt.NDArray[np.uint8], pixel_um: float) -> bool:
    """Draw a scale bar with its length into the lower right corner.

    Parameters
    ----------
    picture : (Y, X, 3) uint8
        Is drawn on.
    pixel_um : float
        Width of one of its pixels.

    Returns
    -------
    bool
        Whether there was room for it.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = picture.shape[:2]
    length_um, name = round_length(_SHARE * width * pixel_um)
    length = max(1, round(length_um / pixel_um))
    size = max(13, min(height, width) // 28)
    font: Any = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(_drawable(name))
    text_width, text_height = right - left, bottom - top
    thick, margin = max(2, size // 4), max(4, size // 2)
    wide = max(length, text_width) + 2 * margin
    tall = text_height + thick + 3 * margin
    if wide > width or tall > height:
        return False
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    middle, bar_top = width - wide / 2, height - margin - thick
    bar = (round(middle - length / 2), bar_top, round(middle - length / 2) + length - 1, bar_top + thick - 1)
    draw.rectangle((bar[0] - 1, bar[1] - 1, bar[2] + 1, bar[3] + 1), fill=_BLACK)
    draw.rectangle(bar, fill=_WHITE)
    at = (middle - text_width / 2 - left, bar_top - margin - text_height - top)
    _write(draw, at, name, font)
    picture[:] = np.asarray(canvas)
    return True


def _drawable(name: str) -> str:
    """Return a text in the letters of the font that comes with Pillow, which has no µ."""
    return name.replace("µ", "u")


def _write(draw: Any, at: tuple[float, float], name: str, font: Any) -> None:  # noqa: ANN401
    """Write white letters with black edges; a µ is a u with a longer stem."""
    edge = max(1, font.size // 12)
    stems = []
    if "µ" in name:
        before = at[0] + font.getlength(name.partition("µ")[0])
        left, top, right, bottom = font.getbbox("u")
        thick = max(1, round((right - left) / 6))
        foot = at[1] + bottom + (bottom - top) // 3
        stems = [(round(before + left), at[1] + (top + bottom) / 2, round(before + left) + thick - 1, foot)]
    for stem in stems:
        draw.rectangle((stem[0] - edge, stem[1], stem[2] + edge, stem[3] + edge), fill=_BLACK)
    draw.text(at, _drawable(name), font=font, fill=_WHITE, stroke_width=edge, stroke_fill=_BLACK)
    for stem in stems:
        draw.rectangle(stem, fill=_WHITE)
