"""How requests name arrays, images and models; re-exported by `requests`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_unet.networks.spec import Config
from napari_unet.weights.spec import ModelSpec

Region = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]


class ArrayRef(Config):
    """An array in a file.

    Attributes
    ----------
    path : str
        Raw C-ordered values, or a Zarr store.
    kind : "raw" | "zarr"
    dtype : str
        numpy name, byte order included.
    shape : tuple of int
    offset : int
        Bytes before the first value of a raw file.
    component : str
        Path of the array inside a Zarr store.
    """

    path: str
    kind: Literal["raw", "zarr"] = "raw"
    dtype: str
    shape: tuple[int, ...]
    offset: int = 0
    component: str = ""


class ImageRef(Config):
    """An image in a file; `pixel_size_um` is Z, Y, X."""

    array: ArrayRef
    axes: str
    pixel_size_um: tuple[float | None, float | None, float | None] = (None, None, None)
    name: str = "image"


AnswerValue = bool | int | float | str | tuple[str, ...]
Answers = dict[str, AnswerValue]


class ModelRef(Config):
    """A bundled name or a file (`source`), or a new network with random weights (`untrained`).

    `answers` are keywords of `load_model`, for files that have to be asked about.
    """

    source: str | None = None
    answers: Answers = Field(default_factory=dict)
    untrained: ModelSpec | None = None
