"""The request to write a model as a file for somebody else, and its answer."""

from __future__ import annotations

from typing import Literal

from napari_unet.export.sharing import ShareOptions
from napari_unet.jobs.references import ImageRef, ModelRef
from napari_unet.networks.spec import Config


class ShareRequest(Config):
    """Write a model in one of the formats.

    Attributes
    ----------
    model : ModelRef
    path : str
        Of the file.
    options : ShareOptions
    image : ImageRef, optional
        Where a package takes its test image from; by default from an image that comes with this program.
    channels : tuple of int, optional
        Which channels of it feed the model.
    """

    kind: Literal["share"] = "share"
    model: ModelRef
    path: str
    options: ShareOptions = ShareOptions()
    image: ImageRef | None = None
    channels: tuple[int, ...] | None = None


class ShareResult(Config):
    """The file that was written, and in sentences what its user has to mind."""

    kind: Literal["share"] = "share"
    path: str
    notes: tuple[str, ...] = ()
