"""The levels of a Keras U-Net, told from the order and shapes of its tensors where no graph is known."""

from __future__ import annotations

import re

from napari_unet.weights.recognition.keras_plan import KerasUnit, KerasUp, Plan, fail
from napari_unet.weights.recognition.recognised import Shapes


def plan_of_tensors(shapes: Shapes, order: list[str]) -> Plan:
    """Put the convolutions into levels; joins, activations and up-sampling are those of most Keras U-Nets.

    Levels of the decoder begin behind the convolutions that lead up, those of the encoder where the width changes.

    Raises
    ------
    Mismatch
        If these are not the tensors of a U-Net.
    """
    convs = [name for name in order if len(shapes.get(f"{name}/kernel", ())) == 4]
    ups = [name for name in convs if shapes[f"{name}/kernel"][:2] == (2, 2)]
    plain = [name for name in convs if name not in set(ups)]
    if not ups or len(plain) < 2 * len(ups) + 2:
        raise fail("there are too few convolutions, or none with a kernel of 2 for the way up")
    *body, head = plain
    blocks = _blocks_between(convs, ups) or _blocks_by_width(shapes, body, ups)
    encoder = _encoder_levels(shapes, blocks[0], len(ups) + 1)
    norms = _norms(shapes, order, plain, ups)
    return Plan(
        encoder=[_units(block, norms) for block in encoder],
        decoder=[_units(block, norms) for block in reversed(blocks[1:])],
        ups=[_up(shapes, name, norms) for name in reversed(ups)],
        head=_head(shapes, head),
        first="skip",
    )


def _width(shapes: Shapes, name: str) -> int:
    return shapes[f"{name}/kernel"][3]


def _blocks_between(convs: list[str], ups: list[str]) -> list[list[str]]:
    """Cut the convolutions at those that lead up; nothing if these were listed apart from the others."""
    blocks: list[list[str]] = [[]]
    for name in convs[:-1]:
        if name in ups:
            blocks.append([])
        else:
            blocks[-1].append(name)
    return blocks if convs[-1] not in ups and all(blocks) else []


def _blocks_by_width(shapes: Shapes, body: list[str], ups: list[str]) -> list[list[str]]:
    """Cut the convolutions where the width changes, and join what is no level of its own.

    The first levels are those of the encoder; one of the decoder takes as many channels as come up and across.
    """
    levels = _runs(shapes, body)
    count = len(ups) + 1
    widths = [_width(shapes, level[-1]) for level in levels[:count]]
    blocks = [[name for level in levels[:count] for name in level]]
    for level in levels[count:]:
        step = len(blocks) - 1
        risen = min(shapes[f"{ups[step]}/kernel"][2:]) if step < len(ups) else 0
        if risen and shapes[f"{level[0]}/kernel"][2] == risen + widths[-2 - step]:
            blocks.append(level)
        else:
            blocks[-1] += level
    if len(blocks) != count:
        raise fail(f"{len(blocks) - 1} convolutions begin a level of the decoder, and {len(ups)} lead up to one")
    return blocks


def _runs(shapes: Shapes, body: list[str]) -> list[list[str]]:
    """Cut the convolutions where the width changes."""
    levels: list[list[str]] = []
    for i, name in enumerate(body):
        if not i or _width(shapes, name) != _width(shapes, body[i - 1]):
            levels.append([])
        levels[-1].append(name)
    return levels


def _encoder_levels(shapes: Shapes, body: list[str], count: int) -> list[list[str]]:
    levels = _runs(shapes, body)
    if len(levels) == count:
        return levels
    each, rest = divmod(len(body), count)
    if rest or not each:
        raise fail(f"its encoder has {len(body)} convolutions, which do not make {count} levels")
    return [body[i : i + each] for i in range(0, len(body), each)]


def _norms(shapes: Shapes, order: list[str], plain: list[str], ups: list[str]) -> dict[str, str]:
    """Name the normalization of each convolution, if all have one but the head and perhaps the way up."""
    norms = [name for name in order if f"{name}/moving_mean" in shapes]
    if not norms:
        return {}
    for convs in (plain[:-1], [name for name in order if name in {*plain[:-1], *ups}]):
        widths = [shapes[f"{name}/moving_mean"] for name in norms]
        if widths == [(_width(shapes, name),) for name in convs]:
            return dict(zip(convs, norms, strict=True))
    raise fail("it is not known which normalization belongs to which convolution")


def _units(names: list[str], norms: dict[str, str]) -> list[KerasUnit]:
    return [KerasUnit(name, "cna" if name in norms else "ca", norms.get(name, ""), activation="relu") for name in names]


def _up(shapes: Shapes, name: str, norms: dict[str, str]) -> KerasUp:
    _, _, third, fourth = shapes[f"{name}/kernel"]
    # The kernel of a transposed convolution has the outputs before the inputs, which are more.
    if "transpose" in name or third < fourth:
        return KerasUp("transpose", KerasUnit(name))
    return KerasUp("nearest", _units([name], norms)[0])


def _head(shapes: Shapes, name: str) -> KerasUnit:
    outputs = _width(shapes, name)
    return KerasUnit(name, "ca", activation="sigmoid" if outputs == 1 else "softmax")


def is_tutorial(shapes: Shapes, plan: Plan) -> bool:
    """Whether it is built as the U-Net of many tutorials, of 32 to 512 channels or a multiple of these."""
    widths = [[_width(shapes, unit.conv) for unit in level] for level in plan.encoder]
    base = widths[0][0]
    doubled = [[base * 2**level] * 2 for level in range(5)]
    decoder = [[_width(shapes, unit.conv) for unit in level] for level in plan.decoder]
    bare = not any(re.search(r"/moving_mean$", name) for name in shapes)
    transposed = all(up.mode == "transpose" for up in plan.ups)
    return bare and transposed and widths == doubled and decoder == doubled[:-1]


def is_zhixuhao(shapes: Shapes, plan: Plan) -> bool:
    """Whether it has the 24 convolutions of that network, the last of three more before the head."""
    counts = [len(level) for level in plan.encoder] == [2] * 5 and [len(level) for level in plan.decoder] == [
        3,
        2,
        2,
        2,
    ]
    up = all(up.mode == "nearest" and up.unit is not None for up in plan.ups)
    return counts and up and shapes[f"{plan.head.conv}/kernel"] == (1, 1, 2, 1)
