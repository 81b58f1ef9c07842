"""Weights files as Keras 2 and Keras 3 write them, from a plain list of layers; only h5py is needed.

The layouts follow `hdf5_format.py` of Keras 2 and `saving_lib.py` of Keras 3; a layer is a dict with
"class_name", "config" (with "name"), "inbound" and "weights" (arrays by variable, in Keras's order).
"""

from __future__ import annotations

import io
import json
import re
import zipfile

import h5py
import numpy as np


def layer(class_name, name, inbound=(), weights=None, **config):
    return {
        "class_name": class_name,
        "config": {"name": name, "trainable": True, **config},
        "inbound": list(inbound),
        "weights": {key: np.asarray(value, np.float32) for key, value in (weights or {}).items()},
    }


def nested(class_name, name, layers, inbound=()):
    return {"class_name": class_name, "config": {"name": name}, "inbound": list(inbound), "layers": layers}


def config_2(layers, class_name="Functional", name="model"):
    """Description of a model as Keras 2 writes it."""
    entries = []
    for item in layers:
        if "layers" in item:
            entry = config_2(item["layers"], item["class_name"], item["config"]["name"])
        else:
            entry = {"class_name": item["class_name"], "config": item["config"]}
        entry["name"] = item["config"]["name"]
        entry["inbound_nodes"] = [[[source, 0, 0, {}] for source in item["inbound"]]] if item["inbound"] else []
        entries.append(entry)
    config = {"name": name, "layers": entries}
    if class_name != "Sequential":
        config["input_layers"] = [[layers[0]["config"]["name"], 0, 0]]
        config["output_layers"] = [[layers[-1]["config"]["name"], 0, 0]]
    return {"class_name": class_name, "config": config}


def config_3(layers, class_name="Functional", name="functional"):
    """Description of a model as Keras 3 writes it."""
    entries = []
    for item in layers:
        if "layers" in item:
            entry = config_3(item["layers"], item["class_name"], item["config"]["name"])
        else:
            entry = {
                "module": "keras.layers",
                "class_name": item["class_name"],
                "config": {**item["config"], "dtype": {"module": "keras", "class_name": "DTypePolicy",
                                                       "config": {"name": "float32"}, "registered_name": None}},
                "registered_name": None,
            }  # fmt: skip
        tensors = [
            {"class_name": "__keras_tensor__",
             "config": {"shape": [None, None, None, 1], "dtype": "float32", "keras_history": [source, 0, 0]}}
            for source in item["inbound"]
        ]  # fmt: skip
        entry["name"] = item["config"]["name"]
        args = [tensors] if len(tensors) > 1 else tensors
        entry["inbound_nodes"] = [{"args": args, "kwargs": {}}] if tensors else []
        entries.append(entry)
    config = {"name": name, "trainable": True, "layers": entries}
    if class_name != "Sequential":
        config["input_layers"] = [layers[0]["config"]["name"], 0, 0]
        config["output_layers"] = [layers[-1]["config"]["name"], 0, 0]
    return {"module": "keras", "class_name": class_name, "config": config, "registered_name": class_name}


def _set_names(group, attribute, names, chunks):
    encoded = [name.encode() for name in names]
    if chunks == 1:
        group.attrs[attribute] = encoded
        return
    for i, part in enumerate(np.array_split(np.asarray(encoded), chunks)):
        group.attrs[f"{attribute}{i}"] = part


def _variables(item, suffix, scope=""):
    if "layers" in item:
        return [pair for inner in item["layers"] for pair in _variables(inner, suffix)]
    return [(f"{scope or item['config']['name']}/{key}{suffix}", value) for key, value in item["weights"].items()]


def write_weights_2(group, layers, chunks=1, suffix=":0", version="2.11.0"):
    _set_names(group, "layer_names", [item["config"]["name"] for item in layers], chunks)
    group.attrs["backend"] = b"tensorflow"
    group.attrs["keras_version"] = version.encode()
    for item in sorted(layers, key=lambda item: item["config"]["name"]):
        inside = group.create_group(item["config"]["name"])
        pairs = _variables(item, suffix)
        _set_names(inside, "weight_names", [name for name, _ in pairs], 1)
        for name, value in pairs:
            dataset = inside.create_dataset(name, value.shape, dtype=value.dtype)
            dataset[...] = value
    group.create_group("top_level_model_weights").attrs["weight_names"] = []


def save_h5_model(path, layers, class_name="Functional", version="2.11.0"):
    """``model.save("x.h5")`` of Keras 2, or of Keras 3 with version="3.3.0"."""
    describe = config_3 if version.startswith("3") else config_2
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version if version.startswith("3") else version.encode()
        file.attrs["backend"] = "tensorflow"
        file.attrs["model_config"] = json.dumps(describe(layers, class_name)).encode()
        file.attrs["training_config"] = json.dumps({"loss": "dice_coef_loss"}).encode()
        suffix = "" if version.startswith("3") else ":0"
        write_weights_2(file.create_group("model_weights"), layers, suffix=suffix, version=version)
        optimizer = file.create_group("optimizer_weights")
        optimizer.attrs["weight_names"] = [b"Adam/iter:0"]
        optimizer.create_dataset("Adam/iter:0", data=np.int64(7))
    return path


def save_h5_weights(path, layers, chunks=1):
    """``model.save_weights("x.h5")`` of Keras 2."""
    with h5py.File(path, "w") as file:
        write_weights_2(file, layers, chunks)
    return path


def snake(name):
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _write_numbered(group, layers, container, twice):
    used = {}
    parent = group.create_group(container) if container not in group else group[container]
    for item in layers:
        for time in range(2 if twice and item.get("weights") else 1):
            name = snake(item["class_name"])
            used[name] = used.get(name, -1) + 1
            if time:
                continue  # Keras 2.12 lists a layer with weights twice: the second only takes a number
            inside = parent.create_group(f"{name}_{used[name]}" if used[name] else name)
            numbered = inside.create_group("vars")
            if "layers" in item:
                _write_numbered(inside, item["layers"], container, twice)
                continue
            for i, value in enumerate(item["weights"].values()):
                numbered[str(i)] = value


def write_weights_3(target, layers, container="layers", optimizer=False, twice=False):
    with h5py.File(target, "w") as file:
        file.create_group("vars")
        _write_numbered(file, layers, container, twice)
        if optimizer:
            file.create_group("optimizer").create_group("vars")["0"] = np.int64(3)
    return target


def save_keras(path, layers, class_name="Functional", version="3.5.0", container="layers", compression=None):
    """``model.save("x.keras")``."""
    content = io.BytesIO()
    write_weights_3(content, layers, container, optimizer=True, twice=container != "layers")
    describe = config_3 if version.startswith("3") else config_2
    with zipfile.ZipFile(path, "w", compression or zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version, "date_saved": "2024-05-01@10:00:00"}))
        archive.writestr("config.json", json.dumps(describe(layers, class_name)))
        archive.writestr("model.weights.h5", content.getvalue())
    return path
