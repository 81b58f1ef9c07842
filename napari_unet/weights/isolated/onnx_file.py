"""What an ONNX file says, read as data: nothing of it is run here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from napari_unet.errors import ModelError
from napari_unet.weights.formats.limits import shorten

Gives = Literal["logits", "sigmoid", "softmax"]

MAX_BYTES = 2**31 - 1
"""Of a protobuf message."""
INSTALL = 'ONNX files need two more packages: pip install "napari-unet[onnx]"'
# Those that onnxruntime brings itself. Others would need a library of the author's.
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
_UNCHANGING = ("Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice")
_ENDS: dict[str, Gives] = {"Sigmoid": "sigmoid", "HardSigmoid": "sigmoid", "Softmax": "softmax"}


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """What is known of a network before it runs.

    Attributes
    ----------
    shape : tuple of int
        Of its input, batch first; 0 where any size is taken.
    outputs : int
        How many it has.
    gives : "logits" | "sigmoid" | "softmax"
        What its first output is, by the last step of the graph.
    """

    shape: tuple[int, ...]
    outputs: int
    gives: Gives


def read_onnx(name: str, content: bytes) -> OnnxFile:
    """Read and check the content of an ONNX file.

    Raises
    ------
    ModelError
        If it is damaged, needs other files or a library of its author's, or does not take one image.
    """
    graph = _parse(name, content)
    given = {tensor.name for tensor in graph.initializer}
    inputs = [one for one in graph.input if one.name not in given]
    if len(inputs) != 1 or not graph.output:
        names = ", ".join(shorten(one.name, 30) for one in inputs[:5])
        raise ModelError(
            f'"{name}" takes {len(inputs)} inputs ({names}) and gives {len(graph.output)} outputs. '
            "Expected is a network from one image to one output."
        )
    sides = inputs[0].type.tensor_type.shape.dim
    shape = tuple(max(0, int(side.dim_value)) for side in sides)
    return OnnxFile(shape, len(graph.output), _gives(graph))


def _parse(name: str, content: bytes) -> Any:  # noqa: ANN401
    if len(content) > MAX_BYTES:
        raise ModelError(f'"{name}" holds {len(content):,} bytes, and an ONNX file at most {MAX_BYTES:,}.')
    try:
        onnx: Any = import_module("onnx")
        decode_error: Any = import_module("google.protobuf.message").DecodeError
        import_module("onnxruntime")
    except ImportError as error:
        raise ModelError(f'"{name}" is an ONNX file. {INSTALL}') from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except decode_error as error:
        raise ModelError(f'"{name}" is damaged: it cannot be read as an ONNX file. Copy it again.') from error
    own = {function.domain for function in model.functions}
    for used in model.opset_import:
        if used.domain not in DOMAINS and used.domain not in own:
            raise ModelError(
                f'"{name}" needs operators of "{shorten(used.domain)}", which is a library of its author\'s. Only the '
                "operators of ONNX itself are run."
            )
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelError(
                f'"{name}" keeps its weights in another file ("{shorten(_place(tensor))}"). Save it as one file: '
                "onnx.save(onnx.load(path), new_path)."
            )
    return model.graph


def _place(tensor: Any) -> str:  # noqa: ANN401
    return next((str(entry.value) for entry in tensor.external_data if entry.key == "location"), "")


def _tensors(model: Any) -> Iterator[Any]:  # noqa: ANN401
    """All tensors of a model, those of its functions and inner graphs included."""
    graphs, nodes = [model.graph], [node for function in model.functions for node in function.node]
    for training in model.training_info:
        graphs += [training.initialization, training.algorithm]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
        else:
            for attribute in nodes.pop().attribute:
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
                graphs += [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs


def _gives(graph: Any) -> Gives:  # noqa: ANN401
    """Follow the first output back to the operator that made its values."""
    makers = {output: node for node in graph.node for output in node.output}
    name = graph.output[0].name
    for _ in range(len(makers)):
        node = makers.get(name)
        if node is None or node.op_type not in _UNCHANGING:
            return "logits" if node is None else _ENDS.get(node.op_type, "logits")
        name = node.input[0]
    return "logits"
