"""Networks by the name of their variant. Importing this does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_unet.errors import ModelError
from napari_unet.networks.options.base import NetworkOptions
from napari_unet.networks.spec import NetworkSpec
from napari_unet.networks.variants import FAMILIES, VARIANTS

if TYPE_CHECKING:
    from napari_unet.networks.base import Network


def variants() -> dict[str, str]:
    """Names and one-line descriptions of all U-Nets that can be built."""
    return {name: variant.description for name, variant in VARIANTS.items() if FAMILIES[variant.family].buildable}


def is_buildable(variant: str) -> bool:
    """Whether a variant is a network of ours, and not somebody's program."""
    return variant in VARIANTS and FAMILIES[VARIANTS[variant].family].buildable


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


def resolve_options(spec: NetworkSpec) -> NetworkOptions:
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
        return FAMILIES[variant.family].options(**{**variant.defaults, **spec.options})
    except ValidationError as error:
        faults = "; ".join(_fault(e["loc"], e["msg"]) for e in error.errors())
        raise ModelError(f'The options of "{spec.variant}" do not fit: {faults}.') from error


def without_defaults(spec: NetworkSpec) -> NetworkSpec:
    """Leave out the options that the variant has anyway.

    Raises
    ------
    ModelError
        If they do not fit.
    """
    resolved, plain = resolve_options(spec), resolve_options(NetworkSpec(variant=spec.variant))
    options = {name: value for name, value in spec.options.items() if getattr(resolved, name) != getattr(plain, name)}
    return spec.model_copy(update={"options": options})


def _fault(location: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in location)
    return f"{name}: {message}" if name else message


def build(spec: NetworkSpec) -> Network:
    """Build the network that `spec` describes, with random weights.

    Raises
    ------
    ModelError
        If the variant or an option does not exist, or a package that it needs is not installed.
    """
    options = resolve_options(spec)
    module, name = FAMILIES[VARIANTS[spec.variant].family].network.split(":")
    network: Network = getattr(import_module(module), name)(spec.in_channels, spec.out_channels, options)
    return network


def build_network(variant: str, in_channels: int = 1, out_channels: int = 2, **options: Any) -> Network:  # noqa: ANN401
    """Build a U-Net by the name of its variant.

    Parameters
    ----------
    variant : str
        One of `variants`.
    in_channels, out_channels : int
        Channels of the image and of the logits.
    **options
        Of the variant's family, for example `napari_unet.networks.options.unet.UNetOptions`.

    Returns
    -------
    torch.nn.Module
        From (N, in_channels, [Z,] Y, X) float32 to logits (N, out_channels, [Z,] Y, X); its `on_grid`
        takes any size and gives logits of that size.

    Raises
    ------
    ModelError
        If the variant or an option does not exist.
    """
    return build(network_spec(variant, in_channels, out_channels, options))
