"""What a project folder holds, put together from its newest whole snapshot and the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import SessionError
from napari_unet.session.journal import read_journal
from napari_unet.session.project import LayerEntry, Project
from napari_unet.session.records import Record, apply
from napari_unet.session.snapshots import Snapshot, read_snapshots


@dataclass(frozen=True, slots=True)
class RestoredLayer:
    """A layer as it was, and what the project knows of it."""

    array: npt.NDArray[Any]
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Restored:
    """The layers of a project.

    Attributes
    ----------
    layers : dict of RestoredLayer
        By their keys; none if the program ended before anything of them was saved.
    edits : int
        That were applied to the snapshot, to the layer that had most; a stroke that had not ended is one.
    number : int
        Of the last one.
    snapshot_time, last_time : float
        Of the snapshot and of the last edit, in seconds since 1970, UTC; 0 if there is none.
    remarks : tuple of str
        What could not be read, in sentences.
    """

    layers: Mapping[str, RestoredLayer]
    edits: int = 0
    number: int = 0
    snapshot_time: float = 0.0
    last_time: float = 0.0
    remarks: tuple[str, ...] = ()


def restore(project: Project, folders: Sequence[Path] = (), *, journal: bool = True) -> Restored:
    """Read the layers of a project; nothing is written.

    Parameters
    ----------
    project : Project
    folders : sequence of Path
        More folders that may hold some of its journal.
    journal : bool
        Whether to apply the edits that were made after the snapshot.

    Raises
    ------
    SessionError
        If a file of the journal cannot be read.
    """
    remarks: list[str] = []
    number, time, layers = _newest(read_snapshots(project.snapshots), remarks)
    there = [project.journal, *([project.elsewhere] if project.elsewhere is not None else []), *folders]
    records = _records(there, remarks) if journal else []
    begun = bool(layers)
    for key, entry in project.file.layers.items():
        if key in layers or (journal and not begun and not records):  # it ended before anything was saved
            continue
        layers[key] = _blank(entry)
        if journal and not begun:
            remarks.append(f'Of the layer "{key}" only edits are there, and not what it was like before.')
    last = 0.0
    applied = [record for record in _complete(records) if record.number > number and record.layer in layers]
    for record in applied:
        try:
            apply(record, layers[record.layer].array)
        except ValueError as error:
            remarks.append(f"An edit could not be applied ({error}).")
        last = record.time
    highest = max([number, *(record.number for record in records)])
    return Restored(layers, _edits(applied), highest, time, last, tuple(remarks))


def _newest(snapshots: Sequence[Snapshot], remarks: list[str]) -> tuple[int, float, dict[str, RestoredLayer]]:
    """Load the newest snapshot that is whole."""
    for snapshot in snapshots:
        try:
            layers = {key: RestoredLayer(snapshot.load(key), known.about) for key, known in snapshot.layers.items()}
        except SessionError as error:
            remarks.append(f"{error} An older one is used.")
            continue
        return snapshot.number, snapshot.time, layers
    return 0, 0.0, {}


def _complete(records: Sequence[Record]) -> Iterator[Record]:
    """Leave out edits of which some records are missing: the program ended while they were written."""
    there = {record.number for record in records}
    for record in records:
        first, last = record.span or (record.number, record.number)
        if all(number in there for number in range(first, last + 1)):
            yield record


def _edits(records: Sequence[Record]) -> int:
    """Count the edits, not the records, of the layer that has most: with a stroke, others may change as well."""
    counts = [0]
    for layer in {record.layer for record in records}:
        own = [record for record in records if record.layer == layer]
        ended = {record.span or (record.number, record.number) for record in own if record.ended}
        counts.append(len(ended) + (not own[-1].ended))
    return max(counts)


def _blank(entry: LayerEntry) -> RestoredLayer:
    return RestoredLayer(np.zeros(entry.shape, np.dtype(entry.dtype)), entry.about)


def _records(folders: Sequence[Path], remarks: list[str]) -> list[Record]:
    """Read all records once, in order."""
    found: dict[int, Record] = {}
    for folder in folders:
        try:
            journal = read_journal(folder)
        except OSError as error:
            raise SessionError(
                f'The journal in "{folder}" cannot be read ({error.strerror or error}). Check the disk and try again; '
                "nothing has been changed."
            ) from error
        for file in journal:
            found |= {record.number: record for record in file.scan.records}
            if file.scan.damaged:
                remarks.append(f'"{file.path.name}" is damaged in {file.scan.damaged} places; the rest of it is used.')
    return [found[number] for number in sorted(found)]
