"""Networks without values, and with other channels than they were made for."""

import subprocess
import sys

from napari_unet.networks.adapting import shapes_of
from napari_unet.networks.registry import network_spec

SHAPES = """
import sys
from napari_unet.networks.adapting import shapes_of
from napari_unet.networks.registry import network_spec
shapes_of(network_spec("unet", 1, 2, {"width": 4, "depth": 2}))
assert "torch._dynamo" not in sys.modules
"""


def test_shapes_are_those_of_the_network_itself():
    spec = network_spec("unet", 2, 3, {"width": 4, "depth": 1})
    shapes = shapes_of(spec)
    assert shapes["encoder.0.0.conv.weight"] == (4, 2, 3, 3)
    assert shapes["head.weight"] == (3, 4, 1, 1)


def test_shapes_do_not_wait_for_the_compiler_of_torch():
    ran = subprocess.run([sys.executable, "-c", SHAPES], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
