"""One page about a run over one or many images: pictures, counts, sizes and settings in one file."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import write_bytes
from napari_unet.errors import ExportError
from napari_unet.export.histogram import histogram_svg
from napari_unet.export.overlay import overlay
from napari_unet.export.provenance import Provenance
from napari_unet.export.scale_bar import draw_scale_bar
from napari_unet.imaging.image import Image
from napari_unet.objects.measuring import Table

LARGE_PX, SMALL_PX = 1000, 320
"""The longer side of the picture of a single image, and of the pictures of many."""
_QUALITY = 88
_SIZES = (
    ("equivalent_diameter_um", "diameter (µm)"),
    ("equivalent_diameter_px", "diameter (pixels)"),
    ("volume_px", "volume (voxels)"),
)


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """What the page says about one image.

    Attributes
    ----------
    name : str
    table : dict of str to (objects,) arrays
        As `measure` returns it; empty for an image that failed.
    picture : bytes
        JPEG; empty if there is none.
    size : str
        Of the image, for people.
    seconds : float, optional
        How long it took.
    problem : str
        Why it failed, in a sentence; empty if it did not.
    """

    name: str
    table: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    picture: bytes = b""
    size: str = ""
    seconds: float | None = None
    problem: str = ""

    @property
    def count(self) -> int:
        """How many objects there are; those of each time point are counted."""
        return len(self.table.get("label", ()))


def summarize_image(
    image: Image, labels: npt.NDArray[Any], table: Table, *, side_px: int = SMALL_PX, seconds: float | None = None
) -> ImageSummary:
    """Draw one image and keep what the page needs of it; its pixels can be forgotten then.

    Parameters
    ----------
    image : Image
    labels : (T, Z, Y, X) integers
    table : dict of str to (objects,) arrays
        As `measure` returns it.
    side_px : int
        The longer side of the picture; `LARGE_PX` for a single image.
    seconds : float, optional
        How long it took.

    Raises
    ------
    LabelsError
        If the labels are not those of the image.
    """
    sizes = image.sizes
    count = {"T": "time points", "Z": "slices", "C": "channels"}
    parts = [
        f"{sizes['X']} × {sizes['Y']} pixels",
        *(f"{sizes[a]} {word}" for a, word in count.items() if sizes[a] > 1),
    ]
    return ImageSummary(image.name, table, _picture(image, labels, side_px), ", ".join(parts), seconds)


def save_summary(
    path: str | os.PathLike[str],
    images: Sequence[ImageSummary],
    provenance: Provenance | None = None,
    *,
    title: str = "Segmentation",
) -> Path:
    """Save one HTML page about a run; everything is in it, and it loads nothing.

    Parameters
    ----------
    path : str or path-like
        Ends in ``.html``.
    images : sequence of ImageSummary
    provenance : Provenance, optional
        Of any of the images: model and settings.
    title : str

    Raises
    ------
    ExportError
        If there are no images, or the file cannot be written; what stood there is unchanged.
    """
    path = Path(path)
    if path.suffix.lower() not in {".html", ".htm"}:
        raise ExportError(f'"{path.name}" does not end in .html. Add .html to the name.')
    if not images:
        raise ExportError("There is no image to write a page about. Segment at least one.")
    return write_bytes(path, "".join(_page(images, provenance, title)).encode())


# --- picture ------------------------------------------------------------------------------------


def _picture(image: Image, labels: npt.NDArray[Any], side_px: int) -> bytes:
    """Draw the middle slice of the first time point, made small enough."""
    import imagecodecs

    sizes = image.sizes
    z, step = sizes["Z"] // 2, max(1, -(-max(sizes["Y"], sizes["X"]) // side_px))
    planes = image.read(0, slice(z, z + 1), slice(0, sizes["Y"]), slice(0, sizes["X"]))[:, 0]
    shown = np.moveaxis(planes, 0, -1) if len(planes) == 3 else planes[0]
    drawn = overlay(_shrunk(shown, step), _taken(np.asarray(labels[0, z]), step))
    if image.pixel_size.x_um is not None:
        draw_scale_bar(drawn, image.pixel_size.x_um * step)
    return bytes(imagecodecs.jpeg_encode(drawn, level=_QUALITY))


def _shrunk(plane: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    """Return means of squares of pixels; those at the end that are no whole square are left out."""
    if step == 1:
        return plane
    height, width = (side // step for side in plane.shape[:2])
    cut = plane[: height * step, : width * step]
    means = cut.reshape(height, step, width, step, *plane.shape[2:]).mean(axis=(1, 3), dtype=np.float32)
    shrunk: npt.NDArray[Any] = means.astype(np.uint8) if plane.dtype == np.uint8 else means
    return shrunk


def _taken(labels: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    """Return the label in the middle of each square of pixels."""
    height, width = (side // step for side in labels.shape)
    return labels[step // 2 :: step, step // 2 :: step][:height, :width]


# --- page ---------------------------------------------------------------------------------------

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ --ink: #1d2733; --soft: #66717e; --line: #e2e6ea; --back: #ffffff; --card: #f6f8fa; --bar: #3b82c4;
  --mark: #d9480f; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e9ec; --soft: #9aa5b1; --line: #333c46; --back: #14191f;
  --card: #1d242c; --bar: #5fa8e6; --mark: #ff8a4c; }} }}
body {{ margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 62rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }}
h1 {{ font-size: 1.7rem; font-weight: 650; margin: 0; }}
h2 {{ font-size: 1.1rem; font-weight: 650; margin: 2.2rem 0 .7rem; }}
.soft {{ color: var(--soft); }}
.cards {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin-top: 1.4rem; }}
.card {{ background: var(--card); border-radius: .6rem; padding: .8rem 1rem; }}
.card b {{ display: block; font-size: 1.5rem; font-weight: 650; font-variant-numeric: tabular-nums; }}
.pictures {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }}
.pictures.one {{ grid-template-columns: 1fr; }}
figure {{ margin: 0; }}
img {{ display: block; width: 100%; height: auto; border-radius: .4rem; background: #000; }}
figcaption {{ margin-top: .3rem; overflow-wrap: anywhere; font-size: .9rem; }}
svg {{ width: 100%; height: auto; font-size: 12px; fill: var(--soft); }}
.bar {{ fill: var(--bar); }} .grid {{ stroke: var(--line); }} .median {{ stroke: var(--mark); stroke-dasharray: 4 3; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; }}
th {{ font-weight: 600; color: var(--soft); }}
td.number, th.number {{ text-align: right; white-space: nowrap; }}
.problem {{ color: var(--mark); }}
code {{ font: .9em ui-monospace, monospace; }}
</style>
</head>
<body>
"""


def _page(images: Sequence[ImageSummary], provenance: Provenance | None, title: str) -> Iterator[str]:
    yield _HEAD.format(title=escape(title))
    yield f"<h1>{escape(title)}</h1>\n"
    if provenance is not None:
        made = f"napari-unet {provenance.version}, {provenance.created.replace('T', ' ').replace('+00:00', ' UTC')}"
        yield f'<div class="soft">{escape(made)}</div>\n'
    column, named = _size_column(images)
    yield _cards(images, column, named)
    yield _pictures(images)
    yield _histogram(images, column, named)
    yield _images(images, column, named)
    yield _settings(provenance)
    yield "</body>\n</html>\n"


def _size_column(images: Sequence[ImageSummary]) -> tuple[str, str]:
    """Return the measure of size that all images have, and what to call it."""
    tables = [image.table for image in images if image.table]
    return next((each for each in _SIZES if tables and all(each[0] in table for table in tables)), ("", ""))


def _values(images: Sequence[ImageSummary], column: str) -> npt.NDArray[np.float64]:
    parts = [np.asarray(image.table[column], np.float64) for image in images if column in image.table]
    return np.concatenate([np.zeros(0), *parts])


def _cards(images: Sequence[ImageSummary], column: str, named: str) -> str:
    failed = sum(bool(image.problem) for image in images)
    values = _values(images, column)
    cards = [
        (f"{len(images)}", "image" if len(images) == 1 else "images"),
        (f"{sum(image.count for image in images):,}", "objects"),
    ]
    if values.size:
        cards.append((f"{np.median(values):.3g}", f"median {named}"))
    if failed:
        cards.append((f"{failed}", "failed"))
    inside = "".join(f'<div class="card"><b>{number}</b>{escape(words)}</div>' for number, words in cards)
    return f'<div class="cards">{inside}</div>\n'


def _pictures(images: Sequence[ImageSummary]) -> str:
    figures = [
        f'<figure><img alt="{escape(image.name)} with outlines" '
        f'src="data:image/jpeg;base64,{base64.b64encode(image.picture).decode()}">'
        f'<figcaption>{escape(image.name)} <span class="soft">· {image.count:,} objects</span></figcaption></figure>\n'
        for image in images
        if image.picture
    ]
    if not figures:
        return ""
    kind = "pictures one" if len(figures) == 1 else "pictures"
    return f'<h2>Outlines</h2>\n<div class="{kind}">\n{"".join(figures)}</div>\n'


def _histogram(images: Sequence[ImageSummary], column: str, named: str) -> str:
    drawn = histogram_svg(_values(images, column), named[:1].upper() + named[1:])
    return f"<h2>Sizes of the objects</h2>\n{drawn}\n" if drawn else ""


def _images(images: Sequence[ImageSummary], column: str, named: str) -> str:
    heads = ["Image", "Size", "Objects", *([f"Median {named}"] if column else []), "Time (s)"]
    rows = "".join(_row(image, column) for image in images)
    numeric = [head not in {"Image", "Size"} for head in heads]
    cells = "".join(
        f"<th{' class=number' if is_number else ''}>{escape(head)}</th>"
        for head, is_number in zip(heads, numeric, strict=True)
    )
    return f"<h2>Images</h2>\n<table>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"


def _row(image: ImageSummary, column: str) -> str:
    name = f"<td>{escape(image.name)}</td>"
    if image.problem:
        return f'<tr>{name}<td class="problem" colspan="{4 if column else 3}">{escape(image.problem)}</td></tr>\n'
    median = f"{np.median(image.table[column]):.3g}" if image.count and column in image.table else "–"
    seconds = "–" if image.seconds is None else f"{image.seconds:.1f}"
    numbers = [f"{image.count:,}", *([median] if column else []), seconds]
    cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
    return f"<tr>{name}<td>{escape(image.size)}</td>{cells}</tr>\n"


def _settings(provenance: Provenance | None) -> str:
    if provenance is None:
        return ""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td><code>{escape(value)}</code></td></tr>\n" for name, value in _known(provenance)
    )
    return f"<h2>Model and settings</h2>\n<table>\n<tbody>\n{rows}</tbody>\n</table>\n"


def _known(provenance: Provenance) -> Iterator[tuple[str, str]]:
    """Yield what is known, in words; settings that nobody has set are left out."""
    if (model := provenance.model) is not None:
        yield "model", model.name
        for name, value in (("file", model.source), ("SHA-256", model.sha256), ("classes", ", ".join(model.classes))):
            if value:
                yield name, value
    if provenance.corrected:
        yield "corrected", "by hand"
    groups = {**provenance.inference, **(provenance.objects.model_dump() if provenance.objects else {})}
    for name, value in groups.items():
        if value is not None:
            yield name.replace("_", " "), str(value)
