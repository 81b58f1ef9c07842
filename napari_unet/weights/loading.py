"""Opening a model."""

from __future__ import annotations

from pathlib import Path

import torch

from napari_unet.errors import ModelError
from napari_unet.networks.registry import build
from napari_unet.weights.bundled import resolve
from napari_unet.weights.file import load_tensors
from napari_unet.weights.model import Model


def load_model(source: str | Path) -> Model:
    """Open a model by bundled name, own name or file.

    Parameters
    ----------
    source : str or Path
        "nuclei", or a file that `Model.save` wrote.

    Raises
    ------
    ModelError
        If there is no such model, or the file is something else, damaged or of another version.
    """
    path = resolve(source)
    tensors, spec = load_tensors(path)
    network = build(spec.network)
    expected, found = set(network.state_dict()), set(tensors)
    if expected != found:
        missing, extra = sorted(expected - found), sorted(found - expected)
        raise ModelError(
            f'The weights in "{path.name}" do not belong to the network it describes '
            f"(missing: {missing[:3] or 'none'}, unexpected: {extra[:3] or 'none'}). Save the model again."
        )
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(f'The weights in "{path.name}" do not fit the network it describes: {reason}') from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ModelError(f'The weights in "{path.name}" contain values that are no numbers. Choose another model.')
    return Model(network.eval(), spec)
