"""The contract between the families of networks that are recognised and the loader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Literal

from napari_unet.errors import ModelError
from napari_unet.imaging.config import Normalization
from napari_unet.networks.spec import NetworkSpec

if TYPE_CHECKING:
    from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]
LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class Mismatch(Exception):  # noqa: N818  # it is caught by the loader, which says what differs
    """The names are those of a family, but the shapes are not."""


@dataclass(frozen=True, slots=True)
class Question:
    """What changes the logits and cannot be told from the tensors.

    Attributes
    ----------
    keyword : str
        Of `load_model`, such as "join".
    values : dict
        Each possible value with a description in a few words.
    sentence : str
        What is asked, for people.
    state : "open" | "settled" | "answered"
        Whether somebody has to answer it, the family's own code does, or somebody has.
    value : object
        The answer, unless it is open.
    """

    keyword: str
    values: Mapping[Any, str]
    sentence: str
    state: Literal["open", "settled", "answered"] = "open"
    value: Any = None


@dataclass(frozen=True, slots=True)
class Take:
    """Where a tensor of ours comes from.

    Attributes
    ----------
    name : str
        In the file.
    permute : tuple of int, optional
        Its axes in our order, such as (3, 2, 0, 1) for a Keras kernel.
    convert : callable, optional
        Applied after that.
    """

    name: str
    permute: tuple[int, ...] | None = None
    convert: Callable[[Tensor], Tensor] | None = None

    def __call__(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Take the tensor out of a file's."""
        tensor = tensors[self.name]
        if self.permute is not None:
            tensor = tensor.permute(self.permute)
        return tensor if self.convert is None else self.convert(tensor)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a family is shown of a file.

    Attributes
    ----------
    shapes : dict
        Shape of each tensor by name, prefixes already removed.
    extras : dict
        What else the file says; see `Checkpoint.extras`.
    answers : dict
        Answers to questions, by keyword.
    tensors : dict of torch.Tensor
        Values, for the few families that settle a question by them.
    """

    shapes: Shapes
    extras: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def has(self, pattern: str) -> bool:
        """Whether a name matches a pattern of `fnmatch`."""
        return bool(self.matching(pattern))

    def matching(self, pattern: str) -> list[str]:
        """Names that match a pattern of `fnmatch`."""
        matches = re.compile(translate(pattern)).match
        return [name for name in self.shapes if matches(name)]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor.

        Raises
        ------
        Mismatch
            If it is not there.
        """
        if name not in self.shapes:
            message = f'there is no "{name}"'
            raise Mismatch(message)
        return self.shapes[name]

    def out(self, module: str) -> int:
        """Output channels of a convolution."""
        return self._kernel(module)[0]

    def into(self, module: str) -> int:
        """Input channels of a convolution."""
        return self._kernel(module)[1]

    def dims(self, module: str) -> int:
        """Spatial dimensions of a convolution."""
        return len(self._kernel(module)) - 2

    def _kernel(self, module: str) -> tuple[int, ...]:
        """Shape of the kernel (out, in, *sides) of a convolution; of a transposed one (in, out, *sides)."""
        shape = self.shape(f"{module}.weight")
        if len(shape) < 3 or min(shape) < 1:
            message = f'"{module}.weight" {shape} is no kernel of a convolution'
            raise Mismatch(message)
        return shape

    def highest(self, pattern: str) -> int:
        """Return the highest number in names that begin with a pattern such as "down{}."; 0 if there is none."""
        before, after = (re.escape(part) for part in pattern.split("{}"))
        # Two digits at most: no network has more, and a forged name must not make a family count for ever.
        numbered = (re.match(rf"{before}(\d{{1,2}}){after}", name) for name in self.shapes)
        return max((int(found[1]) for found in numbered if found), default=0)

    def count(self, pattern: str, first: int = 0) -> int:
        """How many of pattern.format(first), pattern.format(first + 1), ... are there, without a gap."""
        number = 0
        while pattern.format(first + number) in self.shapes:
            number += 1
        return number


@dataclass(frozen=True, slots=True)
class Recognised:
    """Which network a file belongs to, and how its tensors become ours.

    Attributes
    ----------
    why : str
        One sentence: what told it.
    network : NetworkSpec
        With all options.
    sources : dict
        Names of our tensors to those of the file, or to `Take`.
    activation : "none" | "sigmoid" | "softmax"
        What the author's code applies to the logits.
    normalization : Normalization
        What the author's code does to the image.
    because : str
        Why that activation.
    questions : tuple of Question
        All that the tensors leave open, answered or not; where one has no answer, `network` is the
        first possibility.
    unused : tuple of str
        Patterns of tensors in the file that prediction does not need.
    notes : tuple of str
        More sentences for the report.
    classes, channel_names : tuple of str
        Names of the output and the input channels, where something beside the tensors tells them.
    patch_px : tuple of int
        Sides of the patches of training, where something tells them.
    """

    why: str
    network: NetworkSpec
    sources: Mapping[str, str | Take]
    activation: Literal["none", "sigmoid", "softmax"]
    because: str = "as in the author's code"
    normalization: Normalization = field(default_factory=Normalization)
    questions: tuple[Question, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    patch_px: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """A public family of networks whose files are recognised.

    Attributes
    ----------
    name : str
        Such as "milesial Pytorch-UNet".
    url : str
        Where its code is.
    fingerprint : tuple of str
        Patterns of names (`fnmatch`), each of which a file of this family has.
    recognise : callable
        From `Reading` to `Recognised`; only called if the fingerprint fits. It raises `Mismatch` if
        the shapes do not.
    foreign : tuple of str
        Patterns of names that no file of this family has.
    """

    name: str
    url: str
    fingerprint: tuple[str, ...]
    recognise: Callable[[Reading], Recognised]
    foreign: tuple[str, ...] = ()

    def fits(self, reading: Reading) -> bool:
        """Whether all names of the fingerprint are there, and none of the foreign ones."""
        return all(map(reading.has, self.fingerprint)) and not any(map(reading.has, self.foreign))

    def share(self, reading: Reading) -> float:
        """Share of the fingerprint that is there."""
        return sum(map(reading.has, self.fingerprint)) / len(self.fingerprint)


def pair(shapes: Shapes, modules: Iterable[tuple[str, str]]) -> dict[str, str | Take]:
    """Name the tensors of modules: from (our module, theirs) to {our tensor: theirs}.

    A module is a convolution or normalization; whichever of weight, bias and running statistics
    the file has are paired. Weights always are, so that one that is missing can be named.
    """
    return {
        f"{ours}.{leaf}": f"{theirs}.{leaf}"
        for ours, theirs in modules
        for leaf in LEAVES
        if f"{theirs}.{leaf}" in shapes or leaf == "weight"
    }


_NOTHING = object()


def answer(reading: Reading, question: Question, settled: Any = _NOTHING) -> tuple[Any, tuple[Question, ...]]:  # noqa: ANN401
    """Return the answer to a question, and the question with what became of it.

    Without an answer it is `settled`, what the family's own code says; without that it stays open, and
    its first value is returned.

    Raises
    ------
    ModelError
        If the answer is none of the values.
    """
    if question.keyword in reading.answers:
        given = reading.answers[question.keyword]
        for value in question.values:
            if value == given and isinstance(value, bool) == isinstance(given, bool):  # True is no 1
                return value, (replace(question, state="answered", value=value),)
        options = ", ".join(repr(value) for value in question.values)
        raise ModelError(f"{question.keyword}={given!r} was given. Choose one of: {options}.")
    if settled is not _NOTHING:
        return settled, (replace(question, state="settled", value=settled),)
    return next(iter(question.values)), (question,)


def probability_of(outputs: int) -> Literal["sigmoid", "softmax"]:
    """Return the usual activation where the author's code leaves it to the loss; say so with `BY_LOSS`."""
    return "sigmoid" if outputs == 1 else "softmax"


BY_LOSS = "the usual one: the author's code leaves it to the loss"
