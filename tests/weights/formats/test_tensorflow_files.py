"""TensorFlow checkpoints are read without TensorFlow, and damage is said in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow_writer import save_checkpoint

from napari_unet.errors import ModelError
from napari_unet.weights.formats.tensorflow import read_tensorflow


def variables(count=30):
    rng = np.random.default_rng(1)
    found = {f"g_conv{i}_1/weights": rng.normal(size=(3, 3, 2, i + 1)).astype("f4") for i in range(count)}
    return found | {f"g_conv{i}_1/biases": rng.normal(size=i + 1).astype("f4") for i in range(count)}


def assert_equal(tensors, wanted):
    assert set(tensors) == set(wanted)
    for name, value in wanted.items():
        assert tensors[name].numpy().dtype == value.dtype
        np.testing.assert_array_equal(tensors[name].numpy(), value)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize(
    "which", ["model.ckpt-7", "model.ckpt-7.index", "model.ckpt-7.data-00000-of-{}", "checkpoint", ""]
)
def test_any_of_its_files_opens_a_checkpoint(tmp_path, which, shards):
    wanted = variables() | {"half": np.ones((2, 0, 3), "f2"), "scale": np.float64(2.5), "table": np.arange(5)}
    save_checkpoint(tmp_path / "model.ckpt-7", wanted, shards)
    checkpoint = read_tensorflow(tmp_path / which.format(f"{shards:05d}"))
    assert_equal(checkpoint.states[0].tensors, {name: np.asarray(value) for name, value in wanted.items()})
    assert checkpoint.path.name == "model.ckpt-7.index"
    assert not checkpoint.notes


def test_a_folder_needs_no_list_for_one_checkpoint(tmp_path):
    save_checkpoint(tmp_path / "a", variables(2), listed=False)
    assert_equal(read_tensorflow(tmp_path).states[0].tensors, variables(2))
    save_checkpoint(tmp_path / "b", variables(2), listed=False)
    with pytest.raises(ModelError, match=r"2 TensorFlow checkpoints .* Choose one"):
        read_tensorflow(tmp_path)


@pytest.mark.parametrize("name", ["/home/someone/run/a", "C:\\\\Users\\\\me\\\\a", "../../a"])
def test_a_list_of_another_machine_means_the_file_beside_it(tmp_path, name):
    save_checkpoint(tmp_path / "a", variables(2))
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{name}"\n')
    assert_equal(read_tensorflow(tmp_path / "checkpoint").states[0].tensors, variables(2))


def test_the_optimizer_is_left_out(tmp_path):
    wanted = variables(2) | {"Variable": np.ones((2, 2, 1, 2), "f4")}
    slots = {f"{name}/{slot}": value for name, value in wanted.items() for slot in ("Adam", "Adam_1")}
    counters = {"beta1_power": np.float32(0.1), "train/beta2_power_1": np.float32(0.1), "global_step": np.int64(3)}
    save_checkpoint(tmp_path / "a", wanted | slots | counters)
    checkpoint = read_tensorflow(tmp_path / "a.index")
    assert_equal(checkpoint.states[0].tensors, wanted)
    assert checkpoint.notes == ("13 variables of the optimizer were left out.",)


def test_running_averages_are_a_second_set(tmp_path):
    wanted = {"c/weights": np.ones(3, "f4"), "bn/moving_mean": np.full(3, 5, "f4")}
    save_checkpoint(tmp_path / "a", wanted | {"c/weights/ExponentialMovingAverage": np.zeros(3, "f4")})
    plain, averaged = read_tensorflow(tmp_path / "a.index").states
    assert_equal(plain.tensors, wanted)
    assert averaged.averaged
    assert_equal(averaged.tensors, wanted | {"c/weights": np.zeros(3, "f4")})


def test_object_based_checkpoints_keep_their_names(tmp_path):
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    kernel = {f"layer_with_weights-0/kernel{end}": np.ones((3, 3, 1, 2), "f4")}
    rest = {
        f"layer_with_weights-0/kernel/.OPTIMIZER_SLOT/optimizer/m{end}": np.ones((3, 3, 1, 2), "f4"),
        f"optimizer/iter{end}": np.int64(3),
        f"save_counter{end}": np.int64(1),
    }
    save_checkpoint(tmp_path / "a", kernel | rest)
    assert_equal(read_tensorflow(tmp_path / "a.index").states[0].tensors, kernel)


def test_pieces_are_refused(tmp_path):
    save_checkpoint(tmp_path / "a", variables(2), slices=("g_conv0_1/weights",))
    with pytest.raises(ModelError, match="in pieces"):
        read_tensorflow(tmp_path / "a.index")


def test_a_missing_file_is_named(tmp_path):
    save_checkpoint(tmp_path / "a", variables(2))
    (tmp_path / "a.data-00000-of-00001").unlink()
    with pytest.raises(ModelError, match=r"a\.data-00000-of-00001.* is missing"):
        read_tensorflow(tmp_path / "a.index")


def test_other_files_are_told_apart(tmp_path):
    save_checkpoint(tmp_path / "a", variables(2))
    (tmp_path / "a.index").rename(tmp_path / "old.ckpt")
    with pytest.raises(ModelError, match="of the first format"):
        read_tensorflow(tmp_path / "old.ckpt")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ModelError, match="no TensorFlow checkpoint"):
        read_tensorflow(tmp_path / "notes.txt")
    with pytest.raises(ModelError, match="There is no file"):
        read_tensorflow(tmp_path / "nothing.index")


def test_every_flipped_bit_of_the_values_is_noticed(tmp_path):
    save_checkpoint(tmp_path / "a", variables(4))
    path = tmp_path / "a.data-00000-of-00001"
    content = path.read_bytes()
    for position in range(0, len(content), 41):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="have changed since they were saved"):
            read_tensorflow(tmp_path / "a.index")


def test_every_flipped_bit_of_the_index_is_noticed(tmp_path):
    save_checkpoint(tmp_path / "a", variables(8))
    path = tmp_path / "a.index"
    content = path.read_bytes()
    footer = len(content) - 48
    for position in [*range(0, footer, 7), *range(footer, len(content))]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            found = read_tensorflow(path).states[0].tensors
        except ModelError as error:
            assert path.name in str(error)  # noqa: PT017
        else:
            # What may change without harm: the place of an empty block and the filling after it.
            assert position >= footer
            assert_equal(found, variables(8))


@pytest.mark.parametrize("name", ["a.index", "a.data-00000-of-00001"])
def test_truncated_files_are_refused_in_words(tmp_path, name):
    save_checkpoint(tmp_path / "a", variables(4))
    path = tmp_path / name
    content = path.read_bytes()
    for length in np.linspace(0, len(content) - 1, 40).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"Copy (it again|or download)"):
            read_tensorflow(tmp_path / "a.index")
