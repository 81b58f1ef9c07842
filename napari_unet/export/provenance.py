"""Where a file comes from: a small JSON file beside it names the model, the image and the settings.

Masks lie in folders for years, and their names are changed. What stands here is meant to answer then: which
weights made them, from which image, with which settings, and what their numbers mean.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from napari_unet.atomic import write_bytes
from napari_unet.errors import ImageError
from napari_unet.imaging.image import Image
from napari_unet.networks.spec import Config
from napari_unet.objects.config import ObjectOptions
from napari_unet.version import VERSION

if TYPE_CHECKING:
    from napari_unet.weights.model import Model

SUFFIX = ".json"


class ModelOrigin(Config):
    """Which model was used.

    Attributes
    ----------
    name : str
        For people.
    source : str
        The file, or the name of a bundled model, that it was loaded from.
    sha256 : str
        Of its weights, see `Model.sha256`: the same for the same numbers, in whatever file.
    classes : tuple of str
        One name an output channel.
    """

    name: str
    source: str = ""
    sha256: str = ""
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: Model, source: str = "") -> ModelOrigin:
        """Describe a model; its weights are hashed, which takes a moment."""
        return cls(name=model.spec.name, source=source, sha256=model.sha256, classes=model.spec.classes)


class ImageOrigin(Config):
    """Which image was segmented.

    Attributes
    ----------
    name : str
    path : str
        Where it lay; empty if it was in memory only.
    axes : str
        One letter a dimension.
    shape : tuple of int
        In pixels, along `axes`.
    pixel_size_um : tuple of (float or None)
        Along Z, Y and X; None where it is not known.
    """

    name: str
    path: str = ""
    axes: str = ""
    shape: tuple[int, ...] = ()
    pixel_size_um: tuple[float | None, float | None, float | None] = (None, None, None)

    @classmethod
    def of(cls, image: Image, path: str = "") -> ImageOrigin:
        """Describe an image."""
        size = image.pixel_size
        return cls(
            name=image.name,
            path=path,
            axes=image.axes,
            shape=tuple(int(n) for n in image.array.shape),
            pixel_size_um=(size.z_um, size.y_um, size.x_um),
        )


class Provenance(Config):
    """Where a file comes from.

    Attributes
    ----------
    file : str
        Which file this is about; filled by `write_sidecar`.
    values : str
        What its numbers are, in a sentence; filled by `write_sidecar`.
    version : str
        Of napari-unet.
    created : str
        When the labels were made: ISO 8601 in UTC.
    model : ModelOrigin, optional
        None where nobody knows, or no model was used.
    image : ImageOrigin, optional
    inference : dict
        Settings of the prediction, as `InferenceConfig` writes them.
    objects : ObjectOptions, optional
        How probabilities became labels.
    corrected : bool
        Whether somebody has edited the labels since.
    """

    file: str = ""
    values: str = ""
    version: str = ""
    created: str = ""
    model: ModelOrigin | None = None
    image: ImageOrigin | None = None
    inference: dict[str, Any] = Field(default_factory=dict)
    objects: ObjectOptions | None = None
    corrected: bool = False


def provenance_now(**known: Any) -> Provenance:  # noqa: ANN401  # checked by the config
    """Make a provenance with the version and the time of now; see `Provenance` for what else may be known."""
    return Provenance(version=VERSION, created=now(), **known)


def now() -> str:
    """Return the time in UTC to the second, as ISO 8601 writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def sidecar_path(path: Path) -> Path:
    """Where what is known about a file is kept.

    The whole name is kept, so that `cells.tif` and `cells.csv` do not share one.

    >>> sidecar_path(Path("cells_masks.tif")).name
    'cells_masks.tif.json'
    """
    return path.with_name(path.name + SUFFIX)


def write_sidecar(path: Path, provenance: Provenance, values: str = "") -> Path:
    """Write what is known about a file beside it.

    Parameters
    ----------
    path : Path
        The file, or the folder of a Zarr store, that this is about; need not be there yet.
    provenance : Provenance
    values : str
        What the numbers in the file are, in a sentence; that of `provenance` by default.

    Returns
    -------
    Path
        `path` with ".json" added to its name.

    Raises
    ------
    ExportError
        If it cannot be written; what stood there is unchanged.
    """
    named = provenance.model_copy(update={"file": path.name, "values": values or provenance.values})
    return write_bytes(sidecar_path(path), (named.model_dump_json(indent=2) + "\n").encode())


def read_sidecar(path: Path) -> Provenance | None:
    """Read what is known about a file; None if nothing lies beside it.

    Raises
    ------
    ImageError
        If what lies there is no such description.
    """
    beside = sidecar_path(path)
    try:
        return Provenance.model_validate_json(beside.read_bytes()) if beside.is_file() else None
    except (OSError, ValidationError) as error:
        raise ImageError(
            f'"{beside.name}" does not say where "{path.name}" comes from: it cannot be read, or another program wrote '
            "it. Move it away."
        ) from error
