"""What every network must keep; each has a test class that inherits these."""

import pytest
import torch

from napari_unet.inference.tiles import plan_tiles
from napari_unet.networks.field import receptive_field
from napari_unet.networks.registry import build_network


class NetworkPromises:
    """What any network must keep; subclass with a variant and its options."""

    variant = "unet"
    options: dict = {"width": 4, "depth": 2}
    dims = 2
    # parameters that the logits do not depend on, by how their names begin
    idle: tuple[str, ...] = ()

    @pytest.fixture
    def network(self):
        torch.manual_seed(0)
        return build_network(self.variant, in_channels=2, out_channels=3, **self.options).eval()

    def image(self, *size):
        return torch.randn((2, 2, *(size[:1] if self.dims == 3 else ()), *size[-2:]))

    @pytest.mark.parametrize("size", [(8, 16, 16), (5, 13, 22), (1, 1, 1)])
    def test_logits_have_the_size_of_the_image(self, network, size):
        image = self.image(*size)
        assert network.on_grid(image).shape == (2, 3, *image.shape[2:])

    def test_every_parameter_learns(self, network):
        network.train().on_grid(self.image(8, 32, 32)).pow(2).mean().backward()
        silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        # a bias before a normalization is cancelled by it
        assert [name for name in silent if not name.endswith("bias") and not name.startswith(self.idle)] == []

    def test_state_dict_restores_the_logits(self, network):
        torch.manual_seed(1)
        other = build_network(self.variant, in_channels=2, out_channels=3, **self.options).eval()
        image = self.image(8, 16, 16)
        assert not torch.allclose(network.on_grid(image), other.on_grid(image))
        other.load_state_dict(network.state_dict())
        assert torch.equal(network.on_grid(image), other.on_grid(image))

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
