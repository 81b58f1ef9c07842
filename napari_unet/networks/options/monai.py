"""Options of the networks that the MONAI library builds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from napari_unet.networks.options.base import NetworkOptions
from napari_unet.networks.options.levels import u_outline
from napari_unet.networks.options.nested import NestedOptions
from napari_unet.networks.outline import Link, Outline, Stage

MonaiName = Literal["UNet", "BasicUNet", "BasicUNetPlusPlus", "DynUNet", "AttentionUnet"]

_BASIC = {"features", "act", "norm", "bias", "dropout", "upsample"}
# What each class may be given; dimensions and channels come from elsewhere.
ARGUMENTS: dict[str, set[str]] = {
    "UNet": {
        "channels", "strides", "kernel_size", "up_kernel_size", "num_res_units", "act", "norm", "dropout", "bias",
        "adn_ordering",
    },
    "BasicUNet": _BASIC,
    "BasicUNetPlusPlus": _BASIC | {"deep_supervision"},
    "DynUNet": {
        "kernel_size", "strides", "upsample_kernel_size", "filters", "dropout", "norm_name", "act_name",
        "deep_supervision", "deep_supr_num", "res_block", "trans_bias",
    },
    "AttentionUnet": {"channels", "strides", "kernel_size", "up_kernel_size", "dropout"},
}  # fmt: skip
REQUIRED: dict[str, set[str]] = {
    "UNet": {"channels", "strides"},
    "BasicUNet": set(),
    "BasicUNetPlusPlus": set(),
    "DynUNet": {"kernel_size", "strides", "upsample_kernel_size"},
    "AttentionUnet": {"channels", "strides"},
}
MOST = 65536
BASIC_FEATURES = (32, 32, 64, 128, 256, 32)


class MonaiOptions(NetworkOptions):
    """Options of the networks that the MONAI library builds.

    Attributes
    ----------
    dims : 2 | 3
        Planes or volumes.
    network : "UNet" | "BasicUNet" | "BasicUNetPlusPlus" | "DynUNet" | "AttentionUnet"
        A class of `monai.networks.nets`.
    arguments : dict
        All arguments of its constructor by name, except for dimensions and channels. They replace those
        of the variant; what is not given has MONAI's default.
    """

    network: MonaiName = "UNet"
    arguments: dict[str, Any] = Field(default_factory=dict)

    @field_validator("arguments")
    @classmethod
    def _no_lists(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """Make a network that was read from JSON equal to the one that was written."""
        return {name: _frozen(value) for name, value in arguments.items()}

    @model_validator(mode="after")
    def _arguments_fit(self) -> Self:
        unknown, known = set(self.arguments) - ARGUMENTS[self.network], sorted(ARGUMENTS[self.network])
        missing = REQUIRED[self.network] - set(self.arguments)
        if unknown:
            message = f"{self.network} has the arguments {', '.join(known)}, not {', '.join(sorted(unknown))}"
            raise ValueError(message)
        if missing:
            message = f"{self.network} needs the arguments {', '.join(sorted(missing))}"
            raise ValueError(message)
        for name in ("channels", "features", "filters", "strides"):
            given = self.arguments.get(name)
            if given is not None and not (isinstance(given, tuple) and given and all(map(_are_sides, given))):
                message = f"{name} must be a list of positive numbers, not {given}"
                raise ValueError(message)
        if any(len(sides) not in {1, self.dims} for sides in self._sides):
            message = f"each of the strides is one number or {self.dims}, not {self.arguments['strides']}"
            raise ValueError(message)
        if self.network == "DynUNet" and any(side != 1 for side in self._sides[0]):
            message = "the first stride of DynUNet must be 1, so that the output is as large as the image"
            raise ValueError(message)
        if self.network in {"UNet", "AttentionUnet"} and len(self._sides) < len(self.arguments["channels"]) - 1:
            message = "strides must be one fewer than channels"
            raise ValueError(message)
        return self

    def __hash__(self) -> int:
        return hash((self.dims, self.network, repr(sorted(self.arguments.items()))))

    @property
    def _sides(self) -> tuple[tuple[int, ...], ...]:
        """Down-sampling (one an axis, or one for all) between levels."""
        strides = self.arguments.get("strides", (2, 2, 2, 2))
        used = len(self.arguments["channels"]) - 1 if "channels" in self.arguments else len(strides)
        return tuple(tuple(side) if isinstance(side, Sequence) else (side,) for side in strides[:used])

    @property
    def _widths(self) -> tuple[int, ...]:
        """Channels of each level, from the top."""
        if self.network in {"UNet", "AttentionUnet"}:
            return tuple(self.arguments["channels"])
        if self.network == "DynUNet":
            most = 320 if self.dims == 3 else 512
            usual = tuple(min(2 ** (5 + level), most) for level in range(len(self._sides)))
            return tuple(self.arguments.get("filters") or usual)[: len(self._sides)]
        return tuple(self.arguments.get("features", BASIC_FEATURES))[:5]

    @property
    def norm(self) -> str:
        """Name of the normalization at the bottom in lower case, "" for none."""
        if self.network == "AttentionUnet":
            return "batch"
        given = self.arguments.get("norm_name" if self.network == "DynUNet" else "norm", "instance")
        name = given if isinstance(given, str) or given is None else given[0]
        return str(name or "").lower()

    @property
    def stride(self) -> int:
        """Total down-sampling along the axis where it is largest."""
        return max(self.strides)

    @property
    def strides(self) -> tuple[int, ...]:
        """Total down-sampling along each axis."""
        totals = [1] * self.dims
        for sides in self._sides:
            factors = sides if len(sides) == self.dims else sides * self.dims
            totals = [total * factor for total, factor in zip(totals, factors, strict=True)]
        return tuple(totals)

    @property
    def local(self) -> bool:
        """Whether an output pixel depends on a neighbourhood only (in evaluation mode)."""
        # MONAI's attention U-Net has instance normalization where it joins; and MONAI interpolates with
        # aligned corners, which depends on the size of the image.
        if self.network == "AttentionUnet" or self.arguments.get("upsample") == "nontrainable":
            return False
        return self.norm in {"batch", ""}

    @property
    def smallest(self) -> int:
        """The smallest side of an input."""
        # Instance normalization cannot work on a single pixel at the bottom.
        return self.stride * (2 if "instance" in self.norm else 1)

    def fitting(self, side: int) -> int:
        """Return the smallest side of at least `side` at which tiling changes nothing."""
        # These two repeat the last pixel of a level where a side is odd.
        if self.network in {"BasicUNet", "BasicUNetPlusPlus"}:
            return max(side, self.smallest)
        return super().fitting(side)

    def thin(self) -> Self:
        """Return options of a network with the same receptive field that is quick to compute."""
        widths = {"UNet": "channels", "AttentionUnet": "channels", "DynUNet": "filters"}.get(self.network, "features")
        count = 6 if widths == "features" else len(self._widths)
        thin: dict[str, Any] = {**self.arguments, widths: (2,) * count}
        if self.network != "AttentionUnet":
            thin["norm_name" if self.network == "DynUNet" else "norm"] = "batch"
        return self.model_copy(update={"arguments": thin})

    def outline(self, in_channels: int, out_channels: int) -> Outline:
        """Return what the picture of the network shows."""
        widths, channels = self._widths, (in_channels, out_channels)
        if self.network == "UNet":
            return self._residual_outline(in_channels, out_channels)
        if self.network == "BasicUNetPlusPlus":
            return NestedOptions(depth=4, widths=widths).outline(in_channels, out_channels)
        convs = (2,) * len(widths)
        down = "max pooling" if self.network == "BasicUNet" else "first convolution with a stride"
        legend = {"down": down, "up": "transposed convolution", "skip": "joined by concatenation"}
        if self.arguments.get("upsample") == "nontrainable":
            legend["up"] = "linear interpolation"
        return u_outline(channels, widths, (convs, convs), legend, gated=self.network == "AttentionUnet")

    def _residual_outline(self, in_channels: int, out_channels: int) -> Outline:
        """Return the outline of MONAI's UNet, which has no block at full resolution."""
        widths, bottom = self._widths, len(self._widths) - 1
        convs = max(1, int(self.arguments.get("num_res_units", 0)))
        stages = [Stage("input", "input", 0, 0, in_channels, 0)]
        links, before = [], "input"
        for level, width in enumerate(widths[:-1], start=1):
            stages.append(Stage(f"encoder {level}", "encoder", level, level, width, convs))
            links.append(Link(before, f"encoder {level}", "down"))
            before = f"encoder {level}"
        stages.append(Stage("bottom", "bottom", bottom + 1, bottom, widths[-1], convs))
        links.append(Link(before, "bottom", "next"))
        before = "bottom"
        for level in reversed(range(1, bottom)):
            name = f"decoder {level}"
            stages.append(Stage(name, "decoder", 2 * bottom + 1 - level, level, widths[level - 1], 1))
            links += [Link(before, name, "up"), Link(f"encoder {level + 1}", name, "skip")]
            before = name
        stages.append(Stage("logits", "head", 2 * bottom + 1, 0, out_channels, 1))
        links += [Link(before, "logits", "up"), Link("encoder 1", "logits", "skip")]
        legend = {
            "down": "convolution with a stride",
            "up": "transposed convolution",
            "skip": "joined by concatenation before up-sampling",
        }
        return Outline(tuple(stages), tuple(links), legend)


def _frozen(value: Any) -> Any:  # noqa: ANN401  # whatever MONAI takes
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value


def _are_sides(value: Any) -> bool:  # noqa: ANN401
    sides = value if isinstance(value, tuple) else (value,)
    return bool(sides) and all(isinstance(side, int) and 0 < side <= MOST for side in sides)
