"""Each call that writes to the disk fails once: nothing is lost, the user is told, and a later attempt works."""

import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from napari_unet import atomic
from napari_unet.errors import ExportError, SessionError
from napari_unet.session import files, snapshots
from napari_unet.session import journal as journals
from napari_unet.session import project as projects
from napari_unet.session import session as sessions
from napari_unet.session.identity import ImageIdentity
from napari_unet.session.project import open_project
from napari_unet.session.recovery import restore
from napari_unet.session.session import Session

SHAPE = (2, 20, 30)
BOX = ((0, 1), (3, 9), (4, 8))
# What the system says when it cannot write, and what numpy says of a full disk.
ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.EROFS, "Read-only file system"),
    OSError("2621440 requested and 1572736 written"),
    MemoryError(),
]
# At most so many of these calls are made in all, fewer where several edits are saved at once; each of them fails once.
MOST_CALLS = 108
CALLS = [
    (files, "append"),
    (files, "write_all"),
    (files, "sync"),
    (atomic, "_temporary"),
    (atomic, "_flush"),
    (atomic.os, "replace"),
    (snapshots, "_write"),
    (snapshots, "_read"),
    (Path, "write_bytes"),
    (Path, "mkdir"),
]


@pytest.fixture(autouse=True)
def impatient(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(journals, "FIRST_RETRY_S", 0.005)
    monkeypatch.setattr(sessions, "RETRY_S", 0.005)


class Faults:
    """Lets calls fail, counted over all functions that write."""

    def __init__(self, monkeypatch, folder, calls=(), error=None):
        self.count, self.hit, self.calls, self.error, self.folder = 0, [], calls, error, str(folder)
        self._lock = threading.Lock()
        for owner, name in CALLS:
            monkeypatch.setattr(owner, name, self._failing(getattr(owner, name), name))

    def _failing(self, real, name):
        def call(*args, **kwargs):
            here = name in {"write_all", "sync"} or self.folder in str(args[0])
            with self._lock:
                number, self.count = self.count, self.count + here
            if here and number in self.calls:
                if name == "write_all":  # some of it is there already
                    os.write(args[0], args[1][: len(args[1]) // 2])
                self.hit.append(threading.current_thread().name)
                raise self.error
            return real(*args, **kwargs)

        return call


def identity(folder):
    return ImageIdentity(name="cells", path=str(folder / "cells.tif"), shape=SHAPE, dtype="<u2", fingerprint="00")


def until(so, timeout_s=20):
    end = time.monotonic() + timeout_s
    while not so():
        assert time.monotonic() < end
        time.sleep(0.002)


def again(call):
    """Do something that may fail twice."""
    for _ in range(2):
        with contextlib.suppress(SessionError, ExportError, MemoryError):
            return call()
    return call()


def work(folder):
    """Correct an image; at each step everything that is called saved is there. Return what was told."""
    told = []
    project = again(lambda: open_project(identity(folder)))
    assert project.writable
    session, array = Session(project, on_change=told.append), np.zeros(SHAPE, np.uint32)
    session.add_layer("correction", array, {"axes": "ZYX"})

    def check():
        until(lambda: session.status.saved)
        found = restore(project)
        if found.remarks:  # reading failed, which is told and changes nothing
            found = restore(project)
        assert np.array_equal(found.layers["correction"].array, array)
        assert found.layers["correction"].about == {"axes": "ZYX"}

    check()
    for number in range(1, 3):
        array[tuple(slice(*part) for part in BOX)] = number
        session.record("correction", "paint", [BOX])
        check()
        session.snapshot()
    array = np.random.default_rng(0).integers(0, 9, SHAPE).astype(np.uint32)
    session.replace_array("correction", array)
    check()
    array = np.concatenate([array, array])
    session.replace_array("correction", array)
    check()
    again(lambda: project.update(settings={"zoom": 2.0}))
    assert again(lambda: projects._read(project.folder / projects.FILE))[0].settings == {"zoom": 2.0}
    assert session.close()
    reopened = again(lambda: open_project(identity(folder)))
    found = restore(reopened)
    assert np.array_equal((restore(reopened) if found.remarks else found).layers["correction"].array, array)
    reopened.close(clean=True)
    return told


def test_nothing_fails_where_nothing_is_wrong(tmp_path, monkeypatch):
    faults = Faults(monkeypatch, tmp_path)
    told = work(tmp_path)
    assert not any(status.problem for status in told)
    assert 40 < faults.count <= MOST_CALLS


@pytest.mark.parametrize("first", range(0, MOST_CALLS, 6))
@pytest.mark.parametrize(
    ("in_a_row", "shift"),
    [(1, 0), *(pytest.param(row, n, marks=pytest.mark.slow) for row in (1, 2) for n in range(1, 5))],
)
def test_each_call_may_fail(tmp_path, monkeypatch, first, in_a_row, shift):
    for k in range(first, first + 6):
        folder = tmp_path / str(k)
        folder.mkdir()
        (folder / "cells.tif").touch()
        with monkeypatch.context() as patch:
            error = ERRORS[(k + shift) % len(ERRORS)]
            faults = Faults(patch, folder, range(k, k + in_a_row), error)
            told = work(folder)
        if {"journal", "snapshots"} & {*faults.hit}:
            assert any(status.problem and not status.saved for status in told)
            assert not told[-1].problem


def test_project_json_is_as_it_was_or_new(tmp_path, monkeypatch):
    project = open_project(identity(tmp_path))
    path = project.folder / projects.FILE
    for k in range(4):
        before = path.read_bytes()
        with monkeypatch.context() as patch:
            faults = Faults(patch, tmp_path, {k}, ERRORS[k % 3])
            with contextlib.suppress(ExportError):
                project.update(settings={"k": float(k)})
        assert faults.hit
        after = path.read_bytes()
        assert after == before
        project.update(settings={"k": float(k)})
        assert projects._read(path)[0].settings == {"k": float(k)}
    project.close(clean=True)


def test_a_project_that_is_there_is_opened_also_when_the_disk_is_full(tmp_path, monkeypatch):
    project = open_project(identity(tmp_path))
    session, array = Session(project), np.ones(SHAPE, np.uint32)
    session.add_layer("correction", array, {})
    until(lambda: session.status.saved)
    session.close()
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_flush", lambda *_: (_ for _ in ()).throw(ERRORS[0]))
        full = open_project(identity(tmp_path))
        assert not full.writable
        assert "cannot be written" in full.obstacle
        assert np.array_equal(restore(full).layers["correction"].array, array)
    reopened = open_project(identity(tmp_path))
    assert reopened.writable
    reopened.close(clean=True)


def test_a_journal_that_moved_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "MOVE_AFTER_S", 0.02)
    project = open_project(identity(tmp_path))
    session, array = Session(project), np.zeros(SHAPE, np.uint32)
    session.add_layer("correction", array, {})
    until(lambda: session.status.saved)
    real = files.append

    def refused(path):
        if path.is_relative_to(project.folder):
            raise ERRORS[0]
        return real(path)

    monkeypatch.setattr(files, "append", refused)
    array[tuple(slice(*part) for part in BOX)] = 5
    session.record("correction", "paint", [BOX])
    until(lambda: session.status.saved)
    assert session.journal.state.folder == project.elsewhere
    session.close()
    monkeypatch.setattr(files, "append", real)
    reopened = open_project(identity(tmp_path))
    assert np.array_equal(restore(reopened).layers["correction"].array, array)
    aside = reopened.set_aside()
    assert not restore(reopened).layers
    assert list((aside / projects.JOURNAL).iterdir())
    reopened.close(clean=True)


def test_two_snapshots_of_one_number_never_share_a_file(tmp_path):
    for value in (1, 2):
        snapshots.write_snapshot(tmp_path, 0, 0.0, {"correction": (np.full(SHAPE, value, np.uint32), {})})
    assert len(list(tmp_path.glob("*.zarr.zip"))) == 2
    assert snapshots.read_snapshots(tmp_path)[0].load("correction").max() == 2


def test_snapshots_whose_manifest_cannot_be_read_now_are_kept(tmp_path, monkeypatch):
    for number in range(5):
        snapshots.write_snapshot(tmp_path, number, 0.0, {"correction": (np.full(SHAPE, number, np.uint32), {})})
    real = Path.read_bytes

    def unreadable(path):
        if path.suffix == ".json":
            raise ERRORS[1]
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", unreadable)
        snapshots.prune(tmp_path)
    assert [found.load("correction").max() for found in snapshots.read_snapshots(tmp_path)] == [4, 3, 2, 1, 0]


def test_a_layer_that_is_replaced_while_a_snapshot_is_made_is_not_called_saved(tmp_path, monkeypatch):
    project = open_project(identity(tmp_path))
    session, gate, begun = Session(project), threading.Event(), threading.Event()
    real = sessions.write_snapshot

    def slow(*args):
        begun.set()
        assert gate.wait(10)
        return real(*args)

    monkeypatch.setattr(sessions, "write_snapshot", slow)
    session.add_layer("correction", np.zeros(SHAPE, np.uint32), {})
    assert begun.wait(10)
    larger = np.ones((3, *SHAPE[1:]), np.uint32)
    session.replace_array("correction", larger)
    monkeypatch.setattr(sessions, "write_snapshot", lambda *_: (_ for _ in ()).throw(ExportError("full")))
    gate.set()
    until(lambda: session.status.problem)
    assert not session.status.saved
    monkeypatch.setattr(sessions, "write_snapshot", real)
    until(lambda: session.status.saved)
    assert np.array_equal(restore(project).layers["correction"].array, larger)
    session.close()


def turn_read_only(folder, *, on):
    """Forbid to make files in a folder, also to root; whether that can be done here."""
    if os.name == "posix" and os.geteuid():
        folder.chmod(0o555 if on else 0o755)
        return True
    with contextlib.suppress(OSError):
        command = ["chattr", "+i" if on else "-i", str(folder)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    return False


def test_a_folder_that_turns_read_only(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "MOVE_AFTER_S", 0.02)
    told = []
    project = open_project(identity(tmp_path))
    session, array = Session(project, on_change=told.append), np.zeros(SHAPE, np.uint32)
    session.add_layer("correction", array, {})
    array[0, 0, 0] = 1
    session.record("correction", "paint", [((0, 1), (0, 1), (0, 1))])
    until(lambda: session.status.saved and project.journal.is_dir())
    if not turn_read_only(project.journal, on=True):
        session.close()
        pytest.skip("nothing forbids us to write here")
    try:
        session.journal.rotate()
        array[tuple(slice(*part) for part in BOX)] = 5
        session.record("correction", "paint", [BOX])
        until(lambda: session.status.saved)
    finally:
        turn_read_only(project.journal, on=False)
    assert any(status.problem and not status.saved for status in told)
    assert session.journal.state.folder == project.elsewhere
    session.close()
    assert np.array_equal(restore(project).layers["correction"].array, array)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        mounted = sys.platform == "linux" and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(small_disk, monkeypatch):
    monkeypatch.setattr(journals, "MOVE_AFTER_S", 1e9)
    told = []
    project = open_project(identity(small_disk))
    session, array = Session(project, on_change=told.append), np.zeros((4, 100, 100), np.uint32)
    session.add_layer("correction", array, {})
    until(lambda: session.status.saved)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(1024)):
            pass
    array[...] = np.random.default_rng(0).integers(0, 2**31, array.shape)
    session.record("correction", "data", [((0, 4), (0, 100), (0, 100))])
    until(lambda: session.status.problem)
    assert not session.status.saved
    assert not restore(project).layers["correction"].array.any()
    filler.unlink()
    array[...] = 3
    session.record("correction", "paint", [((0, 4), (0, 100), (0, 100))])
    until(lambda: session.journal.state.waiting == 0 or session.status.problem)
    session.close()


def test_edits_mean_something_before_the_first_snapshot(tmp_path, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(sessions, "write_snapshot", lambda *_: gate.wait(10))
    project = open_project(identity(tmp_path))
    session, array = Session(project), np.zeros(SHAPE, np.uint32)
    for key in ("correction", "reviewed"):
        session.add_layer(key, array, {})
    array[tuple(slice(*part) for part in BOX)] = 5
    session.record("reviewed", "paint", [BOX])
    until(lambda: set(project.file.layers) == {"correction", "reviewed"})
    assert projects._read(project.folder / projects.FILE)[0].layers == project.file.layers
    assert session.journal.wait()
    assert not session.status.saved
    assert np.array_equal(restore(project).layers["reviewed"].array, array)
    gate.set()
    session.close()
