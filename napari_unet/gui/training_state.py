"""What the panel shows of a fine-tuning while it runs, of those that were interrupted, and of the models so far."""

from __future__ import annotations

from typing import Literal

from napari_unet.jobs.references import Region
from napari_unet.networks.spec import Config

Side = Literal["", "before", "after"]


class Curve(Config):
    """What the plot of a fine-tuning shows; times in seconds.

    Attributes
    ----------
    loss, score : tuple of (float, float)
        Over time; the score is that on held-out corrections.
    old_score : float, optional
        Of the model that it began with.
    """

    loss: tuple[tuple[float, float], ...] = ()
    score: tuple[tuple[float, float], ...] = ()
    old_score: float | None = None


class Training(Config):
    """How the running fine-tuning stands.

    Attributes
    ----------
    running : bool
        Whether steps are being made: then it can be paused.
    paused : bool
    sentence : str
        How far it is.
    """

    running: bool = False
    paused: bool = False
    sentence: str = ""


class Apart(Config):
    """What is held out of the corrections.

    Attributes
    ----------
    sentence : str
        Empty if there is no training and no new model.
    regions : tuple of (id of an image layer, region)
    shown : bool
        Whether it is marked in the viewer.
    """

    sentence: str = ""
    regions: tuple[tuple[str, Region], ...] = ()
    shown: bool = False


class Halted(Config):
    """A fine-tuning that was interrupted, by a crash for example, and can go on.

    Attributes
    ----------
    sentence : str
        What it was, and what “Fine-tune” will do.
    other_settings : bool
        Whether it can go on only with the settings that it had.
    """

    sentence: str
    other_settings: bool = False


class Ancestor(Config):
    """A model that the corrections of an image produced, or the one that this began with.

    Attributes
    ----------
    title : str
    about : str
        When it was made, of what, and how it did.
    source : str
        Its file; empty for one without weights.
    variant : str
        Of one without weights.
    current : bool
        Whether it is the chosen model.
    missing : str
        Why it cannot be used; empty if it can.
    """

    title: str
    about: str
    source: str = ""
    variant: str = ""
    current: bool = False
    missing: str = ""
