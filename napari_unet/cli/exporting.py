"""``napari-unet export``: a label image as our mask TIFF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer

from napari_unet.axes import PixelSize, without
from napari_unet.errors import ExportError
from napari_unet.export.table import save_table
from napari_unet.export.targets import check_free, check_targets
from napari_unet.export.tiff import save_masks
from napari_unet.imaging.image import from_canonical, to_canonical
from napari_unet.imaging.reading import read_labels
from napari_unet.objects.measuring import measure


def export_labels(
    source: Path,
    out: Path,
    table: Path | None = None,
    *,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    overwrite: bool = False,
) -> None:
    """Write labels as a mask TIFF and, if asked for, a table of their objects.

    Raises
    ------
    NapariUnetError
        If the labels cannot be read, or a file cannot be written or exists and is not to be overwritten.
    """
    _check(source, out, table, overwrite=overwrite)
    labels = read_labels(source, axes)
    size = labels.pixel_size if pixel_size is None else pixel_size
    kept = without(labels.axes, "C")
    canonical = to_canonical(np.asarray(labels.array[...]), labels.axes)
    values = from_canonical(canonical, kept)
    save_masks(out, values, axes=kept, pixel_size=size)
    typer.echo(f"{len(np.setdiff1d(values, 0))} objects written to {out}")
    if table is not None:
        save_table(table, measure(canonical[:, 0], size))
        typer.echo(f"Table of objects written to {table}")


def _check(source: Path, out: Path, table: Path | None, *, overwrite: bool) -> None:
    targets = [out] if table is None else [out, table]
    if table is not None and table.resolve() == out.resolve():
        raise ExportError(f'Both the masks and the table would be written to "{out}". Choose another name for one.')
    check_targets(targets, [source])
    for target in targets:
        check_free(target, overwrite=overwrite)
