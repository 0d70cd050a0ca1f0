"""Metrics that judge a segmentation: overlap, surfaces, instances and calibration.

Every function takes **one image**, the truth first and the prediction second, and computes in
float64 with NumPy; map over the images of a batch and average what comes back. Three kinds of
input occur:

* a *binary mask*: booleans or the numbers 0 and 1;
* an *instance map*: integers, 0 for background and one number, any number, per object;
* *probabilities*, for calibration alone.

Masks and maps have the axes of space and no others: two or three.

Two empty masks agree perfectly: each metric gives its best value, 1 or, for distances and errors,
0. Where only one of the two is empty it gives its worst: 0; 1 for the adapted Rand error; `inf` for
distances. Specificity, variation of information and calibration need no such rule: an empty mask
is to them a mask like others.
"""

from typing import NamedTuple

import numpy as np

__all__ = [
    "MergesAndSplits",
    "PanopticQuality",
    "ReliabilityCurve",
    "VariationOfInformation",
    "adapted_rand_error",
    "aggregated_jaccard_index",
    "average_precision",
    "average_surface_distance",
    "boundary_iou",
    "dice",
    "expected_calibration_error",
    "hausdorff_distance",
    "iou",
    "label_components",
    "merges_and_splits",
    "panoptic_quality",
    "precision",
    "recall",
    "reliability_curve",
    "specificity",
    "surface_dice",
    "variation_of_information",
]

# Distances are square roots of sums of squares: three pixels of 0.1 mm are 0.30000000000000004 mm,
# and are meant to lie within a tolerance of 0.3 mm.
_ROUNDING = 1 + 1e-9


# --- Overlap ------------------------------------------------------------------------------------


def dice(y_true, y_pred):
    """Dice coefficient of two binary masks, the harmonic mean of precision and recall.

    `2 TP / (2 TP + FP + FN)`

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.

    Returns:
        A float in [0, 1]. Both masks empty: 1. One of them empty: 0.

    Raises:
        ValueError: If the two are not binary masks of one shape.

    Example:
        >>> dice([[1, 1, 0]], [[0, 1, 1]])
        0.5

    Source: Dice 1945, doi:10.2307/1932409; Sørensen 1948.
    """
    tp, fp, fn, _ = _counts(y_true, y_pred)
    return _ratio(2 * tp, 2 * tp + fp + fn)


def iou(y_true, y_pred):
    """Intersection over union of two binary masks, also called the Jaccard index.

    `TP / (TP + FP + FN)`, which is `dice / (2 - dice)`

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.

    Returns:
        A float in [0, 1]. Both masks empty: 1. One of them empty: 0.

    Raises:
        ValueError: If the two are not binary masks of one shape.

    Example:
        >>> iou([[1, 1, 0, 0]], [[0, 1, 1, 1]])
        0.25

    Source: Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x
    """
    tp, fp, fn, _ = _counts(y_true, y_pred)
    return _ratio(tp, tp + fp + fn)


def precision(y_true, y_pred):
    """Share of the predicted pixels that are true.

    `TP / (TP + FP)`

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.

    Returns:
        A float in [0, 1]. Prediction empty, 0/0: 1 if the truth is empty too and 0 otherwise, so
        that a network that finds nothing scores nothing, and Dice stays the harmonic mean.

    Raises:
        ValueError: If the two are not binary masks of one shape.

    Example:
        >>> precision([[1, 1, 0, 0]], [[0, 1, 1, 1]]) == 1 / 3
        True
    """
    tp, fp, fn, _ = _counts(y_true, y_pred)
    return _ratio(tp, tp + fp, empty=float(fn == 0))


def recall(y_true, y_pred):
    """Share of the true pixels that are predicted, also called sensitivity.

    `TP / (TP + FN)`

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.

    Returns:
        A float in [0, 1]. Truth empty, 0/0: 1 if the prediction is empty too and 0 otherwise. With
        this rule `recall(y_true, y_pred)` is always `precision(y_pred, y_true)`.

    Raises:
        ValueError: If the two are not binary masks of one shape.

    Example:
        >>> recall([[1, 1, 0, 0]], [[0, 1, 1, 1]])
        0.5
    """
    tp, fp, fn, _ = _counts(y_true, y_pred)
    return _ratio(tp, tp + fn, empty=float(fp == 0))


def specificity(y_true, y_pred):
    """Share of the true background pixels that are predicted as background.

    `TN / (TN + FP)`, the recall of the background

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.

    Returns:
        A float in [0, 1]; with a small object it is near 1 whatever is predicted. Truth without
        background, 0/0: 1 if the prediction has none either and 0 otherwise, as for `recall`.

    Raises:
        ValueError: If the two are not binary masks of one shape.

    Example:
        >>> specificity([[1, 1, 0, 0]], [[0, 1, 1, 0]])
        0.5
    """
    _, fp, fn, tn = _counts(y_true, y_pred)
    return _ratio(tn, tn + fp, empty=float(fn == 0))


# --- Surfaces -----------------------------------------------------------------------------------


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
    y_true, y_pred = _binary_pair(y_true, y_pred)
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


# --- Instances ----------------------------------------------------------------------------------


def label_components(mask, connectivity=1):
    """Instance map of a binary mask: its connected components, numbered from 1.

    The way from a network's probabilities to objects is `label_components(y_pred > 0.5)`.

    Args:
        mask: Binary mask, `(height, width)` or `(depth, height, width)`.
        connectivity: How many coordinates two neighbours may differ in, by 1 each. The default, 1,
            joins pixels across edges only: then a background seam one pixel wide parts two cells
            even where it runs diagonally, and such seams are what a network is trained to draw.

    Returns:
        An integer array of the mask's shape, 0 for background.

    Raises:
        ValueError: If `mask` is not a binary mask, or `connectivity` not between 1 and the number
            of its axes.

    Example:
        >>> label_components([[1, 0], [0, 1]]).tolist()
        [[1, 0], [0, 2]]
    """
    from scipy import ndimage

    mask = _binary(mask, "mask")
    if connectivity not in range(1, mask.ndim + 1):
        raise ValueError(
            f"`connectivity` must be a whole number from 1 to {mask.ndim}, the number of axes. "
            f"Received: {connectivity!r}"
        )
    structure = ndimage.generate_binary_structure(mask.ndim, connectivity)
    return ndimage.label(mask, structure)[0]


def average_precision(y_true, y_pred, threshold=0.5):
    """Share of objects found, among all that are true or predicted, at an IoU threshold.

    `TP / (TP + FP + FN)`

    A true and a predicted object match when their IoU is **greater than** the threshold, each
    object in one match at most; TP counts the matches, FP and FN the objects left over. From 0.5
    up no object can have two partners; below, as many matches are made as is possible.

    This is the average precision of the 2018 Data Science Bowl and of cell segmentation. It is not
    the area under a precision-recall curve that detection benchmarks call by the same name.

    Args:
        y_true, y_pred: Instance maps of one shape, `(height, width)` or `(depth, height, width)`.
        threshold: One IoU in [0, 1), or a sequence of them. The Bowl's score is the mean over
            `numpy.linspace(0.5, 0.95, 10)`.

    Returns:
        A float in [0, 1]; for a sequence of thresholds an array with one value for each. No object
        in either map: 1. No object in one of them: 0.

    Raises:
        ValueError: If the two are not instance maps of one shape, or a threshold is out of range.

    Example:
        >>> average_precision([[1, 1, 0, 2, 2]], [[7, 7, 0, 0, 0]])
        0.5

    Source: Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7
    """
    from scipy import sparse

    thresholds = np.asarray(threshold, dtype=float)
    if thresholds.ndim > 1 or not ((thresholds >= 0) & (thresholds < 1)).all():
        raise ValueError(
            "`threshold` must be a number, at least 0 and below 1, or a sequence of such numbers. "
            f"Received: {threshold!r}"
        )
    table = _overlaps(y_true, y_pred)
    n_true, n_pred = table.true_area.size, table.pred_area.size

    def at(threshold):
        hit = table.iou > threshold
        pairs = (hit[hit], (table.true[hit], table.pred[hit]))
        graph = sparse.csr_array(pairs, shape=(n_true, n_pred))
        tp = np.count_nonzero(sparse.csgraph.maximum_bipartite_matching(graph) >= 0)
        return _ratio(tp, n_true + n_pred - tp)

    return at(thresholds) if thresholds.ndim == 0 else np.array([at(t) for t in thresholds])


class MergesAndSplits(NamedTuple):
    """Counts of merging and of split objects; see `merges_and_splits`."""

    merges: int
    splits: int


def merges_and_splits(y_true, y_pred):
    """Count predicted objects that merge true ones, and true objects that are split.

    * A *merge* is a predicted object that covers two or more true objects. It covers one if more
      than half of the **true** object's area lies in it.
    * A *split* is a true object that holds two or more predicted ones. It holds one if more than
      half of the **predicted** object's area lies in it.

    More than half: no object can be covered or held twice. A merge of three counts once.

    Args:
        y_true, y_pred: Instance maps of one shape, `(height, width)` or `(depth, height, width)`.

    Returns:
        A named tuple `(merges, splits)` of two whole numbers; both 0 where a map has no object.
        Swapping truth and prediction swaps them.

    Raises:
        ValueError: If the two are not instance maps of one shape.

    Example:
        >>> merges_and_splits([[1, 1, 0, 2, 2]], [[5, 5, 5, 5, 5]])
        MergesAndSplits(merges=1, splits=0)
    """
    table = _overlaps(y_true, y_pred)
    covered = 2 * table.area > table.true_area[table.true]
    held = 2 * table.area > table.pred_area[table.pred]
    merges = np.count_nonzero(np.bincount(table.pred[covered]) >= 2)
    splits = np.count_nonzero(np.bincount(table.true[held]) >= 2)
    return MergesAndSplits(int(merges), int(splits))


class PanopticQuality(NamedTuple):
    """Panoptic quality and its two factors, `pq = sq * rq`; see `panoptic_quality`."""

    pq: float
    sq: float
    rq: float


def panoptic_quality(y_true, y_pred):
    """Panoptic quality of the objects of one class, with its two factors.

    `PQ = Σ IoU / (TP + FP/2 + FN/2) = SQ · RQ`

    with the sum over matches, that is over pairs whose IoU is greater than 0.5; SQ, the mean IoU
    of the matches, says how well the found objects are drawn, and RQ, the F1 score of the objects,
    how many are found.

    Args:
        y_true, y_pred: Instance maps of one shape, `(height, width)` or `(depth, height, width)`.

    Returns:
        A named tuple `(pq, sq, rq)` of floats in [0, 1]. No object in either map: 1 each. No match,
        so also no object in one of them: 0 each.

    Raises:
        ValueError: If the two are not instance maps of one shape.

    Example:
        >>> panoptic_quality([[1, 1, 1, 1, 2]], [[1, 1, 1, 0, 0]])
        PanopticQuality(pq=0.5, sq=0.75, rq=0.6666666666666666)

    Source: Kirillov et al. 2019, arXiv:1801.00868, equation 1; the paper leaves out a class that
    is in neither map.
    """
    table = _overlaps(y_true, y_pred)
    matched = table.iou[table.iou > 0.5]
    objects = table.true_area.size + table.pred_area.size
    sq = _ratio(matched.sum(), matched.size, empty=float(objects == 0))
    rq = _ratio(2 * matched.size, objects)
    return PanopticQuality(sq * rq, sq, rq)


def aggregated_jaccard_index(y_true, y_pred):
    """Aggregated Jaccard index: one intersection over one union, summed over all objects.

    `Σ_i |T_i and P_j(i)| / (Σ_i |T_i or P_j(i)| + Σ_k |P_k|)`

    with P_j(i) the predicted object of the largest IoU with the true object T_i (none where
    nothing overlaps: then T_i alone joins the union) and P_k the predicted objects that were no
    one's choice. As in the paper, several true objects may choose the same prediction. Among
    equal IoU the larger overlap is chosen, then the lower number.

    Args:
        y_true, y_pred: Instance maps of one shape, `(height, width)` or `(depth, height, width)`.

    Returns:
        A float in [0, 1]; the `iou` where each map has one object. No object in either map: 1. No
        object in one of them: 0.

    Raises:
        ValueError: If the two are not instance maps of one shape.

    Example:
        >>> aggregated_jaccard_index([[1, 1, 0, 2]], [[1, 1, 0, 0]]) == 2 / 3
        True

    Source: Kumar et al. 2017, doi:10.1109/TMI.2017.2677499, algorithm 1
    """
    table = _overlaps(y_true, y_pred)
    # Sorted with the best pair of each true object first, which is the one that `unique` finds.
    order = np.lexsort((table.pred, -table.area, -table.iou, table.true))
    chosen = order[np.unique(table.true[order], return_index=True)[1]]
    intersection = table.area[chosen].sum()
    partners = table.pred_area[table.pred[chosen]].sum()
    unused = np.delete(table.pred_area, table.pred[chosen]).sum()
    return _ratio(intersection, table.true_area.sum() + partners - intersection + unused)


def adapted_rand_error(y_true, y_pred):
    """Adapted Rand error: one minus the F1 score of pairs of pixels that share a segment.

    `1 - 2 Σ_ij n_ij (n_ij - 1) / (Σ_i t_i (t_i - 1) + Σ_j s_j (s_j - 1))`

    with n_ij the pixels that true object i and predicted segment j share, and t_i and s_j their
    sums over j and over i. Only pixels inside true objects are counted, so that the width of
    borders and objects invented on the background have no say; on those pixels the predicted
    background is one more segment.

    Args:
        y_true, y_pred: Instance maps of one shape, `(height, width)` or `(depth, height, width)`.

    Returns:
        A float in [0, 1], 0 being perfect. No object in either map: 0. No object in one of them: 1.

    Raises:
        ValueError: If the two are not instance maps of one shape.

    Example:
        >>> round(adapted_rand_error([[1, 1, 0, 2, 2]], [[3, 3, 3, 3, 3]]), 3)  # 1 - 8/16
        0.5

    Source: Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142. Computed by scikit-image,
    which leaves the empty cases as they fall: NaN, or 0 for one true object and no prediction.
    """
    from skimage import metrics

    y_true, y_pred = (_renumbered(y) for y in _instance_pair(y_true, y_pred))
    if not (y_true.any() and y_pred.any()):
        return float(y_true.any() or y_pred.any())
    with np.errstate(invalid="ignore", divide="ignore"):
        error = metrics.adapted_rand_error(y_true, y_pred)[0]
    # 0/0: no two pixels share a segment in either map, so the two agree on every pair.
    return 0.0 if np.isnan(error) else float(error)


class VariationOfInformation(NamedTuple):
    """The two parts of the variation of information; see `variation_of_information`."""

    merge: float
    split: float


def variation_of_information(y_true, y_pred):
    """Variation of information between two instance maps, in its two parts.

    `VI = H(true | pred) + H(pred | true)`

    with H the conditional entropy of a random pixel's label. The first part is the information
    lost by *merging* true objects, the second what is added by *splitting* them. Background is a
    segment like the others, so that the sum is a metric of partitions: symmetric, and 0 for equal
    partitions only.

    Args:
        y_true, y_pred: Instance maps of one shape, `(height, width)` or `(depth, height, width)`.

    Returns:
        A named tuple `(merge, split)` of floats in bits, 0 being perfect; their sum is the
        variation of information. Empty maps are no special case: both empty gives 0 and 0.

    Raises:
        ValueError: If the two are not instance maps of one shape.

    Example:
        >>> variation_of_information([[1, 1, 2, 2]], [[5, 5, 5, 5]])
        VariationOfInformation(merge=1.0, split=0.0)

    Source: Meilă 2007, doi:10.1016/j.jmva.2006.11.013; computed by scikit-image.
    """
    from skimage import metrics

    y_true, y_pred = (_renumbered(y) for y in _instance_pair(y_true, y_pred))
    split, merge = metrics.variation_of_information(y_true, y_pred)
    return VariationOfInformation(float(merge), float(split))


# --- Calibration --------------------------------------------------------------------------------


class ReliabilityCurve(NamedTuple):
    """One value per bin of confidence, in arrays; see `reliability_curve`."""

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


def reliability_curve(y_true, y_prob, bins=15):
    """How often the predictions of each confidence are right.

    Pixels are put into bins of equal width, (0, 1/M], ..., ((M - 1)/M, 1], the first with 0 too.
    With one probability per pixel, its *confidence* is the probability of the foreground, and
    "right" means that the pixel is foreground. With one per class, confidence is the largest of
    them, and right means that the most probable class is the true one.

    Args:
        y_true: Binary mask, or integer class map where `y_prob` has classes. Any shape: pixels
            to be ignored are left out by indexing, `y_true[keep], y_prob[keep]`.
        y_prob: Probabilities, not logits, of the shape of `y_true`, or with one axis more, at the
            end, for two or more classes.
        bins: M, the number of bins.

    Returns:
        A named tuple of arrays `(bins,)`: `confidence`, the mean confidence in each bin;
        `accuracy`, the share of right pixels; `count`, their number. In a bin without pixels the
        first two are NaN.

    Raises:
        ValueError: If the shapes do not fit, a value is out of range or there is no pixel.

    Example:
        >>> curve = reliability_curve([0, 0, 1, 1], [0.25, 0.25, 0.25, 0.75], bins=2)
        >>> curve.confidence.tolist(), curve.count.tolist()
        ([0.25, 0.75], [3, 1])

    Source: Guo et al. 2017, arXiv:1706.04599, section 2
    """
    if not isinstance(bins, (int, np.integer)) or bins < 1:
        raise ValueError(f"`bins` must be a whole number, 1 or more. Received: {bins!r}")
    confidence, right = _confidence(y_true, y_prob)
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
    bin_of = np.digitize(confidence, inner_edges, right=True)
    count, confidence, right = (
        np.bincount(bin_of, weights, minlength=bins) for weights in (None, confidence, right)
    )
    with np.errstate(invalid="ignore"):  # 0/0 in empty bins is the NaN that is promised
        return ReliabilityCurve(confidence / count, right / count, count)


def expected_calibration_error(y_true, y_prob, bins=15):
    """Mean gap between confidence and accuracy over the bins of the reliability curve.

    `Σ_m (n_m / n) |accuracy_m - confidence_m|`

    Args:
        y_true: Binary mask, or integer class map where `y_prob` has classes; of any shape.
        y_prob: Probabilities, not logits, of the shape of `y_true`, or with one axis more, at the
            end, for two or more classes. What confidence is in each case: `reliability_curve`.
        bins: Number of bins of equal width. The error grows with it: compare at one number.

    Returns:
        A float in [0, 1], 0 being perfect. An empty mask is no special case.

    Raises:
        ValueError: If the shapes do not fit, a value is out of range or there is no pixel.

    Example:
        >>> expected_calibration_error([[0, 1], [1, 1]], [[0.5, 0.5], [0.5, 0.5]])
        0.25

    Source: Guo et al. 2017, arXiv:1706.04599, equation 3
    """
    curve = reliability_curve(y_true, y_prob, bins)
    gap = np.abs(curve.accuracy - curve.confidence)
    return float(np.nansum(curve.count * gap) / curve.count.sum())


# --- Shared parts -------------------------------------------------------------------------------


def _ratio(numerator, denominator, empty=1.0):
    return float(numerator / denominator) if denominator else empty


def _counts(y_true, y_pred):
    """TP, FP, FN and TN of two binary masks, as whole numbers."""
    y_true, y_pred = _binary_pair(y_true, y_pred)
    tp = np.count_nonzero(y_true & y_pred)
    fp = np.count_nonzero(y_pred) - tp
    fn = np.count_nonzero(y_true) - tp
    return tp, fp, fn, y_true.size - tp - fp - fn


class _Overlaps(NamedTuple):
    """The contingency table of two instance maps, in sparse form, without background.

    Objects are numbered from 0 in the order of their labels. Pair k says that objects `true[k]`
    and `pred[k]` share `area[k]` pixels; pairs that share none are left out.
    """

    true_area: np.ndarray
    pred_area: np.ndarray
    true: np.ndarray
    pred: np.ndarray
    area: np.ndarray

    @property
    def iou(self):
        return self.area / (self.true_area[self.true] + self.pred_area[self.pred] - self.area)


def _overlaps(y_true, y_pred):
    y_true, y_pred = (_renumbered(y).ravel() for y in _instance_pair(y_true, y_pred))
    true_area, pred_area = np.bincount(y_true)[1:], np.bincount(y_pred)[1:]
    both = (y_true > 0) & (y_pred > 0)
    # A pair of labels as one number, so that `unique` counts pairs, without an n by m table.
    columns = pred_area.size + 1
    pair, area = np.unique(y_true[both] * columns + y_pred[both], return_counts=True)
    return _Overlaps(true_area, pred_area, pair // columns - 1, pair % columns - 1, area)


def _renumbered(labels):
    """The same map with labels 1, 2, 3, ... in the old order, however large those were."""
    values, renumbered = np.unique(labels, return_inverse=True)
    return renumbered + (values[0] != 0)  # without background, the lowest label is 1 and not 0


def _surface_distances(y_true, y_pred, spacing):
    """Distances from the true surface to the predicted one, and back.

    With no surface at all the two agree: a single 0 each. With one only: a single infinity each.
    """
    from scipy import ndimage

    masks = _binary_pair(y_true, y_pred)
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


def _confidence(y_true, y_prob):
    """Confidence of each pixel in float64, and whether the prediction is right; both flat."""
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob)
    binary = y_prob.shape == y_true.shape
    if not y_true.size or not (binary or y_prob.shape[:-1] == y_true.shape) or y_prob.dtype == bool:
        raise ValueError(
            "`y_prob` must hold numbers and have the shape of `y_true`, or that shape and an axis "
            "of classes at the end, and there must be a pixel. "
            f"Received: y_true {_describe(y_true)}, y_prob {_describe(y_prob)}"
        )
    y_prob = y_prob.astype(float)
    # A softmax in float32 may end up a few units in the last place above 1.
    if not ((y_prob >= 0) & (y_prob <= 1 + 1e-6)).all():
        raise ValueError(
            "`y_prob` must hold probabilities between 0 and 1: apply the sigmoid or the softmax "
            f"to logits first. Received: {_describe(y_prob)}"
        )
    if binary:
        return np.minimum(y_prob, 1).ravel(), _zeros_and_ones(y_true, "y_true").ravel()
    classes = y_prob.shape[-1]
    integer = np.issubdtype(y_true.dtype, np.integer)
    if classes < 2 or not integer or y_true.min() < 0 or y_true.max() >= classes:
        raise ValueError(
            "Where `y_prob` has an axis of classes there must be two or more of them, and `y_true` "
            "must be an integer class map with values from 0 to classes - 1. (For one probability "
            "per pixel give both the same shape.) "
            f"Received: y_true {_describe(y_true)}, y_prob {_describe(y_prob)}"
        )
    right = y_prob.argmax(axis=-1) == y_true
    return np.minimum(y_prob.max(axis=-1), 1).ravel(), right.ravel()


def _sides(spacing, ndim):
    """The pixel's side along each axis."""
    sides = np.asarray(spacing, dtype=float)
    if sides.shape not in ((), (ndim,)) or not ((sides > 0) & (sides < np.inf)).all():
        raise ValueError(
            f"`spacing` must be one positive number, or one for each of the {ndim} axes. "
            f"Received: {spacing!r}"
        )
    return np.broadcast_to(sides, (ndim,))


def _binary_pair(y_true, y_pred):
    y_true, y_pred = _binary(y_true, "y_true"), _binary(y_pred, "y_pred")
    _check_same_shape(y_true, y_pred)
    return y_true, y_pred


def _instance_pair(y_true, y_pred):
    y_true, y_pred = _instances(y_true, "y_true"), _instances(y_pred, "y_pred")
    _check_same_shape(y_true, y_pred)
    return y_true, y_pred


def _binary(mask, name):
    mask = np.asarray(mask)
    _check_axes(mask, name)
    return _zeros_and_ones(mask, name)


def _zeros_and_ones(mask, name):
    """The mask as booleans."""
    if mask.dtype == bool:
        return mask
    if mask.dtype.kind not in "iuf" or not ((mask == 0) | (mask == 1)).all():
        raise ValueError(
            f"`{name}` must be a binary mask, of booleans or of the numbers 0 and 1: threshold "
            "probabilities (`y_pred > 0.5`) and masks of 0 and 255 (`mask > 0`) first. "
            f"Received: {_describe(mask)}"
        )
    return mask == 1


def _instances(labels, name):
    labels = np.asarray(labels)
    _check_axes(labels, name)
    if labels.dtype == bool:
        raise ValueError(
            f"`{name}` must be an integer instance map. A boolean mask does not tell objects that "
            "touch from one another: number its components with `label_components`. "
            f"Received: {_describe(labels)}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(
            f"`{name}` must be an integer instance map, 0 for background and a positive number "
            f"for each object. Received: {_describe(labels)}"
        )
    return labels


def _check_axes(array, name):
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(
            f"`{name}` must be one image of two or three axes of space, with a pixel at least. "
            f"Received: {_describe(array)}"
        )
    if array.ndim == 3 and array.shape[-1] == 1:
        raise ValueError(
            f"`{name}` seems to carry a channel axis, which is no direction in space: drop it with "
            f"`{name}[..., 0]`. Received: {_describe(array)}"
        )


def _check_same_shape(y_true, y_pred):
    if y_true.shape != y_pred.shape:
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape. "
            f"Received: y_true {_describe(y_true)}, y_pred {_describe(y_pred)}"
        )


def _describe(array):
    """Shape, type and range of an array, for error messages."""
    text = f"shape {array.shape}, dtype {array.dtype}"
    if array.size and array.dtype.kind in "biuf":
        text += f", values from {array.min()} to {array.max()}"
    return text
