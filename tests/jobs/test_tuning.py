"""Memory and threads of the background process."""

import subprocess
import sys

import pytest
import torch

from napari_unet.jobs import tuning

ALLOCATE = """
import resource, sys
from pathlib import Path
from napari_unet.jobs.tuning import give_memory_back, keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def held_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
for _ in range(2):
    b"1" * 2**25
before = faults()
for _ in range(10):
    b"1" * 2**25
after = faults()
held = held_mb()
give_memory_back()
print(after - before, round(held - held_mb()))
"""


@pytest.fixture(autouse=True)
def same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_wish(monkeypatch):
    for name in (tuning.THREADS, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def allocate(how):
    done = subprocess.run([sys.executable, "-c", ALLOCATE, how], capture_output=True, text=True, check=True)
    return map(int, done.stdout.split())


@pytest.mark.skipif(tuning._glibc() is None, reason="only glibc")
def test_large_arrays_are_not_mapped_anew_and_go_back_when_asked():
    (often, _), (seldom, returned) = allocate("as it is"), allocate("keep")
    assert often > 10 * 2**25 / 4096 / 2
    assert seldom < often / 20
    assert returned >= 30


def test_other_allocators_are_left_alone(monkeypatch):
    monkeypatch.setattr(tuning.sys, "platform", "darwin")
    assert not tuning.keep_memory()
    tuning.give_memory_back()


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({7: 0.010, 3: 0.018, 1: 0.050}, 7),
        ({7: 0.030, 3: 0.018, 1: 0.050}, 3),
        ({7: 0.080, 3: 0.060, 1: 0.050}, 1),
        ({7: 0.0105, 3: 0.0100, 1: 0.050}, 7),
    ],
    ids=["idle machine", "half of it busy", "busy machine", "no clear winner"],
)
def test_the_quickest_number_of_threads_is_chosen(seconds, chosen, caplog):
    caplog.set_level("INFO")
    assert tuning.choose_threads((7, 3, 1), seconds.__getitem__) == chosen
    assert f"{chosen} threads" in caplog.text
    assert f"3: {1000 * seconds[3]:.1f} ms" in caplog.text


def test_choosing_ends_in_time():
    calls = []

    def slow(count):
        calls.append(count)
        return 1.0

    tuning.choose_threads((7, 3, 1), slow, budget_s=0)
    assert calls == [7, 3, 1]


@pytest.mark.parametrize(
    ("ours", "theirs", "wish"),
    [("3", None, 3), (None, "2", 2), ("3", "2", 3), ("none", "2", 2), ("0", "", None), (None, None, None)],
)
def test_wishes(monkeypatch, no_wish, ours, theirs, wish):
    for name, value in ((tuning.THREADS, ours), ("OMP_NUM_THREADS", theirs)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert tuning.wished_threads() == wish


def test_a_wish_is_not_measured(monkeypatch, no_wish):
    monkeypatch.setenv(tuning.THREADS, "3")
    monkeypatch.setattr(tuning, "_time_convolution", lambda _count: pytest.fail("measured"))
    tuning.Threads(cores=8).calibrate()
    assert torch.get_num_threads() == 3


def test_a_core_is_left_to_the_viewer(monkeypatch, no_wish):
    torch.set_num_threads(4)
    monkeypatch.setattr(tuning, "_time_convolution", lambda count: 1 / count)
    threads = tuning.Threads(cores=4)
    assert torch.get_num_threads() == 3
    threads.calibrate()
    assert torch.get_num_threads() == 3
    monkeypatch.setattr(tuning, "_time_convolution", float)
    torch.set_num_threads(4)
    threads = tuning.Threads(cores=4)
    threads.calibrate()
    assert torch.get_num_threads() == 1


def test_two_cores_leave_no_choice(monkeypatch, no_wish):
    torch.set_num_threads(2)
    monkeypatch.setattr(tuning, "_time_convolution", lambda _count: pytest.fail("measured"))
    tuning.Threads(cores=2).calibrate()
    assert torch.get_num_threads() == 1


def test_measuring_really_convolves():
    assert 0 < tuning._time_convolution(1) < 5
