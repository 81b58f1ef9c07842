"""The model file: one ``.safetensors`` with its description in the header.

The header's metadata hold ``napari_unet`` (the `ModelSpec` as JSON) and ``sha256`` (of the
weights). Reading the description needs neither torch nor the weights. No pickle is ever opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ValidationError

from napari_unet.atomic import replace_file
from napari_unet.errors import ExportError, ModelError
from napari_unet.weights import SUFFIX as SUFFIX  # noqa: PLC0414  # is imported from here
from napari_unet.weights.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 100_000_000


def read_spec(path: str | Path) -> ModelSpec:
    """Read what a model file says about itself, without its weights.

    Raises
    ------
    ModelError
        If it is no model file of ours, or cut short.
    """
    return _parse_spec(Path(path), read_header(Path(path)))


def read_header(path: Path) -> dict[str, Any]:
    """Read and check the header of a ``.safetensors`` file.

    Raises
    ------
    ModelError
        If the file is missing, is something else, or is shorter than it says.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                _refuse(path)
            header = json.loads(file.read(length), object_pairs_hook=_without_duplicates)
    except OSError as error:
        raise ModelError(f'The model file "{path}" cannot be read: {error.strerror}.') from error
    except (ValueError, RecursionError):  # no text, no JSON, or a name given twice
        _refuse(path)
    if not isinstance(header, dict):
        _refuse(path)
    expected = 8 + length + _tensor_bytes(path, header)
    if size != expected:
        raise ModelError(
            f'"{path.name}" holds {size:,} bytes and should hold {expected:,}: it is damaged or was copied only in '
            "part. Copy it again."
        )
    return header


def has_batch_statistics(path: Path) -> bool:
    """Tell from the header of a model file whether batch normalization in it remembers statistics.

    Raises
    ------
    ModelError
        If it cannot be read.
    """
    return any(name.endswith(".running_mean") for name in read_header(path))


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _tensor_bytes(path: Path, header: Mapping[str, Any]) -> int:
    try:
        return max(
            (int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"),
            default=0,
        )
    except (KeyError, TypeError, ValueError, IndexError):
        _refuse(path)


def _refuse(path: Path) -> NoReturn:
    raise ModelError(
        f'"{path.name}" is not a model file: expected a whole and undamaged {SUFFIX} file. Copy it again, or choose '
        "another file."
    )


def _parse_spec(path: Path, header: Mapping[str, Any]) -> ModelSpec:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or "napari_unet" not in metadata:
        raise ModelError(
            f'"{path.name}" holds weights, but not what network they belong to: expected a {SUFFIX} file that this '
            "program wrote. Checkpoints of other programs cannot be opened yet."
        )
    try:
        return ModelSpec.model_validate_json(metadata["napari_unet"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            f'The description in "{path.name}" does not fit this version ({where or "model"}: {first["msg"]}). '
            "Update napari-unet, or save the model again with the version that wrote it."
        ) from error


def weights_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Fingerprint of named tensors: names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], spec: ModelSpec) -> Path:
    """Write a model file; see `napari_unet.weights.model.Model.save`."""
    from safetensors.torch import save

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    sha256 = weights_sha256(contiguous)
    metadata = {"napari_unet": spec.model_dump_json(), "sha256": sha256, "format": "pt"}

    def verify(written: Path) -> None:
        try:
            load_tensors(written)
        except ModelError as error:
            raise ExportError(f'"{path.name}" was not written correctly: {error} Nothing was changed.') from error

    return replace_file(path, lambda temporary: temporary.write_bytes(save(contiguous, metadata)), verify)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], ModelSpec]:
    """Read a model file and verify the fingerprint of its weights.

    Raises
    ------
    ModelError
        If it is no model file of ours, is cut short, or any bit of the weights has changed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = read_header(path)
    spec = _parse_spec(path, header)
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f'"{path.name}" cannot be read: {error}. Copy it again.') from error
    if weights_sha256(tensors) != header["__metadata__"].get("sha256"):
        raise ModelError(
            f'The weights in "{path.name}" have changed since they were saved: the file is damaged. Copy it again.'
        )
    return tensors, spec
