"""Test-time flips and turns: each member is what the whole turned image would give."""

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.events import finish
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.image import open_image
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.cost import estimate_cost
from napari_unet.inference.engines.blended import BlendedEngine
from napari_unet.inference.engines.exact import ExactEngine
from napari_unet.inference.engines.tiled import TiledEngine
from napari_unet.inference.engines.turned import TurnedEngine, turns_of
from napari_unet.inference.exact.intervals import Interval, size_of, whole
from napari_unet.inference.pipeline import Wish, predict_events
from napari_unet.inference.running import Runner
from napari_unet.networks.registry import network_spec

CPU = torch.device("cpu")
RAW = Normalization(method="fixed", low=(0.0,), high=(1.0,))
COUNTS = {"none": 1, "flips": 4, "all": 8}


def lively(model):
    generator = torch.Generator().manual_seed(0)
    for parameter in model.network.parameters():
        if parameter.ndim == 1:
            parameter.data.add_(torch.empty_like(parameter).normal_(0, 0.3, generator=generator))
    return model.with_spec(normalization=RAW)


@pytest.fixture(scope="module")
def planar():
    return lively(nu.new_model("unet", width=4, depth=3))


@pytest.fixture(scope="module")
def voluminous():
    return lively(nu.new_model("unet-3d", width=4, depth=2))


def by_hand(model, image, turns):
    """Whole forward passes of turned images, turned back by numpy."""
    total, count = 0, 0
    for quarter in range(4) if turns == "all" else (0, 2):
        for mirrored in (False, True):
            turned = np.rot90(image, quarter, (-2, -1))
            turned = turned[..., ::-1] if mirrored else turned
            with torch.no_grad():
                logits = model.network.eval().on_grid(torch.from_numpy(turned.copy())[None, None])
            found = torch.softmax(logits, 1)[0].numpy()
            found = found[..., ::-1] if mirrored else found
            total, count = total + np.rot90(found, -quarter, (-2, -1)), count + 1
    assert count == COUNTS[turns]
    return total / count


@pytest.mark.parametrize("turns", ["flips", "all"])
@pytest.mark.parametrize("size", [(61, 83), (48, 48)])
def test_planes_equal_the_mean_over_whole_turned_images(planar, turns, size):
    image = np.random.default_rng(0).normal(size=size).astype(np.float32)
    expected = by_hand(planar, image, turns)
    assert np.abs(nu.predict(planar, image, turns=turns) - expected).max() < 1e-5
    assert np.abs(nu.predict(planar, image) - expected).max() > 1e-3


@pytest.mark.parametrize("turns", ["flips", "all"])
def test_volumes_are_turned_in_the_plane(voluminous, turns):
    image = np.random.default_rng(0).normal(size=(11, 37, 26)).astype(np.float32)
    found = nu.predict(voluminous, image, turns=turns)
    assert np.abs(found - by_hand(voluminous, image, turns)).max() < 1e-5


def turned(kind, model, turns, size, most_px=10**6):
    """The same mean from an engine of another kind."""
    runner = Runner(model, CPU)
    make = {
        "exact": lambda s: ExactEngine.of(runner, s, 2**28),
        "tiled": lambda s: TiledEngine.of(runner, s, 32),
        "blended": lambda s: BlendedEngine.of(runner, s, 2**28, (32, 32)),
    }[kind]
    return TurnedEngine.of(make, size, turns, 8, most_px)


def assembled(engine, image, window):
    found, pieces = torch.full((1, 3, *size_of(window)), torch.nan), []
    pixels = torch.from_numpy(image)[None, None]
    for piece, values in engine.run(lambda w: pixels[(..., *(slice(*part) for part in w))], window):
        where = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(piece, window, strict=True))
        assert found[(..., *where)].isnan().all()
        found[(..., *where)] = values
        pieces.append(piece)
    assert pieces == engine.pieces(window)
    assert not found.isnan().any()
    return found[0].numpy()


@pytest.mark.parametrize(("kind", "most_px"), [("exact", 10**6), ("exact", 2500), ("tiled", 10**6)])
def test_other_engines_and_small_pieces_give_the_same(planar, kind, most_px):
    image = np.random.default_rng(0).normal(size=(75, 52)).astype(np.float32)
    engine = turned(kind, planar, "all", (75, 52), most_px)
    assert engine.exact
    assert engine.seam is None
    assert np.abs(assembled(engine, image, whole((75, 52))) - by_hand(planar, image, "all")).max() < 1e-5
    pieces = engine.pieces(whole((75, 52)))
    assert max(np.prod(size_of(piece)) for piece in pieces) <= most_px
    assert len(pieces) == (1 if most_px > 2500 else 2)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_part_equals_the_same_part_of_the_whole(norm):
    model = lively(nu.new_model("unet", width=4, depth=2, norm=norm)).with_spec(patch_px=(32, 32))
    image, config = open_image(np.random.default_rng(0).normal(size=(75, 52))), InferenceConfig(turns="all")
    everything = finish(predict_events(model, image, config))
    part = finish(predict_events(model, image, config, wish=Wish(((0, 1), (0, 1), (13, 60), (31, 52)))))
    assert everything.exact == (norm == "batch")
    assert np.abs(part.probabilities - everything.probabilities[..., 13:60, 31:52]).max() < 1e-5


def test_blended_windows_are_turned_too():
    """A turned image has its own windows; their seam is told."""
    model = lively(nu.new_model("unet", width=4, depth=2, norm="instance"))
    image = np.random.default_rng(0).normal(size=(75, 102)).astype(np.float32)
    engine = turned("blended", model, "flips", (75, 102))
    found = assembled(engine, image, whole((75, 102)))
    plain = BlendedEngine.of(Runner(model, CPU), (75, 102), 2**28, (32, 32))
    flips = [assembled(plain, image[::y, ::x].copy(), whole((75, 102)))[:, ::y, ::x] for y in (1, -1) for x in (1, -1)]
    assert np.abs(found - np.mean(flips, axis=0)).max() < 1e-6
    assert not engine.exact
    assert engine.seam.mean == pytest.approx(plain.seam.mean, rel=1e-3)


def test_turns_are_all_different_and_come_back():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    for turns, count in COUNTS.items():
        versions = {
            turn.pixels(image).numpy().tobytes() + bytes(turn.pixels(image).shape) for turn in turns_of(turns, (3, 4))
        }
        assert len(versions) == count
    for turn in turns_of("all", (3, 4)):
        assert torch.equal(turn.pixels_back(turn.pixels(image)), image)
        window = (Interval(1, 3), Interval(0, 2))
        rows, columns = turn.window(window)
        assert torch.equal(
            turn.pixels_back(turn.pixels(image)[..., slice(*rows), slice(*columns)]), image[..., 1:3, 0:2]
        )
        assert turn.window_back(turn.window(window)) == window


def test_segmenting_takes_turns_and_the_estimate_knows_their_price(planar):
    image = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    assert nu.segment(planar, image, turns="all").shape == (40, 50)
    spec = network_spec("unet", 1, 2, {"width": 4, "depth": 2})
    once, often = (estimate_cost(spec, (1, 1, 40, 50), turns=turns) for turns in ("none", "all"))
    assert often.operations == pytest.approx(8 * once.operations)
