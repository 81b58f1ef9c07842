"""What only its author knows about a model that is shared. Importing this does not import torch."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from napari_unet.networks.spec import Config
from napari_unet.weights.spec import ModelSpec

UNET_DOI = "10.1007/978-3-319-24574-4_28"
"""Of the paper that introduced the U-Net: Ronneberger et al. 2015."""
LICENSES = ("CC-BY-4.0", "CC0-1.0", "BSD-3-Clause", "MIT", "Apache-2.0")
"""SPDX identifiers that are usual for models, the model zoo's own recommendation first."""
MOST_CHARACTERS = 1024
_DOI = re.compile(r"\b10\.\d{4,}/[^\s,;)]+")
_STRANGE = re.compile(r"[^\w+\- ()]", re.ASCII)


class PackageCard(Config):
    """What a package says beside what the model itself knows.

    Attributes
    ----------
    authors : tuple of str
        Names, at least one.
    description : str
        One or two sentences; without them what the model finds, and in what.
    license : str
        An SPDX identifier, such as "CC-BY-4.0".
    name : str
        Of the model; its own by default.
    cite : tuple of str
        DOIs of what is to be cited, beside those that the model names and the paper of the U-Net.
    tags : tuple of str
        More words by which it shall be found.
    """

    authors: tuple[str, ...] = Field(min_length=1)
    description: str = Field(default="", max_length=MOST_CHARACTERS)
    license: str = Field(default=LICENSES[0], pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$")
    name: str = ""
    cite: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @field_validator("authors")
    @classmethod
    def _authors_have_names(cls, authors: tuple[str, ...]) -> tuple[str, ...]:
        named = tuple(author.strip() for author in authors)
        if not all(named) or any("/" in author or "\\" in author for author in named):
            message = "each author needs a name, without slashes"
            raise ValueError(message)
        return named

    @field_validator("cite")
    @classmethod
    def _cited_by_doi(cls, cite: tuple[str, ...]) -> tuple[str, ...]:
        found = tuple(_DOI.search(one) for one in cite)
        if not all(found):
            message = "expected DOIs, such as 10.1038/s41592-019-0612-7"
            raise ValueError(message)
        return tuple(match.group().rstrip(".") for match in found if match)


def title_of(card: PackageCard, spec: ModelSpec) -> str:
    """Return the name in the letters that the format allows, 5 to 128 of them.

    >>> from napari_unet.weights.spec import untrained_spec
    >>> title_of(PackageCard(authors=("Ada",), name="Zellkerne, 2.5x"), untrained_spec("unet"))
    'Zellkerne 2-5x'
    """
    name = (card.name or spec.name).replace(",", "").replace(".", "-")
    plain = " ".join(_STRANGE.sub(" ", name).split())
    return (plain if len(plain) >= 5 else f"U-Net {plain}".strip())[:128].strip()


def description_of(card: PackageCard, spec: ModelSpec) -> str:
    """Return the author's description, or one of what the model finds."""
    if card.description.strip():
        return " ".join(card.description.split())
    where = "planes" if spec.dims == 2 else "volumes"
    what = "objects" if spec.meaning == "instances" else ", ".join(spec.foreground_classes)
    return f"{spec.name}: a U-Net that finds {what} in {where}."[:MOST_CHARACTERS]


def dois_of(card: PackageCard, spec: ModelSpec) -> tuple[str, ...]:
    """Return the DOIs of what is to be cited: the author's, those that the model names, the U-Net's; each once."""
    origin = spec.provenance
    named = (found.rstrip(".") for found in _DOI.findall(f"{origin.source} {origin.trained_on} {origin.notes}"))
    return tuple(dict.fromkeys((*card.cite, *named, UNET_DOI)))


def package_obstacle(spec: ModelSpec) -> str:
    """Say what keeps a model from being described as a package; empty if nothing does."""
    if spec.slices == 1:
        return ""
    return f"A bioimage.io package cannot tell of {spec.slices} slices that are shown at once: choose another format."
