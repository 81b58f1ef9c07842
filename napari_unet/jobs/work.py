"""From a request to the generator of the compute room that does the work."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from napari_unet.axes import PixelSize
from napari_unet.errors import Cancelled, ModelError, NapariUnetError
from napari_unet.events import Event, Progress
from napari_unet.export.sharing import share_events
from napari_unet.imaging.fingerprints import fingerprints
from napari_unet.imaging.image import ArrayLike, Image, check_channels, open_image
from napari_unet.inference.cost import estimate_cost
from napari_unet.inference.diameters import diameter_events
from napari_unet.inference.flipping import flip_events
from napari_unet.inference.pipeline import Wish
from napari_unet.inference.segmentation import segment_events
from napari_unet.jobs.batches import batch_events, open_recipe
from napari_unet.jobs.batching import BatchRequest, BatchResult
from napari_unet.jobs.finetuned import Measured, Seen, WatchRef
from napari_unet.jobs.opening import compare_events, download_events, open_events
from napari_unet.jobs.requests import (
    AdaptRequest,
    ArrayRef,
    CompareRequest,
    CompareResult,
    CostRequest,
    CostResult,
    DownloadRequest,
    FinetuneRequest,
    FinetuneResult,
    FlipRequest,
    FlipResult,
    ImageRef,
    JobResult,
    MergeRequest,
    MergeResult,
    ModelRef,
    ObjectsRequest,
    OpenRequest,
    PairRef,
    Request,
    SegmentRequest,
    SegmentResult,
)
from napari_unet.jobs.scratch import open_array
from napari_unet.jobs.sharing import ShareRequest, ShareResult
from napari_unet.jobs.sizing import DiameterRequest, DiameterResult
from napari_unet.jobs.summaries import NAME, check_summary, summary_events
from napari_unet.objects.labelling import label_events
from napari_unet.objects.merging import merge_prediction
from napari_unet.training.adaptation import adapt_events
from napari_unet.training.course import Watch
from napari_unet.training.fit import finetune_events
from napari_unet.training.gate import Score
from napari_unet.training.pairs import TrainingPair
from napari_unet.weights.bundled import resolve
from napari_unet.weights.loading import load_model
from napari_unet.weights.model import Model, model_from_spec


class ModelCache:
    """The models used last, so that the next preview need not read the file again.

    A file that has changed since is read again.
    """

    def __init__(self, size: int = 2) -> None:
        self._size = size
        self._models: OrderedDict[tuple[object, ...], Model] = OrderedDict()

    def get(self, ref: ModelRef) -> Model:
        """Return the model that a reference names.

        Raises
        ------
        ModelError
            If there is no such model, or its file cannot be used.
        """
        if ref.untrained is not None:
            return model_from_spec(ref.untrained)
        if ref.source is None:
            raise ModelError("No model is chosen. Choose a model, a weights file or a variant.")
        path = resolve(ref.source).resolve()
        state = path.stat()
        key = (path, state.st_mtime_ns, state.st_size, *sorted(ref.answers.items()))
        if key not in self._models:
            self._models[key] = load_model(path, **ref.answers)
        self._models.move_to_end(key)
        while len(self._models) > self._size:
            self._models.popitem(last=False)
        return self._models[key]


_models = ModelCache()


def work_for(request: Request) -> Generator[Event, None, JobResult]:  # noqa: C901, PLR0911, PLR0912  # one a request
    """Open what a request names and return the work; nothing is read before its first event.

    Parameters
    ----------
    request : Request

    Returns
    -------
    generator
        Yields events, returns a `JobResult`; drive it with `napari_unet.jobs.running.drive`.
    """
    match request:
        case SegmentRequest():
            return _segment(request)
        case ObjectsRequest():
            return _objects(request)
        case MergeRequest():
            return _merge(request)
        case FinetuneRequest():
            return _finetune(request)
        case AdaptRequest():
            return _adapt(request)
        case OpenRequest():
            return open_events(request, None if request.image is None else open_image_ref(request.image))
        case CompareRequest():
            return _compare(request)
        case DownloadRequest():
            return download_events(request)
        case FlipRequest():
            return _flip(request)
        case DiameterRequest():
            return _diameter(request)
        case ShareRequest():
            return _share(request)
        case CostRequest():
            return _cost(request)
        case BatchRequest():
            return _batch(request)
        case _:
            assert_never(request)


def open_image_ref(ref: ImageRef) -> Image:
    """Open the image that a reference names."""
    z_um, y_um, x_um = ref.pixel_size_um
    return open_image(open_array(ref.array), ref.axes, PixelSize(z_um, y_um, x_um), ref.name)


def _segment(request: SegmentRequest) -> Generator[Event, None, SegmentResult]:
    start = time.perf_counter()
    yield Progress("Loading the model", 0, 1)
    segmentation = yield from segment_events(
        _models.get(request.model),
        open_image_ref(request.image),
        request.inference,
        request.objects,
        outputs=(open_array(request.probabilities, "r+"), open_array(request.labels, "r+")),
        wish=Wish(request.region, request.visible, request.done),
    )
    prediction = segmentation.prediction
    return SegmentResult(
        objects=segmentation.count,
        seconds=time.perf_counter() - start,
        device=prediction.device,
        exact=prediction.exact,
        seam=None if prediction.seam is None else prediction.seam.mean,
        notes=prediction.notes,
    )


def _objects(request: ObjectsRequest) -> Generator[Event, None, SegmentResult]:
    start = time.perf_counter()
    _, count = yield from label_events(
        open_array(request.probabilities),
        request.spec,
        request.objects,
        out=open_array(request.labels, "r+"),
    )
    return SegmentResult(objects=count, seconds=time.perf_counter() - start)


def _merge(request: MergeRequest) -> Generator[Event, None, MergeResult]:
    yield Progress("Keeping what was reviewed", 0, 1)
    merged = merge_prediction(
        np.asarray(open_array(request.correction)),
        np.asarray(open_array(request.predicted)),
        np.asarray(open_array(request.reviewed)).astype(bool),
        request.meaning,
    )
    open_array(request.merged, "r+")[...] = merged.labels
    return MergeResult(kept=merged.kept, new=merged.new)


def _compare(request: CompareRequest) -> Generator[Event, None, CompareResult]:
    return (yield from compare_events(request, open_image_ref(request.image)))


def _finetune(request: FinetuneRequest) -> Generator[Event, None, FinetuneResult]:
    yield Progress("Loading the model", 0, 1)
    own = any(pair.channels is not None for pair in request.pairs)
    model, watch = _models.get(request.model), request.watch
    fit = yield from finetune_events(
        model,
        [_open_pair(pair, request.channels if own else None) for pair in request.pairs],
        request.config,
        None if own else request.channels,
        watch=None if watch is None or not watch.live else _open_watch(watch),
        checkpoint=Path(request.checkpoint) if request.checkpoint else None,
    )
    fit.candidate.save(Path(request.candidate))
    seen = None if watch is None else (yield from _look(model, fit.candidate, watch))
    return FinetuneResult(
        accepted=fit.accepted,
        old_score=None if fit.old_score is None else fit.old_score.value,
        new_score=None if fit.new_score is None else fit.new_score.value,
        held_out_px=fit.held_out_px,
        steps=fit.steps,
        seconds=fit.seconds,
        candidate=request.candidate,
        sentence=fit.sentence,
        old=_measured(fit.old_score),
        new=_measured(fit.new_score),
        held_out=fit.held_out,
        replay=None if fit.replay is None else (fit.replay.old, fit.replay.new),
        seen=seen,
    )


def _adapt(request: AdaptRequest) -> Generator[Event, None, FinetuneResult]:
    start = time.perf_counter()
    yield Progress("Loading the model", 0, 1)
    model, image = _models.get(request.model), open_image_ref(request.image)
    candidate = yield from adapt_events(model, [image], request.inference)
    candidate.save(Path(request.candidate))
    seen = None if request.watch is None else (yield from _look(model, candidate, request.watch))
    return FinetuneResult(
        learnt_from="image",
        accepted=None,
        old_score=None,
        new_score=None,
        held_out_px=0,
        steps=0,
        seconds=time.perf_counter() - start,
        candidate=request.candidate,
        sentence="The model has looked at this image, and nothing was held out to judge it by. It may be better or "
        "worse: compare before and after, and decide yourself.",
        seen=seen,
    )


def _open_watch(ref: WatchRef) -> Watch:
    return Watch(open_image_ref(ref.image), ref.inference, ref.region, open_array(ref.labels, "r+"), ref.objects)


def _look(old: Model, new: Model, ref: WatchRef) -> Generator[Event, None, Seen | None]:
    """Segment what somebody looks at with both models; None if that fails, for the training is not lost with it."""
    yield Progress("Segmenting what you see with both models", 0, 1)
    counts: list[int | None] = []
    try:
        for model, target in ((old if old.trained else None, ref.before), (new, ref.labels)):
            found = None if model is None else (yield from _see(model, ref, target))
            counts.append(found)
    except (Cancelled, NapariUnetError, MemoryError, RuntimeError):
        return None
    before, after = counts
    return None if after is None else Seen(before=before, after=after)


def _see(model: Model, ref: WatchRef, target: ArrayRef) -> Generator[Event, None, int]:
    image, outputs = open_image_ref(ref.image), (None, open_array(target, "r+"))
    found = yield from segment_events(model, image, ref.inference, ref.objects, outputs, Wish(ref.region))
    return found.count


def _measured(score: Score | None) -> Measured | None:
    if score is None:
        return None
    return Measured(value=score.value, low=score.low, high=score.high, objects=score.objects, pixels=score.pixels)


def _open_pair(ref: PairRef, channels: tuple[int, ...] | None) -> TrainingPair:
    """Open a pair; `channels` are read of an image for which none are named."""
    image = open_image_ref(ref.image)
    return TrainingPair(
        image=_with_channels(image, ref.channels or channels),
        labels=np.asarray(open_array(ref.labels)),
        reviewed=np.asarray(open_array(ref.reviewed)).astype(bool),
        marks=fingerprints(image),  # it is known again whichever channels are chosen
    )


def _with_channels(image: Image, channels: tuple[int, ...] | None) -> Image:
    """Leave out the other channels, without reading anything.

    Raises
    ------
    ChannelError
        If the image has no such channel.
    """
    if channels is None or "C" not in image.axes:
        check_channels(image, channels)
        return image
    array = _Channels(image.array, image.axes.index("C"), check_channels(image, channels))
    return open_image(array, image.axes, image.pixel_size, image.name)


@dataclass(frozen=True, slots=True)
class _Channels:
    """Some channels of an array, in a given order; like it, it is read when it is sliced.

    Attributes
    ----------
    array : array-like
    dim : int
        The array's channel axis.
    channels : tuple of int
    """

    array: ArrayLike
    dim: int
    channels: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.array.shape
        return (*shape[: self.dim], len(self.channels), *shape[self.dim + 1 :])

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        wanted = self.channels[key[self.dim]]
        first = min(wanted)
        span = slice(first, max(wanted) + 1)
        block = np.asarray(self.array[(*key[: self.dim], span, *key[self.dim + 1 :])])
        return block.take([channel - first for channel in wanted], axis=self.dim)


def _flip(request: FlipRequest) -> Generator[Event, None, FlipResult]:
    yield Progress("Loading the model", 0, 1)
    model, image = _models.get(request.model), open_image_ref(request.image)
    yield from flip_events(model, image, request.inference, request.fields, open_array(request.gains, "r+"))
    return FlipResult(fields=len(request.fields))


def _diameter(request: DiameterRequest) -> Generator[Event, None, DiameterResult]:
    yield Progress("Loading the model", 0, 1)
    model, image = _models.get(request.model), open_image_ref(request.image)
    found = yield from diameter_events(model, image, request.inference, request.around)
    return DiameterResult(diameter_px=found)


def _share(request: ShareRequest) -> Generator[Event, None, ShareResult]:
    yield Progress("Loading the model", 0, 1)
    model, shown = _models.get(request.model), None
    if request.image is not None:
        from napari_unet.export.package.writing import Shown

        shown = Shown(open_image_ref(request.image), request.channels)
    written = yield from share_events(Path(request.path), model, request.options, shown)
    return ShareResult(path=str(written.path), notes=written.notes)


def _cost(request: CostRequest) -> Generator[Event, None, CostResult]:
    yield Progress("Estimating the cost", 0, 1)
    config = request.inference
    cost = estimate_cost(request.network, request.size, config.device, config.tile, config.turns)
    return CostResult(cost=cost)


def _batch(request: BatchRequest) -> Generator[Event, None, BatchResult]:
    yield Progress("Loading the model", 0, 1)
    recipe, model = open_recipe(request.recipe)
    if request.summary:
        check_summary(recipe)
    images, folder, page = [place.image for place in request.images], Path(request.folder), ""
    report = yield from batch_events(recipe, model, images, folder, overwrite=request.overwrite)
    if request.summary:
        page = str((yield from summary_events(recipe, model.spec, report.images, folder / NAME)))
    done, skipped, failed = (report.count(status) for status in ("done", "skipped", "failed"))
    return BatchResult(done=done, skipped=skipped, failed=failed, summary=page)
