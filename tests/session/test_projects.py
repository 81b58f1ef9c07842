"""Project folders: where they lie, who may write, snapshots, and what is recovered."""

import errno
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_unet import atomic
from napari_unet.errors import ExportError, SessionError
from napari_unet.session import project as projects
from napari_unet.session.identity import ImageIdentity, fingerprint
from napari_unet.session.project import ModelEntry, open_project
from napari_unet.session.recovery import restore
from napari_unet.session.session import Session
from napari_unet.session.snapshots import prune, read_snapshots, write_snapshot

SHAPE = (2, 40, 50)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def identity(path=None, name="cells.tif", mark="00"):
    return ImageIdentity(
        name=name, path=None if path is None else str(path), shape=SHAPE, dtype="<u2", fingerprint=mark
    )


def labels(seed=0):
    return np.random.default_rng(seed).integers(0, 5, SHAPE).astype(np.uint32)


def test_a_project_lies_next_to_its_image(tmp_path):
    project = open_project(identity(tmp_path / "cells.tif"))
    assert project.folder == tmp_path / "cells.tif.napari-unet"
    assert project.writable
    assert not project.remark
    project.close(clean=True)


def test_an_image_without_a_file_has_its_project_in_the_users_folder(home):
    project = open_project(identity())
    assert project.folder.is_relative_to(home)
    assert not project.remark
    project.close(clean=True)
    assert open_project(identity(mark="11")).folder != project.folder


def test_a_folder_that_cannot_be_written_is_told_of(tmp_path, home, monkeypatch):
    real = projects.ProjectLock.acquire

    def refused(lock):
        if not lock._folder.is_relative_to(home):
            raise OSError(errno.EROFS, "Read-only file system")
        return real(lock)

    monkeypatch.setattr(projects.ProjectLock, "acquire", refused)
    project = open_project(identity(tmp_path / "cells.tif"))
    assert project.folder.is_relative_to(home)
    assert project.writable
    assert str(project.folder) in project.remark
    project.close(clean=True)


def test_what_was_done_is_there_again(tmp_path):
    project = open_project(identity(tmp_path / "cells.tif"))
    session, array = Session(project), labels()
    session.add_layer("correction", array, {"role": "correction", "axes": "ZYX"})
    array[0, 3:9, 4:8] = 77
    session.record("correction", "paint", [((0, 1), (3, 9), (4, 8))])
    assert session.wait()
    assert session.status.saved
    project.update(settings={"zoom": 2.5}, models=(ModelEntry(file="a.npu", title="A", parent="nuclei"),))
    assert session.close()
    again = open_project(identity(tmp_path / "cells.tif"))
    assert not again.unclean
    assert again.file.settings == {"zoom": 2.5}
    assert again.file.models[0].parent == "nuclei"
    found = restore(again)
    assert np.array_equal(found.layers["correction"].array, array)
    assert found.layers["correction"].about == {"role": "correction", "axes": "ZYX"}
    assert (found.edits, found.remarks) == (0, ())
    again.close(clean=True)


@pytest.mark.parametrize("dtype", ["bool", "int8", ">u2", ">i4", "uint64"])
def test_snapshots_of_all_types_of_labels(tmp_path, dtype):
    array = (np.arange(2000).reshape(2, 20, 50) * 97).astype(dtype)
    write_snapshot(tmp_path, 1, 0.0, {"correction": (array, {})})
    assert np.array_equal(read_snapshots(tmp_path)[0].load("correction"), array)


def test_large_edits_are_saved_too(tmp_path):
    project = open_project(identity(tmp_path / "large.tif"))
    session, array = Session(project), np.zeros((1, 3000, 3000), np.uint32)
    session.add_layer("correction", array, {})
    assert session.wait()
    array[...] = np.arange(3000)
    session.record("correction", "bulk", [((0, 1), (0, 3000), (0, 3000))])
    assert session.journal.wait()
    found = restore(project)
    assert found.edits == 1
    assert found.number > 1
    assert np.array_equal(found.layers["correction"].array, array)
    session.close()


def test_the_second_window_only_reads_and_is_told_who_writes(tmp_path):
    first = open_project(identity(tmp_path / "cells.tif"))
    second = open_project(identity(tmp_path / "cells.tif"))
    assert first.writable
    assert not second.writable
    assert str(first.lock.holder()) in second.obstacle
    with pytest.raises(SessionError, match="only be read"):
        second.update(settings={})
    first.close(clean=True)
    third = open_project(identity(tmp_path / "cells.tif"))
    assert third.writable
    third.close(clean=True)


CONTENDER = """
import sys, time
from pathlib import Path
from napari_unet.session.identity import ImageIdentity
from napari_unet.session.project import open_project

folder, count, wins = Path(sys.argv[1]), int(sys.argv[2]), 0
image = ImageIdentity(name="cells", shape=(1, 4), dtype="<u2", fingerprint="00")
until = time.monotonic() + 50
while wins < count and time.monotonic() < until:
    project = open_project(image, folder)
    if not project.writable:
        assert "is working on it" in project.obstacle, project.obstacle
        time.sleep(0.0005)
        continue
    with (folder / "inside").open("x"):
        pass
    project.update(settings={"wins": project.file.settings.get("wins", 0) + 1})
    (folder / "inside").unlink()
    project.close(clean=True)
    wins += 1
    time.sleep(0.0005)
print(wins)
"""


def test_never_two_writers(tmp_path):
    folder = tmp_path / "cells.napari-unet"
    contenders = [
        subprocess.Popen([sys.executable, "-c", CONTENDER, str(folder), "50"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    wins = [int(contender.communicate(timeout=60)[0]) for contender in contenders]
    assert [contender.returncode for contender in contenders] == [0, 0]
    assert min(wins) > 0
    project = open_project(identity(), folder)
    assert project.file.settings == {"wins": sum(wins)}
    assert not project.unclean
    project.close(clean=True)


def test_the_lock_of_a_killed_program_is_taken_over(tmp_path):
    folder = tmp_path / "p.napari-unet"
    code = (
        "import sys, time; from pathlib import Path; from napari_unet.session.locking import ProjectLock;"
        "lock = ProjectLock(Path(sys.argv[1])); lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        assert not open_project(identity(), folder).writable
        other.kill()
    project = open_project(identity(), folder)
    assert project.writable
    project.close(clean=True)


def test_a_newer_project_is_only_read(tmp_path):
    project = open_project(identity(tmp_path / "cells.tif"))
    project.close(clean=True)
    path = project.folder / projects.FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99, "wonder": 1}))
    before = path.read_bytes()
    newer = open_project(identity(tmp_path / "cells.tif"))
    assert not newer.writable
    assert "newer version" in newer.obstacle
    assert path.read_bytes() == before


def test_an_older_project_is_migrated_and_kept(tmp_path, monkeypatch):
    project = open_project(identity(tmp_path / "cells.tif"))
    project.close(clean=True)
    path = project.folder / projects.FILE
    old = json.loads(path.read_text())
    old["preferences"] = old.pop("settings") | {"zoom": 3}
    path.write_text(json.dumps(old))
    monkeypatch.setattr(projects, "SCHEMA", 2)

    def renamed(known):
        return {**{k: v for k, v in known.items() if k != "preferences"}, "settings": known["preferences"]}

    monkeypatch.setattr(projects, "MIGRATIONS", {1: renamed})
    migrated = open_project(identity(tmp_path / "cells.tif"))
    assert migrated.file.settings == {"zoom": 3}
    assert json.loads((project.folder / "project.v1.bak").read_text()) == old
    migrated.close(clean=True)


def test_rubbish_is_refused_in_a_sentence_and_left_alone(tmp_path):
    folder = tmp_path / "cells.tif.napari-unet"
    folder.mkdir()
    (folder / projects.FILE).write_text("{")
    with pytest.raises(SessionError, match="cannot be read as a project"):
        open_project(identity(tmp_path / "cells.tif"))
    assert (folder / projects.FILE).read_text() == "{"


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_snapshot_that_fails_leaves_the_one_before(tmp_path, monkeypatch, call, error):
    first = {"correction": (labels(0), {}), "reviewed": (labels(1) > 2, {})}
    second = {"correction": (labels(2), {}), "reviewed": (labels(3) > 2, {})}
    real = getattr(os, call)
    for at in range(8):
        folder = tmp_path / str(at)
        write_snapshot(folder, 1, 0.0, first)
        calls = iter(range(1000))

        def failing(*args, calls=calls, at=at):
            if next(calls) == at:
                raise OSError(error, os.strerror(error))
            return real(*args)

        monkeypatch.setattr(atomic.os, call, failing)
        try:
            write_snapshot(folder, 2, 1.0, second)
            written = second
        except ExportError:
            written = first
        monkeypatch.setattr(atomic.os, call, real)
        newest = read_snapshots(folder)[0]
        for key, (array, _) in written.items():
            assert np.array_equal(newest.load(key), array)
        write_snapshot(folder, 2, 1.0, second)
        assert np.array_equal(read_snapshots(folder)[0].load("correction"), second["correction"][0])


def test_a_damaged_snapshot_is_replaced_by_the_one_before_and_the_journal(tmp_path):
    project = open_project(identity(tmp_path / "cells.tif"))
    session, array = Session(project), labels()
    session.add_layer("correction", array, {})
    for number in range(1, 6):
        array[0, number] = 100 + number
        session.record("correction", "paint", [((0, 1), (number, number + 1), (0, 50))])
        session.snapshot()
        assert session.wait()
    newest = read_snapshots(project.snapshots)[0]
    path = project.snapshots / newest.layers["correction"].file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    found = restore(project)
    assert np.array_equal(found.layers["correction"].array, array)
    assert any("snapshot" in remark for remark in found.remarks)
    session.close()


def test_old_snapshots_and_what_killed_writers_left_are_removed(tmp_path):
    for number in range(6):
        write_snapshot(tmp_path, number, 0.0, {"correction": (labels(number), {})})
    (tmp_path / f"{atomic.PREFIX}xyz.zip").write_bytes(b"left")
    assert prune(tmp_path) == 3
    assert [snapshot.number for snapshot in read_snapshots(tmp_path)] == [5, 4, 3]
    assert len(list(tmp_path.iterdir())) == 6


def test_a_removed_project_folder_is_made_again(tmp_path):
    project = open_project(identity(tmp_path / "cells.tif"))
    session, array = Session(project), labels()
    session.add_layer("correction", array, {})
    assert session.wait()
    for path in sorted(project.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    project.folder.rmdir()
    array[0, 0] = 9
    session.record("correction", "paint", [((0, 1), (0, 1), (0, 50))])
    until = time.monotonic() + 20
    while time.monotonic() < until and not (session.status.saved and read_snapshots(project.snapshots)):
        time.sleep(0.05)
    assert np.array_equal(restore(project).layers["correction"].array, array)
    session.close()


def corrected(project):
    """Correct a little; return the labels."""
    session, array = Session(project), labels()
    session.add_layer("correction", array, {})
    assert session.wait()
    array[0, 3:9] = 77
    session.record("correction", "paint", [((0, 1), (3, 9), (0, 50))])
    assert session.close()
    return array


@pytest.mark.parametrize("apart", [False, True], ids=["beside", "apart"])
def test_a_project_is_found_when_its_image_has_moved(tmp_path, home, monkeypatch, apart):
    (tmp_path / "new").mkdir()
    image = tmp_path / "cells.tif"
    image.touch()
    folder = projects.state_folder(identity(image)) if apart else None
    first = open_project(identity(image), folder)
    assert first.folder.is_relative_to(home) == apart
    array = corrected(first)
    if apart:  # it is found by the pixels, but another copy of them is not the image
        assert projects.known_folder(identity(tmp_path / "new" / "cells.tif")) is None
    for path in (image, first.folder)[: 1 if apart else 2]:
        path.rename(tmp_path / "new" / path.name)
    moved = open_project(identity(tmp_path / "new" / "cells.tif"))
    assert np.array_equal(restore(moved).layers["correction"].array, array)
    assert moved.file.image.path == str(tmp_path / "new" / "cells.tif")
    assert bool(moved.remark) == apart
    assert corrected(moved)[0, 5, 5] == 77
    again = open_project(identity(tmp_path / "new" / "cells.tif"))
    assert again.folder == moved.folder
    again.close(clean=True)


def test_a_journal_that_had_to_move_is_found_when_the_image_moves(tmp_path):
    (tmp_path / "new").mkdir()
    first = open_project(identity(tmp_path / "cells.tif"))
    elsewhere = first.elsewhere
    array = corrected(first)
    elsewhere.parent.mkdir(parents=True)
    first.journal.rename(elsewhere)
    first.folder.rename(tmp_path / "new" / first.folder.name)
    for _ in range(2):
        moved = open_project(identity(tmp_path / "new" / "cells.tif"))
        assert np.array_equal(restore(moved).layers["correction"].array, array)
        moved.close(clean=True)


def test_images_are_known_by_their_pixels():
    image = np.random.default_rng(0).integers(0, 999, (3, 200, 300)).astype(np.uint16)
    assert fingerprint(image) == fingerprint(image.copy())
    assert fingerprint(image) != fingerprint(image + np.uint16(1))
    assert fingerprint(image) != fingerprint(image[:, :, ::-1])
    assert fingerprint(image) != fingerprint(image.astype(np.int32))
