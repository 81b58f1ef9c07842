"""TorchScript files: programs, which run only where they are trusted, and then without rights."""

import contextlib
import hashlib
import os
import subprocess
import sys
import time
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import napari_unet as nu
from napari_unet.errors import ModelError, UnansweredError
from napari_unet.weights.isolated.client import Program

posix = pytest.mark.skipif(os.name != "posix", reason="there are no such limits on Windows")


class Evil(nn.Module):
    """Writes a file, reads another and says how long it is: `what` is the first pixel."""

    def __init__(self, target: str, secret: str) -> None:
        super().__init__()
        self.target = target
        self.secret = secret

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x[0, 0, 0, 0] > 1.5:
            return torch.from_file(self.secret, shared=False, size=4, dtype=torch.uint8).float().reshape(1, 1, 2, 2)
        if x[0, 0, 0, 0] > 0.5:
            torch.save(x, self.target)
        return x


def written(network, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(network, path)
    return path


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1), nn.Sigmoid())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.jit.trace(network.eval(), torch.zeros(1, 2, 32, 32))
    path = written(program, tmp_path_factory.mktemp("script") / "tiny.pt")
    model = nu.load_model(path, trust=True)
    yield model, network, path
    model.network.program.close()


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evil")
    secret, target = folder / "secret.txt", folder / "written"
    secret.write_text("a secret")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.jit.script(Evil(str(target), str(secret)))
    return written(program, folder / "evil.pt"), target


@pytest.fixture(scope="module")
def evil_program(evil):
    content = evil[0].read_bytes()
    program = Program("evil.pt", "torchscript", lambda: content, hashlib.sha256(content).hexdigest())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_TOKEN", "x")
        assert program.facts["kernel"] is None
    yield program
    program.close()


def test_it_is_asked_before_it_runs(traced):
    with pytest.raises(UnansweredError, match="can run programs on your computer") as caught:
        nu.load_model(traced[2])
    assert [question.keyword for question in caught.value.questions] == ["trust"]
    for answer in (False, 1, "yes"):
        with pytest.raises(UnansweredError, match="trust=True"):
            nu.load_model(traced[2], trust=answer)


def test_trusted_it_gives_what_its_author_gets(traced):
    model, network, _ = traced
    assert (model.spec.network.variant, model.spec.network.in_channels) == ("torchscript", 2)
    assert model.activation == "sigmoid"
    image = torch.randn(1, 2, 30, 44)
    found = torch.sigmoid(model.network.on_grid(image))
    assert torch.allclose(found, network(image), atol=1e-5)


def test_it_predicts(traced):
    model, _, _ = traced
    found = nu.predict(model, np.random.default_rng(0).uniform(size=(2, 50, 60)), "CYX", tile=32)
    assert found.shape == (1, 50, 60)


def test_a_malicious_file_does_not_run_without_trust(evil):
    path, target = evil
    with pytest.raises(UnansweredError, match="evil"):
        nu.load_model(path)
    assert not target.exists()


@posix
def test_the_malicious_file_is_one(evil):
    path, target = evil
    image = np.ones((1, 1, 8, 8), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.load(path)(torch.from_numpy(image))
    assert target.exists()
    target.unlink()


@posix
def test_isolated_it_cannot_write_a_file(evil_program, evil):
    with contextlib.suppress(ModelError):  # whether the network notices is its own affair
        evil_program.run(np.ones((1, 1, 8, 8), np.float32))
    assert not evil[1].exists()


@posix
def test_isolated_it_cannot_read_a_file(evil_program):
    with pytest.raises(ModelError, match="unable to open file"):
        evil_program.run(np.full((1, 1, 8, 8), 2, np.float32))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into /proc")
def test_isolated_it_knows_nothing_of_the_environment(evil_program):
    proc = Path("/proc") / str(evil_program.pid)
    environment = (proc / "environ").read_bytes()
    assert b"SECRET_TOKEN" not in environment
    folder = (proc / "cwd").resolve()
    assert folder != Path.cwd()
    assert list(folder.iterdir()) == []
    limits = (proc / "limits").read_text()
    assert "Max file size             0 " in limits
    evil_program.close()
    assert not folder.exists()


PARENT = """
import sys, time
from napari_unet.weights.isolated.client import Program
import hashlib
content = open(sys.argv[1], "rb").read()
program = Program("x", "onnx", lambda: content, hashlib.sha256(content).hexdigest())
program.facts
print(program.pid, flush=True)
time.sleep(60)
"""


@posix
def test_the_process_ends_when_its_parent_is_killed(tmp_path):
    from onnx_writer import save, tiny_unet

    path = save(tiny_unet()[0], tmp_path / "x.onnx")
    with subprocess.Popen([sys.executable, "-c", PARENT, str(path)], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
    for _ in range(60):
        status = Path(f"/proc/{pid}/status")
        if not status.exists() or "Z (zombie)" in status.read_text():
            return
        time.sleep(0.05)
    pytest.fail("the process outlived its parent")


def test_damaged_programs_get_a_sentence(traced, tmp_path):
    content = bytearray(traced[2].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 50] = bytes(50)
    path = tmp_path / "broken.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.pt.*is damaged"):
        nu.load_model(path, trust=True)


def test_other_answers_are_refused_before_anything_runs(traced):
    with pytest.raises(ModelError, match="leaves nothing of that kind open"):
        nu.load_model(traced[2], trust=True, partial=True)


def test_bytes_are_what_was_saved(traced):
    content = BytesIO(traced[2].read_bytes())
    assert hashlib.sha256(content.getvalue()).hexdigest() == traced[0].network.geometry.sha256
