"""The contract of a loss: `y_true`, `y_pred` and `sample_weight` in, one value per image out."""

import keras
from keras import ops

from segloss_ref.losses.inputs import as_batch
from segloss_ref.checks import check_choice, check_flag, check_weights


class _Reduction(keras.losses.Loss):
    """Keras's own reduction of values that are there already.

    It is borrowed whole because it does one thing that public operations cannot: under a
    distribution strategy it divides by the number of replicas.
    """

    def call(self, y_true, y_pred):
        return y_pred


class SegmentationLoss(keras.losses.Loss):
    """Base class of all losses here.

    Args:
        from_logits: `y_pred` holds logits instead of probabilities. Prefer it: what can be
            computed in log space then is.
        multilabel: several classes are independent (sigmoid each) instead of exclusive (softmax).
        per: `"image"` or `"batch"`: the region that sums run over. With `"batch"` every image
            gets the value of the whole batch.
        ignore_class: a label of `y_true` whose pixels count nowhere; needs an integer class map,
            or a binary mask.
        reduction: as in Keras. `None` gives one value per image, `(batch,)`;
            `"mean_with_sample_weight"` divides by the sum of the weights.
        name: name of the loss.
        dtype: dtype of the result. Sums run in float32 at least, whatever comes in.

    Shapes: `y_pred` is `(batch, *spatial, classes)` with two or three spatial dimensions; one
        class is binary. `y_true` has the same shape, one-hot or soft, or is an integer class map
        `(batch, *spatial)` or `(batch, *spatial, 1)` where there are several classes.
        `sample_weight` is `(batch,)`, or a pixel map `(batch, *spatial)` or
        `(batch, *spatial, 1)`. A pixel of weight 0 is out, whatever it holds.

    Raises:
        ValueError: for a setting that is not allowed, and for any other pair of shapes.
    """

    #: What `y_true` holds: a "mask", or "instances" (an instance map).
    truth = "mask"
    #: Which classes it takes: one, several with one softmax, several with a sigmoid each.
    takes = ("binary", "exclusive", "independent")
    #: The numbers of spatial dimensions that it takes.
    dimensions = (2, 3)

    def __init__(
        self,
        *,
        from_logits=False,
        multilabel=False,
        per="image",
        ignore_class=None,
        reduction="sum_over_batch_size",
        name=None,
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = check_flag("from_logits", from_logits)
        self.multilabel = check_flag("multilabel", multilabel)
        self.per = check_choice("per", per, ("image", "batch"))
        if ignore_class is not None and (
            isinstance(ignore_class, bool) or not isinstance(ignore_class, int)
        ):
            raise ValueError(
                f"`ignore_class` must be an integer label or None. Received: {ignore_class!r}"
            )
        self.ignore_class = ignore_class

    @property
    def compute_dtype(self):
        """float64 if asked for, else float32: half precision overflows in a sum over pixels."""
        return "float64" if self.dtype == "float64" else "float32"

    def region_values(self, batch):
        """The value of each region and its weight in the mean, both `(regions,)`."""
        raise NotImplementedError

    def call(self, y_true, y_pred):
        """The loss of each image, `(batch,)`."""
        return sum(factor * values for factor, values, _ in self.terms(y_true, y_pred))

    def __call__(self, y_true, y_pred, sample_weight=None):
        with keras.name_scope(self.name):
            reduce = _Reduction(name=self.name, reduction=self.reduction, dtype=self.dtype)
            terms = self.terms(y_true, y_pred, sample_weight)
            return sum(factor * reduce(value, value, weight) for factor, value, weight in terms)

    def terms(self, y_true, y_pred, sample_weight=None):
        """What the loss is the sum of, each term reduced on its own.

        A list of `(factor, values, weights)`: a number, and the loss of each image and its weight
        in the mean, both `(batch,)`. One term here; losses made of losses have more.
        """
        return [(1.0, *self._image_values(y_true, y_pred, sample_weight))]

    def _image_values(self, y_true, y_pred, sample_weight=None):
        """The loss of each image and its weight in the mean, both `(batch,)`."""
        return self._values_of(y_true, y_pred, sample_weight, self.ignore_class)

    def _values_of(self, y_true, y_pred, sample_weight, ignore_class):
        batch = as_batch(y_true, y_pred, sample_weight, ignore_class, loss=self)
        images = (ops.shape(y_pred)[0],)
        return tuple(ops.broadcast_to(x, images) for x in self.region_values(batch))

    def get_config(self):
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "multilabel": self.multilabel,
            "per": self.per,
            "ignore_class": self.ignore_class,
            "dtype": self.dtype,  # Keras's own get_config forgets it
        }

    def __add__(self, other):
        from segloss_ref.losses.compound import CompoundLoss

        if not isinstance(other, SegmentationLoss):
            return NotImplemented
        return CompoundLoss([self, other])

    def __mul__(self, factor):
        from segloss_ref.losses.compound import CompoundLoss

        if not isinstance(factor, (int, float)):
            return NotImplemented
        return CompoundLoss([self], weights=[factor])

    __rmul__ = __mul__


class PixelLoss(SegmentationLoss):
    """Base of losses that are a mean over pixels, sum(w l) / number of pixels.

    The division is by the number of pixels, as in Keras, so a weight map of mean 2 doubles the
    loss; `reduction="mean_with_sample_weight"` divides by the sum of the weights instead.
    """

    def pixel_values(self, batch):
        """The loss of each pixel, `(regions, pixels, 1)`."""
        raise NotImplementedError

    def region_values(self, batch):
        total = ops.sum(batch.weight, axis=(1, 2))
        pixels = ops.sum(batch.valid, axis=(1, 2))
        weighted = ops.sum(batch.weight * self.pixel_values(batch), axis=(1, 2))
        mean_weight = ops.divide_no_nan(total, pixels)
        # Keras multiplies the two again; apart, they let it divide by the sum of the weights.
        return ops.divide_no_nan(weighted, total), batch.image_weight * mean_weight


class RegionLoss(SegmentationLoss):
    """Base of losses that compare sums over a region, class by class; then the class mean.

    Pixel weights multiply inside the sums.

    Args:
        class_weights: one weight per class for the mean over classes (divided by their sum).
        include_background: whether class 0 counts, where there are several classes.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.
    """

    def __init__(self, *, class_weights=None, include_background=True, **kwargs):
        super().__init__(**kwargs)
        self.class_weights = check_weights("class_weights", class_weights)
        self.include_background = check_flag("include_background", include_background)

    def class_values(self, batch):
        """The loss of each class, `(regions, classes)`."""
        raise NotImplementedError

    def region_values(self, batch):
        values = self.class_values(batch)
        weights = self._weights_of(values.shape[-1])
        shares = ops.convert_to_tensor([w / sum(weights) for w in weights], dtype=values.dtype)
        return ops.sum(values * shares, axis=-1), batch.image_weight

    def _weights_of(self, classes):
        weights = self.class_weights or (1.0,) * classes
        if len(weights) != classes:
            raise ValueError(
                f"`class_weights` must have one weight per class. Received: {len(weights)} "
                f"weights for {classes} classes"
            )
        if not self.include_background:
            weights = (0.0, *weights[1:])
        if sum(weights) == 0:
            raise ValueError(
                "No class is left to be scored. Received: class_weights="
                f"{self.class_weights}, include_background={self.include_background} for "
                f"{classes} classes"
            )
        return weights

    def get_config(self):
        return {
            **super().get_config(),
            "class_weights": self.class_weights,
            "include_background": self.include_background,
        }
