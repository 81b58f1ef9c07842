"""What the panels of one viewer share: choices, activity and results, and no pixels.

Widgets bind to the fields and never to each other. Pixels live in layers, and layers are found by
the ids that are kept here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Literal

from psygnal import SignalGroupDescriptor
from pydantic import BaseModel, ConfigDict, Field

from napari_unet.gui.batch_state import Batch
from napari_unet.gui.export_choice import ExportChoice, Exported
from napari_unet.gui.keeping_state import Keeping
from napari_unet.gui.review_state import Review
from napari_unet.gui.tools.showing import Tooling
from napari_unet.gui.training_state import Ancestor, Apart, Curve, Halted, Side, Training
from napari_unet.inference.config import Cost, Turns
from napari_unet.jobs.requests import Answers, Asked, Device, FinetuneResult, ModelRef
from napari_unet.networks.spec import Config
from napari_unet.objects.config import ObjectOptions
from napari_unet.weights.report import LoadReport
from napari_unet.weights.spec import INSTANCE_CLASSES, Meaning, ModelSpec

AUTOMATIC = Device(name="auto", title="Automatic")


class Activity(StrEnum):
    """What the panel is doing; the value is what the status line says."""

    IDLE = "Ready"
    SEGMENTING = "Segmenting"
    PREVIEWING = "Previewing"
    ESTIMATING = "Estimating the diameter"
    FINDING_OBJECTS = "Finding objects"
    ADAPTING = "Adapting"
    FINE_TUNING = "Fine-tuning"
    EXPORTING = "Exporting"
    SHARING = "Writing the model"
    WRITING = "Writing files"
    BRINGING = "Opening masks"
    LISTING = "Looking for images"
    BATCH = "Segmenting many images"
    OPENING = "Opening"
    COMPARING = "Trying each answer"
    DOWNLOADING = "Downloading"
    CANCELLING = "Cancelling"


class ModelChoice(Config):
    """A model that can be chosen: weights in a file, or a description without weights.

    Attributes
    ----------
    title : str
        What the list of models shows.
    source : str, optional
        Bundled name or file; None where there are no weights yet.
    variant : str
        Name of the architecture of a model without weights.
    description : str
        What that architecture is.
    spec : ModelSpec
        What it expects and gives.
    answers : dict
        Keywords of `load_model` that the file needs each time.
    origin : str
        The file of another program that it was made of, if any.
    report : LoadReport, optional
        What opening that file found out.
    can_train : bool
        False if the network can only predict.
    stamp : int
        When the file had changed last when it was opened; 0 if it was not opened by hand.
    """

    title: str
    source: str | None = None
    variant: str = ""
    description: str = ""
    spec: ModelSpec
    answers: Answers = Field(default_factory=dict)
    origin: str = ""
    report: LoadReport | None = None
    can_train: bool = True
    stamp: int = 0

    @property
    def trained(self) -> bool:
        """Whether there are weights."""
        return self.source is not None

    @property
    def ref(self) -> ModelRef:
        """What the background process is told."""
        return ModelRef(source=self.source, answers=self.answers, untrained=None if self.trained else self.spec)

    def same_as(self, other: ModelChoice | None) -> bool:
        """Whether it stands for the same entry in the list."""
        if other is None:
            return False
        return (self.title, self.source, self.variant) == (other.title, other.source, other.variant)


class Listed(Config):
    """An entry in the list of models: a model that can be chosen, or a file that has to be opened first."""

    title: str
    tip: str = ""
    choice: ModelChoice | None = None
    path: str = ""


class Shelf(Config):
    """A group in the list of models; `folded` until the user looks for it."""

    title: str
    items: tuple[Listed, ...]
    tip: str = ""
    folded: bool = False


class Opening(Config):
    """A weights file that could not be opened just so: it leaves a question open, or is refused.

    Attributes
    ----------
    path : str
    given : dict
        Answers so far.
    question : Asked, optional
        What has to be answered.
    pictures : tuple of str
        Of each answer on the current image (empty where there is none), and of the image; empty as long as
        they are not drawn.
    failures : tuple of str
        For each answer, why it has no picture.
    difference : float, optional
        Largest difference between the probabilities of any two answers.
    refusal : str
        Why it cannot be opened.
    almost : bool
        Whether what fits could be opened all the same.
    """

    path: str
    given: Answers = Field(default_factory=dict)
    question: Asked | None = None
    pictures: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    difference: float | None = None
    refusal: str = ""
    almost: bool = False

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.replace("\\", "/").rstrip("/").rpartition("/")[2]


class NewModel(Config):
    """What the form for an untrained model says; `options` are those in which it differs from its variant."""

    meaning: Meaning = "instances"
    classes: tuple[str, ...] = INSTANCE_CLASSES
    in_channels: int = Field(default=1, ge=1)
    options: dict[str, int] = Field(default_factory=dict)


class LayerChoice(Config):
    """A layer that can be chosen."""

    id: str
    name: str


class Message(Config):
    """One sentence for the status line."""

    text: str = ""
    level: Literal["info", "warning", "error"] = "info"


class Advance(Config):
    """How far the work has come; `eta_s` is None until it can be told."""

    stage: str = ""
    done: int = 0
    total: int = 0
    eta_s: float | None = None


class Segmented(Config):
    """The last segmentation of an image layer, whose probabilities are kept."""

    image: str
    objects: int
    meaning: Meaning = "instances"


class Interrupted(Config):
    """A segmentation of an image layer that was interrupted, and can go on with the settings as they are."""

    image: str
    share: float


class ReviewedCount(Config):
    """How much of a correction layer is reviewed.

    Attributes
    ----------
    image, correction : str
        Ids of the layers.
    title : str
        For the list of training pairs.
    reviewed_px, total_px, objects : int
        `objects` have at least one reviewed pixel.
    """

    image: str
    correction: str
    title: str
    reviewed_px: int
    total_px: int
    objects: int


class Proposal(Config):
    """A fine-tuned model that waits for the user's decision."""

    result: FinetuneResult
    base: ModelChoice


class ViewerState(BaseModel):
    """One per viewer; every field has a signal of its name in `events`.

    Attributes
    ----------
    models, model : tuple of ModelChoice, ModelChoice or None
        Those that can be chosen, and the one that is.
    shelves : tuple of Shelf
        The same and files that can be opened, in the groups of the list.
    opening : Opening, optional
        A weights file that waits for an answer, or was refused.
    cost : Cost, optional
        What the model costs on the image; None where that is not known.
    measuring : bool
        Whether that is being found out.
    images, labels : tuple of LayerChoice
        Layers that can be segmented, and that can be exported.
    image : str, optional
        Id of the image layer to work on.
    axes, channels, diameter_px, device
        How that image is read, and where the network runs; `channels` None means all.
    turns, fast
        Versions of the image that are averaged, and whether the network computes with integers.
    objects : ObjectOptions
        How probabilities become labels.
    image_channels, image_slices, image_sentence, obstacle : int, int, str, str
        How many channels and slices the image has, what it holds, and what keeps it from being segmented.
    activity, advance, message
        What the status line shows.
    segmented : Segmented, optional
        The last segmentation whose probabilities are kept.
    interrupted : Interrupted, optional
        One that can be gone on with.
    batch : Batch
        Many images, and what has become of them.
    keeping : Keeping
        How the corrections of the chosen image are kept.
    tooling : Tooling
        How the correction tools stand.
    review : Review
        How reviewing stands.
    counts : tuple of ReviewedCount
        One for each correction layer.
    skipped : frozenset of str
        Ids of correction layers that the user does not want to train on.
    minutes : float
        Budget of a fine-tuning.
    live : bool
        Whether the visible region is segmented while it runs.
    forget : bool
        Whether the new model may get worse on the kinds of image that the old one came with.
    neighbours : int
        How many slices on each side a model for planes is shown when it is fine-tuned, if it is not shown more already.
    training, curve, apart, proposal
        Of the running or last fine-tuning.
    compared : "before" | "after", optional
        Whose labels of the visible region are shown.
    halted : Halted, optional
        A fine-tuning that was interrupted.
    lineage : tuple of Ancestor
        The models so far that learnt from the corrections of the chosen image, newest first.
    export_layer, export_axes, pixel_size_um
        The label layer to export, its axes, and the pixel size (Z, Y, X) that is written with it.
    export_choice, export_obstacles, export_stem
        What to write about it, why some of that cannot be written, and how files about it are called.
    exported : Exported, optional
        What was written last.
    """

    model_config = ConfigDict(validate_assignment=True, extra="forbid")
    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    models: tuple[ModelChoice, ...] = ()
    model: ModelChoice | None = None
    shelves: tuple[Shelf, ...] = ()
    opening: Opening | None = None
    new_model: NewModel = NewModel()
    cost: Cost | None = None
    measuring: bool = False
    images: tuple[LayerChoice, ...] = ()
    labels: tuple[LayerChoice, ...] = ()
    image: str | None = None
    image_channels: int = 0
    image_slices: int = 0
    image_sentence: str = ""
    obstacle: str = ""
    axes: str = ""
    channels: tuple[int, ...] | None = None
    diameter_px: float | None = None
    turns: Turns = "none"
    fast: bool = False
    device: str = "auto"
    devices: tuple[Device, ...] = (AUTOMATIC,)
    objects: ObjectOptions = ObjectOptions()
    activity: Activity = Activity.IDLE
    advance: Advance = Advance()
    message: Message = Message()
    segmented: Segmented | None = None
    interrupted: Interrupted | None = None
    batch: Batch = Batch()
    keeping: Keeping = Keeping()
    tooling: Tooling = Tooling()
    review: Review = Review()
    counts: tuple[ReviewedCount, ...] = ()
    skipped: frozenset[str] = frozenset()
    minutes: float = Field(default=2.0, gt=0)
    live: bool = True
    forget: bool = False
    neighbours: int = Field(default=0, ge=0)
    training: Training = Training()
    curve: Curve = Curve()
    apart: Apart = Apart()
    compared: Side = ""
    halted: Halted | None = None
    lineage: tuple[Ancestor, ...] = ()
    export_layer: str | None = None
    export_axes: str = ""
    pixel_size_um: tuple[float | None, float | None, float | None] = (None, None, None)
    export_choice: ExportChoice = ExportChoice()
    export_obstacles: dict[str, str] = Field(default_factory=dict)
    export_stem: str = ""
    exported: Exported | None = None
    proposal: Proposal | None = None

    @property
    def busy(self) -> bool:
        """Whether work is running."""
        return self.activity is not Activity.IDLE

    @property
    def cancellable(self) -> bool:
        """Whether the running work can be cancelled; a model that is being saved cannot."""
        return self.busy and self.activity not in {Activity.EXPORTING, Activity.CANCELLING}

    def change_objects(self, **changes: Any) -> None:  # noqa: ANN401
        """Replace some of the settings that turn probabilities into labels."""
        self.objects = ObjectOptions(**(self.objects.model_dump() | changes))

    def tell(self, text: str, level: Literal["info", "warning", "error"] = "info") -> None:
        """Show one sentence in the status line."""
        self.message = Message(text=text, level=level)
