"""The fast mode: integers that change little, and say how much."""

import sys
from importlib.util import find_spec
from math import prod

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.errors import FastModeError
from napari_unet.events import Notice
from napari_unet.inference.engines.base import Engine
from napari_unet.inference.engines.exact import ExactEngine
from napari_unet.inference.exact.intervals import Interval, whole
from napari_unet.inference.fast.engine import FastEngine, frame_patch
from napari_unet.inference.fast.judging import Change, measure_change
from napari_unet.inference.fast.placing import place
from napari_unet.inference.fast.preparing import _remembered, fast_events
from napari_unet.inference.fast.quantizing import Framed, quantize
from napari_unet.inference.fast.sampling import Places, draw_samples
from napari_unet.inference.running import Runner
from napari_unet.networks.registry import build_network

SMALL = {"width": 8, "depth": 2}


@pytest.fixture(scope="module")
def library():
    # Not imported here: that would let them report their use.
    if find_spec("openvino") is None or find_spec("nncf") is None:
        pytest.skip("needs OpenVINO and NNCF")


class Direct:
    """Stands for integers: the network itself, so that only the geometry of tiles can change anything."""

    threads, bytes_per_pixel = 1, 100.0

    def __init__(self, network):
        self.network, self.shapes = Framed(network).eval(), set()

    @torch.inference_mode()
    def __call__(self, images):
        self.shapes.add(tuple(images.shape))
        return self.network(images)


def make_image(*size, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 1, *size)).astype(np.float32))


def reader(image):
    def read(window):
        return image[(..., *(slice(*part) for part in window))]

    return read


def places_of(image, count=1):
    """Planes (N, C, Y, X) as slices of one time point, or a volume."""

    def pixels(t, window, device):
        return image[window[0].start : window[0].stop, :, *(slice(*part) for part in window[1:])]

    return Places(pixels, Interval(0, 1), Interval(0, count), tuple(image.shape[2:]))


def assembled(engine, image, window):
    parts = list(engine.run(reader(image), window))
    assert [piece for piece, _ in parts] == engine.pieces(window)
    found = torch.full((1, parts[0][1].shape[1], *(part.length for part in window)), torch.nan)
    for piece, values in parts:
        where = tuple(slice(a.start - w.start, a.stop - w.start) for a, w in zip(piece, window, strict=True))
        assert found[(..., *where)].isnan().all()
        found[(..., *where)] = values
    return found


def fast_engine(network, size, halo, most_px, run=None):
    return FastEngine(run or Direct(network), network.geometry, "none", size, halo, most_px)


CASES = {
    "odd sides": ("unet", SMALL, (133, 217), 24),
    "one tile": ("unet", SMALL, (37, 50), 24),
    "valid": ("unet-valid", SMALL, (150, 171), 0),
    "averaged": ("unet-slim-3x", {"width": 4, "depth": 2}, (90, 70), 32),
    "volume": ("unet-3d", {"width": 4, "depth": 1}, (11, 41, 30), 8),
    "uneven volume": ("unet-3d", {"width": 4, "depth": 1, "factors": ((1, 2, 2),)}, (7, 45, 50), 8),
}


@pytest.mark.parametrize("case", CASES)
def test_tiles_with_enough_context_have_the_geometry_of_the_whole_image(case):
    variant, options, size, halo = CASES[case]
    network = build_network(variant, **options).eval()
    image = make_image(*size)
    with torch.inference_mode():
        expected = network.on_grid(image)
    most = 70**3 if len(size) == 3 else 100**2
    run = Direct(network)
    engine = fast_engine(network, size, halo, most / 8 if len(size) == 3 else most, run)
    found = assembled(engine, image, whole(size))
    assert (found - expected).abs().max() < 1e-4 * expected.std()
    assert len(run.shapes) == 1
    part = tuple(Interval(n // 3, n - n // 5) for n in size)
    inside = expected[(..., *(slice(*one) for one in part))]
    assert (assembled(engine, image, part) - inside).abs().max() < 1e-4 * expected.std()


@pytest.mark.parametrize("sides", [(2048, 2048), (1000, 3000), (517, 263), (8192, 8192)])
def test_tiles_read_little_more_than_the_image(sides):
    geometry = build_network("unet", width=4).geometry
    placement = place(geometry, sides, whole(sides), 48, 1100**2)
    assert np.prod(placement.shape) <= 1100**2
    assert placement.read < 1.3 * np.prod(sides)
    writes = [tile.write for tile in placement.tiles()]
    assert sum(np.prod([part.length for part in write]) for write in writes) == np.prod(sides)
    for tile in placement.tiles():
        for axis, start in zip(placement.axes, tile.starts, strict=True):
            assert start % geometry.stride == 0
            assert start + axis.side <= max(axis.side, sides[placement.axes.index(axis)] + geometry.stride)


def test_samples_show_what_there_is_and_are_measured_apart():
    image = torch.zeros(2, 1, 1024, 1024)
    image[1, :, 256:512, 256:1024] = torch.randn(256, 768)
    samples = draw_samples(places_of(image, count=2))
    assert all(sample.pixels.std() > 0.5 for sample in samples.measuring[:1])
    assert all(patch.shape == (1, 160, 160) for patch in samples.calibrating)
    assert samples.calibrating[0].std() > 0.5
    measured = [sample.pixels for sample in samples.measuring]
    assert not any((patch == pixels[:, :160, :160]).all() for patch in samples.calibrating[:1] for pixels in measured)
    tiny = draw_samples(places_of(torch.zeros(1, 1, 20, 30)))
    assert len(tiny.calibrating) == len(tiny.measuring) == 1


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    found = nu.new_model("unet", width=8, depth=1)
    for module in found.network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return found


@pytest.mark.parametrize("variant", ["unet", "unet-3d", "unet-valid"])
def test_integers_give_nearly_the_same_logits_at_any_size(library, variant):
    torch.manual_seed(0)
    network = build_network(variant, width=8, depth=1).eval()
    size = (64, 64) if network.dims == 2 else (16, 32, 32)
    patches = [frame_patch(network.geometry, make_image(*size, seed=seed)[0]) for seed in range(3)]
    fast = quantize(network, patches, threads=1)
    for larger in (0, 8):
        image = frame_patch(network.geometry, make_image(*(n + larger for n in size), seed=9)[0])[None]
        with torch.inference_mode():
            expected = network(image)
        found = fast(torch.cat([image, image]))
        assert found.shape == (2, *expected.shape[1:])
        assert (found[:1] - expected).abs().mean() < 0.1 * expected.std()
        assert not torch.equal(found[:1], expected)


def prepared(model, image):
    """Run `fast_events`: what it returns, and what it says."""
    size = image.shape[2:]
    exact = ExactEngine.of(Runner(model, torch.device("cpu")), size, 2**26)
    events = fast_events(model, exact, places_of(image), prod(size))
    said = []
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value and end.value.network, " ".join(said)
        said += [event.text] if isinstance(event, Notice) else []


@pytest.fixture
def small_windows(monkeypatch):
    for module in ("sampling", "preparing"):
        monkeypatch.setattr(f"napari_unet.inference.fast.{module}.SIDE_PX", {2: 64, 3: 16})
    monkeypatch.setattr(Change, "quicker", property(lambda self: True))


def test_it_is_prepared_measured_and_told(library, model, small_windows, monkeypatch):
    monkeypatch.setattr("napari_unet.inference.fast.judging.MOST_CHANGED", 0.2)
    image = make_image(280, 300)
    fast, said = prepared(model, image)
    assert fast is not None
    assert "The fast mode changes " in said
    assert "measured on 3 windows of this image" in said
    engine: Engine = FastEngine.of(fast, model, (280, 300))
    found = assembled(engine, image, whole((280, 300)))
    assert not engine.exact
    assert torch.allclose(found.sum(1), torch.ones(1))
    assert prepared(model, make_image(280, 300, seed=3))[0] is fast  # made once for several images
    with torch.no_grad():
        next(model.network.parameters()).mul_(1.01)
    assert _remembered(model.network) is None  # but not for other weights


def test_where_too_much_changes_the_exact_mode_is_used(library, model, small_windows, monkeypatch):
    monkeypatch.setattr("napari_unet.inference.fast.judging.MOST_CHANGED", 1e-9)
    fast, said = prepared(model, make_image(280, 300))
    assert fast is None
    assert "the exact mode is used instead" in said


@pytest.mark.parametrize(
    ("variant", "options", "words"),
    [
        ("unet-nnunet", {"width": 4, "depth": 2}, "looks at the whole window"),
        ("unet", {"width": 4, "depth": 2}, "So little"),
    ],
)
def test_what_does_not_suit_is_said(library, variant, options, words):
    model = nu.new_model(variant, **options)
    events = fast_events(model, None, None, 64 * 64)
    notice = next(events)
    assert words in notice.text
    assert notice.text.endswith("The exact mode is used instead.")


def test_the_missing_package_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(FastModeError, match=r'pip install "napari-unet\[fast\]"'):
        next(fast_events(model, None, None, 4096**2))


def test_the_packages_do_not_report_their_use(library, model):
    from napari_unet.inference.fast.library import load_library

    load_library()
    assert sys.modules["openvino_telemetry"] is None


def test_a_change_is_measured_in_labels(model):
    class Fixed:
        def __init__(self, values):
            self.values = values

        def run(self, read, window):
            yield window, self.values[(..., *(slice(*part) for part in window))]

    expected = torch.zeros(1, 2, 10, 10)
    expected[:, 0] = 1
    found = expected.clone()
    found[0, :, 0, 0] = torch.tensor([0.4, 0.6])
    read, window = reader(make_image(10, 10)), whole((10, 10))
    change = measure_change(Fixed(expected), Fixed(found), [(read, window)], "softmax")
    assert (change.changed, change.pixels, change.largest) == (0.01, 100, pytest.approx(0.6))
    assert not change.acceptable
    assert change.sentence.startswith(
        "The fast mode would change 1 % of the pixels (measured on 1 window of this image)"
    )


def test_the_planes_of_a_stack_are_found():
    def pixels(t, window, device):
        return torch.full((window[0].length, 1, 2, 2), float(100 * t + window[0].start))

    planes = Places(pixels, Interval(2, 4), Interval(5, 8), (2, 2))
    found = [float(planes.read(place, whole((2, 2))).mean()) for place in range(planes.count)]
    assert found == [205, 206, 207, 305, 306, 307]


def test_prediction_and_segmentation_use_it_and_say_so(library, small_windows, monkeypatch):
    monkeypatch.setattr("napari_unet.inference.fast.judging.MOST_CHANGED", 0.5)
    model = nu.new_model("unet", width=8, depth=1)
    image = np.random.default_rng(0).normal(size=(2, 200, 230)).astype(np.float32)
    expected = nu.predict(model, image, axes="TYX")
    with pytest.warns(UserWarning, match=r"The fast mode changes .* of the pixels"):
        found = nu.predict(model, image, axes="TYX", fast=True, turns="flips")
    with pytest.warns(UserWarning, match="The fast mode changes"):
        one = nu.predict(model, image, axes="TYX", fast=True, tile=96)
    assert 0 < np.abs(one - expected).mean() < 0.05
    assert np.abs(found - expected).mean() < 0.2
    with pytest.warns(UserWarning, match="So little"):
        assert np.array_equal(nu.predict(model, image[0, :50], fast=True), nu.predict(model, image[0, :50]))
    with pytest.warns(UserWarning, match="The fast mode"):
        assert nu.segment(model, image, axes="TYX", fast=True).shape == image.shape
