"""How a network is run over an image."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_unet.networks.spec import Config

Turns = Literal["none", "flips", "all"]
TURNS: dict[Turns, int] = {"none": 1, "flips": 4, "all": 8}
"""How many versions of an image are averaged."""

Diameter = float | Literal["auto"] | None
"""What a user may say of the diameter of the objects, in pixels; "auto" has it estimated first."""


class ComputeOptions(Config):
    """Settings of a prediction that have nothing to do with the image.

    Attributes
    ----------
    tile : int, optional
        Largest side of a piece in pixels; None chooses.
    device : str
        "auto", "cpu", "mps", "cuda" or "cuda:N".
    precision : "auto" | "float32" | "float16" | "bfloat16"
        Of the network's arithmetic; "auto" is float16 on CUDA and float32 elsewhere.
    turns : "none" | "flips" | "all"
        Average the probabilities of the image and of its flipped versions (4 in all), or of its flipped and turned
        ones (8 in all), in the plane. Often a little better, and 4 or 8 times the work.
    fast : bool
        On a CPU compute with integers of 8 bits, where what that changes, measured on the image, is little.
    """

    tile: int | None = Field(default=None, ge=1)
    device: str = "auto"
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    turns: Turns = "none"
    fast: bool = False


class InferenceConfig(ComputeOptions):
    """Settings of a prediction.

    Attributes
    ----------
    axes : str, optional
        Of the image; None means YX or ZYX.
    channels : tuple of int, optional
        Which channels of the image feed the model, in its order; None means all of them.
    diameter_px : float, optional
        Diameter of the objects in this image, in pixels. The image is rescaled so that they get
        the size that the model was trained on; None leaves it as it is.
    """

    axes: str | None = None
    channels: tuple[int, ...] | None = None
    diameter_px: float | None = Field(default=None, gt=0)


class Cost(Config):
    """What a network costs on an image.

    Attributes
    ----------
    parameters : int
    operations : float
        Multiplications and additions for the whole image, the overlap of the tiles included.
    memory_bytes : int
        Largest amount of memory that is in use at once while a tile is predicted: weights and features.
    seconds : float
        For the whole image, from one forward pass on this device.
    tiles : int
        Pieces, each of which is shown when it is done.
    device : str
    """

    parameters: int
    operations: float
    memory_bytes: int
    seconds: float
    tiles: int
    device: str


def describe_way(exact: bool, seam: float | None, *, fast: bool = False) -> str:
    """Say in a few words how the pieces of a prediction fit together.

    Parameters
    ----------
    exact : bool
        Whether it equals one forward pass over the whole image.
    seam : float, optional
        By how much windows that overlap differ on average, in probability.
    fast : bool
        Whether the fast mode was wanted.

    >>> describe_way(False, 0.004)
    'blended windows; they differ by 0.4 % on average where they overlap'
    """
    if exact:
        return "exact"
    if seam is None:
        return "8-bit integers" if fast else "in tiles that are not exact: seams are possible"
    return f"blended windows; they differ by {100 * seam:.1f} % on average where they overlap"
