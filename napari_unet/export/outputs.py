"""All files that one segmented image can leave: what they are called, and writing them together.

They are written into a folder beside their places and moved there when all of them are complete: whoever looks finds
either what was there before or all that is new.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from napari_unet.atomic import PREFIX, sync_folder
from napari_unet.axes import PixelSize
from napari_unet.errors import ExportError
from napari_unet.events import Event, Notice, Progress
from napari_unet.export.provenance import Provenance, write_sidecar
from napari_unet.imaging.image import ArrayLike, Image
from napari_unet.networks.spec import Config

Output = Literal[
    "masks", "binary", "classes", "probabilities", "zarr", "table", "parquet", "rois", "geojson", "overlay"
]  # fmt: skip

OUTPUTS: dict[Output, str] = {
    "masks": "Masks as TIFF: a number for each object or class",
    "binary": "Foreground as TIFF: 255 where there is anything",
    "classes": "A mask for each class, as the channels of one TIFF",
    "probabilities": "Probability maps as TIFF",
    "zarr": "Image and masks as OME-Zarr",
    "table": "Table of the objects as CSV",
    "parquet": "Table of the objects as Parquet",
    "rois": "Outlines for Fiji, a ROI zip",
    "geojson": "Outlines for QuPath, as GeoJSON",
    "overlay": "A picture with outlines, as PNG",
}
"""What there is to write, in the order in which it is written."""

ENDINGS: dict[Output, str] = {
    "masks": "_masks.tif",
    "binary": "_binary.tif",
    "classes": "_classes.tif",
    "probabilities": "_probabilities.tif",
    "zarr": "_masks.ome.zarr",
    "table": "_objects.csv",
    "parquet": "_objects.parquet",
    "rois": "_rois.zip",
    "geojson": "_objects.geojson",
    "overlay": "_overlay.png",
}
"""What is put after the name of the image."""

VALUES: dict[Output, str] = {
    "masks": "0 is background; every other number is an object, or a class where the model finds classes.",
    "binary": "255 is foreground, 0 is background.",
    "classes": "One channel for each class: 255 where it is, 0 elsewhere.",
    "probabilities": "One channel for each class: its probability, 1 (in bytes 255) where it is certain.",
    "zarr": "Numbers under labels: 0 is background, every other one is an object or a class.",
}
"""What the numbers of an image mean, for its side-car."""

assert set(OUTPUTS) == set(ENDINGS) == set(get_args(Output))


class ExportOptions(Config):
    """What to write for an image.

    Attributes
    ----------
    outputs : tuple of Output
        Each once; kept in the order in which they are written.
    probability_type : "float32" | "uint8"
        Of probability maps; 255 means 1 in bytes.
    zarr_version : "0.4" | "0.5"
        Of OME-Zarr.
    sidecar : bool
        Whether a JSON file beside each image that is written says which model, settings and version made it.
    """

    outputs: tuple[Output, ...] = Field(default=("masks",), min_length=1)
    probability_type: Literal["float32", "uint8"] = "float32"
    zarr_version: Literal["0.4", "0.5"] = "0.5"
    sidecar: bool = True

    @field_validator("outputs")
    @classmethod
    def _each_once(cls, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
        return tuple(output for output in OUTPUTS if output in outputs)


@dataclass(frozen=True, slots=True)
class Result:
    """What there is to write about one image.

    Attributes
    ----------
    labels : (T, Z, Y, X) integers
        Sliced only where they are written.
    axes : str
        Of the label image: those of the image without C, in its own order.
    pixel_size : PixelSize
    name : str
        Of the image, for people.
    image : Image, optional
        For intensities and pictures.
    probabilities : (K, T, Z, Y, X) float32 or uint8, optional
        255 means 1 in bytes.
    meaning : "instances" | "semantic"
        What the numbers of the labels are.
    classes : tuple of str
        Names of the classes 1, 2 and so on of semantic labels.
    channels : tuple of str
        Names of the probability maps.
    provenance : Provenance, optional
        Which model, settings and version made it; None where nobody knows.
    """

    labels: ArrayLike
    axes: str
    pixel_size: PixelSize = field(default_factory=PixelSize)
    name: str = "image"
    image: Image | None = None
    probabilities: ArrayLike | None = None
    meaning: Literal["instances", "semantic"] = "instances"
    classes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    provenance: Provenance | None = None

    def planes(self) -> Iterator[npt.NDArray[Any]]:
        """Give the labels of each plane (Y, X)."""
        for t, z in np.ndindex(*self.labels.shape[:2]):
            yield np.asarray(self.labels[t, z])

    def obstacle(self, output: Output) -> str:
        """Say in a sentence why something cannot be written; empty if it can."""
        if output == "probabilities" and self.probabilities is None:
            return f'The probabilities of "{self.name}" are not there. Segment the image again to write them.'
        if output == "overlay" and self.image is None:
            return f'A picture needs the image that the labels of "{self.name}" belong to. Give it, too.'
        return general_obstacle(output, self.meaning)


def general_obstacle(output: Output, meaning: Literal["instances", "semantic"]) -> str:
    """Say in a sentence why something can be written of no image here; empty if it can.

    Parameters
    ----------
    output : Output
    meaning : "instances" | "semantic"
        What the numbers of the labels are.
    """
    if output == "classes" and meaning != "semantic":
        return "The labels are numbers of objects, and a mask for each class needs labels that are classes."
    if output == "parquet" and find_spec("pyarrow") is None:
        return 'Parquet needs the package pyarrow. Install it with: pip install "napari-unet[parquet]"'
    return ""


def file_names(stem: str, options: ExportOptions) -> dict[Output, Path]:
    """Return the files of the image that is called `stem`, relative to their folder.

    >>> file_names("cells", ExportOptions(outputs=("table", "masks")))["table"].name
    'cells_objects.csv'
    """
    return {output: Path(f"{stem}{ENDINGS[output]}") for output in options.outputs}


def write_outputs_events(
    folder: Path, stem: str, result: Result, options: ExportOptions | None = None
) -> Generator[Event, None, tuple[Path, ...]]:
    """Write the files of one image, all or none; files of these names are replaced.

    Parameters
    ----------
    folder : Path
        That exists.
    stem : str
        Of the names, see `file_names`.
    result : Result
    options : ExportOptions, optional

    Returns
    -------
    tuple of Path
        In the order of `options.outputs`, without side-cars. Outlines are left out, with a `Notice`, where there are no
        objects.

    Raises
    ------
    ExportError
        If something cannot be written; what stood there is unchanged.
    """
    from napari_unet.export.formats import write_output_events
    from napari_unet.export.ome_zarr import check_place

    options = options or ExportOptions()
    for output in options.outputs:
        if obstacle := result.obstacle(output):
            raise ExportError(obstacle)
    files = yield from _files_to_write(stem, result, options)
    if "zarr" in files:
        check_place(folder / files["zarr"])
    with _staging(folder, stem) as staged:
        for number, (output, file) in enumerate(files.items()):
            yield Progress(f"Writing {file.name}", number, len(files))
            yield from write_output_events(output, staged / file, result, options)
            if options.sidecar and result.provenance is not None and output in VALUES:
                write_sidecar(staged / file, result.provenance, VALUES[output])
        yield Progress("Putting the results in place", len(files), len(files))
        _move_in(staged, folder)
        for file in set(file_names(stem, options).values()) - set(files.values()):
            (folder / file).unlink(missing_ok=True)  # of a former result
    return tuple(folder / file for file in files.values())


def _files_to_write(stem: str, result: Result, options: ExportOptions) -> Generator[Event, None, dict[Output, Path]]:
    """Leave out outlines where there is nothing to outline."""
    files = file_names(stem, options)
    outlines = [output for output in ("rois", "geojson") if output in files]
    if outlines and not any(plane.any() for plane in result.planes()):
        names = " and ".join(f'"{files.pop(output)}"' for output in outlines)
        yield Notice(f'Nothing was found in "{result.name}", so there is nothing to outline: {names} was left out.')
    return files


# --- all or none --------------------------------------------------------------------------------


@contextmanager
def _staging(folder: Path, stem: str) -> Iterator[Path]:
    """Give a folder to write to; what a process that was killed has left in it goes first."""
    staged = folder / f"{PREFIX}{stem}"
    try:
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
    except OSError as error:
        raise ExportError(
            f'Nothing can be written to the folder "{folder}" ({error.strerror}). Choose another one.'
        ) from error
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _move_in(staged: Path, folder: Path) -> None:
    """Move everything from one folder to another; a folder of a name that is there already is replaced whole."""
    for source in sorted(staged.iterdir()):
        target = folder / source.name
        try:
            if source.is_dir() and target.is_dir():
                former = staged / f"{PREFIX}former"
                target.replace(former)
                source.replace(target)
                shutil.rmtree(former, ignore_errors=True)
            else:
                source.replace(target)
        except OSError as error:
            raise ExportError(f'"{target}" cannot be replaced ({error.strerror}). Choose another folder.') from error
    with contextlib.suppress(OSError):
        sync_folder(folder)
