"""Memory or precision that gives out costs one piece, never the image."""

import gc
import subprocess
import sys
import textwrap
import weakref
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import napari_unet as nu
from napari_unet.errors import Cancelled, DeviceError, ImageError
from napari_unet.events import Notice, TileDone
from napari_unet.imaging.image import open_image
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.engines import choosing
from napari_unet.inference.engines.exact import ExactEngine
from napari_unet.inference.engines.ladder import Ladder
from napari_unet.inference.engines.means import Means, first_means, trouble_of
from napari_unet.inference.exact.intervals import size_of, view, whole
from napari_unet.inference.exact.planning import StripPlan, pieces_of
from napari_unet.inference.exact.sampling import Convolution
from napari_unet.inference.pipeline import predict_events
from napari_unet.inference.running import PrecisionError, Runner

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
WINDOW = whole((40, 10))
IMAGE = torch.arange(400.0).view(1, 1, 40, 10)
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("could not create a primitive"),
    MemoryError(),
]


def read(window):
    return view(IMAGE, WINDOW, window)


@dataclass
class Doubling:
    """An engine that doubles pixels, in strips of 8 rows or as many as its share of the memory allows."""

    means: Means
    fails: object
    log: list
    exact = True
    seam = None

    def pieces(self, window):
        return pieces_of(window, StripPlan(0, max(1, int(8 * self.means.share)), size_of(window), 0))

    def run(self, read, window):
        try:
            for piece in self.pieces(window):
                pixels = read(piece)
                self.fails(self.means, piece)
                self.log.append(piece)
                yield piece, 2 * pixels
        finally:
            self.log.append("closed")


@dataclass
class Failing:
    """Raises errors one after the other, at the third piece and then wherever the next one is tried."""

    errors: list
    seen: int = 0
    met: list = field(default_factory=list)

    def __call__(self, means, piece):
        self.seen += 1
        if self.seen >= 3 and self.errors:
            self.met.append(means)
            raise self.errors.pop(0)


def ladder_with(fails, means=None):
    log = []
    return Ladder(lambda means: Doubling(means, fails, log), means or Means(CPU, "float32")), log


def collected(events):
    out, notes = torch.full_like(IMAGE, torch.nan), []
    for event in events:
        if isinstance(event, Notice):
            notes += [event.text] if event.text not in notes else []
        else:
            part = view(out, WINDOW, event[0])
            assert part.isnan().all(), "computed twice"
            part.copy_(event[1])
    return out, notes


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_what_is_done_stays_and_the_rest_is_done_in_smaller_pieces(error):
    ladder, log = ladder_with(Failing([error]))
    out, notes = collected(ladder.run(read, WINDOW))
    assert torch.equal(out, 2 * IMAGE)
    assert notes == ladder.notes == ["The computer's memory ran out: the image is done in smaller pieces."]
    heights = [piece[0].length for piece in log if piece != "closed"]
    assert heights == [8, 8, 4, 4, 4, 4, 4, 4]


def test_it_is_said_once_that_pieces_become_smaller():
    ladder, _ = ladder_with(Failing([MemoryError(), MemoryError(), MemoryError()]))
    out, notes = collected(ladder.run(read, WINDOW))
    assert torch.equal(out, 2 * IMAGE)
    assert len(notes) == len(ladder.notes) == 1
    assert ladder.means.share == 1 / 8


def test_where_no_means_are_left_it_is_said_what_to_do():
    ladder, _ = ladder_with(Failing([MemoryError()] * 9))
    with pytest.raises(DeviceError, match=r"computer's memory is too small .* Close other programs .* smaller network"):
        collected(ladder.run(read, WINDOW))


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), ImageError("torn"), NotImplementedError("x"), ValueError()]
)
def test_other_errors_pass_as_they_are(error):
    ladder, log = ladder_with(Failing([error]))
    with pytest.raises(type(error)) as caught:
        collected(ladder.run(read, WINDOW))
    assert caught.value is error
    assert log[-1] == "closed"
    assert not ladder.notes


def test_memory_that_runs_out_while_reading_helps_itself_the_same_way():
    full = [True]

    def reading(window):
        if window[0].length > 2 and full:
            raise MemoryError
        return read(window)

    ladder, _ = ladder_with(lambda *_: None)
    out, notes = collected(ladder.run(reading, WINDOW))
    assert torch.equal(out, 2 * IMAGE)
    assert len(notes) == 1


def test_a_cancel_ends_the_engine():
    ladder, log = ladder_with(lambda *_: None)
    running = ladder.run(read, WINDOW)
    next(running)
    with pytest.raises(Cancelled):
        running.throw(Cancelled)
    assert log[-1] == "closed"


def test_closing_ends_the_engine():
    ladder, log = ladder_with(lambda *_: None)
    running = ladder.run(read, WINDOW)
    next(running)
    running.close()
    assert log[-1] == "closed"


def test_half_precision_gives_way_to_what_holds_larger_numbers():
    failing = Failing([PrecisionError("too large"), PrecisionError("too large")])
    ladder, _ = ladder_with(failing, Means(CPU, "float16"))
    out, notes = collected(ladder.run(read, WINDOW))
    assert torch.equal(out, 2 * IMAGE)
    assert notes == [
        "Numbers became too large for float16: bfloat16 is used instead.",
        "Numbers became too large for bfloat16: float32 is used instead.",
    ]


def climbed(means, *troubles):
    for trouble in troubles:
        means = means.after(trouble)
    return means


def test_a_gpu_gives_way_to_half_of_its_memory_then_half_precision_then_the_cpu():
    smallest = climbed(Means(CUDA, "float32"), *["memory"] * 4)
    assert smallest == Means(CUDA, "float32", 1 / 16)
    assert smallest.after("memory") == Means(CUDA, "float16")
    assert climbed(Means(CUDA, "float16"), *["memory"] * 5) == Means(CPU, "float32")
    assert climbed(Means(MPS, "float32"), *["memory"] * 5) == Means(CPU, "float32")
    assert climbed(Means(CPU, "float32"), *["memory"] * 5) is None


def test_a_precision_that_was_too_coarse_is_not_taken_again():
    finer = Means(CUDA, "float16").after("precision")
    assert finer.precision == "bfloat16"
    assert climbed(finer, "precision", *["memory"] * 5) == Means(CPU, "float32")


@given(st.sampled_from([CPU, CUDA, MPS]), st.sampled_from(["auto", "float16", "bfloat16", "float32"]), st.data())
def test_the_ladder_ends(device, precision, data):
    means, steps = first_means(device, precision), 0
    while means is not None:
        kinds = ["memory", "operation"] if means.precision == "float32" else ["memory", "operation", "precision"]
        before, trouble = means, data.draw(st.sampled_from(kinds))
        means, steps = means.after(trouble), steps + 1
        if means is not None:
            assert before.change(means, trouble).endswith(".")
    assert steps < 40


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError("The operator 'aten::x' is not currently implemented for the MPS device."),
        RuntimeError("Conv3D is not supported on MPS"),
        RuntimeError("\"max_pool3d\" not implemented for 'Half'"),
    ],
)
def test_the_cpu_does_what_another_device_cannot(error):
    assert trouble_of(error) == "operation"
    ladder, _ = ladder_with(Failing([error]), Means(MPS, "float32"))
    out, notes = collected(ladder.run(read, WINDOW))
    assert torch.equal(out, 2 * IMAGE)
    assert ladder.means == Means(CPU, "float32")
    assert notes == ["mps cannot compute a layer of this network: the CPU goes on with float32."]


def test_weights_that_find_no_room_are_told_of_with_the_first_piece():
    def make(means):
        if means.device != CPU:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return Doubling(means, lambda *_: None, [])

    ladder = Ladder(make, Means(CUDA, "float16"))
    out, notes = collected(ladder.run(read, WINDOW))
    assert torch.equal(out, 2 * IMAGE)
    assert notes == ["The memory of cuda is too small for this network: the CPU goes on."]


@pytest.fixture(scope="module")
def model():
    return nu.new_model("unet", width=4, depth=2)


def predicted(model, image, config=None, seen=None):
    work = predict_events(model, open_image(image), config)
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return end.value.probabilities, events


class Once:
    """Lets a method fail at its n-th call, and remembers tensors that it was called with."""

    def __init__(self, monkeypatch, owner, name, call):
        self.calls, self.call, self.alive = 0, call, []
        self.method = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *arguments: self.apply(*arguments))  # noqa: PLW0108  # binds

    def apply(self, operation, x, padding):
        self.calls += not x.is_meta  # there it is only counted
        if x.is_meta:
            return self.method(operation, x, padding)
        if self.calls <= self.call:
            self.alive.append(weakref.ref(x))
        if self.calls == self.call:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return self.method(operation, x, padding)


@pytest.mark.parametrize("diameter", [None, 10.0])
def test_memory_that_runs_out_inside_a_network_changes_nothing_but_the_pieces(model, monkeypatch, diameter):
    sized = model.with_spec(diameter_px=15.0)
    image = np.random.default_rng(0).normal(size=(2, 300, 200)).astype(np.float32)
    config = InferenceConfig(diameter_px=diameter)
    expected, _ = predicted(sized, image, config)
    Once(monkeypatch, Convolution, "apply", 20)
    found, events = predicted(sized, image, config)
    assert np.abs(found - expected).max() < 1e-5
    assert [event.text for event in events if isinstance(event, Notice)]
    tiles = [event for event in events if isinstance(event, TileDone)]
    assert [tile.done for tile in tiles] == list(range(1, len(tiles) + 1))
    assert all(tile.done <= tile.total for tile in tiles)
    assert tiles[-1].total == len(tiles)


def test_nothing_of_the_failed_attempt_is_alive_when_the_next_one_begins(model, monkeypatch):
    once = Once(monkeypatch, Convolution, "apply", 20)
    ladder = Ladder.of(model, (300, 200), CPU, InferenceConfig())
    made, alive = ladder._make, []

    def make(means):
        alive.extend(ref for ref in once.alive if ref() is not None)
        return made(means)

    ladder._make = make
    image = torch.randn(1, 1, 300, 200)
    gc.disable()  # what only a collection frees would be too late
    try:
        list(ladder.run(lambda window: view(image, whole((300, 200)), window).clone(), whole((300, 200))))
    finally:
        gc.enable()
    assert len(once.alive) == 20
    assert ladder.notes
    assert not alive


def test_with_less_memory_fewer_planes_are_taken_at_once(model, monkeypatch):
    image = np.random.default_rng(0).normal(size=(7, 200, 60)).astype(np.float32)
    expected, _ = predicted(model, image)
    sizes = []
    run = ExactEngine.run

    def failing(engine, read, window):
        for number, (piece, values) in enumerate(run(engine, read, window)):
            if len(sizes) == 1:
                sizes.append(0)
                raise MemoryError
            sizes.append(len(values))
            assert number < 9
            yield piece, values

    monkeypatch.setattr(ExactEngine, "run", failing)
    monkeypatch.setitem(choosing.BATCH_PX, "cpu", 3 * 200 * 60)
    found, events = predicted(model, image)
    assert np.abs(found - expected).max() < 1e-5
    assert sizes[0] == 3
    assert set(sizes[2:]) == {1}
    assert any(isinstance(event, Notice) for event in events)


def test_a_graph_on_another_device_is_forgotten_when_the_cpu_goes_on(model):
    there = ExactEngine.of(Runner(model, torch.device("meta"), "float16"), (64, 64), 10**9)
    weights = [weakref.ref(n.operation.weight) for n in there.graph.nodes if isinstance(n.operation, Convolution)]
    assert all(weight().is_meta for weight in weights)
    del there
    here = ExactEngine.of(Runner(model, CPU), (64, 64), 10**9)
    assert all(weight() is None for weight in weights)
    assert not any(n.operation.weight.is_meta for n in here.graph.nodes if isinstance(n.operation, Convolution))
    assert not any(parameter.is_meta for parameter in model.network.parameters())


def test_tiles_become_smaller_too(model, monkeypatch):
    image = np.random.default_rng(0).normal(size=(200, 180)).astype(np.float32)
    expected, _ = predicted(model, image)
    monkeypatch.setattr("napari_unet.inference.engines.choosing.is_buildable", lambda variant: False)
    logits, sizes = Runner.logits, []

    def failing(runner, image):
        sizes.append(image.shape[-1])
        if image.shape[-1] == 180 and len(sizes) < 9:
            raise MemoryError
        return logits(runner, image)

    monkeypatch.setattr(Runner, "logits", failing)
    found, events = predicted(model, image)
    assert np.abs(found - expected).max() < 1e-5
    assert min(sizes) < 180
    assert sum(isinstance(event, Notice) for event in events) == 1


def test_numbers_too_large_for_float16_are_computed_in_bfloat16():
    model = nu.new_model("unet", width=4, depth=1)
    first, *_, last = [m for m in model.network.modules() if isinstance(m, torch.nn.Conv2d)]
    first.weight.data *= 1e5
    last.weight.data *= 1e-5
    image = np.random.default_rng(0).normal(size=(60, 50)).astype(np.float32)
    expected = nu.predict(model, image)
    found, events = predicted(model, image, InferenceConfig(precision="float16"))
    notes = [event.text for event in events if isinstance(event, Notice)]
    assert notes == ["Numbers became too large for float16: bfloat16 is used instead."]
    assert np.abs(found[:, 0, 0] - expected).max() < 0.03
    assert np.isfinite(found).all()


LITTLE_MEMORY = """
    import resource
    import numpy as np
    import torch
    import napari_unet as nu
    from napari_unet.events import Notice
    from napari_unet.imaging.image import open_image
    from napari_unet.inference.config import InferenceConfig
    from napari_unet.inference.pipeline import predict_events

    torch.set_num_threads(1)
    model = nu.new_model("unet", width=32, depth=1)
    image = np.random.default_rng(0).normal(size=(600, 600)).astype(np.float32)
    small = nu.predict(model, image[:64, :64])

    def taken():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmSize")) * 1024

    # In one piece, features would take more.
    resource.setrlimit(resource.RLIMIT_AS, (taken() + 130 * 2**20, -1))
    work, notes = predict_events(model, open_image(image), InferenceConfig(tile=600)), []
    try:
        while True:
            event = next(work)
            notes += [event.text] if isinstance(event, Notice) else []
    except StopIteration as end:
        found = end.value.probabilities[:, 0, 0]
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    expected = nu.predict(model, image)
    print(notes, float(np.abs(found - expected).max()))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory cannot be limited")
def test_an_image_is_completed_where_the_allocator_fails():
    command = [sys.executable, "-c", textwrap.dedent(LITTLE_MEMORY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    notes, error = done.stdout.rsplit(maxsplit=1)
    assert "smaller pieces" in notes
    assert float(error) < 1e-5
