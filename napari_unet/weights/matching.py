"""From the tensors of a file to the network that they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from napari_unet.errors import ModelError
from napari_unet.networks.adapting import shapes_of
from napari_unet.weights.formats.checkpoint import Checkpoint, State
from napari_unet.weights.formats.unwrapping import strip_candidates
from napari_unet.weights.recognition.origins import origins
from napari_unet.weights.recognition.recognised import Mismatch, Origin, Reading, Recognised, Shapes, Take
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
        Our tensors without a source, theirs without a use, and those of other shapes.
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
    nearest = _Nearest()
    for tensors in strip_candidates(state.tensors):
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        reading = Reading(shapes, checkpoint.extras, answers, tensors)
        matches = list(_matches(reading, nearest))
        whole = [match for match in matches if not match.faults]
        if len(whole) > 1:
            names = ", ".join(match.origin.name for match in whole)
            raise ModelError(
                f'"{checkpoint.path.name}" fits several networks: {names}. Pass family= with one of these names.'
            )
        if whole:
            return whole[0]
        nearest.matches += matches
    if not nearest.matches:
        raise ModelError(_unknown(checkpoint, state, nearest))
    return min(nearest.matches, key=lambda match: match.faults)


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


def compare(origin: Origin, recognised: Recognised, tensors: Mapping[str, Tensor]) -> Match:
    """Compare what a network needs with what there is, by names and shapes.

    Raises
    ------
    Mismatch
        If such a network cannot be built.
    """
    try:
        wanted = shapes_of(recognised.network)
    except ModelError as error:
        raise Mismatch(str(error)) from error
    sources = {name: as_take(source) for name, source in recognised.sources.items()}
    taken = {source.name for source in sources.values()}
    missing = tuple(name for name in wanted if name not in sources and not name.endswith(COUNTERS))
    left = [name for name in tensors if name not in taken and not name.endswith(COUNTERS)]
    unused = [name for name in left if any(fnmatch(name, pattern) for pattern in recognised.unused)]
    left_over = tuple(name for name in left if name not in set(unused))
    superfluous = tuple(take.name for name, take in sources.items() if name not in wanted)
    misfit = tuple(_misfits(wanted, sources, tensors))
    return Match(origin, recognised, tensors, missing, left_over + superfluous, misfit, len(unused))


def _misfits(wanted: Shapes, sources: Mapping[str, Take], tensors: Mapping[str, Tensor]) -> Iterator[str]:
    for name, take in sources.items():
        found = tuple(take(tensors).shape)
        if name in wanted and found != wanted[name]:
            yield f"{take.name} {found} instead of {wanted[name]}"


def as_take(source: str | Take) -> Take:
    """Return a source as `Take`."""
    return Take(source) if isinstance(source, str) else source


def _unknown(checkpoint: Checkpoint, state: State, nearest: _Nearest) -> str:
    names = some(tuple(state.tensors))
    nearby = f" The nearest is {nearest.sentence}." if nearest.share >= 0.5 else ""
    return (
        f'"{checkpoint.path.name}" ({checkpoint.format}) holds {len(state.tensors)} tensors ({names}), and no known '
        f"U-Net has such names.{nearby} Export the network as ONNX from the program that made it, or ask for this "
        "family to be added."
    )
