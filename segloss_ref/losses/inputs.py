"""The door: what every loss does to its input first.

The mathematics of a loss is written once, for arrays `(regions, pixels, classes)`. How the axes of
a batch stand, whether an image has two or three dimensions, whether sums run over an image or over
the whole batch, and which pixels are out, is settled here, so that no formula has to know.

Values are looked at where they can be seen: those of arrays, and of tensors outside of compiled
graphs. What is out of range is refused there. In a graph it becomes NaN, which no loss hides.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
from keras import ops

from segloss_ref.checks import VOID, Tensor, check_data_format, check_labels, visible
from segloss_ref.losses.arithmetic import flat

# How far a probability or a soft label may lie outside of [0, 1], and the sum of a pixel's classes
# from 1: what half precision and interpolation do to them.
_SLACK, _SUM_SLACK = 1e-3, 1e-2


class Batch(NamedTuple):
    """One batch in the form that the formulas are written for.

    `y` and `prediction` hold `(regions, pixels, classes)`; `inside` and `mass` `(regions, pixels,
    1)`. A region is what sums run over: an image, or the whole batch. `inside` is 0 at pixels that
    are out of the picture, and NaN where a graph holds what is not allowed; `mass` is `inside`
    times the pixel weights. Either is `None` where it is 1 everywhere, so that sums need not
    multiply. `image_weight` is `(regions,)`; `grid` is `(images, *spatial)`. `one_hot` says that y
    is, as one from a class map.
    """

    y: Tensor
    prediction: "Prediction"
    mass: Tensor | None
    inside: Tensor | None
    image_weight: Tensor
    grid: tuple[Any, ...]
    one_hot: bool = False

    @property
    def weight(self) -> Tensor:
        """`mass` as a tensor in any case."""
        return ops.ones_like(self.y[..., :1]) if self.mass is None else self.mass

    def on_grid(self, x: Tensor) -> Tensor:
        """`(regions, pixels, channels)` as `(images, *spatial, channels)`, where pixels have a
        place: for losses that look at neighbours and distances."""
        return ops.reshape(x, (*self.grid, x.shape[-1]))

    def in_regions(self, x: Tensor) -> Tensor:
        """Back from the grid to the form that sums are written for."""
        return in_rows(x, ops.shape(self.y)[0])


def in_rows(x: Tensor, regions: Tensor | int) -> Tensor:
    """`(images, *spatial, channels)` as `(regions, pixels, channels)`."""
    shape = ops.shape(x)
    nothing = isinstance(shape[0], int) and shape[0] == 0  # of which -1 could be any number
    pixels = int(np.prod(shape[1:-1])) * (shape[0] if regions == 1 else 1) if nothing else -1
    return ops.reshape(x, (regions, pixels, shape[-1]))


def _of_flat(function: Callable[["Prediction"], Tensor]) -> functools.cached_property[Tensor]:
    """A property that is computed on `flat`, and has the shape of the prediction all the same."""

    @functools.wraps(function)
    def of_flat(self):
        if self.flat is self:
            return function(self)
        return ops.reshape(getattr(self.flat, function.__name__), ops.shape(self.values))

    return functools.cached_property(of_flat)


class Prediction:
    """Class probabilities `p`, and the logarithms of `p` and `1 - p`, from logits or from `p`.

    From logits, both logarithms are exact however large the logit is. From probabilities they
    cannot be: `p` has been rounded to 0 or 1 already, so arguments below Keras's epsilon (1e-7)
    count as epsilon, as in Keras, and have no gradient.
    """

    def __init__(self, values: Tensor, from_logits: bool, softmax: bool) -> None:
        self.values, self.from_logits, self.softmax = values, from_logits, softmax

    @functools.cached_property
    def flat(self) -> "Prediction":
        """The same of one class without the last axis, see `arithmetic.flat`."""
        (values,) = flat(self.values)
        return self if values is self.values else Prediction(values, self.from_logits, False)

    @_of_flat
    def p(self) -> Tensor:
        if not self.from_logits:
            return self.values
        if self.softmax:
            return _over_classes(ops.softmax, self.values)
        return ops.sigmoid(self.values)

    @_of_flat
    def log_p(self) -> Tensor:
        if not self.from_logits:
            return _safe_log(self.values)
        if self.softmax:
            return _over_classes(ops.log_softmax, self.values)
        positive, rest = self._softplus
        return (1 - positive) * self.values - rest

    @_of_flat
    def log_not_p(self) -> Tensor:
        if not self.from_logits:
            return _safe_log(1 - self.values)
        if self.softmax:
            return _log_not_softmax(self.values)
        positive, rest = self._softplus
        return -positive * self.values - rest

    @functools.cached_property
    def _softplus(self) -> tuple[Tensor, Tensor]:
        """Of a logit z: whether it is positive, 1 or 0, and `log(1 + exp(-|z|))`.

        `log p` is `min(z, 0)` less that and `log(1 - p)` is `min(-z, 0)` less that: one exponential
        serves both, and nothing cancels or overflows.
        """
        z = self.values
        positive = ops.cast(z >= 0, z.dtype)
        return positive, ops.log1p(ops.exp((1 - 2 * positive) * z))

    def cross_entropy(self, a: Tensor, b: Tensor | None = None) -> Tensor:
        """`-a log p - b log(1 - p)`, a and b data; without b the sum of `-a log p` over classes."""
        if b is not None:
            return -a * self.log_p - b * self.log_not_p
        if not self.from_logits or keras.backend.backend() == "torch":  # which is fast as it is
            return -ops.sum(a * self.log_p, axis=-1, keepdims=True)
        z = self.values
        z = z - ops.stop_gradient(ops.max(z, axis=-1))[..., None]
        mass = ops.log(ops.sum(ops.exp(z), axis=-1))
        values = ops.sum(a, axis=-1) * mass - ops.sum(a * z, axis=-1)
        return values[..., None]  # at the end: see `arithmetic.flat`

    def binary_cross_entropy(self, y: Tensor) -> Tensor:
        """`-y log p - (1 - y) log(1 - p)`."""
        if self.flat is not self:
            values = self.flat.binary_cross_entropy(*flat(y))
            return ops.reshape(values, ops.shape(self.values))
        if not self.from_logits or self.softmax:
            return self.cross_entropy(y, 1 - y)
        if keras.backend.backend() == "torch":  # one operation instead of ten
            return ops.binary_crossentropy(y, self.values, from_logits=True)
        positive, rest = self._softplus
        return (positive - y) * self.values + rest

    def of_true_class(self, y: Tensor) -> "Prediction":
        """The true class against all others: of one-hot y, `(regions, pixels, 1)`.

        Its logit is that of the class less the logarithm of the sum of the others' exponentials.
        """
        others = self.values - 1e30 * y  # the true one adds exp(-1e30) = 0 to the sum
        largest = ops.stop_gradient(ops.max(others, axis=-1, keepdims=True))
        rest = ops.log(ops.sum(ops.exp(others - largest), axis=-1, keepdims=True))
        own = ops.sum(y * self.values, axis=-1, keepdims=True)
        return Prediction(own - largest - rest, True, False)


def _over_classes(function, x):
    """A function along the last axis, where PyTorch is several times slower than along others."""
    if keras.backend.backend() != "torch":
        return function(x, axis=-1)
    return ops.swapaxes(function(ops.swapaxes(x, 1, -1), axis=1), 1, -1)


def one_hot(labels: Tensor, classes: int, dtype: str) -> Tensor:
    """`(regions, pixels)` as `(regions, pixels, classes)`; 0 for all that is no class."""
    if keras.backend.backend() != "torch":
        return ops.one_hot(labels, classes, dtype=dtype)
    # PyTorch's own refuses other labels. As above, it is faster with the classes before the pixels.
    found = labels[:, None] == ops.arange(classes, dtype=labels.dtype)[:, None]
    return ops.swapaxes(ops.cast(found, dtype), 1, 2)


def _safe_log(x):
    least = ops.convert_to_tensor(keras.config.epsilon(), dtype=x.dtype)
    return ops.log(ops.where(x < least, least, x))  # NaN stays NaN


def _log_not_softmax(z):
    """log(1 - softmax(z)), where `1 - p` is what the other classes have.

    log1p(-p) is exact while p is small, which it is for every class but the largest: that is near
    to 1; its rest is summed from the others instead, in log space.
    """
    z = z - ops.stop_gradient(ops.max(z, axis=-1, keepdims=True))  # large logits cancel exactly
    is_top = ops.one_hot(ops.argmax(z, axis=-1), z.shape[-1], dtype="bool")
    others = ops.where(is_top, ops.cast(float("-inf"), z.dtype), z)
    rest = ops.logsumexp(others, axis=-1, keepdims=True) - ops.logsumexp(z, axis=-1, keepdims=True)
    p = ops.where(is_top, ops.zeros_like(z), ops.softmax(z, axis=-1))
    return ops.where(is_top, rest, ops.log1p(-p))


# --- From a call to a batch ---------------------------------------------------------------------


class Reader(Protocol):
    """What the door has to know of who reads a batch: a loss, or a metric."""

    @property
    def from_logits(self) -> bool: ...

    @property
    def multilabel(self) -> bool: ...

    @property
    def per(self) -> str: ...

    @property
    def ignore_class(self) -> int | tuple[int, ...] | None: ...

    @property
    def data_format(self) -> str: ...

    @property
    def compute_dtype(self) -> str: ...

    @property
    def takes(self) -> tuple[str, ...]: ...

    @property
    def dimensions(self) -> tuple[int, ...]: ...


def as_batch(
    y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None, *, loss: Reader
) -> Batch:
    """Checks one call of `loss` and returns it as a `Batch`. No shape is ever broadcast."""
    y_true, y_pred, sample_weight = classes_last(y_true, y_pred, sample_weight, loss.data_format)
    ignored = check_labels("ignore_class", loss.ignore_class)
    truth = Truth(y_true, y_pred, ignored, kind_of(loss.multilabel, y_pred))
    check_taken(loss, y_pred)
    weight = checked_weight(sample_weight, y_pred, loss.compute_dtype)
    y, valid = truth.shaped(weight, loss.compute_dtype)
    return assemble(y, valid, y_pred, weight, loss)


def assemble(
    y: Tensor, inside: Tensor | None, y_pred: Tensor, weight: Tensor | None, loss: Reader
) -> Batch:
    """The `Batch` of a truth in the shape of the prediction, or of one that has labels as numbers.

    `inside` is a map of the pixels in the picture, or `None` where all are.
    """
    dtype, kind = loss.compute_dtype, kind_of(loss.multilabel, y_pred)
    shape = ops.shape(y_pred)
    images = shape[0]
    whole_batch = loss.per == "batch"
    regions = 1 if whole_batch else images

    def rows(x, dtype=dtype):
        channels = x.shape[-1] if len(x.shape) == len(shape) else 1
        return in_rows(ops.reshape(ops.cast(x, dtype), (*shape[:-1], channels)), regions)

    values = rows(y_pred)
    mass = inside = None if inside is None else rows(inside)
    image_weight = ops.ones((regions,), dtype=dtype)
    if weight is not None and (whole_batch or len(weight.shape) > 1):
        if len(weight.shape) == 1:
            # One region holds all images, so the weight of an image goes to each of its pixels.
            in_image = ops.reshape(weight, (images,) + (1,) * (len(shape) - 1))
            weight = in_image * ops.ones((*shape[:-1], 1), dtype=dtype)
        weight = rows(weight)
        # What is wrong where the weight is 0 does not matter: not NaN times 0.
        mass = weight if inside is None else ops.where(weight == 0, 0, inside * weight)
    elif weight is not None:
        image_weight = weight

    # A pixel of weight 0 is out whatever it holds: 0 * NaN would still be NaN.
    keep = None if mass is None else mass != 0
    is_map = len(y.shape) < len(shape)
    if is_map:
        y = one_hot(rows(y, "int32")[..., 0], shape[-1], dtype)
    else:
        y = rows(y)
    if not loss.from_logits:
        mass = _mass_of_probabilities(values, kind, keep, mass)
    if keep is not None:
        y, values = _emptied(keep, y, values)
    prediction = Prediction(values, loss.from_logits, kind == "exclusive")
    return Batch(y, prediction, mass, inside, image_weight, tuple(shape[:-1]), is_map)


def _emptied(keep, *arrays):
    """Arrays with 0 where they are not kept."""

    def emptied():
        return tuple(ops.where(keep, x, 0) for x in arrays)

    # In most batches nothing is out, and of several classes values as they came take half the time
    # in a graph of TensorFlow. (Of one class the question costs more than its answer saves.)
    asks = arrays[0].shape[-1] > 1 and keras.backend.backend() == "tensorflow"
    if not asks or visible(keep[:0]) is not None:
        return emptied()
    return ops.cond(ops.all(keep), lambda: arrays, emptied)


def classes_last(
    y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None, data_format: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The three as arrays or tensors, and what has an axis of classes has it at the end."""
    y_pred = ops.convert_to_tensor(as_array("y_pred", y_pred))
    check_prediction(y_pred, data_format)
    rank = len(y_pred.shape)

    def moved(x):
        first = x is not None and data_format == "channels_first" and len(shape_of(x)) == rank
        return (np if isinstance(x, np.ndarray) else ops).moveaxis(x, 1, -1) if first else x

    y_true, sample_weight = as_array("y_true", y_true), as_array("sample_weight", sample_weight)
    return moved(y_true), moved(y_pred), moved(sample_weight)


def as_array(name: str, x: Any) -> Tensor | None:
    """An array or a tensor of numbers, `None` only for weights; anything else is refused."""
    if x is None and name == "sample_weight":
        return None
    ragged = hasattr(x, "row_splits")
    if hasattr(x, "shape") and hasattr(x, "dtype") and not ragged:
        if not isinstance(x, np.ndarray):
            return ops.convert_to_tensor(x)
        array, why = x, ""
    else:
        try:
            array, why = np.asarray(None if ragged else x), ""
        except ValueError as error:
            array, why = np.asarray(None), f": {error}"
    if array.dtype.kind not in "biuf" and "float" not in array.dtype.name:
        raise ValueError(
            f"`{name}` must be an array or a tensor of numbers, all images of one size. Received: "
            f"{'a ragged tensor' if ragged else type(x).__name__} of dtype {array.dtype}{why}"
        )
    return array


# --- The prediction -----------------------------------------------------------------------------


def check_prediction(y_pred: Tensor, data_format: str = "channels_last") -> None:
    """Raises unless `y_pred` is floating point and `(batch, *spatial, classes)`."""
    dtype, shape = keras.backend.standardize_dtype(y_pred.dtype), shape_of(y_pred)
    first = data_format == "channels_first"
    if "float" not in dtype:
        raise ValueError(
            "`y_pred` must hold probabilities or logits, in a floating-point dtype. "
            f"Received: y_pred of dtype {dtype} and shape {shape}"
        )
    if len(shape) not in (4, 5) or shape[1 if first else -1] is None:
        axes = "classes, {}" if first else "{}, classes"
        raise ValueError(
            f"`y_pred` must have the shape (batch, {axes.format('height, width')}) or (batch, "
            f"{axes.format('depth, height, width')}). Received: y_pred.shape={shape}, "
            f"data_format={data_format!r}"
        )
    if 0 in shape[1:]:
        raise ValueError(f"Images must have pixels and classes. Received: y_pred.shape={shape}")


_KINDS = {
    "binary": "one class",
    "exclusive": "several exclusive classes",
    "independent": "several independent classes (`multilabel=True`)",
}


def kind_of(multilabel: bool, y_pred: Tensor) -> str:
    """What the classes of a prediction are: "binary", "exclusive" or "independent"."""
    if y_pred.shape[-1] == 1:
        return "binary"
    return "independent" if multilabel else "exclusive"


def check_taken(loss: Reader, y_pred: Tensor) -> None:
    """Raises unless the loss takes such classes, and images of so many dimensions."""
    name, dimensions = type(loss).__name__, len(y_pred.shape) - 2
    kind = kind_of(loss.multilabel, y_pred)
    if kind not in loss.takes:
        allowed = ", or ".join(_KINDS[taken] for taken in loss.takes)
        raise ValueError(
            f"`{name}` takes {allowed}. Received: {_KINDS[kind]}, y_pred.shape={shape_of(y_pred)}"
            f"{_told(loss.data_format)}"
        )
    if dimensions not in loss.dimensions:
        allowed = " or ".join(map(str, loss.dimensions))
        raise ValueError(
            f"`{name}` takes images of {allowed} spatial dimensions. "
            f"Received: y_pred.shape={shape_of(y_pred)}"
        )


def _told(data_format):
    return " (told with the classes last)" if data_format == "channels_first" else ""


def _mass_of_probabilities(p, kind, keep, mass):
    """The weights of pixels, NaN where there are no probabilities, which are refused if seen."""
    if _lie_between(p, -_SLACK, 1 + _SLACK) and (kind != "exclusive" or _sum_to_one(p)):
        return mass
    seen = visible(p)
    if seen is not None:
        _check_probabilities(seen if keep is None else seen[visible(keep)[..., 0]], kind)
        return mass
    right = _are_shares(p, kind)
    right = right if keep is None else right | ops.logical_not(keep)
    return _or_nan(right, ops.ones_like(p[..., :1]) if mass is None else mass)


def _are_shares(x, kind):
    """Where the numbers of a pixel may be its shares of the classes, with a last axis of 1."""
    right = ops.abs(x - 0.5) <= 0.5 + _SLACK
    if kind == "binary":
        return right
    right = ops.all(right, axis=-1, keepdims=True)
    if kind == "exclusive":
        right = right & (ops.abs(ops.sum(x, axis=-1, keepdims=True) - 1) <= _SUM_SLACK)
    return right


def _or_nan(right, x):
    return ops.where(right, x, ops.cast(float("nan"), x.dtype))


def _lie_between(x, low, high):
    """Whether all values lie in a range; False where they cannot be seen, or one is NaN."""
    if visible(x[:0]) is None or 0 in shape_of(x):
        return False
    # Reduced where they are: a tensor on a GPU need not come to the host.
    least, most = (x.min(), x.max()) if isinstance(x, np.ndarray) else (ops.min(x), ops.max(x))
    return float(least) >= low and float(most) <= high


def _sum_to_one(x):
    sums = x.sum(axis=-1) if isinstance(x, np.ndarray) else ops.sum(x, axis=-1)
    return _lie_between(sums, 1 - _SUM_SLACK, 1 + _SUM_SLACK)


def _check_probabilities(p, kind):
    p = p.astype("float32") if p.dtype.itemsize < 4 else p
    if ((p < -_SLACK) | (p > 1 + _SLACK)).any():
        raise ValueError(
            f"Probabilities must lie in [0, 1]. Received: y_pred from {np.nanmin(p):.4g} to "
            f"{np.nanmax(p):.4g}. For logits say `from_logits=True`."
        )
    if kind != "exclusive":
        return
    sums = p.sum(axis=-1)
    if (abs(sums - 1) > _SUM_SLACK).any():
        raise ValueError(
            "The probabilities of a pixel's classes must sum to 1. Received: sums from "
            f"{np.nanmin(sums):.4g} to {np.nanmax(sums):.4g}. For independent classes say "
            "`multilabel=True`, for logits `from_logits=True`; where the classes stand first, "
            "`data_format='channels_first'`."
        )


# --- The truth ----------------------------------------------------------------------------------


class Truth:
    """The truth of one call: a class map, or an array in the shape of the prediction.

    Args:
        y_true, y_pred: with the classes last.
        ignored: labels that are out of the picture, beside -1.
        kind: what the classes are.

    Raises:
        ValueError: for another pair of shapes, or labels to ignore where there are none.
    """

    def __init__(self, y_true: Tensor, y_pred: Tensor, ignored: tuple[int, ...], kind: str) -> None:
        self.is_map = is_class_map(y_true, y_pred)
        self.classes, self.kind, self.labels_out = y_pred.shape[-1], kind, (VOID, *ignored)
        if ignored and not self.is_map and self.classes > 1:
            raise ValueError(
                "`ignore_class` needs one label per pixel: an integer class map, or a binary mask "
                f"(batch, *spatial, 1). Received: y_true.shape={shape_of(y_true)}. With one-hot or "
                "soft labels, give the pixels to leave out weight 0 in `sample_weight`, or make "
                "their labels -1."
            )
        has_axis = len(shape_of(y_true)) == len(y_pred.shape)
        self.y = y_true[..., 0] if self.is_map and has_axis else y_true

    def shaped(self, weight: Tensor | None, dtype: str) -> tuple[Tensor, Tensor | None]:
        """The truth, and a map of what is in the picture: 1, or 0, or `None` where all is.

        A mask has the shape of the prediction, a class map labels as numbers, without a last axis.

        Raises:
            ValueError: for values that are not allowed, where they can be seen. Elsewhere the map
                is NaN there. Pixels that are out, of weight 0 among them, may hold anything.
        """
        y = ops.convert_to_tensor(self.y)
        if self._is_plain():
            return y, None
        seen, right = visible(self.y), None
        if seen is None:
            out, right = self._out(y), self._right(y)
        else:
            out = self._out(seen)
            self._check(seen, out, weight)
            out = None if out is None or not out.any() else ops.convert_to_tensor(out)
        if out is None and right is None:
            return y, None
        ones = ops.ones(ops.shape(y)[: len(y.shape) - (not self.is_map)], dtype=dtype)
        inside = ones if right is None else _or_nan(right, ones)
        return y, inside if out is None else ops.where(out, 0, inside)

    def _is_plain(self):
        """Whether all values are seen to be allowed, and no pixel is out: all that most need."""
        low, high = (0, self.classes - 1) if self.is_map else (-_SLACK, 1 + _SLACK)
        if any(low <= label <= high for label in self.labels_out):
            return False
        if self.is_map and "int" not in dtype_of(self.y):
            return False
        if not (dtype_of(self.y) == "bool" or _lie_between(self.y, low, high)):
            return False
        return self.is_map or self.kind != "exclusive" or _sum_to_one(self.y)

    def _out(self, y):
        """Where the label is one that is out, `(batch, *spatial)`; `None` if it cannot be."""
        found = [_equal(y, label) for label in self.labels_out if _can_hold(y.dtype, label)]
        if not found:
            return None
        found = functools.reduce(lambda a, b: a | b, found)
        if self.is_map:
            return found
        return (np if isinstance(found, np.ndarray) else ops).any(found, axis=-1)

    def _check(self, y, out, weight):
        left = None if weight is None or len(weight.shape) == 1 else visible(weight)
        if left is not None:
            weightless = left.reshape(left.shape[: len(self.y.shape) - (not self.is_map)]) == 0
            out = weightless if out is None else out | weightless
        y = y[~out] if out is not None and out.any() else y
        if self.is_map:
            check_labels_fit(y, self.classes)
        else:
            _check_mask(y, self.kind)

    def _right(self, y):
        """Where the truth is allowed, `(batch, *spatial)`; `None` if it must be."""
        if self.is_map:
            inside = (y >= 0) & (y < self.classes)
            return inside if "int" in dtype_of(y) else inside & ops.equal(y, ops.floor(y))
        if dtype_of(y) == "bool":
            return None
        return _are_shares(ops.cast(y, "float32"), self.kind)[..., 0]


def _equal(y, label):
    return y == label if isinstance(y, np.ndarray) else ops.equal(y, ops.cast(label, y.dtype))


def _can_hold(dtype, label):
    """Whether a number of this dtype can be this label: 255 is no int8, and -1 no uint8."""
    name = keras.backend.standardize_dtype(dtype)
    if name == "bool":
        return label in (0, 1)
    if "int" in name:
        return np.iinfo(name).min <= label <= np.iinfo(name).max
    return True


def check_labels_fit(labels: np.ndarray, classes: int) -> None:
    """Raises unless all labels are whole numbers from 0 to `classes - 1`."""
    low, high = (labels.min(), labels.max()) if labels.size else (0, 0)
    if labels.dtype.kind == "f" and not (labels == np.floor(labels)).all():
        raise ValueError(
            f"A class map must hold whole numbers. Received: fractional values from {low} to {high}"
        )
    if low < 0 or high >= classes:
        raise ValueError(
            f"A class map for {classes} classes must hold 0 to {classes - 1}. Received: values "
            f"from {low} to {high}. Leave a label for unlabelled pixels out with `ignore_class`."
        )


def _check_mask(y, kind):
    y = y.astype("float32") if y.dtype == bool or y.dtype.itemsize < 4 else y
    low, high = (y.min(), y.max()) if y.size else (0, 0)
    if low < -_SLACK or high > 1 + _SLACK:
        advice = " Divide a mask stored as 0 and 255 by 255." if high == 255 else ""
        raise ValueError(
            f"`y_true` must lie in [0, 1]. Received: values from {low:g} to {high:g}.{advice}"
        )
    sums = y.sum(axis=-1) if kind == "exclusive" else np.ones(1)
    if (abs(sums - 1) > _SUM_SLACK).any():
        raise ValueError(
            "The labels of a pixel's classes must sum to 1, one-hot or soft. Received: sums from "
            f"{np.nanmin(sums):.4g} to {np.nanmax(sums):.4g}. For independent classes say "
            "`multilabel=True`; a pixel without a class is -1, or has weight 0; where the classes "
            "stand first, say `data_format='channels_first'`."
        )


def is_class_map(y_true: Tensor, y_pred: Tensor) -> bool:
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
    elif same_shape(true, (pred[0], *pred[2:])) or same_shape(true, (pred[0], 1, *pred[2:])):
        hint = " Where the classes stand first, say `data_format='channels_first'`."
    raise ValueError(
        f"`y_true` must have {allowed}; shapes are never broadcast.{hint} "
        f"Received: y_true.shape={true}, y_pred.shape={pred}"
    )


def dtype_of(x: Tensor) -> str:
    """The dtype of an array or tensor by its name, on every backend: "float32"."""
    return keras.backend.standardize_dtype(x.dtype)


def _may_hold_labels(y_true):
    # On TensorFlow's replicas, Keras 3.15 builds a loss from the mean of their targets, which is
    # float64 for integers. Only the tensors of a graph can be such means; others are refused.
    dtype = dtype_of(y_true)
    return "int" in dtype or (dtype == "float64" and visible(y_true) is None)


_LARGEST = 2**31 - 1  # of the numbers of objects


def instance_map(
    y_true: Tensor, y_pred: Tensor, loss: Reader, surround: int = 0
) -> tuple[Tensor, Tensor | None]:
    """The instance map of a loss whose `truth` is one, int32, `(batch, *spatial)`.

    0 is background, and -1 is out of the picture, where `y_true` is -1 or the loss's
    `ignore_class`. The map may reach farther than the prediction, by `surround` on each side.

    Args:
        y_true, y_pred: with the classes last.

    Returns:
        The map, and where it holds what is not allowed, as booleans: `None` where it was checked.

    Raises:
        ValueError: for other shapes, for several classes, for a boolean or fractional `y_true`,
            and for other negative numbers or those beyond 2^31 - 1, where they can be seen.
    """
    check_taken(loss, y_pred)
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
    y_true = y_true[..., 0] if len(true) == len(pred) else y_true
    seen, labels = visible(y_true), ops.convert_to_tensor(y_true)
    ignored = check_labels("ignore_class", loss.ignore_class)
    ignored = [label for label in (VOID, *ignored) if _can_hold(labels.dtype, label)]
    out = [_equal(labels, label) for label in ignored]
    out = functools.reduce(ops.logical_or, out) if out else None
    if seen is not None:
        wrong = None
        _check_instances(seen[~np.isin(seen, ignored)])
    else:
        wrong = (labels < 0) | (labels > _LARGEST) if _can_hold(labels.dtype, 2**31) else labels < 0
        if "float" in dtype_of(labels):
            wrong = wrong | ops.not_equal(labels, ops.floor(labels))
        wrong = wrong if out is None else wrong & ops.logical_not(out)
    labels = ops.cast(labels, "int32")
    return (labels if out is None else ops.where(out, VOID, labels)), wrong


def _check_instances(labels):
    low, high = (labels.min(), labels.max()) if labels.size else (0, 0)
    if low < 0 or high > _LARGEST:
        raise ValueError(
            "An instance map must hold 0 for background, -1 out of the picture, and numbers from 1 "
            f"to {_LARGEST} for objects. Received: values from {low} to {high}"
        )


# --- Weights ------------------------------------------------------------------------------------


def checked_weight(sample_weight: Tensor | None, y_pred: Tensor, dtype: str) -> Tensor | None:
    """Weights `(batch,)`, or a pixel map `(batch, *spatial)` or with a last axis of 1, or `None`.

    Raises:
        ValueError: for another shape, and for negative weights where they can be seen. Elsewhere
            they become NaN.
    """
    if sample_weight is None:
        return None
    weight, pred = shape_of(sample_weight, "sample_weight"), shape_of(y_pred)
    if not any(same_shape(weight, s) for s in (pred[:1], pred[:-1], (*pred[:-1], 1))):
        raise ValueError(
            f"`sample_weight` must have one value per image, {pred[:1]}, or one per pixel, "
            f"{pred[:-1]} or {(*pred[:-1], 1)}; shapes are never broadcast. "
            f"Received: sample_weight.shape={weight}, y_pred.shape={pred}"
        )
    allowed, seen = _lie_between(sample_weight, 0, float("inf")), visible(sample_weight)
    sample_weight = ops.cast(ops.convert_to_tensor(sample_weight), dtype)
    if seen is None:
        return _or_nan(sample_weight >= 0, sample_weight)
    if not allowed and (seen < 0).any():
        raise ValueError(
            "`sample_weight` must not be negative. Received: a smallest weight of "
            f"{np.nanmin(seen)}"
        )
    return sample_weight


def shape_of(x: Tensor, name: str = "a tensor") -> tuple[int | None, ...]:
    """The static shape as a tuple, `None` where it is not known before the graph runs."""
    if getattr(x.shape, "rank", 0) is None:
        raise ValueError(
            f"The rank of {name} is not known. "
            + (
                "A compiled model keeps that of its first call: after weights of images, weights "
                "of pixels need `compile` once more, and the other way round. "
                if name == "sample_weight"
                else ""
            )
            + "Where it comes from a function of Python, give it a shape there, for example with "
            "`set_shape` after `tf.py_function`."
        )
    return tuple(x.shape)


def same_shape(a: Sequence[int | None], b: Sequence[int | None]) -> bool:
    """Whether two static shapes can be equal; an unknown size agrees with every size."""
    return len(a) == len(b) and all(m == n or m is None or n is None for m, n in zip(a, b))


# --- The same for a user ------------------------------------------------------------------------


def check_batch(
    y_true: Tensor,
    y_pred: Tensor,
    sample_weight: Tensor | None = None,
    *,
    from_logits: bool = False,
    multilabel: bool = False,
    ignore_class: int | tuple[int, ...] | None = None,
    data_format: str | None = None,
) -> None:
    """Says what is wrong with one batch, before a compiled graph makes it NaN.

    Run it on a first batch before training. Shapes and values are checked as by every loss; beyond
    that nothing may be NaN or infinite.

    Args:
        y_true: as for every loss: the shape of `y_pred`, or an integer class map.
        y_pred: `(batch, *spatial, classes)`.
        sample_weight: `None`, one weight per image, or a pixel map.
        from_logits: whether `y_pred` holds logits.
        multilabel: whether several classes are independent; then they need not sum to 1.
        ignore_class: a label that may occur beside those allowed and -1, or several.
        data_format: where the classes stand, see `SegmentationLoss`.

    Raises:
        ValueError: names what was found, and what is allowed.

    Example:
        >>> check_batch(np.full((1, 4, 4, 1), 255), np.zeros((1, 4, 4, 1)))
        Traceback (most recent call last):
        ...
        ValueError: `y_true` must lie in [0, 1]. Received: values from 255 to 255. Divide ...
    """
    data_format = check_data_format(data_format, keras.config.image_data_format())
    y_true, y_pred, sample_weight = classes_last(y_true, y_pred, sample_weight, data_format)
    kind, ignored = kind_of(multilabel, y_pred), check_labels("ignore_class", ignore_class)
    truth = Truth(y_true, y_pred, ignored, kind)
    weight = checked_weight(sample_weight, y_pred, "float32")
    _, inside = truth.shaped(weight, "float32")
    seen = visible(truth.y)
    inside = slice(None) if inside is None else visible(inside) > 0
    for name, values in (("y_true", seen[inside]), ("y_pred", visible(y_pred)[inside])):
        _check_finite(name, values)
    if weight is not None:
        _check_finite("sample_weight", visible(weight))
    if not from_logits:
        _check_probabilities(visible(y_pred)[inside], kind)


def _check_finite(name, values):
    bad = ~np.isfinite(values.astype("float64"))
    if bad.any():
        raise ValueError(
            f"`{name}` must be finite. Received: {int(bad.sum())} values of {values.size} "
            "that are NaN or infinite."
        )
