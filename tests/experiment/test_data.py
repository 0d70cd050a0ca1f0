"""What a run learns."""

import numpy as np
import pytest

from segloss_ref.experiment.data import most_in_a_crop


@pytest.mark.parametrize("side", [1, 5, 16, 24])
def test_most_objects_in_a_crop(side):
    """Of rectangles, which fill the boxes around them, it is the number itself."""
    rng = np.random.default_rng(side)
    instances = np.full((24, 30), -1)
    for number in range(1, 9):
        top, left = rng.integers(0, 20), rng.integers(0, 26)
        free = instances[top : top + 3, left : left + 4]
        if (free < 1).all():
            free[:] = 3 * number  # with gaps between the numbers
    crops = np.lib.stride_tricks.sliding_window_view(instances, (side, side))
    counts = [len(np.unique(crop[crop > 0])) for row in crops for crop in row]
    assert most_in_a_crop(instances, (side, side)) == max(counts) > 0


def test_no_objects_are_none():
    assert most_in_a_crop(np.zeros((8, 8), int), (4, 4)) == 0


def test_most_objects_in_a_crop_of_a_volume():
    instances = np.zeros((6, 6, 6), int)
    for number, corner in enumerate([(0, 0, 0), (0, 0, 5), (5, 5, 5), (2, 2, 2)], 1):
        instances[corner] = number
    assert most_in_a_crop(instances, (6, 6, 6)) == 4
    assert most_in_a_crop(instances, (1, 1, 6)) == 2
    assert most_in_a_crop(instances, (3, 3, 3)) == 2
