"""The table of objects shows measurements that are wanted, plots them, and saves them."""

import csv
import itertools

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QFileDialog
from test_object_table import click_row, shown, texts  # noqa: F401  # a fixture

LEFT = Qt.MouseButton.LeftButton


def tick(qtbot, table, *names):
    """Tick columns in the menu with the mouse."""
    table.menu.popup(table.columns.mapToGlobal(QPoint(0, 0)))
    for name in names:
        box = table.menu.boxes[name]
        qtbot.mouseClick(box, LEFT, pos=QPoint(8, box.height() // 2))
    assert table.menu.isVisible()  # it stays open
    table.menu.close()


def measured(qtbot, table):
    qtbot.waitUntil(lambda: not table.list.listed.measuring, timeout=20_000)


def test_columns_are_measured_when_they_are_wanted(shown, qtbot):  # noqa: F811
    *_, table = shown
    tick(qtbot, table, "surface_um2", "max_channel_0")
    measured(qtbot, table)
    titles = [title for _, title, _ in table.list.columns]
    assert titles == ["Id", "Volume\nµm³", "Slices", "Mean", "Surface\nµm²", "Max\nch 0", "Reviewed"]
    assert texts(table, "max_channel_0")[:3] == ["10.0", "20.0", "30.0"]
    assert all(float(text.replace(",", "")) > 0 for text in texts(table, "surface_um2"))
    tick(qtbot, table, "surface_um2", "max_channel_0")
    assert len(table.list.columns) == 5


def test_they_sort_and_lead_to_objects_as_the_others_do(shown, qtbot):  # noqa: F811
    _, _, correction, _, table = shown
    tick(qtbot, table, "max_channel_0")
    measured(qtbot, table)
    column = [key for key, _, _ in table.list.columns].index("max_channel_0")
    table.view.sortByColumn(column, Qt.SortOrder.DescendingOrder)
    assert texts(table, "label")[:2] == ["12", "11"]
    click_row(qtbot, table, 0)
    assert correction.selected_label == 12


def test_they_follow_edits(shown, qtbot):  # noqa: F811
    _, _, correction, _, table = shown
    tick(qtbot, table, "volume_px")
    measured(qtbot, table)
    assert texts(table, "volume_px")[0] == "50.0"
    correction.data_setitem((np.array([0]), np.array([100]), np.array([290])), 1)
    qtbot.waitUntil(lambda: texts(table, "volume_px")[0] == "51.0", timeout=20_000)


def test_a_histogram_and_a_scatter_plot(shown, qtbot):  # noqa: F811
    _, _, correction, _, table = shown
    qtbot.mouseClick(table.plotting, LEFT)
    measured(qtbot, table)
    plot = table.plot
    qtbot.waitUntil(lambda: plot.legend.text().startswith("12 objects, median"))
    assert plot.across.currentText() == "Volume (µm³)"
    edges, counts = plot._lines[0].getData()
    assert counts.sum() == 12
    assert len(edges) == len(counts) + 1
    plot.up.setCurrentIndex(plot.up.findData("max_channel_0"))
    plot.up.activated.emit(plot.up.currentIndex())
    qtbot.waitUntil(lambda: len(plot._points.getData()[0]) == 12)
    x, y = plot._points.getData()
    assert np.allclose(y, np.arange(1, 13) * 10)
    assert (np.diff(x) > 0).all()
    view = plot._plot.getPlotItem().getViewBox()
    where = plot._plot.mapFromScene(view.mapViewToScene(plot._points.points()[4].pos()))
    qtbot.mouseClick(plot._plot.viewport(), LEFT, pos=where)
    assert correction.selected_label == 5
    assert table.list.keys(table.rows()) == [(0, 5)]


def test_all_measurements_are_saved_as_a_table(shown, qtbot, monkeypatch, tmp_path):  # noqa: F811
    _, controller, *_, table = shown
    target = tmp_path / "objects.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    qtbot.mouseClick(table.save, LEFT)
    qtbot.waitUntil(lambda: not controller.state.busy, timeout=20_000)
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [str(n) for n in range(1, 13)]
    assert float(rows[0]["volume_um3"]) == pytest.approx(2 * 5 * 5 * 0.5)
    assert [float(row["mean_channel_0"]) for row in rows] == list(itertools.accumulate([10] * 12))
