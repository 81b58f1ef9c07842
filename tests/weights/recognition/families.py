"""The networks of `restatements`, one after the other, with what is known about each."""

from dataclasses import dataclass, field

import torch
from restatements import Debuggercafe, Joined, Milesial, Resized, Strided, Unpadded, UnpaddedActive
from restatements_more import BesideNested, Gated, Hub, Nested
from torch import nn

HEADS = {
    "result",
    "pred",
    "outc",
    "out",
    "final_conv",
    "conv",
    "Conv_1x1",
    "final",
    *(f"final{n}" for n in range(1, 5)),
}
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def enliven(network, image):
    """Weights that make every tensor matter, as after training.

    He-scaled kernels, biases that are not zero, measured and then perturbed statistics of batch
    normalization, logits of spread 1 around 0.
    """
    modules = list(network.modules())
    with torch.no_grad():
        for module in modules:
            if isinstance(module, CONVOLUTIONS):
                fan = module.in_channels * (9 if module.kernel_size == (3, 3) else 1)
                module.weight.normal_(0, (2 / fan) ** 0.5)
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.7, 1.3)
                module.momentum = None  # the running statistics become those of the batch
            if getattr(module, "bias", None) is not None:
                module.bias.normal_(0, 0.3)
        network.train()(image)
        for module in modules:
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.add_(0.2 * module.running_var.sqrt() * torch.randn_like(module.running_mean))
                module.running_var.mul_(torch.empty_like(module.running_var).uniform_(0.7, 1.4))
        _spread(network.eval(), image)
    return network


def _spread(network, image):
    """Make what the last convolutions give have spread 1."""
    named = dict(network.named_children())
    for name in sorted(HEADS & set(named)):
        head = getattr(named[name], "conv", named[name])
        given = []
        hook = head.register_forward_hook(lambda module, inputs, output, given=given: given.append(output))
        network(image)
        hook.remove()
        spread, mean = given[0].std((0, 2, 3)), given[0].mean((0, 2, 3))
        head.weight.div_(spread[:, None, None, None])
        head.bias.copy_((head.bias - mean) / spread + 0.3 * torch.randn_like(spread))


@dataclass(frozen=True)
class Case:
    """A network of somebody else.

    `make` takes channels in and out and a width; `origin` is the name of the family; `final` is what
    the author's code does after the network, None for nothing that is told by it; `inside` says that a
    sigmoid is in the network; `answers` is what a file cannot tell.
    """

    make: type
    origin: str
    parameters: int
    options: dict = field(default_factory=dict)
    full: tuple = (1, 1, 64)
    final: str | None = None
    inside: bool = False
    answers: dict = field(default_factory=dict)
    sizes: tuple = ((32, 48), (64, 16))
    thin: int = 4

    def network(self, ins, outs, width):
        return self.make(ins, outs, width, **self.options)

    def lively(self, ins=2, outs=3, seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            image = torch.randn((2, ins, *self.sizes[0]))
            return enliven(self.network(ins, outs, self.thin), image)

    def images(self, ins=2):
        generator = torch.Generator().manual_seed(7)
        return [torch.randn((1, ins, *size), generator=generator) for size in self.sizes]


ODD = ((32, 48), (37, 51))
UNPADDED = ((188, 188), (204, 204))
BATCHNORM = "BatchNorm U-Net with three ways to join"
ANY_SIZE = "U-Net of any widths for any size"
MILESIAL = "milesial Pytorch-UNet"
OLD_MILESIAL = "milesial Pytorch-UNet before October 2019"

CASES = {
    "unpadded": Case(
        Unpadded, "unpadded U-Net with centre crop", 31_030_658, full=(1, 2, 64), sizes=UNPADDED, thin=2
    ),
    "unpadded-active": Case(
        UnpaddedActive, "unpadded U-Net with centre crop", 31_030_658, full=(1, 2, 64), sizes=UNPADDED, thin=2
    ),
    "strided": Case(
        Strided, "U-Net with strided convolutions", 32_090_627, full=(3, 3, 64), final="sigmoid", inside=True
    ),
    "join-crop": Case(
        Joined, BATCHNORM, 31_044_106, {"join": "crop"}, (3, 10, 64), answers={"join": "crop"},
        sizes=((188, 204), (195, 191)), thin=2,
    ),
    "join-pad": Case(
        Joined, BATCHNORM, 31_044_106, {"join": "pad"}, (3, 10, 64), answers={"join": "pad"},
        sizes=((188, 204), (195, 191)), thin=2,
    ),
    "join-same": Case(Joined, BATCHNORM, 31_044_106, {"join": "same"}, (3, 10, 64), answers={"join": "same"}),
    "debuggercafe": Case(Debuggercafe, "debuggercafe U-Net", 31_032_330, full=(3, 10, 64)),
    "resized-bilinear": Case(Resized, ANY_SIZE, 34_518_081, sizes=ODD),
    "resized-transposed": Case(Resized, ANY_SIZE, 31_036_481, {"bilinear": False}, sizes=ODD),
    "resized-shallow": Case(Resized, ANY_SIZE, 8_559_169, {"levels": 3}, sizes=ODD),
    "nested": Case(Nested, "4uiiurz1 UNet++", 9_162_753, full=(1, 1, 32), final="sigmoid", sizes=ODD),
    "nested-deep": Case(
        Nested, "4uiiurz1 UNet++", 9_163_116, {"deep": True}, (1, 3, 32), final="sigmoid", sizes=ODD
    ),
    "beside-nested": Case(BesideNested, "4uiiurz1 U-Net", 7_852_002, full=(1, 2, 32), final="sigmoid"),
    "milesial": Case(Milesial, MILESIAL, 31_037_698, full=(3, 2, 64), final="softmax", sizes=ODD),
    "milesial-bilinear": Case(
        Milesial, MILESIAL, 17_263_042, {"bilinear": True}, (3, 2, 64), final="softmax", sizes=ODD
    ),
    "milesial-2021": Case(
        Milesial, MILESIAL, 17_267_458, {"bilinear": True, "year": 2021}, (3, 2, 64), final="softmax", sizes=ODD
    ),
    "milesial-2019": Case(
        Milesial, MILESIAL, 14_788_994, {"year": 2019}, (3, 2, 64), final="softmax", sizes=ODD
    ),
    "milesial-2018": Case(
        Milesial, OLD_MILESIAL, 13_395_329, {"bilinear": True, "year": 2018}, (3, 1, 64), final="sigmoid", sizes=ODD
    ),
    "milesial-2018-transposed": Case(
        Milesial, OLD_MILESIAL, 14_788_929, {"year": 2018}, (3, 1, 64), final="sigmoid", sizes=ODD
    ),
    "hub": Case(
        Hub, "mateuszbuda brain-segmentation-pytorch", 7_763_041, full=(3, 1, 32), final="sigmoid", inside=True
    ),
    "U_Net": Case(Gated, "LeeJunHyun U_Net", 34_527_041, full=(3, 1, 64), final="sigmoid"),
    "AttU_Net": Case(Gated, "LeeJunHyun AttU_Net", 34_878_573, {"gated": True}, (3, 1, 64), "sigmoid"),
    "R2U_Net": Case(Gated, "LeeJunHyun R2U_Net", 39_091_393, {"turns": 2}, (3, 1, 64), "sigmoid"),
    "R2AttU_Net": Case(
        Gated, "LeeJunHyun R2AttU_Net", 39_442_925, {"gated": True, "turns": 2}, (3, 1, 64), "sigmoid"
    ),
}  # fmt: skip
