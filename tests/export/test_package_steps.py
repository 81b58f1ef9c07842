"""What a package says about sizes, scaling and its author."""

import numpy as np
import pytest
from pydantic import ValidationError

from napari_unet.events import finish
from napari_unet.export.package.card import UNET_DOI, PackageCard, description_of, dois_of, title_of
from napari_unet.export.package.geometry import geometry_of
from napari_unet.export.package.steps import packaged, steps_of
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.image import open_image
from napari_unet.imaging.statistics import statistics_events
from napari_unet.weights.model import new_model
from napari_unet.weights.packages.description import Axis, Step, Tensor
from napari_unet.weights.packages.scaling import normalization_of
from napari_unet.weights.spec import Provenance, untrained_spec


def normalized(image, normalization):
    opened = open_image(image, "CZYX")
    return finish(statistics_events(opened, normalization)).normalize(image, 0)


@pytest.mark.parametrize(
    "normalization",
    [
        Normalization(),
        Normalization(low_percentile=3, high_percentile=97, eps=0.01, per_channel=False),
        Normalization(method="z-score", eps=1e-6),
        Normalization(method="fixed", low=(10,), high=(200,), clip_low=(0,), clip_high=(1,)),
        Normalization(method="fixed", low=(10, 20), high=(200, 5), eps=0.5),
        Normalization(method="z-score", clip_high=(2,)),
    ],
)
@pytest.mark.parametrize("dims", [2, 3])
def test_the_steps_mean_what_our_normalization_does(normalization, dims):
    image = np.random.default_rng(0).gamma(2, 40, (2, 1 if dims == 2 else 4, 30, 20)).astype(np.float32)
    kept, notes = packaged(normalization)
    assert not notes
    steps = tuple(Step(step["id"], step["kwargs"]) for step in steps_of(kept, 2, dims))
    axes = (Axis("b"), Axis("c", 2), *(Axis(letter) for letter in "zyx"[3 - dims :]))
    # what the reader of other people's packages makes of the same steps
    read = normalization_of("package", Tensor("image", axes, steps))
    np.testing.assert_allclose(normalized(image, read), normalized(image, normalization), rtol=1e-5, atol=1e-5)


def test_what_other_programs_cannot_do_is_said():
    kept, notes = packaged(
        Normalization(channels="grey", polarity="bright-objects", stain="haematoxylin", high_percentile=99)
    )
    assert kept == Normalization(high_percentile=99)
    assert [word for word in ("colour", "inverted", "haematoxylin") if any(word in note for note in notes)] == [
        "colour", "inverted", "haematoxylin",
    ]  # fmt: skip
    kept, (note,) = packaged(Normalization(method="dtype"))
    assert (kept.method, kept.low, kept.high) == ("fixed", (0.0,), (255.0,))
    assert "from 0 to 255" in note


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        ("unet", {"width": 4, "depth": 3}),
        ("unet-valid", {"width": 4, "depth": 2}),
        ("unet-3d", {"width": 4, "depth": 2}),
        ("unet-3d", {"width": 4, "depth": 4}),
        ("unet", {"width": 4, "depth": 2, "norm": "instance"}),
    ],
)
def test_something_of_the_smallest_image_is_left_between_the_halos(variant, options):
    network = new_model(variant, **options).network
    geometry = geometry_of(network)
    for least, step, halo, usual in zip(geometry.least, geometry.steps, geometry.halo, geometry.usual, strict=True):
        assert least - 2 * halo >= 1
        assert (usual - least) % step == 0
        assert usual >= least
        assert least <= (512 if network.dims == 2 else 80)
    # of the networks above, one sees too far for volumes, and one sees all of its input
    assert geometry.exact == (options["depth"] < 4 and "norm" not in options)


def test_names_are_brought_into_the_letters_of_the_format():
    spec = untrained_spec("unet").model_copy(update={"name": "Zellen: grün, 2.5 µm / b"})
    card = PackageCard(authors=(" Ada Author ",))
    assert card.authors == ("Ada Author",)
    assert title_of(card, spec) == "Zellen gr n 2-5 m b"
    assert title_of(PackageCard(authors=("A",), name="x"), spec) == "U-Net x"
    assert len(title_of(PackageCard(authors=("A",), name="x" * 300), spec)) == 128
    assert "finds objects in planes" in description_of(card, spec)


def test_what_the_model_comes_from_is_cited():
    source = "Set (Someone 2019, https://doi.org/10.1038/s41592-019-0612-7), corrected"
    spec = untrained_spec("unet").model_copy(update={"provenance": Provenance(source=source)})
    card = PackageCard(authors=("Ada",), cite=("https://doi.org/10.1000/182",))
    assert dois_of(card, spec) == ("10.1000/182", "10.1038/s41592-019-0612-7", UNET_DOI)


@pytest.mark.parametrize(
    "card",
    [
        {"authors": ()},
        {"authors": ("  ",)},
        {"authors": ("a/b",)},
        {"authors": ("Ada",), "license": "do what you want"},
        {"authors": ("Ada",), "cite": ("my paper",)},
        {"authors": ("Ada",), "description": "x" * 1025},
    ],
)
def test_cards_that_the_format_does_not_allow_are_refused(card):
    with pytest.raises(ValidationError):
        PackageCard(**card)
