"""Losses that are sums of losses."""

import keras
from keras import ops

from segloss_ref.losses.base import SegmentationLoss
from segloss_ref.losses.distribution import FocalLoss, TopKCrossEntropyLoss, TrueClassLoss
from segloss_ref.losses.region import DiceLoss
from segloss_ref.checks import check_number

_SHARED = ("from_logits", "multilabel", "reduction", "dtype")


@keras.saving.register_keras_serializable(package="segloss_ref")
class CompoundLoss(SegmentationLoss):
    """A weighted sum of losses; what `DiceLoss() + 0.5 * BinaryCrossEntropyLoss()` makes.

    Formula: `Σ λ_k L_k`. Each part reduces to one value per image, weights included, before
    they are added.

    Args:
        losses: the parts. They must agree on `from_logits`, `multilabel`, `reduction` and `dtype`,
            which the sum takes over; `per` and `ignore_class` are each part's own. The default is
            the Dice loss and cross-entropy.
        weights: the λ_k, one number of at least 0 per part; all 1 by default.
        name: name of the loss; the names of its parts by default.

    Shapes: those of the parts.
    Returns: the weighted sum.
    Raises:
        ValueError: if there is no part, if the parts disagree, or if a weight is negative.
    Example:
        >>> loss = DiceLoss(from_logits=True) + 0.5 * BinaryCrossEntropyLoss(from_logits=True)
        >>> [part.name for part in loss.losses], loss.weights
        (['dice', 'binary_cross_entropy'], (1.0, 0.5))

    Source: common practice; Ma et al. 2021 ("Loss odyssey") compare such sums.
    """

    def __init__(self, losses=None, weights=None, *, name=None):
        losses = [DiceLoss(), CrossEntropy()] if losses is None else list(losses)
        weights = [1.0] * len(losses) if weights is None else list(weights)
        _check_parts(losses, weights)
        parts, factors = [], []
        for loss, weight in zip(losses, weights):
            # A sum of sums is one sum: (a + b) + c and a + (b + c) are the same loss. A compound
            # that has a name of its own stays whole.
            is_sum = type(loss) is CompoundLoss
            parts += loss.losses if is_sum else [loss]
            weight = check_number("weights", weight, at_least=0)
            factors += [weight * w for w in loss.weights] if is_sum else [weight]
        shared = {key: getattr(parts[0], key) for key in _SHARED}
        super().__init__(name=name or "_".join(part.name for part in parts), **shared)
        self.losses, self.weights, self.truth = parts, tuple(factors), parts[0].truth

    def terms(self, y_true, y_pred, sample_weight=None):
        return [
            (weight * factor, *value)
            for weight, loss in zip(self.weights, self.losses)
            for factor, *value in loss.terms(y_true, y_pred, sample_weight)
        ]

    def get_config(self):
        losses = [keras.saving.serialize_keras_object(loss) for loss in self.losses]
        return {"losses": losses, "weights": list(self.weights), "name": self.name}

    @classmethod
    def from_config(cls, config):
        losses = [keras.saving.deserialize_keras_object(loss) for loss in config["losses"]]
        return cls(**{**config, "losses": losses})


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


@keras.saving.register_keras_serializable(package="segloss_ref")
class CrossEntropy(TrueClassLoss):
    """Cross-entropy as the classes are: categorical for exclusive classes, else binary.

    What compounds are made of, so that one of them fits all kinds of classes. On its own, say
    which one you mean: `BinaryCrossEntropyLoss`, `CategoricalCrossEntropyLoss`.

    Args:
        **kwargs: the arguments of every loss, see `SegmentationLoss`.
    """

    def __init__(self, *, name="cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)


class NamedCompound(CompoundLoss):
    """Base of the compounds with a name of their own: made from settings, not from parts.

    All parts have the same arguments of every loss, and the configuration holds numbers.

    Args:
        losses: the parts.
        weights: their weights, checked by the caller, who knows what they are called.
        name: name of the loss.
    """

    def __init__(self, losses, weights, *, name):
        super().__init__(losses, weights, name=name)
        self.per, self.ignore_class = losses[0].per, losses[0].ignore_class

    def get_config(self):
        return SegmentationLoss.get_config(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class DicePlus(NamedCompound):
    """Base of the sums of the Dice loss and a loss over pixels.

    Args:
        loss: the loss over pixels.
        weight: its weight.
        dice_weight, smooth, include_background: weight and settings of the Dice loss.
        name: name of the loss.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.
    """

    def __init__(self, loss, weight, dice_weight, smooth, include_background, *, name, **kwargs):
        self.dice_weight = check_number("dice_weight", dice_weight, at_least=0)
        dice = DiceLoss(smooth, include_background=include_background, **kwargs)
        super().__init__([dice, loss], [self.dice_weight, weight], name=name)
        self.smooth, self.include_background = dice.smooth, dice.include_background

    def get_config(self):
        return {
            **super().get_config(),
            "dice_weight": self.dice_weight,
            "smooth": self.smooth,
            "include_background": self.include_background,
        }


@keras.saving.register_keras_serializable(package="segloss_ref")
class DiceCrossEntropyLoss(DicePlus):
    """Dice loss plus cross-entropy: the region as a whole, and every pixel.

    Formula: `λ_D L_Dice + λ_CE L_CE`; cross-entropy is binary for one class or independent ones,
    categorical for exclusive ones.

    Args:
        dice_weight: λ_D, at least 0.
        cross_entropy_weight: λ_CE, at least 0.
        smooth: s > 0 of the Dice loss, in pixels.
        include_background: whether class 0 counts in the Dice loss, where there are several
            classes. In cross-entropy it always does.
        **kwargs: the arguments of every loss, see `SegmentationLoss`. Other settings of the parts
            are for `DiceLoss(...) + CategoricalCrossEntropyLoss(...)`.

    Shapes: as for every loss.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if a weight is negative, or `smooth` is not above 0.
    Example:
        >>> y = np.array([1.0, 0]).reshape(1, 1, 2, 1)
        >>> p = np.full((1, 1, 2, 1), 0.5)
        >>> round(float(DiceCrossEntropyLoss()(y, p)), 4)  # 1 - (1 + 1) / (2 + 1) + log 2
        1.0265

    Source: the default of nnU-Net (Isensee et al. 2021); Ma et al. 2021 ("Loss odyssey").
        MONAI's `DiceCELoss` once took the softmax of a single channel in its cross-entropy, which
        is 0 whatever is predicted (its issue 6923). In 1.6 one channel is binary, as here, but
        independent channels still share a softmax.
    """

    def __init__(
        self,
        dice_weight=1.0,
        cross_entropy_weight=1.0,
        smooth=1.0,
        include_background=True,
        *,
        name="dice_cross_entropy",
        **kwargs,
    ):
        weight = check_number("cross_entropy_weight", cross_entropy_weight, at_least=0)
        loss = CrossEntropy(**kwargs)
        super().__init__(loss, weight, dice_weight, smooth, include_background, name=name, **kwargs)
        self.cross_entropy_weight = weight

    def get_config(self):
        return {**super().get_config(), "cross_entropy_weight": self.cross_entropy_weight}


@keras.saving.register_keras_serializable(package="segloss_ref")
class DiceFocalLoss(DicePlus):
    """Dice loss plus focal loss.

    Formula: `λ_D L_Dice + λ_F L_focal`.

    Args:
        dice_weight: λ_D, at least 0.
        focal_weight: λ_F, at least 0.
        alpha, gamma: of the focal loss, see `FocalLoss`.
        smooth: s > 0 of the Dice loss, in pixels.
        include_background: whether class 0 counts in the Dice loss, where there are several
            classes. In the focal loss it always does.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if a weight is negative, and as `DiceLoss` and `FocalLoss`.
    Example:
        >>> y, p = np.ones((1, 1, 2, 1)), np.full((1, 1, 2, 1), 0.5)
        >>> value = DiceFocalLoss()(y, p)  # 1 - (2 + 1) / (3 + 1) + 1/4 · 1/2² · log 2
        >>> round(float(value), 4)
        0.2933

    Source: Ma et al. 2021 ("Loss odyssey").
    """

    def __init__(
        self,
        dice_weight=1.0,
        focal_weight=1.0,
        alpha=0.25,
        gamma=2.0,
        smooth=1.0,
        include_background=True,
        *,
        name="dice_focal",
        **kwargs,
    ):
        weight = check_number("focal_weight", focal_weight, at_least=0)
        loss = FocalLoss(alpha, gamma, **kwargs)
        super().__init__(loss, weight, dice_weight, smooth, include_background, name=name, **kwargs)
        self.focal_weight, self.alpha, self.gamma = weight, loss.alpha, loss.gamma

    def get_config(self):
        return {
            **super().get_config(),
            "focal_weight": self.focal_weight,
            "alpha": self.alpha,
            "gamma": self.gamma,
        }


@keras.saving.register_keras_serializable(package="segloss_ref")
class DiceTopKLoss(DicePlus):
    """Dice loss plus the cross-entropy of the hardest pixels.

    Formula: `λ_D L_Dice + λ_CE L_TopK`.

    Args:
        k: the share of pixels in the cross-entropy, see `TopKCrossEntropyLoss`.
        dice_weight: λ_D, at least 0.
        cross_entropy_weight: λ_CE, at least 0.
        smooth: s > 0 of the Dice loss, in pixels.
        include_background: whether class 0 counts in the Dice loss, where there are several
            classes.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if a weight is negative, and as `DiceLoss` and `TopKCrossEntropyLoss`.
    Example:
        >>> y, p = np.ones((1, 1, 2, 1)), np.array([0.5, 1.0]).reshape(1, 1, 2, 1)
        >>> value = DiceTopKLoss(k=0.5)(y, p)  # 1 - (3 + 1) / (3.5 + 1) + log 2
        >>> round(float(value), 4)
        0.8043

    Source: Ma et al. 2021 ("Loss odyssey"); in their table it has the best Dice on liver tumours.
    """

    def __init__(
        self,
        k=0.1,
        dice_weight=1.0,
        cross_entropy_weight=1.0,
        smooth=1.0,
        include_background=True,
        *,
        name="dice_top_k",
        **kwargs,
    ):
        weight = check_number("cross_entropy_weight", cross_entropy_weight, at_least=0)
        loss = TopKCrossEntropyLoss(k, **kwargs)
        super().__init__(loss, weight, dice_weight, smooth, include_background, name=name, **kwargs)
        self.cross_entropy_weight, self.k = weight, loss.k

    def get_config(self):
        return {
            **super().get_config(),
            "cross_entropy_weight": self.cross_entropy_weight,
            "k": self.k,
        }


class TwoSidedCrossEntropy(TrueClassLoss):
    """Cross-entropy of every class against its rest, exclusive or not: what `ComboLoss` has.

    Formula: `-β y log p - (1 - β)(1 - y) log(1 - p)`, mean over pixels and classes.

    Args:
        beta: β between 0 and 1.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.
    """

    def __init__(self, beta=0.5, **kwargs):
        super().__init__(**kwargs)
        self.beta = check_number("beta", beta, at_least=0, at_most=1)

    def pixel_values(self, batch):
        missed = -self.beta * batch.y * batch.prediction.log_p
        made_up = -(1 - self.beta) * (1 - batch.y) * batch.prediction.log_not_p
        return ops.mean(missed + made_up, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable(package="segloss_ref")
class ComboLoss(NamedCompound):
    """Combo loss: a cross-entropy that weighs the two errors, and the Dice loss.

    Formula: `α L_β + (1 - α) L_Dice` with
    `L_β = -β y log p - (1 - β)(1 - y) log(1 - p)`, mean over pixels and classes.

    Args:
        alpha: α between 0 and 1, the weight of the cross-entropy.
        beta: β between 0 and 1. Above 1/2 a missed pixel costs more than a false one.
        smooth: s > 0 of the Dice loss, in pixels.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss. Exclusive classes, too, are each taken against their rest.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if `alpha` or `beta` lies outside [0, 1], or `smooth` is not above 0.
    Example:
        >>> y, p = np.ones((1, 1, 2, 1)), np.full((1, 1, 2, 1), 0.5)
        >>> round(float(ComboLoss()(y, p)), 4)  # log(2) / 4 + (1 - (2 + 1) / (3 + 1)) / 2
        0.2983

    Source: Taghanaki et al. 2018 (arXiv:1805.02798), who subtract `(1 - α) Dice` instead of adding
        `(1 - α)(1 - Dice)`: the gradient is the same, and here the loss is not negative. Their
        Dice is summed over classes, ours is the mean.
    """

    def __init__(self, alpha=0.5, beta=0.5, smooth=1.0, *, name="combo", **kwargs):
        alpha = check_number("alpha", alpha, at_least=0, at_most=1)
        cross_entropy, dice = TwoSidedCrossEntropy(beta, **kwargs), DiceLoss(smooth, **kwargs)
        super().__init__([cross_entropy, dice], [alpha, 1 - alpha], name=name)
        self.alpha, self.beta, self.smooth = alpha, cross_entropy.beta, dice.smooth

    def get_config(self):
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "smooth": self.smooth,
        }
