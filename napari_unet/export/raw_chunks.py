"""Chunks of a Zarr array, read from its files without the library that wrote them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class RawArray:
    """What the metadata of an array say that are needed to read its chunks.

    Attributes
    ----------
    folder : Path
    dtype : numpy.dtype
    chunks : tuple of int
    prefix : str
        Before the numbers of a chunk, which "/" separates.
    """

    folder: Path
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    prefix: str

    @classmethod
    def open(cls, folder: Path) -> RawArray:
        """Read the metadata of an array with Blosc as its only compression.

        Raises
        ------
        OSError, ValueError, KeyError
            If it is no such array.
        """
        if (folder / ".zarray").is_file():
            found = json.loads((folder / ".zarray").read_bytes())
            plain = found["order"] == "C" and not found["filters"] and found["compressor"]["id"] == "blosc"
            separator, prefix = found["dimension_separator"], ""
            dtype, chunks = np.dtype(found["dtype"]), found["chunks"]
        else:
            found = json.loads((folder / "zarr.json").read_bytes())
            plain = [codec["name"] for codec in found["codecs"]] == ["bytes", "blosc"]
            separator, prefix = found["chunk_key_encoding"]["configuration"]["separator"], "c/"
            dtype = np.dtype(found["data_type"]).newbyteorder("<")
            chunks = found["chunk_grid"]["configuration"]["chunk_shape"]
        if not plain or separator != "/":
            raise ValueError("it is stored in another way than it was written")
        return cls(folder, dtype, tuple(chunks), prefix)

    def read(self, box: Sequence[slice]) -> npt.NDArray[Any]:
        """Read a box within one chunk, from its first pixel on; what is not stored is 0.

        Raises
        ------
        OSError, ValueError, RuntimeError
            If its file is damaged.
        """
        import imagecodecs

        numbers = (str(part.start // side) for part, side in zip(box, self.chunks, strict=True))
        file = self.folder / (self.prefix + "/".join(numbers))
        if not file.is_file():
            return np.zeros([part.stop - part.start for part in box], self.dtype)
        content = imagecodecs.blosc_decode(file.read_bytes())
        chunk = np.frombuffer(content, self.dtype).reshape(self.chunks)
        return chunk[tuple(slice(part.stop - part.start) for part in box)]
