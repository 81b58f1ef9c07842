"""``_seg.npy`` of Cellpose, and what somebody might put into one."""

import contextlib
import io
import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest

from napari_unet.errors import ImageError, LabelsError
from napari_unet.imaging.foreign_labels.unpickling import Stored, unpickle
from napari_unet.imaging.reading import read_labels

RNG = np.random.default_rng(0)


def seg(masks):
    """What Cellpose saves: flows, colours and more beside the masks."""
    return {
        "outlines": masks.astype(np.uint16),
        "colors": RNG.integers(0, 255, (3, 3)),
        "masks": masks,
        "chan_choose": [0, 0],
        "img": RNG.random((3, *masks.shape[-2:]), np.float32),
        "filename": "C:/images/cells 1.tif",
        "flows": [RNG.integers(0, 255, (9, 9, 3), dtype=np.uint8), [], np.zeros((1, 2))],
        "ismanual": np.zeros(3, bool),
        "est_diam": np.float64(17.5),
        "zdraw": [None, None],
        "model_path": 0,
        "normalize_params": {"lowhigh": None, "percentile": [1.0, 99.0], "norm3D": True},
    }


def save(path, found, protocol=4):
    """As np.save does, with any pickle protocol."""
    array = np.empty((), object)
    array[()] = found
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(array, file, protocol=protocol)
    return path


def raw(path, content):
    """A pickle as somebody writes it by hand."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        file.write(content)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, ">u4", np.uint8])
def test_masks_of_a_plane(tmp_path, protocol, dtype):
    masks = RNG.integers(0, 200, (30, 40)).astype(dtype)
    found = read_labels(save(tmp_path / "a_seg.npy", seg(masks), protocol))
    assert found.axes == "YX"
    np.testing.assert_array_equal(found.array, masks)


def test_masks_as_numpy_saves_them(tmp_path):
    masks = RNG.integers(0, 70_000, (4, 30, 40)).astype(np.uint32)
    np.save(tmp_path / "a_seg.npy", seg(np.asfortranarray(masks)))
    found = read_labels(tmp_path / "a_seg.npy", "ZCYX", (4, 2, 30, 40))
    assert found.axes == "ZYX"
    np.testing.assert_array_equal(found.array, masks)


def test_a_stack_of_time_points_by_its_axes(tmp_path):
    np.save(tmp_path / "a_seg.npy", seg(np.ones((4, 30, 40), np.uint16)))
    assert read_labels(tmp_path / "a_seg.npy", "TYX").axes == "TYX"


def test_names_that_are_paths_and_protocol_5(tmp_path):
    masks = np.ones((5, 6), np.uint16)
    found = seg(masks) | {"filename": Path("a")}
    np.testing.assert_array_equal(read_labels(save(tmp_path / "a_seg.npy", found, 5)).array, masks)


def test_labels_of_another_image_are_refused(tmp_path):
    np.save(tmp_path / "a_seg.npy", seg(np.ones((30, 40), np.uint16)))
    with pytest.raises(LabelsError, match="30 × 40, and the image has 9 × 9"):
        read_labels(tmp_path / "a_seg.npy", shape=(9, 9))


@pytest.mark.parametrize("found", [{"img": 1}, [1, 2], {"masks": [[1, 2]]}, {}, "masks"])
def test_files_without_masks(tmp_path, found):
    with pytest.raises(LabelsError, match='"masks" were expected'):
        read_labels(save(tmp_path / "a_seg.npy", found))


# --- malicious files ----------------------------------------------------------------------------


class Runs:
    """A pickle that calls a function when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("place", ["masks", "other", "top"])
@pytest.mark.parametrize(
    "call",
    [
        lambda target: Runs(os.system, f"touch '{target}'"),
        lambda target: Runs(eval, f"open({str(target)!r}, 'w')"),
        lambda target: Runs(open, str(target), "w"),
        lambda target: Runs(subprocess.Popen, ["touch", str(target)]),
        lambda target: Runs(np.load, str(target)),
        lambda target: Runs(np.ndarray, (1,), "O", b"12345678"),
    ],
    ids=["system", "eval", "open", "popen", "np.load", "ndarray of objects"],
)
def test_nothing_is_run(tmp_path, protocol, place, call):
    target = tmp_path / "written"
    evil = call(target)
    if isinstance(evil.call[0], type) and evil.call[0] is np.ndarray:
        evil = {"masks": evil}
    found = evil if place == "top" else {**seg(np.ones((5, 6), np.uint16)), place: evil}
    path = save(tmp_path / "a_seg.npy", found, protocol)
    with contextlib.suppress(LabelsError):
        read_labels(path)
    assert not target.exists()


def test_what_asks_for_a_name_is_refused_in_a_sentence(tmp_path):
    path = save(tmp_path / "a_seg.npy", {"masks": Runs(os.system, "true")})
    with pytest.raises(LabelsError, match=r"refused: it asks for posix.system|refused: it asks for nt.system"):
        read_labels(path)


@pytest.mark.parametrize(
    "content",
    [
        b"(S'touch x'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch x'\no.",  # OBJ
        b"Pexternal\n.",  # PERSID
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
    ],
)
def test_opcodes_that_no_array_needs(tmp_path, content):
    with pytest.raises(LabelsError, match="refused"):
        read_labels(raw(tmp_path / "a_seg.npy", content))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04r\xff\xff\xff\xff.",  # an entry of the memo that would take 32 GiB
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x00.",  # bytes that are not there
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x00.",
        b"\x80\x04.",
        b"",
        b"\x80\x04N" + b"l" * 99,
    ],
)
def test_claims_take_no_memory(tmp_path, content):
    with pytest.raises((ImageError, LabelsError), match=r"a_seg\.npy"):
        read_labels(raw(tmp_path / "a_seg.npy", content))


class Forged:
    """An array whose state says something else than its content."""

    def __init__(self, shape, code, content):
        self.state = (1, shape, np.dtype(code), False, content)

    def __reduce__(self):
        return (np.ndarray((0,)).__reduce__()[0], (np.ndarray, (0,), b"b"), self.state)


@pytest.mark.parametrize(
    ("shape", "code", "content"),
    [
        ((10**9, 10**9), "u1", b"12"),
        ((-1, -2), "u1", b"12"),
        ((1,), "O", b"12345678"),
        ((1,), "O", [1]),
        ((1,), [("a", "O")], b"12345678"),
        ((2,), "U1", b"12345678"),
        (("x",), "u1", b"1"),
    ],
    ids=["huge", "negative", "pointers", "objects", "pointers in fields", "text", "no number"],
)
def test_forged_arrays_are_refused(tmp_path, shape, code, content):
    path = save(tmp_path / "a_seg.npy", {"masks": Forged(shape, code, content)})
    with pytest.raises((ImageError, LabelsError), match=r"a_seg\.npy"):
        read_labels(path)


def test_every_byte_may_be_wrong(tmp_path):
    """Nothing but a sentence comes of a damaged file, and no byte makes it call anything of numpy."""
    path = save(tmp_path / "a_seg.npy", {"masks": np.arange(6, dtype=np.uint16).reshape(2, 3)})
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x55
        path.write_bytes(changed)
        with contextlib.suppress(ImageError, LabelsError):
            read_labels(path)


def test_arrays_come_as_what_is_stored():
    file = io.BytesIO()
    pickle.dump(np.arange(3), file)
    found = unpickle(file.getvalue(), "a")
    assert type(found) is Stored
    np.testing.assert_array_equal(found.numbers(), np.arange(3))
