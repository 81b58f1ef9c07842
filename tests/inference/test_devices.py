"""Which device is chosen, and how results come from it."""

import pytest
import torch

from napari_unet.errors import DeviceError
from napari_unet.inference.devices import choose_device, describe_device, list_devices, usable_bytes
from napari_unet.inference.downloading import downloaded, one_behind
from napari_unet.inference.running import PrecisionError

CPU = torch.device("cpu")
GB = 10**9


@pytest.fixture
def gpus(monkeypatch):
    """Three GPUs: one is small, one free, one filled by others."""
    free = [2 * GB, 9 * GB, None]

    def mem_get_info(device):
        bytes_free = free[torch.device(device).index]
        if bytes_free is None:
            raise RuntimeError("CUDA error: out of memory")
        return bytes_free, 10 * GB

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", mem_get_info)
    return free


def test_the_gpu_with_most_free_memory_is_chosen(gpus):
    assert choose_device() == torch.device("cuda:1")
    gpus[1] = None
    assert choose_device() == torch.device("cuda:0")
    assert [device.free_bytes for device in list_devices()][:3] == [2 * GB, 0, 0]


def test_where_all_gpus_are_filled_the_cpu_is_chosen(gpus):
    gpus[:] = [None] * 3
    assert choose_device().type in {"cpu", "mps"}


def test_a_device_that_is_named_is_taken_without_a_look_at_the_memory_of_others(gpus, monkeypatch):
    """To ask for it takes memory on each of them."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: pytest.fail("asked"))
    assert choose_device("cpu") == CPU
    assert choose_device("cuda") == torch.device("cuda:0")
    assert describe_device(torch.device("cuda:2")) == "GPU 2"


def test_an_unknown_device_is_refused_with_those_there_are(gpus):
    with pytest.raises(DeviceError, match="cuda:0, cuda:1, cuda:2"):
        choose_device("cuda:7")


def test_memory_that_pytorch_keeps_for_later_is_free(gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 * GB)
    assert usable_bytes(torch.device("cuda:0")) == 4 * GB


def test_a_copy_ends_after_the_next_has_begun():
    log = []

    def found():
        for number in range(3):
            log.append(f"compute {number}")
            yield (number,), torch.tensor(number)

    def begin(values):
        log.append(f"begin {int(values)}")
        return int(values)

    def end(number):
        log.append(f"end {number}")
        return torch.tensor(10 * number)

    for (number,), values in one_behind(found(), begin, end):
        log.append(f"write {number}")
        assert int(values) == 10 * number
    assert log == [
        "compute 0", "begin 0", "compute 1", "begin 1", "end 0", "write 0",
        "compute 2", "begin 2", "end 1", "write 1", "end 2", "write 2",
    ]  # fmt: skip


def test_pieces_that_are_no_numbers_are_refused_in_half_precision():
    pieces = [("first", torch.zeros(4)), ("second", torch.tensor([0.0, torch.nan]))]
    found = downloaded(iter(pieces), CPU, "float16")
    assert next(found)[0] == "first"
    with pytest.raises(PrecisionError, match="float16"):
        next(found)
    assert len(list(downloaded(iter(pieces), CPU, "float32"))) == 2


def test_probabilities_are_converted_before_they_are_copied():
    pieces = [("only", torch.tensor([0.25, 1.0]))]
    ((_, values),) = downloaded(iter(pieces), CPU, "float32", lambda x: (4 * x).to(torch.uint8))
    assert values.tolist() == [1, 4]
