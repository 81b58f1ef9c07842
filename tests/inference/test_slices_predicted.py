"""Prediction with neighbouring slices: which slice tells what, and that no way of doing it changes the result."""

import numpy as np
import pytest
import torch
import zarr

import napari_unet as nu
from napari_unet.events import TileDone, finish
from napari_unet.imaging.image import open_image
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.cost import estimate_cost
from napari_unet.inference.flipping import flip_events
from napari_unet.inference.pipeline import Wish, predict_events
from napari_unet.weights.slices import with_slices

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (7, 90, 70), dtype=np.uint16)


def plain(in_channels=1, **options):
    """A model for single slices, which passes for a trained one."""
    return nu.new_model("unet", in_channels, width=4, depth=2, **options).with_spec(trained=True, activation="none")


def shifted(model, slices, by):
    """The same network, fed by the slice that lies `by` slices behind the one it labels."""
    made = with_slices(model, slices)
    weight, channels = made.network.encoder[0][0].conv.weight, model.network.in_channels
    with torch.no_grad():
        weight.copy_(weight.roll(by * channels, dims=1))
    return made


def mixed(model=None, slices=3):
    """A network to which all slices matter."""
    made = with_slices(model or plain(), slices)
    with torch.no_grad():
        made.network.encoder[0][0].conv.weight.normal_(generator=torch.Generator().manual_seed(0))
    return made


@pytest.mark.parametrize(("slices", "by"), [(3, -1), (3, 1), (5, -2), (5, 0)])
def test_each_channel_is_the_slice_that_it_should_be(slices, by):
    model = plain()
    alone = nu.predict(model, STACK)
    found = nu.predict(shifted(model, slices, by), STACK)
    nearest = np.clip(np.arange(7) + by, 0, 6)
    assert np.allclose(found, alone[:, nearest], atol=1e-4)
    assert not np.allclose(alone[:, 2], alone[:, 3], atol=1e-2)


def test_all_channels_of_a_slice_belong_together():
    model, image = plain(in_channels=2), RNG.normal(size=(2, 4, 40, 40))
    alone = nu.predict(model, image, axes="CZYX")
    found = nu.predict(shifted(model, 3, -1), image, axes="CZYX")
    assert np.allclose(found, alone[:, [0, 0, 1, 2]], atol=1e-4)


def test_time_points_never_mix():
    model, movie = mixed(), RNG.normal(size=(3, 4, 40, 40))
    found = nu.predict(model, movie, axes="TZYX")
    for t in range(3):
        assert np.array_equal(found[:, t], nu.predict(model, movie[t]))
    still = nu.predict(model, movie[:, 0], axes="TYX")
    for t in range(3):
        assert np.array_equal(still[:, t], nu.predict(model, movie[t, 0]))


def test_a_plane_is_its_own_neighbour():
    model = plain()
    assert np.allclose(nu.predict(shifted(model, 3, -1), STACK[0]), nu.predict(model, STACK[0]), atol=1e-4)


@pytest.fixture(scope="module")
def expected():
    return nu.predict(mixed(), STACK)


@pytest.mark.parametrize("tile", [32, 48, 1000])
def test_tiles_change_nothing(expected, tile):
    assert np.allclose(nu.predict(mixed(), STACK, tile=tile), expected, atol=1e-4)


def test_a_part_of_the_stack_still_sees_its_neighbours(expected):
    for z in range(7):
        wish = Wish(((0, 1), (z, z + 1), (0, 90), (0, 70)))
        found = finish(predict_events(mixed(), open_image(STACK), wish=wish)).probabilities
        assert np.array_equal(found[:, 0], expected[:, z : z + 1])


def test_what_is_seen_first_changes_nothing(expected):
    wish = Wish(visible=((0, 1), (4, 5), (10, 50), (20, 60)))
    work = predict_events(mixed(), open_image(STACK), wish=wish)
    regions, out = [], None
    while out is None:
        try:
            event = next(work)
        except StopIteration as end:
            out = end.value.probabilities
        else:
            regions += event.written if isinstance(event, TileDone) else []
    assert regions[0][1] == (4, 5)
    assert np.allclose(out[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize("chunks", [(1, 30, 40), (3, 50, 70)])
def test_a_file_gives_what_an_array_gives(expected, tmp_path, chunks):
    stored = zarr.create_array(tmp_path / "a.zarr", shape=STACK.shape, chunks=chunks, dtype=STACK.dtype)
    stored[...] = STACK
    assert np.array_equal(nu.predict(mixed(), stored), expected)


def test_planes_done_together_give_the_same(expected, monkeypatch):
    monkeypatch.setattr("napari_unet.inference.pipeline.planes_at_once", lambda *_: 3)
    assert np.allclose(nu.predict(mixed(), STACK), expected, atol=1e-4)


@pytest.mark.parametrize("turns", ["flips", "all"])
def test_turns_turn_all_slices_alike(turns):
    model = plain()
    assert np.allclose(
        nu.predict(shifted(model, 3, 1), STACK[:4], turns=turns),
        nu.predict(model, STACK[:4], turns=turns)[:, [1, 2, 3, 3]],
        atol=1e-4,
    )


def test_rescaling_does_not_reach_across_slices():
    model = plain().with_spec(diameter_px=10.0)
    found = nu.predict(shifted(model, 3, -1), STACK, diameter=15)
    assert np.allclose(found, nu.predict(model, STACK, diameter=15)[:, [0, 0, 1, 2, 3, 4, 5]], atol=1e-3)


def test_statistics_are_those_of_the_image_without_its_neighbours():
    rising = STACK * np.arange(1, 8, dtype=np.uint16)[:, None, None]
    model = plain()
    assert np.allclose(nu.predict(with_slices(model, 5), rising), nu.predict(model, rising), atol=1e-4)


def test_an_interrupted_result_goes_on(expected, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_unet.inference.resuming.PATIENCE_S", 0.0)
    out = zarr.create_array(tmp_path / "out.zarr", shape=expected.shape, chunks=(3, 1, 90, 70), dtype="float32")
    image = open_image(STACK)
    from napari_unet.inference.canvas import Reordered
    from napari_unet.inference.resuming import record_for

    target = Reordered(out, "ZYX")
    work = predict_events(mixed(), image, out=target, record=record_for(target))
    done = 0
    while done < 3:
        done += isinstance(next(work), TileDone)
    work.close()
    with pytest.warns(UserWarning, match="had been written before"):
        nu.predict(mixed(), STACK, out=out, resume=True)
    assert np.array_equal(out[...], expected)


def test_flips_are_judged_with_neighbours():
    model = mixed(plain().with_spec(activation="softmax"))
    gains = np.zeros((1, 5), np.float32)
    field = ((0, 1), (3, 4), (10, 74), (5, 69))
    finish(flip_events(model, open_image(STACK), InferenceConfig(), [field], gains))
    assert gains[0, 0] > 0


def test_the_cost_counts_all_channels():
    one, three = (estimate_cost(model.spec.network, (1, 7, 90, 70), "cpu") for model in (plain(), mixed()))
    assert three.operations > one.operations
    assert three.tiles == one.tiles


def test_normalizations_are_compared_with_neighbours():
    model = mixed()
    found = nu.suggest_normalization(model, STACK)
    assert set(found.distances) > {"as the model says"}


def test_statistics_of_features_are_adapted_with_neighbours():
    model = plain()
    alone = nu.adapt(model, STACK, prior=0).network.state_dict()
    with_neighbours = nu.adapt(with_slices(model, 3), STACK, prior=0).network.state_dict()
    for name, tensor in alone.items():
        if "running" in name:
            assert torch.allclose(tensor, with_neighbours[name], atol=1e-4)
