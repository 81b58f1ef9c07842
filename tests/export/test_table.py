"""Tables of objects."""

import csv
import os
import sys

import numpy as np
import pytest

from napari_unet.errors import ExportError
from napari_unet.export.table import save_table

TABLE = {"label": np.array([3, 70_000]), "area_um2": np.array([1.25, 1e-7 / 3]), "mean": np.array([np.nan, 1.0])}


def test_table_comes_back(tmp_path):
    path = save_table(tmp_path / "Tabelle α.csv", TABLE)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["3", "70000"]
    assert float(rows[1]["area_um2"]) == pytest.approx(1e-7 / 3, rel=1e-6)
    assert rows[0]["mean"] == ""


def test_empty_table_keeps_its_header(tmp_path):
    path = save_table(tmp_path / "t.csv", {name: column[:0] for name, column in TABLE.items()})
    assert path.read_text() == "label,area_um2,mean\n"


def test_columns_of_different_length_are_refused(tmp_path):
    with pytest.raises(ExportError, match="lengths"):
        save_table(tmp_path / "t.csv", {"a": np.zeros(2), "b": np.zeros(3)})


def test_parquet_keeps_types_and_all_digits(tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = TABLE | {"id": np.array([2**64 - 1, 2**53 + 1], np.uint64)}
    path = save_table(tmp_path / "Tabelle α.parquet", table, image_name="Zellen 1")
    found = parquet.read_table(path).to_pydict()
    assert found["image"] == ["Zellen 1", "Zellen 1"]
    assert found["id"] == [2**64 - 1, 2**53 + 1]
    assert found["area_um2"] == TABLE["area_um2"].tolist()
    assert np.isnan(found["mean"][0])


def test_parquet_of_no_objects_keeps_its_columns(tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    empty = {name: column[:0] for name, column in TABLE.items()}
    found = parquet.read_table(save_table(tmp_path / "t.parquet", empty, image_name="a"))
    assert found.column_names == ["image", *TABLE]
    assert found.num_rows == 0


def test_parquet_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"napari-unet\[parquet\]"):
        save_table(tmp_path / "t.parquet", TABLE)
    assert not list(tmp_path.iterdir())


def test_name_of_the_image_comes_first(tmp_path):
    path = save_table(tmp_path / "t.csv", {"label": np.array([2**64 - 1], np.uint64)}, image_name='a,"b"')
    assert path.read_text() == 'image,label\n"a,""b""",18446744073709551615\n'


def test_tables_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(ExportError, match=r"neither \.csv nor \.parquet"):
        save_table(tmp_path / "t.xlsx", TABLE)


def test_failed_save_keeps_the_old_table(tmp_path, monkeypatch):
    path = save_table(tmp_path / "t.csv", TABLE)
    before = path.read_bytes()

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ExportError, match="full"):
        save_table(path, {"a": np.zeros(2)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
