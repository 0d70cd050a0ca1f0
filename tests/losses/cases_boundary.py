"""The boundary-based losses, and each once more from its formula in float64 NumPy."""

from functools import partial

import numpy as np
from case import Case
from scipy import ndimage

import segloss_ref as sl


def signed_distance(mask):
    """Outside positive, from pixel centre to pixel centre; 0 if there is one side only."""
    if mask.all() or not mask.any():
        return np.zeros(mask.shape)
    return ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)


def boundary(y, p, w):
    return np.mean(w * signed_distance(y > 0.5) * p)


def hausdorff(y, p, w, alpha=2.0):
    distances = abs(signed_distance(p > 0.5)) ** alpha + abs(signed_distance(y > 0.5)) ** alpha
    return np.mean(w * (p - y) ** 2 * distances)


def log_hausdorff(y, p, w):
    """A weight map has its mean outside of the logarithm, as the weight of an image has."""
    return np.mean(w) * np.log(1 + hausdorff(y, p, w) / np.mean(w))


def curve(mask):
    return mask & ~ndimage.binary_erosion(mask)


def al_arif_factor(y, p):
    true, predicted = y > 0.5, p > 0.5
    distance = 0.0
    if true.any() and predicted.any():
        to_true = ndimage.distance_transform_edt(~curve(true))
        distance = np.mean(to_true[curve(predicted)])
    return 1 + distance * (true != predicted)


def al_arif(y, p, w):
    ce = -y * np.log(p) - (1 - y) * np.log(1 - p)
    return np.mean(w * al_arif_factor(y, p) * ce)


def al_arif_exclusive(y, p, w):
    factor = np.stack([al_arif_factor(y[..., c], p[..., c]) for c in range(3)], axis=-1)
    return np.mean(w * np.sum(factor * -y * np.log(p), axis=-1))


def boundary_dou(y, p, w, max_alpha=0.8, smooth=1.0):
    true = y > 0.5
    alpha = 1 - 2 * curve(true).sum() / true.sum() if true.any() else 0
    alpha = min(max(alpha, 0), max_alpha)
    union_and_both = np.sum(w * y**2) + np.sum(w * p**2)
    both = np.sum(w * y * p)
    return (union_and_both - 2 * both) / (union_and_both - (1 + alpha) * both + smooth)


CASES = {
    "boundary": Case(sl.BoundaryLoss, boundary, permutable=False, least=None),
    "hausdorff": Case(sl.HausdorffDistanceLoss, hausdorff, permutable=False),
    "hausdorff-1.5": Case(
        sl.HausdorffDistanceLoss, partial(hausdorff, alpha=1.5), {"alpha": 1.5}, permutable=False
    ),
    "hausdorff-log": Case(sl.HausdorffDistanceLoss, log_hausdorff, {"log": True}, permutable=False),
    "al-arif": Case(
        sl.AlArifShapeLoss, al_arif, joint={"exclusive": al_arif_exclusive}, permutable=False
    ),
    "boundary-dou": Case(sl.BoundaryDoULoss, boundary_dou, permutable=False),
    "boundary-dou-0.2": Case(
        sl.BoundaryDoULoss,
        partial(boundary_dou, max_alpha=0.2, smooth=0.01),
        {"max_alpha": 0.2, "smooth": 0.01},
        permutable=False,
    ),
}
