"""Edits that end in the middle: large ones come back whole or not at all, strokes as far as they had been told."""

import threading
import time

import numpy as np
import pytest

from napari_unet.session import session as sessions
from napari_unet.session.identity import ImageIdentity
from napari_unet.session.journal import read_journal
from napari_unet.session.project import open_project
from napari_unet.session.records import encode, pack
from napari_unet.session.recovery import Restored, restore
from napari_unet.session.session import Session
from napari_unet.session.snapshots import read_snapshots

SHAPE = (2, 40, 50)
IMAGE = ImageIdentity(name="cells", shape=SHAPE, dtype="<u2", fingerprint="00")
BOX = ((0, 1), (3, 9), (4, 8))


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    made = open_project(IMAGE, tmp_path / "cells.napari-unet")
    yield made
    made.close(clean=False)


def until(so):
    end = time.monotonic() + 20
    while not so():
        assert time.monotonic() < end
        time.sleep(0.002)


def fill(array, box, value):
    array[tuple(slice(*part) for part in box)] = value


@pytest.mark.parametrize("records", range(6))
def test_a_large_edit_comes_back_whole_or_not_at_all(project, monkeypatch, records):
    monkeypatch.setattr(sessions, "COPIED_BYTES", 100)
    monkeypatch.setattr(sessions, "RECORD_BYTES", 4000)
    session, array = Session(project), np.zeros(SHAPE, np.uint32)
    session.add_layer("correction", array, {})
    fill(array, BOX, 1)
    session.record("correction", "paint", [BOX])
    assert session.wait()
    before, snapshots = array.copy(), len(read_snapshots(project.snapshots))
    array[...] = 7
    last = session.record("correction", "relabel", [tuple((0, n) for n in SHAPE)])
    assert last == 5  # the first one and four parts
    assert session.journal.wait()
    assert len(read_snapshots(project.snapshots)) == snapshots
    session.close()
    (file,) = (file for file in read_journal(project.journal) if file.last == 5)
    content = [encode(pack(record)) for record in file.scan.records if record.number <= records]
    file.path.write_bytes(b"".join(content) + b"torn")
    project.lock.acquire()
    found = restore(project)
    assert np.array_equal(found.layers["correction"].array, array if records == 5 else before)
    assert found.number == max(records, 1) or records < 2


def test_parts_of_a_stroke_are_applied_and_counted_as_one_edit(project):
    session, array = Session(project), np.zeros(SHAPE, np.uint32)
    session.add_layer("correction", array, {})
    assert session.wait()
    for column in range(10, 40, 10):
        box = ((0, 1), (5, 9), (column, column + 4))
        fill(array, box, 3)
        session.record("correction", "stroke", [box], ended=False)
        assert session.journal.wait()
        found = restore(project)
        assert np.array_equal(found.layers["correction"].array, array)
        assert found.edits == 1
    session.record("correction", "paint", [((0, 1), (5, 9), (10, 34))])
    assert session.journal.wait()
    assert restore(project).edits == 1
    session.close()


def test_a_snapshot_waits_until_what_it_may_hold_is_told(project):
    session, array = Session(project, prompted=True), np.zeros(SHAPE, np.uint32)
    session.add_layer("correction", array, {})
    until(lambda: session.asks)
    session.all_is_told()
    assert session.wait()
    fill(array, BOX, 5)  # half of a stroke, of which nobody has told
    session.snapshot()
    until(lambda: session.asks)
    assert len(list(project.snapshots.glob("*.zarr.zip"))) == 2
    assert not restore(project).layers["correction"].array.any()
    session.record("correction", "stroke", [BOX], ended=False)
    session.all_is_told()
    until(lambda: read_snapshots(project.snapshots)[0].load("correction").any())
    assert np.array_equal(restore(project).layers["correction"].array, array)
    session.snapshot()
    until(lambda: session.asks)
    assert session.close()  # also while it waits


def test_where_nothing_was_saved_nothing_is_there(project, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(sessions, "write_snapshot", lambda *_: gate.wait(20))
    session, array = Session(project), np.full(SHAPE, 3, np.uint32)
    session.add_layer("correction", array, {})
    until(lambda: project.file.layers)
    assert not session.status.saved
    assert restore(project) == Restored({})
    fill(array, BOX, 5)
    session.record("correction", "paint", [BOX])
    assert session.journal.wait()
    found = restore(project)
    assert set(np.unique(found.layers["correction"].array)) == {0, 5}
    assert "only edits" in found.remarks[0]
    gate.set()
    session.close()


def test_a_copy_that_is_put_aside_holds_everything_and_changes_nothing(project):
    session, array = Session(project), np.zeros(SHAPE, np.uint32)
    session.add_layer("correction", array, {})
    assert session.wait()
    fill(array, BOX, 5)
    session.record("correction", "paint", [BOX])
    session.close()
    project.lock.acquire()
    before = {path: path.read_bytes() for path in project.folder.rglob("*") if path.is_file()}
    asides = [project.copy_aside() for _ in range(2)]
    assert asides[0] != asides[1]
    for aside in asides:
        there = type(project)(aside, project.file)
        assert np.array_equal(restore(there).layers["correction"].array, array)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_what_is_done_while_a_large_edit_is_read_belongs_to_it(project, monkeypatch):
    monkeypatch.setattr(sessions, "COPIED_BYTES", 100)
    session, array = Session(project, prompted=True), np.zeros(SHAPE, np.uint32)
    session.add_layer("correction", array, {})
    until(lambda: session.asks)
    session.all_is_told()
    assert session.wait()
    array[...] = 7
    number = session.record("correction", "relabel", [tuple((0, n) for n in SHAPE)])
    until(lambda: session.asks)  # it has been read, and may hold anything done since
    fill(array, BOX, 5)
    later = session.record("correction", "paint", [BOX])
    assert not session.status.saved
    session.all_is_told()
    assert session.journal.wait()
    records = [record for file in read_journal(project.journal) for record in file.scan.records]
    assert [record.span for record in records] == [(number, later)] * 2
    assert np.array_equal(restore(project).layers["correction"].array, array)
    session.close()
