"""Many images, one after the other: listed, run, cancelled and continued."""

import numpy as np
import pytest
import tifffile
from batch_steps import LEFT, cells, click, row_at, run, run_until, statuses, tick
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from napari_unet.gui.batch_state import BatchRow
from napari_unet.gui.widgets.batch_list import status_in_words
from napari_unet.imaging.reading import read_image


def test_a_folder_is_chosen_listed_and_run(view, chosen, folder, idle, qtbot, monkeypatch):
    assert "Choose a folder of images" in view.obstacle.text()
    assert not view.run.isEnabled()
    assert not view.table.isVisible()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    click(qtbot, view.folder)
    idle()
    assert cells(view, 0) == [f"well {number}" for number in range(4)]
    assert cells(view) == ["waiting"] * 4
    assert view.results.text() == str(folder / "results")
    assert view.count.text() == "4 images: 4 waiting"
    run(qtbot, view, idle)
    rows = chosen.state.batch.rows
    assert statuses(chosen) == ["done"] * 4
    assert cells(view)[0] == f"done · {rows[0].objects} objects"
    masks = tifffile.imread(folder / "results" / "well 0_masks.tif")
    assert rows[0].objects == len(np.unique(masks)) - 1 > 1
    assert "4 of 4 images done" in chosen.state.message.text
    assert chosen.state.message.level == "info"


def test_progress_is_shown_while_it_runs_and_nothing_can_be_changed(listed, chosen, client, idle, qtbot):
    seen = []
    chosen.state.events.advance.connect(lambda advance: seen.append((advance.done, advance.total)))
    click(qtbot, listed.run)
    assert listed.run.text() == "Running…"
    for widget in (
        listed.run,
        listed.folder,
        listed.files,
        listed.results,
        listed.overwrite,
        listed.outputs.boxes["masks"],
    ):
        assert not widget.isEnabled()
    idle(60_000)
    done = [at for at, total in seen if total == 400]
    assert done == sorted(done)
    assert len(set(done)) > 2


def test_a_bad_image_fails_with_its_sentence_and_the_others_go_on(listed, chosen, folder, idle, qtbot):
    good = (folder / "well 1.tif").read_bytes()
    (folder / "well 1.tif").write_bytes(b"nothing")
    run(qtbot, listed, idle)
    assert statuses(chosen) == ["done", "failed", "done", "done"]
    index = listed.table.list.index(1, 1)
    assert "well 1.tif" in index.data(Qt.ItemDataRole.ToolTipRole)
    assert index.data().startswith("failed: ")
    qtbot.mouseClick(listed.table.viewport(), LEFT, pos=row_at(listed, 1))
    assert listed.chosen.text() == chosen.state.batch.rows[1].text
    assert chosen.state.message.level == "warning"
    assert "1 failed" in chosen.state.message.text
    assert listed.run.text() == "Try again"
    (folder / "well 1.tif").write_bytes(good)
    run(qtbot, listed, idle)
    assert statuses(chosen) == ["skipped", "done", "skipped", "skipped"]


def test_cancel_ends_it_at_once_and_it_goes_on_where_it_was(listed, chosen, client, folder, idle, qtbot):
    run_until(qtbot, listed, client, 3)
    click(qtbot, listed.window().status.cancel)
    idle()
    client.hold, done = False, 2
    assert statuses(chosen) == ["done", "done", "waiting", "waiting"]
    assert "“Continue” goes on" in chosen.state.message.text
    assert listed.run.text() == "Continue"
    first = (folder / "results" / "well 0_masks.tif").stat().st_mtime_ns
    run(qtbot, listed, idle)
    assert [place.path for place in client.requests[-1].images] == [row.path for row in chosen.state.batch.rows[done:]]
    assert statuses(chosen) == ["skipped"] * done + ["done"] * (4 - done)
    assert (folder / "results" / "well 0_masks.tif").stat().st_mtime_ns == first


def test_doing_all_again_goes_on_too_where_it_was_interrupted(listed, chosen, client, folder, idle, qtbot):
    run(qtbot, listed, idle)
    tick(qtbot, listed.overwrite)
    idle()
    assert cells(listed) == ["waiting"] * 4
    run_until(qtbot, listed, client, 2)
    chosen.cancel()
    idle()
    client.hold = False
    assert statuses(chosen) == ["done", "waiting", "waiting", "waiting"]
    run(qtbot, listed, idle)
    assert len(client.requests[-1].images) == 3
    assert statuses(chosen) == ["done"] * 4
    run(qtbot, listed, idle)
    assert len(client.requests[-1].images) == 4


def test_what_is_done_is_known_again_as_long_as_the_settings_are_the_same(listed, chosen, client, idle, qtbot):
    run(qtbot, listed, idle)
    requests = len(client.requests)
    chosen.batching.refresh()
    idle()
    objects = chosen.state.batch.rows[0].objects
    assert cells(listed)[0] == f"done before · {objects} objects"
    run(qtbot, listed, idle)
    assert len(client.requests) == requests
    assert "done before" in chosen.state.message.text
    chosen.state.change_objects(min_size_px=7)
    chosen.batching.refresh()
    idle()
    assert cells(listed) == ["waiting"] * 4
    run(qtbot, listed, idle)
    assert statuses(chosen) == ["failed"] * 4
    why = chosen.state.batch.rows[0].text
    assert "made with other settings" in why
    assert "choose “Do all again” to replace it" in why


def test_images_below_are_listed_with_their_folders(listed, chosen, folder, idle, qtbot):
    tick(qtbot, listed.below)
    idle()
    assert "day 2/well 0" in cells(listed, 0)
    run(qtbot, listed, idle)
    assert (folder / "results" / "day 2" / "well 0_masks.tif").is_file()
    chosen.batching.refresh()
    idle()
    assert len(chosen.state.batch.rows) == 5  # results are no images


def test_single_files_and_their_results(view, chosen, folder, idle, qtbot, monkeypatch):
    files = [str(folder / "well 1.tif"), str(folder / "day 2" / "well 0.tif")]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (files, ""))
    click(qtbot, view.files)
    idle()
    assert cells(view, 0) == ["well 1", "well 0"]
    assert view.results.text() == str(folder / "results")
    assert not view.below.isVisible()


def test_a_folder_that_is_dropped_is_taken(view, chosen, folder, idle):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(folder))])
    view.dropEvent(QDropEvent(QPointF(9, 9), Qt.DropAction.CopyAction, mime, LEFT, Qt.KeyboardModifier.NoModifier))
    idle()
    assert len(cells(view)) == 4


def test_results_of_the_users_choice_stay_when_another_folder_is_chosen(listed, chosen, folder, tmp_path, idle, qtbot):
    listed.results.selectAll()
    QTest.keyClicks(listed.results, str(tmp_path / "mine"))
    QTest.keyClick(listed.results, Qt.Key.Key_Return)
    idle()
    chosen.batching.choose_folder(str(folder / "day 2"))
    idle()
    assert listed.results.text() == str(tmp_path / "mine")
    assert cells(listed, 0) == ["well 0"]
    listed.results.clear()
    QTest.keyClick(listed.results, Qt.Key.Key_Return)
    idle()
    assert listed.results.text() == str(folder / "day 2" / "results")


def test_what_is_missing_is_said_before_it_runs(view, chosen, tmp_path, idle, qtbot):
    (tmp_path / "empty").mkdir()
    chosen.batching.choose_folder(str(tmp_path / "empty"))
    idle()
    assert "holds no image directly in it" in view.obstacle.text()
    assert not view.run.isEnabled()
    chosen.exporting.choose("masks", False)
    assert "Nothing is chosen to be written" in view.obstacle.text()
    assert view.outputs.fold.text() == "Write: nothing yet"
    chosen.modelling.choose(next(model for model in chosen.state.models if not model.trained))
    assert "has no weights yet" in view.obstacle.text()
    assert "has no weights yet" in view.run.toolTip()


def test_what_is_written_is_that_of_the_export_step(listed, chosen, folder, idle, qtbot):
    click(qtbot, listed.outputs.fold)
    tick(qtbot, listed.outputs.boxes["geojson"])
    assert listed.outputs.fold.text() == "Write: Masks (TIFF), QuPath (GeoJSON)"
    assert not listed.outputs.boxes["classes"].isEnabled()
    assert "model of classes" in listed.outputs.boxes["classes"].toolTip()
    run(qtbot, listed, idle)
    assert (folder / "results" / "well 3_objects.geojson").is_file()


def test_a_summary_tells_of_all_images_also_of_those_done_before(listed, chosen, folder, idle, qtbot):
    run(qtbot, listed, idle)
    click(qtbot, listed.outputs.fold)
    tick(qtbot, listed.outputs.boxes["summary"])
    run(qtbot, listed, idle)
    (page,) = (folder / "results").glob("*.html")
    assert all(f"well {number}" in page.read_text(encoding="utf-8") for number in range(4))
    assert statuses(chosen) == ["skipped"] * 4
    tick(qtbot, listed.outputs.boxes["masks"])
    assert not listed.outputs.boxes["summary"].isEnabled()
    assert "made of the masks" in listed.outputs.boxes["summary"].toolTip()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "waiting"),
        ({"status": "running"}, "running"),
        ({"status": "running", "share": 0.4}, "running 40 %"),
        ({"status": "done", "objects": 1234}, "done · 1,234 objects"),
        ({"status": "skipped", "objects": 1}, "done before · 1 object"),
        ({"status": "failed", "text": "It is empty."}, "failed: It is empty."),
    ],
)
def test_the_status_is_said_in_a_few_words(row, words):
    assert status_in_words(BatchRow(name="a", path="a.tif", **row)) == words


def test_a_crash_leaves_what_was_done_and_says_how_to_go_on(listed, chosen, client, idle, qtbot):
    run_until(qtbot, listed, client, 2)
    client.fail, client.hold = "The background process died.", False
    idle()
    client.fail = ""
    assert chosen.state.message.level == "error"
    assert "died" in chosen.state.message.text
    assert "“Continue” goes on" in chosen.state.message.text
    run(qtbot, listed, idle)
    assert statuses(chosen) == ["skipped", "done", "done", "done"]


def test_the_settings_of_the_run_are_told(viewer, listed, chosen):
    viewer.add_image(np.zeros((2, 32, 32), np.uint8), axis_labels=("c", "y", "x"))
    chosen.state.channels, chosen.state.diameter_px, chosen.state.turns = (1,), 30.0, "flips"
    assert listed.settings.text().startswith("As step 2 is set: tiny · channel 1 · diameter 30 px · threshold")
    assert "averaged" in listed.settings.text()
    assert read_image(chosen.state.batch.rows[0].path).axes == "YX"
