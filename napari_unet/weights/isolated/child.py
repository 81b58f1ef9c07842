"""The process that runs somebody else's network. It is started as a script and imports nothing of this package.

It reads orders from stdin and answers on stdout: the length of a JSON text as four bytes, the text,
and as many bytes as the text says. Before it looks at the network it gives up what it does not need:
it can then open no file, write none, and take no more memory than it was granted. These limits
exist on Linux and macOS; on Windows only the empty folder and the bare environment remain.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from typing import IO, Any

MAX_TEXT_BYTES = 2**20
ERROR_CHARACTERS = 300
CPU_S = 3600

Run = Callable[[Any], Any]


def main() -> None:
    """Load the network that the first order brings, then run it on each array that follows."""
    orders, answers = _own_pipes()
    _end_with_parent()
    order, content = receive(orders)
    sys.path.extend(order["paths"])
    try:
        open_network = {"onnx": _open_onnx, "torchscript": _open_torchscript}[order["kind"]](order)
        _give_up_rights(int(order["memory_bytes"]))
        run, facts = open_network(content)
    except Exception as error:  # whatever it is, the other side says it
        send(answers, {"error": _in_a_line(error)})
        return
    del content
    send(answers, facts)
    while True:
        order, content = receive(orders)
        _allow_cpu()
        _answer(answers, run, order, content)


def _answer(answers: IO[bytes], run: Run, order: dict[str, Any], content: bytes) -> None:
    import numpy as np

    try:
        image = np.frombuffer(content, np.float32).reshape(order["shape"])
        found = np.ascontiguousarray(run(image), dtype=np.float32)
    except Exception as error:
        send(answers, {"error": _in_a_line(error)})
    else:
        send(answers, {"shape": found.shape}, found.tobytes())


def _open_onnx(order: dict[str, Any]) -> Callable[[bytes], tuple[Run, dict[str, Any]]]:
    import numpy as np

    onnxruntime: Any = import_module("onnxruntime")

    def open_network(content: bytes) -> tuple[Run, dict[str, Any]]:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = int(order["threads"]), 1
        settings.log_severity_level = 4
        session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
        (taken,) = session.get_inputs()
        types = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
        if taken.type not in types:
            message = f"it takes values of type {taken.type}, and floating-point ones are expected"
            raise ValueError(message)
        kind, first = types[taken.type], session.get_outputs()[0].name

        def run(image: Any) -> Any:  # noqa: ANN401
            return session.run([first], {taken.name: image.astype(kind)})[0]

        return run, {"outputs": len(session.get_outputs())}

    return open_network


def _open_torchscript(order: dict[str, Any]) -> Callable[[bytes], tuple[Run, dict[str, Any]]]:
    torch: Any = import_module("torch")
    torch.set_num_threads(int(order["threads"]))
    _warm_up(torch)

    def open_network(content: bytes) -> tuple[Run, dict[str, Any]]:
        network = torch.jit.load(BytesIO(content), map_location="cpu").eval()
        kernels = [tuple(p.shape) for p in network.parameters() if p.ndim in (4, 5)]

        def run(image: Any) -> Any:  # noqa: ANN401
            with torch.inference_mode():
                return _first_tensor(network(torch.from_numpy(image.copy()))).float().cpu().numpy()

        return run, {"kernel": kernels[0] if kernels else None, "last": _last_step(network)}

    return open_network


def _warm_up(torch: Any) -> None:  # noqa: ANN401
    """Make torch read whatever files it needs as long as it can, and start its threads."""
    for network, shape in ((torch.nn.Conv2d(1, 1, 3), (1, 1, 256, 256)), (torch.nn.Conv3d(1, 1, 3), (1, 1, 8, 64, 64))):
        written = BytesIO()
        torch.jit.save(torch.jit.trace(network, torch.zeros(shape)), written)
        written.seek(0)
        again = torch.jit.load(written, map_location="cpu").eval()
        for _ in range(3):  # the first runs are profiled, the later ones optimized
            again(torch.zeros(shape))
        _last_step(again)


def _first_tensor(found: Any) -> Any:  # noqa: ANN401
    while isinstance(found, (tuple, list, dict)):
        found = next(iter(found.values() if isinstance(found, dict) else found))
    return found


def _last_step(network: Any) -> str:  # noqa: ANN401
    """Return the last operation that changes values, such as "aten::sigmoid"; "" if that cannot be told."""
    try:
        graph = network.inlined_graph  # its nodes do not outlive it
        node = next(graph.outputs()).node()
        while node.kind() in ("aten::to", "aten::contiguous", "aten::permute", "aten::clone"):
            node = next(node.inputs()).node()
        return str(node.kind())
    except Exception:  # not every program has such a graph
        return ""


def receive(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Read a message and the bytes that belong to it; the end of the pipe ends the process."""
    length = int.from_bytes(_exactly(pipe, 4), "little")
    if length > MAX_TEXT_BYTES:
        os._exit(2)
    order = json.loads(_exactly(pipe, length))
    return order, _exactly(pipe, int(order["bytes"]))


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    content = pipe.read(count)
    if len(content) < count:
        os._exit(0)
    return content


def send(pipe: IO[bytes], answer: dict[str, Any], content: bytes = b"") -> None:
    """Write a message and the bytes that belong to it."""
    text = json.dumps({**answer, "bytes": len(content)}).encode()
    pipe.write(len(text).to_bytes(4, "little") + text)
    pipe.write(content)
    pipe.flush()


def _in_a_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # What went wrong is the first line of onnxruntime and the last one of TorchScript.
    said = lines[-1] if lines and lines[0].startswith("The following operation failed") else "".join(lines[:1])
    return (said or type(error).__name__)[:ERROR_CHARACTERS]


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep stdin and stdout to ourselves: what the network prints goes nowhere."""
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
    return orders, answers


def _end_with_parent() -> None:
    """End when the parent does, also in the middle of a computation."""
    if os.name != "posix":
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def _give_up_rights(memory_bytes: int) -> None:
    """From now on: open no file, write none, leave no core dump, take so much more memory at most."""
    if os.name != "posix":
        return
    import resource

    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            taken = int(file.read().split()[0]) * resource.getpagesize()
        _limit(resource.RLIMIT_AS, taken + memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _allow_cpu()
    # New files get the lowest free number; where that is not allowed, none can be opened.
    free = os.dup(0)
    os.close(free)
    _limit(resource.RLIMIT_NOFILE, free)


def _allow_cpu() -> None:
    """Allow an hour of computation from now on."""
    if os.name != "posix":
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + CPU_S, hard))


def _limit(which: int, value: int) -> None:
    import resource

    with contextlib.suppress(OSError, ValueError):  # some systems do not know some limits
        resource.setrlimit(which, (value, value))


if __name__ == "__main__":
    main()
