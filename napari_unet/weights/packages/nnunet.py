"""Result folders of nnU-Net v2, read as data: nothing that plans.json names is imported.

Such a folder, "Trainer__Plans__configuration", holds ``plans.json``, ``dataset.json`` and for each
fold a folder ``fold_0`` with ``checkpoint_final.pth`` and ``checkpoint_best.pth``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_unet.errors import ModelError
from napari_unet.weights.foreign import from_checkpoint
from napari_unet.weights.formats.checkpoint import Checkpoint
from napari_unet.weights.formats.limits import MAX_TEXT_BYTES
from napari_unet.weights.formats.opening import open_checkpoint
from napari_unet.weights.model import Model

PLANS, DATASET = "plans.json", "dataset.json"
CHECKPOINTS = ("final", "best")


def load_results(path: Path, answers: Mapping[str, Any]) -> Model:
    """Open a result folder of nnU-Net.

    Parameters
    ----------
    path : Path
        The folder with ``plans.json``, one of its folds, one of its two JSON files, or the folder above.
    answers : dict
        See `napari_unet.load_model`; ``fold="all"`` or a number chooses one of several networks (the one
        trained on all images by default, else the first), ``checkpoint="final" | "best"`` its weights.

    Raises
    ------
    ModelError
        If something is missing, there are several results, or the network is none that is known.
    """
    given = dict(answers)
    if isinstance(given.get("fold"), str) and given["fold"].isdigit():
        given["fold"] = int(given["fold"])
    return from_checkpoint(open_results(path, given), given)


def open_results(path: Path, answers: Mapping[str, Any]) -> Checkpoint:
    """Read one checkpoint of a result folder, with the plans in its `extras`."""
    folder, fold = _find_folder(path)
    folds = _folds(folder)
    chosen = _choose("fold", answers, tuple(folds), fold)
    files = {name: folds[chosen] / f"checkpoint_{name}.pth" for name in CHECKPOINTS}
    there = tuple(name for name, file in files.items() if file.is_file())
    wanted = _choose("checkpoint", answers, there, None)
    checkpoint = open_checkpoint(files[wanted])
    notes = [f"The network of fold {chosen}, checkpoint_{wanted}.pth, was opened."]
    if len(folds) > 1:
        notes.append(f"nnU-Net averages the networks of all {len(folds)} folds; here only one of them is used.")
    notes.append("nnU-Net also averages over mirrored images; here each image is seen once.")
    extras = {
        **checkpoint.extras,
        "plans": _read_json(folder / PLANS),
        "dataset": _read_json(folder / DATASET),
        "configuration": folder.name.split("__")[-1],
        "choices": {"fold": (chosen, tuple(folds)), "checkpoint": (wanted, there)},
    }
    return replace(
        checkpoint, path=folder, format="nnU-Net result folder", extras=extras, notes=(*notes, *checkpoint.notes)
    )


def _is_trained(folder: Path) -> bool:
    return (folder / PLANS).is_file() and (folder / DATASET).is_file()


def _below(folder: Path) -> list[Path]:
    """Return the result folders right below a folder, such as the configurations of one data set."""
    try:
        return sorted(place for place in folder.iterdir() if "__" in place.name and _is_trained(place))
    except OSError:
        return []


def _find_folder(path: Path) -> tuple[Path, str | int | None]:
    """Find the result folder, and the fold if it is one that was chosen."""
    folder = path if path.is_dir() else path.parent
    if folder.name.startswith("fold_") and not _is_trained(folder):
        return folder.parent, _fold_of(folder)
    if _is_trained(folder):
        return folder, None
    below = _below(folder)
    if len(below) == 1:
        return below[0], None
    if below:
        names = ", ".join(place.name for place in below)
        raise ModelError(f'"{folder.name}" holds the results of {len(below)} trainings ({names}). Choose one of them.')
    raise ModelError(f'"{folder.name}" is no result folder of nnU-Net: it lacks {PLANS} and {DATASET}.')


def _fold_of(folder: Path) -> str | int:
    name = folder.name.removeprefix("fold_")
    return int(name) if name.isdigit() else name


def _folds(folder: Path) -> dict[str | int, Path]:
    """Folders of the folds that have weights, that of all images first."""
    places = [
        place
        for place in folder.glob("fold_*")
        if any((place / f"checkpoint_{name}.pth").is_file() for name in CHECKPOINTS)
    ]
    if not places:
        raise ModelError(
            f'"{folder.name}" has no weights: expected files such as fold_0/checkpoint_final.pth. Copy the folders '
            "of the folds, too."
        )
    found = {_fold_of(place): place for place in places}
    return dict(sorted(found.items(), key=lambda item: (not isinstance(item[0], str), str(item[0]).zfill(9))))


def _choose(keyword: str, answers: Mapping[str, Any], values: tuple[Any, ...], told: Any) -> Any:  # noqa: ANN401
    """Return the value that was asked for, that the path tells, or the first one."""
    chosen = answers.get(keyword, told)
    if chosen is None:
        return values[0]
    if chosen not in values:
        raise ModelError(f"{keyword}={chosen!r} was given. Choose one of: {', '.join(map(repr, values))}.")
    return chosen


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file as data."""
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise ModelError(f'"{path.name}" is far too large to be a plan of nnU-Net. Copy it again.')
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f'"{path.name}" of nnU-Net cannot be read: it is damaged. Copy it again.') from error
    if not isinstance(said, dict):
        raise ModelError(f'"{path.name}" of nnU-Net holds no settings by name. Copy it again.')
    return said
