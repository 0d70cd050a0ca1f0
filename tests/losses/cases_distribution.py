"""The distribution-based losses, and each once more from its formula in float64 NumPy.

Nothing is shared with the package. An oracle takes one image, `(y, p, w)`.
"""

from functools import partial

import numpy as np
from case import Case
from scipy import ndimage

import segloss_ref as sl


def binary_cross_entropy(y, p, w):
    return np.mean(w * (-y * np.log(p) - (1 - y) * np.log(1 - p)))


def smoothed_binary_cross_entropy(y, p, w, a):
    return binary_cross_entropy((1 - a) * y + a / 2, p, w)


def weighted_binary_cross_entropy(y, p, w, beta):
    return np.mean(w * (-beta * y * np.log(p) - (1 - y) * np.log(1 - p)))


def balanced_binary_cross_entropy(y, p, w, beta=None):
    if beta is None:
        beta = np.sum(w * (1 - y)) / np.sum(w)
    return np.mean(w * (-beta * y * np.log(p) - (1 - beta) * (1 - y) * np.log(1 - p)))


def smoothed_cross_entropy(y, p, w, weights=(1, 1, 1), smoothing=0.0):
    y = (1 - smoothing) * y + smoothing / y.shape[-1]
    return np.mean(w * np.sum(-np.array(weights) * y * np.log(p), axis=-1))


def exclusive(cost):
    """The mean over pixels of `Σ_c y_c cost(p_c)`."""
    return lambda y, p, w: np.mean(w * np.sum(y * cost(p), axis=-1))


def one_class(cost):
    """The mean over pixels of `y cost(p) + (1 - y) cost(1 - p)`."""
    return lambda y, p, w: np.mean(w * (y * cost(p) + (1 - y) * cost(1 - p)))


def of_true_class(loss, settings, cost):
    """A case of a loss that is a cost of the true class's probability."""
    return Case(loss, one_class(cost), settings, joint={"exclusive": exclusive(cost)})


def focal(p, gamma):
    return -((1 - p) ** gamma) * np.log(p)


def balanced_focal(y, p, w, alpha, gamma):
    foreground, background = alpha * y, (1 - alpha) * (1 - y)
    return np.mean(w * (foreground * focal(p, gamma) + background * focal(1 - p, gamma)))


def exclusive_focal(y, p, w, alpha, gamma):
    return np.mean(w * np.sum(np.array(alpha) * y * focal(p, gamma), axis=-1))


def focal_per_class(y, p, w, alpha, gamma):
    each = [balanced_focal(y[..., c], p[..., c], w, alpha[c], gamma) for c in range(3)]
    return np.mean(each)


def top_k(y, p, w, k, softmax):
    losses = -y * np.log(p) - (0 if softmax else (1 - y) * np.log(1 - p))
    losses = (w * (losses.sum(axis=-1) if softmax else losses.mean(axis=-1))).ravel()
    counted = np.count_nonzero(w > 0)
    m = max(1, int(np.floor(k * counted + 0.5)))
    # Pixels of weight 0 count in the mean, as losses of 0.
    return np.mean(np.sort(losses)[::-1][:m]) * counted / w.size


def top_k_case(k):
    joint = {
        kind: partial(top_k, k=k, softmax=kind == "exclusive")
        for kind in ("binary", "exclusive", "independent")
    }
    return Case(sl.TopKCrossEntropyLoss, settings={"k": k}, joint=joint)


def neighbour_shares(y, size):
    """τ by a loop over the pixels, with windows cut off at the border."""
    shares = np.empty_like(y)
    for at in np.ndindex(y.shape[:-1]):
        window = tuple(slice(max(0, i - size // 2), i + size // 2 + 1) for i in at)
        shares[at] = y[window].reshape(-1, y.shape[-1]).mean(axis=0)
    return shares


def calibrated(y, z, w, neighbor_weight, size):
    """From logits."""
    cross_entropy = np.sum(-y * (z - np.log(np.exp(z).sum(axis=-1, keepdims=True))), axis=-1)
    distance = np.mean(np.abs(neighbour_shares(y, size) - z), axis=-1)
    return np.mean(w * (cross_entropy + neighbor_weight * distance))


def calibrated_probabilities(y, p, w, neighbor_weight=0.1, size=3):
    """From the logits of `p` that have a mean of 1 / C, which are those that the tests draw."""
    z = np.log(p) - np.log(p).mean(axis=-1, keepdims=True) + 1 / p.shape[-1]
    return calibrated(y, z, w, neighbor_weight, size)


def calibration_case(**settings):
    joint = {"exclusive": partial(calibrated_probabilities, **settings)}
    return Case(
        sl.NeighborAwareCalibrationLoss,
        settings=settings,
        joint=joint,
        permutable=False,
        least=None,
        centred=True,
    )


def reversed_distance(y, normalize):
    """D - d on either side of the boundary; 0 if there is one side only."""
    mask = y > 0.5
    penalty = np.zeros(y.shape)
    if mask.any() and not mask.all():
        for side in (mask, ~mask):
            d = ndimage.distance_transform_edt(side)
            nearer = (d.max() - d)[side]
            penalty[side] = nearer / max(nearer.max(), 1e-300) if normalize else nearer
    return penalty


def distance_penalty(y, p, w, normalize=False):
    ce = -y * np.log(p) - (1 - y) * np.log(1 - p)
    return np.mean(w * (1 + reversed_distance(y, normalize)) * ce)


def distance_penalty_exclusive(y, p, w, normalize=False):
    """As published: a map of the background and a map inside of each class, put together."""
    ce = -y * np.log(p)
    maps = np.stack([reversed_distance(y[..., c], normalize) for c in range(3)], axis=-1)
    return np.mean(w * np.sum((1 + maps) * ce, axis=-1))


CASES = {
    "bce": Case(sl.BinaryCrossEntropyLoss, binary_cross_entropy),
    "bce-smoothing": Case(
        sl.BinaryCrossEntropyLoss,
        partial(smoothed_binary_cross_entropy, a=0.2),
        {"label_smoothing": 0.2},
        least=None,
    ),
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
    "cce": Case(
        sl.CategoricalCrossEntropyLoss,
        joint={"exclusive": smoothed_cross_entropy},
    ),
    "cce-weights": Case(
        sl.CategoricalCrossEntropyLoss,
        settings={"class_weights": [1, 2, 5]},
        joint={"exclusive": partial(smoothed_cross_entropy, weights=(1, 2, 5))},
    ),
    "cce-smoothing": Case(
        sl.CategoricalCrossEntropyLoss,
        settings={"class_weights": [1, 2, 5], "label_smoothing": 0.1},
        joint={"exclusive": partial(smoothed_cross_entropy, weights=(1, 2, 5), smoothing=0.1)},
        least=None,  # nearer to uniform
    ),
    "focal": Case(
        sl.FocalLoss,
        partial(balanced_focal, alpha=0.25, gamma=2.0),
        joint={"exclusive": partial(exclusive_focal, alpha=0.25, gamma=2.0)},
    ),
    "focal-0.5": of_true_class(
        sl.FocalLoss, {"alpha": None, "gamma": 0.5}, partial(focal, gamma=0.5)
    ),
    "top-k": top_k_case(0.1),
    "top-k-0.6": top_k_case(0.6),
    "poly": Case(
        sl.PolyLoss,
        one_class(lambda p: -np.log(p) + 1 - p),
        joint={"exclusive": exclusive(lambda p: -np.log(p) + 1 - p)},
        may_be_negative=("epsilon",),
    ),
    "poly--1": Case(
        sl.PolyLoss,
        one_class(lambda p: -np.log(p) - (1 - p)),
        {"epsilon": -1.0},
        joint={"exclusive": exclusive(lambda p: -np.log(p) - (1 - p))},
        may_be_negative=("epsilon",),
    ),
    "gce": of_true_class(sl.GeneralizedCrossEntropyLoss, {}, lambda p: (1 - p**0.7) / 0.7),
    "gce-0.2": of_true_class(
        sl.GeneralizedCrossEntropyLoss, {"q": 0.2}, lambda p: (1 - p**0.2) / 0.2
    ),
    "nacl": calibration_case(),
    "nacl-5": calibration_case(neighbor_weight=1.0, size=5),
    "distance-penalty": Case(
        sl.DistancePenaltyCrossEntropyLoss,
        distance_penalty,
        joint={"exclusive": distance_penalty_exclusive},
        permutable=False,
    ),
    "distance-penalty-normalized": Case(
        sl.DistancePenaltyCrossEntropyLoss,
        partial(distance_penalty, normalize=True),
        {"normalize": True},
        joint={"exclusive": partial(distance_penalty_exclusive, normalize=True)},
        permutable=False,
    ),
}
