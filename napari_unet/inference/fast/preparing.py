"""From a model and an image to a fast mode that can be trusted on it, or to a sentence that says why not."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from napari_unet.errors import FastModeError
from napari_unet.events import Event, Notice, Progress
from napari_unet.inference.devices import describe_device
from napari_unet.inference.engines.base import Engine, Read
from napari_unet.inference.exact.intervals import Window
from napari_unet.inference.fast.engine import FastEngine, frame_patch
from napari_unet.inference.fast.judging import Change, measure_change
from napari_unet.inference.fast.library import load_library
from napari_unet.inference.fast.quantizing import FastNetwork, quantize
from napari_unet.inference.fast.sampling import MEASURING, SIDE_PX, Places, draw_samples
from napari_unet.networks.base import Network
from napari_unet.networks.registry import is_buildable
from napari_unet.weights.model import Model

# An image this many times larger than what the change is measured on is done sooner in the fast mode.
WORTHWHILE = 4
STAGE = "Preparing the fast mode"

# The integers made last of each network: the next image need not wait for them, if they suit it.
_MADE: WeakKeyDictionary[Network, tuple[object, FastNetwork]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class FastMode:
    """The integers of a network, and what they change on an image."""

    network: FastNetwork
    change: Change


def fast_events(model: Model, exact: Engine, places: Places, wanted_px: int) -> Generator[Event, None, FastMode | None]:
    """Make the integers of a network, and measure on the image what they change.

    Parameters
    ----------
    model : Model
    exact : Engine
        Of the exact mode, for the same planes or volumes.
    places : Places
        What the network will be run on.
    wanted_px : int
        How many pixels of it are wanted.

    Returns
    -------
    FastMode or None
        None where the exact mode should be used. A notice has said which it is, and why.

    Raises
    ------
    FastModeError
        If OpenVINO is not installed.
    """
    load_library()
    try:
        check_suits(model, next(model.network.parameters()).device)
        check_worthwhile(wanted_px, model.spec.dims)
        yield Progress(STAGE, 0, 3)
        samples = draw_samples(places)
        yield Progress(STAGE, 1, 3)
        reads = [(partial(places.read, sample.place), sample.window) for sample in samples.measuring]
        measured = partial(_measured, model=model, exact=exact, reads=reads, size=places.size)
        fast = _remembered(model.network)
        change = None if fast is None else measured(fast)
        if fast is None or change is None or not change.acceptable:
            fast = _made(model.network, samples.calibrating)
            yield Progress(STAGE, 2, 3)
            change = measured(fast)
    except FastModeError as error:
        yield Notice(f"{error} The exact mode is used instead.")
        return None
    yield Progress(STAGE, 3, 3)
    yield Notice(change.sentence)
    return FastMode(fast, change) if change.trusted else None


def check_suits(model: Model, device: torch.device) -> None:
    """Check that a model can be run in the fast mode on a device.

    Raises
    ------
    FastModeError
        If not.
    """
    name = model.spec.name
    if device.type != "cpu":
        raise FastModeError(f"The fast mode is for the CPU, and the network runs on {describe_device(device)}.")
    if not is_buildable(model.spec.network.variant):
        raise FastModeError(f'The fast mode needs to know the layers of a network, and "{name}" is a closed program.')
    if not model.network.local:
        raise FastModeError(
            f'The fast mode is for networks that see a neighbourhood, and "{name}" looks at the whole window at once.'
        )
    if model.activation == "none":
        raise FastModeError(
            f'What the fast mode changes is measured in labels, and "{name}" gives raw values and no probabilities.'
        )


def check_worthwhile(wanted_px: int, dims: int) -> None:
    """Check that there is so much to compute that preparing the fast mode pays.

    Raises
    ------
    FastModeError
        If not.
    """
    if wanted_px < WORTHWHILE * MEASURING * SIDE_PX[dims] ** dims:
        raise FastModeError("So little is to be computed that preparing the fast mode would take longer than it saves.")


def _remembered(network: Network) -> FastNetwork | None:
    """Return what was made of these weights before."""
    found = _MADE.get(network)
    return found[1] if found is not None and found[0] == _state(network) else None


def _made(network: Network, patches: Sequence[Tensor]) -> FastNetwork:
    """Make the integers of a network."""
    fast = quantize(network, [frame_patch(network.geometry, patch) for patch in patches])
    _MADE[network] = (_state(network), fast)
    return fast


def _measured(
    fast: FastNetwork, model: Model, exact: Engine, reads: Sequence[tuple[Read, Window]], size: Sequence[int]
) -> Change:
    engine = FastEngine.of(fast, model, size)
    return measure_change(exact, engine, reads, model.activation)


def _state(network: Network) -> object:
    """Return what changes when the weights do."""
    tensors = (*network.parameters(), *network.buffers())
    return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)  # noqa: SLF001
