"""Overlap of two masks: shares of pixels."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from segloss_ref.checks import Tensor
from segloss_ref.metrics.common import Labels, Value, each_image, mask_pairs


def dice(
    y_true: Tensor, y_pred: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> Value:
    """Dice coefficient of two binary masks, the harmonic mean of precision and recall.

    `2 TP / (2 TP + FP + FN)`

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Label of `y_true` to leave out, or several, beside -1.

    Returns:
        A float in [0, 1]. Both masks empty: 1. One of them empty: 0.

    Raises:
        ValueError: If the two are not binary masks of one shape.

    Example:
        >>> dice([[1, 1, 0]], [[0, 1, 1]])
        0.5

    Source: Dice 1945, doi:10.2307/1932409; Sørensen 1948.
    """
    return _each(dice_parts, y_true, y_pred, spatial_dims, ignore_class)


def iou(
    y_true: Tensor, y_pred: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> Value:
    """Intersection over union of two binary masks, also called the Jaccard index.

    `TP / (TP + FP + FN)`, which is `dice / (2 - dice)`

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Label of `y_true` to leave out, or several, beside -1.

    Returns:
        A float in [0, 1]. Both masks empty: 1. One of them empty: 0.

    Raises:
        ValueError: If the two are not binary masks of one shape.

    Example:
        >>> iou([[1, 1, 0, 0]], [[0, 1, 1, 1]])
        0.25

    Source: Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x
    """
    return _each(iou_parts, y_true, y_pred, spatial_dims, ignore_class)


def precision(
    y_true: Tensor, y_pred: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> Value:
    """Share of the predicted pixels that are true.

    `TP / (TP + FP)`

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Label of `y_true` to leave out, or several, beside -1.

    Returns:
        A float in [0, 1]. Prediction empty, 0/0: 1 if the truth is empty too and 0 otherwise, so
        that a network that finds nothing scores nothing, and Dice stays the harmonic mean.

    Raises:
        ValueError: If the two are not binary masks of one shape.

    Example:
        >>> precision([[1, 1, 0, 0]], [[0, 1, 1, 1]]) == 1 / 3
        True
    """
    return _each(precision_parts, y_true, y_pred, spatial_dims, ignore_class)


def recall(
    y_true: Tensor, y_pred: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> Value:
    """Share of the true pixels that are predicted, also called sensitivity.

    `TP / (TP + FN)`

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Label of `y_true` to leave out, or several, beside -1.

    Returns:
        A float in [0, 1]. Truth empty, 0/0: 1 if the prediction is empty too and 0 otherwise. With
        this rule `recall(y_true, y_pred)` is always `precision(y_pred, y_true)`.

    Raises:
        ValueError: If the two are not binary masks of one shape.

    Example:
        >>> recall([[1, 1, 0, 0]], [[0, 1, 1, 1]])
        0.5
    """
    return _each(recall_parts, y_true, y_pred, spatial_dims, ignore_class)


def specificity(
    y_true: Tensor, y_pred: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> Value:
    """Share of the true background pixels that are predicted as background.

    `TN / (TN + FP)`, the recall of the background

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Label of `y_true` to leave out, or several, beside -1.

    Returns:
        A float in [0, 1]; with a small object it is near 1 whatever is predicted. Truth without
        background, 0/0: 1 if the prediction has none either and 0 otherwise, as for `recall`.

    Raises:
        ValueError: If the two are not binary masks of one shape.

    Example:
        >>> specificity([[1, 1, 0, 0]], [[0, 1, 1, 0]])
        0.5
    """
    return _each(specificity_parts, y_true, y_pred, spatial_dims, ignore_class)


# --- Shared parts -------------------------------------------------------------------------------

# Numerator and denominator from the counts TP, FP, FN and TN, of numbers or of tensors. For all of
# them 0/0 is 1 where there is no error, FP + FN = 0, and else 0.


def dice_parts(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> tuple[Tensor, Tensor]:
    """Of Dice."""
    return 2 * tp, 2 * tp + fp + fn


def iou_parts(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> tuple[Tensor, Tensor]:
    """Of intersection over union."""
    return tp, tp + fp + fn


def precision_parts(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> tuple[Tensor, Tensor]:
    """Of precision."""
    return tp, tp + fp


def recall_parts(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> tuple[Tensor, Tensor]:
    """Of recall."""
    return tp, tp + fn


def specificity_parts(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> tuple[Tensor, Tensor]:
    """Of specificity."""
    return tn, tn + fp


def _each(parts, y_true, y_pred, spatial_dims, ignore_class):
    pairs = mask_pairs(y_true, y_pred, spatial_dims, ignore_class)
    return each_image(lambda *image: share_of(parts, *image), pairs)


def share_of(
    parts: Callable[..., tuple[Tensor, Tensor]],
    true: NDArray[np.bool_],
    pred: NDArray[np.bool_],
    valid: NDArray[np.bool_],
) -> float:
    """The share that `parts` gives of two masks."""
    tp = np.count_nonzero(true & pred)
    fp, fn = np.count_nonzero(pred) - tp, np.count_nonzero(true) - tp
    tn = np.count_nonzero(valid) - tp - fp - fn
    numerator, denominator = parts(tp, fp, fn, tn)
    return float(numerator / denominator) if denominator else float(fp + fn == 0)
