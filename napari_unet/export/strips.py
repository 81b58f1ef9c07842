"""Strips of a TIFF file: how bands are compressed into them, and how they are read without any library of images.

The reader here knows no more than the first pages of the TIFF 6.0 specification and zlib. That is the point: it shares
no code with tifffile, which writes the files, so that an error of that one does not hide itself.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt

_ROWS, _OFFSETS, _ROWS_PER_STRIP, _COUNTS = 257, 273, 278, 279
_TYPES = {3: "H", 4: "I", 16: "Q"}
"""Of the whole numbers in a directory: 16, 32 and 64 bits."""


def compressed(bands: Iterable[npt.NDArray[Any]], rows_per_strip: int) -> Iterator[bytes]:
    """Cut bands into strips and compress each.

    Parameters
    ----------
    bands : iterable of (rows, X) arrays
        Whole strips each; the last one of a plane may be shorter.
    rows_per_strip : int
    """
    import imagecodecs

    for band in bands:
        for start in range(0, len(band), rows_per_strip):
            strip = band[start : start + rows_per_strip].tobytes()
            yield bytes(imagecodecs.zlib_encode(strip, level=6))


@dataclass(frozen=True, slots=True)
class _Form:
    """How numbers are written: classic TIFF with 32 bits, BigTIFF with 64."""

    offset: str
    count: str
    entry_bytes: int


_CLASSIC, _BIG = _Form("I", "H", 12), _Form("Q", "Q", 20)


def read_bands(path: Path, strips_per_band: int) -> Iterator[bytes]:
    """Yield the bands of each page of a little-endian TIFF in zlib-compressed strips, one after the other.

    Raises
    ------
    ValueError, OSError, struct.error, zlib.error, KeyError
        If it is no such file.
    """
    with path.open("rb") as file:
        form, place = _header(file)
        while place:
            tags, place = _directory(file, form, place)
            strips = list(zip(tags[_OFFSETS], tags[_COUNTS], strict=True))
            if len(strips) != -(-tags[_ROWS][0] // tags[_ROWS_PER_STRIP][0]):
                raise ValueError("a strip is missing")
            for first in range(0, len(strips), strips_per_band):
                yield b"".join(_strip(file, *strip) for strip in strips[first : first + strips_per_band])


def _header(file: IO[bytes]) -> tuple[_Form, int]:
    order, version = struct.unpack("<2sH", _exactly(file, 4))
    if order != b"II" or version not in {42, 43}:
        raise ValueError("it is no little-endian TIFF file")
    if version == 43:
        _exactly(file, 4)
    form = _BIG if version == 43 else _CLASSIC
    return form, _numbers(file, form.offset, 1)[0]


def _directory(file: IO[bytes], form: _Form, place: int) -> tuple[dict[int, tuple[int, ...]], int]:
    """Read the whole numbers of a directory by their tag, and where the next directory is."""
    file.seek(place)
    count = _numbers(file, form.count, 1)[0]
    entries = [_exactly(file, form.entry_bytes) for _ in range(count)]
    following = _numbers(file, form.offset, 1)[0]
    return {tag: numbers for entry in entries for tag, numbers in _entry(file, form, entry)}, following


def _entry(file: IO[bytes], form: _Form, entry: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    tag, kind, count = struct.unpack_from(f"<HH{form.offset}", entry)
    if tag not in {_ROWS, _OFFSETS, _ROWS_PER_STRIP, _COUNTS}:
        return
    layout = f"<{count}{_TYPES[kind]}"
    value = entry[-struct.calcsize(f"<{form.offset}") :]
    if struct.calcsize(layout) <= len(value):
        yield tag, struct.unpack_from(layout, value)
        return
    file.seek(struct.unpack(f"<{form.offset}", value)[0])
    yield tag, _numbers(file, _TYPES[kind], count)


def _strip(file: IO[bytes], offset: int, count: int) -> bytes:
    file.seek(offset)
    return zlib.decompress(_exactly(file, count))


def _numbers(file: IO[bytes], kind: str, count: int) -> tuple[int, ...]:
    layout = f"<{count}{kind}"
    return struct.unpack(layout, _exactly(file, struct.calcsize(layout)))


def _exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise ValueError("its end is missing")
    return content
