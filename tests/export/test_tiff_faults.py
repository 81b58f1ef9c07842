"""Masks as TIFF on a disk that fails: what cannot be saved well changes nothing."""

import errno
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from saved_labels import SIZE, labels_of, leftovers

from napari_unet import atomic
from napari_unet.axes import PixelSize
from napari_unet.errors import ExportError
from napari_unet.export import writing
from napari_unet.export.tiff import save_masks
from napari_unet.imaging.reading import read_image


class Failing:
    """Let the k-th call through a file operation fail."""

    def __init__(self, function, k, error):
        self.function, self.left, self.error = function, k, error

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.function(*args, **kwargs)

    def spared(self, save):
        """Whether there were fewer than k calls; otherwise saving must have said so."""
        try:
            save()
        except ExportError as error:
            message = str(error)
        else:
            return True
        assert "unchanged" in message
        assert "m.tif" in message
        return False


FULL = OSError(errno.ENOSPC, "No space left on device")
NUMPY_FULL = OSError("2621440 requested and 1572736 written")
ERRORS = [FULL, NUMPY_FULL, OSError(errno.EROFS, "Read-only file system"), OSError(errno.EIO, "Input/output error")]
PLACES = [
    (os, "fsync"),
    (os, "replace"),
    (atomic.tempfile, "mkstemp"),
    (tifffile.FileHandle, "write"),
    (tifffile.FileHandle, "seek"),
    (tifffile.FileHandle, "open"),
    (tifffile.FileHandle, "read"),
]


@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize("error", ERRORS, ids=["full", "numpy", "read-only", "broken"])
@pytest.mark.parametrize("place", PLACES, ids=[name for _, name in PLACES])
def test_failure_of_any_call_leaves_everything_as_it_was(tmp_path, monkeypatch, place, error, existed):
    path = tmp_path / "m.tif"
    if existed:
        save_masks(path, labels_of("ZYX", 9))
    before = path.read_bytes() if existed else None
    owner, name = place
    failed = 0
    for k in range(1, 400):
        with monkeypatch.context() as patch:
            # a plain function, so that methods stay methods
            failing = Failing(getattr(owner, name), k, error)
            patch.setattr(owner, name, lambda *a, f=failing, **kw: f(*a, **kw))
            through = failing.spared(lambda: save_masks(path, labels_of("ZYX", 300)))
        assert leftovers(tmp_path) == []
        if through:
            break
        failed += 1
        assert (path.read_bytes() if path.exists() else None) == before
    else:
        pytest.fail("it never got through")
    assert failed > 0
    assert read_image(path).array.max() == 300


def test_full_disk_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", Failing(os.fsync, 1, FULL))
    with pytest.raises(ExportError, match="is full") as error:
        save_masks(tmp_path / "m.tif", labels_of("YX"))
    assert str(tmp_path) in str(error.value)


def test_numpys_full_disk_is_understood(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", Failing(os.fsync, 1, NUMPY_FULL))
    with pytest.raises(ExportError, match="is full"):
        save_masks(tmp_path / "m.tif", labels_of("YX"))


def test_read_only_folder(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "m.tif").write_bytes(b"old")
    monkeypatch.setattr(atomic.tempfile, "mkstemp", refuse)
    with pytest.raises(ExportError, match="read-only"):
        save_masks(tmp_path / "m.tif", labels_of("YX"))
    assert (tmp_path / "m.tif").read_bytes() == b"old"


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"I am no folder")
    (tmp_path / "folder.tif").mkdir()
    for path in (tmp_path / "file" / "m.tif", tmp_path / "none" / "m.tif", tmp_path / "folder.tif"):
        with pytest.raises(ExportError) as error:
            save_masks(path, labels_of("YX"))
        assert str(error.value).endswith(".")
    assert leftovers(tmp_path) == []


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def shorten(path):
    path.write_bytes(path.read_bytes()[:-200])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [damage, shorten, empty])
def test_file_that_reads_back_differently_is_not_put_in_place(tmp_path, monkeypatch, harm):
    (tmp_path / "m.tif").write_bytes(b"old")
    write = writing._write

    def write_badly(path, *content):
        write(path, *content)
        harm(path)

    monkeypatch.setattr(writing, "_write", write_badly)
    with pytest.raises(ExportError, match="did not read back"):
        save_masks(tmp_path / "m.tif", labels_of("ZYX"))
    assert (tmp_path / "m.tif").read_bytes() == b"old"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("change", ["pixel size", "ids"])
def test_reading_back_notices_small_changes(tmp_path, monkeypatch, change):
    write = writing._write

    def write_otherwise(path, raster, layout, bands):
        if change == "pixel size":
            raster = replace(raster, image=replace(raster.image, pixel_size=PixelSize(1.5, 0.325, 0.326)))
        more = 1 if change == "ids" else 0
        write(path, raster, layout, (band + np.uint16(more) for band in bands))

    monkeypatch.setattr(writing, "_write", write_otherwise)
    with pytest.raises(ExportError, match="pixel size" if change == "pixel size" else "part 1"):
        save_masks(tmp_path / "m.tif", labels_of("ZYX", 300), pixel_size=SIZE)


LIMITED = """
import resource, sys
import numpy as np
from napari_unet.errors import ExportError
from napari_unet.export.tiff import save_masks
labels = np.random.default_rng(0).integers(0, 60_000, (4, 200, 200))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    save_masks(sys.argv[1], labels)
except ExportError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits")
@pytest.mark.parametrize("limit", [0, 100, 50_000, 200_000])
def test_limit_on_the_size_of_files(tmp_path, limit):
    path = tmp_path / "m.tif"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", LIMITED, str(path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 7, done.stderr
    assert "unchanged" in done.stdout
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []
