"""The request to run a recipe over many images, and what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from napari_unet.jobs.image_lists import BatchImage
from napari_unet.jobs.recipes import Recipe
from napari_unet.networks.spec import Config


class ImagePlace(Config):
    """An image of many, and the folder for its results, relative to that of all results."""

    path: str
    folder: str = ""

    @classmethod
    def of(cls, image: BatchImage) -> ImagePlace:
        """Name an image that was found."""
        return cls(path=str(image.path), folder=image.folder.as_posix())

    @property
    def image(self) -> BatchImage:
        """The image that is named."""
        return BatchImage(Path(self.path), Path(self.folder))


class BatchRequest(Config):
    """Run a recipe over images, one after the other; what is done already is skipped.

    Attributes
    ----------
    recipe : Recipe
        A model that is not the one that it names is refused.
    images : tuple of ImagePlace
    folder : str
        For the results; made if it is missing.
    overwrite : bool
        Whether to do all images again and to replace files that exist.
    summary : bool
        Whether to write a page about all of them at the end.
    """

    kind: Literal["batch"] = "batch"
    recipe: Recipe
    images: tuple[ImagePlace, ...]
    folder: str
    overwrite: bool = False
    summary: bool = False


class BatchResult(Config):
    """How many images became what, and the page about them, if one was written."""

    kind: Literal["batch"] = "batch"
    done: int
    skipped: int
    failed: int
    summary: str = ""
