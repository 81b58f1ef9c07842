"""What the options of all families share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, Self

from pydantic import Field, model_validator

from napari_unet.networks.outline import Outline
from napari_unet.networks.spec import Config

Norm = Literal["batch", "instance", "group", "none"]
Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "none"]

# In evaluation mode these see no more than the convolutions between them.
LOCAL_NORMS = ("batch", "none")


class NetworkOptions(Config):
    """Options of a family: how its networks are built, and the geometry that follows from it.

    Attributes
    ----------
    dims : 2 | 3
        Planes or volumes.
    """

    dims: Literal[2, 3] = 2

    @property
    @abstractmethod
    def stride(self) -> int:
        """Total down-sampling: tiles start at multiples of it."""

    @property
    @abstractmethod
    def local(self) -> bool:
        """Whether an output pixel depends on a neighbourhood only (in evaluation mode)."""

    @property
    def margin(self) -> int:
        """Pixels by which the output is smaller than the input on each side."""
        return 0

    @property
    def scale(self) -> int:
        """How many pixels the output has for each one of the input, along each axis."""
        return 1

    @property
    def smallest(self) -> int:
        """The smallest side of an input."""
        return self.stride

    @property
    def radius(self) -> int | None:
        """Pixels that it looks beyond a window of the output, where that need not be measured by gradient."""
        return None

    def fitting(self, side: int) -> int:
        """Return the smallest side of at least `side` at which tiling changes nothing."""
        return max(self.smallest, -(-side // self.stride) * self.stride)

    @property
    def strides(self) -> tuple[int, ...]:
        """Total down-sampling along each axis."""
        return (self.stride,) * self.dims

    def fitting_along(self, axis: int, side: int) -> int:
        """Return the same along one axis, 0 being the first one of the plane or volume."""
        stride = self.strides[axis]
        return self.fitting(side) if stride == self.stride else max(1, -(-side // stride)) * stride

    def thin(self) -> Self:
        """Return options of a network that is quick to compute and sees as far along the last axis.

        It may be for planes where this one is for volumes.
        """
        return self

    @abstractmethod
    def outline(self, in_channels: int, out_channels: int) -> Outline:
        """Return what the picture of the network shows."""


class BlockOptions(NetworkOptions):
    """Options of families made of convolution, normalization and activation.

    Attributes
    ----------
    dims : 2 | 3
        Planes or volumes.
    kernel : int
        Side of the kernels, odd.
    order : str
        Of the layers of a unit: c convolution, n normalization, d dropout, a activation.
    bias : bool, optional
        Of the convolutions; by default only where no batch normalization follows.
    norm : "batch" | "instance" | "group" | "none"
        With "instance" and "group" a network sees its whole input at once, so that tiles cannot be exact.
    groups : int
        Of "group"; one group where there are fewer channels than groups.
    own_groups : bool
        Where there are fewer channels than groups, each is a group of its own instead.
    affine : bool
        Whether "instance" has weights.
    eps : float
        Added to the variance.
    activation : "relu" | "leaky_relu" | "elu" | "gelu" | "silu" | "none"
    slope : float
        Of "leaky_relu" below zero.
    unit_dropout : tuple of float
        Probability of the letter d in each unit of a block; the last one repeats.
    """

    kernel: int = Field(default=3, ge=1)
    order: str = "cna"
    bias: bool | None = None
    norm: Norm = "batch"
    groups: int = Field(default=8, ge=1)
    own_groups: bool = False
    affine: bool = True
    eps: float = Field(default=1e-5, gt=0)
    activation: Activation = "relu"
    slope: float = 0.01
    unit_dropout: tuple[float, ...] = (0.0,)

    @model_validator(mode="after")
    def _unit_is_sound(self) -> Self:
        if self.kernel % 2 == 0:
            message = f"kernel must be odd, not {self.kernel}"
            raise ValueError(message)
        check_order(self.order)
        return self

    @property
    def local(self) -> bool:
        """Whether an output pixel depends on a neighbourhood only (in evaluation mode)."""
        return self.norm in LOCAL_NORMS

    @property
    def conv_bias(self) -> bool:
        """Whether convolutions have a bias."""
        if self.bias is not None:
            return self.bias
        after = self.order[self.order.index("c") + 1 :]
        return not (self.norm == "batch" and "n" in after)

    @property
    def unit_in_words(self) -> str:
        """What a unit consists of, such as "convolution 3, batch normalization, relu"."""
        words = {
            "c": f"convolution {self.kernel}",
            "n": f"{self.norm} normalization" if self.norm != "none" else "",
            "d": "dropout" if any(self.unit_dropout) else "",
            "a": self.activation.replace("_", " ") if self.activation != "none" else "",
        }
        return ", ".join(words[letter] for letter in self.order if words[letter])

    def check_groups(self, widths: tuple[int, ...]) -> None:
        """Check that the groups divide all widths that are large enough.

        Raises
        ------
        ValueError
            If they do not.
        """
        if self.norm == "group" and any(width >= self.groups and width % self.groups for width in widths):
            message = f"{self.groups} groups do not divide all of the widths {widths}"
            raise ValueError(message)


def check_order(order: str) -> None:
    """Check the order of the layers of a unit.

    Raises
    ------
    ValueError
        If a letter is unknown or twice there, or there is no convolution.
    """
    if "c" not in order or not set(order) <= set("cnad") or len(set(order)) < len(order):
        message = f'the order of a unit has c once and n, a, d at most once, not "{order}"'
        raise ValueError(message)
