"""Objects: found, missed, merged and split."""

from typing import NamedTuple

import numpy as np

from segloss_ref.metrics.common import binary, instance_pair, ratio


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

    mask = binary(mask, "mask")
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
        return ratio(tp, n_true + n_pred - tp)

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
    sq = ratio(matched.sum(), matched.size, empty=float(objects == 0))
    rq = ratio(2 * matched.size, objects)
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
    return ratio(intersection, table.true_area.sum() + partners - intersection + unused)


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

    y_true, y_pred = (_renumbered(y) for y in instance_pair(y_true, y_pred))
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

    y_true, y_pred = (_renumbered(y) for y in instance_pair(y_true, y_pred))
    split, merge = metrics.variation_of_information(y_true, y_pred)
    return VariationOfInformation(float(merge), float(split))


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
    y_true, y_pred = (_renumbered(y).ravel() for y in instance_pair(y_true, y_pred))
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
