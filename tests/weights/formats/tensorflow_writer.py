"""Checkpoints as the Saver of TensorFlow 1 writes them, from arrays by name."""

from __future__ import annotations

import struct
from pathlib import Path

import google_crc32c
import numpy as np

DTYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "float16": 19}


def masked(content):
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number):
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value) if value else b""


def entry(dtype, shape, shard, offset, content, slices=b""):
    dims = b"".join(field(2, field(1, side)) for side in shape)
    crc = varint(6 << 3 | 5) + struct.pack("<I", masked(content))
    return field(1, dtype) + field(2, dims) + field(3, shard) + field(4, offset) + field(5, len(content)) + crc + slices


def block(pairs, interval=16):
    out, restarts, previous = b"", [], b""
    for i, (key, value) in enumerate(pairs):
        shared = 0
        if i % interval == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        previous = key
    restarts = restarts or [0]
    return out + b"".join(struct.pack("<I", r) for r in restarts) + struct.pack("<I", len(restarts))


def table(pairs, block_bytes=400):
    """A sorted table with several blocks."""
    content, index, current = b"", [], []

    def flush(body):
        nonlocal content
        place = varint(len(content)) + varint(len(body))
        content += body + b"\0" + struct.pack("<I", masked(body + b"\0"))
        return place

    for key, value in sorted(pairs.items()):
        current.append((key, value))
        if sum(len(k) + len(v) for k, v in current) > block_bytes:
            index.append((current[-1][0], flush(block(current))))
            current = []
    if current:
        index.append((current[-1][0] + b"\xff", flush(block(current))))
    places = flush(block([])) + flush(block(index, 1))
    return content + places.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def save_checkpoint(prefix, variables, shards=1, listed=True, slices=()):
    """``tf.train.Saver().save(session, prefix)``."""
    prefix = Path(prefix)
    header = field(1, shards) + field(3, field(1, 1))
    pairs, contents = {b"": header}, [b""] * shards
    for i, (name, value) in enumerate(sorted(variables.items())):
        array = np.asarray(value)
        content, shard = array.tobytes(), i % shards
        extra = field(7, b"\x0a\x00") if name in slices else b""
        pairs[name.encode()] = entry(DTYPES[str(array.dtype)], array.shape, shard, len(contents[shard]), content, extra)
        contents[shard] += content
    prefix.with_name(prefix.name + ".index").write_bytes(table(pairs))
    for shard, content in enumerate(contents):
        prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
    if listed:
        line = f'model_checkpoint_path: "{prefix.name}"\nall_model_checkpoint_paths: "{prefix.name}"\n'
        (prefix.parent / "checkpoint").write_text(line)
    return prefix
