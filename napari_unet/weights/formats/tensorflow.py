"""Checkpoints of TensorFlow (prefix.index and prefix.data-00000-of-00001), read without TensorFlow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.errors import ModelError
from napari_unet.weights.formats.arrays import to_tensor
from napari_unet.weights.formats.checkpoint import Checkpoint, State
from napari_unet.weights.formats.limits import check_claim, check_file, leads_outside, shorten
from napari_unet.weights.formats.tensorflow_index import MAGIC, MAX_INDEX_BYTES, Entry, masked_crc, read_index

if TYPE_CHECKING:
    from torch import Tensor

MAX_TOTAL_BYTES = 16 * 1024**3
MAX_TEXT_BYTES = 1024**2
INDEX = ".index"
LIST = "checkpoint"
_SHARD = re.compile(r"\.data-\d{5}-of-\d{5}$")
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "|u1", 5: "<i2", 6: "|i1", 9: "<i8", 17: "<u2", 19: "<f2", 22: "<u4"}
_TEXT, _BOOL, _UINT64 = 7, 10, 23
_SLOTS = re.compile(r"/(Adam|Momentum|RMSProp|Adagrad|Adadelta|Ftrl|AdaMax|LAMB|[mv]|vhat|momentum|rms)(_\d+)?$")
_COUNTERS = re.compile(
    r"(^|/)(beta[12]_power|global_step|save_counter|iter|learning_rate|decay|beta_[12])(_\d+)?(/\.|$)"
)
_AVERAGE = "/ExponentialMovingAverage"
_OBJECT_PARTS = (".OPTIMIZER_SLOT", "_CHECKPOINTABLE_OBJECT_GRAPH")
_OPTIMIZER = re.compile(r"^(optimizer|_optimizer|keras_api/metrics)(/|$)")


def read_tensorflow(path: Path) -> Checkpoint:
    """Read the variables of a TensorFlow checkpoint by their names.

    Parameters
    ----------
    path : Path
        The prefix, one of its files, the text file "checkpoint" or a folder that holds it. Variables of optimizers
        are left out; running averages are a second set of weights.

    Raises
    ------
    ModelError
        If a file is missing or damaged, holds pieces of variables, or is a checkpoint of the first format.
    """
    prefix = _find_prefix(Path(path))
    index = prefix.with_name(prefix.name + INDEX)
    check_file(index, MAX_INDEX_BYTES)
    shards, entries = read_index(index)
    wanted, left_out, texts = _wanted(entries)
    tensors = _read_tensors(prefix, shards, {name: entries[name] for name in wanted})
    if not tensors:
        raise ModelError(f'"{index.name}" lists no weights: expected the variables of a network.')
    states = _states(tensors)
    notes = []
    if left_out:
        notes.append(f"{left_out} variables of the optimizer were left out.")
    if texts:
        notes.append(f"{texts} variables that are no numbers were left out.")
    return Checkpoint(index, "TensorFlow checkpoint", states, {"tensorflow": {"names": sorted(wanted)}}, tuple(notes))


def _find_prefix(path: Path) -> Path:
    if path.is_dir():
        found = sorted(path.glob(f"*{INDEX}"))
        if not (path / LIST).is_file() and len(found) == 1:
            return found[0].with_name(found[0].name.removesuffix(INDEX))
        path = path / LIST
        if not path.is_file():
            raise ModelError(
                f'The folder "{path.parent}" holds {len(found)} TensorFlow checkpoints and no file "{LIST}" that says '
                f"which is the last. Choose one of its {INDEX} files."
            )
    if path.name == LIST and path.is_file():
        return _latest(path)
    if path.name.endswith(INDEX):
        return path.with_name(path.name.removesuffix(INDEX))
    if _SHARD.search(path.name):
        return path.with_name(_SHARD.sub("", path.name))
    if path.with_name(path.name + INDEX).is_file():
        return path
    raise _no_checkpoint(path)


def _no_checkpoint(path: Path) -> ModelError:
    check_file(path)
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(MAGIC)))
        first_format = file.read() == MAGIC
    what = "a TensorFlow checkpoint of the first format" if first_format else "no TensorFlow checkpoint"
    return ModelError(
        f'"{path.name}" is {what}: expected a file that ends in {INDEX} beside one that ends in .data-00000-of-00001, '
        "as TensorFlow writes since version 1.0."
    )


def _latest(path: Path) -> Path:
    """Read the name of the last checkpoint; a path of another machine means the file of this name beside it."""
    check_file(path, MAX_TEXT_BYTES)
    match = re.search(rb'^model_checkpoint_path:\s*"([^"\r\n]{1,4096})"', path.read_bytes(), re.MULTILINE)
    name = match[1].decode("utf-8", "replace").replace("\\\\", "/").replace("\\", "/") if match else ""
    if leads_outside(name):
        name = name.rsplit("/", 1)[-1]
    if leads_outside(name):
        raise ModelError(f'"{path}" does not name a checkpoint in its folder. Choose the {INDEX} file itself.')
    return path.parent / name


def _wanted(entries: dict[str, Entry]) -> tuple[list[str], int, int]:
    """Names of the weights, and how many variables of optimizers and of texts there are beside them."""
    wanted = []
    left_out = texts = 0
    for name, entry in entries.items():
        if entry.dtype in (_TEXT, _BOOL, _UINT64) and not entry.sliced:
            texts += name != "_CHECKPOINTABLE_OBJECT_GRAPH"
        elif _of_optimizer(name, entries):
            left_out += 1
        else:
            wanted.append(name)
    return wanted, left_out, texts


def _of_optimizer(name: str, entries: dict[str, Entry]) -> bool:
    slot = _SLOTS.search(name)
    if slot and name[: slot.start()] in entries:
        return True
    counter = not entries[name].shape and _COUNTERS.search(name) is not None
    return counter or any(part in name for part in _OBJECT_PARTS) or _OPTIMIZER.search(name) is not None


def _read_tensors(prefix: Path, shards: int, entries: dict[str, Entry]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    if sum(entry.size for entry in entries.values()) > MAX_TOTAL_BYTES:
        raise ModelError(f'"{prefix.name}" is refused: it claims more than {MAX_TOTAL_BYTES:,} bytes of weights.')
    for shard in sorted({entry.shard for entry in entries.values()}):
        path = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")
        if not path.is_file():
            raise ModelError(f'"{path.name}" is missing beside "{prefix.name}{INDEX}": both are needed. Copy it too.')
        size = check_file(path)
        total = 0
        inside = sorted((e.offset, name) for name, e in entries.items() if e.shard == shard)
        with path.open("rb") as file:
            for offset, name in inside:
                entry = entries[name]
                total += _check_entry(path, name, entry, size, total)
                file.seek(offset)
                found[name] = _read_entry(path, name, entry, file.read(entry.size))
    return {name: found[name] for name in entries}


def _check_entry(path: Path, name: str, entry: Entry, size: int, total: int) -> int:
    label = shorten(name)
    if entry.sliced:
        raise ModelError(
            f'"{path.name}" holds the variable "{label}" in pieces, which cannot be joined here. Save the checkpoint '
            "again without partitioned variables."
        )
    if entry.dtype not in _TYPES:
        raise ModelError(
            f'"{path.name}" holds "{label}" of the type that TensorFlow numbers {entry.dtype}: expected single, double '
            "or half precision or integers."
        )
    if entry.offset + entry.size > size:
        raise ModelError(
            f'"{path.name}" holds {size:,} bytes, and its variable "{label}" should end at byte '
            f"{entry.offset + entry.size:,}: it was copied only in part. Copy it again."
        )
    claimed = check_claim(path, name, entry.shape, np.dtype(_TYPES[entry.dtype]).itemsize, entry.size)
    if claimed != entry.size or total + claimed > size:
        raise ModelError(
            f'"{path.name}" is damaged or refused: its variable "{label}" claims {claimed:,} bytes, and the checkpoint '
            f"says {entry.size:,}, in a file of {size:,}."
        )
    return claimed


def _read_entry(path: Path, name: str, entry: Entry, content: bytes) -> Tensor:
    if len(content) != entry.size or masked_crc(content) != entry.crc:
        raise ModelError(
            f'"{path.name}" is damaged: the values of "{shorten(name)}" have changed since they were saved. Copy it '
            "again."
        )
    return to_tensor(path, name, np.frombuffer(content, _TYPES[entry.dtype]).reshape(entry.shape))


def _states(tensors: dict[str, Tensor]) -> tuple[State, ...]:
    """Split running averages off; what has none, such as statistics of normalization, belongs to both."""
    plain = {name: tensor for name, tensor in tensors.items() if not name.endswith(_AVERAGE)}
    averages = {name.removesuffix(_AVERAGE): tensor for name, tensor in tensors.items() if name.endswith(_AVERAGE)}
    if not averages:
        return (State("", plain),)
    averaged = State("ExponentialMovingAverage", {**plain, **averages}, averaged=True)
    return (State("", plain), averaged) if plain else (averaged,)
