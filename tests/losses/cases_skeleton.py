"""Skeletons, contours and structure, each once more from its formula in float64 NumPy."""

from functools import partial

import numpy as np
from case import Case
from scipy import ndimage
from skimage import morphology
from thinning import thin_one_by_one

import segloss_ref as sl


def soft_skeleton(p, iterations):
    """Shit 2021, algorithm 1; a filter's neighbourhood ends with the picture."""
    cross = ndimage.generate_binary_structure(p.ndim, 1)
    box = np.ones((3,) * p.ndim, bool)
    found = []
    for _ in range(iterations + 1):
        eroded = ndimage.minimum_filter(p, footprint=cross, mode="constant", cval=np.inf)
        opened = ndimage.maximum_filter(eroded, footprint=box, mode="constant", cval=-np.inf)
        found.append(np.maximum(p - opened, 0))
        p = eroded
    return 1 - np.prod([1 - f for f in found], axis=0)


def cl_dice(y, p, w, iterations=10, smooth=1.0):
    of_y, of_p = soft_skeleton(y, iterations), soft_skeleton(p, iterations)
    precision = (np.sum(w * of_p * y) + smooth) / (np.sum(w * of_p) + smooth)
    sensitivity = (np.sum(w * of_y * p) + smooth) / (np.sum(w * of_y) + smooth)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity)


def tube(mask, radius):
    line = morphology.thin(mask) if mask.ndim == 2 else thin_one_by_one(mask)
    return ndimage.binary_dilation(line, iterations=radius) if radius else line


def skeleton_recall(y, p, w, radius=2, smooth=1.0, of=None):
    y = y > 0.5
    t = tube(y if of is None else of, radius) & y
    return 1 - (np.sum(w * t * p) + smooth) / (np.sum(w * t) + smooth)


def skeleton_recall_exclusive(y, p, w, **settings):
    """All classes but the first one share a skeleton."""
    objects = 1 - y[..., 0] > 0.5
    of = [None, objects, objects]
    each = [skeleton_recall(y[..., c], p[..., c], w, of=of[c], **settings) for c in range(3)]
    return np.mean(each)


def active_contour(y, p, w, region_weight=1.0):
    total = 0.0
    for i in np.ndindex(p.shape):
        squares = 0.0
        for axis in range(p.ndim):
            following = tuple(k + (a == axis) for a, k in enumerate(i))
            if following[axis] < p.shape[axis]:
                squares += (p[following] - p[i]) ** 2
        region = p[i] * (1 - y[i]) ** 2 + (1 - p[i]) * (0 - y[i]) ** 2
        total += w[i] * (np.sqrt(squares) + region_weight * region)
    return total / p.size


def windows(shape, window, sigma):
    """Of each pixel: what of the picture lies in its window, and the weights there."""
    grid = np.indices(shape)
    for i in np.ndindex(shape):
        distance = grid - np.reshape(i, (-1,) + (1,) * len(shape))
        near = (np.abs(distance) <= window // 2).all(axis=0)
        g = np.exp(-(distance**2).sum(axis=0)[near] / (2 * sigma**2))
        yield i, near, g / g.sum()


def standardized(x, window, sigma):
    result = np.zeros(x.shape)
    for i, near, g in windows(x.shape, window, sigma):
        mean = np.sum(g * x[near])
        deviation = np.sqrt(np.sum(g * (x[near] - mean) ** 2))
        result[i] = (x[i] - mean + 0.01) / (deviation + 0.01)
    return result


def correlation(y, p, w, window=11, sigma=1.5, beta=0.1):
    e = np.abs(standardized(y, window, sigma) - standardized(p, window, sigma))
    hard = w * (e > beta * e.max())
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    return np.sum(hard * e * entropy) / np.sum(hard)


def ssim_parts(y, p, window, sigma):
    """The maps l and c s."""
    luminance, structure = np.zeros(y.shape), np.zeros(y.shape)
    c1, c2 = 0.01**2, 0.03**2
    for i, near, g in windows(y.shape, window, sigma):
        a, b = y[near], p[near]
        mean_a, mean_b = np.sum(g * a), np.sum(g * b)
        covariance = np.sum(g * (a - mean_a) * (b - mean_b))
        variances = np.sum(g * (a - mean_a) ** 2) + np.sum(g * (b - mean_b) ** 2)
        luminance[i] = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        structure[i] = (2 * covariance + c2) / (variances + c2)
    return luminance, structure


def ssim(y, p, w, window=11, sigma=1.5):
    luminance, structure = ssim_parts(y, p, window, sigma)
    return 1 - np.average(luminance * structure, weights=w)


def blocks(x, reduce):
    """The picture in blocks of two pixels, those at the end cut off, reduced to one each."""
    shape = [(n + 1) // 2 for n in x.shape]
    cut = [x[tuple(slice(2 * k, 2 * k + 2) for k in i)] for i in np.ndindex(*shape)]
    return np.reshape([reduce(block) for block in cut], shape)


def ms_ssim(y, p, w, window=11, sigma=1.5):
    similarity = 1.0
    exponents = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    for exponent in exponents:
        luminance, values = ssim_parts(y, p, window, sigma)
        if exponent == exponents[-1]:
            values = luminance * values
        similarity *= max(np.average(values, weights=w), 0.01) ** exponent
        y, p, w = blocks(y, np.mean), blocks(p, np.mean), blocks(w, np.sum)
    return 1 - similarity


def structure(oracle, loss, flippable=True, **settings):
    return Case(
        loss,
        partial(oracle, **settings),
        settings,
        permutable=False,
        flippable=flippable,
    )


CASES = {
    "cl-dice": Case(sl.ClDiceLoss, cl_dice, permutable=False),
    "cl-dice-one-iteration": Case(
        sl.ClDiceLoss,
        partial(cl_dice, iterations=1, smooth=1e-3),
        {"iterations": 1, "smooth": 1e-3},
        permutable=False,
    ),
    # A thinning peels in an order of places: of a line of two pixels it keeps the one or the other.
    "skeleton-recall": Case(
        sl.SkeletonRecallLoss,
        skeleton_recall,
        joint={"exclusive": skeleton_recall_exclusive},
        permutable=False,
        flippable=False,
    ),
    "skeleton-recall-without-tube": Case(
        sl.SkeletonRecallLoss,
        partial(skeleton_recall, radius=0),
        {"radius": 0},
        joint={"exclusive": partial(skeleton_recall_exclusive, radius=0)},
        permutable=False,
        flippable=False,
    ),
    # The next pixel is that to the right and below: in a mirror, other differences make a pair.
    "active-contour": Case(
        sl.ActiveContourLoss, active_contour, permutable=False, flippable=False, least=None
    ),
    "active-contour-region": Case(
        sl.ActiveContourLoss,
        partial(active_contour, region_weight=7.0),
        {"region_weight": 7.0},
        permutable=False,
        flippable=False,
        least=None,
    ),
    "structure-correlation": structure(correlation, sl.StructuralSimilarityLoss),
    "structure-correlation-3": structure(
        correlation, sl.StructuralSimilarityLoss, window=3, sigma=2.0, beta=0.3
    ),
    "structure-ssim": structure(ssim, sl.SSIMLoss),
    "structure-ssim-5": structure(ssim, sl.SSIMLoss, window=5, sigma=1.0),
    # An odd last pixel is a block of its own at the next scale; in a mirror it is the first one.
    "structure-ms-ssim": structure(ms_ssim, sl.MultiScaleSSIMLoss, flippable=False),
}
