"""Archives of NumPy arrays are read without unpickling anything."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from napari_unet.errors import ModelError
from napari_unet.weights.formats.arrays import read_npz


def header(shape="(3,)", descr="'<f4'"):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as written:
        for name, content in members.items():
            written.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_by_their_names(tmp_path, save):
    rng = np.random.default_rng(0)
    wanted = {
        "g_conv1_1/weights:0": rng.normal(size=(3, 3, 1, 4)).astype("f4"),
        "Variable_1": np.asfortranarray(rng.normal(size=(2, 2, 4, 8)).astype("f8")),
        "big": rng.normal(size=5).astype(">f4"),
        "count": np.uint16(3),
        "empty": np.ones((0, 3), "f2"),
    }
    save(tmp_path / "w.npz", **wanted)
    checkpoint = read_npz(tmp_path / "w.npz")
    tensors = checkpoint.states[0].tensors
    assert set(tensors) == {name.removesuffix(":0") for name in wanted}
    for name, value in wanted.items():
        np.testing.assert_array_equal(tensors[name.removesuffix(":0")].numpy(), value)


def test_objects_are_never_unpickled(tmp_path):
    class Danger:
        def __reduce__(self):
            return (pytest.fail, ("code of the file was run",))

    np.savez(tmp_path / "w.npz", a=np.array([Danger()], dtype=object), allow_pickle=True)
    with pytest.raises(ModelError, match="never opened"):
        read_npz(tmp_path / "w.npz")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (header("(10000000000,)") + bytes(12), "made to fill the memory"),
        (header("(-3,)") + bytes(12), "claims the shape"),
        (header("(3,)") + bytes(16), "should hold"),
        (header("(3,)", "'<U9'") + bytes(200), "never opened"),
        (header("(3,)", "__import__('os')") + bytes(12), "cannot be read"),
        (b"\x93NUMPY\x09\x00", "cannot be read"),
        (b"", "cannot be read"),
        (header()[:40], "cannot be read"),
    ],
)
def test_false_claims_are_refused(tmp_path, content, sentence):
    with pytest.raises(ModelError, match=sentence):
        read_npz(archive(tmp_path / "w.npz", a=content))


def test_other_members_and_names_twice_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as written:
        written.writestr("code.py", "")
    with pytest.raises(ModelError, match="is no array"):
        read_npz(tmp_path / "a.npz")
    array = io.BytesIO()
    np.save(array, np.ones(3))
    twice = archive(tmp_path / "b.npz", **{"Variable": array.getvalue(), "Variable:0": array.getvalue()})
    with pytest.raises(ModelError, match="twice"):
        read_npz(twice)
    with pytest.raises(ModelError, match="leads outside"):
        read_npz(archive(tmp_path / "c.npz", **{"../x": array.getvalue()}))


def test_truncated_and_flipped_archives_never_end_otherwise(tmp_path):
    path = tmp_path / "w.npz"
    np.savez_compressed(path, a=np.arange(500.0), b=np.ones((3, 3)))
    content = path.read_bytes()
    for length in np.linspace(0, len(content) - 1, 30).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError):
            read_npz(path)
    for position in range(0, len(content), 9):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            read_npz(path)
        except ModelError as error:
            assert path.name in str(error)  # noqa: PT017
