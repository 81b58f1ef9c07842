"""What correcting costs the hand: ``python benchmarks/repairing --data FOLDER``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from repairing.report import table
from repairing.work import Sample, chosen, repair, segmented


def main() -> None:
    """Repair, verify, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with fluo, colour and bright")
    parser.add_argument("--iou", type=float, default=0.8, help="overlap at which an object counts as right")
    parser.add_argument("--only", nargs="*", help="beginnings of names of images")
    parser.add_argument("--ways", nargs="*", default=["ours", "napari"])
    parser.add_argument("--json", type=Path, help="write what was found to a file")
    options = parser.parse_args()
    rows = []
    for kind, name in chosen(options.data):
        if options.only and not any(name.startswith(part) for part in options.only):
            continue
        sample: Sample = segmented(options.data, kind, name)
        for way in options.ways:
            found = repair(sample, way, options.iou)
            rows += found
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1))
            seconds = sum(row["seconds"] for row in found)
            print(kind, name[:12], way, len(found), f"{seconds:.1f}", file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
