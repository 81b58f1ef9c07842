"""Write docs/variants.md and its pictures from the catalogue of variants: make variants."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from napari_unet.errors import ModelError
from napari_unet.inference.exact.reach import reach
from napari_unet.inference.exact.tracing import UntraceableError
from napari_unet.networks.base import Network
from napari_unet.networks.drawing import LIGHT, draw
from napari_unet.networks.registry import build, network_spec, resolve_options
from napari_unet.networks.spec import NetworkSpec
from napari_unet.networks.variants import FAMILIES, VARIANTS

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = DOCS / "images" / "variants"
HEADER = """# Variants

Every network below can be built by its name, trained from scratch, fine-tuned, saved and drawn:

```python
import napari_unet as nu

network = nu.build_network("unet-valid", in_channels=1, out_channels=2, width=16)
```

Boxes are as wide as a block has channels and as high as its features are. Numbers are for one channel in and two
classes out. *Stride* is the total down-sampling. *Radius* is how many pixels beyond a window of that size influence
it, from the graph of the network. *Exact* means that an image in pieces gives what the whole image gives, to
rounding; where a layer sees its whole input (instance and group normalization, squeeze-and-excitation), it does not.

*This page is written by `make variants`.*

| variant | parameters | stride | radius | tiles |
|---|---|---|---|---|
"""


def anchor(name: str) -> str:
    """Name for links and files."""
    return name.replace("+", "p")


def furthest(network: Network) -> int | None:
    """Return how far a network looks, from its graph; None if it looks at everything."""
    try:
        return max(axis.radius for axis in reach(network))
    except UntraceableError:
        return None


def row(name: str) -> str:
    """Write the line of a variant in the table."""
    spec = network_spec(name, 1, 2, {})
    with torch.device("meta"):
        network = build(spec)
    options = resolve_options(spec)
    seen = furthest(build(spec).eval())
    parameters = sum(parameter.numel() for parameter in network.parameters())
    radius = "the whole input" if seen is None else f"{seen} px"
    tiles = "not exact" if seen is None else "exact"
    return f"| [{name}](#{anchor(name)}) | {parameters:,} | {options.stride} | {radius} | {tiles} |"


def section(name: str) -> str:
    """Draw a variant and write its section."""
    variant = VARIANTS[name]
    spec = NetworkSpec(variant=name, in_channels=1, out_channels=2)
    picture = PICTURES / f"{anchor(name)}.svg"
    picture.write_text(draw(resolve_options(spec).outline(1, 2), 520, LIGHT), encoding="utf-8")
    settings = ", ".join(f"`{key}={value!r}`" for key, value in variant.defaults.items())
    family = FAMILIES[variant.family]
    lines = [
        f"## {name} {{ #{anchor(name)} }}",
        f"{variant.description}.",
        f"![{variant.description}](images/variants/{picture.name})",
        f"Source: {variant.source}." if variant.source else "",
        f"Differs from the defaults of `{family.options.__module__}.{family.options.__name__}` by {settings}."
        if settings
        else f"Has the defaults of `{family.options.__module__}.{family.options.__name__}`.",
        f'Needs `pip install "napari-unet[{family.extra}]"`.' if family.extra else "",
    ]
    return "\n\n".join(line for line in lines if line)


def main() -> int:
    """Write the page."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    names = [name for name in VARIANTS if VARIANTS[name].family != "isolated"]
    try:
        text = HEADER + "\n".join(row(name) for name in names) + "\n\n" + "\n\n".join(section(name) for name in names)
    except ModelError as error:
        sys.exit(str(error))
    (DOCS / "variants.md").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
