"""Writing one group of an OME-Zarr store, and reading it back twice.

Each chunk is noted by its checksum when it is written. Then all chunks of all levels are read from their files without
the library that wrote them, and the full resolution, its axes and its pixel size as the user will open them.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import write_bytes
from napari_unet.errors import AxesError, ExportError, ImageError
from napari_unet.events import Event, Progress
from napari_unet.export.layouts import LARGEST_UINT16
from napari_unet.export.ngff import Grid, Metadata, Version, attributes, image_label, multiscale
from napari_unet.export.pyramids import Box, Level, Reduction, levels_of, reduced, source_box
from napari_unet.export.rasters import largest_id_events, open_labels
from napari_unet.export.raw_chunks import RawArray
from napari_unet.export.verifying import checksum
from napari_unet.imaging.chunk_cache import cached
from napari_unet.imaging.image import Image, from_canonical
from napari_unet.imaging.zarrs import read_zarr


@dataclass(frozen=True, slots=True)
class Pyramid:
    """An image or labels, as they are to stand in a store.

    Attributes
    ----------
    image : Image
        Where the pixels come from.
    dtype : numpy.dtype
        Of the store.
    grid : Grid
    levels : tuple of Level
    reduction : "mean" | "nearest"
    """

    image: Image
    dtype: np.dtype[Any]
    grid: Grid
    levels: tuple[Level, ...]
    reduction: Reduction

    @property
    def count(self) -> int:
        """How many chunks there are in all levels."""
        return sum(level.count() for level in self.levels)


def write_image_events(folder: Path, image: Image, version: Version) -> Generator[Event, None, None]:
    """Write an image and its levels into an empty folder.

    Raises
    ------
    ExportError
        If it reads back differently.
    """
    levels = levels_of(image.sizes, image.pixel_size)
    yield from _group_events(folder, Pyramid(image, image.dtype, Grid.of(image), levels, "mean"), version, {})


def write_labels_events(
    folder: Path, labels: Image, classes: Sequence[str], version: Version, grid: Grid | None = None
) -> Generator[Event, None, None]:
    """Write labels and their levels into an empty folder.

    Parameters
    ----------
    folder : Path
    labels : Image
    classes : sequence of str
        Names of the labels 1, 2 and so on where these are classes.
    version : "0.4" | "0.5"
    grid : Grid, optional
        That of the image they lie beside; None if they stand for themselves.

    Raises
    ------
    LabelsError
        If they are no labels.
    ExportError
        If they read back differently.
    """
    checked = open_labels(labels.array, labels.axes, labels.pixel_size)
    largest = yield from largest_id_events(checked)
    dtype = np.dtype(np.uint16 if largest <= LARGEST_UINT16 else np.uint32)
    levels = levels_of(checked.sizes, checked.pixel_size)
    pyramid = Pyramid(checked, dtype, grid or Grid.of(checked), levels, "nearest")
    about = {"image-label": image_label(classes, version, inside=grid is not None)}
    yield from _group_events(folder, pyramid, version, about)


def write_attributes(folder: Path, content: Metadata, version: Version) -> None:
    """Write the attributes of a group at once, and make the group if there is none.

    Raises
    ------
    ExportError
        If they cannot be written; the old ones are unchanged.
    """
    folder.mkdir(exist_ok=True)
    if version == "0.4":
        if not (folder / ".zgroup").is_file():
            write_bytes(folder / ".zgroup", _json({"zarr_format": 2}))
        write_bytes(folder / ".zattrs", _json(content))
        return
    file = folder / "zarr.json"
    group = json.loads(file.read_bytes()) if file.is_file() else {"zarr_format": 3, "node_type": "group"}
    write_bytes(file, _json({**group, "attributes": content}))


def _json(content: Metadata) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _group_events(folder: Path, pyramid: Pyramid, version: Version, more: Metadata) -> Generator[Event, None, None]:
    folder.mkdir(parents=True, exist_ok=True)
    sums: list[list[int]] = []
    with cached(pyramid.image) as image:
        source = image
        for number, level in enumerate(pyramid.levels):
            array = _new_array(folder / str(number), pyramid, level, version)
            sums.append((yield from _level_events(array, source, pyramid, level)))
            source = Image(array, pyramid.grid.letters)  # its chunks are read once each
    name = pyramid.image.name
    described = multiscale(name, pyramid.grid, pyramid.levels, pyramid.reduction, version)
    write_attributes(folder, attributes({"multiscales": [described], **more}, version, marked=True), version)
    try:
        difference = yield from _difference_events(folder, pyramid, sums)
    except (ImageError, AxesError, ValueError, KeyError, RuntimeError) as error:
        difference = str(error) or type(error).__name__
    if difference:
        raise ExportError(
            f'"{name}" was not saved as OME-Zarr, and what was there before is unchanged: it did not read back as it '
            f"was written ({difference[:200]}). Check the disk or choose another folder."
        )


def _new_array(folder: Path, pyramid: Pyramid, level: Level, version: Version) -> Any:  # noqa: ANN401
    """Make an array that every reader of this version decodes: Blosc, chunks in nested folders."""
    import zarr
    from numcodecs import Blosc

    letters = pyramid.grid.letters
    old = version == "0.4"
    return zarr.create_array(
        folder,
        shape=tuple(level.sizes[letter] for letter in letters),
        chunks=tuple(level.chunks[letter] for letter in letters),
        dtype=pyramid.dtype,
        compressors=Blosc("lz4", 5) if old else zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"),
        fill_value=0,
        zarr_format=2 if old else 3,
        chunk_key_encoding={"name": "v2" if old else "default", "separator": "/"},
        dimension_names=None if old else [letter.lower() for letter in letters],
    )


def _level_events(array: Any, source: Image, pyramid: Pyramid, level: Level) -> Generator[Event, None, list[int]]:  # noqa: ANN401
    """Write the chunks of a level from the level before, and return their checksums."""
    letters, sums = pyramid.grid.letters, []
    stage = (
        f"Writing {'the image' if pyramid.reduction == 'mean' else 'the labels'}, 1/{level.factors['Y']} of its size"
    )
    for box in level.boxes():
        block = _read(source, source_box(box, level.steps, source.sizes))
        smaller = reduced(block, (1, 1, *(level.steps[axis] for axis in "ZYX")), pyramid.reduction)
        chunk = from_canonical(smaller.astype(pyramid.dtype), letters)
        array[tuple(box[letter] for letter in letters)] = chunk
        sums.append(checksum(chunk))
        yield Progress(stage, len(sums), level.count())
    return sums


def _read(image: Image, box: Box) -> npt.NDArray[Any]:
    """Read a box of one time point and one channel: (1, 1, Z, Y, X)."""
    block = image.read(box["T"].start, box["Z"], box["Y"], box["X"], [box["C"].start])
    return block[None]


def _difference_events(folder: Path, pyramid: Pyramid, sums: Sequence[Sequence[int]]) -> Generator[Event, None, str]:
    """Compare a group with what it should hold; empty where nothing differs."""
    letters = pyramid.grid.letters
    done = 0
    for number, (level, written) in enumerate(zip(pyramid.levels, sums, strict=True)):
        raw = RawArray.open(folder / str(number))
        for box, one in zip(level.boxes(), written, strict=True):
            if checksum(raw.read([box[letter] for letter in letters])) != one:
                return f"a chunk of level {number} differs"
            done += 1
            yield Progress("Reading back", done, pyramid.count)
    found = read_zarr(folder)
    if (found.axes, found.dtype) != (letters, pyramid.dtype):
        return f"{found.axes} and {found.dtype} instead of {letters} and {pyramid.dtype}"
    meant = pyramid.image.pixel_size
    for read, size in zip(found.pixel_size.along(letters), meant.along(letters), strict=True):
        if (read is None) != (size is None) or not np.isclose(read or 1, size or 1, rtol=1e-6):
            return f"a pixel size of {read} µm instead of {size} µm"
    for number, (box, one) in enumerate(zip(pyramid.levels[0].boxes(), sums[0], strict=True), start=1):
        if checksum(from_canonical(_read(found, box), letters)) != one:
            return "a chunk differs when it is read as usual"
        yield Progress("Reading again", number, len(sums[0]))
    return ""
