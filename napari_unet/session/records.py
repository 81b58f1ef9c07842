"""What the journal is made of: records that tell by themselves whether they are whole.

A record holds the pixel values of one edit, as they are afterwards, in the boxes that it touched. Applying
records again, or applying those that an older state already contains, does no harm. In the file::

    magic  4 bytes  b"NUR1"
    crc    uint32   CRC-32 of all that follows
    size   uint32   of the header
    size   uint64   of the payload
    header          JSON: what and when
    payload         zlib: the values of all boxes, one after the other

All integers are little-endian.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Box = tuple[tuple[int, int], ...]
"""(start, stop) along each axis of a layer."""

MAGIC = b"NUR1"
_PREFIX = struct.Struct("<4sIIQ")
# No record is larger: what claims to be is damaged. (Large edits are divided.)
MOST_BYTES = 2**30
MOST_HEADER = 2**20


@dataclass(frozen=True, slots=True)
class Patch:
    """The values of a box of a layer after an edit.

    Attributes
    ----------
    box : Box
    values : array
        Of the box; or of the whole layer if `living`.
    living : bool
        Whether the values are to be taken out of the layer's own array when they are written. What has
        changed there meanwhile is in a record that follows.
    """

    box: Box
    values: Any
    living: bool = False

    def array(self) -> npt.NDArray[Any]:
        """Return the values of the box."""
        values = self.values[tuple(slice(*part) for part in self.box)] if self.living else self.values
        return np.ascontiguousarray(values)


@dataclass(frozen=True, slots=True)
class Record:
    """One edit of one layer.

    Attributes
    ----------
    number : int
        Counts up from 1 through the whole life of a project.
    layer : str
        Key of the layer in the project.
    kind : str
        What the user did, such as "paint" or "undo".
    time : float
        Seconds since 1970, UTC.
    patches : tuple of Patch
    span : (int, int), optional
        Numbers of the first and the last record of a large edit that is divided: without all of them it is none.
    ended : bool
        False for what a stroke that is still being painted has touched so far.
    """

    number: int
    layer: str
    kind: str
    time: float
    patches: tuple[Patch, ...]
    span: tuple[int, int] | None = None
    ended: bool = True

    @property
    def living(self) -> bool:
        """Whether values are still to be taken out of an array."""
        return any(patch.living for patch in self.patches)


@dataclass(frozen=True, slots=True)
class Packed:
    """A record whose values have been taken and compressed."""

    record: Record
    patches: tuple[dict[str, Any], ...]
    payload: bytes


@dataclass(frozen=True, slots=True)
class Scan:
    """What a journal file holds.

    Attributes
    ----------
    records : tuple of Record
        All that are whole.
    damaged : int
        Places in the middle of the file where something else stands.
    torn : bool
        Whether the file ends in the middle of a record, as it does when a process is killed.
    """

    records: tuple[Record, ...]
    damaged: int
    torn: bool


def pack(record: Record) -> Packed:
    """Take the values of a record."""
    arrays = [patch.array() for patch in record.patches]
    little = (array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in arrays)
    known = tuple(
        {"box": patch.box, "dtype": array.dtype.newbyteorder("<").str}
        for patch, array in zip(record.patches, arrays, strict=True)
    )
    return Packed(record, known, zlib.compress(b"".join(little), 1))


def encode(packed: Packed, span: tuple[int, int] | None = None) -> bytes:
    """Return a record as it stands in a file; `span` if it belongs to a larger edit than it knows."""
    record, payload = packed.record, packed.payload
    header: dict[str, Any] = {
        "number": record.number,
        "layer": record.layer,
        "kind": record.kind,
        "time": record.time,
        "patches": packed.patches,
    }
    span = span or record.span
    if span is not None:
        header["span"] = span
    if not record.ended:
        header["ended"] = False
    head = json.dumps(header, separators=(",", ":")).encode()
    body = struct.pack("<IQ", len(head), len(payload)) + head + payload
    return MAGIC + struct.pack("<I", zlib.crc32(body)) + body


def scan(content: bytes) -> Scan:
    """Find all whole records, also behind damaged ones."""
    records: list[Record] = []
    damaged, torn, position = 0, False, 0
    while position < len(content):
        found = _decode_at(content, position)
        if found is not None:
            record, position = found
            records.append(record)
            continue
        following = _next_whole(content, position + 1)
        damaged += following is not None
        torn = following is None
        position = len(content) if following is None else following
    return Scan(tuple(records), damaged, torn)


def apply(record: Record, array: Any) -> None:  # noqa: ANN401
    """Write the values of a record into its layer's array.

    Raises
    ------
    ValueError
        If a box does not lie inside the array.
    """
    for patch in record.patches:
        if len(patch.box) != len(array.shape) or any(
            stop > size for (_, stop), size in zip(patch.box, array.shape, strict=True)
        ):
            raise ValueError(f"The box {patch.box} lies outside of a layer of {array.shape}.")
        array[tuple(slice(*part) for part in patch.box)] = patch.array()


def _next_whole(content: bytes, start: int) -> int | None:
    """Find where the next whole record begins."""
    for position in _magics(content, start):
        if _decode_at(content, position) is not None:
            return position
    return None


def _magics(content: bytes, start: int) -> Iterator[int]:
    position = content.find(MAGIC, start)
    while position >= 0:
        yield position
        position = content.find(MAGIC, position + 1)


def _decode_at(content: bytes, position: int) -> tuple[Record, int] | None:
    """Decode the record at a position and say where it ends; None if there is no whole one."""
    if len(content) - position < _PREFIX.size:
        return None
    magic, crc, head_size, payload_size = _PREFIX.unpack_from(content, position)
    begin = position + _PREFIX.size
    end = begin + head_size + payload_size
    if magic != MAGIC or head_size > MOST_HEADER or payload_size > MOST_BYTES or end > len(content):
        return None
    if zlib.crc32(memoryview(content)[position + 8 : end]) != crc:
        return None
    try:
        header = json.loads(content[begin : begin + head_size])
        values = zlib.decompress(content[begin + head_size : end])
        return _record(header, values), end
    except (ValueError, KeyError, TypeError, zlib.error):  # written by a program that is not ours
        return None


def _record(header: dict[str, Any], values: bytes) -> Record:
    patches, position = [], 0
    for known in header["patches"]:
        box: Box = tuple((int(start), int(stop)) for start, stop in known["box"])
        shape, dtype = tuple(stop - start for start, stop in box), np.dtype(known["dtype"])
        size = math.prod(shape) * dtype.itemsize
        array = np.frombuffer(values, dtype, math.prod(shape), position).reshape(shape)
        patches.append(Patch(box, array))
        position += size
    first, last = map(int, header.get("span", (0, 0)))
    return Record(
        int(header["number"]),
        str(header["layer"]),
        str(header["kind"]),
        float(header["time"]),
        tuple(patches),
        (first, last) if last else None,
        bool(header.get("ended", True)),
    )
