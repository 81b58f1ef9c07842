"""Tables of objects as CSV."""

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


def save_table(path: str | os.PathLike[str], table: Mapping[str, npt.NDArray[Any]]) -> Path:
    """Save columns of equal length as a CSV file: UTF-8, comma, point as the decimal sign.

    Floats have seven significant digits; NaN is an empty cell.

    Raises
    ------
    ExportError
        If the columns differ in length or the file cannot be written; what stood there is unchanged.
    """
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise ExportError(f"The table's columns have different lengths: {lengths}. Give each one value per object.")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(map(_cell, np.asarray(column).tolist()) for column in table.values()), strict=True))
    return write_bytes(Path(path), text.getvalue().encode())


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.7g}"
    return str(value)
