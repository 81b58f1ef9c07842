"""``napari-unet share``: a model as a file for somebody else."""

from __future__ import annotations

from pathlib import Path

import typer

from napari_unet.cli.segmenting import Source
from napari_unet.cli.showing import run_shown
from napari_unet.errors import ExportError
from napari_unet.export.sharing import SUFFIXES, Shared, ShareOptions, share_events
from napari_unet.export.targets import check_free, check_targets
from napari_unet.imaging.reading import read_image
from napari_unet.networks.spec import Config
from napari_unet.weights.bundled import resolve


class Picture(Config):
    """The image from which a package takes its test image.

    Attributes
    ----------
    path : Path
    axes : str, optional
    channels : tuple of int, optional
        Which channels feed the model.
    """

    path: Path
    axes: str | None = None
    channels: tuple[int, ...] | None = None


def share_model(
    source: Source, out: Path, options: ShareOptions, picture: Picture | None = None, *, overwrite: bool = False
) -> Shared:
    """Write a model to a file that other people or programs can use.

    Parameters
    ----------
    source : Source
        The model.
    out : Path
    options : ShareOptions
    picture : Picture, optional
        Of a package.
    overwrite : bool
        Whether a file at `out` may be replaced.

    Raises
    ------
    NapariUnetError
        If the model or the image cannot be opened, or the file cannot be written.
    """
    suffix = SUFFIXES[options.format]
    if out.suffix.lower() != suffix:
        raise ExportError(f'"{out.name}" does not end in {suffix}, as such a file should. Choose another name.')
    check_targets([out], [resolve(source.name), *([picture.path] if picture else [])])
    check_free(out, overwrite=overwrite)
    shown = None
    if picture is not None:
        from napari_unet.export.package.writing import Shown

        shown = Shown(read_image(picture.path, picture.axes), picture.channels)
    shared = run_shown(share_events(out, source.load(), options, shown), "Sharing")
    typer.echo(f"{shared.path} written.")
    for note in shared.notes:
        typer.echo(f"  {note}")
    return shared
