"""Windows that are blended: like the textbook, in bounded memory, with an honest seam."""

import gc
import itertools
from math import prod

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.errors import ModelError
from napari_unet.events import finish
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.image import open_image
from napari_unet.inference.engines.blended import BlendedEngine, window_sides
from napari_unet.inference.engines.overlapping import AxisCover, spread_along
from napari_unet.inference.engines.seams import SeamMeter
from napari_unet.inference.exact.intervals import Interval, size_of, whole
from napari_unet.inference.pipeline import Wish, predict_events
from napari_unet.inference.running import Runner
from napari_unet.networks.base import Network
from napari_unet.networks.options.unet import UNetOptions

RAW = Normalization(method="fixed", low=(0.0,), high=(1.0,))
CPU = torch.device("cpu")
PLENTY = 2**30


def lively(model):
    generator = torch.Generator().manual_seed(0)
    for parameter in model.network.parameters():
        if parameter.ndim == 1:
            parameter.data.add_(torch.empty_like(parameter).normal_(0, 0.3, generator=generator))
    return model


@pytest.fixture(scope="module")
def planar():
    return lively(nu.new_model("unet", width=4, depth=2, norm="instance"))


@pytest.fixture(scope="module")
def voluminous():
    return lively(nu.new_model("unet-3d", width=4, depth=1, norm="group", groups=2))


def picture(size, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 1, *size)).astype(np.float32))


def reader(image):
    return lambda window: image[(slice(None), slice(None), *(slice(*part) for part in window))]


def assembled(engine, image, window):
    """Run a window; check that the pieces are those that were promised, and partition it."""
    found = torch.full((len(image), engine.runner.model.spec.network.out_channels, *size_of(window)), torch.inf)
    pieces = []
    for piece, values in engine.run(reader(image), window):
        where = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(piece, window, strict=True))
        assert found[(..., *where)].isinf().all()
        found[(..., *where)] = values
        pieces.append(piece)
    assert pieces == engine.pieces(window)
    assert not found.isinf().any()
    return found


def textbook(model, image, side):
    """Blend with accumulators of the size of the image; also the deviation between windows, and their number."""
    size, stride = image.shape[2:], model.network.stride
    total, squares, weights, count = (torch.zeros((3, *size), dtype=torch.float64) for _ in range(4))
    for window in itertools.product(*(spread_along(n, side, stride) for n in size)):
        where = (slice(None), *(slice(*part) for part in window))
        with torch.no_grad():
            values = torch.softmax(model.network.eval().on_grid(image[0][where][None]), 1)[0].double()
        away = [(torch.arange(n, dtype=torch.float64) - (n - 1) / 2) / (n / 8) for n in size_of(window)]
        weight = torch.exp(-sum(a**2 for a in torch.meshgrid(*away, indexing="ij")) / 2)
        total[where] += weight * values
        squares[where] += weight * values**2
        weights[where] += weight
        count[where] += 1
    mean = total / weights
    return mean, (squares / weights - mean**2).clamp(min=0).sqrt().amax(0), count[0] > 1


@pytest.mark.parametrize("size", [(101, 75), (64, 131), (21, 90)])
@pytest.mark.parametrize("budget", [PLENTY, 100_000])
def test_it_equals_the_textbook(planar, size, budget):
    image = picture(size)
    engine = BlendedEngine.of(Runner(planar, CPU), size, budget, (32, 32))
    expected, deviation, shared = textbook(planar, image, 32)
    found = assembled(engine, image, whole(size))[0]
    assert (found - expected).abs().max() < 1e-5
    if budget == PLENTY:
        assert engine.seam.mean == pytest.approx(float(deviation[shared].mean()), rel=1e-3)
        assert engine.seam.high == pytest.approx(float(deviation[shared].quantile(0.99)), rel=0.05)


@pytest.mark.parametrize("budget", [PLENTY, 30_000])
def test_it_equals_the_textbook_in_volumes(voluminous, budget):
    image = picture((19, 37, 30))
    engine = BlendedEngine.of(Runner(voluminous, CPU), (19, 37, 30), budget, (16, 16, 16))
    expected = textbook(voluminous, image, 16)[0]
    assert (assembled(engine, image, whole((19, 37, 30)))[0] - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        ("unet-torch-em", {"width": 4, "depth": 3}),
        ("unet-nnunet", {"width": 4, "depth": 3}),
        ("monai-basic-unet", {"arguments": {"features": (4, 4, 4, 8, 8, 4)}}),
        ("monai-attention-unet", {"arguments": {"channels": (4, 4, 8), "strides": (2, 2)}}),
        ("efficientnet-b0-unet", {"width": 8, "depth": 3}),
    ],
)
def test_networks_of_all_kinds_that_see_everything_are_blended(variant, options):
    if variant.startswith("monai"):
        pytest.importorskip("monai")
    channels = 3 if variant.startswith("efficient") else 1
    model = lively(nu.new_model(variant, in_channels=channels, **options)).with_spec(normalization=RAW)
    image = picture((70, 51)).expand(1, channels, 70, 51)
    expected = textbook(model, image, 32)[0]
    found = nu.predict(model.with_spec(patch_px=(32, 32)), image[0].numpy(), axes="CYX")
    assert np.abs(found - expected.numpy()).max() < 1e-5


def test_a_window_of_the_whole_has_the_same_values(planar, voluminous):
    for model, size, window in (
        (planar, (61, 75), (Interval(13, 50), Interval(31, 75))),
        (planar, (61, 75), (Interval(50, 51), Interval(7, 8))),
        (voluminous, (20, 37, 30), (Interval(3, 9), Interval(11, 37), Interval(0, 17))),
    ):
        image = picture(size)
        engine = BlendedEngine.of(Runner(model, CPU), size, PLENTY, (16,) * len(size))
        everything = assembled(engine, image, whole(size))
        part = assembled(engine, image, window)
        assert torch.equal(part, everything[(..., *(slice(*i) for i in window))])


def test_planes_and_windows_may_be_run_together(planar):
    image = torch.cat([picture((70, 61), seed) for seed in range(3)])
    one = BlendedEngine.of(Runner(planar, CPU), (70, 61), PLENTY, (32, 32))
    many = BlendedEngine.of(Runner(planar, CPU), (70, 61), PLENTY, (32, 32), batch_px=3 * 32 * 32)
    assert many.at_once == 3
    expected = assembled(one, image, whole((70, 61)))
    assert torch.allclose(assembled(many, image, whole((70, 61))), expected, atol=1e-5)
    alone = assembled(one, image[1:2], whole((70, 61)))
    assert torch.allclose(alone, expected[1:2], atol=1e-6)


def test_a_small_image_is_one_window_and_has_no_seam(planar):
    image = picture((33, 27))
    engine = BlendedEngine.of(Runner(planar, CPU), (33, 27), PLENTY)
    with torch.no_grad():
        expected = torch.softmax(planar.network.on_grid(image), 1)
    assert torch.allclose(assembled(engine, image, whole((33, 27))), expected, atol=1e-6)
    assert engine.seam is None


class Positional(Network):
    """Gives what it is told about each pixel of its input, whatever the input."""

    def __init__(self, told):
        super().__init__(1, 2, UNetOptions(depth=2, norm="instance"))
        self.told = told

    def forward(self, x):
        return self.told(torch.cat([x, -x], 1))


def seam_of(told, image):
    model = nu.new_model("unet", classes=("background", "cell"), width=4, depth=2, norm="instance")
    model = type(model)(Positional(told), model.spec)
    engine = BlendedEngine.of(Runner(model, CPU), image.shape[2:], PLENTY, (32, 32))
    found = assembled(engine, image, whole(image.shape[2:]))
    return engine.seam, found


def test_windows_that_agree_have_no_seam():
    image = picture((90, 70))
    seam, found = seam_of(lambda x: x, image)
    assert seam.mean < 1e-6
    assert seam.high < 1e-5
    assert torch.allclose(found, torch.softmax(torch.cat([image, -image], 1), 1), atol=1e-6)


def test_windows_that_do_not_agree_have_a_large_seam():
    def slope(x):
        return x + torch.linspace(-5, 5, x.shape[-1]) * torch.tensor([1.0, -1.0])[:, None, None]

    seam, _ = seam_of(slope, torch.zeros(1, 1, 90, 70))
    assert 0.1 < seam.mean < seam.high <= 0.5


def test_numbers_that_are_too_large_reach_the_result():
    """Whoever looks at the result can see that half precision was not enough."""
    image = torch.zeros(1, 1, 90, 70)
    image[..., 40, 40] = torch.nan
    _, found = seam_of(lambda x: x, image)
    assert found[..., 40, 40].isnan().all()
    assert found[..., 39, 40].isfinite().all()


def alive_bytes():
    storages = [x.untyped_storage() for x in gc.get_objects() if type(x) is torch.Tensor and not x.is_meta]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def test_memory_does_not_grow_with_the_height(planar):
    def peak(height):
        engine = BlendedEngine.of(Runner(planar, CPU), (height, 40), PLENTY, (32, 32))
        image, before, most = torch.zeros(1, 1, 1, 1), alive_bytes(), 0
        for number, _ in enumerate(
            engine.run(lambda window: image.expand(1, 1, *size_of(window)), whole((height, 40)))
        ):
            if number % 4 == 2:
                most = max(most, alive_bytes() - before)
        return most

    assert 0 < peak(96) < 2 * 32 * 40 * 8 * 4
    assert peak(240) <= peak(96)


def test_what_is_in_flight_keeps_to_the_budget(planar):
    engine = BlendedEngine.of(Runner(planar, CPU), (300, 4000), 2_000_000, (32, 32))
    for piece in engine.pieces(whole((300, 4000))):
        assert prod(size_of(piece)) * 2 * 2 * 7 * 4 <= 2_000_000  # half of the rows, twice, 7 numbers of 4 bytes


@pytest.mark.parametrize(
    ("size", "side", "stride"), [(1000, 96, 16), (101, 32, 4), (33, 32, 16), (257, 64, 32), (5, 8, 4)]
)
def test_windows_start_on_the_grid_and_overlap_by_half(size, side, stride):
    windows = spread_along(size, side, stride)
    assert windows[0].start == 0
    assert windows[-1].stop == size
    assert all(window.start % stride == 0 for window in windows)
    assert all(side - stride < window.length <= side for window in windows) or len(windows) == 1
    assert all(b.start - a.start <= side / 2 for a, b in itertools.pairwise(windows))
    cover = AxisCover.of(windows, CPU)
    total = torch.zeros(size)
    for window, weight in zip(cover.windows, cover.weights, strict=True):
        total[slice(*window)] += weight
    assert torch.allclose(total, torch.ones(size), atol=1e-6)


def test_windows_have_the_size_of_training():
    options = UNetOptions(depth=4, norm="instance")
    assert window_sides(options) == (256, 256)
    assert window_sides(options, (200, 100)) == (208, 112)


def test_a_model_that_knows_its_patches_is_shown_windows_of_their_size(planar):
    image = picture((150, 140))
    found = nu.predict(planar.with_spec(patch_px=(64, 64), normalization=RAW), image[0, 0].numpy())
    expected = textbook(planar, image, 64)[0]
    assert np.abs(found - expected.numpy()).max() < 1e-5
    with pytest.raises(ModelError, match="patches of 3 dimensions"):
        planar.with_spec(patch_px=(64, 64, 64))


def test_the_meter_finds_the_mean_and_the_highest_hundredth():
    meter = SeamMeter()
    assert meter.seam is None
    values = torch.rand(100_000, generator=torch.Generator().manual_seed(0)) * 0.2
    for part in values.split(7_000):
        meter.add(part)
    assert meter.seam.mean == pytest.approx(0.1, rel=0.01)
    assert meter.seam.high == pytest.approx(0.198, rel=0.05)


def test_networks_without_padding_see_the_image_around_a_window():
    """Nothing is mirrored inside of the image: without normalization, all windows agree with the whole."""
    model = lively(nu.new_model("unet", width=4, depth=2, padding="valid", fit="crop", norm="none"))
    image = picture((90, 70))
    engine = BlendedEngine.of(Runner(model, CPU), (90, 70), PLENTY, (32, 32))
    with torch.no_grad():
        expected = torch.softmax(model.network.eval().on_grid(image), 1)
    assert torch.allclose(assembled(engine, image, whole((90, 70))), expected, atol=1e-5)


def test_predict_says_that_it_is_not_exact_and_how_large_the_seam_is(planar):
    image = open_image(np.random.default_rng(0).normal(size=(300, 270)))
    found = finish(predict_events(planar, image))
    assert not found.exact
    assert 0 < found.seam.mean < found.seam.high < 0.5
    part = finish(predict_events(planar, image, wish=Wish(((0, 1), (0, 1), (100, 180), (30, 270)))))
    assert np.array_equal(part.probabilities, found.probabilities[..., 100:180, 30:270])
