"""The project folder of an image: what belongs to it, where it lies, and who may write to it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from napari_unet.atomic import replacing, write_bytes
from napari_unet.errors import ExportError, SessionError
from napari_unet.networks.spec import Config
from napari_unet.session.identity import ImageIdentity
from napari_unet.session.locking import ProjectLock
from napari_unet.session.places import FILE, beside_image, known_folder, state_folder

SCHEMA = 1
JOURNAL, SNAPSHOTS, MODELS, EARLIER = "journal", "snapshots", "models", "earlier"

Migration = Callable[[dict[str, Any]], dict[str, Any]]
# From a schema version to the next one. Each is given a copy.
MIGRATIONS: Mapping[int, Migration] = {}


class ModelEntry(Config):
    """A model of the project.

    Attributes
    ----------
    file : str
        In the folder of models.
    title : str
    parent : str, optional
        File or name of the model that it was fine-tuned from.
    edits : int
        Number of the last edit that it may have learnt from.
    time : float
        Seconds since 1970, UTC.
    score, old_score : float, optional
        On the held-out corrections, of this model and of its parent.
    held_out_px : int
        Pixels behind the scores.
    """

    file: str
    title: str
    parent: str | None = None
    edits: int = 0
    time: float = 0.0
    score: float | None = None
    old_score: float | None = None
    held_out_px: int = 0


class LayerEntry(Config):
    """A layer of labels, so that its edits mean something even before the first snapshot of it."""

    shape: tuple[int, ...]
    dtype: str
    about: dict[str, Any] = Field(default_factory=dict)


class ProjectFile(Config):
    """What `project.json` holds."""

    schema_version: int = SCHEMA
    image: ImageIdentity
    layers: dict[str, LayerEntry] = Field(default_factory=dict)
    models: tuple[ModelEntry, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    closed: bool = True


@dataclass(slots=True)
class Project:
    """An open project folder.

    Attributes
    ----------
    folder : Path
    file : ProjectFile
    lock : ProjectLock, optional
        None if it can only be read.
    obstacle : str
        Why it can only be read; empty if it can be written.
    remark : str
        What the user should know about where it lies; may be empty.
    """

    folder: Path
    file: ProjectFile
    lock: ProjectLock | None = None
    obstacle: str = ""
    remark: str = ""
    unclean: bool = field(default=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def writable(self) -> bool:
        """Whether we may write to it."""
        return self.lock is not None and self.lock.held

    @property
    def journal(self) -> Path:
        """Folder of the journal."""
        return self.folder / JOURNAL

    @property
    def elsewhere(self) -> Path | None:
        """Folder to which the journal moves when its own cannot be written; None if there is no other."""
        other = state_folder(self.file.image) / JOURNAL
        return None if other == self.journal else other

    @property
    def snapshots(self) -> Path:
        """Folder of the snapshots."""
        return self.folder / SNAPSHOTS

    @property
    def models(self) -> Path:
        """Folder of the models."""
        return self.folder / MODELS

    def update(self, **changes: Any) -> None:  # noqa: ANN401
        """Change what `project.json` holds, and write it.

        Raises
        ------
        SessionError
            If the project can only be read.
        ExportError
            If it cannot be written; what was there is unchanged.
        """
        with self._guard:
            self._write(changes)

    def set(self, key: str, known: Any) -> None:  # noqa: ANN401
        """Change one of the settings, which JSON can hold, as `update` does; other threads may change others."""
        with self._guard:
            self._write({"settings": {**self.file.settings, key: known}})

    def _write(self, changes: Mapping[str, Any]) -> None:
        if not self.writable:
            raise SessionError(f'The project "{self.folder.name}" can only be read: {self.obstacle}')
        changed = self.file.model_copy(update=changes)
        write_bytes(self.folder / FILE, changed.model_dump_json(indent=1).encode())
        self.file = changed

    def add_model(self, entry: ModelEntry, file: Path) -> None:
        """Take a model into the project.

        Parameters
        ----------
        entry : ModelEntry
            Its file is named here.
        file : Path
            That holds it; linked where the disk can do so, else copied.

        Raises
        ------
        SessionError, ExportError, OSError
            If it cannot be written.
        """
        self.models.mkdir(parents=True, exist_ok=True)
        target = self.models / file.name
        with replacing(target) as temporary:
            temporary.unlink()
            try:
                os.link(file, temporary)
            except OSError:
                shutil.copyfile(file, temporary)
        others = tuple(one for one in self.file.models if one.file != target.name)
        self.update(models=(*others, entry.model_copy(update={"file": target.name})))

    def set_aside(self) -> Path | None:
        """Put what has been corrected so far into a folder of its own, and begin anew; return that folder.

        Raises
        ------
        SessionError, ExportError, OSError
            If it cannot be done.
        """
        there = [folder for folder in (self.journal, self.snapshots) if folder.is_dir() and any(folder.iterdir())]
        moved = sorted(self.elsewhere.iterdir()) if self.elsewhere is not None and self.elsewhere.is_dir() else []
        if not there and not moved:
            return None
        aside = self._room_aside()
        for folder in there:
            folder.rename(aside / folder.name)
        for path in moved:
            (aside / JOURNAL).mkdir(exist_ok=True)
            shutil.move(path, aside / JOURNAL / path.name)
        self.update(layers={})
        return aside

    def copy_aside(self) -> Path:
        """Put what has been corrected so far into a folder of its own as well; return that folder.

        Raises
        ------
        OSError, ExportError
            If it cannot be done.
        """
        aside = self._room_aside()
        for folder in (self.journal, self.snapshots, self.elsewhere):
            for path in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else ():
                target = aside / (SNAPSHOTS if folder == self.snapshots else JOURNAL) / path.name
                target.parent.mkdir(exist_ok=True)
                try:  # no file in there is ever changed by those who come later
                    os.link(path, target)
                except OSError:
                    shutil.copyfile(path, target)
        return aside

    def _room_aside(self) -> Path:
        """Make a folder that is not there yet, with a copy of `project.json`."""
        name = time.strftime("%Y-%m-%d %H.%M.%S")
        places = (self.folder / EARLIER / (f"{name} {count}" if count else name) for count in itertools.count())
        aside = next(place for place in places if not place.exists())
        aside.mkdir(parents=True)
        write_bytes(aside / FILE, self.file.model_dump_json(indent=1).encode())
        return aside

    def close(self, *, clean: bool) -> None:
        """Give the folder back; `clean` if nothing is left to be recovered."""
        if self.writable and clean:
            with contextlib.suppress(ExportError, MemoryError):
                self.update(closed=True)
        if self.lock is not None:
            self.lock.release()


def open_project(image: ImageIdentity, folder: Path | None = None) -> Project:
    """Open the project of an image, or make one.

    It is opened where it lies already; a new one lies next to the image. Where nothing can be written there, or where
    the image is in no file, it lies in the user's own folder for such things, and `remark` says so.

    Parameters
    ----------
    image : ImageIdentity
    folder : Path, optional
        Another place.

    Raises
    ------
    SessionError
        If no folder can be written at all, or the project cannot be read.
    """
    beside = folder or known_folder(image) or beside_image(image)
    problem: OSError | ExportError | None = None
    if beside is not None:
        try:
            project = _open(beside, image)
        except (OSError, ExportError) as error:
            problem = error
        else:
            if image.path is not None and beside != beside_image(image):
                project.remark = f'Corrections of this image are kept in "{beside}", as the last time.'
            return project
    home = state_folder(image)
    try:
        project = _open(home, image)
    except (OSError, ExportError) as error:
        raise SessionError(
            f'Corrections cannot be saved: neither next to the image nor in "{home}" can files be written ({error}). '
            "Free some space, or set NAPARI_UNET_HOME to a folder that can be written, and open the image again."
        ) from error
    if problem is not None:
        project.remark = f'The folder of the image cannot be written, so corrections are kept in "{home}".'
    return project


def _open(folder: Path, image: ImageIdentity) -> Project:
    """Open or make a project folder; raises OSError or ExportError where nothing can be written."""
    path = folder / FILE
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
    lock = ProjectLock(folder)
    try:
        locked = lock.acquire()
    except OSError:
        if not path.is_file():
            raise
        return Project(folder, _read(path)[0], None, "the folder cannot be written.")
    if not locked:
        who = lock.holder()
        obstacle = f"{who} is working on it." if who else "another window is working on it."
        if not path.is_file():  # the other one is making it at this moment
            return Project(folder, ProjectFile(image=image), None, obstacle)
        return Project(folder, _read(path)[0], None, obstacle)
    existed = path.is_file()
    try:
        return _ours(folder, image, lock)
    except BaseException as error:
        lock.release()
        if not existed or not isinstance(error, ExportError):
            raise
        # What is there must be seen, and not an empty project in another place.
        return Project(folder, _read(path)[0], None, "the folder cannot be written.")


def _ours(folder: Path, image: ImageIdentity, lock: ProjectLock) -> Project:
    path = folder / FILE
    if not path.is_file():
        project = Project(folder, ProjectFile(image=image), lock)
        project.update(closed=False)
        return project
    file, version = _read(path)
    if version > SCHEMA:
        lock.release()
        return Project(folder, file, None, "it was made by a newer version of napari-unet. Update it to go on.")
    if version < SCHEMA:
        write_bytes(path.with_suffix(f".v{version}.bak"), path.read_bytes())
    project = Project(folder, file, lock, unclean=not file.closed)
    moved = file.image.same_pixels(image) and _brought(project, image)
    project.update(closed=False, **({"image": image} if moved else {}))
    return project


def _brought(project: Project, image: ImageIdentity) -> bool:
    """Fetch the journal that had to move, which would not be found any more by another path; whether that went well."""
    there = project.elsewhere
    if there is None or there == state_folder(image) / JOURNAL or not there.is_dir():
        return True
    try:
        project.journal.mkdir(exist_ok=True)
        for path in sorted(there.iterdir()):
            shutil.move(path, project.journal / path.name)
    except OSError:  # the path stays as it was, and with it the place where the journal is looked for
        return False
    return True


def _read(path: Path) -> tuple[ProjectFile, int]:
    """Read `project.json` in whatever version it is."""
    try:
        known = json.loads(path.read_bytes())
        version = int(known["schema_version"])
        for step in range(version, SCHEMA):
            known = MIGRATIONS[step](known) | {"schema_version": step + 1}
        if version > SCHEMA:  # what we know of it is enough to show it
            known = {key: value for key, value in known.items() if key in ProjectFile.model_fields}
        return ProjectFile.model_validate(known), version
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise SessionError(
            f'"{path}" cannot be read as a project ({str(error).splitlines()[0]}). Rename its folder to begin anew; '
            "the corrections in it are not touched."
        ) from error
