"""PyTorch's own files (``.pt``, ``.pth``, ``.ckpt``), read as data.

They are pickles, which are programs. `torch.load` is only ever called with ``weights_only=True``,
and only after the file has been followed on paper (`outline`), its names and sizes checked, and
every unknown class replaced by one that does nothing (`stubs`). There is no other way in.
"""

from __future__ import annotations

import re
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from napari_unet.errors import ModelError
from napari_unet.weights.formats.checkpoint import Checkpoint, State
from napari_unet.weights.formats.identify import LEGACY_MAGIC, ZIP_MAGIC
from napari_unet.weights.formats.limits import (
    MAX_TEXT_BYTES,
    check_file,
    open_zip,
    read_member,
    reason,
    verify_checksums,
)
from napari_unet.weights.formats.outline import Outline, outline_pickle
from napari_unet.weights.formats.stubs import check_names, stand_ins
from napari_unet.weights.formats.unwrapping import Unwrapped, unwrap

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAX_NAME_BYTES = 4096
MAP_BYTES = 512 * 1024**2
"""From this size on a file is mapped, so that what is not used of it (the optimizer's state) takes no memory."""

NATIVE = re.compile(
    r"torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2|torch\.(?:\w+\.)?\w*(?:Storage|Tensor)"
    r"|torch\.nn\.parameter\.Parameter|torch\.serialization\._get_layout|torch\.(?:Size|device)"
    r"|collections\.(?:OrderedDict|Counter)|_codecs\.encode|builtins\.(?:set|bytearray|complex)"
)
"""Names that torch.load itself knows how to read safely; its data types come in addition."""
FAMILIAR = re.compile(r"(?:torch|numpy|collections|builtins|_codecs)\.")

_LOCK = threading.Lock()


def read_pickled(path: Path) -> Checkpoint:
    """Read a file written by `torch.save`, without running anything of it.

    Raises
    ------
    ModelError
        If it is damaged, claims more than it holds, asks for something dangerous or holds no weights.
    """
    size = check_file(path)
    with path.open("rb") as file:
        zipped = file.read(4) == ZIP_MAGIC
    outline, mappable = _outline_zip(path) if zipped else (_outline_legacy(path, size), False)
    check_names(path, outline.names)
    mapped = mappable and size >= MAP_BYTES and path.suffix != ".safetensors"
    found = _unwrap(path, _load(path, outline, mapped=mapped))
    if not found.states:
        raise ModelError(
            f'"{path.name}" holds no weights of a network: expected a state_dict, a checkpoint around one, or a '
            "network saved whole."
        )
    states = tuple(map(_own, found.states)) if mapped else tuple(found.states)
    kind = "PyTorch checkpoint" if zipped else "PyTorch checkpoint of the old kind"
    return Checkpoint(path, kind, states, found.extras, (*_notes(outline), *found.notes))


def _outline_zip(path: Path) -> tuple[Outline, bool]:
    """Follow the pickle of a zip; also whether its members lie unpacked, so that the file can be mapped."""
    with open_zip(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        root = next(iter(members), "").partition("/")[0]
        strangers = [name for name in members if not name.startswith(f"{root}/")]
        if f"{root}/data.pkl" not in members or strangers:
            raise ModelError(
                f'"{path.name}" is not laid out like a PyTorch file. Choose the .pt or .pth file inside it.'
            )
        verify_checksums(archive)

        def stored_bytes(key: str) -> int:
            member = members.get(f"{root}/data/{key}")
            return member.file_size if member else -1

        outline = outline_pickle(path, BytesIO(read_member(archive, f"{root}/data.pkl")), stored_bytes)
        return outline, all(member.compress_type == zipfile.ZIP_STORED for member in members.values())


def _outline_legacy(path: Path, size: int) -> Outline:
    """Follow the five pickles of a file written before PyTorch 1.6."""
    with path.open("rb") as file:
        if file.read(len(LEGACY_MAGIC)) != LEGACY_MAGIC:
            raise ModelError(f'"{path.name}" is not a file that torch.save wrote.')
        file.seek(0)
        bounded = _Bounded(file, size)
        outlines = [outline_pickle(path, bounded, lambda _: size) for _ in range(5)]
    if any(part.names for part in (*outlines[:3], outlines[4])):
        raise ModelError(f'"{path.name}" is refused: it asks for classes where a file has only numbers.')
    outline = outlines[3]
    held = sum(stored.item_bytes * stored.items for stored in outline.storages.values())
    if held > size:
        raise ModelError(
            f'"{path.name}" is refused: its tensors claim {held:,} bytes, and the file holds {size:,}. It is damaged '
            "or was copied only in part. Copy it again."
        )
    return outline


class _Bounded:
    """A file of which no piece larger than itself can be asked for: Python takes the memory before it reads."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file = file
        self.size = size

    def read(self, count: int) -> bytes:
        return self.file.read(min(count, self.size - self.file.tell(), MAX_TEXT_BYTES))

    def readline(self) -> bytes:
        return self.file.readline(MAX_NAME_BYTES)

    def tell(self) -> int:
        return self.file.tell()


def _load(path: Path, outline: Outline, *, mapped: bool) -> object:
    import torch

    unknown = {name for name in outline.names if not _is_native(name)}
    try:
        with _only_these(stand_ins(outline, outline.names - unknown)), path.open("rb") as file:
            # A path with the wrong suffix would be read by another reader; an open file is not.
            source = path if mapped else file
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # whatever a damaged file makes torch raise
        raise ModelError(
            f'"{path.name}" cannot be read: {_summary(error)}. It may be damaged: copy it again.'
        ) from error


def _unwrap(path: Path, loaded: object) -> Unwrapped:
    try:
        return unwrap(loaded)
    except ModelError:
        raise
    except Exception as error:  # a forged state may have any type in any place
        raise ModelError(
            f'"{path.name}" is damaged: what it holds is not laid out like weights. Copy it again.'
        ) from error


@contextmanager
def _only_these(names: Sequence[tuple[Callable[..., Any], str]]) -> Iterator[None]:
    """Let torch.load know these names and no others, also none that other plugins have allowed."""
    from torch.serialization import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals

    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        allowed = get_safe_globals()
        clear_safe_globals()
        try:
            with safe_globals(list(names)):
                yield
        finally:
            add_safe_globals(allowed)


def _is_native(name: str) -> bool:
    import torch

    if NATIVE.fullmatch(name):
        return True
    root, _, rest = name.partition(".")
    return root == "torch" and isinstance(getattr(torch, rest, None), torch.dtype | torch.layout | torch.qscheme)


def _summary(error: Exception) -> str:
    """Shorten the message of torch, which proposes ways around its own safety."""
    text = str(error)
    if "WeightsUnpickler error:" in text:
        text = text.split("WeightsUnpickler error:", 1)[1]
    return reason(ValueError(text.strip() or type(error).__name__))


def _notes(outline: Outline) -> list[str]:
    strange = sorted(name for name in outline.names if not FAMILIAR.match(name))
    if not strange:
        return []
    listed = ", ".join(strange[:5]) + (", …" if len(strange) > 5 else "")
    return [f"Classes of other programs were read as data, and their code was not run: {listed}."]


def _own(state: State) -> State:
    """Copy the tensors of a mapped file, so that the file may change afterwards; shared storages stay shared."""
    copies: dict[int, torch.UntypedStorage] = {}

    def copy(tensor: Tensor) -> Tensor:
        import torch

        storage = tensor.untyped_storage()
        if storage.data_ptr() not in copies:
            copies[storage.data_ptr()] = storage.clone()  # type: ignore[no-untyped-call]
        own = copies[storage.data_ptr()]
        empty = torch.empty(0, dtype=tensor.dtype)
        return empty.set_(own, tensor.storage_offset(), tensor.shape, tensor.stride())

    return replace(state, tensors={name: copy(tensor) for name, tensor in state.tensors.items()})
