"""Tables of objects as CSV or Parquet."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import write_bytes
from napari_unet.errors import ExportError

SUFFIXES = (".csv", ".parquet")


def save_table(
    path: str | os.PathLike[str], table: Mapping[str, npt.NDArray[Any]], *, image_name: str | None = None
) -> Path:
    """Save columns of equal length as a table; the name's ending says as which kind.

    Parameters
    ----------
    path : str or path-like
        ``.csv``: UTF-8, comma, point as the decimal sign, floats with seven significant digits, an empty cell where
        there is no number. ``.parquet``: all digits and the columns' types; needs pyarrow.
    table : dict of str to (objects,) arrays
        As `measure` returns it; units are in the names.
    image_name : str, optional
        Is put before all other columns, as ``image``, so that tables of several images can be joined.

    Raises
    ------
    ExportError
        If the columns differ in length, the ending is another, pyarrow is missing, or the file cannot be written; what
        stood there is unchanged.
    """
    path = Path(path)
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise ExportError(f"The table's columns have different lengths: {lengths}. Give each one value per object.")
    columns = {name: np.asarray(column) for name, column in table.items()}
    if image_name is not None:
        columns = {"image": np.full(next(iter(lengths.values()), 0), image_name), **columns}
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ExportError(f'"{path.name}" ends in neither .csv nor .parquet. Add one of them to the name.')
    return write_bytes(path, _csv(columns) if suffix == ".csv" else _parquet(columns))


def _csv(columns: Mapping[str, npt.NDArray[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(map(_cell, column.tolist()) for column in columns.values()), strict=True))
    return text.getvalue().encode()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.7g}"
    return str(value)


def _parquet(columns: Mapping[str, npt.NDArray[Any]]) -> bytes:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ExportError(
            "Parquet needs the package pyarrow, which is not installed. Install it with "
            '`pip install "napari-unet[parquet]"`, or save the table as .csv.'
        ) from error
    packed = pa.BufferOutputStream()
    parquet.write_table(pa.table({name: pa.array(column) for name, column in columns.items()}), packed)
    content: bytes = packed.getvalue().to_pybytes()
    return content
