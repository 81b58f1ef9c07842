"""Weights that make every tensor matter, and comparisons with what a file gave."""

import hashlib

import torch
from torch import nn

KERNELS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


def enliven(network, image, seed=0):
    """Give a network random weights, biases and statistics, and logits of spread 1 on an image."""
    generator = torch.Generator().manual_seed(seed)

    def random(tensor, scale, mean=0.0):
        tensor.copy_(mean + scale * torch.randn(tensor.shape, generator=generator))

    with torch.no_grad():
        for module in network.modules():
            own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
            for name, tensor in own.items():
                if name == "weight" and isinstance(module, KERNELS):
                    random(tensor, (2 / tensor[0].numel()) ** 0.5)
                elif name == "running_var":
                    tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
                elif tensor.is_floating_point():
                    random(tensor, 0.3, 1.0 if name == "weight" else 0.0)
        network.eval()
        head = [module for module in network.modules() if isinstance(module, KERNELS)][-1]
        spread = first(network(image)).std()
        for tensor in head.parameters(recurse=False):
            tensor.div_(spread)
    return network


def first(output):
    """The full-size output of a network that gives several."""
    return output[0] if isinstance(output, list | tuple) else output


def assert_same(model, network, *images):
    """The model gives what the author's network gives, within 1e-4 of its spread."""
    for image in images:
        with torch.no_grad():
            theirs, ours = first(network(image)), model.network(image)
        assert ours.shape == theirs.shape
        assert theirs.std() > 0.05
        assert (ours - theirs).abs().max() < 1e-4 * theirs.std()


def fingerprint(state):
    """What identifies the names and shapes of a state dict."""
    lines = sorted(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def scramble(*sizes, channels=1, seed=1):
    """Images of noise, one of each size."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn((1, channels, *size), generator=generator) for size in sizes]
