"""What files of most U-Nets share: two convolutions a level, with or without normalization."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from napari_unet.imaging.config import Normalization
from napari_unet.weights.recognition.recognised import Mismatch, Question, Reading

# 0 to 255 (8 bit) or 0 to 65535 (16 bit) become 0 to 1.
OF_TYPE = Normalization(method="dtype")

ALIGN_CORNERS = Question(
    "align_corners",
    {
        True: "as in the author's code: the corner pixels stay where they are",
        False: "as in many copies of that code: the borders of the image stay where they are",
    },
    "How does bilinear up-sampling place its points?",
)

Block = tuple[str, ...]


def double(ours: str, theirs: str, *, norm: bool, skipped: int = 1) -> Iterator[tuple[str, str]]:
    """Pair the units of a block with a `Sequential` of twice convolution, [normalization,] and `skipped` more."""
    apart = 1 + norm + skipped
    for unit in range(2):
        yield f"{ours}.{unit}.conv", f"{theirs}.{unit * apart}"
        if norm:
            yield f"{ours}.{unit}.norm", f"{theirs}.{unit * apart + 1}"


def level_options(reading: Reading, blocks: Sequence[Block]) -> dict[str, Any]:
    """Read the options that say how wide the levels are, how many, and in how many dimensions.

    Parameters
    ----------
    reading : Reading
    blocks : sequence of tuple of str
        Modules of the file, one tuple a level from the top, whose tensors all begin with as many
        channels as the level has. The first module is a convolution.

    Raises
    ------
    Mismatch
        If there is no level or one has none of its modules.
    """
    if len(blocks) < 2:
        message = "there are too few levels"
        raise Mismatch(message)
    widths = tuple(level_width(reading, block) for block in blocks)
    options: dict[str, Any] = {"depth": len(widths) - 1, "dims": reading.dims(blocks[0][0])}
    if widths == tuple(widths[0] * 2**level for level in range(len(widths))):
        return options | {"width": widths[0]}
    return options | {"widths": widths}


def level_width(reading: Reading, modules: Block) -> int:
    """Return the channels that most of the modules have, so that a single wrong one can be named.

    Raises
    ------
    Mismatch
        If there are none.
    """
    shapes = [reading.shapes.get(f"{module}.weight") for module in modules]
    counts = Counter(shape[0] for shape in shapes if shape)
    if not counts:
        message = f'there is no "{modules[0]}.weight"'
        raise Mismatch(message)
    return counts.most_common(1)[0][0]


def sequential(theirs: str, *, norm: bool, skipped: int = 1) -> Block:
    """Name the modules of `double` in a file."""
    return tuple(name for _, name in double("", theirs, norm=norm, skipped=skipped))


def biased(reading: Reading, convolution: str) -> bool:
    """Whether a convolution has a bias."""
    return f"{convolution}.bias" in reading.shapes
