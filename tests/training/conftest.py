"""Objects to learn from."""

import numpy as np
import pytest


@pytest.fixture
def touching():
    """Two squares of 9 pixels side by side, and one apart."""
    labels = np.zeros((1, 32, 32), np.int32)
    labels[0, 4:13, 4:13], labels[0, 4:13, 13:22], labels[0, 18:27, 10:19] = 3, 7, 2
    return labels
