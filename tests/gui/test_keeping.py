"""Corrections are on the disk while they are made, and come back."""

import numpy as np
import pytest

from napari_unet.gui import keeping, layers
from napari_unet.gui.controller import Controller
from napari_unet.session.places import beside_image
from napari_unet.session.project import ModelEntry
from napari_unet.session.recovery import restore

IMAGE = np.random.default_rng(0).integers(0, 999, (6, 96, 128)).astype(np.uint16)


@pytest.fixture
def image(viewer):
    return viewer.add_image(IMAGE, name="cells", scale=(2, 0.5, 0.5))


def kept(controller):
    return controller.state.keeping


def start(controller, qtbot):
    controller.correcting.start()
    qtbot.waitUntil(lambda: kept(controller).saved, timeout=20000)
    return controller._desk.correction()


def strokes(layer, count=5):
    """Paint, fill, erase and take back."""
    for number in range(1, count + 1):
        layer.paint((number % 6, 10 + 9 * number, 40), number + 3)
    layer.fill((0, 90, 100), 77)
    layer.undo()
    layer.paint((1, 40, 90), 0)
    layer.redo()


def test_strokes_are_saved_and_said_to_be(controller, image, qtbot):
    correction, reviewed = start(controller, qtbot)
    strokes(correction)
    controller.correcting.mark("plane")
    assert not kept(controller).problem
    qtbot.waitUntil(lambda: kept(controller).saved, timeout=20000)
    session = controller.keeper._kept[layers.layer_id(image)].session
    found = restore(session.project)
    assert np.array_equal(found.layers["correction"].array, correction.data)
    assert np.array_equal(found.layers["reviewed"].array, reviewed.data)
    assert correction.data.any()
    assert reviewed.data.any()


def test_they_come_back_after_closing(viewer, client, trained, controller, image, qtbot):
    correction, _ = start(controller, qtbot)
    strokes(correction)
    controller.correcting.mark("plane")
    before = correction.data.copy()
    controller.keeper.close()
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    again = Controller(viewer, client)
    try:
        viewer.add_image(IMAGE, name="cells again", scale=(2, 0.5, 0.5))
        qtbot.waitUntil(lambda: kept(again).offer is not None, timeout=20000)
        assert not kept(again).offer.crashed
        assert "Step 3 offers to go on" in again.state.message.text
        again.keeper.go_on()
        back, reviewed = again._desk.correction()
        assert np.array_equal(back.data, before)
        assert reviewed.data.any()
        assert np.allclose(back.scale, (2, 0.5, 0.5))
        back.paint((2, 5, 5), 9)
        qtbot.waitUntil(lambda: kept(again).saved, timeout=20000)
        assert again.state.counts
    finally:
        again.close()


def test_starting_anew_keeps_what_was_there(viewer, client, controller, image, qtbot):
    correction, _ = start(controller, qtbot)
    strokes(correction)
    before = correction.data.copy()
    controller.keeper.close()
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    again = Controller(viewer, client)
    try:
        viewer.add_image(IMAGE)
        qtbot.waitUntil(lambda: kept(again).offer is not None, timeout=20000)
        start(again, qtbot)
        (session,) = [one.session for one in again.keeper._kept.values()]
        (earlier,) = (session.project.folder / "earlier").iterdir()
        aside = type(session.project)(
            earlier, type(session.project.file).model_validate_json((earlier / "project.json").read_text())
        )
        assert np.array_equal(restore(aside).layers["correction"].array, before)
    finally:
        again.close()


def test_a_second_window_is_told_who_corrects(viewer, client, controller, image, qtbot):
    start(controller, qtbot)
    same = viewer.add_image(IMAGE, name="the same")
    controller.choosing.choose_image(layers.layer_id(same))
    qtbot.waitUntil(lambda: kept(controller).offer is not None, timeout=20000)
    assert "since" in kept(controller).offer.reader_only


def test_a_full_disk_is_said_and_nothing_is_called_saved(controller, image, qtbot, monkeypatch):
    from napari_unet.session import files, journal

    monkeypatch.setattr(journal, "FIRST_RETRY_S", 0.05)
    correction, _ = start(controller, qtbot)
    real = files.write_all
    monkeypatch.setattr(files, "write_all", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    correction.paint((0, 20, 20), 5)
    qtbot.waitUntil(lambda: bool(kept(controller).problem), timeout=20000)
    assert not kept(controller).saved
    assert "No space" in kept(controller).problem
    monkeypatch.setattr(files, "write_all", real)
    qtbot.waitUntil(lambda: kept(controller).saved, timeout=20000)


def test_an_image_in_a_file_has_its_project_beside_it(viewer, controller, tmp_path, qtbot):
    import tifffile

    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, IMAGE)
    viewer.open(str(path), plugin="napari")
    start(controller, qtbot)
    assert (tmp_path / "cells.tif.napari-unet" / "project.json").is_file()
    assert beside_image(controller.keeper._kept[controller.state.image].session.project.file.image).is_dir()


def test_removing_the_layer_ends_keeping_and_loses_nothing(viewer, controller, image, qtbot):
    correction, _ = start(controller, qtbot)
    strokes(correction)
    before = correction.data.copy()
    session = controller.keeper._kept[controller.state.image].session
    viewer.layers.remove(correction)
    qtbot.waitUntil(lambda: not session.project.writable, timeout=20000)
    assert np.array_equal(restore(session.project).layers["correction"].array, before)


def test_the_view_comes_back_too(viewer, client, controller, image, qtbot, monkeypatch):
    monkeypatch.setattr(keeping, "_NOTE_S", 0.0)
    start(controller, qtbot)
    viewer.dims.set_point(0, 8)
    viewer.scene.camera.zoom, viewer.scene.camera.center = 7.5, (8, 20, 30)
    project = controller.keeper._kept[controller.state.image].session.project
    qtbot.waitUntil(lambda: project.file.settings.get("whereabouts", {}).get("zoom") == 7.5, timeout=20000)
    controller.keeper.close()
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    again = Controller(viewer, client)
    try:
        viewer.add_image(IMAGE, scale=(2, 0.5, 0.5))
        viewer.scene.camera.zoom = 1
        qtbot.waitUntil(lambda: kept(again).offer is not None, timeout=20000)
        again.keeper.go_on()
        assert viewer.scene.camera.zoom == 7.5
        assert viewer.dims.point[0] == 8
        assert np.allclose(viewer.scene.camera.center[1:], (20, 30))
    finally:
        again.close()


def test_a_model_is_kept_with_where_it_comes_from(controller, image, tmp_path, qtbot):
    correction, _ = start(controller, qtbot)
    strokes(correction)
    qtbot.waitUntil(lambda: kept(controller).saved, timeout=20000)
    file = tmp_path / "blobs fine-tuned.npu"
    file.write_bytes(b"weights")
    controller.keeper.note_model(ModelEntry(file="", title="blobs fine-tuned", parent="blobs", score=0.8), file)
    project = controller.keeper._kept[controller.state.image].session.project
    qtbot.waitUntil(lambda: bool(project.file.models), timeout=20000)
    (entry,) = project.file.models
    assert (entry.parent, entry.score, entry.edits) == (
        "blobs",
        0.8,
        controller.keeper._kept[controller.state.image].session.journal.state.number,
    )
    assert (project.models / entry.file).read_bytes() == b"weights"


def test_correcting_may_begin_while_the_project_is_being_looked_for(viewer, client, controller, image, qtbot):
    start(controller, qtbot)
    controller.keeper.close()
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    again = Controller(viewer, client)
    try:
        viewer.add_image(IMAGE)
        again.correcting.start()
        qtbot.waitUntil(lambda: kept(again).saved, timeout=20000)
    finally:
        again.close()


@pytest.mark.parametrize(
    ("shape", "kind", "way"),
    [
        ((64, 80, 3), {"rgb": True}, "keep_both"),
        ((9, 64, 80, 3), {"rgb": True}, "go_on"),
        ((3, 64, 80), {}, "go_on"),
    ],
    ids=["colours", "stack of colours", "channels first"],
)
def test_corrections_of_images_with_channels_come_back(viewer, client, controller, qtbot, shape, kind, way):
    image = np.random.default_rng(1).integers(0, 250, shape).astype(np.uint8)
    viewer.add_image(image, name="stained", **kind)
    correction, _ = start(controller, qtbot)
    assert correction.ndim == (3 if len(shape) == 4 else 2)
    correction.paint((0,) * (correction.ndim - 2) + (20, 30), 5)
    controller.correcting.mark("visible")
    before = correction.data.copy()
    controller.keeper.close()
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    again = Controller(viewer, client)
    try:
        viewer.add_image(image, name="stained", **kind)
        qtbot.waitUntil(lambda: kept(again).offer is not None, timeout=20000)
        getattr(again.keeper, way)()
        qtbot.waitUntil(lambda: kept(again).saved, timeout=20000)
        back, reviewed = again._desk.correction()
        assert before.any()
        assert np.array_equal(back.data, before)
        assert reviewed.data.any()
    finally:
        again.close()
