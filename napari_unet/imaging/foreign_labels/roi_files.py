"""ROIs of ImageJ and Fiji: a ``.roi``, or a zip of them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_unet.errors import ImageError, LabelsError
from napari_unet.imaging.foreign_labels.filling import Points
from napari_unet.imaging.foreign_labels.painting import Region

if TYPE_CHECKING:
    from roifile import ImagejRoi

MAX_MEMBERS = 1_000_000
MAX_ROI_BYTES = 64 * 2**20
MAX_TOTAL_BYTES = 4 * 2**30
MAX_RATIO = 250
"""How many times larger a packed ROI may become, where it is large."""
_SMALL_BYTES = 2**20

_OWN_NAME = re.compile(r"(\d{4,9})-\d{4,}-\d{4,}", re.ASCII)
"""What ImageJ calls a ROI in a stack: slice, y, x."""
_CURVE_STEPS = np.linspace(0, 1, 17)[1:, None]


def read_rois(path: Path, sizes: dict[str, int]) -> tuple[list[Region], int]:
    """Read the areas of a ``.roi`` or of a zip of ROIs.

    Parameters
    ----------
    path : Path
    sizes : dict of str to int
        Of the image along T, Z, Y and X: what a position in a stack means depends on it.

    Returns
    -------
    list of Region
    int
        How many ROIs are lines, points or texts, and were left out.

    Raises
    ------
    ImageError
        If the file is damaged, or claims more than it can hold.
    LabelsError
        If there is no area in it.
    """
    regions: list[Region] = []
    others = 0
    for name, content in _contents(path):
        roi = _decoded(path, name, content)
        rings = _rings(roi)
        if rings:
            t, z = _place(roi, roi.name or name, sizes)
            regions.append(Region(tuple(rings), roi.name or name, t, z))
        else:
            others += 1
    if not regions:
        raise LabelsError(
            f'"{path.name}" holds no ROI with an area, and outlines of objects were expected. Choose a file that the '
            "ROI Manager of ImageJ has saved."
        )
    return regions, others


# --- files --------------------------------------------------------------------------------------


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each ROI."""
    try:
        if path.suffix.lower() == ".roi":
            if path.stat().st_size > MAX_ROI_BYTES:
                raise ImageError(f'"{path.name}" is larger than any ROI. Choose a file that ImageJ has saved.')
            yield path.stem, path.read_bytes()
            return
        with zipfile.ZipFile(path) as archive:
            for member in _checked(path, archive.infolist()):
                yield Path(member.filename).stem, archive.read(member)
    except ImageError:
        raise
    except Exception as error:  # zipfile and its decoders raise anything on a damaged file
        reason = str(error)[:120] or type(error).__name__
        raise ImageError(f'"{path.name}" cannot be read ({reason}). Copy or save it again from its source.') from error


def _checked(path: Path, members: Sequence[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Return the ROIs among the members of a zip, after a look at what they claim."""
    rois = [member for member in members if member.filename.lower().endswith(".roi")]
    if len(members) > MAX_MEMBERS:
        raise ImageError(f'"{path.name}" is refused: it holds {len(members):,} files. Choose a zip of ROIs.')
    for roi in rois:
        is_bomb = roi.file_size > _SMALL_BYTES and roi.file_size > MAX_RATIO * roi.compress_size
        if roi.file_size > MAX_ROI_BYTES or is_bomb:
            raise ImageError(
                f'"{path.name}" is refused: it would unpack a ROI to {roi.file_size:,} bytes from '
                f"{roi.compress_size:,}, as files made to fill the memory do."
            )
    if sum(roi.file_size for roi in rois) > MAX_TOTAL_BYTES:
        raise ImageError(f'"{path.name}" is refused: it would unpack to more than {MAX_TOTAL_BYTES:,} bytes.')
    return rois


def _decoded(path: Path, name: str, content: bytes) -> ImagejRoi:
    from roifile import ImagejRoi

    try:
        return ImagejRoi.frombytes(content)
    except Exception as error:  # roifile raises anything, from struct.error to TypeError
        reason = str(error).strip()[:120] or type(error).__name__
        raise ImageError(f'"{path.name}" is damaged: its ROI "{name[:60]}" cannot be read ({reason}).') from error


# --- outlines -----------------------------------------------------------------------------------


def _rings(roi: ImagejRoi) -> list[Points]:
    """Return the rings of a ROI; none if it is no area."""
    from roifile import ROI_SUBTYPE, ROI_TYPE

    if roi.subtype in {ROI_SUBTYPE.TEXT, ROI_SUBTYPE.ARROW, ROI_SUBTYPE.IMAGE}:
        return []
    if roi.roitype == ROI_TYPE.RECT and roi.composite:
        assert roi.multi_coordinates is not None
        return _path_rings(roi.multi_coordinates.tolist())
    if roi.roitype in {ROI_TYPE.RECT, ROI_TYPE.OVAL}:
        # those between pixels, too: ImageJ fills their whole pixels
        width, height = roi.right - roi.left, roi.bottom - roi.top
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) if roi.roitype == ROI_TYPE.RECT else _circle(width, height)
        return [corners * (width, height) + (roi.left, roi.top)]
    if roi.roitype in {ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED}:
        points = np.asarray(roi.coordinates(), np.float64)
        return [points] if len(points) > 2 else []
    return []


def _circle(width: int, height: int) -> Points:
    """Return so many corners on the circle in the unit square that no pixel of an oval of that size notices."""
    angles = np.linspace(0, 2 * np.pi, 64 + 8 * min(abs(width) + abs(height), 10_000), endpoint=False)
    return np.stack([(1 + np.cos(angles)) / 2, (1 + np.sin(angles)) / 2], axis=1)


def _path_rings(path: list[float]) -> list[Points]:
    """Return the closed parts of a path of Java: move, line, quadratic and cubic curve, close."""
    rings: list[list[npt.NDArray[np.float64]]] = []
    place = 0
    while place < len(path):
        kind = int(path[place])
        length = {0: 2, 1: 2, 2: 4, 3: 6, 4: 0}.get(kind, -1)
        points = np.array(path[place + 1 : place + 1 + max(length, 0)]).reshape(-1, 2)
        if length < 0 or 2 * len(points) != length or (kind and not rings):
            break  # the rest is no path; ImageJ stops here, too
        if kind == 0:
            rings.append([points])
        elif kind < 4:
            rings[-1].append(_curve(np.concatenate([rings[-1][-1][-1:], points])) if kind > 1 else points)
        place += 1 + length
    return [np.concatenate(ring) for ring in rings if len(ring) > 2 or len(np.concatenate(ring)) > 2]


def _curve(controls: Points) -> npt.NDArray[np.float64]:
    """Return corners on a Bézier curve, by de Casteljau's construction."""
    points = [np.repeat(control[None], len(_CURVE_STEPS), axis=0) for control in controls]
    while len(points) > 1:
        points = [one + (other - one) * _CURVE_STEPS for one, other in pairwise(points)]
    return np.asarray(points[0], np.float64)


# --- slices -------------------------------------------------------------------------------------


def _place(roi: ImagejRoi, name: str, sizes: dict[str, int]) -> tuple[int | None, int | None]:
    """Return time point and slice, from 0; None for all.

    ImageJ counts from 1, and knows a position in a plain stack or one in a hyperstack; in names of its own it tells the
    slice of ROIs that have neither.
    """
    times, slices = sizes["T"], sizes["Z"]
    if roi.z_position > 0 or roi.t_position > 0:
        t = roi.t_position - 1 if roi.t_position > 0 else None
        z = roi.z_position - 1 if roi.z_position > 0 else None
        if times == 1 and slices > 1 and (z or 0) == 0 and (t or 0) > 0:
            return 0, t  # a stack whose slices were taken for time points
        if slices == 1 and times > 1 and (t or 0) == 0 and (z or 0) > 0:
            return z, 0
        return t, z
    position = roi.position
    if position <= 0 and times * slices > 1 and (match := _OWN_NAME.fullmatch(name)):
        position = int(match[1])
    if position <= 0:
        return None, None
    if times > 1:
        return (position - 1) // slices, (position - 1) % slices
    return (None, position - 1) if slices > 1 else (None, None)
