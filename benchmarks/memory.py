"""Peak memory of predicting a large image, from Zarr to Zarr, each way in a process of its own.

    python benchmarks/memory.py [--slices 16 64 256] [--side 8192] [--ways ours] [--width 1] [--where] [--budget MB]

A child process loads what it needs and predicts 64 x 64 pixels to warm up. Then the peak of its resident memory is
reset, and it predicts a plane of side x side pixels of uint16, or a stack of planes of 2048 x 2048. Printed is the peak
beyond what it held after warming up: pixels, features, results and what else is in the way, but not the libraries and
the weights. By default the network has one channel at full resolution, so that its features are small and the way of
tiling counts.

With --where, ours also says where it was when its memory was largest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 2048
CHUNK = 512
CLASSES = ("background", "foreground")


@dataclass(frozen=True)
class Job:
    """What a child process does.

    Attributes
    ----------
    way : str
        A name in `WAYS`.
    source, target : str
        Zarr stores.
    width : int
        Channels of the network at full resolution.
    kind : str
        "float32" or "uint8": what is written.
    where : bool
        Whether to say where the peak was.
    budget_mb : int, optional
        What the features of a strip may take by plan; the default of the package if None.
    """

    way: str
    source: str
    target: str
    width: int
    kind: str
    where: bool
    budget_mb: int | None = None


def main() -> None:
    """Print a line for each image and way."""
    if len(sys.argv) == 3 and sys.argv[1] == "--child":
        print(json.dumps(run(Job(**json.loads(sys.argv[2])))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, nargs="*", default=[16, 64, 256], help="of stacks of 2048 x 2048")
    parser.add_argument("--side", type=int, nargs="*", default=[8192], help="of planes")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--width", type=int, default=1, help="channels of the network at full resolution")
    parser.add_argument("--kinds", nargs="*", default=["float32", "uint8"], help="what ours writes")
    parser.add_argument("--where", action="store_true")
    parser.add_argument("--budget", type=int, metavar="MB", help="what the features of a strip may take by plan")
    parser.add_argument("--folder", help="for the images; a temporary one by default")
    args = parser.parse_args()
    shapes = [(side, side) for side in args.side] + [(count, SIDE, SIDE) for count in args.slices]
    print(f"{'':22} {'way':28} {'extra MB':>9} {'CPU s':>7} {'wall s':>7}  U-Net of {args.width} channels", flush=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for shape in shapes:
            source = make_image(Path(folder) / "image.zarr", shape)
            for way in args.ways:
                for kind in args.kinds if way == "ours" else ["float32"]:
                    job = Job(
                        way, str(source), str(Path(folder) / "out.zarr"), args.width, kind, args.where, args.budget
                    )
                    report(shape, f"{way}, {kind}", in_child(job))


def report(shape: tuple[int, ...], name: str, found: dict[str, Any]) -> None:
    """Print a line."""
    title = " x ".join(map(str, shape))
    if "error" in found:
        print(f"{title:22} {name:28} {found['error']}", flush=True)
        return
    print(f"{title:22} {name:28} {found['extra_mb']:9.0f} {found['cpu_s']:7.1f} {found['wall_s']:7.1f}", flush=True)
    for line in found.get("where", ()):
        print(f"{'':22}   {line}", flush=True)


def make_image(path: Path, shape: tuple[int, ...]) -> Path:
    """Write an image that is large, but quick to make: the same noise again and again."""
    import zarr

    chunks = (1,) * (len(shape) - 2) + (CHUNK, CHUNK)
    array = zarr.create_array(path, shape=shape, chunks=chunks, dtype="u2", overwrite=True)
    rng = np.random.default_rng(0)
    plane = np.tile(rng.gamma(2, 50, (SIDE, SIDE)).astype(np.uint16), (1, -(-shape[-1] // SIDE)))[:, : shape[-1]]
    if len(shape) == 2:
        for row in range(0, shape[0], SIDE):
            array[row : row + SIDE] = plane[: shape[0] - row]
    else:
        for z in range(shape[0]):
            array[z] = plane
    return path


def in_child(job: Job) -> dict[str, Any]:
    """Run in a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps(asdict(job))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:160]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- in the child -------------------------------------------------------------------------------


def run(job: Job) -> dict[str, Any]:
    """Warm up, reset the peak, predict and say what it took."""
    import torch
    import zarr

    import napari_unet as nu

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if job.budget_mb is not None:
        from napari_unet.inference.engines import choosing

        choosing.STRIP_BYTES["cpu"] = job.budget_mb * 10**6
    model = nu.new_model("unet", classes=CLASSES, width=job.width)
    image = zarr.open_array(job.source, mode="r")
    shape, chunks = (len(CLASSES), *image.shape), (len(CLASSES), *image.chunks)
    out = zarr.create_array(job.target, shape=shape, chunks=chunks, dtype=job.kind, overwrite=True)
    way = WAYS[job.way]
    small = np.zeros((len(CLASSES), *(1,) * (image.ndim - 2), 64, 64), job.kind)
    way(model, np.asarray(image[..., :64, :64])[:1] if image.ndim == 3 else np.asarray(image[:64, :64]), small)
    before = status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    watch = Watch() if job.where else None
    cpu, wall = time.process_time(), time.perf_counter()
    way(model, image, out)
    found = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    found["extra_mb"] = status_mb("VmHWM") - before
    return {**found, "where": watch.stop()} if watch else found


def status_mb(field: str) -> float:
    """Read a line of what the kernel knows about this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1000


class Watch:
    """Looks at the memory every 5 ms, and keeps where the main thread was at the largest."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.peak, self.ended = 0.0, threading.Event()
        self.thread = threading.Thread(target=self.look, args=(threading.get_ident(), status_mb("VmRSS")))
        self.thread.start()

    def look(self, main: int, before: float) -> None:
        """Run until ended; note each growth by 20 MB, too."""
        noted = before
        while not self.ended.wait(0.005):
            held = status_mb("VmRSS")
            if held < noted + 20:
                continue
            noted = held
            frames = traceback.extract_stack(sys._current_frames()[main])
            ours = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames if "napari_unet/" in f.filename]
            self.steps.append(f"{held - before:5.0f} MB  {' > '.join(ours[-4:])}  ({frames[-1].name})")

    def stop(self) -> list[str]:
        """Return where the memory grew, the largest last."""
        self.ended.set()
        self.thread.join()
        return self.steps


# --- ways ---------------------------------------------------------------------------------------


def ours(model: Any, image: Any, out: Any) -> None:  # noqa: ANN401
    """From Zarr to Zarr."""
    import napari_unet as nu

    nu.predict(model, image, axes="ZYX"[-image.ndim :], device="cpu", out=out)


def monai(model: Any, image: Any, out: Any) -> None:  # noqa: ANN401
    """Let MONAI blend windows of 256 with Gaussian weights and overlaps of a half; it takes and gives tensors."""
    import torch
    from monai.inferers import sliding_window_inference

    found = []
    with torch.inference_mode():
        for plane in torch.from_numpy(normalized(image))[:, None, None]:
            side = min(256, *plane.shape[-2:])
            blended = sliding_window_inference(
                plane, (side, side), 4, lambda x: model.network(x).softmax(1), overlap=0.5, mode="gaussian"
            )
            found.append(blended[0].numpy())
    write(found, out)


def cellpose(model: Any, image: Any, out: Any) -> None:  # noqa: ANN401
    """Taper as Cellpose does: all tiles of a plane at once, and the results of all planes."""
    import torch
    from peers import tapered

    with torch.inference_mode():
        planes = torch.from_numpy(normalized(image))[:, None, None]
        found = [tapered(lambda x: model.network(x).softmax(1), x, 256, batch=8)[0].numpy() for x in planes]
    write(found, out)


def normalized(image: Any) -> np.ndarray:  # noqa: ANN401
    """Load all planes as float32."""
    planes = np.asarray(image[:], np.float32).reshape(-1, *image.shape[-2:])
    low, high = np.percentile(planes[:: max(1, len(planes) // 4), ::8, ::8], (1, 99.8))
    planes -= low
    planes /= high - low
    return planes


def write(found: list[np.ndarray], out: Any) -> None:  # noqa: ANN401
    """Write planes (K, Y, X)."""
    for z, plane in enumerate(found):
        out[(slice(None), z) if out.ndim == 4 else slice(None)] = plane


WAYS: dict[str, Callable[[Any, Any, Any], None]] = {"ours": ours, "MONAI 0.5": monai, "Cellpose-like": cellpose}


if __name__ == "__main__":
    main()
