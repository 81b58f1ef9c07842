"""Zips made to do harm are refused before anything of them is unpacked."""

import io
import stat
import zipfile

import pytest

from napari_unet.errors import ModelError
from napari_unet.weights.formats import limits
from napari_unet.weights.formats.opening import open_checkpoint


def zip_of(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


def link():
    member = zipfile.ZipInfo("archive/data/0")
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


TRICKS = {
    "climbs out": ("archive/../../x", "leads outside"),
    "climbs out by backslash": ("archive\\..\\x", "leads outside"),
    "absolute": ("/etc/passwd", "leads outside"),
    "drive": ("C:/x", "leads outside"),
    "link": (link(), "is a link"),
    "twice": ("archive/data.pkl", "twice"),
    "twice but for case": ("archive/DATA.pkl", "twice"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("trick", TRICKS)
def test_zips_with_tricks_are_refused(tmp_path, trick):
    member, sentence = TRICKS[trick]
    path = zip_of(tmp_path / "trick.pth", [("archive/data.pkl", b"."), (member, b"x")])
    with pytest.raises(ModelError, match=sentence):
        open_checkpoint(path)


def test_zip_bombs_are_refused_before_they_unpack(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SMALL_BYTES", 1024)
    path = zip_of(tmp_path / "bomb.pth", [("a/data.pkl", b"."), ("a/data/0", bytes(10**6))], zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match="made to fill the memory"):
        open_checkpoint(path)
    monkeypatch.setattr(limits, "MAX_MEMBERS", 1)
    with pytest.raises(ModelError, match="at most 1"):
        open_checkpoint(path)


def test_a_zip_that_lies_about_its_volume_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(ModelError, match="would unpack to"):
        open_checkpoint(zip_of(tmp_path / "a.pth", [("a/data.pkl", b"."), ("a/data/0", bytes(2000))]))


def test_encrypted_members_are_refused(tmp_path):
    path = zip_of(tmp_path / "a.pth", [("a/data.pkl", b".")])
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is encrypted"):
        open_checkpoint(path)


def test_members_that_overlap_are_refused(tmp_path):
    path = zip_of(tmp_path / "a.pth", [("a/data.pkl", b"."), ("a/data/0", bytes(100)), ("a/data/1", bytes(100))])
    content = bytearray(path.read_bytes())
    last = content.rindex(b"PK\x01\x02")
    for field in (20, 24):
        content[last + field : last + field + 4] = (10**6).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"overlap|damaged"):
        open_checkpoint(path)


def test_exported_programs_are_never_opened(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model/archive_format", "pt2")
    (tmp_path / "model.pt2").write_bytes(stream.getvalue())
    with pytest.raises(ModelError, match=r"torch.export wrote .* never opened"):
        open_checkpoint(tmp_path / "model.pt2")
