"""Sums of two losses that are powers: one over pixels and one over regions, both new."""

import keras
from keras import ops

from segloss_ref.losses.compound import NamedCompound
from segloss_ref.losses.distribution import TrueClassLoss, background_share, focal
from segloss_ref.losses.region import SmoothedLoss, power, soft_counts, tversky
from segloss_ref.checks import check_flag, check_number


def minus_log_dice(y, p, weight, smooth):
    """`-log (2 Σ y p + s) / (Σ y + Σ p + s)`, `(regions, classes)`.

    Written as log(1 + (FP + FN) / (2 TP + s)), which neither cancels near 0 nor overflows.
    """
    tp, fp, fn = soft_counts(y, p, weight)
    return ops.log1p((fp + fn) / (2 * tp + smooth))


class ExponentialLogarithmicDice(SmoothedLoss):
    """`(-log Dice)^γ` of each class; the first half of `ExponentialLogarithmicLoss`.

    Args:
        gamma: γ > 0.
        smooth: s > 0, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`.
    """

    def __init__(self, gamma=0.3, smooth=1.0, **kwargs):
        super().__init__(smooth, **kwargs)
        self.gamma = check_number("gamma_dice", gamma, above=0)

    def class_values(self, batch):
        value = minus_log_dice(batch.y, batch.prediction.p, batch.weight, self.smooth)
        return power(value, self.gamma)


class ExponentialLogarithmicCrossEntropy(TrueClassLoss):
    """`w_l (-log p_l)^γ` of each pixel; the second half of `ExponentialLogarithmicLoss`.

    Args:
        gamma: γ > 0.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.
    """

    def __init__(self, gamma=0.3, **kwargs):
        super().__init__(**kwargs)
        self.gamma = check_number("gamma_cross_entropy", gamma, above=0)

    def cost(self, log_p, log_not_p):
        return power(-log_p, self.gamma)

    def class_factors(self, batch):
        # Nobody pays the weight of a class without pixels; it only has to be a number.
        background = background_share(batch.y, batch.weight)
        foreground = background_share(1 - batch.y, batch.weight)
        return tuple(ops.sqrt(ops.divide_no_nan(1.0, f)) for f in (foreground, background))


@keras.saving.register_keras_serializable(package="segloss_ref")
class ExponentialLogarithmicLoss(NamedCompound):
    """Exponential logarithmic loss: powers of -log of the Dice coefficient and of probabilities.

    Formula: `λ_D E[(-log Dice_c)^γ_D] + λ_CE E[w_l (-log p_l)^γ_CE]`: the first mean is over
    classes c, with `Dice = (2 Σ y p + s) / (Σ y + Σ p + s)`, the second over pixels, of which l is
    the true class. `w_l = (Σ_k f_k / f_l)^½`, f the number of pixels of a class in the region.

    Args:
        dice_weight: λ_D, at least 0.
        cross_entropy_weight: λ_CE, at least 0.
        gamma_dice: γ_D > 0. Below 1, good regions still have a large slope (at Dice = 1 an
            infinite one, which counts as 0: a perfect region has nothing to learn).
        gamma_cross_entropy: γ_CE > 0, the same for pixels.
        smooth: s > 0, in pixels.
        **kwargs: the arguments of every loss, see `SegmentationLoss`. With `per="batch"` the f are
            counted in the batch.

    Shapes: as for every loss. With one class or independent ones, a class and its rest are the two
        labels of the w_l.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if a weight is negative, or another number is not above 0.
    Example:
        >>> y = np.array([1.0, 0]).reshape(1, 1, 2, 1)
        >>> loss = ExponentialLogarithmicLoss(gamma_dice=1.0, gamma_cross_entropy=1.0)
        >>> value = loss(y, np.full(y.shape, 0.5))  # 0.8 log(3 / 2) + 0.2 · √2 · log 2
        >>> round(float(value), 4)
        0.5204

    Source: Wong et al. 2018 (arXiv:1809.00076), with these defaults and s = 1. Their frequencies
        are those of a training set; here they are counted in what is scored. Code in circulation
        keeps the slope finite by p -> 0.01 + 0.98 p, which moves every value.
    """

    def __init__(
        self,
        dice_weight=0.8,
        cross_entropy_weight=0.2,
        gamma_dice=0.3,
        gamma_cross_entropy=0.3,
        smooth=1.0,
        *,
        name="exponential_logarithmic",
        **kwargs,
    ):
        dice = ExponentialLogarithmicDice(gamma_dice, smooth, **kwargs)
        cross_entropy = ExponentialLogarithmicCrossEntropy(gamma_cross_entropy, **kwargs)
        weights = [
            check_number("dice_weight", dice_weight, at_least=0),
            check_number("cross_entropy_weight", cross_entropy_weight, at_least=0),
        ]
        super().__init__([dice, cross_entropy], weights, name=name)
        self.dice_weight, self.cross_entropy_weight = weights
        self.gamma_dice, self.gamma_cross_entropy = dice.gamma, cross_entropy.gamma
        self.smooth = dice.smooth

    def get_config(self):
        return {
            **super().get_config(),
            "dice_weight": self.dice_weight,
            "cross_entropy_weight": self.cross_entropy_weight,
            "gamma_dice": self.gamma_dice,
            "gamma_cross_entropy": self.gamma_cross_entropy,
            "smooth": self.smooth,
        }


def foreground_or_background(foreground, background, y):
    """A number for each of several exclusive classes, of which class 0 is the background."""
    rest = [foreground] * (y.shape[-1] - 1)
    return ops.convert_to_tensor([background, *rest], dtype=y.dtype)


@keras.saving.register_keras_serializable(package="segloss_ref")
class ModifiedFocalLoss(TrueClassLoss):
    """Modified focal loss: the half of the unified focal loss that looks at pixels.

    Formula: `-δ_t (1 - p_t)^(1 - γ) log p_t`, mean over pixels, p_t the probability of the true
    class, δ_t = δ on foreground and 1 - δ on background. If not `symmetric`, foreground has
    `-δ log p_t` and background `-(1 - δ)(1 - p_t)^γ log p_t`.

    Args:
        delta: δ between 0 and 1. Above 1/2 foreground counts more.
        gamma: γ between 0 and 1. Symmetric, easy pixels count the less the smaller it is; 1 is
            cross-entropy, times δ_t. Asymmetric, easy *background* counts the less the larger it
            is; 0 is cross-entropy, times δ_t. At 1/2 the two have the same power.
        symmetric: whether foreground is treated as background is.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss. Background is class 0 of several exclusive classes, else what is
        not of the class.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if `delta` or `gamma` lies outside [0, 1].
    Example:
        >>> y, p = np.ones((1, 2, 2, 1)), np.full((1, 2, 2, 1), 0.75)
        >>> round(float(ModifiedFocalLoss()(y, p)), 4)  # 0.6 · 1/2 · log(4 / 3)
        0.0863

    Source: Yeung et al. 2021 (arXiv:2102.04525), the modified focal loss and its asymmetric
        variant. In the authors' code, the power of the symmetric one is γ instead of 1 - γ.
    """

    def __init__(self, delta=0.6, gamma=0.5, symmetric=True, *, name="modified_focal", **kwargs):
        super().__init__(name=name, **kwargs)
        self.delta = check_number("delta", delta, at_least=0, at_most=1)
        self.gamma = check_number("gamma", gamma, at_least=0, at_most=1)
        self.symmetric = check_flag("symmetric", symmetric)

    def pixel_values(self, batch):
        y, log_p, log_not_p = batch.y, batch.prediction.log_p, batch.prediction.log_not_p
        on_background = 1 - self.gamma if self.symmetric else self.gamma
        on_foreground = 1 - self.gamma if self.symmetric else 0.0
        if batch.prediction.softmax:
            powers = foreground_or_background(on_foreground, on_background, y)
            delta = foreground_or_background(self.delta, 1 - self.delta, y)
            return ops.sum(delta * y * focal(log_p, log_not_p, powers), axis=-1, keepdims=True)
        foreground = self.delta * y * focal(log_p, log_not_p, on_foreground)
        background = (1 - self.delta) * (1 - y) * focal(log_not_p, log_p, on_background)
        return ops.mean(foreground + background, axis=-1, keepdims=True)

    def get_config(self):
        return {
            **super().get_config(),
            "delta": self.delta,
            "gamma": self.gamma,
            "symmetric": self.symmetric,
        }


@keras.saving.register_keras_serializable(package="segloss_ref")
class ModifiedFocalTverskyLoss(SmoothedLoss):
    """Modified focal Tversky loss: the half of the unified focal loss that looks at regions.

    Formula: `(1 - TI)^γ`, mean over the classes, background included, with
    `TI = (TP + s) / (TP + δ FN + (1 - δ) FP + s)`. If not `symmetric`, background has `1 - TI` and
    foreground `(1 - TI)^(1 - γ)`.

    Args:
        delta: δ between 0 and 1. Above 1/2 a missed pixel of a class costs more than a false one.
        gamma: γ, above 0 and at most 1; at least 0 and below 1 if not symmetric. Powers below 1
            keep the slope of good regions large (at TI = 1 infinite; that counts as 0).
            Symmetric, 1 is the Tversky loss; asymmetric, 0 is.
        symmetric: whether foreground is treated as background is.
        smooth: s > 0, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss. Background is class 0 of several exclusive classes. With one class or
        independent ones it is what is not of the class, and a class has the mean of both.
    Returns: one value per image, between 0 and 1.
    Raises:
        ValueError: if `delta` or `gamma` is out of its range, or `smooth` is not above 0.
    Example:
        >>> y = np.array([1.0, 0, 0, 0]).reshape(1, 2, 2, 1)
        >>> loss = ModifiedFocalTverskyLoss(delta=0.5, gamma=1.0)
        >>> value = loss(y, 0 * y)  # (1 - 1 / 1.5) / 2 + (1 - 4 / 4.5) / 2
        >>> round(float(value), 4)
        0.2222

    Source: Yeung et al. 2021 (arXiv:2102.04525), the modified focal Tversky loss and its
        asymmetric variant, where classes are summed; the authors' code takes the mean. There, the
        power of the symmetric one is 1 - γ instead of γ. Like that code, and for the same
        leaning as in `ModifiedFocalLoss`, δ weighs false negatives here.
    """

    def __init__(
        self,
        delta=0.6,
        gamma=0.5,
        symmetric=True,
        smooth=1.0,
        *,
        name="modified_focal_tversky",
        **kwargs,
    ):
        super().__init__(smooth, name=name, **kwargs)
        self.symmetric = check_flag("symmetric", symmetric)
        self.delta = check_number("delta", delta, at_least=0, at_most=1)
        bounds = {"above": 0, "at_most": 1} if symmetric else {"at_least": 0, "below": 1}
        self.gamma = check_number("gamma", gamma, **bounds)

    def class_values(self, batch):
        y, p = batch.y, batch.prediction.p
        on_background = self.gamma if self.symmetric else 1.0
        on_foreground = self.gamma if self.symmetric else 1 - self.gamma
        if batch.prediction.softmax:
            powers = foreground_or_background(on_foreground, on_background, y)
            return power(self._tversky(y, p, batch.weight), powers)
        foreground = power(self._tversky(y, p, batch.weight), on_foreground)
        background = power(self._tversky(1 - y, 1 - p, batch.weight), on_background)
        return (foreground + background) / 2

    def _tversky(self, y, p, weight):
        return tversky(y, p, weight, 1 - self.delta, self.delta, self.smooth)

    def get_config(self):
        return {
            **super().get_config(),
            "delta": self.delta,
            "gamma": self.gamma,
            "symmetric": self.symmetric,
        }


@keras.saving.register_keras_serializable(package="segloss_ref")
class UnifiedFocalLoss(NamedCompound):
    """Unified focal loss: a focal loss over pixels and one over regions, with common settings.

    Formula: `λ L_mF + (1 - λ) L_mFT`, the modified focal loss and the modified focal Tversky loss,
    both symmetric or both asymmetric: see `ModifiedFocalLoss` and `ModifiedFocalTverskyLoss`.

    Args:
        symmetric: whether foreground is treated as background is. If not, easy background is
            suppressed over pixels, and foreground enhanced over regions.
        weight: λ between 0 and 1.
        delta: δ between 0 and 1. Above 1/2 foreground, and what is missed of it, costs more.
        gamma: γ, above 0 and at most 1; at least 0 and below 1 if not symmetric.
        smooth: s > 0 of the Tversky index, in pixels.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if a setting is out of its range.
    Example:
        >>> y = np.array([1.0, 0, 0, 0]).reshape(1, 2, 2, 1)
        >>> loss = UnifiedFocalLoss(delta=0.5, gamma=1.0)
        >>> value = loss(y, np.full(y.shape, 0.5))  # log(2) / 4 + (2/5 + 2/7) / 4
        >>> round(float(value), 4)
        0.3447

    Source: Yeung et al. 2021 (arXiv:2102.04525). In the authors' code λ weighs the other half,
        and the symmetric variant has 1 - γ for γ; with the defaults here (λ = γ = 1/2) that makes
        no difference.
    """

    def __init__(
        self,
        symmetric=True,
        weight=0.5,
        delta=0.6,
        gamma=0.5,
        smooth=1.0,
        *,
        name="unified_focal",
        **kwargs,
    ):
        weight = check_number("weight", weight, at_least=0, at_most=1)
        pixels = ModifiedFocalLoss(delta, gamma, symmetric, **kwargs)
        regions = ModifiedFocalTverskyLoss(delta, gamma, symmetric, smooth, **kwargs)
        super().__init__([pixels, regions], [weight, 1 - weight], name=name)
        self.symmetric, self.weight, self.delta = symmetric, weight, pixels.delta
        self.gamma, self.smooth = pixels.gamma, regions.smooth

    def get_config(self):
        return {
            **super().get_config(),
            "symmetric": self.symmetric,
            "weight": self.weight,
            "delta": self.delta,
            "gamma": self.gamma,
            "smooth": self.smooth,
        }
