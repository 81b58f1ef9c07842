"""All variants by name. Importing this does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from napari_unet.errors import ModelError
from napari_unet.networks.options import UNetOptions
from napari_unet.networks.spec import Config, NetworkSpec

if TYPE_CHECKING:
    from napari_unet.networks.unet import UNet


@dataclass(frozen=True, slots=True)
class Family:
    """Networks that share one class and one set of options."""

    options: type[Config]
    network: str


@dataclass(frozen=True, slots=True)
class Variant:
    """A named U-Net architecture: a family with its own defaults."""

    description: str
    family: Literal["unet"]
    defaults: Mapping[str, Any] = field(default_factory=dict)


FAMILIES: dict[str, Family] = {"unet": Family(UNetOptions, "napari_unet.networks.unet:UNet")}

VARIANTS: dict[str, Variant] = {
    "unet": Variant("U-Net for planes, 32 to 512 channels, batch normalization", "unet"),
    "unet-small": Variant("U-Net for planes, 16 to 256 channels, quick on a laptop", "unet", {"width": 16}),
    "unet-3d": Variant(
        "U-Net for volumes, 16 to 128 channels, batch normalization",
        "unet",
        {"dims": 3, "depth": 3, "width": 16},
    ),
}


def variants() -> dict[str, str]:
    """Names and one-line descriptions of all U-Nets that can be built."""
    return {name: variant.description for name, variant in VARIANTS.items()}


def network_spec(variant: str, in_channels: int, out_channels: int, options: Mapping[str, Any]) -> NetworkSpec:
    """Describe a network.

    Raises
    ------
    ModelError
        If there are no channels.
    """
    if in_channels < 1 or out_channels < 1:
        raise ModelError(
            f"A network needs at least one channel in and one out, and {in_channels} and {out_channels} were given."
        )
    return NetworkSpec(variant=variant, in_channels=in_channels, out_channels=out_channels, options=dict(options))


def resolve_options(spec: NetworkSpec) -> UNetOptions:
    """Check the options of a spec and fill in the variant's defaults.

    Raises
    ------
    ModelError
        If the variant or one of its options does not exist, or options contradict each other.
    """
    if spec.variant not in VARIANTS:
        raise ModelError(f'There is no variant "{spec.variant}". Choose one of: {", ".join(VARIANTS)}.')
    variant = VARIANTS[spec.variant]
    try:
        options = FAMILIES[variant.family].options(**{**variant.defaults, **spec.options})
    except ValidationError as error:
        faults = "; ".join(_fault(e["loc"], e["msg"]) for e in error.errors())
        raise ModelError(f'The options of "{spec.variant}" do not fit: {faults}.') from error
    assert isinstance(options, UNetOptions)
    return options


def _fault(location: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in location)
    return f"{name}: {message}" if name else message


def build(spec: NetworkSpec) -> UNet:
    """Build the network that `spec` describes, with random weights."""
    options = resolve_options(spec)
    module, name = FAMILIES[VARIANTS[spec.variant].family].network.split(":")
    network: UNet = getattr(import_module(module), name)(spec.in_channels, spec.out_channels, options)
    return network


def build_network(variant: str, in_channels: int = 1, out_channels: int = 2, **options: Any) -> UNet:  # noqa: ANN401
    """Build a U-Net by the name of its variant.

    Parameters
    ----------
    variant : str
        One of `variants`.
    in_channels, out_channels : int
        Channels of the image and of the logits.
    **options
        Of the variant's family, for example `napari_unet.networks.options.UNetOptions`.

    Returns
    -------
    torch.nn.Module
        From (N, in_channels, [Z,] Y, X) float32 to logits (N, out_channels, [Z,] Y, X), any size.

    Raises
    ------
    ModelError
        If the variant or an option does not exist.
    """
    return build(network_spec(variant, in_channels, out_channels, options))
