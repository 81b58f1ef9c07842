"""Pictures of networks are to scale, show every block once, and are sound SVG."""

from xml.etree import ElementTree as ET

import pytest

from napari_unet.networks.drawing import DARK, draw, place
from napari_unet.networks.registry import network_spec, resolve_options, variants

SVG = "{http://www.w3.org/2000/svg}"


def outline_of(variant, in_channels=1, out_channels=3, **options):
    spec = network_spec(variant, in_channels, out_channels, options)
    return resolve_options(spec).outline(in_channels, out_channels)


@pytest.mark.parametrize("variant", list(variants()))
@pytest.mark.parametrize("width", [320, 640])
def test_every_variant_is_drawn_within_the_width(variant, width):
    outline = outline_of(variant)
    root = ET.fromstring(draw(outline, width))
    boxes = [box for box in root.findall(f".//{SVG}rect") if box.get("class") != "sign"]
    assert len(boxes) == len(outline.stages)
    for box in boxes:
        left, wide = float(box.get("x")), float(box.get("width"))
        assert left >= -0.1
        assert left + wide <= width + 0.1


def test_boxes_are_as_wide_as_channels_and_as_high_as_features():
    boxes = place(outline_of("unet"), 320)
    assert boxes["encoder 3"].width == pytest.approx(2 * boxes["encoder 2"].width)
    assert boxes["encoder 1"].height == pytest.approx(boxes["encoder 0"].height / 2)
    assert boxes["encoder 1"].y > boxes["encoder 0"].y + boxes["encoder 0"].height
    assert boxes["decoder 1"].y == boxes["encoder 1"].y


@pytest.mark.parametrize("variant", list(variants()))
def test_boxes_never_cover_each_other(variant):
    boxes = list(place(outline_of(variant), 320).values())
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            beside = a.x + a.width <= b.x + 0.01 or b.x + b.width <= a.x + 0.01
            below = a.y + a.height <= b.y or b.y + b.height <= a.y
            assert beside or below, (a.stage.name, b.stage.name)


def test_the_legend_says_what_differs_and_is_escaped():
    texts = [text.text for text in ET.fromstring(draw(outline_of("unet-valid"), 320)).iter(f"{SVG}text")]
    assert "max pooling" in texts
    assert "2 × (convolution 3, relu)" in texts
    assert any("cropped around the centre" in text for text in texts)
    assert DARK.text in draw(outline_of("unet"), palette=DARK)
