"""Opening a model: ours, or the weights of other people's code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from napari_unet.errors import ModelError
from napari_unet.networks.registry import build
from napari_unet.weights.bundled import resolve
from napari_unet.weights.changing import change_model
from napari_unet.weights.file import load_tensors
from napari_unet.weights.formats.identify import Kind, identify, locate
from napari_unet.weights.model import Model, check_finite
from napari_unet.weights.report import LoadReport, some

# "module:function" from path and answers to the model, for what is more than weights by names.
OPENERS = {
    Kind.OWN: "napari_unet.weights.loading:load_own",
    Kind.BIOIMAGE: "napari_unet.weights.packages.bioimageio:load_package",
    Kind.NNUNET: "napari_unet.weights.packages.nnunet:load_results",
    Kind.ONNX: "napari_unet.weights.isolated.opening:load_program",
    Kind.TORCHSCRIPT: "napari_unet.weights.isolated.opening:load_program",
}


def load_model(source: str | Path, **answers: Any) -> Model:  # noqa: ANN401
    """Open a model by bundled name, own name, file, folder or package.

    Parameters
    ----------
    source : str or Path
        "nuclei"; a file that `Model.save` wrote; "bioimage.io:affable-shark" and other models of that
        collection, which are downloaded once; or weights from other people's code: PyTorch
        (``.pt``, ``.pth``, ``.ckpt``), ``.safetensors``, Keras (``.h5``, ``.hdf5``, ``.keras``), TensorFlow
        checkpoints, ``.npz``, bioimage.io packages, nnU-Net result folders, ONNX, TorchScript. Which
        network they belong to is told from names and shapes of their tensors; no code of theirs runs.
    **answers
        What a file cannot tell: `join`, `align_corners`, `recurrences` and so on (an error lists those that are
        needed). Also ``activation="none" | "sigmoid" | "softmax"``; ``averaged=True`` for running averages of the
        weights; ``family=`` where several fit; ``partial=True`` to load what fits of an almost known
        network; ``classes=(...)`` for a new head; ``in_channels=`` with ``stem="new" | "sum" | "repeat"``;
        ``trust=True`` to run a TorchScript file, which is a program.

    Returns
    -------
    Model
        `report` says what was recognised, and why.

    Raises
    ------
    UnansweredError
        If something must be answered; it lists the keywords and their values.
    ModelError
        If there is no such model, or the file is something else, damaged or unknown.
    """
    path = locate(resolve(source))
    return _opener(identify(path))(path, answers)


def _opener(kind: Kind) -> Callable[[Path, Mapping[str, Any]], Model]:
    """Find the function that opens a kind of file; what it needs is imported only now."""
    module, function = OPENERS.get(kind, "napari_unet.weights.foreign:load_foreign").split(":")
    opener: Callable[[Path, Mapping[str, Any]], Model] = getattr(import_module(module), function)
    return opener


def load_own(path: Path, answers: Mapping[str, Any]) -> Model:
    """Open a file that `Model.save` wrote."""
    return change_model(_load_own(path), answers)


def _load_own(path: Path) -> Model:
    tensors, spec = load_tensors(path)
    network = build(spec.network)
    expected, found = set(network.state_dict()), set(tensors)
    if expected != found:
        missing, extra = tuple(sorted(expected - found)), tuple(sorted(found - expected))
        raise ModelError(
            f'The weights in "{path.name}" do not belong to the network it describes '
            f"(missing: {some(missing) or 'none'}; unexpected: {some(extra) or 'none'}). If another version of "
            "napari-unet wrote it, open it there; otherwise copy it again."
        )
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(f'The weights in "{path.name}" do not fit the network it describes: {reason}') from error
    check_finite(path, tensors)
    why = "the file describes its network itself"
    report = LoadReport(
        file=path.name, format="napari-unet model", family=spec.network.variant, why=why, used=len(tensors)
    )
    return Model(network.eval(), spec, report)
