"""Objects: found, missed, merged and split."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segloss_ref.checks import VOID, Tensor, check_number, check_whole
from segloss_ref.metrics.common import (
    Labels,
    Value,
    as_array,
    as_images,
    as_mask,
    each_image,
    in_picture,
    instance_pairs,
)


def label_components(
    mask: Tensor,
    connectivity: int = 1,
    *,
    spatial_dims: int | None = None,
    ignore_class: Labels = None,
) -> NDArray[np.integer]:
    """Instance map of a binary mask: its connected components, numbered from 1.

    The way from a network's probabilities to objects is `label_components(y_pred > 0.5)`.

    Args:
        mask: Binary mask, `(height, width)` or `(depth, height, width)`, or -1 out of the picture.
        connectivity: How many coordinates two neighbours may differ in, by 1 each. The default, 1,
            joins pixels across edges only: then a background seam one pixel wide parts two cells
            even where it runs diagonally, and such seams are what a network is trained to draw.
        spatial_dims: 2 or 3, the axes of space. With one axis more the masks are a batch, and the
            objects of each image are numbered from 1. By default one image of two dimensions.
        ignore_class: Label of `mask` that is out of the picture, or several, beside -1.

    Returns:
        An integer array of the mask's shape, 0 for background and -1 for what is out: it joins no
        objects.

    Raises:
        ValueError: If `mask` is not a binary mask, or `connectivity` not between 1 and the number
            of its axes.

    Example:
        >>> label_components([[1, 0], [0, 1]]).tolist()
        [[1, 0], [0, 2]]
    """
    from scipy import ndimage

    mask = as_array(mask, "mask")
    images = as_images(mask, "mask", spatial_dims)
    dims = images.ndim - 1
    connectivity = check_whole("connectivity", connectivity, at_least=1, at_most=dims)
    valid = in_picture(images, ignore_class)
    structure = ndimage.generate_binary_structure(dims, connectivity)
    inside = as_mask(images, valid, "mask")
    labels = np.array([ndimage.label(image, structure)[0] for image in inside], np.int32)
    return np.where(valid, labels.reshape(valid.shape), VOID).reshape(mask.shape)


def average_precision(
    y_true: Tensor,
    y_pred: Tensor,
    threshold: float | Iterable[float] = 0.5,
    *,
    spatial_dims: int | None = None,
    ignore_class: Labels = None,
) -> Value:
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
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Number in `y_true` of pixels to leave out, or several, beside -1.

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

    several = np.iterable(threshold)
    thresholds = [
        check_number("threshold", t, at_least=0, below=1)
        for t in (threshold if several else [threshold])
    ]

    def matched(table, threshold):
        hit = table.iou > threshold
        pairs = (hit[hit], (table.true[hit], table.pred[hit]))
        graph = sparse.csr_array(pairs, shape=(table.true_area.size, table.pred_area.size))
        return np.count_nonzero(sparse.csgraph.maximum_bipartite_matching(graph) >= 0)

    def shares(true, pred, valid):
        table = _overlaps(true, pred, valid)
        found = [matched(table, t) for t in thresholds]
        values = [_ratio(tp, table.true_area.size + table.pred_area.size - tp) for tp in found]
        return np.array(values) if several else values[0]

    pairs = instance_pairs(y_true, y_pred, spatial_dims, ignore_class)
    return each_image(shares, pairs, np.full(len(thresholds), np.nan) if several else np.nan)


class MergesAndSplits(NamedTuple):
    """Counts of merging and of split objects; see `merges_and_splits`."""

    merges: int | NDArray[np.float64]
    splits: int | NDArray[np.float64]


def merges_and_splits(
    y_true: Tensor, y_pred: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> MergesAndSplits:
    """Count predicted objects that merge true ones, and true objects that are split.

    * A *merge* is a predicted object that covers two or more true objects. It covers one if more
      than half of the **true** object's area lies in it.
    * A *split* is a true object that holds two or more predicted ones. It holds one if more than
      half of the **predicted** object's area lies in it.

    More than half: no object can be covered or held twice. A merge of three counts once.

    Args:
        y_true, y_pred: Instance maps of one shape, `(height, width)` or `(depth, height, width)`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Number in `y_true` of pixels to leave out, or several, beside -1.

    Returns:
        A named tuple `(merges, splits)` of two whole numbers; both 0 where a map has no object.
        Swapping truth and prediction swaps them.

    Raises:
        ValueError: If the two are not instance maps of one shape.

    Example:
        >>> merges_and_splits([[1, 1, 0, 2, 2]], [[5, 5, 5, 5, 5]])
        MergesAndSplits(merges=1, splits=0)
    """

    def count(*image):
        table = _overlaps(*image)
        covered = 2 * table.area > table.true_area[table.true]
        held = 2 * table.area > table.pred_area[table.pred]
        merges = np.count_nonzero(np.bincount(table.pred[covered]) >= 2)
        splits = np.count_nonzero(np.bincount(table.true[held]) >= 2)
        return MergesAndSplits(int(merges), int(splits))

    pairs = instance_pairs(y_true, y_pred, spatial_dims, ignore_class)
    return each_image(count, pairs, MergesAndSplits(np.nan, np.nan))


class PanopticQuality(NamedTuple):
    """Panoptic quality and its two factors, `pq = sq * rq`; see `panoptic_quality`."""

    pq: Value
    sq: Value
    rq: Value


def panoptic_quality(
    y_true: Tensor, y_pred: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> PanopticQuality:
    """Panoptic quality of the objects of one class, with its two factors.

    `PQ = Σ IoU / (TP + FP/2 + FN/2) = SQ · RQ`

    with the sum over matches, that is over pairs whose IoU is greater than 0.5; SQ, the mean IoU
    of the matches, says how well the found objects are drawn, and RQ, the F1 score of the objects,
    how many are found.

    Args:
        y_true, y_pred: Instance maps of one shape, `(height, width)` or `(depth, height, width)`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Number in `y_true` of pixels to leave out, or several, beside -1.

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

    def quality(*image):
        table = _overlaps(*image)
        matched = table.iou[table.iou > 0.5]
        objects = table.true_area.size + table.pred_area.size
        sq = _ratio(matched.sum(), matched.size, empty=float(objects == 0))
        rq = _ratio(2 * matched.size, objects)
        return PanopticQuality(sq * rq, sq, rq)

    pairs = instance_pairs(y_true, y_pred, spatial_dims, ignore_class)
    return each_image(quality, pairs, PanopticQuality(np.nan, np.nan, np.nan))


def aggregated_jaccard_index(
    y_true: Tensor, y_pred: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> Value:
    """Aggregated Jaccard index: one intersection over one union, summed over all objects.

    `Σ_i |T_i and P_j(i)| / (Σ_i |T_i or P_j(i)| + Σ_k |P_k|)`

    with P_j(i) the predicted object of the largest IoU with the true object T_i (none where
    nothing overlaps: then T_i alone joins the union) and P_k the predicted objects that were no
    one's choice. As in the paper, several true objects may choose the same prediction. Among
    equal IoU the larger overlap is chosen, then the lower number.

    Args:
        y_true, y_pred: Instance maps of one shape, `(height, width)` or `(depth, height, width)`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Number in `y_true` of pixels to leave out, or several, beside -1.

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

    def index(*image):
        table = _overlaps(*image)
        # Sorted with the best pair of each true object first, which is the one that `unique` finds.
        order = np.lexsort((table.pred, -table.area, -table.iou, table.true))
        chosen = order[np.unique(table.true[order], return_index=True)[1]]
        intersection = table.area[chosen].sum()
        partners = table.pred_area[table.pred[chosen]].sum()
        unused = np.delete(table.pred_area, table.pred[chosen]).sum()
        return _ratio(intersection, table.true_area.sum() + partners - intersection + unused)

    return each_image(index, instance_pairs(y_true, y_pred, spatial_dims, ignore_class))


def adapted_rand_error(
    y_true: Tensor, y_pred: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> Value:
    """Adapted Rand error: one minus the F1 score of pairs of pixels that share a segment.

    `1 - 2 Σ_ij n_ij (n_ij - 1) / (Σ_i t_i (t_i - 1) + Σ_j s_j (s_j - 1))`

    with n_ij the pixels that true object i and predicted segment j share, and t_i and s_j their
    sums over j and over i. Only pixels inside true objects are counted, so that the width of
    borders and objects invented on the background have no say; on those pixels the predicted
    background is one more segment.

    Args:
        y_true, y_pred: Instance maps of one shape, `(height, width)` or `(depth, height, width)`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Number in `y_true` of pixels to leave out, or several, beside -1.

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

    def error(*image):
        true, pred = _numbered(*image)
        if not (true.any() and pred.any()):
            return float(true.any() or pred.any())
        with np.errstate(invalid="ignore", divide="ignore"):
            value = metrics.adapted_rand_error(true, pred)[0]
        # 0/0: no two pixels share a segment in either map, so the two agree on every pair.
        return 0.0 if np.isnan(value) else float(value)

    return each_image(error, instance_pairs(y_true, y_pred, spatial_dims, ignore_class))


class VariationOfInformation(NamedTuple):
    """The two parts of the variation of information; see `variation_of_information`."""

    merge: Value
    split: Value


def variation_of_information(
    y_true: Tensor, y_pred: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> VariationOfInformation:
    """Variation of information between two instance maps, in its two parts.

    `VI = H(true | pred) + H(pred | true)`

    with H the conditional entropy of a random pixel's label. The first part is the information
    lost by *merging* true objects, the second what is added by *splitting* them. Background is a
    segment like the others, so that the sum is a metric of partitions: symmetric, and 0 for equal
    partitions only.

    Args:
        y_true, y_pred: Instance maps of one shape, `(height, width)` or `(depth, height, width)`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Number in `y_true` of pixels to leave out, or several, beside -1.

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

    def parts(*image):
        split, merge = metrics.variation_of_information(*_numbered(*image))
        return VariationOfInformation(float(merge), float(split))

    pairs = instance_pairs(y_true, y_pred, spatial_dims, ignore_class)
    return each_image(parts, pairs, VariationOfInformation(np.nan, np.nan))


# --- Shared parts -------------------------------------------------------------------------------


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
    def iou(self) -> NDArray[np.float64]:
        return self.area / (self.true_area[self.true] + self.pred_area[self.pred] - self.area)


def _overlaps(true, pred, valid):
    true, pred = _numbered(true, pred, valid)
    true_area, pred_area = np.bincount(true)[1:], np.bincount(pred)[1:]
    both = (true > 0) & (pred > 0)
    # A pair of labels as one number, so that `unique` counts pairs, without an n by m table.
    columns = pred_area.size + 1
    pair, area = np.unique(true[both] * columns + pred[both], return_counts=True)
    return _Overlaps(true_area, pred_area, pair // columns - 1, pair % columns - 1, area)


def _numbered(true, pred, valid):
    """The pixels in the picture, flat, with objects 1, 2, 3, ... in their order, however large."""
    return _renumbered(true[valid]), _renumbered(pred[valid])


def _renumbered(labels):
    # Sorting takes the time, and most pixels are background.
    objects, renumbered = labels != 0, np.zeros(labels.shape, int)
    renumbered[objects] = np.unique(labels[objects], return_inverse=True)[1] + 1
    return renumbered


def _ratio(numerator, denominator, empty=1.0):
    return float(numerator / denominator) if denominator else empty
