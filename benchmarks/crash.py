"""Viewers that paint are killed at random moments; what they had called saved must be there.

    python benchmarks/crash.py [--kills 200] [--seed 0] [--chain 5] [--json FILE]

Each viewer is a real one (see `painting_viewer.py`) and works on the project that the one before it left behind,
which it has to recover first. Killed are also viewers that are starting, recovering, making snapshots or
exporting masks. Needs a display, or ``xvfb-run -a``, and an operating system that can fork.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import tifffile

from napari_unet.session.project import Project, ProjectFile, open_project
from napari_unet.session.recovery import Restored, restore
from napari_unet.session.snapshots import read_snapshots

START_S = 90.0


@dataclass
class Ledger:
    """What a viewer wrote down."""

    start: int | None = None
    sums: dict[int, int] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    done: dict[int, float] = field(default_factory=dict)
    reviewed: dict[int, set[int]] = field(default_factory=dict)
    saved: int = 0

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Read all whole lines."""
        found = cls()
        for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
            word, *rest = line.split()
            if not line.endswith("\n"):
                break
            if word == "start":
                found.start = found.sums[0] = int(rest[0])
            elif word == "next":
                found.sums[int(rest[0])], found.kinds[int(rest[0])] = int(rest[2]), rest[1]
            elif word == "done":
                number = int(rest[0])
                found.done.setdefault(number, float(rest[1]))
                found.reviewed.setdefault(number, set()).add(int(rest[2]))
            elif word == "saved":
                found.saved = int(rest[0])
        return found


@dataclass
class Outcome:
    """What is counted."""

    kills: int = 0
    edits: int = 0
    acknowledged: int = 0
    before_painting: int = 0
    lost_acknowledged: int = 0
    lost_unacknowledged: int = 0
    longest_lost_s: float = 0.0
    unreadable: int = 0
    strange: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong."""
        return not (self.lost_acknowledged or self.unreadable or self.strange) and self.longest_lost_s <= 2


def checksum(array: np.ndarray) -> int:
    """Return the checksum of an array's values."""
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8))


def kill_one(forks: subprocess.Popen[str], folder: Path, seed: int) -> tuple[Ledger, float]:
    """Let a viewer work in a folder, kill it, and return what it wrote down and when it was killed."""
    rng = random.Random(seed)
    ledger = folder / "ledger"
    ledger.unlink(missing_ok=True)
    forks.stdin.write(f"{folder} {seed}\n")
    forks.stdin.flush()
    child = int(forks.stdout.readline())
    if rng.random() < 0.15:  # while it starts, or recovers
        time.sleep(rng.uniform(0.1, 4))
    else:
        until = time.monotonic() + START_S
        while not (ledger.exists() and "start" in ledger.read_text()):
            if time.monotonic() > until or not alive(child):
                raise SystemExit(f"The viewer did not start:\n{(folder / 'log').read_text()[-3000:]}")
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 4))
    if not alive(child):
        raise SystemExit(f"The viewer ended by itself:\n{(folder / 'log').read_text()[-3000:]}")
    os.kill(child, signal.SIGKILL)
    killed = time.time()
    while alive(child):
        time.sleep(0.002)
    return Ledger.read(ledger), killed


def alive(process: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def recovered(folder: Path, outcome: Outcome) -> Restored | None:
    """Open the project as the next viewer would, and read all that is in it."""
    paths = list((folder / "home").rglob("project.json"))
    if not paths:
        return None
    (path,) = (path for path in paths if "earlier" not in path.parts)
    os.environ["NAPARI_UNET_HOME"] = str(folder / "home")
    project: Project = open_project(ProjectFile.model_validate_json(path.read_text()).image, path.parent)
    assert project.writable, project.obstacle
    try:
        for snapshot in read_snapshots(project.snapshots):
            for key in snapshot.layers:
                snapshot.load(key)
        found = restore(project)
        outcome.unreadable += len(found.remarks)
        outcome.remarks += found.remarks
        masks = folder / "masks.tif"
        if masks.exists():
            assert tifffile.imread(masks).ndim == 3
    except Exception as error:
        outcome.unreadable += 1
        outcome.remarks.append(repr(error))
        return None
    finally:
        project.close(clean=False)
    return found


def judge(ledger: Ledger, found: Restored | None, killed: float, outcome: Outcome) -> int | None:
    """Compare what was recovered with what was written down; return the checksum of the layer."""
    outcome.kills += 1
    outcome.edits += len(ledger.done)
    outcome.acknowledged += ledger.saved
    if ledger.start is None:
        outcome.before_painting += 1
    if found is None or "correction" not in found.layers:
        outcome.lost_acknowledged += ledger.saved
        return None
    there = checksum(found.layers["correction"].array)
    if ledger.start is None:
        return there
    states = [number for number, known in ledger.sums.items() if known == there]
    if not states:
        outcome.strange += 1
        outcome.remarks.append(f"the layer is as it never was; the last edits: {list(ledger.kinds.values())[-5:]}")
        return there
    state = max(states)
    outcome.lost_acknowledged += max(0, ledger.saved - state)
    lost = [number for number in ledger.done if number > state]
    outcome.lost_unacknowledged += len(lost)
    if lost:
        outcome.longest_lost_s = max(outcome.longest_lost_s, killed - ledger.done[min(lost)])
    if "reviewed" not in found.layers:
        outcome.lost_acknowledged += ledger.saved
        return there
    marks = checksum(found.layers["reviewed"].array)
    known = set().union(*(sums for number, sums in ledger.reviewed.items() if number >= ledger.saved), set())
    last = max(ledger.done, default=0)
    if ledger.saved and marks not in known and state < last:
        outcome.strange += 1
        outcome.remarks.append("the reviewed region is as it never was")
    return there


def run(kills: int, seed: int, chain: int, keep: Path | None = None) -> Outcome:
    """Kill viewers, some of them after one another in the same project."""
    outcome = Outcome()
    painter = Path(__file__).with_name("painting_viewer.py")
    forks = subprocess.Popen([sys.executable, str(painter)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        for first in range(0, kills, chain):
            with tempfile.TemporaryDirectory(prefix="napari-unet-crash-") as name:
                before: int | None = None
                for number in range(first, min(kills, first + chain)):
                    ledger, killed = kill_one(forks, Path(name), 1000 * seed + number)
                    if before is not None and ledger.start not in {None, before}:
                        outcome.strange += 1
                        outcome.remarks.append("the viewer went on with something else than was recovered")
                    wrong = len(outcome.remarks)
                    before = judge(ledger, recovered(Path(name), outcome), killed, outcome)
                    if keep is not None and len(outcome.remarks) > wrong:
                        shutil.copytree(name, keep / str(outcome.kills))
            sys.stderr.write(f"{outcome.kills} kills, {outcome.edits} edits, {outcome.remarks[-3:]}\n")
    finally:
        forks.kill()
        forks.wait()
    return outcome


def main() -> None:
    """Kill, count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chain", type=int, default=5, help="kills on each project")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--keep", type=Path, help="keep copies of projects in which something is wrong")
    given = parser.parse_args()
    outcome = run(given.kills, given.seed, given.chain, given.keep)
    figures = asdict(outcome) | {"clean": outcome.clean}
    if given.json:
        given.json.write_text(json.dumps(figures))
    print(json.dumps(figures, indent=1))
    raise SystemExit(not outcome.clean)


if __name__ == "__main__":
    main()
