"""What is normalized on a device is what is normalized on the CPU."""

import numpy as np
import pytest
import torch

from napari_unet.imaging.statistics import Statistics
from napari_unet.inference import uploading
from napari_unet.inference.uploading import DirectLane, Uploader

CPU = torch.device("cpu")
KINDS = ["u1", "i1", "u2", "i2", "u4", "i8", "f2", "f4", "f8", ">u2", ">f4", "?"]


def statistics(channels, reduction="none", **clip):
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 9, channels).astype(np.float32)
    high = low + rng.uniform(1, 90, channels).astype(np.float32)
    return Statistics({3: low}, {3: high}, reduction, 231.7, **clip)


def pixels(kind, *shape):
    values = np.random.default_rng(0).gamma(2, 20, shape)
    if np.dtype(kind).itemsize >= 2 and np.dtype(kind).kind == "u":
        values *= 900  # beyond what a signed type holds
    block = np.minimum(values, np.iinfo(kind).max if np.dtype(kind).kind in "iu" else np.inf).astype(kind)
    if np.dtype(kind).kind == "f":
        block[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    return block


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("reduction", "channels"),
    [("none", 2), ("luminance", 1), ("luminance", 3), ("inverted", 1), ("inverted", 3), ("haematoxylin", 3)],
)
def test_the_device_normalizes_as_the_cpu_does(kind, reduction, channels):
    known = statistics(channels if reduction == "none" else 1, reduction)
    block = pixels(kind, channels, 2, 17, 23)
    before = block.copy()
    values = Uploader(known, CPU).upload(block, 3)
    assert values.dtype == torch.float32
    assert values.is_contiguous()
    assert np.array_equal(block, before, equal_nan=np.dtype(kind).kind == "f")
    np.testing.assert_allclose(values.numpy(), known.normalize(block, 3), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "clip", [{"clip_low": (0.0,)}, {"clip_high": (1.0, 0.5)}, {"clip_low": (-1, 0), "clip_high": (2,)}]
)
def test_results_are_clipped_and_constant_channels_are_zero(clip):
    known = statistics(2, **clip)
    known.high[3][0] = known.low[3][0]
    block = pixels("f4", 2, 1, 30, 40)
    values = Uploader(known, CPU).upload(block, 3).numpy()
    np.testing.assert_allclose(values, known.normalize(block, 3), rtol=1e-6, atol=1e-6)


def test_blocks_in_any_order_in_memory_and_of_any_size_arrive():
    known = statistics(3)
    uploader = Uploader(known, CPU)
    rng = np.random.default_rng(0)
    for shape in [(1, 9, 8, 3), (2, 40, 30, 3), (1, 5, 6, 3), (1, 40, 31, 3), (2, 2, 2, 3)]:
        block = np.moveaxis(rng.integers(0, 2**16, shape, dtype=np.uint16), -1, 0)[:, :, ::-1]
        np.testing.assert_allclose(uploader.upload(block, 3).numpy(), known.normalize(block, 3), rtol=1e-6, atol=1e-6)


class Slow(DirectLane):
    """A way on which copies arrive only when somebody waits for them."""

    def __init__(self):
        super().__init__(CPU)
        self.events, self.sizes = [], []

    def buffer(self, size):
        self.sizes.append(size)
        return super().buffer(size)

    def send(self, pixels):
        copy, _ = super().send(pixels)
        number = len([event for event in self.events if event[0] == "sent"])
        self.events.append(("sent", number))
        return copy, lambda: self.events.append(("waited", number))


def test_a_buffer_is_filled_again_only_when_its_copy_has_left():
    lane = Slow()
    uploader = Uploader(statistics(1), CPU, lane)
    for _ in range(5):
        uploader.upload(np.ones((1, 1, 8, 8), np.uint8), 3)
    first = [("sent", number) for number in range(uploading.BUFFERS)]
    assert lane.events[: len(first)] == first
    assert lane.events[len(first) :] == [("waited", 0), ("sent", 3), ("waited", 1), ("sent", 4)]
    assert lane.sizes == [64] * uploading.BUFFERS  # raw bytes, and no buffer twice


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_the_gpu_normalizes_as_the_cpu_does(kind):
    known = statistics(2)
    uploader = Uploader(known, torch.device("cuda:0"))
    blocks = [pixels(kind, 2, 1, 300 + number, 400) for number in range(7)]
    values = [uploader.upload(block, 3) for block in blocks]
    for value, block in zip(values, blocks, strict=True):
        np.testing.assert_allclose(value.cpu().numpy(), known.normalize(block, 3), rtol=1e-6, atol=1e-6)
