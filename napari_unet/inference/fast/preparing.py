"""From a model and an image to a fast mode that can be trusted on it, or to a sentence that says why not."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from math import prod
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
from napari_unet.inference.fast.sampling import MEASURING, SIDE_PX, Sample, Source, draw_samples
from napari_unet.networks.base import Network
from napari_unet.networks.registry import is_buildable
from napari_unet.weights.model import Model

# An image this many times larger than what the change is measured on is done sooner in the fast mode.
WORTHWHILE = 4
STAGE = "Preparing the fast mode"

# The integers made last of each network: the next image need not wait for them, if they suit it.
_MADE: WeakKeyDictionary[Network, tuple[object, FastNetwork]] = WeakKeyDictionary()


def fast_events(
    model: Model, exact: Engine, source: Source, places: int, size: Sequence[int]
) -> Generator[Event, None, FastNetwork | None]:
    """Make the integers of a network, and measure on the image what they change.

    Parameters
    ----------
    model : Model
    exact : Engine
        Of the exact mode, for planes or volumes of `size`.
    source : Source
        Gives normalized pixels.
    places : int
        How many planes or volumes will be run.
    size : sequence of int
        ([Z,] Y, X) of each, on the network's grid.

    Returns
    -------
    FastNetwork or None
        None where the exact mode should be used. A notice has said which it is, and why.

    Raises
    ------
    FastModeError
        If OpenVINO is not installed.
    """
    load_library()
    try:
        check_suits(model, next(model.network.parameters()).device)
        check_worthwhile(places, size)
        yield Progress(STAGE, 0, 3)
        samples = draw_samples(source, places, size)
        yield Progress(STAGE, 1, 3)
        reads = [(partial(_read, source, sample), sample.window) for sample in samples.measuring]
        measured = partial(_measured, model=model, exact=exact, reads=reads, size=size)
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
    return fast if change.trusted else None


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


def check_worthwhile(places: int, size: Sequence[int]) -> None:
    """Check that an image is so large that preparing the fast mode pays.

    Raises
    ------
    FastModeError
        If not.
    """
    if places * prod(size) < WORTHWHILE * MEASURING * SIDE_PX[len(size)] ** len(size):
        raise FastModeError("The image is so small that preparing the fast mode would take longer than it saves.")


def _remembered(network: Network) -> FastNetwork | None:
    """Return what was made of these weights before."""
    found = _MADE.get(network)
    return found[1] if found is not None and found[0] == _state(network) else None


def _made(network: Network, samples: Sequence[Sample]) -> FastNetwork:
    """Make the integers of a network."""
    fast = quantize(network, [frame_patch(network.geometry, sample.pixels) for sample in samples])
    _MADE[network] = (_state(network), fast)
    return fast


def _measured(
    fast: FastNetwork, model: Model, exact: Engine, reads: Sequence[tuple[Read, Window]], size: Sequence[int]
) -> Change:
    engine = FastEngine.of(fast, model.network, model.activation, size)
    return measure_change(exact, engine, reads, model.activation)


def _read(source: Source, sample: Sample, window: Window) -> Tensor:
    return source(sample.place, window)[None]


def _state(network: Network) -> object:
    """Return what changes when the weights do."""
    tensors = (*network.parameters(), *network.buffers())
    return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)  # noqa: SLF001
