"""Runs one prediction to its end, and kills others at random moments; used by `test_resuming`.

    python killed_predictions.py FOLDER SEED SEED ...

The image is in FOLDER/image.npy and the weights in FOLDER/model.safetensors. The complete result is put into
FOLDER/whole.zarr, the others into FOLDER/SEED.zarr.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
import zarr

import napari_unet as nu
from napari_unet.inference import resuming


def predict(folder, name):
    """In a child process, which may be killed."""
    number = os.fork()
    if number:
        return number
    try:
        resuming.PATIENCE_S = 0.0
        model, image = nu.load_model(folder / "model.safetensors"), np.load(folder / "image.npy", mmap_mode="r")
        out = zarr.create_array(folder / name, shape=(3, *image.shape), chunks=(3, 1, 32, 64), dtype="f4")
        nu.predict(model, image, tile=32, out=out)
    finally:
        os._exit(0)


def wait_for_record(folder, name, child):
    """Wait until something has been recorded, or all is done."""
    while not (folder / name / resuming.NAME).exists() and not os.waitpid(child, os.WNOHANG)[0]:
        time.sleep(0.002)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    nu.predict(nu.load_model(folder / "model.safetensors"), np.eye(64))  # the children need not load anything
    child = predict(folder, "whole.zarr")
    wait_for_record(folder, "whole.zarr", child)
    begun = time.perf_counter()
    os.waitpid(child, 0)
    seconds = time.perf_counter() - begun
    for seed in sys.argv[2:]:
        child = predict(folder, f"{seed}.zarr")
        wait_for_record(folder, f"{seed}.zarr", child)
        time.sleep(random.Random(int(seed)).uniform(0, 0.8) * seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
