"""The table of contents of a TensorFlow checkpoint: a sorted table in blocks, whose values are protocol buffers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from napari_unet.errors import ModelError
from napari_unet.weights.formats.limits import shorten

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
FOOTER_BYTES = 48
MAX_INDEX_BYTES = 64 * 1024**2
MAX_ENTRIES = 100_000
MAX_NAME_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """One variable.

    Attributes
    ----------
    dtype : int
        As TensorFlow numbers types.
    shape : tuple of int
    shard, offset, size : int
        Which of the files with values it lies in, and where.
    crc : int
        Masked checksum of its values.
    sliced : bool
        Whether it is cut into pieces that are stored under other names.
    """

    dtype: int = 0
    shape: tuple[int, ...] = ()
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    sliced: bool = False


class Damaged(ValueError):  # noqa: N818  # turned into a ModelError that names the file
    """What does not read as a table."""


def masked_crc(content: bytes | memoryview) -> int:
    """CRC-32C as TensorFlow stores it: rotated and shifted, so that checksums of checksums differ."""
    crc = int(google_crc32c.value(bytes(content)))
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read_index(path: Path) -> tuple[int, dict[str, Entry]]:
    """Read the number of shards and the variables by name.

    Raises
    ------
    ModelError
        If it is damaged, packed, or written by a big-endian machine.
    """
    content = path.read_bytes()
    try:
        pairs = dict(_table(content))
        shards, endianness = _header(pairs.pop(b"", b""))
        if endianness != 0:
            raise ModelError(f'"{path.name}" was written by a big-endian machine, which cannot be read. Convert it.')
        return shards, {_name(key): _entry(value) for key, value in pairs.items()}
    except (Damaged, IndexError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise ModelError(
            f'"{path.name}" is damaged ({shorten(str(error))}): expected the index of a TensorFlow checkpoint. '
            "Copy it again."
        ) from error


def _name(key: bytes) -> str:
    if len(key) > MAX_NAME_BYTES:
        raise Damaged("a name is too long")
    return key.decode("utf-8")


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(content) < FOOTER_BYTES or not content.endswith(MAGIC):
        raise Damaged("its end is missing")
    footer = content[-FOOTER_BYTES:]
    position = 0
    handle = []
    for _ in range(4):
        number, position = _varint(footer, position)
        handle.append(number)
    list(_block(content, handle[0], handle[1]))  # nothing of use is in it, but its checksum tells of damage
    count = 0
    previous = None
    for _, value in _block(content, handle[2], handle[3]):
        offset, position = _varint(value, 0)
        size, _ = _varint(value, position)
        for key, item in _block(content, offset, size):
            count += 1
            if count > MAX_ENTRIES or (previous is not None and key <= previous):
                raise Damaged("its names are not in order")
            previous = key
            yield key, item


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; a key is stored as what differs from the one before."""
    end = offset + size
    if size < 4 or end + 5 > len(content) - FOOTER_BYTES:
        raise Damaged("a block lies outside the file")
    kind = content[end]
    (crc,) = struct.unpack_from("<I", content, end + 1)
    if masked_crc(memoryview(content)[offset : end + 1]) != crc:
        raise Damaged("a checksum is wrong")
    if kind != 0:
        raise Damaged("it is packed, as TensorFlow never does")
    (restarts,) = struct.unpack_from("<I", content, end - 4)
    stop = end - 4 - 4 * restarts
    key, position = b"", offset
    if stop < offset:
        raise Damaged("a block is cut short")
    while position < stop:
        shared, position = _varint(content, position)
        unshared, position = _varint(content, position)
        length, position = _varint(content, position)
        if shared > len(key) or position + unshared + length > stop:
            raise Damaged("a block is cut short")
        key = key[:shared] + content[position : position + unshared]
        position += unshared
        yield key, content[position : position + length]
        position += length


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte; return it and the position after it."""
    number = 0
    for shift in range(0, 70, 7):
        byte = content[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise Damaged("a number is too long")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of the fields of a protocol buffer."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == 0:
            value, position = _varint(message, position)
        elif kind in (1, 5):
            width = 8 if kind == 1 else 4
            value, position = int.from_bytes(message[position : position + width], "little"), position + width
        elif kind == 2:
            length, position = _varint(message, position)
            value, position = message[position : position + length], position + length
        else:
            raise Damaged("a field of unknown type")
        if position > len(message):
            raise Damaged("a field is cut short")
        yield number, value


def _header(message: bytes) -> tuple[int, int]:
    values = {number: value for number, value in _fields(message) if isinstance(value, int)}
    shards = values.get(1, 0)
    if not 1 <= shards <= 99_999:
        raise Damaged("it does not say how many files belong to it")
    return shards, values.get(2, 0)


def _entry(message: bytes) -> Entry:
    numbers: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    sliced = False
    for number, value in _fields(message):
        if number == 2 and isinstance(value, bytes):
            shape = _shape(value)
        elif isinstance(value, int):
            numbers[number] = value
        sliced = sliced or number == 7
    return Entry(
        dtype=numbers.get(1, 0),
        shape=shape,
        shard=numbers.get(3, 0),
        offset=numbers.get(4, 0),
        size=numbers.get(5, 0),
        crc=numbers.get(6, 0),
        sliced=sliced,
    )


def _shape(message: bytes) -> tuple[int, ...]:
    sides = []
    for number, value in _fields(message):
        if number == 2 and isinstance(value, bytes):
            side = dict(_fields(value)).get(1, 0)
            if not isinstance(side, int) or side >= 1 << 62:
                raise Damaged("a shape is negative")
            sides.append(side)
    return tuple(sides)
