"""``.safetensors`` files of any program: a header in JSON, then nothing but numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.errors import ModelError
from napari_unet.weights.file import read_header
from napari_unet.weights.formats.checkpoint import Checkpoint
from napari_unet.weights.formats.limits import check_claim, check_file, reason, shorten
from napari_unet.weights.formats.unwrapping import unwrap

if TYPE_CHECKING:
    from torch import Tensor

METADATA = "__metadata__"
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4,
    "U16": 2, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8,
}  # fmt: skip


def read_safetensors(path: Path) -> Checkpoint:
    """Read a ``.safetensors`` file that any program wrote; its metadata become the extras.

    Raises
    ------
    ModelError
        If it is damaged, claims more than it holds or holds no weights.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_file(path)
    header = read_header(path)
    metadata = check_header(path, header)
    try:
        # The loader maps the file; own copies outlive a change of it.
        tensors: dict[str, Tensor] = {name: tensor.clone() for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
        raise ModelError(f'"{path.name}" cannot be read: {reason(error)}. Copy it again.') from error
    found = unwrap(tensors)
    if not found.states:
        raise ModelError(f'"{path.name}" holds no weights of a network: none of its arrays could be that of a layer.')
    return Checkpoint(path, "safetensors file", tuple(found.states), metadata, tuple(found.notes))


def check_header(path: Path, header: Mapping[str, Any]) -> dict[str, str]:
    """Check that the arrays fill the file one behind the other, and return the metadata.

    Raises
    ------
    ModelError
        If a shape does not fit its bytes, or arrays overlap or leave gaps.
    """
    position = 0
    entries = [(name, entry) for name, entry in header.items() if name != METADATA]
    try:
        entries.sort(key=lambda item: (int(item[1]["data_offsets"][0]), int(item[1]["data_offsets"][1])))
        for name, entry in entries:
            begin, end = entry["data_offsets"]
            if begin != position or end < begin or entry["dtype"] not in ITEM_BYTES:
                raise ValueError(name)
            item_bytes = ITEM_BYTES[entry["dtype"]]
            if check_claim(path, name, _shape(entry["shape"]), item_bytes, end - begin) != end - begin:
                raise ValueError(name)
            position = end
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ModelError(
            f'"{path.name}" is damaged: the place of its array "{shorten(name) if entries else ""}" does not fit its '
            "shape or its neighbours. Copy it again."
        ) from error
    metadata = header.get(METADATA) or {}
    return {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {}


def _shape(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(side) is int and side < 2**62 for side in value):
        raise ValueError(f"{math.nan}")
    return tuple(value)
