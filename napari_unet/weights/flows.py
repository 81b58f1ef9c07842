"""A model that tells where pixels move besides classes, made from one that does not."""

from __future__ import annotations

from typing import Any

import torch

from napari_unet.errors import ModelError
from napari_unet.networks.adapting import with_channels
from napari_unet.weights.model import Model
from napari_unet.weights.spec import FLOWS, INSTANCE_CLASSES, changed_spec


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
    outputs = len(INSTANCE_CLASSES) + len(FLOWS)
    described = spec.network.model_copy(update={"out_channels": outputs})
    changes: dict[str, Any] = {"network": described, "activation": "flows", "meaning": "instances"}
    changed = changed_spec(spec, **changes)
    network, made = with_channels(model.network, spec.network, described)
    weights, known = network.state_dict(), model.network.state_dict()
    with torch.no_grad():
        for name in made:  # of layers that give logits, and nothing else depends on how many there are
            weights[name].zero_()
            weights[name][: len(known[name])] = known[name]
    return Model(network, changed, model.report)
