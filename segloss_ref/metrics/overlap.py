"""Overlap of two masks: shares of pixels."""

import numpy as np

from segloss_ref.metrics.common import binary_pair, ratio


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
    return ratio(2 * tp, 2 * tp + fp + fn)


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
    return ratio(tp, tp + fp + fn)


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
    return ratio(tp, tp + fp, empty=float(fn == 0))


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
    return ratio(tp, tp + fn, empty=float(fp == 0))


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
    return ratio(tn, tn + fp, empty=float(fn == 0))


def _counts(y_true, y_pred):
    """TP, FP, FN and TN of two binary masks, as whole numbers."""
    y_true, y_pred = binary_pair(y_true, y_pred)
    tp = np.count_nonzero(y_true & y_pred)
    fp = np.count_nonzero(y_pred) - tp
    fn = np.count_nonzero(y_true) - tp
    return tp, fp, fn, y_true.size - tp - fp - fn
