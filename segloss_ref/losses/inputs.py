"""What every loss does to its input first: check the shapes, then bring them to one form.

The mathematics of a loss is written once, for arrays `(regions, pixels, classes)`. Whether an
image has two or three dimensions, and whether sums run over an image or over the whole batch,
is settled here, so that no formula has to know.
"""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops


class Batch(NamedTuple):
    """One batch in the form that the formulas are written for.

    `y` and `prediction` hold `(regions, pixels, classes)`; `weight` and `valid` `(regions, pixels,
    1)`. A region is what sums run over: an image, or the whole batch. `valid` is 0 at ignored
    pixels; `weight` is `valid` times the pixel weights; `image_weight` is `(regions,)`. `grid` is
    `(images, *spatial)`.
    """

    y: object
    prediction: "Prediction"
    weight: object
    valid: object
    image_weight: object
    grid: tuple

    def on_grid(self, x):
        """`(regions, pixels, channels)` as `(images, *spatial, channels)`, where pixels have a
        place: for losses that look at neighbours and distances."""
        return ops.reshape(x, (*self.grid, x.shape[-1]))

    def in_regions(self, x):
        """Back from the grid to the form that sums are written for."""
        return ops.reshape(x, (ops.shape(self.y)[0], -1, x.shape[-1]))


class Prediction:
    """Class probabilities `p`, and the logarithms of `p` and `1 - p`, from logits or from `p`.

    From logits, both logarithms are exact however large the logit is. From probabilities they
    cannot be: `p` has been rounded to 0 or 1 already, so arguments below Keras's epsilon (1e-7)
    count as epsilon, as in Keras, and have no gradient.
    """

    def __init__(self, values, from_logits, softmax):
        self.values, self.from_logits, self.softmax = values, from_logits, softmax

    @property
    def p(self):
        if not self.from_logits:
            return self.values
        if self.softmax:
            return ops.softmax(self.values, axis=-1)
        return ops.sigmoid(self.values)

    @property
    def log_p(self):
        if not self.from_logits:
            return _safe_log(self.values)
        if self.softmax:
            return ops.log_softmax(self.values, axis=-1)
        return -ops.softplus(-self.values)  # log sigmoid(z) = -log(1 + exp(-z))

    @property
    def log_not_p(self):
        if not self.from_logits:
            return _safe_log(1 - self.values)
        if self.softmax:
            return _log_not_softmax(self.values)
        return -ops.softplus(self.values)  # 1 - sigmoid(z) = sigmoid(-z)


def _safe_log(x):
    return ops.log(ops.maximum(x, keras.config.epsilon()))


def _log_not_softmax(z):
    """log(1 - softmax(z)), where `1 - p` is what the other classes have.

    That difference is exact enough for all classes but the most probable one, whose p may round
    to 1; its rest is summed from the others instead, in log space.
    """
    z = z - ops.stop_gradient(ops.max(z, axis=-1, keepdims=True))  # large logits cancel exactly
    is_top = ops.one_hot(ops.argmax(z, axis=-1), z.shape[-1], dtype="bool")
    others = ops.where(is_top, ops.cast(float("-inf"), z.dtype), z)
    rest = ops.logsumexp(others, axis=-1, keepdims=True) - ops.logsumexp(z, axis=-1, keepdims=True)
    p = ops.where(is_top, ops.zeros_like(z), ops.softmax(z, axis=-1))
    return ops.where(is_top, rest, ops.log1p(-p))


def as_batch(y_true, y_pred, sample_weight, ignore_class, *, loss):
    """Checks one call of `loss` and returns it as a `Batch`. No shape is ever broadcast."""
    values = y_true if isinstance(y_true, np.ndarray) else None  # a graph has none to look at
    y_pred = ops.convert_to_tensor(y_pred)
    check_prediction(y_pred)
    y_true = y_true if isinstance(y_true, np.ndarray) else ops.convert_to_tensor(y_true)
    is_map = is_class_map(y_true, y_pred)
    y_true = ops.convert_to_tensor(y_true)
    y_true = ops.cast(y_true, "int32") if is_map and "int" not in dtype_of(y_true) else y_true
    _check_taken(loss, y_pred)
    if is_map and values is not None:
        _check_labels(values if ignore_class is None else values[values != ignore_class], y_pred)
    dtype = loss.compute_dtype

    valid = _valid_pixels(y_true, is_map, ignore_class)
    if is_map:
        y_true = _one_hot(y_true, valid, y_pred, dtype)
    elif valid is not None:
        y_true = ops.where(valid, y_true, ops.zeros_like(y_true))
    pixel_weight, image_weight = split_weight(sample_weight, y_pred, dtype)

    shape = ops.shape(y_pred)
    images, classes = shape[0], y_pred.shape[-1]
    whole_batch = loss.per == "batch"

    def regions(x, channels):
        return ops.reshape(ops.cast(x, dtype), (1 if whole_batch else images, -1, channels))

    y, values = regions(y_true, classes), regions(y_pred, classes)
    ones = ops.ones_like(values[..., :1])
    valid = ones if valid is None else regions(valid, 1)
    weight = valid if pixel_weight is None else valid * regions(pixel_weight, 1)
    if image_weight is None:
        image_weight = ops.ones_like(values[:, 0, 0])
    elif whole_batch:
        # One region holds all images, so the weight of an image goes to each of its pixels.
        each = ops.reshape(image_weight, (images,) + (1,) * (len(shape) - 1))
        weight = weight * regions(each * ops.ones_like(ops.cast(y_pred[..., :1], dtype)), 1)
        image_weight = ops.ones_like(values[:, 0, 0])

    if sample_weight is not None or ignore_class is not None:
        # A pixel of weight 0 is out whatever it holds: 0 * NaN would still be NaN.
        keep = weight > 0
        y = ops.where(keep, y, ops.zeros_like(y))
        values = ops.where(keep, values, ops.zeros_like(values))
    prediction = Prediction(values, loss.from_logits, kind_of(loss, y_pred) == "exclusive")
    return Batch(y, prediction, weight, valid, image_weight, tuple(shape[:-1]))


def check_prediction(y_pred):
    """Raises unless `y_pred` is floating point and `(batch, *spatial, classes)`."""
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    if "float" not in dtype:
        raise ValueError(
            "`y_pred` must hold probabilities or logits, in a floating-point dtype. "
            f"Received: y_pred of dtype {dtype} and shape {shape_of(y_pred)}"
        )
    if len(y_pred.shape) not in (4, 5) or y_pred.shape[-1] is None:
        raise ValueError(
            "`y_pred` must have the shape (batch, height, width, classes) or (batch, depth, "
            f"height, width, classes). Received: y_pred.shape={shape_of(y_pred)}"
        )


_KINDS = {
    "binary": "one class",
    "exclusive": "several exclusive classes",
    "independent": "several independent classes (`multilabel=True`)",
}


def kind_of(loss, y_pred):
    """What the classes of a prediction are: "binary", "exclusive" or "independent"."""
    if y_pred.shape[-1] == 1:
        return "binary"
    return "independent" if loss.multilabel else "exclusive"


def _check_taken(loss, y_pred):
    name, kind, dimensions = type(loss).__name__, kind_of(loss, y_pred), len(y_pred.shape) - 2
    if kind not in loss.takes:
        allowed = ", or ".join(_KINDS[taken] for taken in loss.takes)
        raise ValueError(
            f"`{name}` takes {allowed}. Received: {_KINDS[kind]}, y_pred.shape={shape_of(y_pred)}"
        )
    if dimensions not in loss.dimensions:
        allowed = " or ".join(map(str, loss.dimensions))
        raise ValueError(
            f"`{name}` takes images of {allowed} spatial dimensions. "
            f"Received: y_pred.shape={shape_of(y_pred)}"
        )


def is_class_map(y_true, y_pred):
    """Whether `y_true` is an integer class map (True) or has the shape of `y_pred` (False).

    Raises:
        ValueError: for any other pair of shapes; both are named.
    """
    true, pred = shape_of(y_true), shape_of(y_pred)
    classes = pred[-1]
    if same_shape(true, pred):
        return False
    if classes > 1 and (same_shape(true, pred[:-1]) or same_shape(true, (*pred[:-1], 1))):
        if _may_hold_labels(y_true):
            return True
        raise ValueError(
            "A class map must have an integer dtype; soft labels must have the shape of `y_pred`. "
            f"Received: y_true of dtype {dtype_of(y_true)} and shape {true}, y_pred.shape={pred}"
        )
    allowed = f"the shape of `y_pred`, {pred}"
    if classes > 1:
        allowed += f", or be an integer class map of shape {pred[:-1]} or {(*pred[:-1], 1)}"
    hint = ""
    if classes == 1 and same_shape(true, pred[:-1]):
        hint = " Add the last axis: y_true[..., None]."
    raise ValueError(
        f"`y_true` must have {allowed}; shapes are never broadcast.{hint} "
        f"Received: y_true.shape={true}, y_pred.shape={pred}"
    )


def dtype_of(x):
    """The dtype of an array or tensor by its name, on every backend: "float32"."""
    return keras.backend.standardize_dtype(x.dtype)


def _may_hold_labels(y_true):
    # On TensorFlow's replicas, Keras 3.15 builds a loss from the mean of their targets, which is
    # float64 for integers. Only the tensors of a graph can be such means; arrays are refused.
    dtype = dtype_of(y_true)
    return "int" in dtype or (dtype == "float64" and not isinstance(y_true, np.ndarray))


def instance_map(y_true, y_pred, loss, surround=0):
    """The instance map of a loss whose `truth` is one, int32, `(batch, *spatial)`.

    0 is background, and -1 is out of the picture, where `y_true` is -1 or the loss's
    `ignore_class`. The map may reach farther than the prediction, by `surround` on each side.

    Raises:
        ValueError: for other shapes, for several classes, for a boolean or fractional `y_true`.
    """
    check_prediction(y_pred)
    _check_taken(loss, y_pred)
    y_true = y_true if isinstance(y_true, np.ndarray) else ops.convert_to_tensor(y_true)
    true, pred = shape_of(y_true), shape_of(y_pred)
    batch, *spatial, channels = pred
    wider = (batch, *(None if n is None else n + 2 * surround for n in spatial), channels)
    allowed = [pred[:-1], pred] + ([wider[:-1], wider] if surround else [])
    if not any(same_shape(true, shape) for shape in allowed):
        raise ValueError(
            f"`y_true` must be an instance map of shape {' or '.join(map(str, allowed))}; shapes "
            f"are never broadcast. Received: y_true.shape={true}, y_pred.shape={pred}"
        )
    if not _may_hold_labels(y_true):
        raise ValueError(
            "`y_true` must be an instance map of integers, each object its own number: a mask does "
            f"not tell objects that touch apart. Received: y_true of dtype {dtype_of(y_true)}"
        )
    labels = ops.convert_to_tensor(y_true)
    labels = ops.cast(labels[..., 0] if len(true) == len(pred) else labels, "int32")
    if loss.ignore_class is None:
        return labels
    return ops.where(labels == loss.ignore_class, -1, labels)


def split_weight(sample_weight, y_pred, dtype):
    """Returns `(pixel_weight, image_weight)`, at most one of them not `None`."""
    if sample_weight is None:
        return None, None
    sample_weight = ops.cast(ops.convert_to_tensor(sample_weight), dtype)
    weight, pred = shape_of(sample_weight), shape_of(y_pred)
    if same_shape(weight, pred[:1]):
        return None, sample_weight
    if same_shape(weight, pred[:-1]) or same_shape(weight, (*pred[:-1], 1)):
        return sample_weight, None
    raise ValueError(
        f"`sample_weight` must have one value per image, {pred[:1]}, or one per pixel, "
        f"{pred[:-1]} or {(*pred[:-1], 1)}; shapes are never broadcast. "
        f"Received: sample_weight.shape={weight}, y_pred.shape={pred}"
    )


def _valid_pixels(y_true, is_map, ignore_class):
    """Where `y_true` is not `ignore_class`, as booleans, or `None` if no class is ignored."""
    if ignore_class is None:
        return None
    if not is_map and y_true.shape[-1] > 1:
        raise ValueError(
            "`ignore_class` needs one label per pixel: an integer class map, or a binary mask "
            f"(batch, *spatial, 1). Received: y_true.shape={shape_of(y_true)}. With one-hot or "
            "soft labels, give the pixels to leave out weight 0 in `sample_weight`."
        )
    return ops.not_equal(y_true, ops.cast(ignore_class, y_true.dtype))


def _one_hot(labels, valid, y_pred, dtype):
    labels = ops.cast(labels, "int32")
    if valid is not None:
        labels = ops.where(valid, labels, ops.zeros_like(labels))
    if len(labels.shape) == len(y_pred.shape):
        labels = ops.squeeze(labels, axis=-1)
    return ops.one_hot(labels, y_pred.shape[-1], dtype=dtype)


def shape_of(x):
    """The static shape as a tuple, `None` where it is not known before the graph runs."""
    if getattr(x.shape, "rank", 0) is None:
        raise ValueError(
            "The rank of a tensor is not known. Give it a shape where it is made, for example "
            "with `set_shape` after `tf.py_function`."
        )
    return tuple(x.shape)


def same_shape(a, b):
    """Whether two static shapes can be equal; an unknown size agrees with every size."""
    return len(a) == len(b) and all(m == n or m is None or n is None for m, n in zip(a, b))


def check_batch(
    y_true, y_pred, sample_weight=None, *, from_logits=False, multilabel=False, ignore_class=None
):
    """Checks the values of one batch, which a compiled graph cannot.

    Run it on a first batch before training. Shapes are checked as by every loss; beyond that
    nothing may be NaN or infinite, truth must lie in [0, 1] or be a class index, probabilities
    must be probabilities, and no weight may be negative.

    Args:
        y_true: as for every loss: the shape of `y_pred`, or an integer class map.
        y_pred: `(batch, *spatial, classes)`.
        sample_weight: `None`, one weight per image, or a pixel map.
        from_logits: whether `y_pred` holds logits.
        multilabel: whether several classes are independent; then they need not sum to 1.
        ignore_class: a label that may occur beside those allowed.

    Raises:
        ValueError: names what was found, where, and what is allowed.

    Example:
        >>> check_batch(np.full((1, 4, 4, 1), 255), np.zeros((1, 4, 4, 1)))
        Traceback (most recent call last):
        ...
        ValueError: `y_true` must lie in [0, 1]. Received: values from 255 to 255. Divide ...
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    check_prediction(y_pred)
    is_map = is_class_map(y_true, y_pred)
    truth, pred = ops.convert_to_numpy(y_true), ops.convert_to_numpy(y_pred).astype("float64")
    valid = _valid_pixels(y_true, is_map, ignore_class)
    if valid is not None:
        truth = truth[ops.convert_to_numpy(valid)]
    _check_finite("y_true", truth)
    _check_finite("y_pred", pred)
    for weight in split_weight(sample_weight, y_pred, "float32"):
        if weight is not None:
            _check_weight(ops.convert_to_numpy(weight))
    classes = pred.shape[-1]
    if is_map:
        _check_labels(truth, y_pred)
    low, high = (truth.min(), truth.max()) if truth.size else (0, 0)
    if not is_map and (low < 0 or high > 1):
        advice = " Divide a mask stored as 0 and 255 by 255." if high == 255 else ""
        raise ValueError(
            f"`y_true` must lie in [0, 1]. Received: values from {low} to {high}.{advice}"
        )
    if from_logits:
        return
    if pred.min() < 0 or pred.max() > 1:
        raise ValueError(
            "Probabilities must lie in [0, 1]. Received: y_pred from "
            f"{pred.min():.4g} to {pred.max():.4g}. For logits say `from_logits=True`."
        )
    if classes > 1 and not multilabel and abs(pred.sum(axis=-1) - 1).max() > 1e-2:
        raise ValueError(
            "The probabilities of a pixel's classes must sum to 1. Received: sums from "
            f"{pred.sum(axis=-1).min():.4g} to {pred.sum(axis=-1).max():.4g}. "
            "For independent classes say `multilabel=True`."
        )


def _check_labels(labels, y_pred):
    classes = y_pred.shape[-1]
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(
            f"A class map for {classes} classes must hold 0 to {classes - 1}. Received: values "
            f"from {labels.min()} to {labels.max()}. Leave a label for unlabelled pixels out with "
            "`ignore_class`."
        )


def _check_finite(name, values):
    bad = ~np.isfinite(values.astype("float64"))
    if bad.any():
        raise ValueError(
            f"`{name}` must be finite. Received: {int(bad.sum())} values of {values.size} "
            "that are NaN or infinite."
        )


def _check_weight(weight):
    _check_finite("sample_weight", weight)
    if weight.size and weight.min() < 0:
        raise ValueError(
            f"`sample_weight` must not be negative. Received: a smallest weight of {weight.min()}"
        )
