"""Viewers that paint are killed; what they had called saved is there (200 of them: ``benchmarks/crash.py``)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CRASH = Path(__file__).parents[2] / "benchmarks" / "crash.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="viewers are forked")
@pytest.mark.skipif(not CRASH.exists(), reason="only in a checkout")
def test_a_killed_viewer_loses_nothing_that_it_called_saved(tmp_path, qapp):
    figures = tmp_path / "figures.json"
    options = ["--kills=20", "--chain=5", "--together=4", "--life=1.5", "--training=0", "--seed=77"]
    done = subprocess.run(
        [sys.executable, str(CRASH), *options, f"--json={figures}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout
    found = json.loads(figures.read_text())
    assert found["kills"] == 20
    assert found["edits"] > 0
    assert found["during_strokes"] > 0
    assert found["lost_acknowledged"] == found["unreadable"] == found["strange"] == 0
    assert found["longest_lost_s"] <= 2
