"""YAML text, read as plain data and nothing else."""

from __future__ import annotations

from typing import Any

import yaml

from napari_unet.errors import ModelError
from napari_unet.weights.formats.limits import reason, shorten

MAX_BYTES = 512 * 1024
"""Ten times what the longest descriptions have; the parser reads some 100 kB a second."""
MAX_NODES = 100_000
MAX_DEPTH = 40


def read_document(name: str, content: bytes) -> dict[str, Any]:
    """Read a YAML file whose top is a mapping with names as keys.

    Parameters
    ----------
    name : str
        For messages.
    content : bytes

    Raises
    ------
    ModelError
        If it is too large, too deep, no YAML, names a key twice, asks for objects of Python, or
        unfolds to far more than it holds.
    """
    if len(content) > MAX_BYTES:
        raise ModelError(f'"{name}" holds {len(content):,} bytes, and a description at most {MAX_BYTES:,}.')
    try:
        loader = _Loader(content)
        node = loader.get_single_node()
        _check_size(name, node)
        document = loader.construct_document(node) if node is not None else None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise ModelError(f'"{name}" cannot be read as YAML: {reason(error)}.') from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise ModelError(f'"{name}" holds no description: expected names with values.')
    return document


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # it has no types
    """Of plain data only, and no key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ANN401
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "merge keys are not expected", key.start_mark)
            if key.value.__class__ is str and key.value in seen:
                message = f'the key "{shorten(key.value, 40)}" is there twice'
                raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
            if key.value.__class__ is str:
                seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def _check_size(name: str, root: yaml.Node | None) -> None:
    """Count nodes as often as they are referred to, without unfolding them.

    Raises
    ------
    ModelError
        If there are too many, they lie too deep, or one holds itself.
    """
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def measure(node: yaml.Node, depth: int) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        if depth > MAX_DEPTH or id(node) in open_nodes:
            raise ModelError(f'"{name}" is refused: its parts lie more than {MAX_DEPTH} deep in one another.')
        open_nodes.add(id(node))
        size = 1
        if isinstance(node, yaml.SequenceNode):
            size += sum(measure(child, depth + 1) for child in node.value)
        elif isinstance(node, yaml.MappingNode):
            size += sum(measure(child, depth + 1) for pair in node.value for child in pair)
        if size > MAX_NODES:
            raise ModelError(f'"{name}" is refused: it unfolds to more than {MAX_NODES:,} values.')
        open_nodes.discard(id(node))
        sizes[id(node)] = size
        return size

    if root is not None:
        measure(root, 0)
