"""Every network is held to the same promises."""

import pytest
import torch

from napari_unet.errors import ModelError
from napari_unet.inference.tiles import plan_tiles
from napari_unet.networks.field import receptive_field
from napari_unet.networks.registry import build_network, variants


class NetworkPromises:
    """What any network must keep; subclass with a variant and its options."""

    variant = "unet"
    options: dict = {"width": 4, "depth": 2}
    dims = 2

    @pytest.fixture
    def network(self):
        torch.manual_seed(0)
        return build_network(self.variant, in_channels=2, out_channels=3, **self.options).eval()

    def image(self, *size):
        return torch.randn((2, 2, *(size[:1] if self.dims == 3 else ()), *size[-2:]))

    @pytest.mark.parametrize("size", [(8, 16, 16), (5, 13, 22), (1, 1, 1)])
    def test_logits_have_the_size_of_the_image(self, network, size):
        image = self.image(*size)
        assert network(image).shape == (2, 3, *image.shape[2:])

    def test_every_parameter_learns(self, network):
        network.train()(self.image(8, 32, 32)).pow(2).mean().backward()
        silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        # a bias before a normalization is cancelled by it
        assert [name for name in silent if not name.endswith("bias")] == []

    def test_state_dict_restores_the_logits(self, network):
        torch.manual_seed(1)
        other = build_network(self.variant, in_channels=2, out_channels=3, **self.options).eval()
        image = self.image(8, 16, 16)
        assert not torch.allclose(network(image), other(image))
        other.load_state_dict(network.state_dict())
        assert torch.equal(network(image), other(image))

    def test_radius_bounds_what_an_output_depends_on(self, network):
        """Change what lies beyond the radius of an aligned window: the window stays the same."""
        field = receptive_field(network)
        if not field.local:
            pytest.skip("sees its whole input")
        start = -(-field.radius // field.stride) * field.stride + field.stride
        side = 2 * start
        image = torch.randn((1, 2, *(8,) * (self.dims - 2), field.stride, side))
        changed = image.clone()
        changed[..., : start - field.radius] += 10
        changed[..., start + field.stride + field.radius :] += 10
        with torch.no_grad():
            a, b = (network(x)[..., start : start + field.stride] for x in (image, changed))
        assert torch.allclose(a, b, atol=1e-5)

    def test_tiles_are_exact_where_it_says_so(self, network):
        """Cut an image into tiles with a halo; each gives what the whole image gives there."""
        field = receptive_field(network)
        if not field.local:
            pytest.skip("sees its whole input")
        side = 2 * field.halo + 3 * field.stride + 5
        across = field.stride if self.dims == 2 else 2
        image = torch.randn((1, 2, *(across,) * (self.dims - 1), side))
        with torch.no_grad():
            whole = network.on_grid(image)
            for tile in plan_tiles(image.shape[2:], 2 * field.stride, field.halo, field.stride):
                part = network.on_grid(image[(..., *tile.read)])
                assert torch.allclose(part[(..., *tile.crop)], whole[(..., *tile.write)], atol=1e-4)

    def test_a_few_steps_lower_the_loss(self, network):
        torch.manual_seed(2)
        image = torch.randn((2, 2, *(16,) * self.dims))
        target = (image[:, 0] > 0).long()
        optimizer = torch.optim.Adam(network.train().parameters(), 1e-2)
        losses = []
        for _ in range(8):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network.on_grid(image), target)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0]

    def test_bfloat16_changes_little(self, network):
        image = self.image(8, 32, 32)
        with torch.no_grad():
            exact = network.on_grid(image)
            with torch.autocast("cpu", torch.bfloat16):
                rough = network.on_grid(image)
        assert (rough.float() - exact).abs().mean() < 0.1 * exact.std()

    def test_its_outline_ends_in_the_logits(self, network):
        outline = network.geometry.outline(2, 3)
        names = [stage.name for stage in outline.stages]
        assert len(set(names)) == len(names)
        assert {name for link in outline.links for name in (link.start, link.end)} == set(names)
        assert [stage.channels for stage in outline.stages if stage.kind == "head"][-1] == 3


class TestTransposed(NetworkPromises):
    pass


class TestLinear(NetworkPromises):
    options = {"width": 4, "depth": 2, "up": "linear", "activation": "leaky_relu", "convs": 1}


class TestNearestAdd(NetworkPromises):
    options = {"width": 4, "depth": 3, "up": "nearest", "skip": "add", "norm": "none", "activation": "elu"}


class TestStridedNoSkip(NetworkPromises):
    options = {"width": 4, "depth": 2, "down": "conv", "skip": "none", "activation": "silu", "head_kernel": 3}


class TestAverageWide(NetworkPromises):
    options = {"widths": (3, 5, 7), "depth": 2, "down": "average", "kernel": 5, "activation": "gelu"}


class TestInstanceNorm(NetworkPromises):
    options = {"width": 4, "depth": 2, "norm": "instance", "dropout": 0.2}


class TestGroupNorm(NetworkPromises):
    options = {"width": 8, "depth": 1, "norm": "group", "groups": 4}


class TestNoDepth(NetworkPromises):
    options = {"width": 4, "depth": 0}


class TestVolume(NetworkPromises):
    variant = "unet-3d"
    options = {"width": 4, "depth": 2}
    dims = 3


class TestVolumeLinear(NetworkPromises):
    variant = "unet-3d"
    options = {"width": 4, "depth": 2, "up": "linear", "norm": "instance"}
    dims = 3


@pytest.mark.parametrize(
    ("options", "radius"),
    [({"depth": 4}, 94), ({"depth": 4, "up": "linear"}, 110), ({"depth": 2}, 22), ({"depth": 3, "up": "linear"}, 54)],
)
def test_radius_is_what_others_measured(options, radius):
    assert receptive_field(build_network("unet", width=4, **options)).radius == radius


def test_norms_that_see_everything_are_not_local():
    assert not receptive_field(build_network("unet", width=8, depth=1, norm="instance")).local
    assert receptive_field(build_network("unet", width=8, depth=1)).local


def test_the_radius_does_not_depend_on_the_width():
    assert receptive_field(build_network("unet", width=64)) == receptive_field(build_network("unet", width=3))
    assert receptive_field(build_network("unet-3d", depth=4)).radius == 94


def test_no_channels_get_a_sentence():
    with pytest.raises(ModelError, match="at least one channel"):
        build_network("unet", in_channels=0)
    with pytest.raises(ModelError, match="widths"):
        build_network("unet", widths=(0, 4), depth=1)


def test_all_variants_build():
    for name in variants():
        network = build_network(name, width=4).eval()
        assert network.on_grid(torch.zeros((1, 1, *(16,) * network.dims))).shape[1] == 2


@pytest.mark.parametrize(
    ("variant", "channels", "options", "count"),
    [
        ("unet-valid", (1, 2), {}, 31_030_658),
        ("unet-plain", (3, 10), {}, 31_032_330),
        ("unet-keras", (1, 1), {}, 7_759_521),
        ("unet-slim", (3, 6), {}, 7_759_782),
        ("unet-slim-3x", (3, 3), {}, 7_760_475),
        ("unet-batchnorm", (3, 10), {}, 31_044_106),
        ("unet-batchnorm-crop", (3, 10), {}, 31_044_106),
        ("unet-bilinear", (1, 1), {}, 34_518_081),
        ("unet-bilinear", (1, 1), {"up": "transpose"}, 31_036_481),
        ("unet-strided", (3, 3), {}, 32_090_627),
    ],
)
def test_known_networks_have_their_known_numbers_of_parameters(variant, channels, options, count):
    with torch.device("meta"):
        network = build_network(variant, *channels, **options)
    assert sum(p.numel() for p in network.parameters()) == count


def test_unpadded_networks_lose_what_the_paper_says():
    network = build_network("unet-valid", width=1).eval()
    assert network(torch.zeros((1, 1, 572, 572))).shape[2:] == (388, 388)
    assert network.geometry.margin == 92
    assert network.on_grid(torch.zeros((1, 1, 37, 200))).shape[2:] == (37, 200)
    padded = build_network("unet-batchnorm-pad", width=1).eval()
    assert padded(torch.zeros((1, 1, 572, 572))).shape[2:] == (564, 564)


@pytest.mark.parametrize(
    ("variant", "options", "words"),
    [
        ("vnet", {}, "no variant"),
        ("unet", {"dept": 3}, "dept"),
        ("unet", {"kernel": 4}, "odd"),
        ("unet", {"widths": (1, 2)}, "widths"),
        ("unet", {"norm": "group", "groups": 7}, "groups"),
    ],
)
def test_bad_options_get_a_sentence(variant, options, words):
    with pytest.raises(ModelError, match=words):
        build_network(variant, **options)
