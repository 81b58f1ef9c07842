"""Reading: what is damaged, incomplete or no image at all gets one sentence."""

import io
import struct
import threading

import imagecodecs
import numpy as np
import pytest
import tifffile

from napari_unet.errors import AxesError, ImageError, LabelsError
from napari_unet.imaging import tiff
from napari_unet.imaging.reading import READERS, read_image, read_labels

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 60_000, (10, 24, 31), dtype=np.uint16)
COLOUR = RNG.integers(0, 255, (24, 31, 3), dtype=np.uint8)


def one_sentence(error):
    """Errors are for people: short, and ending in a full stop."""
    message = str(error.value)
    assert message.endswith(".")
    assert len(message) < 420
    assert "Traceback" not in message
    assert "\n" not in message
    return message


KINDS = {
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    "shaped": {},
    "plain": {"metadata": None},
    "big": {"bigtiff": True},
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", KINDS)
def test_truncated_tiff_is_never_a_shorter_stack(tmp_path, monkeypatch, kind, compression, part, lazy):
    if lazy:
        monkeypatch.setattr(tiff, "IN_MEMORY_BYTES", 0)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, compression=compression, **KINDS[kind])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ImageError, match=r"incomplete or damaged|no valid TIFF") as error:
        read_image(path)
    one_sentence(error)


@pytest.mark.parametrize("kind", KINDS)
def test_tiff_cut_anywhere_is_refused_or_whole(tmp_path, kind):
    path = tmp_path / "a.tif"
    small = STACK[:5, :9, :9]
    tifffile.imwrite(path, small, compression="zlib", **KINDS[kind])
    content = path.read_bytes()
    for end in range(1, len(content), 37):
        path.write_bytes(content[:end])
        try:
            image = read_image(path)
        except (ImageError, AxesError):
            continue
        np.testing.assert_array_equal(image.array, small)


def test_missing_ome_plane_is_refused(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, ome=True, metadata={"axes": "ZYX"}, compression="zlib")
    path.write_bytes(path.read_bytes().replace(b'SizeZ="10"', b'SizeZ="12"'))
    with pytest.raises(ImageError, match="incomplete or damaged"):
        read_image(path)


def test_missing_imagej_plane_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZYX"}, compression="zlib")
    path.write_bytes(path.read_bytes().replace(b"images=10\nslices=10", b"images=12\nslices=12"))
    with pytest.raises(ImageError, match="10 of 12 planes"):
        read_image(path)


def test_complaints_of_other_threads_are_none_of_ours(tmp_path):
    tifffile.imwrite(tmp_path / "good.tif", STACK, compression="zlib")
    (tmp_path / "bad.tif").write_bytes((tmp_path / "good.tif").read_bytes()[:4000])

    def read_bad_ones():
        for _ in range(30):
            with pytest.raises(ImageError):
                read_image(tmp_path / "bad.tif")

    other = threading.Thread(target=read_bad_ones)
    other.start()
    for _ in range(30):
        assert read_image(tmp_path / "good.tif").array.shape == STACK.shape
    other.join()


def test_damage_is_not_printed(tmp_path, capfd):
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:3000])
    with pytest.raises(ImageError):
        read_image(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")


def tiff_header(width, height):
    """Write a header of a few bytes that claims width × height pixels."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 4)]
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 12) + b"abcd" + body + struct.pack("<I", 0)


def png_header(width, height):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + b"\0" * 30


def jpeg_header(width, height):
    app0 = b"\xff\xe0\x00\x04ab"
    frame = b"\xff\xc0\x00\x11\x08" + struct.pack(">HHB", height, width, 3) + b"\0" * 9
    return b"\xff\xd8" + app0 + frame + b"\xff\xd9"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tif", tiff_header(200_000, 200_000)),
        ("a.png", png_header(200_000, 200_000)),
        ("a.jpg", jpeg_header(60_000, 60_000)),
    ],
)
def test_claims_that_cannot_be_true(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match="GiB") as error:
        read_image(tmp_path / name)
    one_sentence(error)


def test_strip_that_inflates_beyond_its_image(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3000, 3000), np.uint8), compression="zlib", rowsperstrip=3000)
    content = path.read_bytes()
    for kind in (3, 4):  # the height, as a short or a long
        content = content.replace(struct.pack("<HHII", 257, kind, 1, 3000), struct.pack("<HHII", 257, kind, 1, 10))
    path.write_bytes(content)
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)


def npy_claiming(shape):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def truncated_png():
    return imagecodecs.png_encode(COLOUR)[:900]


def truncated_jpeg():
    return imagecodecs.jpeg_encode(COLOUR)[:900]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.tif", b"", "0 bytes"),
        ("text.tif", b"Not a picture at all, but quite some text.", "no valid TIFF"),
        ("text.png", b"Not a picture", "not a PNG"),
        ("text.jpg", b"Not a picture", "not a JPEG"),
        ("text.npy", b"Not a picture", "no complete .npy"),
        ("notes.txt", b"Some notes", "kind that cannot be read"),
        ("noextension", b"Some notes", "kind that cannot be read"),
        ("cut.png", truncated_png(), "damaged"),
        ("cut.jpg", truncated_jpeg(), "end is missing"),
        ("huge.npy", npy_claiming((1 << 40, 1 << 10)), "no complete .npy"),
        ("negative.npy", npy_claiming((-3, 4)), "npy"),
    ],
)
def test_bad_files_get_a_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=words) as error:
        read_image(tmp_path / name)
    assert name in one_sentence(error)


def test_pickles_are_never_run(tmp_path):
    np.save(tmp_path / "a.npy", np.array([print, 1], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError):
        read_image(tmp_path / "a.npy")


def test_missing_file_and_plain_folder(tmp_path):
    with pytest.raises(ImageError, match="no file"):
        read_image(tmp_path / "nothing.tif")
    with pytest.raises(ImageError, match="not a Zarr store"):
        read_image(tmp_path)
    with pytest.raises(ImageError):
        read_image(tmp_path / "a\0b.tif")
    with pytest.raises(ImageError):
        read_image(tmp_path / ("x" * 300 + ".tif"))


def test_unreadable_file(tmp_path, monkeypatch):
    for suffix in (".tif", ".png", ".npy"):
        (tmp_path / f"a{suffix}").write_bytes(b"something")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("io.open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    for suffix in (".tif", ".png", ".npy"):
        with pytest.raises(ImageError, match="Permission denied"):
            read_image(tmp_path / f"a{suffix}")


def test_complex_numbers_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 4), complex))
    with pytest.raises(ImageError, match="complex128"):
        read_image(tmp_path / "a.npy")


def test_colours_are_no_labels(tmp_path):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(COLOUR))
    with pytest.raises(LabelsError, match="3 channels") as error:
        read_labels(tmp_path / "a.png")
    one_sentence(error)


def test_every_reader_is_tested_with_a_text_file(tmp_path):
    for suffix in READERS:
        (tmp_path / f"a{suffix}").write_text("no image")
        with pytest.raises(ImageError):
            read_image(tmp_path / f"a{suffix}")
