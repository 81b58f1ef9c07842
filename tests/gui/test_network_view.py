"""The Model step draws the chosen network and says what it costs."""

import pytest

from napari_unet.gui.widgets.network_view import NetworkView
from napari_unet.inference.config import Cost


@pytest.fixture
def view(controller, qtbot):
    made = NetworkView(controller)
    qtbot.addWidget(made)
    made.show()
    return made


def choose(controller, title):
    controller.modelling.choose(next(choice for choice in controller.state.models if title in choice.title))


def test_the_picture_is_that_of_the_chosen_variant(controller, view):
    sizes = set()
    for title in ("unet-small", "unet++-deep", "unet3+"):
        choose(controller, title)
        picture = view.picture.grab().toImage()
        sizes.add((picture.height(), picture.pixelColor(picture.width() // 2, 40).name()))
        assert view.picture.renderer().isValid()
        assert picture.width() <= 340
    assert len(sizes) > 1


def test_the_cost_is_said_for_the_chosen_image(controller, view, qtbot):
    qtbot.waitUntil(lambda: controller.state.cost is not None, timeout=5000)
    assert "parameters" in view.cost.text()
    assert "an image of usual size" in view.cost.text()


def test_what_it_costs_is_measured_again_for_another_model(controller, view, qtbot):
    qtbot.waitUntil(lambda: controller.state.cost is not None, timeout=5000)
    choose(controller, "unet-plain")
    assert view.cost.text() == "Measuring what it costs…"
    qtbot.waitUntil(lambda: controller.state.cost is not None, timeout=5000)


def test_a_failed_measurement_says_nothing(controller, view):
    controller.state.cost = Cost(parameters=1, operations=1, memory_bytes=1, seconds=100, tiles=2, device="cpu")
    assert "2 pieces" in view.cost.text()
    controller.state.cost = None
    controller.state.measuring = False
    assert not view.cost.isVisible()
