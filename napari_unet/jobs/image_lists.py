"""Which images are meant by files, folders and patterns, and what their results are called."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_unet.errors import ImageError, NapariUnetError
from napari_unet.export.outputs import ENDINGS
from napari_unet.imaging.reading import READERS, image_name
from napari_unet.imaging.zarrs import is_zarr

# What Cellpose leaves beside an image.
_OF_OTHERS = ("_seg.npy", "_cp_masks.png", "_cp_masks.tif")


@dataclass(frozen=True, slots=True)
class BatchImage:
    """An image of many, and the folder for its results, relative to that of all results."""

    path: Path
    folder: Path = Path()

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return image_name(self.path)

    @property
    def name(self) -> str:
        """Folder and stem, which no other image of the batch has."""
        return (self.folder / self.stem).as_posix()


def find_images(sources: Sequence[str | os.PathLike[str]], results: Path | None = None) -> tuple[BatchImage, ...]:
    """Find the images that are meant.

    Results of images below a folder, or found by a pattern, mirror the folders below it; those of single files lie side
    by side, unless two have one name: then all mirror the folders below the one that they have in common.

    Parameters
    ----------
    sources : sequence of str or path-like
        Files and Zarr stores; folders, for all images directly in them; and patterns such as ``data/**/*.tif``, where
        ``**`` stands for any folders. Our own results, and masks of Cellpose, are no images, unless they are named.
    results : Path, optional
        Folder of the results: what is in it is no image.

    Returns
    -------
    tuple of BatchImage
        Each once, in the order of `sources`, and by name for each.

    Raises
    ------
    NapariUnetError
        If there is none, or two would have results of one name.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    for source in sources:
        for path, root in _meant(os.fspath(source), results):
            found.setdefault(path.resolve(), (path, root))
    if not found:
        raise ImageError("No image was named. Give files, folders or patterns.")
    return _laid_out(list(found.values()))


def _meant(source: str, results: Path | None) -> Iterator[tuple[Path, Path]]:
    """Give the images that one source stands for, and the folder below which their folders are mirrored."""
    path = Path(source).expanduser()
    if path.is_dir() and not is_zarr(path):
        paths, root = sorted(path.iterdir()), path
    elif glob.has_magic(source) and not path.exists():
        names = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  # of ** a Path gives folders alone
        paths, root = [Path(name) for name in names], _fixed_part(path)
    else:
        yield path, path.parent
        return
    images = list(_without_results(_readable(paths), root, results))
    if not images:
        raise ImageError(
            f'No image was found in "{source}". Name TIFF, PNG, JPEG or .npy files, (OME-)Zarr stores, folders of '
            "them, or patterns, in which ** stands for folders within folders."
        )
    for image in images:
        yield image, root


def _fixed_part(pattern: Path) -> Path:
    """Return the folder before the first wildcard.

    >>> _fixed_part(Path("data/*/plate?/well.tif")).as_posix()
    'data'
    """
    fixed = []
    for part in pattern.parent.parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _readable(paths: Iterable[Path]) -> Iterator[Path]:
    """Leave out what is hidden or no image, and the parts of Zarr stores."""
    stores: set[Path] = set()
    for path in paths:
        if path.name.startswith(".") or not stores.isdisjoint(path.parents):
            continue
        if path.is_dir():
            if is_zarr(path):
                stores.add(path)
                yield path
        elif path.suffix.lower() in READERS:
            yield path


def _without_results(paths: Iterable[Path], root: Path, results: Path | None) -> Iterator[Path]:
    """Leave out results: what lies in a folder of results below the images, or is called like the result of one."""
    images = list(paths)
    known = {(path.parent, image_name(path)) for path in images}
    inside = None if results is None or results.resolve() == root.resolve() else results.resolve()
    for path in images:
        made = any(
            path.name.endswith(ending) and (path.parent, path.name.removesuffix(ending)) in known
            for ending in (*ENDINGS.values(), *_OF_OTHERS)
        )
        if not made and (inside is None or inside not in path.resolve().parents):
            yield path


def _laid_out(found: Sequence[tuple[Path, Path]]) -> tuple[BatchImage, ...]:
    images = tuple(BatchImage(path, path.parent.relative_to(root)) for path, root in found)
    if not _shared_name(images):
        return images
    folders = [path.resolve().parent for path, _ in found]
    try:
        common = Path(os.path.commonpath(folders))
    except ValueError:  # on two drives
        common = Path()
    else:
        images = tuple(
            BatchImage(path, folder.relative_to(common)) for (path, _), folder in zip(found, folders, strict=True)
        )
    if name := _shared_name(images):
        both = " and ".join(f'"{image.path}"' for image in images if image.name == name)
        raise NapariUnetError(
            f'Results of {both} would both be called "{name}", and one would replace the other. Name one of them, or '
            "use two folders for the results."
        )
    return images


def _shared_name(images: Sequence[BatchImage]) -> str:
    """Return a name that two images have; empty if there is none."""
    ((name, count),) = Counter(image.name for image in images).most_common(1)
    return name if count > 1 else ""
