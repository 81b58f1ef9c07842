"""A painting program is killed at any moment, and everything that it said was saved is there."""

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from painter import IMAGE, after

from napari_unet.session.project import open_project
from napari_unet.session.recovery import restore

PAINTER = Path(__file__).with_name("painter.py")


def kill_after(folder, seconds):
    """Let the painter work on a project, kill it, and return the last edit that it called saved."""
    with subprocess.Popen(
        [sys.executable, str(PAINTER), str(folder), "2000"], stdout=subprocess.PIPE, text=True
    ) as painter:
        first = painter.stdout.readline()
        assert first.startswith("open"), first
        time.sleep(seconds)
        painter.kill()
        saved = [line for line in painter.stdout if line.startswith("saved ") and line.endswith("\n")]
    return int(saved[-1].split()[1]) if saved else 0


def recovered(folder):
    project = open_project(IMAGE, folder)
    assert project.writable
    assert project.unclean
    found = restore(project)
    project.close(clean=False)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_was_called_saved_is_lost(tmp_path, seed):
    rng = random.Random(seed)
    folder, saved = tmp_path / "image.napari-unet", 0
    for _ in range(5):
        saved = max(saved, kill_after(folder, rng.uniform(0, 0.6)))
        found = recovered(folder)
        assert not (saved and found.remarks)
        assert found.number >= saved
        if "correction" in found.layers:
            assert np.array_equal(found.layers["correction"].array, after(found.number))
        else:
            assert saved == 0
