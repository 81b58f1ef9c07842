"""Runs in an environment of its own, in which there is no napari-unet: check a package as its zoo does, and run it.

The arguments are the package and an .npz with images by name, each (1, C, [Z,] Y, X). The results are written to a
third file, and what the check found to stdout.
"""

import json
import sys
from functools import partial

import numpy as np
from bioimageio.core import create_prediction_pipeline, load_model_description, test_model
from bioimageio.core.digest_spec import create_sample_for_model


def checked(path):
    """Status of the format, the test tensors and further sizes, and what was not passed."""
    summary = test_model(path)
    faults = [
        {"name": detail.name, "errors": [error.msg for error in detail.errors]}
        for detail in summary.details
        if detail.status != "passed"
    ]
    warned = sorted({".".join(map(str, one.loc)) for detail in summary.details for one in detail.warnings})
    return {"status": summary.status, "checks": len(summary.details), "faults": faults, "warned": warned}


def run(path, images):
    """Results of each image by each format of the weights."""
    description = load_model_description(path)
    found = {}
    for weights in ("torchscript", "onnx"):
        if getattr(description.weights, weights) is None:
            continue
        with create_prediction_pipeline(description, weight_format=weights) as pipeline:
            for name, image in images.items():
                sample = partial(create_sample_for_model, description, inputs={"image": image})
                # else the library mirrors the image at its border, and measures its percentiles with that
                whole = {"skip_input_padding": True, "skip_output_cropping": True}
                found[f"{weights}/{name}"] = result_of(pipeline.predict_sample_without_blocking(sample(), **whole))
                if image.ndim == 4:  # of volumes there would be thousands of tiles
                    found[f"{weights}/{name}/tiles"] = result_of(pipeline.predict_sample_with_blocking(sample(), ns=1))
    return found


def result_of(sample):
    (result,) = sample.members.values()
    return result.data.to_numpy()


if __name__ == "__main__":
    package, given, results = sys.argv[1:]
    report = checked(package)
    np.savez(results, **run(package, dict(np.load(given))))
    sys.stdout.write(json.dumps(report))
