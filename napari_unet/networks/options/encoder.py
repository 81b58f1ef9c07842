"""Options of U-Nets whose encoder is known from image classification."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from napari_unet.networks.encoders.plans import ENCODERS, EncoderPlan, MobilePlan
from napari_unet.networks.options.base import BlockOptions
from napari_unet.networks.outline import Link, Outline, Stage, StageKind

DECODER_CHANNELS = (256, 128, 64, 32, 16)


class EncoderUNetOptions(BlockOptions):
    """Options of U-Nets and UNet++ with an encoder known from image classification.

    The options of blocks (kernel, norm, activation and so on) are those of the decoder; the
    encoder is as it was published.

    Attributes
    ----------
    encoder : str
        A name in `napari_unet.networks.encoders.plans.ENCODERS`, such as "resnet34".
    depth : int
        How often the resolution is halved.
    width : int, optional
        Channels after the first convolution of the encoder, all others in proportion; by default
        as published.
    decoder_channels : tuple of int, optional
        Channels of each level of the decoder, from the deepest to full resolution.
    nested : bool
        UNet++ instead of U-Net.
    up : "nearest" | "linear"
        Interpolation between levels.
    attention : bool
        Whether levels of the decoder begin and end by weighing channels and pixels (scSE). It looks
        at the whole input, so that tiles cannot be exact.
    excitation : bool
        Whether an encoder with squeeze-and-excitation has it. It looks at the whole input, so that
        tiles cannot be exact.
    padding : "exact" | "even"
        How an EfficientNet that pads like TensorFlow does so: as computed for the published image
        size at each level, or as for an even size at all, which older code did.
    """

    encoder: str = "resnet34"
    depth: int = Field(default=5, ge=3, le=5)
    width: int | None = Field(default=None, ge=1)
    decoder_channels: tuple[PositiveInt, ...] | None = None
    nested: bool = False
    up: Literal["nearest", "linear"] = "nearest"
    attention: bool = False
    excitation: bool = True
    padding: Literal["exact", "even"] = "exact"

    @model_validator(mode="after")
    def _parts_exist(self) -> Self:
        if self.encoder not in ENCODERS:
            message = f"there is no encoder {self.encoder}; choose one of {', '.join(ENCODERS)}"
            raise ValueError(message)
        if self.decoder_channels is not None and len(self.decoder_channels) != self.depth:
            message = f"depth {self.depth} needs {self.depth} decoder_channels, not {len(self.decoder_channels)}"
            raise ValueError(message)
        if self.dims == 3:
            message = "encoders of image classification are for planes"
            raise ValueError(message)
        self.check_groups(self.up_channels)
        return self

    @property
    def plan(self) -> EncoderPlan:
        """What the encoder is made of."""
        plan = ENCODERS[self.encoder]
        plan = plan if self.width is None else plan.scaled(self.width)
        if isinstance(plan, MobilePlan) and self.padding == "even":
            plan = replace(plan, halves=False)
        return plan if self.excitation else plan.local()

    @property
    def up_channels(self) -> tuple[int, ...]:
        """Channels of each level of the decoder, from the deepest to full resolution."""
        if self.decoder_channels is not None:
            return self.decoder_channels
        factor = 1 if self.width is None else self.width / ENCODERS[self.encoder].width
        return tuple(max(1, round(channels * factor)) for channels in DECODER_CHANNELS[: self.depth])

    @property
    def features(self) -> tuple[int, ...]:
        """Channels that the decoder is given, from the deepest level to that of half resolution."""
        plan = self.plan
        return tuple(reversed(plan.features[1 - plan.top : self.depth + 1 - plan.top]))

    @property
    def centre(self) -> bool:
        """Whether a block follows the encoder, as it does after VGG, which ends in a pooling."""
        return self.plan.top == 0 and not self.nested

    @property
    def stride(self) -> int:
        """Total down-sampling."""
        return int(2**self.depth)

    @property
    def local(self) -> bool:
        """Whether an output pixel depends on a neighbourhood only (in evaluation mode)."""
        return super().local and not self.attention and not self.plan.squeezes

    @property
    def smallest(self) -> int:
        """The smallest side of an input."""
        # Instance normalization cannot work on a single pixel.
        return self.stride * (2 if self.norm == "instance" else 1)

    def thin(self) -> Self:
        """Return options of a network with the same receptive field that is quick to compute."""
        return self.model_copy(
            update={
                "width": 1,
                "decoder_channels": (1,) * self.depth,
                "norm": "none",
                "attention": False,
                "excitation": False,
            }
        )

    def node_inputs(self, column: int, step: int) -> tuple[int, int]:
        """Channels that a node of UNet++ is given from below and from the side; see `nodes`."""
        sides = (*self.features[1:], 0)
        from_encoder = column > 0 or step == 0
        below = self.features[step] if from_encoder else self.up_channels[step - 1]
        return below, sides[step] * (step + 1 - column)

    def node_channels(self, column: int, step: int) -> int:
        """Channels that leave a node of UNet++; see `nodes`."""
        return self.features[step + 1] if column else self.up_channels[step]

    @property
    def nodes(self) -> tuple[tuple[int, int], ...]:
        """Nodes of UNet++ in an order in which they can be computed.

        Node (first, step) enlarges node (first, step - 1), or the encoder's features number `first`
        from the deepest where step is first. It joins with that the nodes (first + 1, step) to
        (step, step) and the encoder's features number step + 1. The last node joins nothing.
        """
        last = self.depth - 1
        inner = [(first, first + n) for n in range(last) for first in range(last - n)]
        return (*inner, (0, last))

    def outline(self, in_channels: int, out_channels: int) -> Outline:
        """Return what the picture of the network shows."""
        plan = self.plan
        stages, links, before = [Stage("input", "input", 0, 0, in_channels, 0)], [], "input"
        for level in range(plan.top, self.depth + 1):
            kind: StageKind = "bottom" if level == self.depth else "encoder"
            convs = plan.convs[level - plan.top] + (2 if self.centre and level == self.depth else 0)
            stages.append(
                Stage(f"encoder {level}", kind, level + 1, level, plan.features[level - plan.top], max(1, convs))
            )
            links.append(Link(before, f"encoder {level}", "down" if level else "next"))
            before = f"encoder {level}"
        nodes, joins = self._nested_outline() if self.nested else self._plain_outline()
        head = Stage("logits", "head", nodes[-1].column + 1, 0, out_channels, 1)
        links += [*joins, Link(nodes[-1].name, "logits", "next")]
        return Outline((*stages, *nodes, head), tuple(links), self._legend())

    def _plain_outline(self) -> tuple[list[Stage], list[Link]]:
        stages, links, before = [], [], f"encoder {self.depth}"
        for step, channels in enumerate(self.up_channels):
            level = self.depth - 1 - step
            name = f"decoder {level}"
            stages.append(Stage(name, "decoder", self.depth + 2 + step, level, channels, 2))
            links.append(Link(before, name, "up"))
            if level:
                links.append(Link(f"encoder {level}", name, "skip"))
            before = name
        return stages, links

    def _nested_outline(self) -> tuple[list[Stage], list[Link]]:
        stages, links = [], []
        for first, step in self.nodes:
            level, name = self.depth - 1 - step, f"node {first}.{step}"
            place = level + 1 + 2 * (step - first + 1)
            kind: StageKind = "dense" if first else "decoder"
            stages.append(Stage(name, kind, place, level, self.node_channels(first, step), 2))
            below = f"encoder {self.depth - first}" if step == first else f"node {first}.{step - 1}"
            links.append(Link(below, name, "up"))
            if level:
                links.append(Link(f"encoder {level}", name, "skip"))
                links += [Link(f"node {other}.{step}", name, "skip") for other in range(first + 1, step + 1)]
        return stages, links

    def _legend(self) -> dict[str, str]:
        mode = "nearest-neighbour" if self.up == "nearest" else "linear"
        return {
            "down": f"the stages of {self.encoder}",
            "up": f"{mode} interpolation",
            "skip": "joined by concatenation" + (", weighed by scSE" if self.attention else ""),
        }
