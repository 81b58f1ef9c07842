"""What is checked before a weights file may take memory or name another file."""

from __future__ import annotations

import math
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from napari_unet.errors import ModelError

MAX_FILE_BYTES = 32 * 1024**3
MAX_TOTAL_BYTES = 32 * 1024**3
MAX_MEMBERS = 100_000
MAX_TEXT_BYTES = 64 * 1024**2
MAX_DIMENSIONS = 8
MAX_RATIO = 250
"""How many times larger a packed file may become; deflate reaches 1030 with nothing but zeros."""
SMALL_BYTES = 64 * 1024**2
"""Below this size no ratio is suspicious: an empty test image packs as well as a bomb."""


def check_file(path: Path, limit: int = MAX_FILE_BYTES) -> int:
    """Size in bytes of a file that can be read, is not empty and not too large.

    Raises
    ------
    ModelError
        If it is missing, a folder, empty or larger than `limit`.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise ModelError(f'There is no file "{path}". Choose a weights file that exists.') from error
    except (OSError, ValueError) as error:
        raise ModelError(f'"{path}" cannot be read: {reason(error)}.') from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f'"{path}" is not a file: expected a file with weights. Choose one inside it.')
    if status.st_size == 0:
        raise ModelError(f'"{path.name}" is empty (0 bytes). Copy or download it again.')
    if status.st_size > limit:
        raise ModelError(
            f'"{path.name}" holds {status.st_size:,} bytes, and at most {limit:,} are read. Save its weights alone, '
            "without the state of the optimizer."
        )
    return status.st_size


def check_claim(path: Path, name: str, shape: Sequence[int], item_bytes: int, stored_bytes: int) -> int:
    """Bytes of one array, if the file really holds as many as its shape claims.

    Parameters
    ----------
    path : Path
        The file, for the message.
    name : str
        Of the array, for the message.
    shape : sequence of int
    item_bytes : int
        Of one element.
    stored_bytes : int
        What the file holds for the array.

    Raises
    ------
    ModelError
        If the shape is negative, has too many dimensions or needs more bytes than there are.
    """
    if len(shape) > MAX_DIMENSIONS or any(side < 0 for side in shape):
        raise ModelError(f'"{path.name}" is damaged: its array "{shorten(name)}" claims the shape {shape_text(shape)}.')
    claimed = math.prod(shape) * item_bytes
    if claimed > stored_bytes:
        raise ModelError(
            f'"{path.name}" is refused: its array "{shorten(name)}" claims {claimed:,} bytes, and the file holds '
            f"{stored_bytes:,} for it. It is damaged or made to fill the memory."
        )
    return claimed


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose members have been checked by `check_members`.

    Raises
    ------
    ModelError
        If it is no readable zip or one of its members is refused; also for errors of reading inside the block.
    """
    size = check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(path, archive.infolist(), size)
            yield archive
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
        raise ModelError(
            f'"{path.name}" is damaged and cannot be unpacked ({reason(error)}). Copy it again.'
        ) from error
    except RuntimeError as error:  # what zipfile raises for a member that needs a password
        raise ModelError(f'"{path.name}" cannot be unpacked: {reason(error)}.') from error


def check_members(path: Path, members: Sequence[zipfile.ZipInfo], file_bytes: int) -> None:
    """Check the table of contents of a zip, before anything is unpacked.

    Raises
    ------
    ModelError
        For too many members, names that lead outside, links, duplicates, encryption, overlap or bombs.
    """
    if len(members) > MAX_MEMBERS:
        raise ModelError(
            f'"{path.name}" is refused: it holds {len(members):,} files, and at most {MAX_MEMBERS:,} are read.'
        )
    seen: set[str] = set()
    for member in members:
        _check_member(path, member)
        folded = member.filename.casefold()
        if folded in seen:
            raise ModelError(f'"{path.name}" is refused: it holds "{shorten(member.filename)}" twice.')
        seen.add(folded)
    _check_volume(path, members, file_bytes)


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    # zipfile cuts names at a null character; other readers do not, and would see another name.
    name = member.orig_filename
    mode = member.external_attr >> 16
    problem = ""
    if leads_outside(name):
        problem = "has a name that leads outside the file"
    elif stat.S_ISLNK(mode):
        problem = "is a link to another file"
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = "is neither a file nor a folder"
    elif member.flag_bits & 0x1:
        problem = "is encrypted"
    if problem:
        raise ModelError(f'"{path.name}" is refused: its member "{shorten(name)}" {problem}.')


def leads_outside(name: str) -> bool:
    r"""Whether a name inside a package is absolute, climbs with ``..`` or is none at all.

    Examples
    --------
    >>> [leads_outside(name) for name in ("archive/data/0", "../x", "/etc/passwd", "C:/x", "a\\..\\b")]
    [False, True, True, True, True]
    """
    parts = name.replace("\\", "/").split("/")
    return not name or "\0" in name or parts[0] == "" or parts[0][1:2] == ":" or ".." in parts


def _check_volume(path: Path, members: Sequence[zipfile.ZipInfo], file_bytes: int) -> None:
    packed = sum(member.compress_size for member in members)
    total = sum(member.file_size for member in members)
    if packed > file_bytes:
        raise ModelError(f'"{path.name}" is refused: its members overlap, or it was copied only in part.')
    if any(m.compress_type == zipfile.ZIP_STORED and m.compress_size != m.file_size for m in members):
        raise ModelError(f'"{path.name}" is damaged: a member that is not packed has two sizes. Copy it again.')
    if total > MAX_TOTAL_BYTES:
        raise ModelError(
            f'"{path.name}" is refused: it would unpack to {total:,} bytes, and at most {MAX_TOTAL_BYTES:,} are read.'
        )
    for member in members:
        if member.file_size > SMALL_BYTES and member.file_size > MAX_RATIO * member.compress_size:
            raise ModelError(
                f'"{path.name}" is refused: its member "{shorten(member.filename)}" would unpack to '
                f"{member.file_size:,} bytes from {member.compress_size:,}, as files made to fill the memory do."
            )


def read_member(archive: zipfile.ZipFile, name: str, limit: int = MAX_TEXT_BYTES) -> bytes:
    """Read one member of a zip opened by `open_zip`, at most `limit` bytes; its checksum is verified.

    Raises
    ------
    ModelError
        If there is no such member or it is larger.
    """
    label = Path(archive.filename or "The file").name
    try:
        member = archive.getinfo(name)
    except KeyError as error:
        raise ModelError(f'"{label}" holds no "{shorten(name)}".') from error
    if member.file_size > limit:
        raise ModelError(
            f'"{label}" is refused: its "{shorten(name)}" claims {member.file_size:,} bytes, more than {limit:,}.'
        )
    return _read_exactly(archive, member)


def _read_exactly(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    import lzma
    import zlib

    try:
        with archive.open(member) as stream:
            return stream.read(member.file_size + 1)
    except (zlib.error, lzma.LZMAError) as error:
        raise zipfile.BadZipFile(str(error)) from error


def verify_checksums(archive: zipfile.ZipFile) -> None:
    """Read every member of a zip opened by `open_zip` once, a piece at a time, so that damage is found.

    Raises
    ------
    zipfile.BadZipFile
        At the first member that has changed; `open_zip` makes a ModelError of it.
    """
    import lzma
    import zlib

    try:
        for member in archive.infolist():
            with archive.open(member) as stream:
                while stream.read(1024**2):
                    pass
    except (zlib.error, lzma.LZMAError) as error:
        raise zipfile.BadZipFile(str(error)) from error


def shorten(text: str, length: int = 80) -> str:
    """Return a name from a file as one printable line that fits a message."""
    line = "".join(character if character.isprintable() else "?" for character in text[: length + 1])
    return line if len(line) <= length else line[: length - 1] + "…"


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as people write it, such as "64 x 3 x 3 x 3"."""
    sides = [f"{side:.3g}" if abs(side) > 10**15 else str(side) for side in shape[: MAX_DIMENSIONS + 1]]
    return " x ".join(sides) or "scalar"


def reason(error: BaseException) -> str:
    """Say in one line why reading failed, without what a file may have put into the message."""
    text = (getattr(error, "strerror", None) or str(error)).strip().splitlines()
    return shorten(text[0].rstrip("."), 160) if text else type(error).__name__
