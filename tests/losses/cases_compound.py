"""The compound losses, and each once more from its formula in float64 NumPy."""

from functools import partial

import numpy as np
from case import Case

import segloss_ref as sl

# Of one class or one of several independent ones, `(y, p, w)`: see `Case`.


def dice(y, p, w, smooth=1.0):
    return 1 - (2 * np.sum(w * y * p) + smooth) / (np.sum(w * y) + np.sum(w * p) + smooth)


def two_sided(cost, y, p, foreground=1.0, background=1.0):
    """The cost of what is true, on each pixel: the class or its rest."""
    return foreground * y * cost(p) + background * (1 - y) * cost(1 - p)


def minus_log(p):
    return -np.log(p)


def focal(p, gamma):
    return -((1 - p) ** gamma) * np.log(p)


def hardest(losses, k):
    worst = np.sort(losses.ravel())[::-1]
    return worst[: max(1, int(np.floor(k * worst.size + 0.5)))].mean()


# Of several exclusive classes, with a last axis of classes.


def mean_dice(y, p, w, skip=0, **settings):
    classes = range(skip, y.shape[-1])
    return np.mean([dice(y[..., c], p[..., c], w, **settings) for c in classes])


def true_class(cost, y, p, factors=1.0):
    return np.sum(factors * y * cost(p), axis=-1)


def both(over_pixels, over_regions=dice):
    """A compound of parts for one class."""
    return lambda y, p, w: over_pixels(y, p, w) + over_regions(y, p, w)


def dice_cross_entropy(y, p, w):
    return np.mean(w * two_sided(minus_log, y, p)) + dice(y, p, w)


def dice_cross_entropy_exclusive(y, p, w):
    return np.mean(w * true_class(minus_log, y, p)) + mean_dice(y, p, w)


def uneven_exclusive(y, p, w):
    return 3 * np.mean(w * true_class(minus_log, y, p)) + 0.5 * mean_dice(y, p, w, 1, smooth=0.1)


def dice_focal(y, p, w):
    cost = partial(focal, gamma=2.0)
    return np.mean(w * two_sided(cost, y, p, 0.25, 0.75)) + dice(y, p, w)


def dice_focal_exclusive(y, p, w):
    return np.mean(w * 0.25 * true_class(partial(focal, gamma=2.0), y, p)) + mean_dice(y, p, w)


def dice_top_k(y, p, w, k=0.1):
    return hardest(w * two_sided(minus_log, y, p), k) + dice(y, p, w)


def dice_top_k_exclusive(y, p, w, k=0.1):
    return hardest(w * true_class(minus_log, y, p), k) + mean_dice(y, p, w)


def dice_top_k_independent(y, p, w, k=0.1):
    return hardest(w * two_sided(minus_log, y, p).mean(axis=-1), k) + mean_dice(y, p, w)


def combo(y, p, w, cross_entropy_weight=0.5, beta=0.5, smooth=1.0):
    cross_entropy = np.mean(w * two_sided(minus_log, y, p, beta, 1 - beta))
    weight = cross_entropy_weight
    return weight * cross_entropy + (1 - weight) * dice(y, p, w, smooth)


def minus_log_dice(y, p, w, smooth=1.0):
    return -np.log((2 * np.sum(w * y * p) + smooth) / (np.sum(w * y) + np.sum(w * p) + smooth))


def rarity(y, w):
    """(Σ f_k / f_l)^½, and 0 for a class that nobody has."""
    share = np.sum(w * y) / np.sum(w)
    return share**-0.5 if share > 0 else 0.0


def exponential_logarithmic(y, p, w, dice_weight=0.8, ce_weight=0.2, gammas=(0.3, 0.3)):
    pixels = two_sided(lambda q: (-np.log(q)) ** gammas[1], y, p, rarity(y, w), rarity(1 - y, w))
    return dice_weight * minus_log_dice(y, p, w) ** gammas[0] + ce_weight * np.mean(w * pixels)


def exponential_logarithmic_exclusive(y, p, w, gammas=(0.3, 0.3)):
    classes = range(y.shape[-1])
    factors = np.array([rarity(y[..., c], w) for c in classes])
    pixels = true_class(lambda q: (-np.log(q)) ** gammas[1], y, p, factors)
    regions = [minus_log_dice(y[..., c], p[..., c], w) ** gammas[0] for c in classes]
    return 0.8 * np.mean(regions) + 0.2 * np.mean(w * pixels)


def tversky_error(y, p, w, delta, smooth=1.0):
    tp, fn, fp = (np.sum(w * x) for x in (y * p, y * (1 - p), (1 - y) * p))
    return 1 - (tp + smooth) / (tp + delta * fn + (1 - delta) * fp + smooth)


def modified_focal(y, p, w, delta=0.6, gamma=0.5, symmetric=True):
    powers = (1 - gamma, 1 - gamma) if symmetric else (0, gamma)
    foreground = delta * y * focal(p, powers[0])
    background = (1 - delta) * (1 - y) * focal(1 - p, powers[1])
    return np.mean(w * (foreground + background))


def modified_focal_exclusive(y, p, w, delta=0.6, gamma=0.5, symmetric=True):
    loss = (1 - delta) * y[..., 0] * focal(p[..., 0], 1 - gamma if symmetric else gamma)
    for c in range(1, y.shape[-1]):
        loss = loss + delta * y[..., c] * focal(p[..., c], 1 - gamma if symmetric else 0)
    return np.mean(w * loss)


def modified_focal_tversky(y, p, w, delta=0.6, gamma=0.5, symmetric=True):
    powers = (gamma, gamma) if symmetric else (1 - gamma, 1)
    foreground = tversky_error(y, p, w, delta) ** powers[0]
    return (foreground + tversky_error(1 - y, 1 - p, w, delta) ** powers[1]) / 2


def modified_focal_tversky_exclusive(y, p, w, delta=0.6, gamma=0.5, symmetric=True):
    errors = np.array([tversky_error(y[..., c], p[..., c], w, delta) for c in range(y.shape[-1])])
    powers = np.full(errors.size, gamma if symmetric else 1 - gamma)
    powers[0] = gamma if symmetric else 1
    return np.mean(errors**powers)


def unified(pixels, regions, y, p, w, focal_weight=0.5, **settings):
    values = pixels(y, p, w, **settings), regions(y, p, w, **settings)
    return focal_weight * values[0] + (1 - focal_weight) * values[1]


def unified_case(focal_weight=0.5, **settings):
    binary = partial(unified, modified_focal, modified_focal_tversky)
    exclusive = partial(unified, modified_focal_exclusive, modified_focal_tversky_exclusive)
    settings = {"focal_weight": focal_weight, **settings}
    return Case(
        sl.UnifiedFocalLoss,
        partial(binary, **settings),
        settings,
        {"exclusive": partial(exclusive, **settings)},
    )


def halves(loss, binary, exclusive, **settings):
    joint = {"exclusive": partial(exclusive, **settings)}
    return Case(loss, partial(binary, **settings), settings, joint)


ASYMMETRIC = {"delta": 0.7, "gamma": 0.25, "symmetric": False}

CASES = {
    "dice-ce": Case(
        sl.DiceCrossEntropyLoss, dice_cross_entropy, {}, {"exclusive": dice_cross_entropy_exclusive}
    ),
    "dice-focal": Case(sl.DiceFocalLoss, dice_focal, {}, {"exclusive": dice_focal_exclusive}),
    "dice-top-k": Case(
        sl.DiceTopKLoss,
        dice_top_k,
        {},
        {"exclusive": dice_top_k_exclusive, "independent": dice_top_k_independent},
    ),
    "combo": Case(sl.ComboLoss, combo),
    "combo-0.2-0.7": Case(
        sl.ComboLoss,
        partial(combo, cross_entropy_weight=0.2, beta=0.7, smooth=0.5),
        {"cross_entropy_weight": 0.2, "beta": 0.7, "smooth": 0.5},
    ),
    "exp-log": Case(
        sl.ExponentialLogarithmicLoss,
        exponential_logarithmic,
        {},
        {"exclusive": exponential_logarithmic_exclusive},
    ),
    "exp-log-1-2": Case(
        sl.ExponentialLogarithmicLoss,
        partial(exponential_logarithmic, gammas=(1.0, 2.0)),
        {"gamma_dice": 1.0, "gamma_cross_entropy": 2.0},
        {"exclusive": partial(exponential_logarithmic_exclusive, gammas=(1.0, 2.0))},
    ),
    "modified-focal": halves(sl.ModifiedFocalLoss, modified_focal, modified_focal_exclusive),
    "modified-focal-asymmetric": halves(
        sl.ModifiedFocalLoss, modified_focal, modified_focal_exclusive, **ASYMMETRIC
    ),
    "modified-focal-tversky": halves(
        sl.ModifiedFocalTverskyLoss, modified_focal_tversky, modified_focal_tversky_exclusive
    ),
    "modified-focal-tversky-asymmetric": halves(
        sl.ModifiedFocalTverskyLoss,
        modified_focal_tversky,
        modified_focal_tversky_exclusive,
        **ASYMMETRIC,
    ),
    "unified-focal": unified_case(),
    "unified-focal-asymmetric": unified_case(focal_weight=0.3, **ASYMMETRIC),
    # Around a loss, on predictions of the size of the truth: the loss itself.
    "deep-supervision": Case(
        sl.DeepSupervisionLoss,
        dice_cross_entropy,
        {},
        {"exclusive": dice_cross_entropy_exclusive},
        around=sl.DiceCrossEntropyLoss,
    ),
}
