"""Records and journals: what is torn or damaged is told from what is whole, and failures lose nothing."""

import errno
import os
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.session import files
from napari_unet.session import journal as journals
from napari_unet.session.journal import Journal, read_journal, retire
from napari_unet.session.records import Patch, Record, apply, encode, pack, scan


def record(number, side=3, value=None):
    values = np.full((side, side), number if value is None else value, np.uint32)
    return Record(number, "correction", "paint", 1e9 + number, (Patch(((0, side), (2, 2 + side)), values),))


def numbers(content):
    return [found.number for found in scan(content).records]


def test_a_record_survives_the_disk():
    values = np.random.default_rng(0).integers(0, 9, (2, 5, 7)).astype(np.uint16)
    big_endian = Patch(((1, 3), (0, 5), (4, 11)), values.astype(">u2"))
    flags = Patch(((0, 1), (0, 1), (0, 4)), np.array([[[True, False, True, True]]]))
    written = Record(7, "reviewed", "undo", 12.5, (big_endian, flags))
    (found,) = scan(encode(pack(written))).records
    assert (found.number, found.layer, found.kind, found.time) == (7, "reviewed", "undo", 12.5)
    assert np.array_equal(found.patches[0].values, values)
    array = np.zeros((3, 5, 11), np.uint16)
    apply(found, array)
    assert np.array_equal(array[1:3, 0:5, 4:11], values)
    assert list(array[0, 0, :4]) == [1, 0, 1, 1]


@given(st.integers(0, 2000))
def test_a_torn_end_costs_only_the_last_record(cut):
    whole = [encode(pack(record(n))) for n in (1, 2, 3)]
    content = b"".join(whole)[:cut]
    ends = np.cumsum([len(part) for part in whole])
    assert numbers(content) == [n for n, end in zip((1, 2, 3), ends, strict=True) if end <= cut]
    assert scan(content).torn == (len(content) not in {0, *ends})


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_flipped_byte_costs_only_its_record(position, flip):
    parts = [encode(pack(record(n))) for n in (1, 2, 3)]
    content = bytearray(b"".join(parts))
    position %= len(content)
    content[position] ^= flip
    struck = 1 + int(np.searchsorted(np.cumsum([len(part) for part in parts]), position, side="right"))
    assert numbers(bytes(content)) == [n for n in (1, 2, 3) if n != struck]


def test_a_box_outside_of_the_layer_is_refused():
    with pytest.raises(ValueError, match="outside"):
        apply(record(1, side=3), np.zeros((4, 4), np.uint32))


def painted(journal, count):
    for n in range(1, count + 1):
        journal.append("correction", "paint", [Patch(((0, 1), (0, 2)), np.full((1, 2), n, np.uint32))])


def test_the_journal_tells_when_edits_are_on_the_disk(tmp_path):
    told = []
    journal = Journal(tmp_path / "journal", on_change=told.append)
    painted(journal, 50)
    assert journal.wait()
    assert journal.state.waiting == 0
    content = b"".join(path.read_bytes() for path in sorted((tmp_path / "journal").iterdir()))
    assert numbers(content) == list(range(1, 51))
    assert told[-1].number == 50
    assert journal.close()


def failing(monkeypatch, name, calls, error):
    """Let some calls of a function that writes fail."""
    real, count = getattr(files, name), iter(range(10**9))

    def fake(*args):
        if next(count) in calls:
            if error == "short":
                os.write(args[0], args[1][: len(args[1]) // 2])
                raise OSError(None, "1024 requested and 512 written")
            raise OSError(error, os.strerror(error))
        return real(*args)

    monkeypatch.setattr(files, name, fake)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS, "short"])
@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("name", ["append", "write_all", "sync"])
def test_what_could_not_be_written_is_written_later(tmp_path, monkeypatch, name, at, error):
    if error == "short" and name != "write_all":
        pytest.skip("only writing can stop half way")
    monkeypatch.setattr(journals, "FIRST_RETRY_S", 0.01)
    failing(monkeypatch, name, {at, at + 1}, error)
    told = []
    journal = Journal(tmp_path, on_change=told.append)
    for n in range(1, 9):
        journal.append("correction", "paint", record(n).patches)
        journal.rotate()
        if n <= at:
            assert journal.wait(n)
    assert journal.wait(timeout_s=5)
    assert journal.close()
    assert any(state.problem for state in told)
    assert all(state.waiting for state in told if state.problem)
    assert not told[-1].problem
    found = {record.number for file in read_journal(tmp_path) for record in file.scan.records}
    assert found == set(range(1, 9))


def test_the_journal_moves_when_its_folder_stays_full(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(journals, "MOVE_AFTER_S", 0.05)
    real = files.append

    def full(path):
        if path.parent.name == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path)

    monkeypatch.setattr(files, "append", full)
    journal = Journal(tmp_path / "full", tmp_path / "other")
    painted(journal, 3)
    assert journal.wait(timeout_s=5)
    assert journal.state.folder == tmp_path / "other"
    assert journal.close()
    assert [file.last for file in read_journal(tmp_path / "other")] == [3]


def test_a_removed_folder_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "FIRST_RETRY_S", 0.01)
    told = []
    folder = tmp_path / "journal"
    journal = Journal(folder, on_change=told.append)
    painted(journal, 1)
    assert journal.wait()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    number = journal.append("correction", "paint", record(2).patches)
    assert journal.wait(number)
    assert any("removed" in state.problem for state in told)
    assert [file.last for file in read_journal(folder)] == [2]
    assert journal.close()


def test_appending_never_waits_for_the_disk(tmp_path, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(files, "sync", lambda _: gate.wait(5))
    journal = Journal(tmp_path)
    begun = time.perf_counter()
    painted(journal, 200)
    assert time.perf_counter() - begun < 4  # the disk takes five seconds
    assert not journal.wait(timeout_s=0.05)
    gate.set()
    assert journal.close()


def test_only_files_that_a_snapshot_covers_are_retired(tmp_path):
    journal = Journal(tmp_path)
    for _ in range(3):
        painted(journal, 2)
        assert journal.wait()
        journal.rotate()
    assert journal.close()
    retire(tmp_path, 3)
    assert [file.last for file in read_journal(tmp_path)] == [4, 6]
    retire(tmp_path, 100)
    assert [file.last for file in read_journal(tmp_path)] == [6]
