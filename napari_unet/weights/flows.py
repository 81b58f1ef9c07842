"""A model that tells where pixels move besides classes, made from one that does not, and the other way round."""

from __future__ import annotations

import torch

from napari_unet.errors import ModelError
from napari_unet.networks.adapting import with_channels
from napari_unet.weights.model import Model
from napari_unet.weights.spec import FLOWS, Activation, changed_spec


def with_flows(model: Model) -> Model:
    """Give a model two more outputs, flows, and leave what it says of classes as it is.

    At first nothing moves, so it finds no object until it is trained.

    Parameters
    ----------
    model : Model
        Of objects in planes. It is not changed, and returned if it has flows already.

    Raises
    ------
    ModelError
        If it is of volumes or finds classes.
    """
    spec = model.spec
    if spec.activation == "flows":
        return model
    if (spec.meaning, spec.dims) != ("instances", 2):
        what = "finds classes" if spec.meaning == "semantic" else "finds objects in volumes"
        raise ModelError(f'"{spec.name}" {what}, and flows are of objects in planes. Choose another model.')
    return _with_outputs(model, len(spec.classes) + len(FLOWS), "flows")


def without_flows(model: Model) -> Model:
    """Leave the flows of a model out: it says of classes what it said before.

    Parameters
    ----------
    model : Model
        Is not changed, and returned if it has none.
    """
    if model.activation != "flows":
        return model
    return _with_outputs(model, len(model.spec.classes), model.spec.class_activation)


def _with_outputs(model: Model, outputs: int, activation: Activation) -> Model:
    """Take more outputs, which say nothing at first, or only the first ones."""
    described = model.spec.network.model_copy(update={"out_channels": outputs})
    changed = changed_spec(model.spec, network=described, activation=activation)
    network, made = with_channels(model.network, model.spec.network, described)
    weights, known = network.state_dict(), model.network.state_dict()
    with torch.no_grad():
        for name in made:  # of layers that give logits; nothing else depends on how many there are
            kept = min(len(weights[name]), len(known[name]))
            weights[name].zero_()[:kept] = known[name][:kept]
    return Model(network, changed, model.report)
