"""Distances between the surfaces of two masks."""

import functools

import numpy as np

from segloss_ref.checks import Tensor, check_choice, check_number, check_spacing, sides_of
from segloss_ref.metrics.common import Labels, Value, each_image, mask_pairs
from segloss_ref.metrics.facets import facet_sizes, neighbours
from segloss_ref.metrics.overlap import iou_parts, share_of

# Distances are square roots of sums of squares: three pixels of 0.1 mm are 0.30000000000000004 mm,
# and are meant to lie within a tolerance of 0.3 mm.
_ROUNDING = 1 + 1e-9

WEIGHTINGS = ("pixels", "area")


def hausdorff_distance(
    y_true: Tensor,
    y_pred: Tensor,
    percentile: float = 95.0,
    spacing: float | tuple[float, ...] = 1.0,
    *,
    weighting: str | None = None,
    spatial_dims: int | None = None,
    ignore_class: Labels = None,
) -> Value:
    """Hausdorff distance between the surfaces of two binary masks, or a percentile of it.

    `max(P_q {d(a, B) : a in A}, P_q {d(b, A) : b in B})`

    with A and B the surface elements of the truth and of the prediction, d(a, B) the distance from
    a to the nearest element of B, and P_q the q-th percentile. There are two kinds of elements:

    * `"pixels"`: those of the mask with a neighbour across an edge (in 3-D: a face) outside the
      mask. A neighbour that is left out (truth -1) does not count: behind it the object may go on.
      Each weighs the same; percentiles are interpolated linearly.
    * `"area"`: the corners between pixels, with pixels of the mask and others around them. Each
      weighs as much as the piece of surface there, its length or, in 3-D, area; see `facet_sizes`.
      A corner of a pixel that is left out is none. P_q is the smallest distance within which q per
      cent of the surface lie. These are the elements and weights of surface-distance; by them a
      large sphere has 1.087 of its true area, 4 π r², and a share of it its true share.

    What lies beyond the image counts as outside. Pixels on a slanted surface stand for more of it
    than others, and so do all pixels across slices that are thick: there the two kinds differ.
    The percentile is taken in each direction before the maximum. Some tools pool the two
    directions first, and give less where one mask lacks what the other has.

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        percentile: q, in (0, 100]. The default is the usual "HD95", which a few stray pixels do
            not rule; 100 is the Hausdorff distance itself.
        spacing: Size of a pixel, one number or one per axis, in the unit wanted, such as mm.
        weighting: `"pixels"` or `"area"`: what the elements are. By default `"pixels"` in two
            dimensions and `"area"` in three.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Label of `y_true` to leave out, or several, beside -1.

    Returns:
        A float, in the unit of `spacing`. Both masks empty: 0. One of them empty: `inf`.

    Raises:
        ValueError: If the two are not binary masks of one shape, or a setting is out of range.

    Example:
        >>> hausdorff_distance([[1, 0, 0, 0]], [[0, 0, 0, 1]], spacing=0.5)
        1.5

    Source: Huttenlocher, Klanderman and Rucklidge 1993, doi:10.1109/34.232073
    """
    percentile = check_number("percentile", percentile, above=0, at_most=100)

    def farthest(there, back, weighting):
        return max(_percentile(*direction, percentile, weighting) for direction in (there, back))

    return _of_distances(farthest, y_true, y_pred, spacing, weighting, spatial_dims, ignore_class)


def average_surface_distance(
    y_true: Tensor,
    y_pred: Tensor,
    spacing: float | tuple[float, ...] = 1.0,
    *,
    weighting: str | None = None,
    spatial_dims: int | None = None,
    ignore_class: Labels = None,
) -> Value:
    """Mean distance between the surfaces of two binary masks, symmetric.

    `(Σ_a |a| d(a, B) + Σ_b |b| d(b, A)) / (Σ_a |a| + Σ_b |b|)`

    with A and B the surface elements of the truth and of the prediction, and |a| their weight, as
    in `hausdorff_distance`: 1 for pixels. Both directions are pooled; some tools report one
    direction only (surface-distance: both, one by one), or the mean of the two means.

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        spacing: Size of a pixel, one number or one per axis, in the unit wanted, such as mm.
        weighting: `"pixels"` or `"area"`, see `hausdorff_distance`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Label of `y_true` to leave out, or several, beside -1.

    Returns:
        A float, in the unit of `spacing`. Both masks empty: 0. One of them empty: `inf`.

    Raises:
        ValueError: If the two are not binary masks of one shape, or `spacing` is not positive.

    Example:
        >>> average_surface_distance([[1, 1, 0, 0]], [[1, 1, 1, 0]])
        0.2
    """

    def mean(there, back, weighting):
        distances, sizes = np.concatenate([there, back], axis=1)
        return float(np.average(distances, weights=sizes))

    return _of_distances(mean, y_true, y_pred, spacing, weighting, spatial_dims, ignore_class)


def surface_dice(
    y_true: Tensor,
    y_pred: Tensor,
    tolerance: float,
    spacing: float | tuple[float, ...] = 1.0,
    *,
    weighting: str | None = None,
    spatial_dims: int | None = None,
    ignore_class: Labels = None,
) -> Value:
    """Share of the two surfaces that lies within a tolerance of the other surface.

    `(Σ_{a : d(a, B) <= τ} |a| + Σ_{b : d(b, A) <= τ} |b|) / (Σ_a |a| + Σ_b |b|)`

    with A and B the surface elements of the truth and of the prediction, and |a| their weight, as
    in `hausdorff_distance`: 1 for pixels. By area it is the paper's definition; pixels differ from
    it on slanted surfaces and with unequal spacing.

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        tolerance: τ, at least 0, in the unit of `spacing`: how far two careful people differ.
        spacing: Size of a pixel, one number or one per axis, in the unit wanted, such as mm.
        weighting: `"pixels"` or `"area"`, see `hausdorff_distance`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Label of `y_true` to leave out, or several, beside -1.

    Returns:
        A float in [0, 1]. Both masks empty: 1. One of them empty: 0.

    Raises:
        ValueError: If the two are not binary masks of one shape, or a setting is out of range.

    Example:
        >>> surface_dice([[1, 1, 0, 0]], [[1, 1, 1, 0]], tolerance=0)
        0.8

    Source: Nikolov et al. 2021, doi:10.2196/26151
    """
    tolerance = check_number("tolerance", tolerance, at_least=0) * _ROUNDING

    def within(there, back, weighting):
        distances, sizes = np.concatenate([there, back], axis=1)
        return float(np.average(distances <= tolerance, weights=sizes))

    return _of_distances(within, y_true, y_pred, spacing, weighting, spatial_dims, ignore_class)


def boundary_iou(
    y_true: Tensor,
    y_pred: Tensor,
    width: float | None = None,
    spacing: float | tuple[float, ...] = 1.0,
    *,
    spatial_dims: int | None = None,
    ignore_class: Labels = None,
) -> Value:
    """Intersection over union of the two bands that line the masks' boundaries on the inside.

    `|T_w and P_w| / |T_w or P_w|`

    with T_w and P_w the pixels of the truth and of the prediction whose distance to the nearest
    pixel outside their own mask is at most w. What lies beyond the image counts as outside, pixels
    that are left out (truth -1) do not.
    Distances are Euclidean; the authors' code erodes with a 3 by 3 square, whose bands are wider
    at corners.

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        width: w, in the unit of `spacing`, at least one pixel (its largest side). The default is
            the paper's: 2 % of the image's diagonal, or one pixel where that is more.
        spacing: Size of a pixel, one number or one per axis, in the unit wanted, such as mm.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Label of `y_true` to leave out, or several, beside -1.

    Returns:
        A float in [0, 1]; the `iou` where the bands fill the masks. Both masks empty: 1. One of
        them empty: 0.

    Raises:
        ValueError: If the two are not binary masks of one shape, or a setting is out of range.

    Example:
        >>> large, small = np.ones((5, 5), int), np.pad(np.ones((3, 3), int), 1)
        >>> boundary_iou(large, small, width=1)  # their IoU is 0.36
        0.0

    Source: Cheng et al. 2021, arXiv:2103.16562
    """
    pairs = mask_pairs(y_true, y_pred, spatial_dims, ignore_class)
    space = pairs.true.shape[1:]
    sides = _sides(spacing, len(space))
    if width is None:
        width = max(0.02 * np.linalg.norm(sides * space), sides.max())
    width = check_number("width", width, above=0) * _ROUNDING
    if width < sides.max():  # the bands would be empty, and two empty bands agree perfectly
        raise ValueError(
            f"`width` must be at least the pixel's largest side, {sides.max():g}. "
            f"Received: {width / _ROUNDING:g}"
        )

    def overlap(true, pred, valid):
        bands = [_inner_band(mask, valid, width, sides) for mask in (true, pred)]
        if not any(band.any() for band in bands):  # no boundary is in sight
            return float(np.array_equal(true, pred))
        return share_of(iou_parts, *bands, valid)

    return each_image(overlap, pairs)


# --- Shared parts -------------------------------------------------------------------------------


def _of_distances(summary, y_true, y_pred, spacing, weighting, spatial_dims, ignore_class):
    pairs = mask_pairs(y_true, y_pred, spatial_dims, ignore_class)
    dims = pairs.true.ndim - 1
    sides, weighting = _sides(spacing, dims), weighting_of(weighting, dims)

    def of_image(true, pred, valid):
        return summary(*_surface_distances(true, pred, valid, sides, weighting), weighting)

    return each_image(of_image, pairs)


def _surface_distances(true, pred, valid, sides, weighting):
    """Distances from the true surface to the predicted one and weights, `(2, n)`, and back.

    With a surface missing, a single 0 each if the masks are equal, else a single infinity each.
    """
    from scipy import ndimage

    sizes = [_elements(mask, valid, sides, weighting) for mask in (true, pred)]
    surfaces = [size > 0 for size in sizes]
    if not all(surface.any() for surface in surfaces):
        nowhere = np.array([[0.0 if np.array_equal(true, pred) else np.inf], [1.0]])
        return nowhere, nowhere
    to = [ndimage.distance_transform_edt(~s, sampling=sides) for s in reversed(surfaces)]
    return tuple(np.stack([d[s], size[s]]) for d, s, size in zip(to, surfaces, sizes))


def _elements(mask, valid, sides, weighting):
    """What each element of the surface weighs: at pixels, or at the corners between them."""
    from scipy import ndimage

    if weighting == "pixels":
        # Erosion takes what lies beyond the image for background, so cut objects end there. Behind
        # a pixel that is out of the picture the object may go on.
        return 1.0 * (mask & ~ndimage.binary_erosion(mask | ~valid))
    framed, axes = [np.pad(x, 1) for x in (mask, ~valid)], range(mask.ndim)
    code = sum(view * np.uint8(2**bit) for bit, view in enumerate(neighbours(framed[0], axes)))
    unseen = functools.reduce(np.logical_or, neighbours(framed[1], axes))
    return np.where(unseen, 0.0, facet_sizes(tuple(sides))[code])


def _percentile(distances, sizes, q, weighting):
    """The distance within which q per cent of the surface lie."""
    if np.isinf(distances).any():  # interpolating between two infinities is NaN
        return float("inf")
    if weighting == "pixels":
        return float(np.percentile(distances, q))
    order = np.argsort(distances)
    reached = np.cumsum(sizes[order])
    # A share that is q up to the rounding of sums is meant to be reached.
    first = np.searchsorted(reached, q / 100 * reached[-1] * (1 - 1e-12))
    return float(distances[order][first])


def _inner_band(mask, valid, width, sides):
    from scipy import ndimage

    # A frame of background, so that the image's edge is a boundary too.
    depth = ndimage.distance_transform_edt(np.pad(mask | ~valid, 1), sampling=sides)
    return mask & (depth[(slice(1, -1),) * mask.ndim] <= width)


def _sides(spacing, dims):
    return np.array(sides_of(check_spacing("spacing", spacing), dims))


def weighting_of(weighting: str | None, dims: int) -> str:
    """The kind of surface elements: what is said or, without a word, what the dimensions say."""
    check_choice("weighting", weighting, (None, *WEIGHTINGS))
    return weighting or ("pixels" if dims == 2 else "area")
