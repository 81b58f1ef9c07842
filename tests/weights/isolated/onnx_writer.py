"""ONNX files made node by node."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(0)


def tiny_unet(sides=("y", "x"), channels=1, classes=2, end="", dims=2, last=False, pad=1):
    """Convolution, pooling, up-sampling, join and head; returns the model and its tensors by name."""
    tensors = {}

    def kernel(name, *shape):
        tensors[name] = (RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        return name

    ones = [1] * dims
    nodes = [
        helper.make_node("Conv", ["in", kernel("w1", 4, channels, *[3] * dims)], ["a"], pads=[pad] * 2 * dims),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2] * dims, strides=[2] * dims),
        helper.make_node("ConvTranspose", ["c", kernel("w2", 4, 4, *[2] * dims)], ["d"], strides=[2] * dims),
        helper.make_node("Concat", ["b", "d"], ["e"], axis=1),
        helper.make_node("Conv", ["e", kernel("w3", classes, 8, *ones), "bias"], ["f"]),
    ]
    tensors["bias"] = RNG.normal(size=classes).astype(np.float32)
    output = "f"
    if end:
        axis = {"axis": 1} if end == "Softmax" else {}
        nodes.append(helper.make_node(end, ["f"], ["g"], **axis))
        output = "g"
    shape = [1, channels, *sides]
    if last:
        nodes.insert(0, helper.make_node("Transpose", ["image"], ["in"], perm=[0, 3, 1, 2]))
        nodes.append(helper.make_node("Transpose", [output], ["out"], perm=[0, 2, 3, 1]))
        output, shape = "out", [1, *sides, channels]
    return as_model(nodes, tensors, shape, output, len(shape)), tensors


def as_model(nodes, tensors, shape, output, rank, domains=()):
    taken = next(name for name in nodes[0].input)
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(taken, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    imports = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def save(model, path):
    onnx.save(model, str(path))
    return path


def restated(tensors, image):
    """Logits of the same network, with torch."""
    import torch
    from torch.nn import functional as F

    w = {name: torch.from_numpy(value) for name, value in tensors.items()}
    b = torch.relu(F.conv2d(torch.from_numpy(image), w["w1"], padding=1))
    d = F.conv_transpose2d(F.max_pool2d(b, 2), w["w2"], stride=2)
    return F.conv2d(torch.cat([b, d], 1), w["w3"], w["bias"])
