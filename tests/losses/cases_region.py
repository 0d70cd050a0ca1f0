"""The region-based losses, and each once more from its formula in float64 NumPy."""

from functools import partial

import numpy as np
from case import Case

import segloss_ref as sl


def dice(y, p, w, smooth=1.0, power=1):
    overlap = 2 * np.sum(w * y * p) + smooth
    return 1 - overlap / (np.sum(w * y**power) + np.sum(w * p**power) + smooth)


def confusion(y, p, w):
    """Soft TP, FP, FN, TN."""
    return [np.sum(w * a * b) for a, b in ((y, p), (1 - y, p), (y, 1 - p), (1 - y, 1 - p))]


def tversky(y, p, w, alpha=0.3, beta=0.7, smooth=1.0):
    tp, fp, fn, _ = confusion(y, p, w)
    return 1 - (tp + smooth) / (tp + alpha * fp + beta * fn + smooth)


def focal_tversky(y, p, w, alpha=0.3, beta=0.7, gamma=0.75, smooth=1.0):
    return tversky(y, p, w, alpha, beta, smooth) ** gamma


def jaccard(y, p, w, smooth=1.0):
    overlap = np.sum(w * y * p)
    return 1 - (overlap + smooth) / (np.sum(w * y) + np.sum(w * p) - overlap + smooth)


def dice_semimetric(y, p, w, smooth=1.0):
    total, apart = np.sum(w * y) + np.sum(w * p), np.sum(w * np.abs(y - p))
    return 1 - (total - apart + smooth) / (total + smooth)


def jaccard_metric(y, p, w, smooth=1.0):
    total, apart = np.sum(w * y) + np.sum(w * p), np.sum(w * np.abs(y - p))
    return 1 - (total - apart + 2 * smooth) / (total + apart + 2 * smooth)


def generalized_dice(y, p, w, exponent=2, penalty=0.0):
    """Sums over pixels class by class, with a last axis of classes in y and p."""
    above = below = 0.0
    for c in range(y.shape[-1]):
        volume = np.sum(w * y[..., c])
        if volume > 0:
            tp, fp, fn, _ = confusion(y[..., c], p[..., c], w)
            above += 2 * tp / volume**exponent
            below += (volume + np.sum(w * p[..., c]) + penalty * (fp + fn)) / volume**exponent
    return 1 - above / below


def generalized_dice_of_two(y, p, w, exponent=2, penalty=0.0):
    """A class and its background."""
    two = [np.stack([a, 1 - a], axis=-1) for a in (y, p)]
    return generalized_dice(*two, w, exponent, penalty)


def generalized_dice_case(settings, **of_formula):
    return Case(
        sl.GeneralizedDiceLoss,
        partial(generalized_dice_of_two, **of_formula),
        settings,
        joint={"exclusive": partial(generalized_dice, **of_formula)},
    )


def log_cosh_dice(y, p, w, smooth=1.0, power=1):
    return np.log(np.cosh(dice(y, p, w, smooth, power)))


def sensitivity_specificity(y, p, w, r=0.05):
    error, loss = (y - p) ** 2, 0.0
    for share, where in ((r, y), (1 - r, 1 - y)):
        if np.sum(w * where) > 0:
            loss += share * np.average(error, weights=w * where)
    return loss


def matthews(y, p, w, smooth=1.0):
    tp, fp, fn, tn = confusion(y, p, w)
    tp, tn = tp + smooth, tn + smooth
    return 1 - (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def noise_robust_dice(y, p, w, gamma=1.5, smooth=1.0):
    mass = np.sum(w * y**2) + np.sum(w * p**2)
    return np.sum(w * np.abs(y - p) ** gamma) / (mass + smooth)


CASES = {
    "dice": Case(sl.DiceLoss, dice),
    "dice-squared": Case(
        sl.DiceLoss, partial(dice, smooth=1e-6, power=2), {"smooth": 1e-6, "squared": True}
    ),
    "tversky": Case(sl.TverskyLoss, tversky),
    "tversky-precise": Case(
        sl.TverskyLoss,
        partial(tversky, alpha=0.9, beta=0.0, smooth=0.1),
        {"alpha": 0.9, "beta": 0.0, "smooth": 0.1},
    ),
    "focal-tversky": Case(sl.FocalTverskyLoss, focal_tversky),
    "focal-tversky-2": Case(
        sl.FocalTverskyLoss,
        partial(focal_tversky, alpha=0.5, beta=0.5, gamma=2.0),
        {"alpha": 0.5, "beta": 0.5, "gamma": 2.0},
    ),
    "jaccard": Case(sl.JaccardLoss, jaccard),
    "dice-semimetric": Case(sl.DiceSemimetricLoss, dice_semimetric),
    "jaccard-metric": Case(
        sl.JaccardMetricLoss, partial(jaccard_metric, smooth=0.5), {"smooth": 0.5}
    ),
    "generalized-dice": generalized_dice_case({}),
    "generalized-dice-simple": generalized_dice_case({"weighting": "simple"}, exponent=1),
    "generalized-dice-penalty": generalized_dice_case(
        {"weighting": "uniform", "penalty": 2.5}, exponent=0, penalty=2.5
    ),
    "log-cosh-dice": Case(sl.LogCoshDiceLoss, log_cosh_dice),
    "sensitivity-specificity": Case(sl.SensitivitySpecificityLoss, sensitivity_specificity),
    "sensitivity-specificity-0.7": Case(
        sl.SensitivitySpecificityLoss, partial(sensitivity_specificity, r=0.7), {"r": 0.7}
    ),
    "matthews": Case(sl.MatthewsLoss, matthews),
    "matthews-0.01": Case(sl.MatthewsLoss, partial(matthews, smooth=0.01), {"smooth": 0.01}),
    "noise-robust-dice": Case(sl.NoiseRobustDiceLoss, noise_robust_dice),
    "noise-robust-dice-1": Case(
        sl.NoiseRobustDiceLoss, partial(noise_robust_dice, gamma=1.0), {"gamma": 1.0}
    ),
}
