"""Arrays out of pickles, without running anything of them.

A pickle is a program. Here it can build lists, dicts, texts and numbers; every name that it asks for is answered by a
class of this file, which only keeps what it is given, and only numbers are made into arrays. numpy's own classes are
never handed to it: some of their states make them read memory that is not theirs.
"""

from __future__ import annotations

import io
import math
import pickle  # the only use is `_Unpickler`, which knows no names but those below
import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import LabelsError

_FORBIDDEN = {"INST", "OBJ", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}
_NUMBERS = re.compile(r"b1|[ui][1248]|f[248]")


class Stored:
    """An array as a pickle describes it: its shape, type and bytes, or its items."""

    def __init__(self, *_: object) -> None:
        self._state: Any = None

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401  # whatever the file holds
        self._state = state

    def items(self) -> list[Any]:
        """Return the items of an array of objects.

        Raises
        ------
        ValueError
            If it is none.
        """
        items = self._fields()[4]
        if not isinstance(items, list):
            raise ValueError("numbers where objects were expected")
        return items

    def numbers(self) -> npt.NDArray[Any]:
        """Return an array of numbers.

        Raises
        ------
        ValueError
            If it holds anything else, or its shape is not that of its bytes.
        """
        _, shape, dtype, is_fortran, raw = self._fields()
        if not isinstance(dtype, _Type) or not isinstance(raw, bytes) or not isinstance(shape, tuple):
            raise ValueError("an array that is none of numbers")
        kind = dtype.numbers()
        sides = [int(side) for side in shape]
        if any(side < 0 for side in sides) or math.prod(sides) * kind.itemsize != len(raw):
            raise ValueError(f"an array of the shape {shape} with {len(raw)} bytes")
        return np.frombuffer(raw, kind).reshape(sides, order="F" if is_fortran else "C")

    def _fields(self) -> tuple[Any, ...]:
        if not isinstance(self._state, tuple) or len(self._state) != 5:
            raise ValueError("an array without a content")
        return self._state


class _Type:
    """The type of an array."""

    def __init__(self, code: object = "", *_: object) -> None:
        self._code = code
        self._order: Any = "="

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        self._order = state[1]

    def numbers(self) -> np.dtype[Any]:
        if not _NUMBERS.fullmatch(str(self._code)) or self._order not in ("<", ">", "|", "="):
            raise ValueError(f"values of the type {str(self._code)[:20]!r}, and numbers were expected")
        return np.dtype(str(self._code)).newbyteorder(self._order)


class _Inert:
    """Something that is not needed."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _new_array(*_: object) -> Stored:
    return Stored()


def _array_of(raw: Any, dtype: Any, shape: Any, order: Any) -> Stored:  # noqa: ANN401
    """Return what the newest pickles of arrays call."""
    stored = Stored()
    stored.__setstate__((1, shape, dtype, order == "F", bytes(raw)))
    return stored


def _encoded(text: str, encoding: str) -> bytes:
    """Return bytes, which old pickles hold as text."""
    if encoding != "latin1":
        raise ValueError(f"bytes as text in {encoding!r}")
    return text.encode("latin1")


def _path_text(*parts: object) -> str:
    return "/".join(str(part) for part in parts)


_CORES = ("numpy.core", "numpy._core")
_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Inert,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encoded,
    ("pathlib", "PosixPath"): _path_text,
    ("pathlib", "WindowsPath"): _path_text,
    ("pathlib._local", "PosixPath"): _path_text,
    ("pathlib._local", "WindowsPath"): _path_text,
    **{(f"{core}.multiarray", "_reconstruct"): _new_array for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _Inert for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _array_of for core in _CORES},
}


class _Unpickler(pickle._Unpickler):  # noqa: SLF001
    """The unpickler that is written in Python: it takes no memory for what a pickle only claims."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise _RefusedError(f"it asks for {module[:60]}.{name[:60]}, which could run a program") from None


class _RefusedError(Exception):
    """Something that no file of arrays needs."""


def unpickle(content: bytes, name: str) -> Any:  # noqa: ANN401  # whatever the file holds
    """Read a pickle of arrays, lists, dicts, texts and numbers.

    Parameters
    ----------
    content : bytes
    name : str
        Of the file, for messages.

    Returns
    -------
    object
        Arrays are `Stored`.

    Raises
    ------
    LabelsError
        If it asks for anything else.
    ValueError
        If it is damaged.
    """
    try:
        for opcode, _, _ in pickletools.genops(content):
            if opcode.name in _FORBIDDEN:
                raise _RefusedError(f"it uses {opcode.name}, which no file of arrays needs")
        return _Unpickler(io.BytesIO(content)).load()
    except _RefusedError as error:
        raise LabelsError(
            f'"{name}" is refused: {error}. Open it in the program that made it and save the masks as PNG or TIFF.'
        ) from None
    except Exception as error:  # a damaged pickle raises anything
        raise ValueError(str(error) or type(error).__name__) from error
