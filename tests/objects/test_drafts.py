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


def test_many_changes_are_gathered_to_few_that_do_the_same():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, (20, 600, 700)).astype(np.uint16)
    draft, expected = Draft(labels), labels.copy()
    for _ in range(250):
        z, y, x = (int(rng.integers(0, side - 9)) for side in labels.shape)
        box = ((z, z + 2), (y, y + 9), (x, x + 9))
        draft.keep([Change(box, np.full((2, 9, 9), 7, np.uint16))])
        expected[slices(box)] = 7
    gathered = draft.gathered()
    assert len(gathered) <= 2 * 2 * 2
    for change in gathered:
        labels[slices(change.box)] = change.values
    assert np.array_equal(labels, expected)
