"""The variables in HDF5 files of Keras, under one name each: "<layer>/<variable>"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from napari_unet.errors import ModelError
from napari_unet.weights.formats.hdf5 import Hdf5
from napari_unet.weights.formats.keras_graph import Graph, Layer
from napari_unet.weights.formats.limits import shorten

LEFT_OUT = ("optimizer", "metrics", "loss", "compile_metrics", "compile_loss", "loss_tracker", "optimizer_weights")
_CONTAINERS = frozenset({"layers", "_layer_checkpoint_dependencies"})
_NORMALIZATION = ("gamma", "beta")
_MOVING = ("moving_mean", "moving_variance")


def snake_case(class_name: str) -> str:
    """Return the name that Keras 3 gives to the group of a layer of this class.

    Examples
    --------
    >>> [snake_case(name) for name in ("Conv2DTranspose", "BatchNormalization", "PReLU")]
    ['conv2d_transpose', 'batch_normalization', 'p_re_lu']
    """
    split = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", class_name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", split).lower()


def natural(name: str) -> tuple[tuple[str, int], ...]:
    """Key that sorts conv2d_2 before conv2d_10.

    Examples
    --------
    >>> sorted(["conv2d_10", "conv2d_2", "conv2d"], key=natural)
    ['conv2d', 'conv2d_2', 'conv2d_10']
    """
    return tuple((text, int(digits or -1)) for text, digits in re.findall(r"(\D*)(\d{0,18})", name))


def legacy_variables(
    hdf5: Hdf5, weights: h5py.Group, layer_names: list[str], graph: Graph | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read the layout of Keras 2: a group a layer, whose attribute "weight_names" lists its variables."""
    found: dict[str, np.ndarray] = {}
    for layer in layer_names:
        group = hdf5.group(weights, layer)
        if group is None:
            raise ModelError(
                f'"{hdf5.path.name}" is damaged: it lists the layer "{shorten(layer)}", whose weights are not in it. '
                "Copy it again, or save the model again."
            )
        names = hdf5.names(group, "weight_names")
        if names is None:
            names = [name for name, _ in hdf5.datasets(group)]
        owners = _owners(layer, names, graph)
        for name, owner in zip(names, owners, strict=True):
            dataset = hdf5.find(group, name)
            if not isinstance(dataset, h5py.Dataset):
                raise ModelError(f'"{hdf5.path.name}" is damaged: its weights "{shorten(name)}" are missing.')
            if "seed_generator" not in name:
                _put(hdf5, found, f"{owner}/{_variable(name)}", hdf5.read(dataset))
    return found, []


def unlisted_layers(hdf5: Hdf5, weights: h5py.Group) -> list[str] | None:
    """Names of the layers where the file does not list them, by number; None if there are no kernels in its groups."""
    paths = [name.split("/") for name, _ in hdf5.datasets(weights)]
    if not any(len(path) > 1 and _variable(path[-1]) == "kernel" for path in paths):
        return None
    found = {path[0] for path in paths if len(path) > 1 and path[0].strip("_") not in LEFT_OUT}
    return sorted(found, key=natural)


def _variable(name: str) -> str:
    """From "conv2d/kernel_1:0" to "kernel"."""
    return re.sub(r"_\d+$", "", name.rsplit("/", 1)[-1].removesuffix(":0"))


def _owners(layer: str, names: list[str], graph: Graph | None) -> list[str]:
    """Name the layer of each variable of a group; a group holds several if it is a model inside the model."""
    scopes = [name.rpartition("/")[0] for name in names]
    variables = [_variable(name) for name in names]
    inner = [x.name for x in graph.layers if x.name.startswith(f"{layer}/")] if graph else []
    if inner:
        return [_best_match(layer, scope, inner) for scope in scopes]
    if len(set(variables)) == len(variables):
        # The scope may have been renamed within one run of Python; the name of the group never is.
        return [layer] * len(names)
    return [f"{layer}/{scope.removeprefix(f'{layer}/')}" for scope in scopes]


def _best_match(layer: str, scope: str, inner: list[str]) -> str:
    fitting = [name for name in inner if f"/{scope}".endswith("/" + name.removeprefix(f"{layer}/"))]
    fitting += [name for name in inner if name == f"{layer}/{scope.rsplit('/', 1)[-1]}"]
    return max(fitting, key=len) if fitting else f"{layer}/{scope}"


def _put(hdf5: Hdf5, found: dict[str, np.ndarray], name: str, array: np.ndarray) -> None:
    if name in found:
        raise ModelError(
            f'"{hdf5.path.name}" holds the weights "{shorten(name)}" twice, so that it is not known which are meant. '
            "Save the model again."
        )
    found[name] = array


@dataclass(frozen=True, slots=True)
class _Stored:
    """A layer with numbered variables.

    Attributes
    ----------
    path : tuple of str
        Names of the groups around it, without those that only contain layers.
    variables : list of h5py.Dataset
    address : int
        Where in the file the first lies: Keras writes layer by layer.
    """

    path: tuple[str, ...]
    variables: list[h5py.Dataset]
    address: int


def numbered_variables(
    hdf5: Hdf5, datasets: list[tuple[str, h5py.Dataset]], graph: Graph | None
) -> tuple[dict[str, np.ndarray], list[str], bool]:
    """Read the layout of Keras 3: ``layers/conv2d_1/vars/0``.

    Returns
    -------
    variables : dict of np.ndarray
    notes : list of str
    known : bool
        Whether each layer of the file was found in the graph, and is called as there.
    """
    stored, left_out = _stored_layers(datasets)
    ordered = _in_order(stored)
    layers = _layers_of_graph(ordered, graph) if graph else {}
    notes = [f"Left out: {', '.join(left_out)}."] if left_out else []
    if graph and not layers:
        notes.append("The description of the network does not list the same layers as the weights, and was not used.")
    found: dict[str, np.ndarray] = {}
    for item in ordered:
        layer = layers.get(item.path)
        owner = layer.name if layer else "/".join(item.path) or "model"
        class_name = snake_case(layer.class_name) if layer else _class_of(owner.rsplit("/", 1)[-1])
        names = _variable_names(class_name, layer.config if layer else None, len(item.variables))
        for name, dataset in zip(names, item.variables, strict=True):
            _put(hdf5, found, f"{owner}/{name}", hdf5.read(dataset))
    return found, notes, bool(layers)


def _stored_layers(datasets: list[tuple[str, h5py.Dataset]]) -> tuple[list[_Stored], list[str]]:
    groups: dict[tuple[str, ...], list[tuple[int, h5py.Dataset]]] = {}
    left_out: dict[str, None] = {}
    for name, dataset in datasets:
        # Keras on Windows wrote "layers\\conv2d" as one name.
        parts = name.replace("\\", "/").split("/")
        if parts[0].strip("_") in LEFT_OUT:
            left_out[parts[0].strip("_")] = None
        elif len(parts) >= 2 and parts[-2] == "vars" and parts[-1].isdecimal() and "seed_generator" not in parts:
            path = tuple(part for part in parts[:-2] if part not in _CONTAINERS)
            groups.setdefault(path, []).append((int(parts[-1]), dataset))
    stored = []
    for path, variables in groups.items():
        variables.sort(key=lambda item: item[0])
        arrays = [dataset for _, dataset in variables]
        stored.append(_Stored(path, arrays, h5py.h5o.get_info(arrays[0].id).addr))
    return stored, list(left_out)


def _in_order(stored: list[_Stored]) -> list[_Stored]:
    """Sort layers as they lie in the file, unless that contradicts their numbers; then by number.

    Keras numbers the layers of each class, but says nothing about the order across classes; it writes one after
    the other, though.
    """
    by_number = sorted(stored, key=lambda item: [natural(part) for part in item.path])
    by_address = sorted(stored, key=lambda item: item.address)
    return by_address if _by_class(by_address) == _by_class(by_number) else by_number


def _by_class(stored: list[_Stored]) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    classes: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for item in stored:
        classes.setdefault(_class_path(item.path), []).append(item.path)
    return classes


def _class_path(path: tuple[str, ...]) -> tuple[str, ...]:
    return (*path[:-1], _class_of(path[-1])) if path else ()


def _class_of(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _layers_of_graph(ordered: list[_Stored], graph: Graph) -> dict[tuple[str, ...], Layer]:
    """Find the layer of the graph for each stored one: the nth of its class; nothing unless all are found.

    Counting among the layers with weights is right for Keras 3, and for Keras 2.12 to 2.15, which skipped numbers.
    """
    models = _model_ranks([item.path for item in ordered], graph)
    available: dict[tuple[str, str], list[Layer]] = {}
    for layer in graph.layers:
        model, _, _ = layer.name.rpartition("/")
        if model and model not in models.values():
            model = ""  # a layer whose own name contains a stroke
        available.setdefault((model, snake_case(layer.class_name)), []).append(layer)
    stored: dict[tuple[str, str], list[_Stored]] = {}
    for item in sorted(ordered, key=lambda item: [natural(part) for part in item.path]):
        if not item.path or item.path[:-1] not in models:
            return {}
        stored.setdefault((models[item.path[:-1]], _class_of(item.path[-1])), []).append(item)
    found: dict[tuple[str, ...], Layer] = {}
    for key, items in stored.items():
        layers = available.get(key, [])
        if len(layers) != len(items):
            return {}
        found.update({item.path: layer for item, layer in zip(items, layers, strict=True)})
    return found


def _model_ranks(paths: list[tuple[str, ...]], graph: Graph) -> dict[tuple[str, ...], str]:
    """Name the model of the graph for each group that is a model inside the model, by their order."""
    groups = sorted({path[:-1] for path in paths if len(path) > 1}, key=lambda path: [natural(part) for part in path])
    models = list(dict.fromkeys(x.name.rpartition("/")[0] for x in graph.layers if "/" in x.name))
    ranks: dict[tuple[str, ...], str] = {(): ""}
    for depth in {len(group) for group in groups}:
        same_depth = [group for group in groups if len(group) == depth]
        candidates = [name for name in models if name.count("/") == depth - 1]
        if len(candidates) == len(same_depth):
            ranks.update(zip(same_depth, candidates, strict=True))
    return ranks


def _variable_names(class_name: str, config: dict[str, Any] | None, count: int) -> list[str]:
    """Names of the variables that Keras 3 only numbers, for the layers of convolutional networks."""
    if class_name == "separable_conv2d":
        expected = ["depthwise_kernel", "pointwise_kernel", "bias"]
    elif class_name.startswith(("conv", "depthwise_conv", "dense")):
        expected = ["kernel", "bias"]
    elif class_name == "p_re_lu":
        expected = ["alpha"]
    elif class_name == "batch_normalization":
        return _normalization_names(config, count, _MOVING)
    elif class_name in ("layer_normalization", "group_normalization"):
        return _normalization_names(config, count, ())
    else:
        expected = []
    return expected[:count] if len(expected) >= count else [str(i) for i in range(count)]


def _normalization_names(config: dict[str, Any] | None, count: int, statistics: tuple[str, ...]) -> list[str]:
    if config is None:
        # Without a description, the one that is missing is the scale: it is left out before an activation.
        learned = _NORMALIZATION[max(0, 2 - (count - len(statistics))) :]
    else:
        wanted = {"gamma": config.get("scale", True), "beta": config.get("center", True)}
        learned = tuple(name for name in _NORMALIZATION if wanted[name])
    names = [*learned, *statistics]
    return names if len(names) == count else [str(i) for i in range(count)]
