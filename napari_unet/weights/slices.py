"""A model that is shown neighbouring slices, made from one that is not."""

from __future__ import annotations

import torch

from napari_unet.errors import ModelError
from napari_unet.networks.adapting import with_channels
from napari_unet.networks.base import Network
from napari_unet.networks.registry import is_buildable
from napari_unet.weights.model import Model, model_from_spec
from napari_unet.weights.spec import changed_spec, check_slices

# Of the image that both are compared on, along Y and X: a few times the stride of any network.
SIDE_PX, STRIDES = 64, 4
# Sums of other lengths are rounded in another way; anything more has a cause.
TOLERANCE = 1e-3


def with_slices(model: Model, slices: int) -> Model:
    """Show a model more slices of a stack at once, so that it says the same at first.

    The slices that it saw so far keep their weights in the first convolution, and those that are new count for nothing
    until the model is fine-tuned. One that has not learnt anything yet is made anew.

    Parameters
    ----------
    model : Model
        Is not changed; it is returned if it is shown so many slices already.
    slices : int
        The one that it labels, and its neighbours.

    Raises
    ------
    ModelError
        If so many slices cannot be shown to it.
    """
    spec = model.spec
    if slices == spec.slices:
        return model
    check_slices(slices, spec.dims)
    if slices < spec.slices:
        raise ModelError(
            f'"{spec.name}" has learnt from {spec.slices} slices at once, and {slices} would be too few for it. Leave '
            "slices out, or start from the model that it was made of."
        )
    if not is_buildable(spec.network.variant):
        raise ModelError(
            f'"{spec.name}" is a program of others, which cannot be shown neighbouring slices. Choose another model.'
        )
    described = spec.network.model_copy(update={"in_channels": slices * spec.image_channels})
    changed = changed_spec(spec, network=described, slices=slices)
    if not model.trained:
        return model_from_spec(changed)
    network, made = with_channels(model.network, spec.network, described, "middle")
    if made or not _says_the_same(model.network, network):
        raise ModelError(
            f'"{spec.name}" mixes its input channels in another way than by a convolution, so it cannot be shown '
            f"neighbouring slices without forgetting. Choose another model, or make a new one with slices={slices}."
        )
    return Model(network, changed, model.report)


@torch.no_grad()
def _says_the_same(old: Network, new: Network) -> bool:
    """Whether two networks agree on an image, whatever its neighbours are."""
    training = old.training, new.training
    device = next(old.parameters()).device
    side = max(SIDE_PX, STRIDES * old.stride)
    shown = torch.rand((1, new.in_channels, side, side), generator=torch.Generator().manual_seed(0))
    middle = shown.narrow(1, (new.in_channels - old.in_channels) // 2, old.in_channels)
    try:
        before = old.eval().on_grid(middle.to(device))
        after = new.eval().to(device).on_grid(shown.to(device))
    finally:
        old.train(training[0])
        new.train(training[1])
    scale = float(before.abs().max()) + 1e-6
    return float((before - after).abs().max()) <= TOLERANCE * scale
