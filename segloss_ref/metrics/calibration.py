"""Whether probabilities are as often right as they say."""

from typing import NamedTuple

import numpy as np

from segloss_ref.checks import Tensor, check_whole
from segloss_ref.metrics.common import Labels, as_array, as_mask, described, in_picture


class ReliabilityCurve(NamedTuple):
    """One value per bin of confidence, in arrays; see `reliability_curve`."""

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


def reliability_curve(
    y_true: Tensor, y_prob: Tensor, bins: int = 15, *, ignore_class: Labels = None
) -> ReliabilityCurve:
    """How often the predictions of each confidence are right.

    Pixels are put into bins of equal width, (0, 1/M], ..., ((M - 1)/M, 1], the first with 0 too.
    With one probability per pixel, its *confidence* is the probability of the foreground, and
    "right" means that the pixel is foreground. With one per class, confidence is the largest of
    them, and right means that the most probable class is the true one.

    Args:
        y_true: Binary mask, or integer class map where `y_prob` has classes. Of any shape: the
            pixels of several images are taken together.
        y_prob: Probabilities, not logits, of the shape of `y_true`, or with one axis more, at the
            end, for two or more classes.
        bins: M, the number of bins.
        ignore_class: Label of `y_true` to leave out, or several, beside -1.

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
    bins = check_whole("bins", bins, at_least=1, at_most=10**6)
    confidence, right = _confidence(y_true, y_prob, ignore_class)
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
    bin_of = np.digitize(confidence, inner_edges, right=True)
    count, confidence, right = (
        np.bincount(bin_of, weights, minlength=bins) for weights in (None, confidence, right)
    )
    with np.errstate(invalid="ignore"):  # 0/0 in empty bins is the NaN that is promised
        return ReliabilityCurve(confidence / count, right / count, count)


def expected_calibration_error(
    y_true: Tensor, y_prob: Tensor, bins: int = 15, *, ignore_class: Labels = None
) -> float:
    """Mean gap between confidence and accuracy over the bins of the reliability curve.

    `Σ_m (n_m / n) |accuracy_m - confidence_m|`

    Args:
        y_true: Binary mask, or integer class map where `y_prob` has classes. Of any shape: the
            pixels of several images are taken together.
        y_prob: Probabilities, not logits, of the shape of `y_true`, or with one axis more, at the
            end, for two or more classes. What confidence is in each case: `reliability_curve`.
        bins: Number of bins of equal width. The error grows with it: compare at one number.
        ignore_class: Label of `y_true` to leave out, or several, beside -1.

    Returns:
        A float in [0, 1], 0 being perfect. An empty mask is no special case. NaN where all pixels
        are left out.

    Raises:
        ValueError: If the shapes do not fit, a value is out of range or there is no pixel.

    Example:
        >>> expected_calibration_error([[0, 1], [1, 1]], [[0.5, 0.5], [0.5, 0.5]])
        0.25

    Source: Guo et al. 2017, arXiv:1706.04599, equation 3
    """
    curve = reliability_curve(y_true, y_prob, bins, ignore_class=ignore_class)
    pixels = curve.count.sum()
    gap = np.abs(curve.accuracy - curve.confidence)
    return float(np.nansum(curve.count * gap) / pixels) if pixels else float("nan")


# --- Shared parts -------------------------------------------------------------------------------


def _confidence(y_true, y_prob, ignore_class):
    """Confidence of each pixel in float64, and whether the prediction is right; both flat."""
    y_true, y_prob = as_array(y_true, "y_true"), as_array(y_prob, "y_prob")
    binary = y_prob.shape == y_true.shape
    fits = binary or y_prob.shape[:-1] == y_true.shape
    if not y_true.ndim or not y_true.size or not fits or y_prob.dtype == bool:
        raise ValueError(
            "`y_prob` must hold numbers and have the shape of `y_true`, or that shape and an axis "
            "of classes at the end, and there must be a pixel. "
            f"Received: y_true {described(y_true)}, y_prob {described(y_prob)}"
        )
    valid = in_picture(y_true, ignore_class)
    p = y_prob[valid].astype(float)
    # A softmax in float32 may end up a few units in the last place above 1.
    if not ((p >= 0) & (p <= 1 + 1e-6)).all():
        raise ValueError(
            "`y_prob` must hold probabilities between 0 and 1: apply the sigmoid or the softmax "
            f"to logits first. Received: {described(y_prob, valid)}"
        )
    if binary:
        return np.minimum(p, 1), as_mask(y_true, valid, "y_true")[valid]
    labels, classes = y_true[valid], y_prob.shape[-1]
    whole = np.issubdtype(y_true.dtype, np.integer)
    if classes < 2 or not whole or ((labels < 0) | (labels >= classes)).any():
        raise ValueError(
            "Where `y_prob` has an axis of classes there must be two or more of them, and `y_true` "
            "must be an integer class map with values from 0 to classes - 1, beside -1 and "
            "`ignore_class`. (For one probability per pixel give both the same shape.) "
            f"Received: y_true {described(y_true, valid)}, y_prob {described(y_prob, valid)}"
        )
    return np.minimum(p.max(axis=-1), 1), p.argmax(axis=-1) == labels
