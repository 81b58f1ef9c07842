"""Plain restatements of U-Nets of Keras and TensorFlow, on arrays (N, Y, X, C) as these have them.

Each network is given as the calls that its author's code makes; `Tape` either makes random weights and writes
the layers down, or computes with them.
"""

from __future__ import annotations

import numpy as np
import torch
from keras_writer import layer, snake
from torch.nn import functional as F


def first(x):
    return x.permute(0, 3, 1, 2)


def last(x):
    return x.permute(0, 2, 3, 1)


def conv_same(x, kernel, bias=None):
    """Keras's padding="same": of an even kernel's padding the larger part lies at the far end."""
    height, width = kernel.shape[:2]
    pads = [(width - 1) // 2, width - 1 - (width - 1) // 2, (height - 1) // 2, height - 1 - (height - 1) // 2]
    return last(F.conv2d(F.pad(first(x), pads), kernel.permute(3, 2, 0, 1), bias))


def conv_transposed(x, kernel, bias=None):
    """Stride 2, kernel (k, k, out, in), padding="same": each pixel adds a square, what juts out at the end is cut."""
    n, height, width, _ = x.shape
    side = kernel.shape[0]
    out = torch.zeros((n, 2 * height + side - 2, 2 * width + side - 2, kernel.shape[2]))
    for a in range(side):
        for b in range(side):
            out[:, a : a + 2 * height : 2, b : b + 2 * width : 2] += torch.einsum("nyxi,ci->nyxc", x, kernel[a, b])
    out = out[:, : 2 * height, : 2 * width]
    return out if bias is None else out + bias


def max_pool_same(x):
    """TensorFlow's padding="SAME": an odd side is padded at the far end, with what no maximum takes."""
    pads = [0, x.shape[2] % 2, 0, x.shape[1] % 2]
    return last(F.max_pool2d(F.pad(first(x), pads, value=float("-inf")), 2))


def double(x):
    return x.repeat_interleave(2, 1).repeat_interleave(2, 2)


def depth_to_space(x, block):
    n, height, width, channels = x.shape
    x = x.reshape(n, height, width, block, block, channels // block**2)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(n, height * block, width * block, channels // block**2)


ACTIVATIONS = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
    "softmax": lambda x: torch.softmax(x, -1),
    "elu": F.elu,
}


class Tape:
    """Runs the calls of a model, and keeps its layers for the writers of files."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.layers = []
        self.count = {}
        self.names = {}
        self.weights = {}

    def start(self, x):
        """Begin a call of the model; the first call makes the weights."""
        self.making = not self.layers
        self.count = {}
        self.names = {}
        return self.keep(x, "InputLayer", (), {}, batch_shape=[None, None, None, x.shape[-1]])

    def keep(self, x, class_name, inputs, weights, **config):
        number = self.count[class_name] = self.count.get(class_name, -1) + 1
        name = f"{snake(class_name)}_{number + 19}"  # as in a run of Python that has made other models before
        if self.making:
            sources = [self.names[id(value)] for value in inputs]
            self.layers.append(layer(class_name, name, sources, weights, **config))
        self.names[id(x)] = name
        self.alive = [*getattr(self, "alive", []), x]  # so that no id is given twice
        return x

    def take(self, key, make):
        if self.making:
            self.weights[key] = {name: torch.tensor(value, dtype=torch.float32) for name, value in make().items()}
        return self.weights[key]

    def conv(self, x, width, size=3, activation="relu", class_name="Conv2D", gain=2.0, bias=True):
        number = self.count.get(class_name, -1) + 1
        channels = x.shape[-1]

        def make():
            transposed = class_name == "Conv2DTranspose"
            shape = (size, size, width, channels) if transposed else (size, size, channels, width)
            fan = channels if transposed else channels * size * size
            found = {"kernel": self.rng.normal(size=shape) * np.sqrt(gain / fan)}
            return found | ({"bias": self.rng.normal(size=width) * 0.3} if bias else {})

        weights = self.take((class_name, number), make)
        run = conv_transposed if class_name == "Conv2DTranspose" else conv_same
        out = ACTIVATIONS[activation](run(x, weights["kernel"], weights.get("bias")))
        config = {"filters": width, "kernel_size": [size, size], "padding": "same", "activation": activation}
        config |= {"strides": [2, 2] if class_name == "Conv2DTranspose" else [1, 1], "use_bias": bias}
        return self.keep(out, class_name, [x], weights, **config)

    def transposed(self, x, width, size=2, activation="linear"):
        return self.conv(x, width, size, activation, "Conv2DTranspose", gain=1.0)

    def norm(self, x, scale=True):
        number = self.count.get("BatchNormalization", -1) + 1
        width = x.shape[-1]

        def make():
            found = {"gamma": self.rng.uniform(0.7, 1.3, width)} if scale else {}
            flat = x.reshape(-1, width)
            return found | {
                "beta": self.rng.normal(size=width) * 0.3,
                "moving_mean": flat.mean(0).numpy() + self.rng.normal(size=width) * 0.1,
                "moving_variance": flat.var(0).numpy() * self.rng.uniform(0.7, 1.3, width),
            }

        w = self.take(("BatchNormalization", number), make)
        out = (x - w["moving_mean"]) / torch.sqrt(w["moving_variance"] + 1e-3) * w.get("gamma", 1) + w["beta"]
        return self.keep(out, "BatchNormalization", [x], w, epsilon=1e-3, scale=scale, center=True)

    def activation(self, x, name):
        return self.keep(ACTIVATIONS[name](x) + 0, "Activation", [x], {}, activation=name)

    def dropout(self, x):
        return self.keep(x.clone(), "Dropout", [x], {}, rate=0.5)

    def pool(self, x):
        out = last(F.max_pool2d(first(x), 2))
        return self.keep(out, "MaxPooling2D", [x], {}, pool_size=[2, 2], strides=[2, 2], padding="valid")

    def upsample(self, x, interpolation="nearest"):
        if interpolation == "nearest":
            out = double(x)
        else:
            out = last(F.interpolate(first(x), scale_factor=2, mode="bilinear", align_corners=False))
        return self.keep(out, "UpSampling2D", [x], {}, size=[2, 2], interpolation=interpolation)

    def concatenate(self, values):
        return self.keep(torch.cat(values, -1), "Concatenate", values, {}, axis=3)


def tutorial(tape, image, base=4, concat="decoder", depth=4):
    """Of 32 to 512 channels with base=32; the decoder's features come first."""
    x = tape.start(image)
    skips = []
    for level in range(depth):
        x = tape.conv(tape.conv(x, base * 2**level), base * 2**level)
        skips.append(x)
        x = tape.pool(x)
    x = tape.conv(tape.conv(x, base * 2**depth), base * 2**depth)
    for level in reversed(range(depth)):
        up = tape.transposed(x, base * 2**level)
        x = tape.concatenate([up, skips[level]] if concat == "decoder" else [skips[level], up])
        x = tape.conv(tape.conv(x, base * 2**level), base * 2**level)
    return tape.conv(x, 1, 1, "sigmoid", gain=1.0)


def zhixuhao(tape, image, base=4):
    """UpSampling2D and a convolution of kernel 2; dropout twice; the encoder's features come first."""
    x = tape.start(image)
    skips = []
    for level in range(4):
        x = tape.conv(tape.conv(x, base * 2**level), base * 2**level)
        x = tape.dropout(x) if level == 3 else x
        skips.append(x)
        x = tape.pool(x)
    x = tape.dropout(tape.conv(tape.conv(x, base * 16), base * 16))
    for level in reversed(range(4)):
        up = tape.conv(tape.upsample(x), base * 2**level, 2)
        x = tape.concatenate([skips[level], up])
        x = tape.conv(tape.conv(x, base * 2**level), base * 2**level)
    return tape.conv(tape.conv(x, 2, gain=8.0), 1, 1, "sigmoid", gain=8.0)


def normalized(  # noqa: PLR0917
    tape, image, base=4, place="before", depth=2, up="transpose", concat="skip", head="softmax", scale=True
):
    """With batch normalization before or after the activation."""

    def unit_end(x):
        return tape.activation(tape.norm(x, scale), "relu")

    def unit(x, width):
        if place == "after":
            return tape.norm(tape.conv(x, width, activation="elu"), scale)
        return unit_end(tape.conv(x, width, activation="linear", bias=False))

    x = tape.start(image)
    skips = []
    for level in range(depth):
        x = unit(unit(x, base * 2**level), base * 2**level)
        skips.append(x)
        x = tape.pool(x)
    x = unit(unit(x, base * 2**depth), base * 2**depth)
    for level in reversed(range(depth)):
        if up == "transpose":
            x = tape.transposed(x, base * 2**level)
        elif up == "transpose, normalized":
            x = unit_end(tape.transposed(x, base * 2**level))
        elif up == "transpose 3":
            x = tape.transposed(x, base * 2**level, 3, "elu" if place == "after" else "relu")
        elif up == "none":
            x = tape.upsample(x)
        else:
            x = tape.upsample(x, up)
            x = tape.conv(x, base * 2**level, 3, "linear", gain=1.0)
        x = tape.concatenate([x, skips[level]] if concat == "decoder" else [skips[level], x])
        x = unit(unit(x, base * 2**level), base * 2**level)
    x = tape.conv(x, 3, 1, "linear", gain=1.0)
    return tape.activation(x, head) if head != "linear" else x


def slim_weights(seed=0, base=4, channels=3, outputs=6, extra=0):
    """Variables of the TensorFlow-slim U-Net, by their names."""
    rng = np.random.default_rng(seed)
    found = {}

    def add(scope, size, i, o, gain=2.0):
        found[f"{scope}/weights"] = (rng.normal(size=(size, size, i, o)) * np.sqrt(gain / (size * size * i))).astype(
            "f4"
        )
        found[f"{scope}/biases"] = (rng.normal(size=o) * 0.3).astype("f4")

    widths = [base * 2**level for level in range(5)]
    before = channels
    for i in range(9):
        width = widths[min(i, 8 - i)]
        add(f"g_conv{i + 1}_1", 3, before if i < 5 else 2 * width, width)
        add(f"g_conv{i + 1}_2", 3, width, width)
        before = width
    for step in range(4):
        o, i = widths[3 - step], widths[4 - step]
        number = step + extra
        name = f"Variable_{number}" if number else "Variable"
        found[name] = (rng.normal(size=(2, 2, o, i)) * np.sqrt(1 / i)).astype("f4")
    add("output/g_conv10", 1, base, outputs, 1.0)
    return found


def slim(variables, image, extra=0):
    w = {name: torch.tensor(value) for name, value in variables.items()}

    def conv(x, scope):
        x = conv_same(x, w[f"{scope}/weights"], w[f"{scope}/biases"])
        return torch.maximum(x * 0.2, x)

    x, skips = image, []
    for level in range(1, 6):
        x = conv(conv(x, f"g_conv{level}_1"), f"g_conv{level}_2")
        skips.append(x)
        x = max_pool_same(x)
    x = skips.pop()
    for step in range(4):
        number = step + extra
        up = conv_transposed(x, w[f"Variable_{number}" if number else "Variable"])
        skip = skips.pop()
        x = torch.cat([up[:, : skip.shape[1], : skip.shape[2]], skip], 3)
        x = conv(conv(x, f"g_conv{step + 6}_1"), f"g_conv{step + 6}_2")
    out = conv_same(x, w["output/g_conv10/weights"], w["output/g_conv10/biases"])
    return depth_to_space(out, 3) if out.shape[3] == 27 else out
