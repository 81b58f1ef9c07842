"""What kind of weights file something is, told from its content and not from its suffix."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from napari_unet.errors import ModelError
from napari_unet.weights.formats.limits import check_file, open_zip

ACCEPTED = (
    "PyTorch (.pt, .pth, .ckpt), .safetensors, Keras (.h5, .hdf5, .keras), TensorFlow checkpoints (.index), .npz, "
    "ONNX, TorchScript, bioimage.io packages and nnU-Net result folders"
)
SUFFIXES = {
    ".pt", ".pth", ".ckpt", ".pkl", ".bin", ".safetensors", ".h5", ".hdf5", ".keras", ".index", ".npz", ".onnx", ".tar",
    ".pth.tar", ".pytorch",
}  # fmt: skip
DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml", "model.yaml")

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
INDEX_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
SHARD = re.compile(r"\.data-\d{5}-of-\d{5}$")
PACKED = {b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR", b"\xfd7zXZ": "xz", b"BZh": "bzip2"}


class Kind(StrEnum):
    """Kinds of weights files; each value is what people call it."""

    OWN = "napari-unet model"
    SAFETENSORS = "safetensors file"
    TORCH = "PyTorch checkpoint"
    TORCH_LEGACY = "PyTorch checkpoint of the old kind"
    TORCHSCRIPT = "TorchScript program"
    KERAS = "Keras model (.keras)"
    HDF5 = "HDF5 file"
    ONNX = "ONNX program"
    TENSORFLOW = "TensorFlow checkpoint"
    NPZ = "NumPy archive"
    BIOIMAGE = "bioimage.io package"
    NNUNET = "nnU-Net result folder"


def identify(path: str | Path) -> Kind:
    """Tell what kind of weights a file or folder holds.

    Parameters
    ----------
    path : str or Path
        A file, a folder, or the common beginning of the files of a TensorFlow checkpoint.

    Raises
    ------
    ModelError
        If it is missing, empty, a stand-in for a file, or nothing that can be opened.
    """
    return _identify_file(locate(path))


def locate(path: str | Path) -> Path:
    """Return the file or folder that a reader takes: of a folder with one weights file, that file.

    Raises
    ------
    ModelError
        If there is nothing, or several files could be meant.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    if _folder_kind(path) is not None:
        return path
    if (path / "saved_model.pb").is_file() and (path / "variables" / "variables.index").is_file():
        return path / "variables" / "variables.index"
    weights = sorted(file for file in path.iterdir() if file.is_file() and file.suffix.lower() in SUFFIXES)
    if len(weights) == 1:
        return weights[0]
    if not weights:
        raise ModelError(f'The folder "{path}" holds no weights that can be opened. Accepted are {ACCEPTED}.')
    names = ", ".join(file.name for file in weights[:5])
    raise ModelError(f'The folder "{path}" holds {len(weights)} weights files ({names}). Choose one of them.')


def _folder_kind(folder: Path) -> Kind | None:
    if any((folder / name).is_file() for name in DESCRIPTIONS):
        return Kind.BIOIMAGE
    fold = folder.name.startswith("fold_")
    for place in (folder, folder.parent) if fold else (folder,):
        if _has_plans(place):
            return Kind.NNUNET
    if any("__" in place.name and _has_plans(place) for place in folder.iterdir()):
        return Kind.NNUNET
    if (folder / "checkpoint").is_file() and any(folder.glob("*.index")):
        return Kind.TENSORFLOW
    return None


def _has_plans(folder: Path) -> bool:
    return (folder / "plans.json").is_file() and (folder / "dataset.json").is_file()


def _identify_file(path: Path) -> Kind:
    if path.is_dir():
        kind = _folder_kind(path)
        assert kind is not None
        return kind
    if not path.exists() and path.with_name(path.name + ".index").is_file():
        return Kind.TENSORFLOW
    size = check_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            file.seek(-min(size, 8), 2)
            tail = file.read(8)
    except OSError as error:
        raise ModelError(f'"{path}" cannot be read: {error.strerror}.') from error
    _refuse_stand_ins(path, head)
    kind = _kind_by_magic(path, head, tail) or _kind_by_structure(path, head, size)
    if kind is None:
        raise ModelError(f'"{path.name}" is no weights file that can be opened. Accepted are {ACCEPTED}.')
    return kind


def _kind_by_magic(path: Path, head: bytes, tail: bytes) -> Kind | None:
    if head.startswith(ZIP_MAGIC):
        return _zip_kind(path)
    if head.startswith(LEGACY_MAGIC):
        return Kind.TORCH_LEGACY
    # HDF5 may begin behind a block of the user's own.
    if any(head[start : start + 8] == HDF5_MAGIC for start in (0, 512, 1024, 2048)):
        return Kind.HDF5
    if tail == INDEX_MAGIC or (path.name == "checkpoint" and head.startswith(b"model_checkpoint_path:")):
        return Kind.TENSORFLOW
    if SHARD.search(path.name):
        index = SHARD.sub(".index", path.name)
        if not path.with_name(index).is_file():
            raise ModelError(
                f'"{path.name}" needs the file "{index}" beside it, which names its variables. Copy it, too.'
            )
        return Kind.TENSORFLOW
    return None


def _kind_by_structure(path: Path, head: bytes, size: int) -> Kind | None:
    from napari_unet.weights.file import SUFFIX, read_header

    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and (length <= size or path.suffix == SUFFIX):
        metadata = read_header(path).get("__metadata__")
        return Kind.OWN if isinstance(metadata, dict) and "napari_unet" in metadata else Kind.SAFETENSORS
    if path.name in DESCRIPTIONS or (path.suffix in (".yaml", ".yml") and b"format_version" in head):
        return Kind.BIOIMAGE
    if path.name in ("plans.json", "dataset.json") and _folder_kind(path.parent) is Kind.NNUNET:
        return Kind.NNUNET
    return Kind.ONNX if _is_onnx(path, size) else None


def _refuse_stand_ins(path: Path, head: bytes) -> None:
    """Refuse what is often found in place of weights, and say what to do about each."""
    start = head.lstrip()[:64].lower()
    if head.startswith(b"version https://git-lfs"):
        problem = "is a pointer of Git LFS and not the file itself. Fetch it with: git lfs pull"
    elif start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        problem = "is a web page, saved in place of the weights. Download the file itself"
    elif head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5" and not head.startswith(LEGACY_MAGIC):
        problem = "is a pickle that torch.save did not write. Save the weights with torch.save(model.state_dict(), ...)"
    elif head.startswith(b"\x93NUMPY"):
        problem = "is a single array without a name. Save all of them by name with numpy.savez"
    elif packed := next((name for magic, name in PACKED.items() if head.startswith(magic)), ""):
        problem = f"is packed with {packed}. Unpack it and choose the file inside"
    elif head[257:262] == b"ustar":
        problem = "is a tar archive. Unpack it and choose the file inside"
    elif not any(head):
        problem = "begins with nothing but zeros: it was not downloaded or copied to the end. Do so again"
    else:
        return
    raise ModelError(f'"{path.name}" {problem}.')


def _zip_kind(path: Path) -> Kind:
    try:
        with open_zip(path) as archive:
            names = archive.namelist()
    except ModelError:
        if zipfile.is_zipfile(path):
            raise
        raise ModelError(
            f'"{path.name}" is damaged: it begins like a PyTorch file or a package, and its end is missing. Copy or '
            "download it again."
        ) from None
    kind = _kind_by_members(names)
    if kind is not None:
        return kind
    raise ModelError(f'"{path.name}" {_strange_zip(names)}')


def _kind_by_members(names: Iterable[str]) -> Kind | None:
    found = set(names)
    roots = {name.partition("/")[0] for name in found}
    inside = {name.partition("/")[2] for name in found} if len(roots) == 1 else set()
    if found.intersection(DESCRIPTIONS) or inside.intersection(DESCRIPTIONS):
        return Kind.BIOIMAGE
    if {"config.json", "model.weights.h5"} <= found:
        return Kind.KERAS
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        return Kind.TORCHSCRIPT
    if "data.pkl" in inside:
        return Kind.TORCH
    if found and all(name.endswith(".npy") for name in found):
        return Kind.NPZ
    return None


def _strange_zip(names: list[str]) -> str:
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        return (
            "is a program that torch.export wrote (.pt2), which is never opened. Save its state_dict with torch.save."
        )
    if any(name.endswith("plans.json") for name in names):
        return "holds results of nnU-Net. Unpack it and choose the folder with plans.json."
    return f"is a zip without a known model in it. Unpack it and choose the weights. Accepted are {ACCEPTED}."


def _is_onnx(path: Path, size: int) -> bool:
    """Whether the fields of a file are those of an ONNX model: it has no magic number.

    Field 1 is the version of the format, 7 the graph, 8 the version of the operators; see ``onnx.proto``.
    """
    seen: set[int] = set()
    try:
        with path.open("rb") as file:
            while file.tell() < size:
                field, wire = divmod(_varint(file), 8)
                value = _varint(file) if wire in (0, 2) else 0
                if wire == 2:
                    file.seek(value, 1)
                known = (wire == 0 and field in (1, 5)) or (wire == 2 and field in (2, 3, 4, 6, 7, 8, 14, 20, 25, 26))
                if not known or file.tell() > size or (field == 1 and not 1 <= value <= 1000):
                    return False
                seen.add(field)
    except (EOFError, OSError, OverflowError):
        return False
    return {1, 7, 8} <= seen or (7 in seen and path.suffix.lower() == ".onnx")


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise OverflowError
