"""Viewers that paint are killed at random moments; what they had called saved must be there.

    python benchmarks/crash.py [--kills 200] [--seed 0] [--chain 5] [--training 0.15] [--together 1] [--json FILE]

Each viewer is a real one (see `painting_viewer.py`) and works on the project that the one before it left behind,
which it has to recover first. Killed are also viewers that are starting, recovering, making snapshots, exporting
masks, or training a model in the background. What was recovered has to be the layer as it was after an edit, or
after a part of the stroke that was being painted. Needs a display, or ``xvfb-run -a``, and a system that can fork.
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
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path

import numpy as np
import tifffile

from napari_unet.session.project import Project, ProjectFile, open_project
from napari_unet.session.recovery import Restored, restore
from napari_unet.session.snapshots import read_snapshots

START_S = 240.0
# Training may begin late where the machine is busy: it goes on at a low priority.
TRAIN_S = 60.0
# So long a background process may go on without its viewer.
ORPHAN_S = 10.0


# The layer after an edit, or after a part of a stroke that goes on: the number of the edit, and of the part.
Step = tuple[int, int]
ENDED = 10**9


@dataclass
class Ledger:
    """What a viewer wrote down."""

    start: int | None = None
    sums: dict[Step, int] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    done: dict[Step, float] = field(default_factory=dict)
    raw: dict[int, tuple[int, list[list[int]]]] = field(default_factory=dict)
    reviewed: dict[int, set[int]] = field(default_factory=dict)
    saved: int = 0
    child: int | None = None
    training: bool = False

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Read all whole lines."""
        found = cls()
        for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
            word, *rest = line.split(maxsplit=3)
            if not line.endswith("\n"):
                break
            found._take(word, rest)
        return found

    def _take(self, word: str, rest: list[str]) -> None:
        number = int(rest[0]) if rest else 0
        if word == "start":
            self.start = self.sums[0, ENDED] = number
        elif word == "part":
            self.sums[number, int(rest[1])] = int(rest[2])
        elif word == "next":
            self.sums[number, ENDED], self.kinds[number] = int(rest[2]), rest[1]
        elif word == "raw":
            self.raw[number] = int(rest[1]), json.loads(rest[2])
        elif word == "drew":
            self.done[number, int(rest[1])] = float(rest[2])
        elif word == "done":
            self.done.setdefault((number, ENDED), float(rest[1]))
            self.reviewed.setdefault(number, set()).add(int(rest[2]))
        elif word == "saved":
            self.saved = number
        elif word == "child":
            self.child = number
        elif word == "training":
            self.training = True

    @property
    def edits(self) -> list[int]:
        """Numbers of all edits that were done."""
        return [number for number, part in self.done if part == ENDED]

    def state(self, array: np.ndarray) -> Step | None:
        """Return the step after which the layer was like this; None if it never was.

        Nobody tells of a write behind napari's back: until that is seen, any part of it may be there.
        """
        there = checksum(array)
        steps = [step for step, known in self.sums.items() if known == there]
        if steps:
            return max(steps)
        number = max(self.raw, default=0)
        if not number or (number, ENDED) in self.done or (number, ENDED) not in self.sums:
            return None
        label, box = self.raw[number]
        whole = array.copy()
        whole[tuple(slice(*part) for part in box)] = label
        return (number - 1, ENDED) if checksum(whole) == self.sums[number, ENDED] else None


@dataclass
class Outcome:
    """What is counted."""

    kills: int = 0
    edits: int = 0
    acknowledged: int = 0
    before_painting: int = 0
    during_strokes: int = 0
    during_training: int = 0
    orphans: int = 0
    lost_acknowledged: int = 0
    lost_unacknowledged: int = 0
    longest_lost_s: float = 0.0
    unreadable: int = 0
    strange: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong."""
        wrong = self.lost_acknowledged or self.unreadable or self.strange or self.orphans
        return not wrong and self.longest_lost_s <= 2


def checksum(array: np.ndarray) -> int:
    """Return the checksum of an array's values."""
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8))


@dataclass(frozen=True)
class Plan:
    """How viewers are killed.

    Attributes
    ----------
    kills : int
    seed : int
    chain : int
        Kills on each project.
    training : float
        Share of the viewers that train a model.
    life_s : float
        How long a viewer paints at most.
    together : int
        Projects that are worked on at the same time.
    keep : Path, optional
        For copies of projects in which something is wrong.
    """

    kills: int
    seed: int
    chain: int
    training: float
    life_s: float
    together: int
    keep: Path | None


class Forks:
    """A process that has napari imported, and forks viewers."""

    def __init__(self) -> None:
        painter = Path(__file__).with_name("painting_viewer.py")
        command = [sys.executable, str(painter)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lock = threading.Lock()

    def viewer(self, folder: Path, seed: int, *, trains: bool) -> int:
        """Start a viewer and return the number of its process."""
        with self._lock:
            self._process.stdin.write(f"{folder} {seed} {int(trains)}\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def kill_one(forks: Forks, folder: Path, seed: int, plan: Plan) -> tuple[Ledger, float]:
    """Let a viewer work in a folder, kill it, and return what it wrote down and when it was killed."""
    rng = random.Random(seed)
    ledger = folder / "ledger"
    ledger.unlink(missing_ok=True)
    trains = rng.random() < plan.training
    child = forks.viewer(folder, seed, trains=trains)
    if not trains and rng.random() < 0.15:  # while it starts, or recovers
        time.sleep(rng.uniform(0.1, plan.life_s))
    else:
        try:
            wait_for("child" if trains else "start", ledger, child)
            if trains and rng.random() < 0.8:
                wait_for("training", ledger, child, TRAIN_S)
        except BaseException:
            if alive(child):
                os.kill(child, signal.SIGKILL)
            raise
        time.sleep(rng.uniform(0, plan.life_s))
    if not alive(child):
        raise SystemExit(f"The viewer ended by itself:\n{(folder / 'log').read_text()[-3000:]}")
    os.kill(child, signal.SIGKILL)
    killed = time.time()
    while alive(child):
        time.sleep(0.002)
    return Ledger.read(ledger), killed


def wait_for(word: str, ledger: Path, child: int, patience_s: float = inf) -> None:
    """Wait until a viewer has written down a word, or for some time only."""
    begun = time.monotonic()
    while not (ledger.exists() and word in ledger.read_text()):
        waited = time.monotonic() - begun
        if waited > START_S or not alive(child):
            raise SystemExit(f"Never came to {word}:\n{(ledger.parent / 'log').read_text()[-3000:]}")
        if waited > patience_s:
            return
        time.sleep(0.02)


def alive(process: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def works(process: int) -> bool:
    """Whether a process is there, and not only its remains, which nobody may have asked for."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        state = ""
    return alive(process) and state != "Z"


def look_for_orphan(ledger: Ledger, outcome: Outcome) -> None:
    """Wait until the background process has ended, which it has to do by itself."""
    if ledger.child is None:
        return
    outcome.during_training += ledger.training
    until = time.monotonic() + ORPHAN_S
    while works(ledger.child):
        if time.monotonic() > until:
            outcome.orphans += 1
            outcome.remarks.append("the background process is still there")
            return
        time.sleep(0.05)


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
    outcome.edits += len(ledger.edits)
    outcome.acknowledged += ledger.saved
    outcome.before_painting += ledger.start is None
    if found is None or "correction" not in found.layers:
        outcome.lost_acknowledged += ledger.saved
        return None
    array = found.layers["correction"].array
    if ledger.start is None:
        return checksum(array)
    outcome.during_strokes += bool(ledger.done) and max(ledger.done)[1] < ENDED
    state = ledger.state(array)
    if state is None:
        outcome.strange += 1
        outcome.remarks.append(f"the layer is as it never was; the last edits: {list(ledger.kinds.values())[-5:]}")
        return checksum(array)
    whole = state[0] if state[1] == ENDED else state[0] - 1
    outcome.lost_acknowledged += max(0, ledger.saved - whole)
    outcome.lost_unacknowledged += sum(number > whole for number in ledger.edits)
    lost = [moment for step, moment in ledger.done.items() if step > state]
    outcome.longest_lost_s = max(outcome.longest_lost_s, killed - min(lost, default=killed))
    judge_reviewed(ledger, found, whole, outcome)
    return checksum(array)


def judge_reviewed(ledger: Ledger, found: Restored, whole: int, outcome: Outcome) -> None:
    """Judge the reviewed region too, of which only what is there after each edit is written down."""
    if "reviewed" not in found.layers:
        outcome.lost_acknowledged += ledger.saved
        return
    marks = checksum(found.layers["reviewed"].array)
    known = set().union(*(sums for number, sums in ledger.reviewed.items() if number >= ledger.saved), set())
    if ledger.saved and marks not in known and whole < max(ledger.edits, default=0):
        outcome.strange += 1
        outcome.remarks.append("the reviewed region is as it never was")


def work_on_one_project(forks: Forks, plan: Plan, first: int, outcome: Outcome, lock: threading.Lock) -> None:
    """Kill viewers after one another in the same project."""
    with tempfile.TemporaryDirectory(prefix="napari-unet-crash-") as name:
        before: int | None = None
        for number in range(first, min(plan.kills, first + plan.chain)):
            ledger, killed = kill_one(forks, Path(name), 1000 * plan.seed + number, plan)
            with lock:
                wrong = len(outcome.remarks)
                look_for_orphan(ledger, outcome)
                if before is not None and ledger.start not in {None, before}:
                    outcome.strange += 1
                    outcome.remarks.append("the viewer went on with something else than was recovered")
                before = judge(ledger, recovered(Path(name), outcome), killed, outcome)
                if plan.keep is not None and len(outcome.remarks) > wrong:
                    shutil.copytree(name, plan.keep / str(outcome.kills))
                sys.stderr.write(f"{outcome.kills} kills, {outcome.edits} edits, {outcome.remarks[-3:]}\n")


def run(plan: Plan) -> Outcome:
    """Kill viewers, some of them after one another in the same project."""
    outcome, forks, lock = Outcome(), Forks(), threading.Lock()
    try:
        with ThreadPoolExecutor(plan.together) as workers:
            firsts = range(0, plan.kills, plan.chain)
            list(workers.map(lambda first: work_on_one_project(forks, plan, first, outcome, lock), firsts))
    finally:
        forks.close()
    return outcome


def main() -> None:
    """Kill, count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chain", type=int, default=5, help="kills on each project")
    parser.add_argument("--training", type=float, default=0.15, help="share of the viewers that train a model")
    parser.add_argument("--life", type=float, default=4, help="seconds that a viewer paints at most")
    parser.add_argument("--together", type=int, default=1, help="projects that are worked on at the same time")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--keep", type=Path, help="keep copies of projects in which something is wrong")
    given = parser.parse_args()
    plan = Plan(given.kills, given.seed, given.chain, given.training, given.life, given.together, given.keep)
    outcome = run(plan)
    figures = asdict(outcome) | {"clean": outcome.clean}
    if given.json:
        given.json.write_text(json.dumps(figures))
    print(json.dumps(figures, indent=1))
    raise SystemExit(not outcome.clean)


if __name__ == "__main__":
    main()
