"""Distances between the surfaces of two masks."""

import numpy as np

from segloss_ref.metrics.common import binary_pair
from segloss_ref.metrics.overlap import iou

# Distances are square roots of sums of squares: three pixels of 0.1 mm are 0.30000000000000004 mm,
# and are meant to lie within a tolerance of 0.3 mm.
_ROUNDING = 1 + 1e-9


def hausdorff_distance(y_true, y_pred, percentile=95.0, spacing=1.0):
    """Hausdorff distance between the surfaces of two binary masks, or a percentile of it.

    `max(P_q {d(a, B) : a in A}, P_q {d(b, A) : b in B})`

    with A and B the surface pixels of the truth and of the prediction, d(a, B) the distance from
    a to the nearest pixel of B, and P_q the q-th percentile, interpolated linearly.

    A surface pixel is one of the mask with a neighbour across an edge (in 3-D: a face) outside
    the mask; what lies beyond the image counts as outside. Each surface pixel weighs the same.
    The percentile is taken in each direction before the maximum. Some tools pool the two
    directions first, and give less where one mask lacks what the other has.

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        percentile: q, in (0, 100]. The default is the usual "HD95", which a few stray pixels do
            not rule; 100 is the Hausdorff distance itself.
        spacing: Size of a pixel, one number or one per axis, in the unit wanted, such as mm.

    Returns:
        A float, in the unit of `spacing`. Both masks empty: 0. One of them empty: `inf`.

    Raises:
        ValueError: If the two are not binary masks of one shape, or a setting is out of range.

    Example:
        >>> hausdorff_distance([[1, 0, 0, 0]], [[0, 0, 0, 1]], spacing=0.5)
        1.5

    Source: Huttenlocher, Klanderman and Rucklidge 1993, doi:10.1109/34.232073
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"`percentile` must be above 0 and at most 100. Received: {percentile!r}")
    directed = _surface_distances(y_true, y_pred, spacing)
    if np.isinf(directed[0]).any():  # interpolating between two infinities is NaN
        return float("inf")
    return float(max(np.percentile(d, percentile) for d in directed))


def average_surface_distance(y_true, y_pred, spacing=1.0):
    """Mean distance between the surfaces of two binary masks, symmetric.

    `(Σ_a d(a, B) + Σ_b d(b, A)) / (|A| + |B|)`

    with A and B the surface pixels of the truth and of the prediction, as in
    `hausdorff_distance`. Both directions are pooled; some tools report one direction only, or the
    mean of the two means.

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        spacing: Size of a pixel, one number or one per axis, in the unit wanted, such as mm.

    Returns:
        A float, in the unit of `spacing`. Both masks empty: 0. One of them empty: `inf`.

    Raises:
        ValueError: If the two are not binary masks of one shape, or `spacing` is not positive.

    Example:
        >>> average_surface_distance([[1, 1, 0, 0]], [[1, 1, 1, 0]])
        0.2
    """
    return float(np.concatenate(_surface_distances(y_true, y_pred, spacing)).mean())


def surface_dice(y_true, y_pred, tolerance, spacing=1.0):
    """Share of the two surfaces that lies within a tolerance of the other surface.

    `(|{a in A : d(a, B) <= τ}| + |{b in B : d(b, A) <= τ}|) / (|A| + |B|)`

    with A and B the surface pixels of the truth and of the prediction, as in
    `hausdorff_distance`. The paper weighs surface elements by their area; here each surface pixel
    weighs the same, which differs on slanted surfaces and with unequal spacing.

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        tolerance: τ, at least 0, in the unit of `spacing`: how far two careful people differ.
        spacing: Size of a pixel, one number or one per axis, in the unit wanted, such as mm.

    Returns:
        A float in [0, 1]. Both masks empty: 1. One of them empty: 0.

    Raises:
        ValueError: If the two are not binary masks of one shape, or a setting is out of range.

    Example:
        >>> surface_dice([[1, 1, 0, 0]], [[1, 1, 1, 0]], tolerance=0)
        0.8

    Source: Nikolov et al. 2021, doi:10.2196/26151
    """
    if not 0 <= tolerance < np.inf:
        raise ValueError(f"`tolerance` must be finite and at least 0. Received: {tolerance!r}")
    distances = np.concatenate(_surface_distances(y_true, y_pred, spacing))
    return float((distances <= tolerance * _ROUNDING).mean())


def boundary_iou(y_true, y_pred, width=None, spacing=1.0):
    """Intersection over union of the two bands that line the masks' boundaries on the inside.

    `|T_w and P_w| / |T_w or P_w|`

    with T_w and P_w the pixels of the truth and of the prediction whose distance to the nearest
    pixel outside their own mask is at most w. What lies beyond the image counts as outside.
    Distances are Euclidean; the authors' code erodes with a 3 by 3 square, whose bands are wider
    at corners.

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        width: w, in the unit of `spacing`, at least one pixel (its largest side). The default is
            the paper's: 2 % of the image's diagonal, or one pixel where that is more.
        spacing: Size of a pixel, one number or one per axis, in the unit wanted, such as mm.

    Returns:
        A float in [0, 1]; the `iou` where the bands fill the masks. Both masks empty: 1. One of
        them empty: 0.

    Raises:
        ValueError: If the two are not binary masks of one shape, or a setting is out of range.

    Example:
        >>> large, small = np.ones((5, 5), int), np.pad(np.ones((3, 3), int), 1)
        >>> iou(large, small), boundary_iou(large, small, width=1)
        (0.36, 0.0)

    Source: Cheng et al. 2021, arXiv:2103.16562
    """
    y_true, y_pred = binary_pair(y_true, y_pred)
    sides = _sides(spacing, y_true.ndim)
    if width is None:
        width = max(0.02 * np.linalg.norm(sides * y_true.shape), sides.max())
    # Thinner than one pixel, the bands would be empty, and two empty bands agree perfectly.
    if not sides.max() <= width * _ROUNDING < np.inf:
        raise ValueError(
            f"`width` must be finite and at least the pixel's largest side, {sides.max():g}. "
            f"Received: {width!r}"
        )
    return iou(_inner_band(y_true, width, sides), _inner_band(y_pred, width, sides))


def _surface_distances(y_true, y_pred, spacing):
    """Distances from the true surface to the predicted one, and back.

    With no surface at all the two agree: a single 0 each. With one only: a single infinity each.
    """
    from scipy import ndimage

    masks = binary_pair(y_true, y_pred)
    sides = _sides(spacing, masks[0].ndim)
    if not all(mask.any() for mask in masks):
        nowhere = np.array([np.inf if any(mask.any() for mask in masks) else 0.0])
        return nowhere, nowhere
    # Erosion takes what lies beyond the image for background, so cut objects end there.
    true, pred = (mask & ~ndimage.binary_erosion(mask) for mask in masks)
    return (
        ndimage.distance_transform_edt(~pred, sampling=sides)[true],
        ndimage.distance_transform_edt(~true, sampling=sides)[pred],
    )


def _inner_band(mask, width, sides):
    from scipy import ndimage

    # A frame of background, so that the image's edge is a boundary too.
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=sides)
    return mask & (depth[(slice(1, -1),) * mask.ndim] <= width * _ROUNDING)


def _sides(spacing, ndim):
    """The pixel's side along each axis."""
    sides = np.asarray(spacing, dtype=float)
    if sides.shape not in ((), (ndim,)) or not ((sides > 0) & (sides < np.inf)).all():
        raise ValueError(
            f"`spacing` must be one positive number, or one for each of the {ndim} axes. "
            f"Received: {spacing!r}"
        )
    return np.broadcast_to(sides, (ndim,))
