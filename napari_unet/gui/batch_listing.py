"""Which images are meant, and which of them are done; for a thread."""

from __future__ import annotations

import contextlib
import glob
from pathlib import Path

from napari_unet.errors import ImageError, NapariUnetError
from napari_unet.export.outputs import ENDINGS, Output
from napari_unet.gui.batch_state import Batch, BatchRow
from napari_unet.imaging.zarrs import is_zarr, zarr_labels
from napari_unet.jobs.image_lists import BatchImage, find_images
from napari_unet.jobs.ledger import Ledger, image_stamp
from napari_unet.jobs.recipes import Recipe

_LABELS: tuple[Output, ...] = ("masks", "zarr", "geojson", "rois")
"""Results that hold the objects, the best first."""


def list_rows(batch: Batch, recipe: Recipe | None) -> tuple[BatchRow, ...]:
    """List the images that are meant, and tell which a recipe has been run over already.

    Parameters
    ----------
    batch : Batch
    recipe : Recipe, optional
        None where nobody knows yet: then what was done in any way counts as done.

    Raises
    ------
    NapariUnetError
        If there is no image, or the folder for the results cannot be read.
    """
    results = Path(batch.results)
    images = _images(batch, results)
    ledger = Ledger(results) if results.is_dir() and not batch.overwrite else None
    digest = None if recipe is None else recipe.digest()
    return tuple(_row(image, results, ledger, digest) for image in images)


def _images(batch: Batch, results: Path) -> tuple[BatchImage, ...]:
    if batch.files:
        return find_images(batch.files, results)
    below = batch.below and not is_zarr(Path(batch.folder))
    source = str(Path(glob.escape(batch.folder)) / "**" / "*") if below else batch.folder
    try:
        return find_images([source], results)
    except ImageError as error:
        where = "in it or below it" if batch.below else "directly in it"
        raise ImageError(
            f'"{batch.folder}" holds no image {where}: TIFF, PNG, JPEG, .npy or (OME-)Zarr. Choose another folder.'
        ) from error


def _row(image: BatchImage, results: Path, ledger: Ledger | None, digest: str | None) -> BatchRow:
    row = BatchRow(name=image.name, path=str(image.path), folder=image.folder.as_posix())
    entry = None if ledger is None else ledger.entry(image.name)
    if entry is None or digest not in {None, entry.recipe}:
        return row
    with contextlib.suppress(OSError):  # it is gone: its turn tells that
        if entry.image == image_stamp(image.path):
            files = tuple(str(results / file) for file in entry.files)
            done = {"status": "skipped", "objects": entry.objects, "files": files, "text": "It has been done before."}
            return row.model_copy(update=done)
    return row


def usual_results(batch: Batch) -> str:
    """Return a folder for the results: one beside the images."""
    if not batch.files and not batch.folder:
        return ""
    if batch.files:
        folders = {Path(file).parent for file in batch.files}
        return str((folders.pop() if len(folders) == 1 else Path(batch.files[0]).parent) / "results")
    folder = Path(batch.folder)
    return str((folder.parent if is_zarr(folder) else folder) / "results")


def labels_file(row: BatchRow) -> Path | None:
    """Return which of the results of an image holds its objects; None if none does."""
    for output in _LABELS:
        for file in map(Path, row.files):
            if file.name.endswith(ENDINGS[output]) and file.exists():
                return _labels_in(file) if output == "zarr" else file
    return None


def _labels_in(store: Path) -> Path | None:
    with contextlib.suppress(NapariUnetError, OSError, ValueError, KeyError):
        return next((store / "labels" / name for name in zarr_labels(store)), None)
    return None
