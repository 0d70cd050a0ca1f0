"""The distribution-based losses, and each once more from its formula in float64 NumPy.

Nothing is shared with the package. An oracle takes one image, `(y, p, w)`.
"""

from functools import partial

import numpy as np
from case import Case

import segloss_ref as sl


def binary_cross_entropy(y, p, w):
    return np.mean(w * (-y * np.log(p) - (1 - y) * np.log(1 - p)))


def weighted_binary_cross_entropy(y, p, w, beta):
    return np.mean(w * (-beta * y * np.log(p) - (1 - y) * np.log(1 - p)))


def balanced_binary_cross_entropy(y, p, w, beta=None):
    if beta is None:
        beta = np.sum(w * (1 - y)) / np.sum(w)
    return np.mean(w * (-beta * y * np.log(p) - (1 - beta) * (1 - y) * np.log(1 - p)))


CASES = {
    "bce": Case(sl.BinaryCrossEntropyLoss, binary_cross_entropy),
    "wbce-3": Case(
        sl.WeightedBinaryCrossEntropyLoss,
        partial(weighted_binary_cross_entropy, beta=3.0),
        {"beta": 3.0},
    ),
    "balanced": Case(sl.BalancedBinaryCrossEntropyLoss, balanced_binary_cross_entropy),
    "balanced-0.9": Case(
        sl.BalancedBinaryCrossEntropyLoss,
        partial(balanced_binary_cross_entropy, beta=0.9),
        {"beta": 0.9},
    ),
}
