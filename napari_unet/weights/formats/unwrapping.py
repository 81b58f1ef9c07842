"""Finding the weights in what a checkpoint holds, and taking off what was put before their names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_unet.errors import ModelError
from napari_unet.weights.formats.checkpoint import State
from napari_unet.weights.formats.stubs import NumpyArray, Stub

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "network_weights", "model", "net", "network", "unet", "params",
    "weights", "module", "generator", "netG", "G", "best_model", "best_state_dict",
)  # fmt: skip
"""Names under which programs keep the weights, the one to use first in front."""
PREFIXES = (
    "module.", "_orig_mod.", "model.", "net.", "network.", "unet.", "_model.", "ema_model.", "model_ema.",
    "ema.", "generator.", "netG.", "segmentor.", "seg_model.",
)  # fmt: skip
SKIPPED = re.compile(r"optim|sched|scaler|^loops$", re.IGNORECASE)
AVERAGED = re.compile(r"(?:^|_)(?:ema|swa|avg|averaged?|shadow|polyak)(?:_|$)", re.IGNORECASE)
BESIDE = re.compile(r"loss|metric|criteri|(?:^|_)(?:acc|iou|dice|jaccard|auroc|f1)", re.IGNORECASE)
"""What Lightning keeps beside a network."""
SECONDARY = re.compile(r"^(?:d|netd|disc\w*|critic\w*|teacher\w*|loss\w*|metric\w*)$", re.IGNORECASE)

MAX_DEPTH = 60
MAX_VISITS = 500_000
MAX_STATES = 24
MAX_ITEMS = 1000
MAX_TEXT = 100_000
MAX_TENSOR_DIMENSIONS = 6


@dataclass(slots=True)
class Unwrapped:
    """What was found in a loaded object.

    Attributes
    ----------
    states : list of State
        The one to use first in front.
    extras : dict
        Plain values that lay beside them.
    notes : list of str
        Sentences about what was left out.
    """

    states: list[State] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def unwrap(loaded: object) -> Unwrapped:
    """Find every set of weights in a loaded object, and the plain values beside them.

    Raises
    ------
    ModelError
        If it is nested beyond all measure.
    """
    search = _Search()
    search.visit(loaded, ())
    found = search.found
    found.states = _most_likely_first([part for state in found.states for part in _split_averaged(state)])
    if search.left_out:
        names = ", ".join(f'"{name}"' for name in search.left_out[:3])
        found.notes.append(f"{len(search.left_out)} tensors that are not plain numbers were left out, such as {names}.")
    return found


class _Search:
    """A walk through dicts, lists and stand-ins of classes, with a limit on its length."""

    def __init__(self) -> None:
        self.found = Unwrapped()
        self.left_out: list[str] = []
        self.visits = 0

    def _count(self, depth: int) -> None:
        self.visits += 1
        if self.visits > MAX_VISITS or depth > MAX_DEPTH:
            raise ModelError("The file is refused: what it holds is nested deeper or is more than any network needs.")

    def visit(self, value: object, where: tuple[str, ...]) -> bool:
        """Collect the weights in a value; whether there were any."""
        self._count(len(where))
        if isinstance(value, Stub) and _is_module(value):
            tensors, settings = self._module(value)
            self.found.extras.setdefault("modules", settings)
            return self._keep(where, tensors)
        if isinstance(value, Stub):
            return self._visit_each(value.attributes(), where)
        if isinstance(value, Mapping):
            return self._visit_mapping(value, where)
        if isinstance(value, list | tuple) and len(value) <= MAX_STATES:
            return self._visit_each({str(index): part for index, part in enumerate(value)}, where)
        return False

    def _visit_each(self, parts: Mapping[str, object], where: tuple[str, ...]) -> bool:
        found = [self.visit(part, (*where, key)) for key, part in parts.items() if not SKIPPED.search(key)]
        return any(found)

    def _visit_mapping(self, mapping: Mapping[object, object], where: tuple[str, ...]) -> bool:
        named = {str(name): value for name, value in mapping.items()}
        tensors = _tensors_of(named)
        beside = {key: value for key, value in named.items() if key not in tensors and not SKIPPED.search(key)}
        before = len(self.found.states)
        without = {key: value for key, value in beside.items() if not self.visit(value, (*where, key))}
        nested = max((len(state.tensors) for state in self.found.states[before:]), default=0)
        kept = len(tensors) > nested and self._keep(where, tensors)
        without |= {} if kept else tensors
        found = kept or nested > 0
        for key, value in without.items() if found or not where else ():
            readable = self._plain(value, 0)
            if readable is not None:
                self.found.extras.setdefault(key, readable)
        return found

    def _keep(self, where: tuple[str, ...], values: Mapping[str, object]) -> bool:
        tensors = {name: self._as_tensor(name, value) for name, value in values.items()}
        usable = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        if not _has_layers(usable) or len(self.found.states) >= MAX_STATES:
            return False
        averaged = any(AVERAGED.search(part) for part in where)
        if usable.pop("n_averaged", None) is not None:  # what torch's AveragedModel counts
            averaged = True
        self.found.states.append(State(".".join(where), usable, averaged))
        return True

    def _as_tensor(self, name: str, value: object) -> Tensor | None:
        import torch

        if isinstance(value, NumpyArray):
            array = value.array()
            if array is None or array.dtype.str[1:] in ("u2", "u4", "u8"):
                return None
            return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
        assert isinstance(value, torch.Tensor)
        if not _is_plain(value):
            self.left_out.append(name)
            return None
        return value.detach()

    def _module(self, stub: Stub) -> tuple[dict[str, object], dict[str, Any]]:
        """State dict of a network that was pickled whole, and the settings of its layers."""
        tensors: dict[str, object] = {}
        settings: dict[str, Any] = {}

        def walk(module: Stub, prefix: str, depth: int) -> None:
            self._count(depth)
            attributes = module.attributes()
            settings[prefix.rstrip(".")] = {"class": module.origin, **self._layer_settings(attributes)}
            fleeting = attributes.get("_non_persistent_buffers_set")
            fleeting = fleeting if isinstance(fleeting, set) else set()
            for kind in ("_parameters", "_buffers"):
                for name, value in _named(attributes.get(kind)):
                    self._count(depth)
                    if _is_tensor(value) and not (kind == "_buffers" and name in fleeting):
                        tensors[prefix + name] = value
            for name, child in _named(attributes.get("_modules")):
                if isinstance(child, Stub) and _is_module(child):
                    walk(child, f"{prefix}{name}.", depth + 1)

        walk(stub, "", 0)
        return tensors, settings

    def _layer_settings(self, attributes: Mapping[str, object]) -> dict[str, Any]:
        public = {key: value for key, value in attributes.items() if not key.startswith("_") and not _is_tensor(value)}
        readable = {key: self._plain(value, MAX_DEPTH - 3) for key, value in public.items()}
        return {key: value for key, value in readable.items() if value is not None}

    def _plain(self, value: object, depth: int) -> Any:  # noqa: ANN401  # JSON has no narrower type
        """Value as JSON would hold it, or None where it is none."""
        self._count(0)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return value[:MAX_TEXT]
        if depth >= MAX_DEPTH:
            return None
        if isinstance(value, Mapping):
            items = ((str(key), self._plain(part, depth + 1)) for key, part in list(value.items())[:MAX_ITEMS])
            return dict(items)
        if isinstance(value, list | tuple | set | frozenset):
            return [self._plain(part, depth + 1) for part in list(value)[:MAX_ITEMS]]
        return self._plain_object(value, depth)

    def _plain_object(self, value: object, depth: int) -> Any:  # noqa: ANN401  # JSON has no narrower type
        import torch

        if isinstance(value, Stub):
            if "PosixPath" in value.origin or "WindowsPath" in value.origin:
                return "/".join(str(part) for part in value.arguments).replace("//", "/")
            return self._plain(value.attributes() or list(value.arguments), depth + 1)
        if isinstance(value, NumpyArray):
            array = value.array()
            return array.tolist() if array is not None and array.size <= MAX_ITEMS else None
        if isinstance(value, torch.Tensor):
            return value.tolist() if _is_plain(value) and value.numel() <= MAX_ITEMS else None
        return str(value) if isinstance(value, torch.dtype | torch.device) else None


def _named(value: object) -> list[tuple[str, object]]:
    return [(str(name), part) for name, part in value.items()] if isinstance(value, Mapping) else []


def _is_module(stub: Stub) -> bool:
    attributes = stub.attributes()
    return "_parameters" in attributes and "_modules" in attributes


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor | NumpyArray)


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor holds its numbers in memory, as many as its shape says, in a type that layers have."""
    import torch

    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_nested:
        return False
    if tensor.is_complex() or tensor.is_neg() or tensor.dim() > MAX_TENSOR_DIMENSIONS:
        return False
    stored = tensor.untyped_storage().nbytes()
    return tensor.numel() * tensor.element_size() <= max(stored, 16 * 1024**2)


def _tensors_of(named: Mapping[str, object]) -> dict[str, object]:
    """Return the tensors; arrays of numpy only where there are no tensors, for beside them they are measurements."""
    import torch

    tensors: dict[str, object] = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    arrays = {name: value for name, value in named.items() if isinstance(value, NumpyArray)}
    if len(arrays) < 2 or not any(array.dimensions() > 2 for array in arrays.values()):
        arrays = {}
    return tensors or dict(arrays)


def _has_layers(tensors: Mapping[str, Tensor]) -> bool:
    """Whether some tensor could be the kernel of a layer, so that this is more than a counter or a loss."""
    return any(tensor.ndim > 1 for tensor in tensors.values())


def _split_averaged(state: State) -> list[State]:
    """Separate the running average that some programs keep in the same state dict, as ``ema_model.``."""
    names = {name for name in state.tensors if AVERAGED.search(name.split(".", 1)[0]) and "." in name}
    rest = {name: tensor for name, tensor in state.tensors.items() if name not in names}
    if state.averaged or not names or not _has_layers(rest):
        return [state]
    average = {name: tensor for name, tensor in state.tensors.items() if name in names}
    where = ".".join(part for part in (state.where, next(iter(average)).split(".", 1)[0]) if part)
    return [State(state.where, rest), State(where, average, averaged=True)]


def _most_likely_first(states: list[State]) -> list[State]:
    def rank(state: State) -> tuple[bool, bool, bool, int, int]:
        parts = state.where.split(".") if state.where else []
        known = [WRAPPERS.index(part) for part in parts if part in WRAPPERS]
        kernels = any(tensor.ndim > 2 for tensor in state.tensors.values())
        return (
            not kernels,
            any(SECONDARY.match(part) for part in parts),
            state.averaged,
            len(parts),
            min(known, default=len(WRAPPERS)),
        )

    return sorted(states, key=rank)


def strip_candidates(tensors: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """Yield the tensors as named, then with one more leading part of their names taken off each time.

    The names as they are come first, for the own names of some networks begin with ``model.``. Where
    only some names have the prefix (a program that keeps ``loss.`` beside ``model.``), the others are
    left out.

    Examples
    --------
    >>> names = {"module.net.a.weight": 1, "module.net.b": 2, "module.loss.w": 3}
    >>> for candidate in strip_candidates(names):
    ...     print(sorted(candidate))
    ['module.loss.w', 'module.net.a.weight', 'module.net.b']
    ['loss.w', 'net.a.weight', 'net.b']
    ['a.weight', 'b']
    """
    current = tensors
    yield current
    for _ in range(MAX_DEPTH):
        prefix = _common_prefix(current)
        if not prefix:
            return
        current = {name[len(prefix) :]: tensor for name, tensor in current.items() if name.startswith(prefix)}
        yield current


def _common_prefix(tensors: Mapping[str, Tensor]) -> str:
    """Leading part that all names of layers share, or a known one; empty if there is none."""
    counts: dict[str, int] = {}
    for name in tensors:
        head, dot, _ = name.partition(".")
        if dot:
            counts[head + dot] = counts.get(head + dot, 0) + 1
    if not counts:
        return ""
    prefix = max(counts, key=lambda name: counts[name])
    rest = [name.split(".", 1)[0] for name in tensors if not name.startswith(prefix)]
    if all(BESIDE.search(head) for head in rest):
        return prefix
    known = [name for name in PREFIXES if name in counts]
    return max(known, key=lambda name: counts[name]) if known else ""


def count_parameters(tensors: Mapping[str, Tensor]) -> int:
    """Count the numbers in tensors; those that several names share are counted once."""
    places = {
        (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tuple(tensor.shape))
        for tensor in tensors.values()
    }
    return sum(math.prod(shape) for _, _, shape in places)
