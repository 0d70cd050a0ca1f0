"""The region-based losses, and each once more from its formula in float64 NumPy."""

from functools import partial

import numpy as np
from case import Case

import segloss_ref as sl


def dice(y, p, w, smooth=1.0, power=1):
    overlap = 2 * np.sum(w * y * p) + smooth
    return 1 - overlap / (np.sum(w * y**power) + np.sum(w * p**power) + smooth)


CASES = {
    "dice": Case(sl.DiceLoss, dice),
    "dice-squared": Case(
        sl.DiceLoss, partial(dice, smooth=1e-6, power=2), {"smooth": 1e-6, "squared": True}
    ),
}
