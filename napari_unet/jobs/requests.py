"""What the viewer asks of the background process, and what comes back. JSON, never pickle.

Pixels do not travel in requests: an `ArrayRef` names the file that they live in, which both
processes map into memory.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_unet.events import HeldOut
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.adapted import AdaptRequest
from napari_unet.jobs.batching import BatchRequest, BatchResult
from napari_unet.jobs.costing import CostRequest, CostResult
from napari_unet.jobs.finetuned import Measured, Seen, WatchRef
from napari_unet.jobs.references import Answers, AnswerValue, ArrayRef, ImageRef, ModelRef, Region
from napari_unet.jobs.sharing import ShareRequest, ShareResult
from napari_unet.jobs.sizing import DiameterRequest, DiameterResult
from napari_unet.networks.spec import Config
from napari_unet.objects.config import ObjectOptions
from napari_unet.training.config import FineTuneConfig
from napari_unet.weights.report import LoadReport
from napari_unet.weights.spec import ModelSpec

# What is named here is imported from here; the rest is public as in any module.
__all__ = [
    "AdaptRequest", "AnswerValue", "Answers", "ArrayRef", "BatchRequest", "CostRequest", "CostResult", "ImageRef",
    "ModelRef", "Region",
]  # fmt: skip


class SegmentRequest(Config):
    """Run the network and find objects.

    Attributes
    ----------
    region : (start, stop) along T, Z, Y, X, optional
        Only this window; `probabilities` and `labels` then have its size.
    visible : (start, stop) along T, Z, Y, X, optional
        What the user looks at: it is done first.
    done : tuple of such windows
        What `probabilities` holds already, from a run that was interrupted.
    probabilities : ArrayRef
        float32 (K, T, Z, Y, X), written tile by tile; kept so that objects can be found again.
    labels : ArrayRef
        uint32 (T, Z, Y, X), written at the end.
    """

    kind: Literal["segment"] = "segment"
    model: ModelRef
    image: ImageRef
    inference: InferenceConfig = InferenceConfig()
    objects: ObjectOptions = ObjectOptions()
    region: Region | None = None
    visible: Region | None = None
    done: tuple[Region, ...] = ()
    probabilities: ArrayRef
    labels: ArrayRef


class ObjectsRequest(Config):
    """Find objects again in probabilities that are already there, with other settings."""

    kind: Literal["objects"] = "objects"
    spec: ModelSpec
    objects: ObjectOptions
    probabilities: ArrayRef
    labels: ArrayRef


class MergeRequest(Config):
    """Put a new prediction under what the user has reviewed.

    All arrays are (T, Z, Y, X): `predicted` and `correction` uint32, `reviewed` bool as uint8,
    `merged` uint32 is written.
    """

    kind: Literal["merge"] = "merge"
    meaning: Literal["instances", "semantic"] = "instances"
    predicted: ArrayRef
    correction: ArrayRef
    reviewed: ArrayRef
    merged: ArrayRef


class PairRef(Config):
    """An image, its corrected labels and the reviewed region, both (T, Z, Y, X).

    `channels` says which channels of this image feed the model; None means those of the request.
    """

    image: ImageRef
    labels: ArrayRef
    reviewed: ArrayRef
    channels: tuple[int, ...] | None = None


class FinetuneRequest(Config):
    """Fine-tune; the candidate model is written to `candidate`.

    `checkpoint` is a file that is there while it runs, and lets it go on after a crash; none if empty.
    """

    kind: Literal["finetune"] = "finetune"
    model: ModelRef
    pairs: tuple[PairRef, ...]
    channels: tuple[int, ...] | None = None
    config: FineTuneConfig = FineTuneConfig()
    candidate: str
    watch: WatchRef | None = None
    checkpoint: str = ""


class OpenRequest(Config):
    """Open a weights file of any program and keep it as one of our model files.

    Attributes
    ----------
    source : str
        File, folder or package.
    answers : dict
        Keywords of `load_model`. Answers that were given for the same file earlier are added.
    folder : str
        For the model files that are made of other people's, and for the answers.
    ask_again : bool
        Whether to forget the answers that were given earlier.
    image : ImageRef, optional
        An image that the weights shall be used on: it tells how such images are to be scaled.
    channels : tuple of int, optional
        Which channels of it feed the model.
    """

    kind: Literal["open"] = "open"
    source: str
    answers: Answers = Field(default_factory=dict)
    folder: str
    ask_again: bool = False
    image: ImageRef | None = None
    channels: tuple[int, ...] | None = None


ANSWER = "Answer"
"""How the stages of a comparison begin; `done` of such a stage answers have been tried."""


class CompareRequest(Config):
    """Draw what each answer to a question would make of a window of an image.

    Attributes
    ----------
    source, answers
        As in `OpenRequest`.
    keyword, values
        The question and its possible answers.
    image : ImageRef
    inference : InferenceConfig
    region : (start, stop) along T, Z, Y, X
    pictures : tuple of str
        A PNG file for each answer, and one more for the image itself.
    """

    kind: Literal["compare"] = "compare"
    source: str
    answers: Answers = Field(default_factory=dict)
    keyword: str
    values: tuple[AnswerValue, ...]
    image: ImageRef
    inference: InferenceConfig = InferenceConfig()
    region: Region
    pictures: tuple[str, ...]


class DownloadRequest(Config):
    """Fetch a package of the bioimage.io collection by its name."""

    kind: Literal["download"] = "download"
    name: str


class FlipRequest(Config):
    """Find out in which fields of an image the answer changes when the image is flipped.

    Attributes
    ----------
    fields : tuple of (start, stop) along T, Z, Y, X
    gains : ArrayRef
        float32 (fields, 2 + K), written field by field: the instability, and the share of each class.
    """

    kind: Literal["flip"] = "flip"
    model: ModelRef
    image: ImageRef
    inference: InferenceConfig = InferenceConfig()
    fields: tuple[Region, ...]
    gains: ArrayRef


Request = Annotated[
    SegmentRequest
    | ObjectsRequest
    | MergeRequest
    | FinetuneRequest
    | AdaptRequest
    | OpenRequest
    | CompareRequest
    | DownloadRequest
    | FlipRequest
    | DiameterRequest
    | ShareRequest
    | CostRequest
    | BatchRequest,
    Field(discriminator="kind"),
]


class Device(Config):
    """A device that the background process found; `name` is what `InferenceConfig.device` takes."""

    name: str
    title: str
    free_bytes: int | None = None


class SegmentResult(Config):
    """What a segmentation or a new search for objects found.

    Attributes
    ----------
    objects : int
    seconds : float
    device : str
        For people.
    exact : bool
        Whether the probabilities equal those of one forward pass over the whole image.
    seam : float, optional
        Otherwise, by how much windows that overlap differ on average, in probability.
    notes : tuple of str
        What had to be changed on the way, because memory or precision were not enough.
    """

    kind: Literal["segment"] = "segment"
    objects: int
    seconds: float
    device: str = ""
    exact: bool = True
    seam: float | None = None
    notes: tuple[str, ...] = ()


class MergeResult(Config):
    """How many objects were kept because they touch reviewed pixels, and how many are new."""

    kind: Literal["merge"] = "merge"
    kept: int
    new: int


class FinetuneResult(Config):
    """What a fine-tuning ended with, or an adaptation without labels.

    Attributes
    ----------
    learnt_from : "corrections" | "image"
    accepted : bool, optional
        None where there were too few labels to judge.
    old_score, new_score : float, optional
        On the held-out corrections.
    old, new : Measured, optional
        The same, with their uncertainty and the size of what they were measured on, which `held_out` tells.
    replay : (float, float), optional
        Scores of the old and the new model on images that the old one came with.
    seen : Seen, optional
        What both find in the region that somebody looks at; None if nobody does.
    sentence : str
        All of it for the user.
    """

    kind: Literal["finetune"] = "finetune"
    learnt_from: Literal["corrections", "image"] = "corrections"
    accepted: bool | None
    old_score: float | None
    new_score: float | None
    held_out_px: int
    steps: int
    seconds: float
    candidate: str
    sentence: str
    old: Measured | None = None
    new: Measured | None = None
    replay: tuple[float, float] | None = None
    seen: Seen | None = None
    held_out: HeldOut | None = None


class Choice(Config):
    """A possible answer, and what it means in a few words."""

    value: AnswerValue
    text: str


class Asked(Config):
    """A question about a weights file; see `napari_unet.weights.recognition.recognised.Question`."""

    keyword: str
    sentence: str
    choices: tuple[Choice, ...]


class OpenResult(Config):
    """What became of a weights file.

    Attributes
    ----------
    source : str
        The file to use from now on; empty if it could not be opened.
    answers : dict
        Keywords of `load_model` that this file needs each time.
    spec, report
        What was opened.
    can_train : bool
        False if the network can only predict.
    questions : tuple of Asked
        What has to be answered first.
    given : dict
        The answers so far.
    refusal : str
        Why it cannot be opened.
    almost : bool
        Whether what fits could be opened all the same.
    """

    kind: Literal["open"] = "open"
    source: str = ""
    answers: Answers = Field(default_factory=dict)
    spec: ModelSpec | None = None
    report: LoadReport | None = None
    can_train: bool = True
    questions: tuple[Asked, ...] = ()
    given: Answers = Field(default_factory=dict)
    refusal: str = ""
    almost: bool = False


class CompareResult(Config):
    """What each answer would make of an image.

    Attributes
    ----------
    pictures : tuple of str
        PNG files: one for each answer, empty where it failed, and one of the image.
    failures : tuple of str
        For each answer, why there is no picture.
    difference : float, optional
        Largest difference between the probabilities of any two answers.
    """

    kind: Literal["compare"] = "compare"
    pictures: tuple[str, ...]
    failures: tuple[str, ...]
    difference: float | None = None


class DownloadResult(Config):
    """Where the package lies."""

    kind: Literal["download"] = "download"
    path: str


class FlipResult(Config):
    """In how many fields the answer was looked at."""

    kind: Literal["flip"] = "flip"
    fields: int


JobResult = Annotated[
    SegmentResult
    | MergeResult
    | FinetuneResult
    | OpenResult
    | CompareResult
    | DownloadResult
    | FlipResult
    | DiameterResult
    | ShareResult
    | CostResult
    | BatchResult,
    Field(discriminator="kind"),
]
