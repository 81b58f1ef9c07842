"""What stands for the classes of other programs: it keeps what the file says and does nothing.

`torch.load` with ``weights_only=True`` refuses names that it does not know. Each such name is given
one of the classes below instead, so that the tensors around it can be read. Names that only an
attack would use are refused before.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from napari_unet.errors import ModelError
from napari_unet.weights.formats.limits import shorten
from napari_unet.weights.formats.outline import Outline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REFUSED_ROOTS = {
    "os", "posix", "nt", "ntpath", "posixpath", "subprocess", "sys", "importlib", "runpy", "socket", "shutil",
    "ctypes", "_ctypes", "codeop", "pdb", "bdb", "operator", "_operator", "pickle", "_pickle", "marshal", "shelve",
    "dill", "cloudpickle", "joblib", "codecs", "pty", "tempfile", "webbrowser", "multiprocessing", "threading",
    "_thread", "asyncio", "urllib", "http", "ftplib", "smtplib", "requests", "httpx", "pip", "setuptools",
    "distutils", "timeit", "cProfile", "pydoc", "doctest", "inspect", "gc", "ensurepip", "zipimport", "pkgutil",
    "sqlite3", "py_compile", "compileall", "linecache", "_io",
}  # fmt: skip
REFUSED_NAMES = (
    "torch.hub.", "torch.jit.", "torch.load", "torch.save", "torch.serialization.load", "torch.utils.cpp_extension.",
    "torch.utils.model_zoo.", "torch.package.", "torch.ops.", "torch.classes.", "torch.compile", "torch.from_file",
    "torch.distributed.rpc.", "torch._inductor.", "torch.fx.", "numpy.load", "numpy.memmap",
    "numpy.fromfile", "numpy.save", "numpy.f2py.", "numpy.testing.", "numpy.lib.", "pandas.eval", "pandas.read_",
    "types.FunctionType", "types.CodeType", "types.MethodType", "functools.reduce",
    "code.interact", "code.Interactive", "code.compile_command", "trace.Trace", "profile.run", "imp.load_", "io.open",
)  # fmt: skip
PLAIN_BUILTINS = {
    "set", "frozenset", "dict", "list", "tuple", "complex", "bytearray", "bytes", "slice", "range", "object", "int",
    "float", "str", "bool",
}  # fmt: skip
NUMPY_ARRAYS = re.compile(
    r"numpy\.(?:_?core\.(?:multiarray|numeric)\.)?(scalar|_reconstruct|_frombuffer|ndarray|dtype)$"
)


def check_names(path: Path, names: Iterable[str]) -> None:
    """Refuse a file that asks for what only an attack needs.

    Raises
    ------
    ModelError
        Naming the first one.
    """
    for name in sorted(names):
        if is_dangerous(name):
            raise ModelError(
                f'"{path.name}" is refused: it asks for "{shorten(name)}", which no set of weights needs and which can '
                "run programs. Nothing of it was run. Do not open this file with other programs either."
            )


def is_dangerous(name: str) -> bool:
    """Whether a dotted name could run programs or read files if it were called.

    Examples
    --------
    >>> [is_dangerous(name) for name in ("posix.system", "builtins.eval", "builtins.set", "argparse.Namespace")]
    [True, True, False, False]
    """
    root, _, rest = name.partition(".")
    if root in ("builtins", "__builtin__"):
        return rest not in PLAIN_BUILTINS
    # A name in a test of numpy or torch leads back to any module: "torch.os.system".
    parts = rest.split(".")
    roundabout = root in ("torch", "numpy") and any(part in ("os", "sys", "subprocess", "builtins") for part in parts)
    return root in REFUSED_ROOTS or roundabout or name.startswith(REFUSED_NAMES)


class Stub:
    """An object whose class is not here: it keeps its arguments and its state.

    Attributes
    ----------
    origin : str
        Dotted name of the class or function that the file asks for.
    arguments : tuple
    state : object
        What the object had as attributes, mostly a dict; None if nothing was said.
    """

    origin = ""
    arguments: tuple[object, ...]
    state: object

    def __new__(cls, *arguments: object) -> Self:
        """Keep the arguments also where a pickle creates without initialising."""
        stub = super().__new__(cls)
        stub.arguments = arguments
        stub.state = None
        return stub

    def __setstate__(self, state: object) -> None:
        self.state = state

    def attributes(self) -> dict[str, Any]:
        """Return what the state holds by name; a pair is that of a class with slots."""
        parts = self.state if isinstance(self.state, tuple) and len(self.state) == 2 else (self.state,)
        return {str(key): value for part in parts if isinstance(part, dict) for key, value in part.items()}


class FilledDict:
    """Stands for a child of dict: gives a plain ordered one, which may be filled."""

    def __new__(cls, *_: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        """Ignore the arguments."""
        return OrderedDict()


class FilledList:
    """Stands for a child of list: gives a plain one, which may be filled."""

    def __new__(cls, *_: object) -> list[Any]:  # type: ignore[misc]
        """Ignore the arguments."""
        return []


class NumpyType:
    """A numpy dtype as data. Real ones can be forged so that numpy reads memory it should not."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code = code.decode("latin-1") if isinstance(code, bytes) else str(code)
        self.order = "<"

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "<"
        self.order = order.decode("latin-1") if isinstance(order, bytes) else str(order)

    def plain(self) -> np.dtype[Any] | None:
        """Return the dtype if it is one of numbers, otherwise None."""
        import numpy as np

        if not re.fullmatch(r"b1|[iu][1248]|f[248]", self.code) or self.order not in ("<", ">", "|", "="):
            return None
        return np.dtype(self.order.replace("|", "=") + self.code)


class NumpyArray:
    """A numpy array as data, see `NumpyType`."""

    def __init__(self, *_: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def dimensions(self) -> int:
        """Return the number of dimensions it says it has."""
        shape = self.state[1] if isinstance(self.state, tuple) and len(self.state) == 5 else ()
        return len(shape) if isinstance(shape, tuple) else 0

    def array(self) -> NDArray[Any] | None:
        """Return the array if it is one of numbers and complete, otherwise None."""
        import numpy as np

        state = self.state
        if not isinstance(state, tuple) or len(state) != 5:
            return None
        _, shape, kind, by_column, raw = state
        dtype = kind.plain() if isinstance(kind, NumpyType) else None
        if dtype is None or not isinstance(raw, bytes) or not isinstance(shape, tuple):
            return None
        try:
            return np.frombuffer(raw, dtype).reshape(shape, order="F" if by_column else "C")
        except (ValueError, TypeError, OverflowError):
            return None


def numpy_scalar(kind: object = None, raw: object = b"") -> object:
    """Give the number that a numpy scalar holds; None if it is no number."""
    import numpy as np

    dtype = kind.plain() if isinstance(kind, NumpyType) else None
    if dtype is None or not isinstance(raw, bytes) or len(raw) != dtype.itemsize:
        return None
    return np.frombuffer(raw, dtype)[0].item()


def new_numpy_array(*_: object) -> NumpyArray:
    """Stands for the function with which numpy begins an array."""
    return NumpyArray()


NUMPY_PLACES: dict[str, Callable[..., Any]] = {
    "scalar": numpy_scalar,
    "_reconstruct": new_numpy_array,
    "ndarray": NumpyArray,
    "dtype": NumpyType,
}


def stand_ins(outline: Outline, known: Iterable[str]) -> list[tuple[Callable[..., Any], str]]:
    """Give every name that torch does not know something inert, in the form that ``safe_globals`` takes.

    Parameters
    ----------
    outline : Outline
        What the pickle asks for.
    known : iterable of str
        Names that need none.
    """
    return [(_stand_in(name, outline), name) for name in sorted(outline.names - set(known))]


def _stand_in(name: str, outline: Outline) -> Callable[..., Any]:
    found = NUMPY_ARRAYS.match(name)
    if found and found[1] in NUMPY_PLACES:
        return NUMPY_PLACES[found[1]]
    if name in ("collections.defaultdict", "builtins.dict") or name in outline.filled["dict"]:
        return type("FilledDict", (FilledDict,), {})
    if name == "builtins.list" or name in outline.filled["list"]:
        return type("FilledList", (FilledList,), {})
    return type("Stub", (Stub,), {"origin": name})
