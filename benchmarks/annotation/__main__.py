"""A scripted annotator plays the user: it corrects a few images, a model is fine-tuned, and others are measured.

    python -m benchmarks.annotation --data FOLDER [--base nuclei-fluorescence] [--report train|test] [--out FOLDER]
        [--kinds colour bright membrane] [--k 1 3 5 10] [--amounts whole window-128 window-256 strokes]
        [--seconds 30 120 600] [--seeds 0 1 2] [--arms unchanged otsu forest scratch ours forgetting ours-2.5d]
        [--threads 1]

Needs ``pip install "napari-unet[benchmarks]"``. FOLDER holds ``nuclei/train|test/fluo|colour|bright/images|labels``
and ``em_membrane``. Settings are chosen with ``--report train``, where a third of the training images is measured on
and never corrected; ``--report test`` corrects training images and measures on test images. All arms get the same
corrections. Budgets are seconds of CPU time of this process, which a busy machine does not falsify. Each cell is
kept in a file of its own under ``--out``: the same command goes on where it was interrupted, also side by side with
others. Files of cells that are to be measured again have to be removed. At the end ``results.json``, ``results.md``
and a plot for each kind are written.

Arms: the base model unchanged; Otsu's threshold and a watershed, tuned on the corrections; a random forest on features
of several scales; the network of the base model from random weights; the base model fine-tuned ("ours"), and
fine-tuned on the corrections alone ("forgetting"); for membranes also fine-tuned while it is shown the sections before
and behind, too ("ours-2.5d"), within the stack of training or of test sections.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

import napari_unet as nu
from benchmarks.annotation.annotator import AMOUNTS
from benchmarks.annotation.cells import ARMS, all_cells, keep, kept, read
from benchmarks.annotation.measuring import Bench
from benchmarks.annotation.report import write


def main() -> None:
    """Measure what is not yet known, then write tables and plots."""
    args = parsed()
    torch.set_num_threads(args.threads)
    names = ("seeds", "kinds", "ks", "amounts", "seconds", "arms")
    cells = all_cells(args.report, {name: getattr(args, name) for name in names})
    bench = Bench(args.data, nu.load_model(args.base))
    for number, cell in enumerate(cells, start=1):
        if read(args.out / "cells", cell) is None:
            found = bench.measure(cell)
            keep(args.out / "cells", cell, {**found, "base": args.base, "threads": args.threads})
            print(f"{number}/{len(cells)} {cell.name}: {json.dumps(found['scores'])}", flush=True)
    print(write(kept(args.out / "cells"), args.out))


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", default="nuclei-fluorescence", help="name or file of the model to start from")
    parser.add_argument("--report", choices=("train", "test"), default="train")
    parser.add_argument("--out", type=Path, default=Path("annotation-results"))
    kinds = ("fluo", "colour", "bright", "membrane")
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=["colour", "bright", "membrane"])
    parser.add_argument("--k", dest="ks", nargs="+", type=int, default=[1, 3, 5, 10])
    parser.add_argument("--amounts", nargs="+", choices=AMOUNTS, default=["whole"])
    parser.add_argument("--seconds", nargs="+", type=float, default=[120.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
