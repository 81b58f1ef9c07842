"""A network as other programs run it: alone, on sizes that suit it, and with the output that is wanted."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_unet.errors import ExportError
from napari_unet.networks.base import MEAN_OVER
from napari_unet.networks.options.base import NetworkOptions
from napari_unet.networks.variants import FAMILIES, VARIANTS
from napari_unet.weights.model import Model

Output = Literal["logits", "probabilities"]

TOLERANCE = 1e-3
"""How far a program may be from the network, in standard deviations of its output."""
# Numbers of images, and of strides along each axis beyond the smallest size, at which both compute.
TRIALS = ((1, (0, 0, 0)), (2, (1, 3, 5)), (3, (4, 1, 2)))


class Answering(nn.Module):
    """A copy of the network on the processor, which gives an output on the grid of the image.

    What the network loses at the border is mirrored around the image, a finer output is averaged, and
    the activation of the model follows if probabilities are wanted. Flows are left out: other programs cannot follow
    them.

    Parameters
    ----------
    model : Model
        Is not changed.
    output : "logits" | "probabilities"

    Raises
    ------
    ExportError
        If the network is a program of another file.
    """

    def __init__(self, model: Model, output: Output) -> None:
        super().__init__()
        check_network(model)
        self.network = copy.deepcopy(model.network).cpu().float()
        self.geometry: NetworkOptions = model.network.geometry
        self.activation = model.spec.class_activation if output == "probabilities" else "none"
        self.classes = len(model.spec.classes)
        self.in_channels = model.network.in_channels
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """From (N, C, *size) to (N, class, *size)."""
        geometry = self.geometry
        if geometry.margin:
            image = F.pad(image, (geometry.margin,) * 2 * geometry.dims, mode="reflect")
        answer: Tensor = self.network(image)[:, : self.classes]
        if geometry.scale > 1:
            answer = MEAN_OVER[geometry.dims](answer, geometry.scale)
        if self.activation == "softmax":
            return answer.softmax(dim=1)
        return answer.sigmoid() if self.activation == "sigmoid" else answer

    def example(self, count: int, steps: tuple[int, ...]) -> Tensor:
        """Random images: `count` of them, so many strides larger than the smallest along each axis."""
        grown = zip(smallest_sides(self.geometry), self.geometry.strides, steps, strict=False)
        sides = [side + stride * step for side, stride, step in grown]
        return torch.randn((count, self.in_channels, *sides), generator=torch.Generator().manual_seed(count))


def smallest_sides(geometry: NetworkOptions) -> tuple[int, ...]:
    """Return the smallest image that needs no filling up, ([Z,] Y, X); any number of strides may be added.

    >>> from napari_unet.networks.options.unet import UNetOptions
    >>> unpadded = UNetOptions(padding="valid", fit="crop", depth=2)
    >>> smallest_sides(UNetOptions(depth=3)), smallest_sides(unpadded)
    ((8, 8), (24, 24))
    """
    lost = 2 * geometry.margin
    # An image can be mirrored as far as it reaches, but for the pixel at its border.
    least = geometry.margin + 1
    return tuple(geometry.fitting_along(axis, least + lost) - lost for axis in range(geometry.dims))


def check_network(model: Model) -> None:
    """Check that a network has layers that can be written down.

    Raises
    ------
    ExportError
        If it is a program of another file.
    """
    variant = model.spec.network.variant
    if not FAMILIES[VARIANTS[variant].family].buildable:
        raise ExportError(f'A network of the variant "{variant}" cannot be exported: use the file that it came from.')


def compare(kind: str, run: Callable[[Tensor], Tensor], answering: Answering) -> None:
    """Compute with a written program what the network computes, at other sizes than the traced one.

    Parameters
    ----------
    kind : str
        Of the program, for messages.
    run : callable
        From (N, C, *size) to (N, class, *size) float32.
    answering : Answering

    Raises
    ------
    ExportError
        If it computes something else, or nothing.
    """
    for count, steps in TRIALS:
        image = answering.example(count, steps)
        with torch.no_grad():
            wanted = answering(image)
        try:
            found = run(image)
        except Exception as error:  # each library has its own classes, one for each state
            raise ExportError(f"The {kind} file was not kept: it cannot be run: {error}") from error
        what = f"The {kind} file was not kept: for images of {tuple(image.shape[2:])} it"
        if found.shape != wanted.shape:
            raise ExportError(
                f"{what} gives the size {tuple(found.shape[2:])}, and the model {tuple(wanted.shape[2:])}."
            )
        far = float((found - wanted).abs().max())
        if not far <= TOLERANCE * float(wanted.std()) + 1e-6:
            raise ExportError(f"{what} differs from the model by {far:.2g}.")
