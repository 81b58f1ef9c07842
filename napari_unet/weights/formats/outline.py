"""What a pickle would do, found by following its instructions without carrying out any.

`torch.load` with ``weights_only=True`` calls only what is allowed, but lets a file decide how much
memory that takes: a tensor of any size over a storage of one element, a bytearray of any length.
Here the same instructions are followed with placeholders, and every size is compared with the file.
"""

from __future__ import annotations

import math
import pickletools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol, cast

from napari_unet.errors import ModelError
from napari_unet.weights.formats.limits import check_claim, shape_text, shorten

MAX_OPERATIONS = 5_000_000
MAX_EXPANDED_BYTES = 16 * 1024**2
MAX_VIEWS = 16
"""How often each stored number may be named; nnU-Net names its own four times."""

ITEM_BYTES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1, "ComplexDoubleStorage": 16,
    "ComplexFloatStorage": 8, "UntypedStorage": 1,
}  # fmt: skip
DTYPE_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "uint16": 2, "uint32": 4, "uint64": 8, "bool": 1, "float8_e4m3fn": 1, "float8_e5m2": 1,
}  # fmt: skip

REBUILD_TENSOR = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3")
REBUILD_SUBCLASS = "torch._tensor._rebuild_from_type_v2"
UNREAD_TENSORS = {
    "torch._utils._rebuild_qtensor": "quantized tensors",
    "torch._utils._rebuild_nested_tensor": "nested tensors",
    "torch._utils._rebuild_wrapper_subclass": "tensors of another program's kind",
    "torch._utils._rebuild_device_tensor_from_numpy": "tensors of another device",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "tensors of another device",
}


class Readable(Protocol):
    """What of a binary file is used."""

    def read(self, count: int, /) -> bytes: ...  # noqa: D102

    def readline(self) -> bytes: ...  # noqa: D102

    def tell(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that the pickle asks for."""

    name: str


@dataclass(frozen=True, slots=True)
class Made:
    """What calling or creating something named gave."""

    name: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A storage of tensors, in the file."""

    item_bytes: int
    items: int


OTHER = Made("")
"""Anything whose content does not matter here."""


class _Tuple(tuple[Any, ...]):  # noqa: SLOT001  # Python gives a tuple of any length no slots
    """A tuple that knows how many tuples are in it, all told."""

    weight: int


@dataclass(slots=True)
class Outline:
    """Names and sizes that occur in a pickle.

    Attributes
    ----------
    names : set of str
        Dotted names of the classes and functions asked for.
    filled : dict of set of str
        Under "dict" and "list": the names whose instances receive items, as children of these do.
    storages : dict of Stored
        By their key in the file.
    """

    names: set[str] = field(default_factory=set)
    filled: dict[str, set[str]] = field(default_factory=lambda: {"dict": set(), "list": set()})
    storages: dict[str, Stored] = field(default_factory=dict)


class _Follower:
    """Follows one pickle; its methods are named after what they do with the stack."""

    def __init__(self, path: Path, stored_bytes: Callable[[str], int]) -> None:
        self.path = path
        self.stored_bytes = stored_bytes
        self.outline = Outline()
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.expanded = 0
        self.claimed = 0
        self.held = 0

    def follow(self, stream: Readable) -> Outline:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast("IO[bytes]", stream))):
            if count > MAX_OPERATIONS:
                raise ModelError(f'"{self.path.name}" is refused: its table of contents has too many entries.')
            step = STEPS.get(opcode.name)
            if step is None:
                raise ModelError(
                    f'"{self.path.name}" was pickled in an unusual way ({opcode.name}), which is not read. Save its '
                    "state_dict again with torch.save and the usual protocol."
                )
            step(self, argument)
        return self.outline

    def push(self, value: object) -> None:
        self.stack.append(value)

    def other(self, _: object) -> None:
        self.push(OTHER)

    def name(self, argument: str) -> None:
        name = _modern_name(argument)
        self.outline.names.add(name)
        self.push(Name(name))

    def literal(self, argument: int | str) -> None:
        self.push(argument)

    def mark(self, _: object) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def marked_tuple(self, _: object) -> None:
        self._push_tuple(self._since_mark())

    def short_tuple(self, length: int) -> None:
        items = [self.stack.pop() for _ in range(length)][::-1]
        self._push_tuple(items)

    def _push_tuple(self, items: list[Any]) -> None:
        """Tuples of the same tuple again and again are small to store and endless to compare."""
        whole = _Tuple(items)
        whole.weight = 1 + sum(item.weight for item in items if isinstance(item, _Tuple))
        if whole.weight > MAX_OPERATIONS:
            self._refuse("holds tuples nested beyond all measure")
        self.push(whole)

    def put(self, argument: int) -> None:
        self.memo[argument] = self.stack[-1]

    def get(self, argument: int) -> None:
        self.push(self.memo[argument])

    def fill(self, kind: str, count: int | None) -> None:
        if count is None:
            self._since_mark()
        else:
            del self.stack[-count:]
        target = self.stack[-1]
        if isinstance(target, Made) and target.name:
            self.outline.filled[kind].add(target.name)

    def call(self, _: object) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        name = callee.name if isinstance(callee, Name) else ""
        self._check_call(name, arguments)
        self.push(Made(name))

    def build(self, _: object) -> None:
        self.stack.pop()
        target = self.stack[-1]
        # The state of a tensor may give it any size; only files of 2017 have it.
        if isinstance(target, Made) and _is_tensor_maker(target.name):
            self._refuse(f'fills in a "{target.name}" piece by piece, as only very old or forged files do')

    def storage(self, _: object) -> None:
        parts = self.stack.pop()
        if isinstance(parts, tuple) and parts and parts[0] == "module":
            raise ModelError(
                f'"{self.path.name}" is a whole network in the form that PyTorch used before version 1.6, which can '
                "only be opened together with its code. Open it once where that code is, and save its state_dict: "
                "torch.save(model.state_dict(), ...)."
            )
        if not isinstance(parts, tuple) or len(parts) < 5 or parts[0] != "storage" or not isinstance(parts[1], Name):
            self._refuse("has a storage of an unknown form")
        _, kind, key, _, items, *view = parts
        item_bytes = ITEM_BYTES.get(kind.name.rsplit(".", 1)[-1])
        if item_bytes is None or not isinstance(key, str | int) or type(items) is not int:
            self._refuse(f'has a storage of the kind "{shorten(kind.name)}", which is not read')
        stored = Stored(item_bytes, items)
        check_claim(self.path, str(key), (items,), item_bytes, self.stored_bytes(str(key)))
        self.held += 0 if str(key) in self.outline.storages else items * item_bytes
        if self.outline.storages.setdefault(str(key), stored) != stored:
            self._refuse(f'gives its storage "{shorten(str(key))}" two sizes')
        self.push(self._view(stored, view[0] if view else OTHER))

    def _view(self, stored: Stored, view: object) -> Stored:
        if not isinstance(view, tuple):
            return stored
        if len(view) != 3 or not all(type(part) is int for part in view[1:]):
            self._refuse("has a storage of an unknown form")
        if view[1] < 0 or not 0 <= view[2] <= stored.items - view[1]:
            self._refuse("has a part of a storage that lies outside it")
        return Stored(stored.item_bytes, view[2])

    def _check_call(self, name: str, arguments: object) -> None:
        if name in UNREAD_TENSORS:
            self._refuse(f"holds {UNREAD_TENSORS[name]}, which are not read. Save the network in 32-bit floating point")
        if name in REBUILD_TENSOR:
            self._check_tensor(arguments, untyped=name.endswith("v3"))
        elif name == REBUILD_SUBCLASS:
            if not (isinstance(arguments, tuple) and len(arguments) == 4 and isinstance(arguments[0], Name)):
                self._refuse("has a tensor of an unknown form")
            if not arguments[0].name.startswith("torch._utils._rebuild_"):
                self._refuse(f'makes a tensor with "{shorten(arguments[0].name)}"')
            self._check_call(arguments[0].name, arguments[2])
        elif _takes_memory(name) and arguments != () and not _only_converts(name, arguments):
            self._refuse(f'asks "{name}" for memory, which no set of weights needs')

    def _check_tensor(self, arguments: object, *, untyped: bool) -> None:
        if not (isinstance(arguments, tuple) and len(arguments) >= 4 and isinstance(arguments[0], Stored)):
            self._refuse("has a tensor of an unknown form")
        stored, offset, shape, strides = arguments[:4]
        item_bytes = stored.item_bytes
        if untyped:
            dtype = arguments[6] if len(arguments) > 6 else OTHER
            item_bytes = DTYPE_BYTES.get(dtype.name.removeprefix("torch."), 0) if isinstance(dtype, Name) else 0
        sizes = (shape, strides)
        if not item_bytes or not all(isinstance(part, tuple) and all(type(n) is int for n in part) for part in sizes):
            self._refuse("has a tensor of an unknown form")
        items = stored.items * stored.item_bytes // item_bytes
        self._check_size(shape, item_bytes, items * item_bytes)
        steps = sum((side - 1) * stride for side, stride in zip(shape, strides, strict=False))
        last = offset + steps if math.prod(shape) else offset - 1
        if len(shape) != len(strides) or offset < 0 or min(strides, default=0) < 0 or last >= items:
            self._refuse(f"has a tensor of shape {shape_text(shape)} that lies outside its storage")

    def _check_size(self, shape: tuple[int, ...], item_bytes: int, stored_bytes: int) -> None:
        """Allow constants that were expanded, for they are small, but not as many as fill the memory."""
        claimed = check_claim(self.path, "tensor", shape, item_bytes, max(stored_bytes, MAX_EXPANDED_BYTES))
        self.expanded += max(0, claimed - stored_bytes)
        self.claimed += claimed
        if self.expanded > MAX_EXPANDED_BYTES or self.claimed > MAX_VIEWS * self.held + MAX_EXPANDED_BYTES:
            self._refuse(f"claims tensors of {self.claimed:,} bytes, and holds {self.held:,}")

    def _refuse(self, problem: str) -> NoReturn:
        raise ModelError(f'"{self.path.name}" is refused: it {problem}.')


def _takes_memory(name: str) -> bool:
    """Whether calling it with numbers takes as much memory as they say."""
    storage = name.startswith("torch.") and name.endswith("Storage")
    return name == "builtins.bytearray" or storage or _is_tensor_class(name)


def _is_tensor_class(name: str) -> bool:
    return name.startswith("torch.") and name.endswith("Tensor") and not name.startswith("torch.nn.")


def _is_tensor_maker(name: str) -> bool:
    return name.startswith(("torch._utils._rebuild", "torch.nn.parameter.", "torch._tensor.")) or _is_tensor_class(name)


def _only_converts(name: str, arguments: object) -> bool:
    return name == "builtins.bytearray" and isinstance(arguments, tuple) and not isinstance(arguments[0], int)


def _modern_name(argument: str) -> str:
    """Dotted name of an instruction's "module name", with today's names for those of Python 2 as torch does it."""
    from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

    module, _, name = argument.partition(" ")
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"


# What torch's own reader knows; everything else is refused there, too.
STEPS: Mapping[str, Callable[[_Follower, Any], None]] = {
    **dict.fromkeys(
        ("NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT", "SHORT_BINSTRING", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"),
        _Follower.other,
    ),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"), _Follower.literal),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Follower.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Follower.get),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Follower.call),
    "EMPTY_TUPLE": lambda follower, _: follower.short_tuple(0),
    "TUPLE1": lambda follower, _: follower.short_tuple(1),
    "TUPLE2": lambda follower, _: follower.short_tuple(2),
    "TUPLE3": lambda follower, _: follower.short_tuple(3),
    "TUPLE": _Follower.marked_tuple,
    "APPEND": lambda follower, _: follower.fill("list", 1),
    "APPENDS": lambda follower, _: follower.fill("list", None),
    "SETITEM": lambda follower, _: follower.fill("dict", 2),
    "SETITEMS": lambda follower, _: follower.fill("dict", None),
    "MARK": _Follower.mark,
    "GLOBAL": _Follower.name,
    "BUILD": _Follower.build,
    "BINPERSID": _Follower.storage,
    "PROTO": lambda *_: None,
    "STOP": lambda *_: None,
}


def outline_pickle(path: Path, stream: Readable, stored_bytes: Callable[[str], int]) -> Outline:
    """Follow a pickle without carrying it out.

    Parameters
    ----------
    path : Path
        The file, for messages.
    stream : binary file
        Read up to the end of the first pickle.
    stored_bytes : callable
        How many bytes the file holds for the storage of a key; 0 if there is none.

    Raises
    ------
    ModelError
        If it is damaged, uses instructions that plain weights do not, or claims more than the file holds.
    """
    try:
        with warnings.catch_warnings():  # forged texts have escapes that Python warns of
            warnings.simplefilter("ignore")
            return _Follower(path, stored_bytes).follow(stream)
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
        MemoryError,
    ) as error:
        raise ModelError(f'"{path.name}" is damaged: its table of contents cannot be read. Copy it again.') from error
