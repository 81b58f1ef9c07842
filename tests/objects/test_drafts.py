"""Labels as they will be."""

import numpy as np

from napari_unet.objects.editing.changes import Change, slices
from napari_unet.objects.editing.draft import Draft


def test_a_draft_is_what_its_changes_make_of_the_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (3, 600, 700)).astype(np.uint16)
    draft, expected = Draft(labels), labels.copy()
    for _ in range(60):
        box = tuple(tuple(sorted(rng.choice(side + 1, 2, replace=False).tolist())) for side in labels.shape)
        change = Change(box, rng.integers(0, 5, [b - a for a, b in box]).astype(np.uint16))
        draft.keep([change])
        expected[slices(box)] = change.values
    for box in (((0, 3), (0, 600), (0, 700)), ((1, 2), (250, 260), (500, 520)), ((0, 1), (0, 1), (699, 700))):
        assert np.array_equal(draft[slices(box)], expected[slices(box)])
    assert draft[2, 300, 255] == expected[2, 300, 255]
    assert np.array_equal(labels, np.random.default_rng(0).integers(0, 5, labels.shape))
