"""What the functions of PyTorch mean as operations: one rule for each.

A rule gets the recorder and the call that was seen; the result of the call has a shape only. The names
and arguments are those of PyTorch's ATen library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from napari_unet.inference.exact.intervals import Interval, whole
from napari_unet.inference.exact.operations import Affine, ChannelNorm, Concat, Operation, Pointwise, Reshape
from napari_unet.inference.exact.resampling import Crop, Enlarge, Gather, Interpolate, Pad, Shuffle, Stretch
from napari_unet.inference.exact.sampling import AveragePool, Convolution, MaxPool, Pairs, Transposed
from napari_unet.inference.exact.tracing import Call, NotLocalError, Recorder, Rule, UntraceableError, Value

aten = torch.ops.aten
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Say which functions a rule is for."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def _sides(given: Sequence[int] | int, dims: int) -> tuple[int, ...]:
    """One number an axis, where PyTorch allows a single one for all."""
    sides = tuple(given) if isinstance(given, Sequence) else (given,)
    return sides * dims if len(sides) == 1 else sides


def _pairs(given: Sequence[int] | int, dims: int) -> Pairs:
    return tuple((side, side) for side in _sides(given, dims))


def _reversed_pairs(flat: Sequence[int], dims: int) -> Pairs:
    """Return the padding for each axis from PyTorch's list, which begins with the last axis."""
    pairs = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
    return tuple(reversed(pairs + [(0, 0)] * (dims - len(pairs))))


@rule("convolution")
def _convolution(recorder: Recorder, call: Call) -> Value:
    x, weight, bias, stride, padding, dilation, transposed, beyond, groups = call.args
    dims = recorder.dims
    kernel = tuple(weight.shape[2:])
    numbers: dict[str, Any] = {
        "weight": recorder.weights(weight), "bias": recorder.constant(bias), "kernel": kernel, "groups": groups,
        "stride": _sides(stride, dims), "dilation": _sides(dilation, dims),
    }  # fmt: skip
    made: Operation
    if transposed:
        made = Transposed(padding=_sides(padding, dims), beyond=_sides(beyond, dims), **numbers)
        if any(made.extent(axis) < numbers["stride"][axis] for axis in range(dims)):
            raise UntraceableError("The network has a transposed convolution with holes.")
    else:
        made = Convolution(padding=_pairs(padding, dims), **numbers)
        if any(before >= made.extent(axis) for axis, (before, _) in enumerate(made.padding)):
            raise UntraceableError("The network pads a convolution with more than its kernel.")
    return recorder.add(made, [recorder.node(x)], call.result)


@rule("max_pool2d_with_indices", "max_pool3d_with_indices")
def _max_pool(recorder: Recorder, call: Call) -> Value:
    x, kernel, stride, padding, dilation, ceil = call.filled(2, [], 0, 1, False)
    dims = recorder.dims
    made = MaxPool(
        kernel=_sides(kernel, dims),
        stride=_sides(stride or kernel, dims),
        padding=_pairs(padding, dims),
        dilation=_sides(dilation, dims),
        ceil=ceil,
    )
    return recorder.add(made, [recorder.node(x)], call.result)


@rule("avg_pool2d", "avg_pool3d")
def _average_pool(recorder: Recorder, call: Call) -> Value:
    x, kernel, stride, padding, ceil, counts, divisor = call.filled(2, [], 0, False, True, None)
    if divisor is not None:
        raise UntraceableError("The network divides an average by a number of its own.")
    dims = recorder.dims
    made = AveragePool(
        kernel=_sides(kernel, dims),
        stride=_sides(stride or kernel, dims),
        padding=_pairs(padding, dims),
        dilation=(1,) * dims,
        shape=tuple(x.shape[-dims:]),
        ceil=ceil,
        counts_padding=counts,
    )
    return recorder.add(made, [recorder.node(x)], call.result)


@rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training")
def _batch_norm(recorder: Recorder, call: Call) -> Value:
    x, weight, bias, mean, var = call.args[:5]
    # Instance normalization comes here too, as batch normalization that takes its statistics from the image.
    if mean is None or (len(call.args) == 8 and call.args[5]):
        raise NotLocalError("The network normalizes by statistics of the whole image.")
    mean, var = recorder.weights(mean), recorder.weights(var)
    scale = torch.rsqrt(var.double() + call.args[-1])
    if weight is not None:
        scale = scale * recorder.weights(weight).double()
    shift = -mean.double() * scale
    if bias is not None:
        shift = shift + recorder.weights(bias).double()
    return recorder.add(Affine(scale.to(mean.dtype), shift.to(mean.dtype)), [recorder.node(x)], call.result)


@rule("native_layer_norm")
def _layer_norm(recorder: Recorder, call: Call) -> Value:
    x, shape, weight, bias, eps = call.args
    value, dims = recorder.value(x), recorder.dims
    if value.order != (0, *range(2, dims + 2), 1) or len(shape) != 1:
        raise NotLocalError("The network normalizes by statistics of the whole image.")
    made = ChannelNorm(recorder.constant(weight), recorder.constant(bias), eps)
    canonical = torch.empty(recorder.nodes[value.node].lead + recorder.nodes[value.node].size, device="meta")
    assert canonical.numel() == call.result.numel()
    return Value(recorder.add(made, [value.node], canonical).node, value.order)


@rule("permute")
def _permute(recorder: Recorder, call: Call) -> Value:
    value = recorder.value(call.args[0])
    return Value(value.node, tuple(value.order[axis % call.result.ndim] for axis in call.args[1]))


@rule("native_group_norm", "native_instance_norm", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d",
      "adaptive_max_pool2d", "adaptive_max_pool3d", "_scaled_dot_product_flash_attention_for_cpu")  # fmt: skip
def _global(recorder: Recorder, call: Call) -> Value:
    del recorder, call
    raise NotLocalError("The network has a layer that looks at the whole image at once.")


@rule("mean", "sum", "amax", "prod", "_softmax", "_log_softmax")
def _reduction(recorder: Recorder, call: Call) -> Value:
    axes = call.args[1] if len(call.args) > 1 else []
    axes = [axes] if isinstance(axes, int) else axes
    if not axes or not _precede(axes, call.args[0].ndim, recorder.dims):
        raise NotLocalError("The network computes a mean or another statistic of the whole image.")
    recorder.node(call.args[0])
    return _pointwise(recorder, call)


def _precede(axes: Sequence[int], ndim: int, dims: int) -> bool:
    """Whether axes come before the spatial ones."""
    return all(axis % ndim < ndim - dims for axis in axes)


@rule("cat")
def _cat(recorder: Recorder, call: Call) -> Value:
    axis = (call.args[1] if len(call.args) > 1 else 0) % call.result.ndim
    if axis >= call.result.ndim - recorder.dims:
        raise UntraceableError("The network joins images along a spatial axis.")
    return recorder.add(Concat(axis), [recorder.node(x) for x in call.args[0]], call.result)


@rule("slice")
def _slice(recorder: Recorder, call: Call) -> Value:
    x, axis, start, stop, step = call.filled(1, 0, None, None, 1)
    axis, spatial = axis % x.ndim, axis % x.ndim - (x.ndim - recorder.dims)
    if spatial < 0:
        return _pointwise(recorder, call, shares=True)
    start, stop, step = slice(start, stop, step).indices(x.shape[axis])
    if step > 1:
        return _gather(recorder, x, {spatial: torch.arange(start, stop, step)}, call.result)
    window = list(whole(x.shape[-recorder.dims :]))
    window[spatial] = Interval(start, stop)
    if call.result.shape == x.shape:
        return recorder.value(x)
    return recorder.add(Crop(tuple(window)), [recorder.node(x)], call.result)


@rule("constant_pad_nd")
def _pad(recorder: Recorder, call: Call) -> Value:
    x, flat, value = call.filled(2, 0.0)
    if len(flat) > 2 * recorder.dims:
        raise UntraceableError("The network pads channels.")
    if not any(flat):
        return recorder.value(x)
    return recorder.add(Pad(_reversed_pairs(flat, recorder.dims), float(value)), [recorder.node(x)], call.result)


@rule("replication_pad2d", "replication_pad3d", "reflection_pad2d", "reflection_pad3d")
def _border(recorder: Recorder, call: Call) -> Value:
    x, flat = call.args
    positions = {}
    for axis, (before, after) in enumerate(_reversed_pairs(flat, recorder.dims)):
        n = x.shape[x.ndim - recorder.dims + axis]
        place = torch.arange(-before, n + after)
        mirrored = torch.minimum(place.abs(), 2 * (n - 1) - place.abs())
        positions[axis] = mirrored if call.name.startswith("reflection") else place.clamp(0, n - 1)
    return _gather(recorder, x, positions, call.result)


@rule("index_select")
def _index_select(recorder: Recorder, call: Call) -> Value:
    x, axis, index = call.args
    spatial = axis % x.ndim - (x.ndim - recorder.dims)
    positions = recorder.weights(index)
    if spatial < 0:
        raise UntraceableError("The network picks channels.")
    return _gather(recorder, x, {spatial: positions}, call.result)


def _gather(recorder: Recorder, x: Tensor, positions: dict[int, Tensor], result: Tensor) -> Value:
    """Pick positions along some axes; nothing is to be done where they are all there in their order."""
    size = x.shape[-recorder.dims :]
    places = tuple(positions.get(axis, torch.arange(n)) for axis, n in enumerate(size))
    if all(torch.equal(place, torch.arange(n)) for place, n in zip(places, size, strict=True)):
        return recorder.value(x)
    return recorder.add(Gather(places), [recorder.node(x)], result)


@rule("upsample_nearest2d", "upsample_nearest3d")
def _nearest(recorder: Recorder, call: Call) -> Value:
    x, sizes, *scales = call.args
    old = x.shape[-recorder.dims :]
    scales = [*scales, *[None] * (recorder.dims - len(scales))]
    places = [_nearest_places(*axis) for axis in zip(old, sizes, scales, strict=True)]
    factors = tuple(new // n for n, new in zip(old, sizes, strict=True))
    repeats = (
        torch.equal(place, torch.arange(len(place)) // max(1, factor))
        for place, factor in zip(places, factors, strict=True)
    )
    exact = all(new == factor * n for n, new, factor in zip(old, sizes, factors, strict=True))
    if not exact or not all(repeats) or set(factors) == {1}:
        return _gather(recorder, x, dict(enumerate(places)), call.result)
    return recorder.add(Enlarge(factors, linear=False), [recorder.node(x)], call.result)


def _nearest_places(old: int, new: int, scale: float | None) -> Tensor:
    """Return the pixels that PyTorch takes, rounding as it does, which is exact up to 2²⁴ pixels."""
    line = torch.arange(old, dtype=torch.float32)[None, None]
    picked: Tensor = aten.upsample_nearest1d(line, [new], scale)
    return picked[0, 0].to(torch.int64)


@rule("upsample_bilinear2d", "upsample_trilinear3d")
def _linear(recorder: Recorder, call: Call) -> Value:
    x, sizes, corners, *scales = call.args
    old = tuple(x.shape[-recorder.dims :])
    scales = [*scales, *[None] * (recorder.dims - len(scales))]
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    axes = tuple(
        Stretch(n, new, corners, _stretch(n, new, scale, corners=corners), dtype)
        for n, new, scale in zip(old, sizes, scales, strict=True)
    )
    if old == tuple(sizes):
        return recorder.value(x)
    factors = tuple(axis.new // axis.old for axis in axes)
    whole_factors = all(
        not corners and axis.new == factor * axis.old and axis.scale * factor == 1
        for axis, factor in zip(axes, factors, strict=True)
    )
    made = Enlarge(factors, linear=True) if whole_factors else Interpolate(axes)
    return recorder.add(made, [recorder.node(x)], call.result)


def _stretch(old: int, new: int, scale: float | None, *, corners: bool) -> float:
    """Return the pixels of the input for each one of the output."""
    if corners:
        return (old - 1) / (new - 1) if new > 1 else 0.0
    return 1 / scale if scale else old / new


@rule("pixel_shuffle")
def _pixel_shuffle(recorder: Recorder, call: Call) -> Value:
    if recorder.dims != 2:
        raise UntraceableError("The network turns channels into pixels of a volume.")
    return recorder.add(Shuffle(call.args[1]), [recorder.node(call.args[0])], call.result)


@rule("view", "_unsafe_view")
def _view(recorder: Recorder, call: Call) -> Value:
    x, result, dims = call.args[0], call.result, recorder.dims
    if x.shape[-dims:] != result.shape[-dims:]:
        raise UntraceableError("The network rearranges pixels.")
    return recorder.add(Reshape((-1, *result.shape[1:-dims])), [recorder.node(x)], result)


@rule("transpose", "select", "unsqueeze", "squeeze")
def _of_channels(recorder: Recorder, call: Call) -> Value:
    ndim = max(call.args[0].ndim, call.result.ndim)
    axes = [axis for axis in call.args[1:3] if isinstance(axis, int)]
    axes = axes[:1] if call.name == "select" else axes
    if not axes or not _precede(axes, ndim, recorder.dims):
        raise UntraceableError("The network rearranges pixels.")
    recorder.node(call.args[0])
    return _pointwise(recorder, call, shares=True)


@rule("clone", "alias", "detach", "lift_fresh")
def _same(recorder: Recorder, call: Call) -> Value:
    return recorder.value(call.args[0])


# Functions that can write their result to a tensor that is given to them, and others.
WRITING = frozenset({
    "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "hardtanh", "hardsigmoid", "softplus", "add", "sub", "mul",
    "div", "exp", "clamp", "clamp_min", "maximum", "minimum",
})  # fmt: skip
OTHERS = ("_prelu_kernel", "neg", "abs", "sqrt", "rsqrt", "pow", "stack", "hardswish", "mish", "celu", "selu")


@rule(*WRITING, *OTHERS)
def _elementwise(recorder: Recorder, call: Call) -> Value:
    return _pointwise(recorder, call)


def _pointwise(recorder: Recorder, call: Call, *, shares: bool = False) -> Value:
    arguments, nodes, order = recorder.slots(tuple(call.args))
    packet = getattr(aten, call.name)
    function = getattr(packet, call.overload)
    made = Pointwise(function, arguments, call.keywords, packet if call.name in WRITING else None, shares)
    return recorder.add_in_order(made, nodes, call.result, order)


@rule("relu")
def _relu(recorder: Recorder, call: Call) -> Value:
    arguments, nodes, order = recorder.slots((call.args[0], 0))
    made = Pointwise(torch.clamp_min, arguments, into=torch.clamp_min)
    return recorder.add_in_order(made, nodes, call.result, order)
