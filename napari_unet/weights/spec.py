"""The description of a model: everything but the weights. Importing it does not import torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from napari_unet.errors import ModelError
from napari_unet.imaging.config import Normalization
from napari_unet.networks.registry import network_spec, resolve_options
from napari_unet.networks.spec import Config, NetworkSpec
from napari_unet.objects.config import ObjectOptions
from napari_unet.weights.divisions import Division

ClassActivation = Literal["none", "sigmoid", "softmax"]
Activation = Literal["none", "sigmoid", "softmax", "flows"]
Meaning = Literal["instances", "semantic"]

INSTANCE_CLASSES = ("background", "interior", "border")
FLOWS = ("flow y", "flow x")
MOST_SLICES = 9


def _odd(slices: int) -> int:
    if slices % 2 == 0:
        message = "as many slices are shown before as behind, so with the slice itself their number is odd"
        raise ValueError(message)
    return slices


Slices = Annotated[int, Field(ge=1, le=MOST_SLICES), AfterValidator(_odd)]
"""How many slices of a stack a network for planes is shown at once: the one that it labels, and its neighbours."""


class Provenance(Config):
    """Where a model comes from."""

    trained_on: str = ""
    source: str = ""
    license: str = ""
    created: str = ""
    parent_sha256: str = ""
    version: str = ""
    notes: str = ""


class ModelSpec(Config):
    """What a model expects and gives.

    Attributes
    ----------
    name : str
        For people.
    network : NetworkSpec
        How to build the network.
    dims : 2 | 3
        Whether it sees planes or volumes.
    classes : tuple of str
        One name an output channel that is a class; the first is the background (but see `activation`).
    meaning : "instances" | "semantic"
        "instances": background, interior and border, to be turned into objects by a seeded
        watershed, or by flows. "semantic": one label a class.
    activation : "none" | "sigmoid" | "softmax" | "flows"
        From logits to probabilities. With "sigmoid" there is no background channel. "flows" is a softmax of background,
        interior and border, and a sigmoid of two more outputs, `FLOWS`: how far a pixel moves along Y and X towards the
        middle of its object in one step, from 0 for -1 pixel to 1 for 1 pixel, so that they are kept as probabilities
        are. Where they lead makes objects, in place of the watershed (see `napari_unet.objects.following`).
    normalization : Normalization
        From pixel values to network input.
    objects : ObjectOptions
        Defaults for turning probabilities into labels; the smallest size is meant for objects of `diameter_px`.
    slices : int
        1, or for a network of planes up to 9, odd: it is shown the slices before and behind the one that it labels as
        further channels, all channels of the first slice, then those of the next. Where there is none, the nearest
        slice is repeated.
    channel_names : tuple of str
        What the channels of the image are, if known.
    pixel_size_um : float, optional
        Size of a pixel in the plane that it was trained at.
    diameter_px : float, optional
        Typical diameter of the objects that it was trained on.
    patch_px : tuple of int
        Sides ([Z,] Y, X) of the patches that it was trained on; empty if they are not known. Networks that see all
        of their input at once are shown windows of this size.
    replay : tuple of str
        Names of the replay sets that come with the package and show what it knows; see `napari_unet.training.replay`.
    split : tuple of Division
        How each image that it or an ancestor was fine-tuned on was divided into what was learnt from and what was held
        out: later fine-tunings keep to it.
    provenance : Provenance
        Where it comes from.
    trained : bool
        False as long as its weights are random.
    """

    name: str
    network: NetworkSpec
    dims: Literal[2, 3] = 2
    classes: tuple[str, ...] = INSTANCE_CLASSES
    meaning: Meaning = "instances"
    activation: Activation = "softmax"
    normalization: Normalization = Normalization()
    objects: ObjectOptions = ObjectOptions()
    slices: Slices = 1
    channel_names: tuple[str, ...] = ()
    pixel_size_um: float | None = Field(default=None, gt=0)
    diameter_px: float | None = Field(default=None, gt=0)
    patch_px: tuple[PositiveInt, ...] = ()
    replay: tuple[str, ...] = ()
    split: tuple[Division, ...] = ()
    provenance: Provenance = Provenance()
    trained: bool = True

    @model_validator(mode="before")
    @classmethod
    def _classes_keep_their_holes(cls, given: Any) -> Any:  # noqa: ANN401
        """Fill no holes of classes by default: membranes enclose cells."""
        if isinstance(given, dict) and given.get("meaning") == "semantic" and "objects" not in given:
            return {**given, "objects": ObjectOptions(fill_holes=False)}
        return given

    @model_validator(mode="after")
    def _classes_are_outputs(self) -> ModelSpec:
        if len(self.outputs) != self.network.out_channels:
            flows = f" and {len(FLOWS)} flows" if self.activation == "flows" else ""
            message = f"{len(self.classes)} class names{flows} for {self.network.out_channels} output channels"
            raise ValueError(message)
        if len(set(self.classes)) < len(self.classes):
            message = f"the class names {self.classes} are not all different"
            raise ValueError(message)
        if self.meaning == "instances" and self.classes != INSTANCE_CLASSES:
            message = f"instances need the classes {INSTANCE_CLASSES}, not {self.classes}"
            raise ValueError(message)
        if self.meaning == "instances" and self.activation == "sigmoid":
            message = 'instances have a background channel, which "sigmoid" has not'
            raise ValueError(message)
        if self.activation == "flows" and (self.meaning, self.dims) != ("instances", 2):
            message = "flows are of objects in planes"
            raise ValueError(message)
        if len(self.patch_px) not in {0, self.dims}:
            message = f"patches of {len(self.patch_px)} dimensions for a network of {self.dims}"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _slices_are_channels(self) -> ModelSpec:
        if self.slices > 1 and self.dims == 3:
            message = (
                f"a network for volumes sees all slices, and {self.slices} neighbouring ones cannot be its channels"
            )
            raise ValueError(message)
        if self.network.in_channels % self.slices:
            message = f"{self.network.in_channels} input channels cannot be those of {self.slices} slices"
            raise ValueError(message)
        return self

    @model_serializer(mode="wrap")
    def _without_single_slices(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what says nothing: so models of single slices are written as they always were."""
        written: dict[str, Any] = write(self)
        if self.slices == 1:
            written.pop("slices", None)
        return written

    @property
    def image_channels(self) -> int:
        """Channels of the image that feed it."""
        return self.network.in_channels // self.slices

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of all output channels: the classes, and flows if it gives them."""
        return (*self.classes, *FLOWS) if self.activation == "flows" else self.classes

    @property
    def class_activation(self) -> ClassActivation:
        """What makes probabilities of the outputs that are classes."""
        return "softmax" if self.activation == "flows" else self.activation

    @property
    def foreground_classes(self) -> tuple[str, ...]:
        """The classes that are not background."""
        return self.classes if self.activation == "sigmoid" or len(self.classes) == 1 else self.classes[1:]

    @property
    def sizing_obstacle(self) -> str:
        """Why it cannot tell how large the objects in an image are; empty if it can."""
        if self.meaning != "instances":
            return f'The model "{self.name}" finds classes, and no single objects.'
        if self.activation == "none":
            return f'The model "{self.name}" gives raw values and no probabilities.'
        if self.diameter_px is None:
            return f'The model "{self.name}" does not know the size of the objects that it was trained on.'
        return ""

    def objects_at(self, diameter_px: float | None) -> ObjectOptions:
        """Return the defaults for objects of another diameter: the smallest size grows and shrinks with them.

        Parameters
        ----------
        diameter_px : float, optional
            Of the objects in an image; None, or a model that does not know its own, leaves the defaults as they are.
        """
        if diameter_px is None or self.diameter_px is None:
            return self.objects
        size = round(self.objects.min_size_px * (diameter_px / self.diameter_px) ** self.dims)
        return self.objects.model_copy(update={"min_size_px": max(1, size)})


def untrained_spec(
    variant: str,
    in_channels: int = 1,
    classes: tuple[str, ...] = INSTANCE_CLASSES,
    slices: int = 1,
    **options: Any,  # noqa: ANN401
) -> ModelSpec:
    """Describe a model with random weights.

    Parameters
    ----------
    variant : str
        One of `napari_unet.variants`.
    in_channels : int
        Channels of the image.
    classes : tuple of str
        The default, background, interior and border, finds objects; any other names are semantic
        classes, the first being the background.
    slices : int
        How many slices of a stack a network for planes is shown at once.
    **options
        Of the variant.

    Raises
    ------
    ModelError
        If the variant or an option does not exist, there are fewer than two classes, or so many slices cannot be shown.
    """
    if len(classes) < 2:
        raise ModelError(f"A model needs a background and at least one more class, and {list(classes)} was given.")
    network = network_spec(variant, in_channels, len(classes), options)
    dims = resolve_options(network).dims
    check_slices(slices, dims)
    return ModelSpec(
        name=f"untrained {variant}",
        network=network.model_copy(update={"in_channels": in_channels * slices}),
        dims=dims,
        classes=tuple(classes),
        meaning="instances" if tuple(classes) == INSTANCE_CLASSES else "semantic",
        slices=slices,
        trained=False,
    )


def check_slices(slices: int, dims: int) -> None:
    """Check that a network can be shown so many slices at once.

    Raises
    ------
    ModelError
        If it cannot.
    """
    if slices not in range(1, MOST_SLICES + 1, 2):
        raise ModelError(
            f"slices={slices!r} was given. Choose an odd number from 1 to {MOST_SLICES}: the slice itself, and as many "
            "before as behind it."
        )
    if slices > 1 and dims == 3:
        raise ModelError(
            "A network for volumes sees all slices as they are, and none beside them. Leave slices out, or choose a "
            "variant for planes."
        )


def changed_spec(spec: ModelSpec, **changes: Any) -> ModelSpec:  # noqa: ANN401
    """Return a description with parts changed, checked as a whole.

    Raises
    ------
    ModelError
        If the parts contradict each other.
    """
    kept = dict(spec)
    if changes.get("meaning", spec.meaning) != spec.meaning:
        del kept["objects"]  # those of objects do not suit classes, and the other way round
    try:
        return ModelSpec.model_validate({**kept, **changes})
    except ValidationError as error:
        reasons = "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())
        raise ModelError(f"The model cannot be described so: {reasons}.") from error
