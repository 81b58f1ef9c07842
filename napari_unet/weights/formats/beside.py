"""What lies beside a weights file and says how its network was built and trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

NAMES = ("config_train.yml", "config_train.yaml", "train_config.yml", "train_config.yaml", "config.yml", "config.yaml")
# What `save_pretrained` of many libraries writes beside its safetensors file.
SAVED = ("config.json",)
MAX_BYTES = 1024**2


def read_beside(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Read the settings of the training program that lie in the folder of a weights file, as data.

    Parameters
    ----------
    path : Path
        The weights file.

    Returns
    -------
    extras : dict
        Under "config" what the file says, or nothing.
    notes : tuple of str
        A sentence that names it.
    """
    for name in (*SAVED, *NAMES) if path.suffix == ".safetensors" else NAMES:
        config = _read(path.parent / name)
        if config:
            return {"config": config}, (f'"{name}", which lies beside the weights, was read, too.',)
    return {}, ()


def _read(path: Path) -> dict[str, Any]:
    """Read settings from a YAML file; nothing if it is missing, too large or something else."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return {}
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return {str(key): value for key, value in said.items()} if isinstance(said, dict) else {}
