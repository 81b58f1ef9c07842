"""From a network to one that computes with integers of 8 bits.

Weights become integers channel by channel, features layer by layer, each in the range that it has on
patches of the user's own image. Batch normalization goes into the convolutions beforehand. The first
two convolutions and the last one stay as they are: they cost little, and much of what integers change
is changed there.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from napari_unet.errors import FastModeError
from napari_unet.inference.fast.library import load_library
from napari_unet.networks.base import MEAN_OVER, Network

CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData")
# Memory in use at once, in bytes, for each element of the largest features; measured.
BYTES_IN_USE = 5
# Programs are made for one shape each; so many are kept.
KEPT = 2

Compiled = Any  # openvino.CompiledModel: the package is optional


class Framed(nn.Module):
    """The network on an image that is framed already; a finer output is averaged."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Logits of a framed image (N, C, *size)."""
        logits: Tensor = self.network(image)
        scale = self.network.geometry.scale
        return MEAN_OVER[self.network.dims](logits, scale) if scale > 1 else logits


@dataclass(frozen=True, slots=True)
class FastNetwork:
    """A network of integers, for images of any size that suits it.

    Attributes
    ----------
    model : openvino.Model
    threads : int
        That it computes with.
    """

    model: Any
    threads: int
    _programs: OrderedDict[tuple[int, ...], Compiled] = field(default_factory=OrderedDict, repr=False)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """From framed images (N, C, *size) float32 to logits (N, K, *size of the output) float32.

        Raises
        ------
        FastModeError
            If the network cannot be made for this size.
        """
        program = self._program(tuple(images.shape[1:]))
        return torch.cat([self._one(program, image[None]) for image in images])

    @staticmethod
    def _one(program: Compiled, image: Tensor) -> Tensor:
        found = program([image.contiguous().numpy()], share_inputs=True)
        return torch.from_numpy(found[0])  # a copy already: the program keeps its own memory

    def _program(self, shape: tuple[int, ...]) -> Compiled:
        """Return the program for images of a shape (C, *size); the one used longest ago is dropped."""
        if shape not in self._programs:
            while len(self._programs) >= KEPT:
                self._programs.popitem(last=False)
            self._programs[shape] = _compiled(self.model, shape, self.threads)
        self._programs.move_to_end(shape)
        return self._programs[shape]

    @property
    def bytes_per_pixel(self) -> float:
        """Memory that features take for each pixel that is read."""
        image = self.model.input(0).get_partial_shape()
        pixels = prod(side.get_length() for side in list(image)[2:])
        features = (node for node in self.model.get_ops() if node.get_type_name() in (*CONVOLUTIONS, "Concat"))
        largest = max(prod(side.get_length() for side in node.get_output_partial_shape(0)) for node in features)
        return float(BYTES_IN_USE * largest / pixels)


def quantize(network: Network, patches: Sequence[Tensor], threads: int | None = None) -> FastNetwork:
    """Turn a network into one of integers.

    Parameters
    ----------
    network : Network
        On the CPU.
    patches : sequence of (C, *size) float32
        Of the normalized image, framed, all of one size: ranges are measured on them.
    threads : int, optional
        To compute with; as many as torch takes by default, but a core is left to the viewer.

    Raises
    ------
    FastModeError
        If OpenVINO is not installed, or cannot express the network.
    """
    openvino, nncf = load_library()
    example = patches[0][None]
    with _quiet(nncf):
        try:
            model = _converted(openvino, network, example)
            quantized = nncf.quantize(
                model,
                nncf.Dataset([patch[None].numpy() for patch in patches]),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(patches),
                ignored_scope=nncf.IgnoredScope(names=_kept(model)),
                # Measured on nuclei: narrower ranges than the whole one clip what is brightest and change up to four
                # times as many labels; correcting biases takes most of the time and changes more on most images.
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX,
                    disable_bias_correction=True,
                ),
            )
        except Exception as error:  # both packages raise all kinds
            raise FastModeError(f"OpenVINO cannot turn this network into integers: {_first_line(error)}") from error
    return FastNetwork(quantized, threads or spare_threads())


def spare_threads() -> int:
    """Return how many threads torch takes, but leave a core to the viewer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(torch.get_num_threads(), cores - 1))


def _converted(openvino: Any, network: Network, example: Tensor) -> Any:  # noqa: ANN401  # openvino.Model
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of every choice that depends on the size
        return openvino.convert_model(Framed(network).eval(), example_input=example, input=[tuple(example.shape)])


def _kept(model: Any) -> list[str]:  # noqa: ANN401
    """Names of the convolutions that stay as they are."""
    names = [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() in CONVOLUTIONS]
    return [*names[:2], *names[-1:]]


def _compiled(model: Any, shape: Sequence[int], threads: int) -> Compiled:  # noqa: ANN401
    openvino, _ = load_library()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # the viewer, torch and others share these cores
        "INFERENCE_PRECISION_HINT": "f32",  # of what is not in integers
    }
    try:
        sized = model.clone()
        sized.reshape([1, *shape])
        return openvino.Core().compile_model(sized, "CPU", settings)
    except RuntimeError as error:
        sides = " × ".join(str(n) for n in shape[1:])
        raise FastModeError(
            f"OpenVINO cannot run this network on windows of {sides} pixels: {_first_line(error)}"
        ) from error


@contextlib.contextmanager
def _quiet(nncf: Any) -> Iterator[None]:  # noqa: ANN401
    """Keep progress bars and remarks to ourselves."""
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
