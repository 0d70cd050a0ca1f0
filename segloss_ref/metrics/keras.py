"""The overlap metrics for training: the mean over images, on the device."""

import math

import keras
from keras import ops

from segloss_ref.checks import check_data_format, check_flag, check_labels, check_number
from segloss_ref.losses.inputs import as_batch
from segloss_ref.metrics import overlap


class OverlapMetric(keras.metrics.Metric):
    """Base of the metrics of overlap: the mean over images of one value for each.

    The value of an image is that of the NumPy function: of its mask, where there is one class; the
    mean over the classes that occur in its truth, where several are exclusive; the mean over all of
    them, where they are independent. Images count alike in whichever batches they come. One without
    a pixel to judge, or without a class to score, is left out; where none is left the mean is NaN.

    Args:
        from_logits: `y_pred` holds logits instead of probabilities.
        multilabel: several classes are independent (each has its threshold) instead of exclusive
            (the largest wins).
        threshold: probability, from 0 to below 1, above which a pixel is predicted.
        include_background: whether class 0 counts, where there are several classes.
        ignore_class: label of `y_true`, or several, whose pixels are left out beside -1; needs an
            integer class map, or a mask of one class.
        data_format: `"channels_last"` or `"channels_first"`, by default
            `keras.config.image_data_format()`.
        name: name of the metric, in the logs of `fit`.
        dtype: as in Keras. Counts and sums are float32 whatever it is.

    Shapes: those of the losses, see `SegmentationLoss`; the truth is hard: 0 and 1, one-hot, or a
        class map. `sample_weight` is `(batch,)`, weights of images in the mean, or a pixel map
        `(batch, *spatial)` or `(batch, *spatial, 1)`, which multiplies in the counts of pixels:
        one of 0 is left out. (In `compile` it reaches `weighted_metrics` alone.)
    Returns: the mean over all images since the last reset. NaN in what is judged makes it NaN; so
        do, in compiled graphs, values that are refused elsewhere.
    Raises:
        ValueError: for a setting, a pair of shapes or values that are not allowed.
        AttributeError: for a setting that is changed later: a compiled step would not know.
    """

    # How the losses' door reads a batch.
    takes = ("binary", "exclusive", "independent")
    dimensions = (2, 3)
    per = "image"
    compute_dtype = "float32"

    _parts = None  # of a share: numerator and denominator
    _settings = (
        "from_logits",
        "multilabel",
        "threshold",
        "include_background",
        "ignore_class",
        "data_format",
    )

    def __init__(
        self,
        *,
        from_logits: bool = False,
        multilabel: bool = False,
        threshold: float = 0.5,
        include_background: bool = True,
        ignore_class: int | tuple[int, ...] | None = None,
        data_format: str | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(
            name=name or type(self).__name__.removesuffix("Metric").lower(), dtype=dtype
        )
        self.from_logits = check_flag("from_logits", from_logits)
        self.multilabel = check_flag("multilabel", multilabel)
        self.threshold = check_number("threshold", threshold, at_least=0, below=1)
        self.include_background = check_flag("include_background", include_background)
        self.ignore_class = check_labels("ignore_class", ignore_class)
        self.data_format = check_data_format(data_format, keras.config.image_data_format())
        self.total, self.images = (
            self.add_variable((), "zeros", dtype="float32", name=name)
            for name in ("total", "images")
        )

    def __setattr__(self, name, value):
        if name in self._settings and hasattr(self, name):
            raise AttributeError(
                f"`{type(self).__name__}.{name}` cannot be changed: a model that is compiled "
                "already would go on with the old value. Make a new metric and compile again."
            )
        super().__setattr__(name, value)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds the images of a batch to the mean."""
        values, weights = self.image_values(y_true, y_pred, sample_weight)
        self.total.assign_add(ops.sum(ops.where(weights == 0, 0.0, values * weights)))
        self.images.assign_add(ops.sum(weights))

    def image_values(self, y_true, y_pred, sample_weight=None):
        """The value of each image and its weight in the mean, both `(batch,)`."""
        batch = as_batch(y_true, y_pred, sample_weight, loss=self)
        y, p, weight = batch.y, batch.prediction.values, batch.weight
        predicted = ops.cast(self._predicted(p, batch.prediction.softmax), "float32")
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
        values = ops.where(denominator == 0, perfect, _divided(numerator, denominator))
        scored = ops.cast(tp + fn > 0, "float32") if batch.prediction.softmax else ops.ones_like(tp)
        if not self.include_background and scored.shape[-1] > 1:
            scored = scored * ops.concatenate([scored[:, :1] * 0, scored[:, 1:] * 0 + 1], axis=-1)
        mean = _divided(ops.sum(scored * values, axis=-1), ops.sum(scored, axis=-1))
        judged = (ops.sum(scored, axis=-1) > 0) & ops.any(weight != 0, axis=(1, 2))
        # What is not 0 or 1 in the truth, or no number in the prediction.
        broken = ((y != 0) & (y != 1)) | ops.isnan(p) | ops.isnan(weight)
        broken = ops.any(broken, axis=(1, 2))
        mean = ops.where(broken, float("nan"), mean)
        return mean, batch.image_weight * ops.cast(judged | broken, "float32")

    def _predicted(self, p, exclusive):
        if exclusive:
            return ops.one_hot(ops.argmax(p, axis=-1), p.shape[-1])
        return p > (_logit(self.threshold) if self.from_logits else self.threshold)

    def result(self):
        """The mean over all images since the last reset."""
        return self.total / self.images

    def get_config(self):
        return {**super().get_config(), **{name: getattr(self, name) for name in self._settings}}


def _logit(p):
    return math.log(p / (1 - p)) if p else -math.inf


def _divided(a, b):
    """a / b, where b is 0 anything that is a number."""
    return a / ops.where(b == 0, ops.ones_like(b), b)


@keras.saving.register_keras_serializable(package="segloss_ref")
class DiceMetric(OverlapMetric):
    """Mean Dice coefficient of images, `2 TP / (2 TP + FP + FN)`; see `dice` and `OverlapMetric`.

    Args:
        **kwargs: see `OverlapMetric`.

    Example:
        >>> metric = DiceMetric()
        >>> y_true = np.array([[[[1], [1], [0], [-1]]]])  # the last pixel is out
        >>> metric.update_state(y_true, np.array([[[[0.1], [0.9], [0.8], [0.9]]]]))
        >>> float(metric.result())
        0.5
    """

    _parts = staticmethod(overlap.dice_parts)


@keras.saving.register_keras_serializable(package="segloss_ref")
class IoUMetric(OverlapMetric):
    """Mean intersection over union of images, `TP / (TP + FP + FN)`; see `iou`.

    Args:
        **kwargs: see `OverlapMetric`.
    """

    _parts = staticmethod(overlap.iou_parts)


@keras.saving.register_keras_serializable(package="segloss_ref")
class PrecisionMetric(OverlapMetric):
    """Mean precision of images, `TP / (TP + FP)`; see `precision`.

    Args:
        **kwargs: see `OverlapMetric`.
    """

    _parts = staticmethod(overlap.precision_parts)


@keras.saving.register_keras_serializable(package="segloss_ref")
class RecallMetric(OverlapMetric):
    """Mean recall of images, `TP / (TP + FN)`; see `recall`.

    Args:
        **kwargs: see `OverlapMetric`.
    """

    _parts = staticmethod(overlap.recall_parts)
