"""Images and labels as OME-Zarr: several resolutions, chunk by chunk, labels beside the image they belong to.

    cells.ome.zarr/ 0 1 2 …            the image, averaged from level to level
                    labels/ masks/ 0 1 2 …    its labels, every second pixel from level to level

A new store is written beside its place, read back twice, and moved in. Labels that are added to a store that is there
touch nothing of its image, and are named in it when they are complete.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_unet.atomic import replacing_folder
from napari_unet.errors import ExportError, LabelsError
from napari_unet.events import Event, finish
from napari_unet.export.ngff import MARK, Grid, Version, attributes
from napari_unet.export.zarr_groups import write_attributes, write_image_events, write_labels_events
from napari_unet.imaging.image import Image
from napari_unet.imaging.zarrs import is_zarr, read_zarr, zarr_attributes

LABELS = "labels"


def save_ome_zarr(
    path: str | os.PathLike[str],
    image: Image | None = None,
    labels: Mapping[str, Image] | None = None,
    *,
    classes: tuple[str, ...] = (),
    version: Version = "0.5",
) -> Path:
    """Save an image, its labels or both as an OME-Zarr store, read it back, and only then put it in place.

    Parameters
    ----------
    path : str or path-like
        Ends in ``.zarr``. A store of ours that is there is replaced.
    image : Image, optional
        Its axes are stored in the order TCZYX.
    labels : mapping of name to Image, optional
        Instance or semantic labels with the size of the image, in its group "labels". Without an image there may be
        one, and the store is that label image.
    classes : tuple of str
        Names of the labels 1, 2 and so on, if these are classes.
    version : "0.4" | "0.5"
        Of OME-Zarr; 0.4 is stored as Zarr 2, which older programs read, too.

    Returns
    -------
    Path

    Raises
    ------
    LabelsError
        If labels are no labels, or do not have the size of the image.
    ExportError
        If there is nothing to write, if something else lies at `path`, or if the store cannot be written or reads back
        differently; what stood there is unchanged.
    """
    return finish(save_ome_zarr_events(path, image, labels, classes=classes, version=version))


def save_ome_zarr_events(
    path: str | os.PathLike[str],
    image: Image | None = None,
    labels: Mapping[str, Image] | None = None,
    *,
    classes: tuple[str, ...] = (),
    version: Version = "0.5",
) -> Generator[Event, None, Path]:
    """Save a store as `save_ome_zarr` does, and tell how far it is."""
    path, labels = Path(path), dict(labels or {})
    check_place(path)
    _check_content(image, labels)
    with replacing_folder(path) as folder:
        if image is None:
            ((_, only),) = labels.items()
            yield from write_labels_events(folder, only, classes, version)
        else:
            yield from write_image_events(folder, image, version)
            grid = Grid.of(image).along("TZYX")
            for name, one in labels.items():
                yield from write_labels_events(folder / LABELS / name, one, classes, version, grid)
            if labels:
                write_attributes(folder / LABELS, attributes({LABELS: list(labels)}, version), version)
    return path


def add_labels(
    store: str | os.PathLike[str], name: str, labels: Image, *, classes: tuple[str, ...] = (), overwrite: bool = False
) -> Path:
    """Add labels to the OME-Zarr store of their image; the image itself is not touched.

    Parameters
    ----------
    store : str or path-like
        Folder of an image, not of a plate.
    name : str
        Of the new label image.
    labels : Image
        With the size of the image, and in its grid.
    classes : tuple of str
        Names of the labels 1, 2 and so on, if these are classes.
    overwrite : bool
        Replace labels of that name.

    Returns
    -------
    Path
        Of the new label image in the store.

    Raises
    ------
    LabelsError
        If they are no labels, or do not have the size of the image.
    ImageError
        If `store` is no OME-Zarr image.
    ExportError
        If there are labels of that name, or they cannot be written; the store is unchanged.
    """
    return finish(add_labels_events(store, name, labels, classes=classes, overwrite=overwrite))


def add_labels_events(
    store: str | os.PathLike[str], name: str, labels: Image, *, classes: tuple[str, ...] = (), overwrite: bool = False
) -> Generator[Event, None, Path]:
    """Add labels as `add_labels` does, and tell how far it is."""
    store = Path(store)
    _check_name(name)
    image = read_zarr(store)
    _check_size(labels, image, name)
    found = zarr_attributes(store)
    described = found.get("ome", found).get("multiscales")
    if not described:
        raise ExportError(f'"{store.name}" is a Zarr array and no OME-Zarr image, so it can hold no labels.')
    version: Version = "0.5" if (store / "zarr.json").is_file() else "0.4"
    target = store / LABELS / name
    if target.exists() and not overwrite:
        raise ExportError(f'"{store.name}" has labels that are called "{name}". Choose another name, or replace them.')
    sized = Image(labels.array, labels.axes, image.pixel_size, labels.name)
    with _room_for_labels(store):
        with replacing_folder(target) as folder:
            yield from write_labels_events(folder, sized, classes, version, Grid.stored(described[0], sized.axes))
        _name_labels(store, name, version)
    return target


# --- what is asked for --------------------------------------------------------------------------


def check_place(path: Path) -> None:
    """Refuse to replace what is not ours: a store may hold more than one image, and a folder anything.

    Raises
    ------
    ExportError
        If something else lies there, or the name has another suffix.
    """
    if path.suffix.lower() != ".zarr":
        raise ExportError(f'"{path.name}" does not end in .zarr. Add .zarr to the name.')
    if path.is_dir() and any(path.iterdir()) and not (is_zarr(path) and MARK in zarr_attributes(path)):
        raise ExportError(f'"{path.name}" is a folder that another program wrote, and is not replaced. Choose another.')


def _check_content(image: Image | None, labels: Mapping[str, Image]) -> None:
    if image is None and len(labels) != 1:
        raise ExportError(f"A store without an image holds one label image, and {len(labels)} were given.")
    for name, one in labels.items():
        _check_name(name)
        if image is not None:
            _check_size(one, image, name)


def _check_name(name: str) -> None:
    if (
        not name
        or name.startswith((".", "__"))
        or any(letter in name for letter in '/\\:*?"<>|')
        or not name.isprintable()
    ):
        raise ExportError(f'"{name}" cannot be the name of labels. Use letters, digits, spaces, - and _.')


def _check_size(labels: Image, image: Image, name: str) -> None:
    there, given = ({axis: one.sizes[axis] for axis in "TZYX"} for one in (image, labels))
    if there != given or "C" in labels.axes:
        raise LabelsError(
            f'The labels "{name}" have the size {given}, and the image {there}. Choose the labels of this image.'
        )


# --- the group of labels of a store that is there -----------------------------------------------


@contextmanager
def _room_for_labels(store: Path) -> Iterator[None]:
    """Make the folder of the labels if there is none; it goes again if nothing comes into it."""
    folder = store / LABELS
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ExportError(
            f'Nothing can be written to "{store.name}" ({error.strerror}). Save the labels as a store of their own.'
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()  # fails if anything is in it


def _name_labels(store: Path, name: str, version: Version) -> None:
    """Name the labels in their group, which makes them visible."""
    folder = store / LABELS
    found = zarr_attributes(folder) if is_zarr(folder) else {}
    content = dict(found.get("ome", {}) if version == "0.5" else found)
    names = [*content.get(LABELS, ()), name]
    content[LABELS] = list(dict.fromkeys(names))
    write_attributes(folder, {**found, **(content if version == "0.4" else attributes(content, version))}, version)
    _consolidate_again(store)


def _consolidate_again(store: Path) -> None:
    """Programs that read the consolidated metadata of a store, where it has some, know of nothing else."""
    import zarr

    file = store / "zarr.json"
    if (store / ".zmetadata").is_file() or (
        file.is_file() and "consolidated_metadata" in json.loads(file.read_bytes())
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Zarr 3 has not yet decided on it
            zarr.consolidate_metadata(store)
