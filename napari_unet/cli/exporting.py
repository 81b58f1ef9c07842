"""``napari-unet export``: labels from any program as files for any program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import typer

from napari_unet.axes import PixelSize, without
from napari_unet.cli.showing import run_shown
from napari_unet.errors import ExportError
from napari_unet.export.formats import write_output_events
from napari_unet.export.outputs import ENDINGS, OUTPUTS, VALUES, ExportOptions, Output, Result, file_names
from napari_unet.export.provenance import read_sidecar, write_sidecar
from napari_unet.export.targets import check_place, check_targets, make_folder
from napari_unet.imaging.image import Image, to_canonical
from napari_unet.imaging.reading import image_name, read_image, read_labels

# What a file is meant to be, by its suffix; .tif may be meant otherwise.
_KINDS: dict[str, Output] = {
    ".tif": "masks",
    ".tiff": "masks",
    ".csv": "table",
    ".parquet": "parquet",
    ".zip": "rois",
    ".geojson": "geojson",
    ".json": "geojson",
    ".png": "overlay",
    ".zarr": "zarr",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """What is exported, and where to.

    Attributes
    ----------
    labels : Path
        Labels in any format that can be read.
    out : Path
        A file, or a folder for several.
    image : Path, optional
        That the labels belong to.
    table : Path, optional
        For the table of the objects.
    axes : str, optional
        Of the labels, and of the image but for C; by default what the files say.
    pixel_size : PixelSize, optional
        By default that of the labels, or of the image.
    classes : tuple of str
        Names of the classes 1, 2 and so on; empty for objects.
    """

    labels: Path
    out: Path
    image: Path | None = None
    table: Path | None = None
    axes: str | None = None
    pixel_size: PixelSize | None = None
    classes: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[Path]:
        """What is read."""
        return [self.labels] if self.image is None else [self.labels, self.image]

    def result(self) -> Result:
        """Read the labels, and open the image.

        Raises
        ------
        NapariUnetError
            If they cannot be read, or do not belong together.
        """
        image = None if self.image is None else read_image(self.image)
        shape = None if image is None else tuple(image.array.shape)
        labels = read_labels(self.labels, self.axes if image is None else self.axes or image.axes, shape)
        size = self.pixel_size or (labels.pixel_size if labels.pixel_size.known or image is None else image.pixel_size)
        if image is not None:
            image = replace(image, pixel_size=size)
        return Result(
            labels=_stack(labels),
            axes=without(labels.axes, "C"),
            pixel_size=size,
            name=labels.name if image is None else image.name,
            image=image,
            meaning="semantic" if self.classes else "instances",
            classes=self.classes,
            provenance=read_sidecar(self.labels),
        )


def export_labels(what: Exported, options: ExportOptions | None, *, overwrite: bool = False) -> None:
    """Write labels in other formats.

    Parameters
    ----------
    what : Exported
    options : ExportOptions, optional
        By default the suffix of `what.out` says what to write; masks, if it is a folder.
    overwrite : bool
        Whether files that exist are replaced.

    Raises
    ------
    NapariUnetError
        If the labels cannot be read, or a file cannot be written or exists and is not to be overwritten.
    """
    kind = _KINDS.get(what.out.suffix.lower())
    options = options or ExportOptions(outputs=(kind or "masks",))
    places = _places(what, options)
    check_targets(places.values(), what.inputs)
    for place in places.values():
        check_place(place, overwrite=overwrite)
    result = what.result()
    for output in places:
        if obstacle := result.obstacle(output):
            raise ExportError(obstacle)
    for place in places.values():
        make_folder(place.parent)
    for output, place in places.items():
        run_shown(write_output_events(output, place, result, options), place.name)
        if result.provenance is not None and output in VALUES:
            write_sidecar(place, result.provenance, VALUES[output])
        typer.echo(f"{OUTPUTS[output]}: {place}")


def _places(what: Exported, options: ExportOptions) -> dict[Output, Path]:
    """Return where each file goes.

    Raises
    ------
    ExportError
        If two would go to one place.
    """
    kind, outputs = _KINDS.get(what.out.suffix.lower()), options.outputs
    if kind is None:
        stem = image_name(what.labels)
        places = {output: what.out / file for output, file in file_names(stem, options).items()}
    elif len(outputs) == 1 and (kind == outputs[0] or ENDINGS[outputs[0]].endswith(what.out.suffix.lower())):
        places = {outputs[0]: what.out}
    else:
        raise ExportError(
            f'"{what.out}" is the name of one file, and does not suit {", ".join(outputs)}. Give a folder, '
            "or another suffix."
        )
    if what.table is not None:
        if what.table.resolve() in {place.resolve() for place in places.values()}:
            raise ExportError(f'Two files would be written to "{what.table}". Choose another name for one.')
        places["table"] = what.table
    return places


def _stack(labels: Image) -> npt.NDArray[Any]:
    """Read labels as (T, Z, Y, X)."""
    stack: npt.NDArray[Any] = to_canonical(np.asarray(labels.array[...]), labels.axes)[:, 0]
    return stack
