"""The page about a run: whole in itself, true, and safe against what names may hold."""

import base64
import re
from html.parser import HTMLParser

import imagecodecs
import numpy as np
import pytest

from napari_unet.axes import PixelSize
from napari_unet.errors import ExportError, LabelsError
from napari_unet.export.histogram import histogram_svg
from napari_unet.export.provenance import ModelOrigin, Provenance
from napari_unet.export.summary import ImageSummary, save_summary, summarize_image
from napari_unet.imaging.image import open_image
from napari_unet.objects.measuring import measure

VOID = {"meta", "img", "br"}
LABELS = np.zeros((1, 1, 60, 90), int)
LABELS[0, 0, 5:25, 5:25], LABELS[0, 0, 30:50, 30:70] = 1, 2


class Page(HTMLParser):
    """What a browser would see; fails where tags are not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.words, self.sources = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.sources += [value for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def summary(name="cells 1", size=None, **options):
    image = open_image(np.random.default_rng(0).random((60, 90)), pixel_size=size, name=name)
    return summarize_image(image, LABELS, measure(LABELS, size, image), **options)


def page_of(tmp_path, images, *rest, **options):
    return Page(save_summary(tmp_path / "Übersicht.html", images, *rest, **options).read_text(encoding="utf-8"))


def test_one_image(tmp_path):
    size = PixelSize(y_um=0.5, x_um=0.5)
    provenance = Provenance(
        version="1.2",
        created="2026-01-02T03:04:05+00:00",
        model=ModelOrigin(name="nuclei", sha256="ab" * 32, classes=("background", "nucleus")),
        inference={"tile_px": 512, "turns": None},
    )
    page = page_of(tmp_path, [summary(size=size, seconds=1.25)], provenance, title="Nuclei & more")
    for words in ("Nuclei & more", "cells 1", "2 objects", "median diameter (µm)", "90 × 60 pixels", "1.2", "ab" * 32):
        assert words in page.text, words
    assert "2026-01-02 03:04:05 UTC" in page.text
    assert "tile px 512" in page.text
    assert "turns" not in page.text
    assert page.seen.count("img") == 1
    assert page.seen.count("svg") == 1


def test_nothing_is_loaded(tmp_path):
    path = save_summary(tmp_path / "a.html", [summary(), summary("b")])
    text = path.read_text(encoding="utf-8")
    assert all(source.startswith("data:image/jpeg;base64,") for source in Page(text).sources)
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", text)
    assert "default-src 'none'" in text


def test_a_hundred_images_and_one_that_failed(tmp_path):
    images = [summary(f"image {number}") for number in range(99)]
    images.append(ImageSummary("bad", problem="It is no TIFF."))
    page = page_of(tmp_path, images)
    assert page.seen.count("img") == 99
    assert page.seen.count("tr") == 101
    assert "100 images 198 objects" in page.text
    assert "1 failed" in page.text
    assert "It is no TIFF." in page.text
    assert (tmp_path / "Übersicht.html").stat().st_size < 3_000_000


def test_names_are_text_and_not_html(tmp_path):
    name = '<script>alert("1")</script> & "x"'
    page = page_of(tmp_path, [summary(name), ImageSummary(name, problem=name)], title=name)
    assert "script" not in page.seen
    assert page.text.count('alert("1")') == 6


def test_without_objects_and_without_pictures(tmp_path):
    empty = measure(np.zeros_like(LABELS))
    page = page_of(tmp_path, [ImageSummary("a", empty)])
    assert "0 objects" in page.text
    assert "svg" not in page.seen
    assert "img" not in page.seen


def test_sizes_that_all_images_have_are_compared(tmp_path):
    known, unknown = summary(size=PixelSize(None, 0.5, 0.5)), summary("b")
    assert "median diameter (µm)" in page_of(tmp_path, [known]).text
    assert "median diameter (pixels)" in page_of(tmp_path, [known, unknown]).text


def picture_of(made):
    return imagecodecs.jpeg_decode(made.picture)


def test_pictures_are_small_and_show_the_outlines():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 50, (900, 2000), dtype=np.uint16)
    labels = np.zeros((1, 1, 900, 2000), np.uint32)
    labels[0, 0, 300:600, 500:1500] = 7
    made = summarize_image(open_image(pixels, "YX"), labels, measure(labels), side_px=320)
    shown = picture_of(made)
    assert shown.shape == (128, 285, 3)
    coloured = np.ptp(shown.astype(int), axis=2) > 60
    assert coloured[42:45, 80:200].any(axis=0).all()
    assert not coloured[:38].any()


@pytest.mark.parametrize(("axes", "shape"), [("TZYX", (2, 3, 60, 90)), ("CYX", (3, 60, 90)), ("YXC", (60, 90, 3))])
def test_stacks_and_colours_are_drawn(axes, shape):
    image = open_image(np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8), axes)
    labels = np.zeros([image.sizes[axis] for axis in "TZYX"], int)
    labels[:, :, 5:20, 5:20] = 1
    made = summarize_image(image, labels, measure(labels))
    assert picture_of(made).shape == (60, 90, 3)


def test_labels_of_another_image_are_refused():
    with pytest.raises(LabelsError, match="Choose the labels"):
        summarize_image(open_image(np.zeros((9, 9))), LABELS, {})


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(ExportError, match=r"\.html"):
        save_summary(tmp_path / "a.pdf", [summary()])
    with pytest.raises(ExportError, match="no image"):
        save_summary(tmp_path / "a.html", [])


def test_pictures_are_whole(tmp_path):
    page = page_of(tmp_path, [summary()])
    content = base64.b64decode(page.sources[0].partition(",")[2], validate=True)
    assert imagecodecs.jpeg_decode(content).shape == (60, 90, 3)


# --- histogram ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [7.0],
        [7.0] * 50,
        [0.0, 0.0],
        [1e-7, 2e-7, 5e-7],
        [-3.0, 4.0],
        [1.0, np.nan, np.inf, 3.0],
        np.random.default_rng(0).lognormal(3, 1, 5000),
        np.r_[np.ones(1000), 1e6],
    ],
    ids=["one", "equal", "zero", "tiny", "signs", "no numbers", "many", "far away"],
)
def test_every_value_is_in_a_bar(values):
    svg = histogram_svg(np.asarray(values), "size")
    counts = [int(count) for count in re.findall(r": (\d+)</title></rect>", svg)]
    assert sum(counts) == np.isfinite(values).sum()
    assert len(counts) <= 100
    for x, y, width, height in re.findall(r'<rect class="bar" x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)">', svg):
        assert float(x) >= 0
        assert float(y) >= 0
        assert float(x) + float(width) <= 640
        assert float(height) > 0
    Page(svg)


def test_no_value_no_histogram():
    assert histogram_svg(np.array([np.nan]), "size") == ""
