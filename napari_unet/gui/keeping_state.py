"""What the panel shows of how corrections are kept."""

from __future__ import annotations

from napari_unet.networks.spec import Config


class KeptOffer(Config):
    """Corrections of an image that lie in its project and can be brought back.

    Attributes
    ----------
    when : str
        When they were made last.
    edits : int
        That were made after the last snapshot.
    crashed : bool
        Whether the program ended without closing the project.
    reader_only : str
        Who else works on it, or why else it can only be read; empty otherwise.
    """

    when: str
    edits: int = 0
    crashed: bool = False
    reader_only: str = ""


class Keeping(Config):
    """How the corrections of the chosen image are kept.

    Attributes
    ----------
    kept : bool
        Whether they are.
    saved : bool
        Whether all of them are on the disk.
    problem : str
        Why not, if something is wrong.
    at : str
        When something was saved last.
    folder : str
        Of the project.
    offer : KeptOffer, optional
        Earlier corrections.
    """

    kept: bool = False
    saved: bool = False
    problem: str = ""
    at: str = ""
    folder: str = ""
    offer: KeptOffer | None = None
