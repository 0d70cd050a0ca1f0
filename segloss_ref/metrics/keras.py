"""The metrics for training: of all images since the last reset, on the device."""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from segloss_ref.checks import (
    Tensor,
    check_choice,
    check_data_format,
    check_flag,
    check_labels,
    check_number,
    check_spacing,
    check_whole,
    sides_of,
)
from segloss_ref.distance import erode
from segloss_ref.losses.inputs import as_batch
from segloss_ref.metrics import overlap, surfaces
from segloss_ref.metrics.facets import facet_sizes, neighbours

# A float32 knows squares of distances to a few units of this.
_ROUNDING = 1e-6


class SegmentationMetric(keras.metrics.Metric):
    """Base of the metrics for training: they read a batch as the losses do.

    Args:
        from_logits: `y_pred` holds logits instead of probabilities.
        multilabel: several classes are independent instead of exclusive.
        ignore_class: label of `y_true`, or several, whose pixels are left out beside -1; needs an
            integer class map, or a mask of one class.
        data_format: `"channels_last"` or `"channels_first"`, by default
            `keras.config.image_data_format()`.
        name: name of the metric, in the logs of `fit`.
        dtype: as in Keras. Counts and sums are float32 whatever it is.

    Shapes: those of the losses, see `SegmentationLoss`; the truth is hard: 0 and 1, one-hot, or a
        class map. `sample_weight` is `(batch,)`, weights of images, or a pixel map
        `(batch, *spatial)` or `(batch, *spatial, 1)`: a pixel of weight 0 is left out. (In
        `compile` it reaches `weighted_metrics` alone.)
    Raises:
        ValueError: for a setting, a pair of shapes or values that are not allowed.
        AttributeError: for a setting that is changed later: a compiled step would not know.
    """

    # How the losses' door reads a batch.
    takes = ("binary", "exclusive", "independent")
    dimensions = (2, 3)
    per = "image"
    compute_dtype = "float32"

    _called: str | None = None  # in the logs
    _settings: tuple[str, ...] = ("from_logits", "multilabel", "ignore_class", "data_format")

    def __init__(
        self,
        *,
        from_logits: bool = False,
        multilabel: bool = False,
        ignore_class: int | tuple[int, ...] | None = None,
        data_format: str | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name or self._called, dtype=dtype)
        self.from_logits = check_flag("from_logits", from_logits)
        self.multilabel = check_flag("multilabel", multilabel)
        self.ignore_class = check_labels("ignore_class", ignore_class)
        self.data_format = check_data_format(data_format, keras.config.image_data_format())

    def __setattr__(self, name, value):
        if name in self._settings and hasattr(self, name):
            raise AttributeError(
                f"`{type(self).__name__}.{name}` cannot be changed: a model that is compiled "
                "already would go on with the old value. Make a new metric and compile again."
            )
        super().__setattr__(name, value)

    def _sum(self, name, shape=()):
        return self.add_variable(shape, "zeros", dtype="float32", name=name)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in self._settings}}


class ImageMetric(SegmentationMetric):
    """Base of the metrics that are a mean over images of one value for each.

    The value of an image is that of the NumPy function: of its mask, where there is one class; the
    mean over the classes that occur in its truth, where several are exclusive; the mean over all of
    them, where they are independent. Images count alike in whichever batches they come. One without
    a pixel to judge, or without a class to score, is left out; where none is left the mean is NaN.

    Args:
        threshold: probability, from 0 to below 1, above which a pixel is predicted. Of several
            exclusive classes the largest wins.
        include_background: whether class 0 counts, where there are several classes.
        **kwargs: see `SegmentationMetric`.

    Shapes: see `SegmentationMetric`. Weights of images are those of the mean; weights of pixels
        multiply in what is counted.
    Returns: the mean over all images since the last reset. NaN in what is judged makes it NaN; so
        do, in compiled graphs, values that are refused elsewhere.
    Raises:
        ValueError: for a setting, a pair of shapes or values that are not allowed.
        AttributeError: for a setting that is changed later: a compiled step would not know.
    """

    _settings = (*SegmentationMetric._settings, "threshold", "include_background")

    def __init__(
        self, *, threshold: float = 0.5, include_background: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.threshold = check_number("threshold", threshold, at_least=0, below=1)
        self.include_background = check_flag("include_background", include_background)
        self.total, self.images = self._sum("total"), self._sum("images")

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Adds the images of a batch to the mean."""
        values, weights = self.image_values(y_true, y_pred, sample_weight)
        self.total.assign_add(ops.sum(ops.where(weights == 0, 0.0, values * weights)))
        self.images.assign_add(ops.sum(weights))

    def image_values(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The value of each image and its weight in the mean, both `(batch,)`."""
        batch = as_batch(y_true, y_pred, sample_weight, loss=self)
        predicted = ops.cast(self._predicted(batch.prediction), "float32")
        values = self._class_values(batch, predicted)
        scored = ops.ones_like(values)
        if batch.prediction.softmax:
            scored = ops.cast(ops.sum(batch.weight * batch.y, axis=1) > 0, "float32")
        if not self.include_background and scored.shape[-1] > 1:
            scored = scored * ops.concatenate([scored[:, :1] * 0, scored[:, 1:] * 0 + 1], axis=-1)
        mean = _divided(ops.sum(scored * values, axis=-1), ops.sum(scored, axis=-1))
        judged = (ops.sum(scored, axis=-1) > 0) & ops.any(batch.weight != 0, axis=(1, 2))
        broken = ops.any(_broken(batch), axis=(1, 2))
        mean = ops.where(broken, float("nan"), mean)
        return mean, batch.image_weight * ops.cast(judged | broken, "float32")

    def _predicted(self, prediction):
        p = prediction.values
        if prediction.softmax:
            return ops.one_hot(ops.argmax(p, axis=-1), p.shape[-1])
        return p > (_logit(self.threshold) if self.from_logits else self.threshold)

    def _class_values(self, batch, predicted):
        """The value of each image and class, `(batch, classes)`, of the mask that is predicted."""
        raise NotImplementedError

    def result(self) -> Tensor:
        """The mean over all images since the last reset."""
        return self.total / self.images


def _logit(p):
    return math.log(p / (1 - p)) if p else -math.inf


def _divided(a, b):
    """a / b, where b is 0 anything that is a number."""
    return a / ops.where(b == 0, ops.ones_like(b), b)


def _broken(batch):
    """Where the truth is not 0 or 1, or the prediction or the weight is no number."""
    y, p, weight = batch.y, batch.prediction.values, batch.weight
    return ((y != 0) & (y != 1)) | ops.isnan(p) | ops.isnan(weight)


# --- Overlap ------------------------------------------------------------------------------------


class OverlapMetric(ImageMetric):
    """Base of the metrics of overlap, which are shares of counts of pixels.

    Args:
        **kwargs: see `ImageMetric` and `SegmentationMetric`.
    """

    # Of a share: numerator and denominator.
    _parts: Callable[..., tuple[Tensor, Tensor]] | None = None

    def _class_values(self, batch, predicted):
        y, weight = batch.y, batch.weight
        tp, fp, fn, tn = (
            ops.sum(weight * a * b, axis=1)
            for a, b in (
                (y, predicted),
                (1 - y, predicted),
                (y, 1 - predicted),
                (1 - y, 1 - predicted),
            )
        )
        numerator, denominator = self._parts(tp, fp, fn, tn)
        perfect = ops.cast(fp + fn == 0, "float32")
        return ops.where(denominator == 0, perfect, _divided(numerator, denominator))


@keras.saving.register_keras_serializable(package="segloss_ref")
class DiceMetric(OverlapMetric):
    """Mean Dice coefficient of images, `2 TP / (2 TP + FP + FN)`; see `dice` and `ImageMetric`.

    Args:
        **kwargs: see `ImageMetric` and `SegmentationMetric`.

    Example:
        >>> metric = DiceMetric()
        >>> y_true = np.array([[[[1], [1], [0], [-1]]]])  # the last pixel is out
        >>> metric.update_state(y_true, np.array([[[[0.1], [0.9], [0.8], [0.9]]]]))
        >>> float(metric.result())
        0.5
    """

    _called = "dice"
    _parts = staticmethod(overlap.dice_parts)


@keras.saving.register_keras_serializable(package="segloss_ref")
class IoUMetric(OverlapMetric):
    """Mean intersection over union of images, `TP / (TP + FP + FN)`; see `iou`.

    Args:
        **kwargs: see `ImageMetric` and `SegmentationMetric`.
    """

    _called = "iou"
    _parts = staticmethod(overlap.iou_parts)


@keras.saving.register_keras_serializable(package="segloss_ref")
class PrecisionMetric(OverlapMetric):
    """Mean precision of images, `TP / (TP + FP)`; see `precision`.

    Args:
        **kwargs: see `ImageMetric` and `SegmentationMetric`.
    """

    _called = "precision"
    _parts = staticmethod(overlap.precision_parts)


@keras.saving.register_keras_serializable(package="segloss_ref")
class RecallMetric(OverlapMetric):
    """Mean recall of images, `TP / (TP + FN)`; see `recall`.

    Args:
        **kwargs: see `ImageMetric` and `SegmentationMetric`.
    """

    _called = "recall"
    _parts = staticmethod(overlap.recall_parts)


# --- Surfaces -----------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="segloss_ref")
class SurfaceDiceMetric(ImageMetric):
    """Mean surface Dice of images, the share of surface within a tolerance; see `surface_dice`.

    `(Σ_{a : d(a, B) <= τ} |a| + Σ_{b : d(b, A) <= τ} |b|) / (Σ_a |a| + Σ_b |b|)`

    Distances are sought up to the tolerance alone, along one axis after the other, on the device:
    exact, in any graph, and the faster the smaller the tolerance is beside the pixel.

    Args:
        tolerance: τ, at least 0, in the unit of `spacing`.
        spacing: size of a pixel, one number or one per axis of space, in the unit wanted, such as
            mm; the same for all images.
        weighting: `"pixels"` or `"area"`, what A and B consist of: see `hausdorff_distance`. By
            default `"pixels"` in two dimensions and `"area"` in three.
        **kwargs: see `ImageMetric` and `SegmentationMetric`.

    Shapes: see `SegmentationMetric`. A pixel's weight multiplies that of its surface. At a corner
        between pixels the weight is the mean of theirs; next to one of weight 0 there is none.
    Returns: the mean over all images since the last reset, in [0, 1].
    Raises:
        ValueError: for a setting, a pair of shapes or values that are not allowed.
        AttributeError: for a setting that is changed later: a compiled step would not know.

    Example:
        >>> metric = SurfaceDiceMetric(tolerance=0)
        >>> y_true = np.array([[[[1], [1], [0], [0]]]])
        >>> metric.update_state(y_true, np.array([[[[0.9], [0.8], [0.7], [0.1]]]]))
        >>> round(float(metric.result()), 3)
        0.8

    Source: Nikolov et al. 2021, doi:10.2196/26151
    """

    _called = "surface_dice"
    _settings = (*ImageMetric._settings, "tolerance", "spacing", "weighting")

    def __init__(
        self,
        tolerance: float,
        spacing: float | tuple[float, ...] = 1.0,
        *,
        weighting: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tolerance = check_number("tolerance", tolerance, at_least=0)
        self.spacing = check_spacing("spacing", spacing)
        self.weighting = check_choice("weighting", weighting, (None, *surfaces.WEIGHTINGS))

    def _class_values(self, batch, predicted):
        axes = range(1, len(batch.grid))
        sides = sides_of(self.spacing, len(axes))
        # In units of the longest side, whose square no float32 loses.
        tolerance = self.tolerance / max(sides)
        sides = tuple(side / max(sides) for side in sides)
        weight = batch.on_grid(batch.weight)
        true, pred = (batch.on_grid(x) == 1 for x in (batch.y, predicted))
        masks = ops.concatenate([true, pred], axis=-1) & (weight != 0)
        sizes = self._elements(masks, weight, sides)
        near_true, near_pred = ops.split(_is_near(sizes > 0, sides, tolerance), 2, axis=-1)
        within = ops.cast(ops.concatenate([near_pred, near_true], axis=-1), "float32")
        # Both sums run over the same values, so that where all lie within the share is 1 exactly.
        near, total = (ops.sum(x, axis=tuple(axes)) for x in (sizes * within, sizes))
        missing = ops.any(ops.stack(ops.split(total, 2, axis=-1)) == 0, axis=0)
        near, total = (sum(ops.split(x, 2, axis=-1)) for x in (near, total))
        true, pred = ops.split(masks, 2, axis=-1)
        equal = ops.cast(ops.all(true == pred, axis=tuple(axes)), "float32")
        return ops.where(missing, equal, _divided(near, total))

    def _elements(self, masks, weight, sides):
        """What each surface element weighs, `(batch, *spatial, masks)`."""
        unseen = weight == 0
        if surfaces.weighting_of(self.weighting, len(sides)) == "pixels":
            # In numbers: the CPU code that PyTorch 2 compiles for padded booleans is not valid C++.
            inner = erode(ops.cast(masks | unseen, "float32"), outside=0)
            return weight * ops.cast(masks & (inner == 0), "float32")
        axes = range(1, len(sides) + 1)
        pads = [(int(axis in axes),) * 2 for axis in range(len(masks.shape))]

        def around(x):
            return neighbours(ops.pad(x, pads), axes)

        code = sum(ops.cast(x, "int32") * 2**bit for bit, x in enumerate(around(masks)))
        pixels = sum(around(ops.ones_like(weight)))  # beyond the image there are none
        weight = sum(around(weight)) / pixels
        weight = ops.where(functools.reduce(ops.logical_or, around(unseen)), 0.0, weight)
        sizes = ops.convert_to_tensor(facet_sizes(sides), dtype="float32")
        return weight * ops.take(sizes, code)


def _is_near(surface, sides, tolerance):
    """Where an element of a surface is no farther than the tolerance."""
    # Squared distances of the axes add up, so they are minimised along one after the other. The
    # axis that is looked along comes first: there, a window of a tensor need not be copied.
    squared = ops.where(surface, 0.0, math.inf)
    for axis, side in enumerate(sides, start=1):
        along = ops.moveaxis(squared, axis, 0)
        shape = ops.shape(along)
        reach = min(int(tolerance / side * (1 + _ROUNDING)), 2**30)
        # The size is unknown to some graphs before they run.
        least = min if isinstance(shape[0], int) else ops.minimum
        reach = least(reach, shape[0] - 1)
        margin = [(reach, reach), *[(0, 0)] * (len(shape) - 1)]
        framed = ops.pad(along, margin, constant_values=math.inf)

        def nearer(step, best, framed=framed, reach=reach, shape=shape, side=side):
            before, after = (
                ops.slice(framed, (start, *[0] * (len(shape) - 1)), shape)
                for start in (reach - step, reach + step)
            )
            cost = ops.square(ops.cast(step, "float32") * side)
            return ops.minimum(best, ops.minimum(before, after) + cost)

        squared = ops.moveaxis(ops.fori_loop(1, reach + 1, nearer, along), 0, axis)
    return squared <= tolerance**2 * (1 + _ROUNDING)


# --- Calibration --------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="segloss_ref")
class ExpectedCalibrationErrorMetric(SegmentationMetric):
    """Expected calibration error of all pixels together; see `expected_calibration_error`.

    `Σ_m |Σ_i w_i (right_i - confidence_i)| / Σ_i w_i`, the inner sum over the pixels of bin m

    The sums of all bins are kept from batch to batch, so the error does not depend on how pixels
    were put into batches. (The mean of the errors of batches is larger: gaps of either sign cancel
    within a bin, not between batches.) Independent classes are so many binary masks; all their
    pixels are taken together.

    Args:
        bins: number of bins of equal width, up to 1000.
        **kwargs: see `SegmentationMetric`.

    Shapes: see `SegmentationMetric`. w is the weight of the pixel or of its image.
    Returns: the error over all pixels since the last reset, in [0, 1]; NaN where there is none.
        NaN in what is judged makes it NaN; so do, in compiled graphs, values that are refused
        elsewhere.
    Raises:
        ValueError: for a setting, a pair of shapes or values that are not allowed.
        AttributeError: for a setting that is changed later: a compiled step would not know.

    Example:
        >>> metric = ExpectedCalibrationErrorMetric()
        >>> y_true = np.array([[[[0], [1], [1], [1]]]])
        >>> metric.update_state(y_true, np.full((1, 1, 4, 1), 0.5))
        >>> float(metric.result())
        0.25

    Source: Guo et al. 2017, arXiv:1706.04599, equation 3
    """

    _called = "expected_calibration_error"
    _settings = (*SegmentationMetric._settings, "bins")

    def __init__(self, bins: int = 15, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins = check_whole("bins", bins, at_least=1, at_most=1000)
        self.gaps, self.pixels = self._sum("gaps", (self.bins,)), self._sum("pixels")

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Adds the pixels of a batch to the bins."""
        batch = as_batch(y_true, y_pred, sample_weight, loss=self)
        confidence, right = batch.prediction.p, batch.y
        broken = _broken(batch)
        if batch.prediction.softmax:
            chosen = ops.one_hot(ops.argmax(confidence, axis=-1), confidence.shape[-1])
            right = ops.sum(right * chosen, axis=-1, keepdims=True)
            confidence = ops.max(confidence, axis=-1, keepdims=True)
            broken = ops.any(broken, axis=-1, keepdims=True)
        confidence = ops.clip(confidence, 0, 1)
        weight = batch.weight * batch.image_weight[:, None, None] * ops.ones_like(confidence)
        gap = ops.where(broken, math.nan, right - confidence)
        gap = ops.where(weight == 0, 0.0, weight * gap)
        self.gaps.assign_add(self._binned(confidence, gap))
        self.pixels.assign_add(ops.sum(weight))

    def _binned(self, confidence, values):
        """The sum of values in each bin of confidence, `(bins,)`."""
        edges = ops.convert_to_tensor(_float32_below(np.linspace(0, 1, self.bins + 1)[1:-1]))
        confidence, values = ops.reshape(confidence, (-1,)), ops.reshape(values, (-1,))
        bin_of = ops.cast(ops.searchsorted(edges, confidence, side="left"), "int32")
        # One value after the other is added, and many small ones to a large sum are lost in
        # float32: of so many pixels at a time, then of these sums.
        group = ops.arange(ops.shape(values)[0]) // 256
        groups = ops.shape(values)[0] // 256 + 1
        sums = ops.segment_sum(values, group * self.bins + bin_of, groups * self.bins)
        return ops.sum(ops.reshape(sums, (-1, self.bins)), axis=0)

    def result(self) -> Tensor:
        """The error over all pixels since the last reset."""
        return ops.sum(ops.abs(self.gaps)) / self.pixels


def _float32_below(x):
    """The largest float32 up to x: `p > x` says the same of it as of x, for any p in float32."""
    near = np.asarray(x, "float32")
    return np.where(near > x, np.nextafter(near, np.float32(-1)), near)
