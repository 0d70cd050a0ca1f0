"""Losses that are sums of losses, with names of their own."""

from collections.abc import Sequence
from typing import Any, Self

from keras import ops

from segloss_ref.catalogue import catalogued, known_to_keras
from segloss_ref.checks import Tensor, check_flag, check_number
from segloss_ref.losses.arithmetic import mean, power, ratio
from segloss_ref.losses.base import CompoundLoss, RegionLoss, SegmentationLoss
from segloss_ref.losses.distribution import (
    FocalLoss,
    TopKCrossEntropyLoss,
    TrueClassLoss,
    background_share,
    focal,
)
from segloss_ref.losses.inputs import Batch
from segloss_ref.losses.region import DiceLoss, SmoothedLoss, soft_counts, tversky


@known_to_keras
class CrossEntropy(TrueClassLoss):
    """Cross-entropy as the classes are: categorical for exclusive classes, else binary.

    What compounds are made of, so that one of them fits all kinds of classes. On its own, say
    which one you mean: `BinaryCrossEntropyLoss`, `CategoricalCrossEntropyLoss`.

    Args:
        **kwargs: the arguments of every loss, see `SegmentationLoss`.
    """

    def __init__(self, *, name: str | None = "cross_entropy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)


class NamedCompound(CompoundLoss):
    """Base of the compounds with a name of their own: made from settings, not from parts.

    One part compares regions, and has the settings of every such loss; of these, the part over
    pixels has the class weights. All parts have the arguments of every loss.

    Args:
        losses: the parts.
        weights: their weights, checked by the caller, who knows what they are called.
        name: name of the loss.
    """

    kwargs_go_to = RegionLoss

    def __init__(
        self, losses: Sequence[SegmentationLoss], weights: Sequence[float], *, name: str | None
    ) -> None:
        super().__init__(losses, weights, name=name)
        (regions,) = (loss for loss in losses if isinstance(loss, RegionLoss))
        self.per, self.ignore_class = regions.per, regions.ignore_class
        self.class_weights, self.classes = regions.class_weights, regions.classes
        self.include_background = regions.include_background

    def get_config(self) -> dict[str, Any]:
        return {
            **SegmentationLoss.get_config(self),
            "class_weights": self.class_weights,
            "include_background": self.include_background,
            "classes": self.classes,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


def of_pixels(settings: dict[str, Any]) -> dict[str, Any]:
    """Of the settings of a loss over regions, those that one over pixels has, too."""
    return {k: v for k, v in settings.items() if k not in ("include_background", "classes")}


class DicePlus(NamedCompound):
    """Base of the sums of the Dice loss and a loss over pixels.

    Args:
        loss: the loss over pixels.
        weight: its weight.
        dice_weight, smooth: weight and smoothing of the Dice loss.
        name: name of the loss.
        **kwargs: see `RegionLoss` and `SegmentationLoss`.
    """

    def __init__(
        self,
        loss: SegmentationLoss,
        weight: float,
        dice_weight: float,
        smooth: float,
        *,
        name: str | None,
        **kwargs: Any,
    ) -> None:
        self.dice_weight = check_number("dice_weight", dice_weight, at_least=0)
        dice = DiceLoss(smooth, **kwargs)
        super().__init__([dice, loss], [self.dice_weight, weight], name=name)
        self.smooth = dice.smooth

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dice_weight": self.dice_weight, "smooth": self.smooth}


@catalogued(
    family="compound",
    chapter="compound/dice_cross_entropy",
    citation="isensee2021nnunet",
    formula=r"\lambda_D D + \lambda_{CE}\, \mathrm{CE}",
)
class DiceCrossEntropyLoss(DicePlus):
    """Dice loss plus cross-entropy: the region as a whole, and every pixel.

    Formula: `λ_D L_Dice + λ_CE L_CE`; cross-entropy is binary for one class or independent ones,
    categorical for exclusive ones.

    Args:
        dice_weight: λ_D, at least 0.
        cross_entropy_weight: λ_CE, at least 0.
        smooth: s > 0 of the Dice loss, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`. Class weights act in both parts,
            `include_background` and `classes` in the Dice loss. Other settings of the parts are
            for `DiceLoss(...) + CategoricalCrossEntropyLoss(...)`.

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
        dice_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
        smooth: float = 1.0,
        *,
        name: str | None = "dice_cross_entropy",
        **kwargs: Any,
    ) -> None:
        weight = check_number("cross_entropy_weight", cross_entropy_weight, at_least=0)
        loss = CrossEntropy(**of_pixels(kwargs))
        super().__init__(loss, weight, dice_weight, smooth, name=name, **kwargs)
        self.cross_entropy_weight = weight

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cross_entropy_weight": self.cross_entropy_weight}


@catalogued(
    family="compound",
    chapter="compound/dice_cross_entropy",
    citation="zhu2019anatomynet",
    formula=r"\lambda_D D + \lambda_F L_{\mathrm{focal}}",
)
class DiceFocalLoss(DicePlus):
    """Dice loss plus focal loss.

    Formula: `λ_D L_Dice + λ_F L_focal`.

    Args:
        dice_weight: λ_D, at least 0.
        focal_weight: λ_F, at least 0.
        alpha, gamma: of the focal loss, see `FocalLoss`.
        smooth: s > 0 of the Dice loss, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`. Class weights act in both parts,
            `include_background` and `classes` in the Dice loss.

    Shapes: as for every loss.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if a weight is negative, and as `DiceLoss` and `FocalLoss`.
    Example:
        >>> y, p = np.ones((1, 1, 2, 1)), np.full((1, 1, 2, 1), 0.5)
        >>> value = DiceFocalLoss()(y, p)  # 1 - (2 + 1) / (3 + 1) + 1/4 · 1/2² · log 2
        >>> round(float(value), 4)
        0.2933

    Source: Zhu et al. 2019 (arXiv:1808.05238); Ma et al. 2021 ("Loss odyssey").
    """

    def __init__(
        self,
        dice_weight: float = 1.0,
        focal_weight: float = 1.0,
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        smooth: float = 1.0,
        *,
        name: str | None = "dice_focal",
        **kwargs: Any,
    ) -> None:
        weight = check_number("focal_weight", focal_weight, at_least=0)
        loss = FocalLoss(alpha, gamma, **of_pixels(kwargs))
        super().__init__(loss, weight, dice_weight, smooth, name=name, **kwargs)
        self.focal_weight, self.alpha, self.gamma = weight, loss.alpha, loss.gamma

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "focal_weight": self.focal_weight,
            "alpha": self.alpha,
            "gamma": self.gamma,
        }


@catalogued(
    family="compound",
    chapter="compound/dice_cross_entropy",
    citation="ma2021odyssey",
    formula=r"\lambda_D D + \lambda_{CE} L_{\mathrm{TopK}}",
)
class DiceTopKLoss(DicePlus):
    """Dice loss plus the cross-entropy of the hardest pixels.

    Formula: `λ_D L_Dice + λ_CE L_TopK`.

    Args:
        k: the share of pixels in the cross-entropy, see `TopKCrossEntropyLoss`.
        dice_weight: λ_D, at least 0.
        cross_entropy_weight: λ_CE, at least 0.
        smooth: s > 0 of the Dice loss, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`. Class weights act in both parts,
            `include_background` and `classes` in the Dice loss.

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
        k: float = 0.1,
        dice_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
        smooth: float = 1.0,
        *,
        name: str | None = "dice_top_k",
        **kwargs: Any,
    ) -> None:
        weight = check_number("cross_entropy_weight", cross_entropy_weight, at_least=0)
        loss = TopKCrossEntropyLoss(k, **of_pixels(kwargs))
        super().__init__(loss, weight, dice_weight, smooth, name=name, **kwargs)
        self.cross_entropy_weight, self.k = weight, loss.k

    def get_config(self) -> dict[str, Any]:
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

    def __init__(self, beta: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beta = check_number("beta", beta, at_least=0, at_most=1)

    def pixel_values(self, batch: Batch) -> Tensor:
        missed, made_up = self.beta * batch.y, (1 - self.beta) * (1 - batch.y)
        values = batch.prediction.cross_entropy(missed, made_up)
        weights = self.factors_of_classes(batch)
        return mean(values if weights is None else weights * values, keepdims=True)


@catalogued(
    family="compound",
    chapter="compound/combo",
    citation="taghanaki2018combo",
    formula=(
        r"-\alpha \left(\beta y \log p + (1 - \beta)(1 - y) \log(1 - p)\right) + (1 - "
        r"\alpha) D"
    ),
)
class ComboLoss(NamedCompound):
    """Combo loss: a cross-entropy that weighs the two errors, and the Dice loss.

    Formula: `α L_β + (1 - α) L_Dice` with
    `L_β = -β y log p - (1 - β)(1 - y) log(1 - p)`, mean over pixels and classes.

    Args:
        cross_entropy_weight: α between 0 and 1; the Dice loss has the rest.
        beta: β between 0 and 1. Above 1/2 a missed pixel costs more than a false one.
        smooth: s > 0 of the Dice loss, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`. Class weights act in both parts,
            `include_background` and `classes` in the Dice loss.

    Shapes: as for every loss. Exclusive classes, too, are each taken against their rest.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if `cross_entropy_weight` or `beta` lies outside [0, 1], or `smooth` is not
            above 0.
    Example:
        >>> y, p = np.ones((1, 1, 2, 1)), np.full((1, 1, 2, 1), 0.5)
        >>> round(float(ComboLoss()(y, p)), 4)  # log(2) / 4 + (1 - (2 + 1) / (3 + 1)) / 2
        0.2983

    Source: Taghanaki et al. 2018 (arXiv:1805.02798), who subtract `(1 - α) Dice` instead of adding
        `(1 - α)(1 - Dice)`: the gradient is the same, and here the loss is not negative. Their
        Dice is summed over classes, ours is the mean.
    """

    def __init__(
        self,
        cross_entropy_weight: float = 0.5,
        beta: float = 0.5,
        smooth: float = 1.0,
        *,
        name: str | None = "combo",
        **kwargs: Any,
    ) -> None:
        weight = check_number("cross_entropy_weight", cross_entropy_weight, at_least=0, at_most=1)
        pixels, dice = TwoSidedCrossEntropy(beta, **of_pixels(kwargs)), DiceLoss(smooth, **kwargs)
        super().__init__([pixels, dice], [weight, 1 - weight], name=name)
        self.cross_entropy_weight, self.beta, self.smooth = weight, pixels.beta, dice.smooth

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "cross_entropy_weight": self.cross_entropy_weight,
            "beta": self.beta,
            "smooth": self.smooth,
        }


def minus_log_dice(y: Tensor, p: Tensor, weight: Tensor | None, smooth: float) -> Tensor:
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

    def __init__(self, gamma: float = 0.3, smooth: float = 1.0, **kwargs: Any) -> None:
        super().__init__(smooth, **kwargs)
        self.gamma = check_number("gamma_dice", gamma, above=0)

    def class_values(self, batch: Batch) -> Tensor:
        value = minus_log_dice(batch.y, batch.prediction.p, batch.mass, self.smooth)
        return power(value, self.gamma)


class ExponentialLogarithmicCrossEntropy(TrueClassLoss):
    """`w_l (-log p_l)^γ` of each pixel; the second half of `ExponentialLogarithmicLoss`.

    Args:
        gamma: γ > 0.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.
    """

    def __init__(self, gamma: float = 0.3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gamma = check_number("gamma_cross_entropy", gamma, above=0)

    def cost(self, log_p: Tensor, log_not_p: Tensor) -> Tensor:
        return power(-log_p, self.gamma)

    def class_factors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        # Nobody pays the weight of a class without pixels; it only has to be a number.
        background = background_share(batch.y, batch.weight)
        foreground = background_share(1 - batch.y, batch.weight)
        return tuple(ops.sqrt(ratio(ops.ones_like(f), f)) for f in (foreground, background))


@catalogued(
    family="compound",
    chapter="compound/combo",
    citation="wong2018exponential",
    formula=(
        r"\lambda_D\, \mathrm{E}[(-\log(1 - D))^{\gamma_D}] + \lambda_{CE}\, "
        r"\mathrm{E}[w_l (-\log p_l)^{\gamma_{CE}}]"
    ),
)
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
        **kwargs: see `RegionLoss` and `SegmentationLoss`. Class weights act in both parts,
            `include_background` and `classes` in the Dice loss. With `per="batch"` the f are
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
        dice_weight: float = 0.8,
        cross_entropy_weight: float = 0.2,
        gamma_dice: float = 0.3,
        gamma_cross_entropy: float = 0.3,
        smooth: float = 1.0,
        *,
        name: str | None = "exponential_logarithmic",
        **kwargs: Any,
    ) -> None:
        dice = ExponentialLogarithmicDice(gamma_dice, smooth, **kwargs)
        cross_entropy = ExponentialLogarithmicCrossEntropy(gamma_cross_entropy, **of_pixels(kwargs))
        weights = [
            check_number("dice_weight", dice_weight, at_least=0),
            check_number("cross_entropy_weight", cross_entropy_weight, at_least=0),
        ]
        super().__init__([dice, cross_entropy], weights, name=name)
        self.dice_weight, self.cross_entropy_weight = weights
        self.gamma_dice, self.gamma_cross_entropy = dice.gamma, cross_entropy.gamma
        self.smooth = dice.smooth

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dice_weight": self.dice_weight,
            "cross_entropy_weight": self.cross_entropy_weight,
            "gamma_dice": self.gamma_dice,
            "gamma_cross_entropy": self.gamma_cross_entropy,
            "smooth": self.smooth,
        }


def foreground_or_background(foreground: float, background: float, y: Tensor) -> Tensor:
    """A number for each of several exclusive classes, of which class 0 is the background."""
    rest = [foreground] * (y.shape[-1] - 1)
    return ops.convert_to_tensor([background, *rest], dtype=y.dtype)


@catalogued(
    family="compound",
    chapter="compound/unified_focal",
    citation="yeung2021unified",
    formula=r"-\delta_t (1 - p_t)^{1 - \gamma} \log p_t",
)
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

    def __init__(
        self,
        delta: float = 0.6,
        gamma: float = 0.5,
        symmetric: bool = True,
        *,
        name: str | None = "modified_focal",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.delta = check_number("delta", delta, at_least=0, at_most=1)
        self.gamma = check_number("gamma", gamma, at_least=0, at_most=1)
        self.symmetric = check_flag("symmetric", symmetric)

    def pixel_values(self, batch: Batch) -> Tensor:
        y, log_p, log_not_p = batch.y, batch.prediction.log_p, batch.prediction.log_not_p
        on_background = 1 - self.gamma if self.symmetric else self.gamma
        on_foreground = 1 - self.gamma if self.symmetric else 0.0
        weights = self.factors_of_classes(batch)
        weights = 1.0 if weights is None else weights
        if batch.prediction.softmax:
            powers = foreground_or_background(on_foreground, on_background, y)
            delta = weights * foreground_or_background(self.delta, 1 - self.delta, y)
            return ops.sum(delta * y * focal(log_p, log_not_p, powers), axis=-1, keepdims=True)
        foreground = self.delta * y * focal(log_p, log_not_p, on_foreground)
        background = (1 - self.delta) * (1 - y) * focal(log_not_p, log_p, on_background)
        return mean(weights * (foreground + background), keepdims=True)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "delta": self.delta,
            "gamma": self.gamma,
            "symmetric": self.symmetric,
        }


@catalogued(
    family="compound",
    chapter="compound/unified_focal",
    citation="yeung2021unified",
    formula=r"\frac{1}{C} \sum_c (1 - \mathrm{TI}_c)^\gamma",
)
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
        delta: float = 0.6,
        gamma: float = 0.5,
        symmetric: bool = True,
        smooth: float = 1.0,
        *,
        name: str | None = "modified_focal_tversky",
        **kwargs: Any,
    ) -> None:
        super().__init__(smooth, name=name, **kwargs)
        self.symmetric = check_flag("symmetric", symmetric)
        self.delta = check_number("delta", delta, at_least=0, at_most=1)
        bounds = {"above": 0, "at_most": 1} if symmetric else {"at_least": 0, "below": 1}
        self.gamma = check_number("gamma", gamma, **bounds)

    def class_values(self, batch: Batch) -> Tensor:
        y, p = batch.y, batch.prediction.p
        on_background = self.gamma if self.symmetric else 1.0
        on_foreground = self.gamma if self.symmetric else 1 - self.gamma
        if batch.prediction.softmax:
            powers = foreground_or_background(on_foreground, on_background, y)
            return power(self._tversky(y, p, batch.mass), powers)
        foreground = power(self._tversky(y, p, batch.mass), on_foreground)
        background = power(self._tversky(1 - y, 1 - p, batch.mass), on_background)
        return (foreground + background) / 2

    def _tversky(self, y, p, weight):
        return tversky(y, p, weight, 1 - self.delta, self.delta, self.smooth)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "delta": self.delta,
            "gamma": self.gamma,
            "symmetric": self.symmetric,
        }


@catalogued(
    family="compound",
    chapter="compound/unified_focal",
    citation="yeung2021unified",
    formula=r"\lambda L_{mF} + (1 - \lambda) L_{mFT}",
)
class UnifiedFocalLoss(NamedCompound):
    """Unified focal loss: a focal loss over pixels and one over regions, with common settings.

    Formula: `λ L_mF + (1 - λ) L_mFT`, the modified focal loss and the modified focal Tversky loss,
    both symmetric or both asymmetric: see `ModifiedFocalLoss` and `ModifiedFocalTverskyLoss`.

    Args:
        symmetric: whether foreground is treated as background is. If not, easy background is
            suppressed over pixels, and foreground enhanced over regions.
        focal_weight: λ between 0 and 1, of the modified focal loss; the other half has the rest.
        delta: δ between 0 and 1. Above 1/2 foreground, and what is missed of it, costs more.
        gamma: γ, above 0 and at most 1; at least 0 and below 1 if not symmetric.
        smooth: s > 0 of the Tversky index, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`. Class weights act in both parts,
            `include_background` and `classes` in the part over regions.

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
        symmetric: bool = True,
        focal_weight: float = 0.5,
        delta: float = 0.6,
        gamma: float = 0.5,
        smooth: float = 1.0,
        *,
        name: str | None = "unified_focal",
        **kwargs: Any,
    ) -> None:
        weight = check_number("focal_weight", focal_weight, at_least=0, at_most=1)
        pixels = ModifiedFocalLoss(delta, gamma, symmetric, **of_pixels(kwargs))
        regions = ModifiedFocalTverskyLoss(delta, gamma, symmetric, smooth, **kwargs)
        super().__init__([pixels, regions], [weight, 1 - weight], name=name)
        self.symmetric, self.focal_weight, self.delta = symmetric, weight, pixels.delta
        self.gamma, self.smooth = pixels.gamma, regions.smooth

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "symmetric": self.symmetric,
            "focal_weight": self.focal_weight,
            "delta": self.delta,
            "gamma": self.gamma,
            "smooth": self.smooth,
        }
