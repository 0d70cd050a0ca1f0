"""The contract of a loss: `y_true`, `y_pred` and `sample_weight` in, one value per image out.

Its three bases, for means over pixels and for sums over regions, and the algebra of sums.
"""

import numbers
from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from segloss_ref.catalogue import catalogued, defaults_of, settings_of
from segloss_ref.checks import (
    Tensor,
    check_choice,
    check_data_format,
    check_flag,
    check_labels,
    check_number,
    check_weights,
    visible,
)
from segloss_ref.losses.arithmetic import ratio, total
from segloss_ref.losses.inputs import Batch, as_batch


class _Reduction(keras.losses.Loss):
    """Keras's own reduction of values that are there already.

    It is borrowed whole because it does one thing that public operations cannot: under a
    distribution strategy it divides by the number of replicas.
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_pred


class _Settled(type):
    """Makes losses whose settings are settled once they are made."""

    def __call__(cls, *args, **kwargs):
        loss = super().__call__(*args, **kwargs)
        loss._settled = True
        return loss


class SegmentationLoss(keras.losses.Loss, metaclass=_Settled):
    """Base class of all losses here.

    Args:
        from_logits: `y_pred` holds logits instead of probabilities. Prefer it: what can be
            computed in log space then is.
        multilabel: several classes are independent (sigmoid each) instead of exclusive (softmax).
        per: `"image"` or `"batch"`: the region that sums run over. With `"batch"` every image
            gets the value of the whole batch: that which is in one call. On several replicas each
            has its own, and so has each step of an accumulated gradient.
        ignore_class: a label of `y_true`, or several, whose pixels count nowhere; needs an integer
            class map, or a mask of one class.
        data_format: `"channels_last"`, `(batch, *spatial, classes)`, or `"channels_first"`,
            `(batch, classes, *spatial)`; by default `keras.config.image_data_format()`. The shapes
            in this documentation have the classes last.
        reduction: as in Keras. `None` gives one value per image, `(batch,)`;
            `"mean_with_sample_weight"` divides by the sum of the weights.
        name: name of the loss.
        dtype: dtype of the result. Sums run in float32 at least, whatever comes in.

    Shapes: `y_pred` is `(batch, *spatial, classes)` with two or three spatial dimensions; one
        class is binary. `y_true` has the same shape, one-hot or soft, or is an integer class map
        `(batch, *spatial)` or `(batch, *spatial, 1)` where there are several classes.
        `sample_weight` is `(batch,)`, or a pixel map `(batch, *spatial)` or
        `(batch, *spatial, 1)`. A pixel of weight 0 is out, whatever it holds, and so is one whose
        truth is -1 (`segloss_ref.VOID`), which augmentation fills in beyond the picture.

    Values that can be seen are checked: those of arrays and of eager tensors. In a compiled graph,
    what is out of range makes the loss NaN. NaN in the truth, the prediction or the weights makes
    it NaN as well.

    The settings are settled once the loss is made: changed later, they would change nothing in a
    model that is compiled already. A number that shall change is given as a `keras.Variable` to
    `CompoundLoss`.

    Raises:
        ValueError: for a setting that is not allowed, for any other pair of shapes, and for values
            that are not allowed.
        AttributeError: for a setting that is changed later.
    """

    #: What `y_true` holds: a "mask", or "instances" (an instance map).
    truth: str = "mask"
    #: Which classes it takes: one, several with one softmax, several with a sigmoid each.
    takes: tuple[str, ...] = ("binary", "exclusive", "independent")
    #: The numbers of spatial dimensions that it takes.
    dimensions: tuple[int, ...] = (2, 3)

    def __init__(
        self,
        *,
        from_logits: bool = False,
        multilabel: bool = False,
        per: str = "image",
        ignore_class: int | tuple[int, ...] | None = None,
        data_format: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = check_flag("from_logits", from_logits)
        self.multilabel = check_flag("multilabel", multilabel)
        self.per = check_choice("per", per, ("image", "batch"))
        check_labels("ignore_class", ignore_class)
        several = isinstance(ignore_class, (list, tuple, set, frozenset, range))
        self.ignore_class = tuple(ignore_class) if several else ignore_class
        self.data_format = check_data_format(data_format, keras.config.image_data_format())

    def __setattr__(self, name: str, value: Any) -> None:
        fixed = getattr(self, "_settled", False) and name != "name"
        if fixed and name in settings_of(type(self)):
            raise AttributeError(
                f"`{type(self).__name__}.{name}` cannot be changed: a model that is compiled "
                "already would go on with the old value. Make a new loss with it and compile "
                "again; a weight that shall change is given to a sum as a `keras.Variable`."
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        """The call that makes it, without defaults: `DiceLoss(smooth=0.1, from_logits=True)`."""
        ours = {"data_format": keras.config.image_data_format(), "dtype": keras.config.floatx()}
        known = {k: ours.get(k, default) for k, default in defaults_of(type(self)).items()}
        given = {name: getattr(self, name, default) for name, default in known.items()}
        shown = [
            f"{k}={v!r}" for k, v in given.items() if isinstance(v, keras.Variable) or v != known[k]
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def compute_dtype(self) -> str:
        """float64 if asked for, else float32: half precision overflows in a sum over pixels."""
        return "float64" if self.dtype == "float64" else "float32"

    def batch_of(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Batch:
        """One call in the form that the formulas are written for."""
        return as_batch(y_true, y_pred, sample_weight, loss=self)

    def region_values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The value of each region and its weight in the mean, both `(regions,)`."""
        raise NotImplementedError

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of each image, `(batch,)`."""
        return sum(
            factor * values * weight for factor, values, weight in self.terms(y_true, y_pred)
        )

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        with keras.name_scope(self.name):
            reduce = _Reduction(name=self.name, reduction=self.reduction, dtype=self.dtype)
            terms = self.terms(y_true, y_pred, sample_weight)
            value = sum(factor * reduce(value, value, weight) for factor, value, weight in terms)
            # Of no images Keras makes no mean; its own losses of pixels are 0 then.
            nothing = tuple(value.shape) == (0,) and self.reduction not in (None, "none")
            return ops.sum(value) if nothing else value

    def terms(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> list[tuple[Any, Tensor, Tensor]]:
        """What the loss is the sum of, each term reduced on its own.

        A list of `(factor, values, weights)`: a number, and the loss of each image and its weight
        in the mean, both `(batch,)`. One term here; losses made of losses have more.
        """
        return self.terms_of(self.batch_of(y_true, y_pred, sample_weight))

    def terms_of(self, batch: Batch) -> list[tuple[Any, Tensor, Tensor]]:
        """`terms` of a batch, which several losses may share."""
        if isinstance(batch.grid[0], int) and batch.grid[0] == 0:
            return [(1.0, *2 * (ops.zeros((0,), dtype=self.compute_dtype),))]
        each = (ops.broadcast_to(x, batch.grid[:1]) for x in self.region_values(batch))
        return [(1.0, *each)]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "multilabel": self.multilabel,
            "per": self.per,
            "ignore_class": self.ignore_class,
            "data_format": self.data_format,
            "dtype": self.dtype,  # Keras's own get_config forgets it
        }

    def __add__(self, other: "SegmentationLoss | int") -> "SegmentationLoss":
        if isinstance(other, SegmentationLoss):
            return CompoundLoss([self, other])
        if isinstance(other, numbers.Real) and other == 0:  # where `sum` begins
            return self
        raise TypeError(
            "Only losses of this package can be added: those of Keras have no value per image. "
            f"It has cross-entropies, too. Received: {other!r}"
        )

    __radd__ = __add__

    def __mul__(self, factor: float | keras.Variable) -> "CompoundLoss":
        return CompoundLoss([self], weights=[factor])

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> "CompoundLoss":
        return self * (1 / check_number("divisor", divisor, above=0))


class PixelLoss(SegmentationLoss):
    """Base of losses that are a mean over pixels, sum(w l) / number of pixels.

    The division is by the number of pixels, as in Keras, so a weight map of mean 2 doubles the
    loss; `reduction="mean_with_sample_weight"` divides by the sum of the weights instead.
    """

    def pixel_values(self, batch: Batch) -> Tensor:
        """The loss of each pixel, `(regions, pixels, 1)`."""
        raise NotImplementedError

    def region_values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        values = mean_over_pixels(self.pixel_values(batch), batch)[:, 0]
        # Keras multiplies the two again; apart, they let it divide by the sum of the weights.
        return values, batch.image_weight * mean_weight(batch)


def mean_over_pixels(values: Tensor, batch: Batch) -> Tensor:
    """The weighted mean over the pixels of each region, `(regions, classes)`."""
    if batch.mass is None:
        return total(values) / ops.cast(ops.shape(values)[1], values.dtype)
    return ratio(total(values, batch.mass), total(batch.mass))


def mean_weight(batch: Batch) -> Tensor:
    """The mean weight of the pixels of each region that are in the picture, `(regions,)`."""
    if batch.mass is None:
        return ops.ones_like(batch.image_weight)
    weights = total(batch.mass)[:, 0]
    if batch.mass is batch.inside:
        return ratio(weights, weights)
    inside = ops.ones_like(batch.mass) if batch.inside is None else batch.inside
    return ratio(weights, total(ops.cast(inside != 0, inside.dtype))[:, 0])


class RegionLoss(SegmentationLoss):
    """Base of losses that compare sums over a region, class by class; then the class mean.

    Pixel weights multiply inside the sums.

    Args:
        class_weights: how much each class counts, one number per class: its weight in the mean over
            classes (divided by their sum).
        include_background: whether class 0 counts, where there are several classes.
        classes: `"all"`: all classes count; `"present"`: of exclusive classes, those count that
            occur in the truth of a region (all that are scored, where none of them does). One class
            and independent ones always count: nothing else would see what is predicted on an empty
            mask.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.
    """

    def __init__(
        self,
        *,
        class_weights: Sequence[float] | None = None,
        include_background: bool = True,
        classes: str = "all",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.class_weights = check_weights("class_weights", class_weights)
        self.include_background = check_flag("include_background", include_background)
        self.classes = check_choice("classes", classes, ("all", "present"))

    def class_values(self, batch: Batch) -> Tensor:
        """The loss of each class, `(regions, classes)`."""
        raise NotImplementedError

    def region_values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        values = self.class_values(batch)
        weights = ops.convert_to_tensor(self.weights_of(values.shape[-1]), dtype=values.dtype)
        if self.classes == "present" and batch.prediction.softmax:
            present = ops.cast(total(batch.y, batch.mass) > 0, values.dtype)
            some = ops.sum(weights * present, axis=-1, keepdims=True) > 0
            weights = ops.where(some, weights * present, weights)
        return ops.sum(weights * values, axis=-1) / ops.sum(weights, axis=-1), batch.image_weight

    def weights_of(self, classes: int) -> tuple[float, ...]:
        """The weight of each of so many classes."""
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

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "class_weights": self.class_weights,
            "include_background": self.include_background,
            "classes": self.classes,
        }


class ClassPixelLoss(RegionLoss):
    """Base of losses with a value at each pixel and class: mean over pixels, then class mean.

    Args:
        **kwargs: see `RegionLoss` and `SegmentationLoss`.
    """

    def class_pixel_values(self, batch: Batch) -> Tensor:
        """The loss of each pixel and class, `(regions, pixels, classes)`."""
        raise NotImplementedError

    def class_values(self, batch: Batch) -> Tensor:
        return mean_over_pixels(self.class_pixel_values(batch), batch)

    def region_values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        values, image_weight = super().region_values(batch)
        # Pixel weights as in `PixelLoss`: a map of mean 2 doubles the loss.
        return values, image_weight * mean_weight(batch)


_SHARED = ("from_logits", "multilabel", "data_format", "reduction", "dtype")


@catalogued(
    family="compound",
    chapter="compound/dice_cross_entropy",
    citation="ma2021odyssey",
    formula=r"\sum_k \lambda_k L_k",
)
class CompoundLoss(SegmentationLoss):
    """A weighted sum of losses; what `DiceLoss() + 0.5 * BinaryCrossEntropyLoss()` makes.

    Formula: `Σ λ_k L_k`. Each part reduces to one value per image, weights included, before
    they are added.

    Args:
        losses: the parts. They must agree on `from_logits`, `multilabel`, `data_format`,
            `reduction` and `dtype`, which the sum takes over; `per` and `ignore_class` are each
            part's own. The default is the Dice loss and cross-entropy.
        weights: the λ_k, one for each part; all 1 by default: numbers of at least 0, or
            `keras.Variable`s, which may be assigned to during the training. (On JAX, a compiled
            step sees only variables of its model: `model.loss_weight = variable` makes it one.)
        name: name of the loss; the names of its parts by default.

    Shapes: those of the parts.
    Returns: the weighted sum.
    Raises:
        ValueError: if there is no part, if the parts disagree, or if a weight is negative.
    Example:
        >>> loss = DiceLoss(from_logits=True) + 0.5 * BinaryCrossEntropyLoss(from_logits=True)
        >>> [part.name for part in loss.losses], loss.weights
        (['dice', 'binary_cross_entropy'], (1.0, 0.5))
        >>> weight = keras.Variable(1.0, trainable=False)
        >>> loss = CompoundLoss([DiceLoss(), BoundaryLoss()], weights=[weight, 0.01])
        >>> decay = lambda epoch, logs: weight.assign(1 - 0.01 * epoch)
        >>> callback = keras.callbacks.LambdaCallback(on_epoch_begin=decay)  # for `fit`

    Source: common practice; Ma et al. 2021 ("Loss odyssey") compare such sums.
    """

    def __init__(
        self,
        losses: Sequence[SegmentationLoss] | None = None,
        weights: Sequence[float | keras.Variable] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        losses = _default_parts() if losses is None else list(losses)
        weights = [1.0] * len(losses) if weights is None else list(weights)
        _check_parts(losses, weights)
        parts, factors = [], []
        for loss, weight in zip(losses, weights):
            weight = _check_factor(weight)
            factors_of = getattr(loss, "weights", ())
            # A sum of sums is one sum: (a + b) + c and a + (b + c) are the same loss. A compound
            # that has a name of its own stays whole, and so does a sum with a weight that changes.
            changes = any(isinstance(w, keras.Variable) for w in (weight, *factors_of))
            is_sum = type(loss) is CompoundLoss and not changes
            parts += loss.losses if is_sum else [loss]
            factors += [weight * w for w in factors_of] if is_sum else [weight]
        shared = {key: getattr(parts[0], key) for key in _SHARED}
        super().__init__(name=name or "_".join(part.name for part in parts), **shared)
        self.losses, self.weights, self.truth = tuple(parts), tuple(factors), parts[0].truth

    def terms(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> list[tuple[Any, Tensor, Tensor]]:
        batches, found = {}, []
        for weight, loss in zip(self.weights, self.losses):
            way = _way_of_reading(loss)
            if way is None:
                terms = loss.terms(y_true, y_pred, sample_weight)
            else:
                if way not in batches:
                    batches[way] = loss.batch_of(y_true, y_pred, sample_weight)
                terms = loss.terms_of(batches[way])
            found += [(_current(weight) * factor, *value) for factor, *value in terms]
        return found

    def get_config(self) -> dict[str, Any]:
        losses = [keras.saving.serialize_keras_object(loss) for loss in self.losses]
        weights = [float(ops.convert_to_numpy(w)) for w in self.weights]
        return {"losses": losses, "weights": weights, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        losses = [keras.saving.deserialize_keras_object(loss) for loss in config["losses"]]
        return cls(**{**config, "losses": losses})


def _default_parts():
    """By name: what stands here knows no single loss."""
    registered = keras.saving.get_registered_object
    return [registered(f"segloss_ref>{name}")() for name in ("DiceLoss", "CrossEntropy")]


def _way_of_reading(loss):
    """What a batch depends on for this part of a sum; `None` where it is the part's own.

    Parts that read a batch in the same way share it, and what it has computed. A loss that has a
    way of its own, as one that makes a weight map, may depend on any of its settings.
    """
    own = type(loss)
    plain = (own.terms, own.batch_of) == (SegmentationLoss.terms, SegmentationLoss.batch_of)
    # The rest, such as `from_logits`, all parts have in common.
    return (loss.per, loss.ignore_class, loss.takes, loss.dimensions) if plain else None


def _check_factor(weight):
    """A weight of a sum: a number, or a variable with one."""
    if isinstance(weight, keras.Variable):
        if tuple(weight.shape) != ():
            raise ValueError(
                "A variable in `weights` must hold one number, of shape (). Received: shape "
                f"{tuple(weight.shape)}"
            )
        return weight
    return check_number("weights", weight, at_least=0)


def _current(weight):
    """The value of a weight now."""
    if not isinstance(weight, keras.Variable):
        return weight
    value = ops.convert_to_tensor(weight)
    # JAX bakes what it compiles a step with into the step, but for the variables of the model.
    on_jax = keras.backend.backend() == "jax"
    if on_jax and visible(value) is not None and visible(value * 1) is None:
        raise ValueError(
            f"The weight {weight.path!r} would stay what it is now: on JAX, a compiled step sees "
            "only the variables of its model. Make it one before `fit`: "
            "`model.loss_weight = variable`."
        )
    return value


def _check_parts(losses, weights):
    wrong = [loss for loss in losses if not isinstance(loss, SegmentationLoss)]
    if not losses or wrong:
        raise ValueError(
            "A compound needs at least one loss, all of them losses of this package: those of "
            f"Keras have no value per image to add. Received: {losses}"
        )
    if len(weights) != len(losses):
        raise ValueError(
            f"`weights` must have one number per loss. Received: {len(weights)} for {len(losses)}"
        )
    for key in (*_SHARED, "truth"):
        values = [getattr(loss, key) for loss in losses]
        if len(set(values)) > 1:
            raise ValueError(f"All parts must have the same `{key}`. Received: {values}")
