"""From the tensors of a file to the network that they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_unet.errors import ModelError, UnansweredError
from napari_unet.networks.adapting import shapes_of
from napari_unet.networks.registry import without_defaults
from napari_unet.weights.formats.checkpoint import Checkpoint, State
from napari_unet.weights.formats.unwrapping import strip_candidates
from napari_unet.weights.recognition.origins import origins
from napari_unet.weights.recognition.recognised import Mismatch, Origin, Question, Reading, Recognised, Shapes, Take
from napari_unet.weights.report import some

if TYPE_CHECKING:
    from torch import Tensor

COUNTERS = "num_batches_tracked"


@dataclass(frozen=True, slots=True)
class Match:
    """A reading of a file as the network of one family, and how well it fits.

    Attributes
    ----------
    origin : Origin
    recognised : Recognised
    tensors : dict of torch.Tensor
        Those of the file, prefixes removed.
    missing, left_over, misfit : tuple of str
        Tensors that the file lacks, by its own names as far as they are known; those without a use; and
        those of other shapes.
    unused : int
        Theirs that only training needs.
    """

    origin: Origin
    recognised: Recognised
    tensors: Mapping[str, Tensor]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    misfit: tuple[str, ...]
    unused: int

    @property
    def faults(self) -> int:
        """How many tensors have no place."""
        return len(self.missing) + len(self.left_over) + len(self.misfit)

    def taken(self, name: str) -> Tensor | None:
        """One of our tensors out of the file's, in our layout; None where they do not have it."""
        source = self.recognised.sources.get(name)
        return None if source is None else _taken(as_take(source), self.tensors)

    def describe_faults(self) -> str:
        """Say what differs, in words."""
        parts = {"missing": self.missing, "left over": self.left_over, "of another shape": self.misfit}
        return "; ".join(f"{what}: {some(names)}" for what, names in parts.items() if names)


def find_match(checkpoint: Checkpoint, state: State, answers: Mapping[str, Any]) -> Match:
    """Find the one network that the tensors of a state belong to.

    If none fits entirely, the nearest is returned, with its faults.

    Raises
    ------
    ModelError
        If no family knows such names, or several networks fit.
    """
    _check_family(answers.get("family"))
    nearest = _Nearest()
    for tensors in strip_candidates(state.tensors):
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        reading = Reading(shapes, checkpoint.extras, answers, tensors)
        matches = list(_matches(reading, nearest))
        whole = [match for match in matches if not match.faults]
        if len(whole) > 1:
            names = {match.origin.name: match.origin.url for match in whole}
            raise UnansweredError(
                f'"{checkpoint.path.name}" fits several networks. Pass family= one of {", ".join(map(repr, names))}.',
                [Question("family", names, "Whose code made this file? Several networks have the same tensors.")],
            )
        if whole:
            return whole[0]
        nearest.matches += matches
    if not nearest.matches:
        raise ModelError(_unknown(checkpoint, state, nearest, answers.get("family")))
    return min(nearest.matches, key=lambda match: match.faults)


def _check_family(wanted: str | None) -> None:
    names = [origin.name for origin in origins()]
    if wanted is not None and wanted not in names:
        raise ModelError(f"There is no family {wanted!r}. Choose one of: {', '.join(names)}.")


@dataclass(slots=True)
class _Nearest:
    """The closest family so far, for the error message."""

    share: float = 0.0
    sentence: str = ""
    matches: list[Match] = field(default_factory=list)

    def offer(self, share: float, sentence: str) -> None:
        if share > self.share:
            self.share, self.sentence = share, sentence


def _matches(reading: Reading, nearest: _Nearest) -> Iterator[Match]:
    wanted = reading.answers.get("family")
    for origin in origins():
        if wanted is not None and wanted != origin.name:
            continue
        if not origin.fits(reading):
            absent = tuple(name for name in origin.fingerprint if not reading.has(name))
            nearest.offer(origin.share(reading), f"{origin.name}, but it lacks {some(absent)}")
            continue
        try:
            yield compare(origin, origin.recognise(reading), reading.tensors)
        except Mismatch as mismatch:
            nearest.offer(1.0, f"{origin.name}, but {mismatch}")
        except ValidationError:  # of a description with, for example, no channels
            nearest.offer(1.0, f"{origin.name}, but no network has tensors of these shapes")


def compare(origin: Origin, recognised: Recognised, tensors: Mapping[str, Tensor]) -> Match:
    """Compare what a network needs with what there is, by names and shapes.

    Raises
    ------
    Mismatch
        If such a network cannot be built.
    """
    try:
        recognised = replace(recognised, network=without_defaults(recognised.network))
        wanted = shapes_of(recognised.network)
    except ModelError as error:
        raise Mismatch(str(error)) from error
    sources = {name: as_take(source) for name, source in recognised.sources.items()}
    taken = {source.name for name, source in sources.items() if name in wanted}
    missing = tuple(
        _their_name(name, sources)
        for name in wanted
        if not name.endswith(COUNTERS) and (name not in sources or sources[name].name not in tensors)
    )
    left = [name for name in tensors if name not in taken and not name.endswith(COUNTERS)]
    unused = [name for name in left if any(fnmatchcase(name, pattern) for pattern in recognised.unused)]
    left_over = tuple(name for name in left if name not in set(unused))
    misfit = tuple(_misfits(wanted, sources, tensors))
    return Match(origin, recognised, tensors, missing, left_over, misfit, len(unused))


def _their_name(name: str, sources: Mapping[str, Take]) -> str:
    """Name a missing tensor as the file would: like another one of the same module."""
    if name in sources:
        return sources[name].name
    module, _, leaf = name.rpartition(".")
    weight = sources.get(f"{module}.weight")
    return f"{weight.name.rpartition('.')[0]}.{leaf}" if weight and weight.name.endswith(".weight") else name


def _misfits(wanted: Shapes, sources: Mapping[str, Take], tensors: Mapping[str, Tensor]) -> Iterator[str]:
    for name, take in sources.items():
        if name in wanted and take.name in tensors:
            tensor = _taken(take, tensors)
            found = tuple(tensors[take.name].shape if tensor is None else tensor.shape)
            if found != wanted[name]:
                yield f"{take.name} {found} instead of {wanted[name]}"


def _taken(take: Take, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """Take a tensor; None where it is not there or has not as many axes as its conversion expects."""
    if take.name not in tensors:
        return None
    try:
        return take(tensors)
    except (RuntimeError, IndexError, ValueError):
        return None


def as_take(source: str | Take) -> Take:
    """Return a source as `Take`."""
    return Take(source) if isinstance(source, str) else source


def _unknown(checkpoint: Checkpoint, state: State, nearest: _Nearest, family: str | None) -> str:
    if family is not None:
        found = nearest.sentence or f"{family}, but no tensor has a name of that code"
        return f'"{checkpoint.path.name}" should be a {found}. Leave family= out, or choose another one.'
    names = some(tuple(state.tensors))
    nearby = f" The nearest is {nearest.sentence}." if nearest.share >= 0.5 else ""
    return (
        f'"{checkpoint.path.name}" ({checkpoint.format}) holds {len(state.tensors)} tensors ({names}), and no known '
        f"U-Net has such names.{nearby} Export the network as ONNX from the program that made it, or ask for this "
        "family to be added."
    )
