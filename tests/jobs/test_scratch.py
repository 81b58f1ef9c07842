"""Arrays that two processes share."""

import errno
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_unet.errors import ExportError, ImageError
from napari_unet.jobs import scratch as scratch_module
from napari_unet.jobs.scratch import Scratch, blocks, open_array


@pytest.fixture
def scratch(tmp_path):
    scratch = Scratch(tmp_path)
    yield scratch
    scratch.close()


def is_copied(scratch, ref):
    return Path(ref.path).parent == scratch.folder


def test_array_is_zero_and_what_is_written_is_read_back(scratch):
    ref = scratch.array((2, 3, 4), "float32")
    writer, reader = open_array(ref, "r+"), open_array(ref)
    assert reader.shape == (2, 3, 4)
    assert not reader.any()
    writer[1, 2] = 5
    np.testing.assert_array_equal(reader[1, 2], [5, 5, 5, 5])
    with pytest.raises(ValueError, match="read-only"):
        reader[0] = 1


def test_another_process_sees_what_is_written(scratch):
    ref = scratch.array((8, 8), "uint32")
    program = f"import numpy as np; np.memmap({ref.path!r}, {ref.dtype!r}, 'r+', shape={ref.shape})[:] = 7"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (open_array(ref) == 7).all()


@pytest.mark.parametrize("shape", [(0,), (3, 0, 5)])
def test_empty_array_is_no_error(scratch, shape):
    ref = scratch.array(shape, "uint8")
    assert open_array(ref).shape == shape
    assert open_array(scratch.stage(np.zeros(shape))).shape == shape


@pytest.mark.parametrize("dtype", ["bool", "uint8", ">u2", "int64", "float16", "float64"])
def test_numpy_is_copied(scratch, dtype):
    array = np.random.default_rng(0).integers(0, 2, (4, 5, 3)).astype(dtype)
    ref = scratch.stage(array.transpose(2, 0, 1))
    staged = open_array(ref)
    assert is_copied(scratch, ref)
    assert staged.dtype == array.dtype
    np.testing.assert_array_equal(staged, array.transpose(2, 0, 1))


def mapped(tmp_path, mode="r+"):
    values = np.arange(6 * 50 * 70, dtype="uint16").reshape(6, 50, 70)
    path = tmp_path / "stack.raw"
    path.write_bytes(b"header!!" + values.tobytes())
    return values, np.memmap(path, "uint16", mode, 8, values.shape)


@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("part", [np.s_[:], np.s_[2:5], np.s_[3], np.s_[4, 10:20]])
def test_memory_mapped_file_is_named_not_copied(scratch, tmp_path, mode, part):
    values, array = mapped(tmp_path, mode)
    ref = scratch.stage(array[part])
    assert Path(ref.path) == tmp_path / "stack.raw"
    np.testing.assert_array_equal(open_array(ref), values[part])
    scratch.release(ref)
    assert (tmp_path / "stack.raw").exists()


def test_mapped_view_far_into_a_file_is_found_again(scratch, tmp_path):
    values = np.arange(300_000, dtype="uint8")
    values.tofile(tmp_path / "long.raw")
    array = np.memmap(tmp_path / "long.raw", "uint8", "r", offset=100_001, shape=(150_000,))
    ref = scratch.stage(array[30_000:40_000])
    assert not is_copied(scratch, ref)
    np.testing.assert_array_equal(open_array(ref), values[130_001:140_001])


def test_mapped_arrays_that_the_file_does_not_show_are_copied(scratch, tmp_path):
    _, array = mapped(tmp_path, "c")
    array[0] = 9
    strided = mapped(tmp_path)[1][:, ::2]
    for each in (array, strided, array[::-1], array + 1):
        ref = scratch.stage(each)
        assert is_copied(scratch, ref)
        np.testing.assert_array_equal(open_array(ref), each)


def test_snapshot_does_not_follow_later_changes(scratch):
    live = open_array(scratch.array((4, 4), "uint8"), "r+")
    named, snapshot = scratch.stage(live), scratch.stage(live, snapshot=True)
    live[:] = 3
    assert (open_array(named) == 3).all()
    assert not open_array(snapshot).any()


@pytest.mark.parametrize("component", ["", "nested/image"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_local_zarr_is_named_not_copied(scratch, tmp_path, component, zarr_format):
    values = np.random.default_rng(0).integers(0, 99, (3, 40, 50), dtype="uint16")
    array = zarr.create_array(
        store=tmp_path / "image.zarr",
        name=component or None,
        shape=values.shape,
        chunks=(1, 16, 16),
        dtype=values.dtype,
        zarr_format=zarr_format,
    )
    array[:] = values
    ref = scratch.stage(array)
    assert ref.kind == "zarr"
    assert not list(scratch.folder.glob("*.raw"))
    np.testing.assert_array_equal(open_array(ref)[:], values)


def test_zarr_in_memory_and_dask_are_copied_block_by_block(scratch, monkeypatch):
    monkeypatch.setattr(scratch_module, "BLOCK_BYTES", 20_000)
    values = np.random.default_rng(0).integers(0, 99, (5, 120, 130), dtype="uint16")
    in_memory = zarr.create_array(store={}, shape=values.shape, chunks=(2, 32, 32), dtype=values.dtype)
    in_memory[:] = values
    largest = 0

    def note(block):
        nonlocal largest
        largest = max(largest, block.nbytes)
        return block

    lazy = da.from_array(values, chunks=(2, 50, 60)).map_blocks(note, dtype=values.dtype)
    for array in (in_memory, lazy):
        ref = scratch.stage(array)
        assert is_copied(scratch, ref)
        np.testing.assert_array_equal(open_array(ref), values)
    assert 0 < largest <= 20_000


@pytest.mark.parametrize("chunks", [None, (3, 100, 100), (1, 1, 10_000)])
def test_blocks_partition_the_array_and_stay_small(monkeypatch, chunks):
    monkeypatch.setattr(scratch_module, "BLOCK_BYTES", 65_536)
    seen = np.zeros((7, 130, 210), "uint8")
    for block in blocks(seen.shape, 2, chunks):
        seen[block] += 1
        assert seen[block].size * 2 <= 65_536
    assert (seen == 1).all()


def test_lazy_array_whose_file_is_damaged_is_a_sentence(scratch):
    def fail(block):
        raise OSError("page 3 is missing")

    array = da.zeros((4, 4), chunks=2).map_blocks(fail, dtype=float, meta=np.empty((0, 0)))
    with pytest.raises(ImageError, match=r"cannot be read .*page 3 is missing"):
        scratch.stage(array)


def test_values_that_are_no_numbers_are_a_sentence(scratch):
    with pytest.raises(ImageError, match="only integer, float and boolean"):
        scratch.stage(np.array([["a"]]))


def test_missing_file_is_a_sentence(scratch):
    ref = scratch.array((3,), "uint8")
    scratch.release(ref)
    assert not Path(ref.path).exists()
    with pytest.raises(ImageError, match="still there and complete"):
        open_array(ref)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space cannot be reserved here")
def test_full_disk_is_a_sentence_and_leaves_nothing(scratch, monkeypatch):
    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ExportError, match=r"MB free, and 4\.0 MB are needed"):
        scratch.array((1000, 1000), "float32")
    assert not list(scratch.folder.glob("*.raw"))


def test_full_disk_is_a_sentence_where_space_cannot_be_reserved(scratch, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(ExportError, match=r"0\.0 MB free, and 4\.0 MB are needed"):
        scratch.array((1000, 1000), "float32")
    assert not list(scratch.folder.glob("*.raw"))


@pytest.mark.skipif(os.name != "posix", reason="limits of file size")
def test_limit_of_file_size_is_a_sentence_not_a_crash(tmp_path):
    program = f"""
    import pathlib, resource
    from napari_unet.errors import ExportError
    from napari_unet.jobs.scratch import Scratch
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try:
        Scratch(pathlib.Path({str(tmp_path)!r})).array((2_000_000,), "uint8")
    except ExportError as error:
        print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert "2.0 MB are needed" in done.stdout
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    with pytest.raises(ExportError, match="set TMPDIR"):
        Scratch(tmp_path / "missing")


def test_folder_goes_with_close_and_with_the_object(tmp_path):
    first, second = Scratch(tmp_path), Scratch(tmp_path)
    first.array((3,), "uint8")
    first.close()
    first.close()
    assert list(tmp_path.iterdir()) == [second.folder]
    del second
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_folder_of_a_killed_process_is_removed_by_the_next(tmp_path):
    program = f"""
    import os, pathlib, signal
    from napari_unet.jobs.scratch import Scratch
    scratch = Scratch(pathlib.Path({str(tmp_path)!r}))
    scratch.array((3,), "uint8")
    os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    scratch = Scratch(tmp_path)
    assert list(tmp_path.iterdir()) == [scratch.folder]


def test_folders_in_use_and_of_others_are_left_alone(tmp_path):
    own = Scratch(tmp_path)
    alike = tmp_path / "napari-unet-999999999-notes"
    alike.mkdir()
    # Its pid looks dead, as that of a process in another container does, but it is held.
    held = own.folder.rename(tmp_path / "napari-unet-999999999-abc")
    other = Scratch(tmp_path)
    assert set(tmp_path.iterdir()) == {alike, held, other.folder}
    shutil.rmtree(held)


def test_an_array_is_staged_while_zarr_is_being_imported(scratch, monkeypatch):
    array = np.arange(6)
    monkeypatch.setitem(sys.modules, "zarr", ModuleType("zarr"))
    assert np.array_equal(open_array(scratch.stage(array)), array)
