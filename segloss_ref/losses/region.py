"""Losses that compare the predicted region with the true one, by sums over pixels."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from segloss_ref.catalogue import catalogued
from segloss_ref.checks import Tensor, check_choice, check_flag, check_number
from segloss_ref.losses.arithmetic import flat, power, ratio, total
from segloss_ref.losses.base import RegionLoss, SegmentationLoss
from segloss_ref.losses.inputs import Batch


class SmoothedLoss(RegionLoss):
    """Base of region losses with a term s > 0 that settles what two empty masks cost: nothing.

    Args:
        smooth: s > 0, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`.
    """

    def __init__(self, smooth: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.smooth = check_number("smooth", smooth, above=0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smooth": self.smooth}


def soft_counts(y: Tensor, p: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """TP = Σ y p, FP = Σ (1 - y) p and FN = Σ y (1 - p), weighted sums over axis 1.

    That is what a prediction got right, made up and missed, in pixels. The differences are taken
    of each pixel, where they are exact; those of sums would not be.
    """
    y, p, weight = flat(y, p, weight)
    right = y * p
    return total(right, weight), total(p - right, weight), total(y - right, weight)


def dice(y: Tensor, p: Tensor, weight: Tensor | None, smooth: float, squared: bool) -> Tensor:
    """`1 - (2 Σ y p + s) / (Σ y^q + Σ p^q + s)`, `(regions, classes)`; q = 2 if squared.

    Written as (Σ y^q + Σ p^q - 2 Σ y p) / (Σ y^q + Σ p^q + s), where the numerator is a sum of
    what is wrong at each pixel: nothing cancels when the overlap is almost perfect.
    """
    y, p, weight = flat(y, p, weight)
    if squared:
        wrong, both = ops.square(y - p), ops.square(y) + ops.square(p)
    else:
        wrong, both = y + (1 - 2 * y) * p, y + p
    return total(wrong, weight) / (total(both, weight) + smooth)


@catalogued(
    family="region",
    chapter="region/dice",
    citation="milletari2016vnet",
    formula=r"1 - \frac{2 \sum y p + s}{\sum y^q + \sum p^q + s}",
)
class DiceLoss(SmoothedLoss):
    """Dice loss: one minus the soft Dice coefficient.

    Formula: `1 - (2 Σ y p + s) / (Σ y^q + Σ p^q + s)`, sums over the pixels of a region, q = 2 if
    `squared`, else 1; mean over classes.

    Args:
        smooth: s > 0, in pixels. Two empty masks then agree perfectly (loss 0); the larger s, the
            smaller the cost of missing an object of few pixels.
        squared: squares in the denominator (Milletari 2016). A soft label is then matched, p = y
            costs nothing; without squares it pulls p to 0 or 1.
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, between 0 and 1.
    Raises:
        ValueError: if `smooth` is not a number greater than 0.
    Example:
        >>> y = np.array([1.0, 1, 0, 0]).reshape(1, 2, 2, 1)
        >>> p = np.array([1.0, 0, 0, 0]).reshape(1, 2, 2, 1)
        >>> float(DiceLoss()(y, p))  # 1 - (2 · 1 + 1) / (2 + 1 + 1)
        0.25

    Source: Milletari et al. 2016 (arXiv:1606.04797), section 3, for q = 2, without s; Jadon 2020
        (arXiv:2006.14822), eq. 9, for q = 1 and s = 1. `DiceLoss(smooth=1e-6, squared=True,
        per="batch")` is the "NDL" of many notebooks. Unlike `keras.losses.Dice`, whose s is in
        the denominator only, an empty mask has a loss and a gradient, and a pixel weight map
        weighs pixels.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        squared: bool = False,
        *,
        name: str | None = "dice",
        **kwargs: Any,
    ) -> None:
        super().__init__(smooth, name=name, **kwargs)
        self.squared = check_flag("squared", squared)

    def class_values(self, batch: Batch) -> Tensor:
        return dice(batch.y, batch.prediction.p, batch.mass, self.smooth, self.squared)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "squared": self.squared}


def tversky(
    y: Tensor, p: Tensor, weight: Tensor | None, alpha: float, beta: float, smooth: float
) -> Tensor:
    """`1 - (TP + s) / (TP + α FP + β FN + s)`, `(regions, classes)`.

    Written as (α FP + β FN) / (TP + α FP + β FN + s): nothing cancels when little is wrong.
    """
    tp, fp, fn = soft_counts(y, p, weight)
    errors = alpha * fp + beta * fn
    return errors / (tp + errors + smooth)


@catalogued(
    family="region",
    chapter="region/tversky",
    citation="salehi2017tversky",
    formula=(
        r"1 - \frac{\mathrm{TP} + s}{\mathrm{TP} + \alpha\, \mathrm{FP} + \beta\, "
        r"\mathrm{FN} + s}"
    ),
)
class TverskyLoss(SmoothedLoss):
    """Tversky loss: a Dice loss that weighs false positives and false negatives apart.

    Formula: `1 - (TP + s) / (TP + α FP + β FN + s)` with the soft counts TP = Σ y p,
    FP = Σ (1 - y) p, FN = Σ y (1 - p) of a region; mean over classes.

    Args:
        alpha: α >= 0, what a false positive costs.
        beta: β >= 0, what a false negative costs. β > α trades precision for recall. α = β = 1/2
            with smooth s is the Dice loss with smooth 2s; α = β = 1 is the Jaccard loss.
        smooth: s > 0, in pixels. Two empty masks then agree perfectly (loss 0).
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, between 0 and 1. Without any object it is α FP / (α FP + s).
    Raises:
        ValueError: if `alpha` or `beta` is negative or both are 0, or `smooth` is not above 0.
    Example:
        >>> y = np.array([1.0, 1, 1, 0]).reshape(1, 2, 2, 1)
        >>> p = np.array([1.0, 0, 0, 0]).reshape(1, 2, 2, 1)
        >>> value = TverskyLoss()(y, p)  # 1 - (1 + 1) / (1 + 0.7 · 2 + 1)
        >>> round(float(value), 4)
        0.4118

    Source: Salehi et al. 2017 (arXiv:1706.05721), without s. `keras.losses.Tversky` up to Keras
        3.15.1 gives `alpha` to false negatives and `beta` to false positives, against its own
        documentation, and has s only below, so that an empty mask has no gradient.
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 1.0,
        *,
        name: str | None = "tversky",
        **kwargs: Any,
    ) -> None:
        super().__init__(smooth, name=name, **kwargs)
        self.alpha = check_number("alpha", alpha, at_least=0)
        self.beta = check_number("beta", beta, at_least=0)
        if self.alpha == self.beta == 0:
            raise ValueError(
                "`alpha` or `beta` must be greater than 0. Received: both 0, where no error costs "
                "anything"
            )

    def class_values(self, batch: Batch) -> Tensor:
        p = batch.prediction.p
        return tversky(batch.y, p, batch.mass, self.alpha, self.beta, self.smooth)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}


@catalogued(
    family="region",
    chapter="region/tversky",
    citation="abraham2019focal",
    formula=r"(1 - \mathrm{TI})^\gamma",
)
class FocalTverskyLoss(TverskyLoss):
    """Focal Tversky loss: a power of the Tversky loss.

    Formula: `(1 - TI)^γ` of each class, TI the Tversky index `(TP + s) / (TP + α FP + β FN + s)`;
    then the mean over classes.

    Args:
        alpha: α >= 0, what a false positive costs.
        beta: β >= 0, what a false negative costs.
        gamma: γ > 0. Below 1, small losses still have a large slope (at 0 an infinite one, which
            counts as 0: a perfect prediction has nothing to learn); above 1, they have a small one
            and the worst regions lead. 1 is the Tversky loss.
        smooth: s > 0, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, between 0 and 1.
    Raises:
        ValueError: as `TverskyLoss`, and if `gamma` is not a number greater than 0.
    Example:
        >>> y = np.array([1.0, 1, 1, 0]).reshape(1, 2, 2, 1)
        >>> p = np.array([1.0, 0, 0, 0]).reshape(1, 2, 2, 1)
        >>> value = FocalTverskyLoss()(y, p)  # (1 - 2 / 3.4) ** 0.75
        >>> round(float(value), 4)
        0.514

    Source: Abraham & Khan 2019 (arXiv:1810.07842), who write the exponent as 1/γ with γ = 4/3, and
        sum over classes. Their code has the exponent 0.75, and gives their α = 0.7 to false
        negatives; here α and β keep the meaning of Salehi et al. segmentation-models-pytorch
        takes the power after the mean over classes, not before.
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 0.75,
        smooth: float = 1.0,
        *,
        name: str | None = "focal_tversky",
        **kwargs: Any,
    ) -> None:
        super().__init__(alpha, beta, smooth, name=name, **kwargs)
        self.gamma = check_number("gamma", gamma, above=0)

    def class_values(self, batch: Batch) -> Tensor:
        return power(super().class_values(batch), self.gamma)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma}


@catalogued(
    family="region",
    chapter="region/jaccard",
    citation="jaccard1912distribution",
    formula=r"1 - \frac{\sum y p + s}{\sum y + \sum p - \sum y p + s}",
)
class JaccardLoss(SmoothedLoss):
    """Jaccard loss: one minus the soft intersection over union.

    Formula: `1 - (Σ y p + s) / (Σ y + Σ p - Σ y p + s)`, sums over the pixels of a region; mean
    over classes. It is the Tversky loss with α = β = 1, and 2 D / (1 + D) of the Dice loss D with
    twice the smooth.

    Args:
        smooth: s > 0, in pixels. Two empty masks then agree perfectly (loss 0).
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, between 0 and 1. A soft label is not matched by p = y, see
        `JaccardMetricLoss`.
    Raises:
        ValueError: if `smooth` is not a number greater than 0.
    Example:
        >>> y = np.array([1.0, 1, 0, 0]).reshape(1, 2, 2, 1)
        >>> p = np.array([1.0, 0, 1, 0]).reshape(1, 2, 2, 1)
        >>> float(JaccardLoss()(y, p))  # 1 - (1 + 1) / (2 + 2 - 1 + 1)
        0.5

    Source: the soft form of the Jaccard index, as in Ma et al. 2021 ("Loss odyssey in medical image
        segmentation"), IoU loss, without s.
    """

    def __init__(self, smooth: float = 1.0, *, name: str | None = "jaccard", **kwargs: Any) -> None:
        super().__init__(smooth, name=name, **kwargs)

    def class_values(self, batch: Batch) -> Tensor:
        return tversky(batch.y, batch.prediction.p, batch.mass, 1, 1, self.smooth)


def dice_semimetric(y: Tensor, p: Tensor, weight: Tensor | None, smooth: float) -> Tensor:
    """`Σ |y - p| / (Σ y + Σ p + s)`, `(regions, classes)`."""
    wrong = total(ops.abs(y - p), weight)
    return wrong / (total(y + p, weight) + smooth)


@catalogued(
    family="region",
    chapter="region/soft_labels",
    citation="wang2023dice",
    formula=r"\frac{\sum |y - p|}{\sum y + \sum p + s}",
)
class DiceSemimetricLoss(SmoothedLoss):
    """Dice semimetric loss: a Dice loss that is right for soft labels.

    Formula: `1 - (Σ y + Σ p - Σ |y - p| + s) / (Σ y + Σ p + s)`, which is
    `Σ |y - p| / (Σ y + Σ p + s)`, sums over the pixels of a region; mean over classes.

    Where y is 0 or 1 it is `DiceLoss`. Where y is between, the product y p of the Dice loss is not
    largest at p = y, and its minimum lies at p = 0 or 1; here it lies at p = y, whatever y is.

    Args:
        smooth: s > 0, in pixels. Two empty masks then agree perfectly (loss 0).
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, between 0 (only for p = y) and 1.
    Raises:
        ValueError: if `smooth` is not a number greater than 0.
    Example:
        >>> y = np.full((1, 2, 2, 1), 0.5)
        >>> float(DiceSemimetricLoss()(y, y)), float(DiceLoss()(y, y))
        (0.0, 0.4000000059604645)

    Source: Wang et al. 2023 (arXiv:2303.16296), without s; of the paper's two forms the one with
        Σ y + Σ p below. The authors' code has s = 1e-3, and leaves absent classes out where labels
        are hard.
    """

    def __init__(
        self, smooth: float = 1.0, *, name: str | None = "dice_semimetric", **kwargs: Any
    ) -> None:
        super().__init__(smooth, name=name, **kwargs)

    def class_values(self, batch: Batch) -> Tensor:
        return dice_semimetric(batch.y, batch.prediction.p, batch.mass, self.smooth)


def jaccard_metric(y: Tensor, p: Tensor, weight: Tensor | None, smooth: float) -> Tensor:
    """`Σ |y - p| / (Σ max(y, p) + s)`, `(regions, classes)`."""
    wrong = total(ops.abs(y - p), weight)
    return wrong / (total(ops.maximum(y, p), weight) + smooth)


@catalogued(
    family="region",
    chapter="region/soft_labels",
    citation="wang2023jaccard",
    formula=r"\frac{\sum |y - p|}{\sum \max(y, p) + s}",
)
class JaccardMetricLoss(SmoothedLoss):
    """Jaccard metric loss: a Jaccard loss that is right for soft labels.

    Formula: `1 - (Σ min(y, p) + s) / (Σ max(y, p) + s)`, which is `Σ |y - p| / (Σ max(y, p) + s)`,
    sums over the pixels of a region; mean over classes. Since min and max are
    `(y + p ∓ |y - p|) / 2`, these are the L1 norms of the paper.

    Where y is 0 or 1 it is `JaccardLoss`. Its minimum lies at p = y, whatever y is, and it is a
    metric: the distance of two masks is at most the sum of their distances to a third.

    Args:
        smooth: s > 0, in pixels. Two empty masks then agree perfectly (loss 0).
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, between 0 (only for p = y) and 1.
    Raises:
        ValueError: if `smooth` is not a number greater than 0.
    Example:
        >>> y = np.full((1, 2, 2, 1), 0.5)
        >>> float(JaccardMetricLoss()(y, y)), float(JaccardMetricLoss()(y, y / 2))  # 1 / (2 + 1)
        (0.0, 0.3333333432674408)

    Source: Wang et al. 2023 (arXiv:2302.05666), without s; of the paper's two forms the one that
        the authors' code has, with s = 1e-3 and, for hard labels, without absent classes.
    """

    def __init__(
        self, smooth: float = 1.0, *, name: str | None = "jaccard_metric", **kwargs: Any
    ) -> None:
        super().__init__(smooth, name=name, **kwargs)

    def class_values(self, batch: Batch) -> Tensor:
        return jaccard_metric(batch.y, batch.prediction.p, batch.mass, self.smooth)


def generalized_dice(
    right: Tensor,
    wrong: Tensor,
    volume: Tensor,
    exponent: int,
    penalty: float,
    class_weights: Tensor | float,
) -> Tensor:
    """`1 - 2 Σ_c v_c TP_c / Σ_c v_c (2 TP_c + (1 + k) (FP_c + FN_c))`, classes on the last axis.

    Of each class what is right, TP, what is wrong, FP + FN, and the true volume V = Σ y, of which
    v = 1 / V^exponent, and 0 for an absent class. Written as wrong / (right + wrong), where nothing
    cancels. If no class is left, it is 0.
    """
    shares = class_weights * _inverse_volumes(volume, exponent)
    right = 2 * ops.sum(shares * right, axis=-1)
    wrong = (1 + penalty) * ops.sum(shares * wrong, axis=-1)
    return ratio(wrong, right + wrong)


def _inverse_volumes(volume, exponent):
    """1 / V^exponent for the classes that are there, 0 for the others, times a common factor:
    relative to the smallest volume there is, the square of a small one cannot overflow."""
    present = volume > 0
    volume = ops.where(present, volume, ops.max(volume, axis=-1, keepdims=True))
    smallest = ops.min(volume, axis=-1, keepdims=True)
    return ops.cast(present, volume.dtype) * ratio(smallest, volume) ** exponent


_EXPONENTS = {"square": 2, "simple": 1, "uniform": 0}


@catalogued(
    family="region",
    chapter="region/generalized_dice",
    citation="sudre2017generalised",
    formula=r"1 - \frac{2 \sum_c v_c \sum y_c p_c}{\sum_c v_c \sum (y_c + p_c)}",
)
class GeneralizedDiceLoss(RegionLoss):
    """Generalized Dice loss: one Dice loss for all classes, rare ones weighing as much as large.

    Formula: `1 - 2 Σ_c v_c TP_c / Σ_c v_c (2 TP_c + (1 + k) (FP_c + FN_c))` with the soft counts of
    `TverskyLoss` and v_c = 1 / V_c² of the true volume V_c = Σ y_c. For k = 0 the denominator is
    `Σ_c v_c (Σ y_c + Σ p_c)`, as in the paper.

    An absent class (V_c = 0) has v_c = 0: what is falsely predicted as it is missing from a class
    that is there, and costs there. So no smoothing is needed, and an image of background alone has
    a value and a gradient. One class is two, itself and the background, as in the paper; without
    the second, v_c would cancel. Of several independent classes each is a problem of its own, with
    its own background, and the loss is their mean.

    Args:
        weighting: `"square"` for v_c = 1 / V_c², `"simple"` for 1 / V_c, `"uniform"` for 1.
        penalty: k >= 0, the penalty of Yang et al.: errors weigh 1 + k. 0 leaves it out.
        class_weights: factors of v_c where classes are exclusive; else as in `RegionLoss`.
        include_background: with `False`, v_0 = 0 where classes are exclusive. What is falsely
            predicted in an image without any other class then costs nothing.
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, between 0 and 1.
    Raises:
        ValueError: if `weighting` is none of these names, or `penalty` is negative.
    Example:
        >>> y = np.array([1.0, 0, 0, 0]).reshape(1, 2, 2, 1)
        >>> p = np.array([1.0, 1, 0, 0]).reshape(1, 2, 2, 1)
        >>> # TP 1, errors 1, v 1 for the object; TP 2, errors 1, v 1/9 for the background
        >>> value = GeneralizedDiceLoss()(y, p)  # 1 - 2 (1 + 2/9) / (3 + 5/9)
        >>> round(float(value), 4)
        0.3125

    Source: Sudre et al. 2017 (arXiv:1707.03237), section "Loss functions for unbalanced data";
        "simple" and "uniform" are options of the authors' NiftyNet, which gives an absent class
        the largest weight instead of none. The penalty adds k Σ_c v_c (FP_c + FN_c) to the
        denominator, Yang et al. 2019, as Ma et al. 2021 ("Loss odyssey in medical image
        segmentation") write it. With GD the coefficient for k = 0, that is
        1 - GD / (1 + k (1 - GD)); the same quotient of the *loss*, L / (1 + k (1 - L)), as it
        stands in several repositories, weighs errors by 1 / (1 + k).
    """

    def __init__(
        self,
        weighting: str = "square",
        penalty: float = 0.0,
        *,
        name: str | None = "generalized_dice",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.weighting = check_choice("weighting", weighting, tuple(_EXPONENTS))
        self.penalty = check_number("penalty", penalty, at_least=0)

    def region_values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if not batch.prediction.softmax:
            return super().region_values(batch)
        y, p, mass = batch.y, batch.prediction.p, batch.mass
        weights = ops.convert_to_tensor(self.weights_of(y.shape[-1]), dtype=y.dtype)
        tp, fp, fn = soft_counts(y, p, mass)
        return self._joint(tp, fp + fn, total(y, mass), weights), batch.image_weight

    def class_values(self, batch: Batch) -> Tensor:
        y, p, mass = flat(batch.y, batch.prediction.p, batch.mass)
        tp, fp, fn = soft_counts(y, p, mass)
        # The background of a class is a class as well: what is wrong of one is of the other.
        both = (
            (tp, total((1 - y) * (1 - p), mass)),
            (fp + fn,) * 2,
            (total(y, mass), total(1 - y, mass)),
        )
        return self._joint(*(ops.stack(pair, axis=-1) for pair in both), 1.0)

    def _joint(self, right, wrong, volume, class_weights):
        exponent = _EXPONENTS[self.weighting]
        return generalized_dice(right, wrong, volume, exponent, self.penalty, class_weights)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weighting": self.weighting, "penalty": self.penalty}


def log_cosh(x: Tensor) -> Tensor:
    """log cosh x for moderate x, from cosh x = 1 + 2 sinh²(x/2): exact however small x is."""
    return ops.log1p(2 * ops.square(ops.sinh(x / 2)))


@catalogued(
    family="region",
    chapter="region/log_cosh",
    citation="jadon2020survey",
    formula=r"\log \cosh D",
)
class LogCoshDiceLoss(DiceLoss):
    """Log-cosh Dice loss: the logarithm of the hyperbolic cosine of the Dice loss.

    Formula: `log cosh D` of each class, D the Dice loss of `DiceLoss`; then the mean over classes.
    Its gradient is tanh(D) times that of D: it has the same minimum, and slows down near it (0.1 of
    the slope at D = 0.1).

    Args:
        smooth: s > 0 of the Dice loss, in pixels.
        squared: squares in the denominator of the Dice loss.
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, between 0 and log cosh 1 = 0.4338.
    Raises:
        ValueError: if `smooth` is not a number greater than 0.
    Example:
        >>> y = np.array([1.0, 1, 0, 0]).reshape(1, 2, 2, 1)
        >>> p = np.array([1.0, 0, 0, 0]).reshape(1, 2, 2, 1)
        >>> round(float(LogCoshDiceLoss()(y, p)), 5)  # log cosh 0.25
        0.03093

    Source: Jadon 2020 (arXiv:2006.14822), "Log-Cosh Dice Loss".
    """

    def __init__(
        self,
        smooth: float = 1.0,
        squared: bool = False,
        *,
        name: str | None = "log_cosh_dice",
        **kwargs: Any,
    ) -> None:
        super().__init__(smooth, squared, name=name, **kwargs)

    def class_values(self, batch: Batch) -> Tensor:
        return log_cosh(super().class_values(batch))


def sensitivity_specificity(y: Tensor, p: Tensor, weight: Tensor | None, r: float) -> Tensor:
    """`r Σ y (y - p)² / Σ y + (1 - r) Σ (1 - y) (y - p)² / Σ (1 - y)`, `(regions, classes)`."""

    def mean_error(where):
        error = total(where * ops.square(y - p), weight)
        return ratio(error, total(where, weight))

    return r * mean_error(y) + (1 - r) * mean_error(1 - y)


@catalogued(
    family="region",
    chapter="region/sensitivity_specificity",
    citation="brosch2015deep",
    formula=(
        r"r \frac{\sum y (y - p)^2}{\sum y} + (1 - r) \frac{\sum (1 - y)(y - p)^2}{\sum "
        r"(1 - y)}"
    ),
)
class SensitivitySpecificityLoss(RegionLoss):
    """Sensitivity-specificity loss: the mean squared errors on object and background, weighed.

    Formula: `r Σ y (y - p)² / Σ y + (1 - r) Σ (1 - y) (y - p)² / Σ (1 - y)`, sums over the pixels
    of a region; mean over classes. Either mean is 0 where it has no pixels. For hard predictions it
    is `r (1 - sensitivity) + (1 - r) (1 - specificity)`.

    Args:
        r: between 0 and 1, the weight of the error on the object. Either error is relative to its
            own number of pixels, so even a small r does not lose a small object.
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, between 0 and 1. Without any object it is 1 - r times the mean
        squared error.
    Raises:
        ValueError: if `r` is not a number between 0 and 1.
    Example:
        >>> y = np.array([1.0, 1, 0, 0]).reshape(1, 2, 2, 1)
        >>> p = np.array([1.0, 0, 0.5, 0]).reshape(1, 2, 2, 1)
        >>> value = SensitivitySpecificityLoss()(y, p)  # 0.05 · 1/2 + 0.95 · 0.25/2
        >>> round(float(value), 5)
        0.14375

    Source: Brosch et al. 2015, as given in Sudre et al. 2017 (arXiv:1707.03237), section "Loss
        functions for unbalanced data", which adds ε below; none is needed where a mean over no
        pixels is 0. NiftyNet sums over classes, and calls the two parts by each other's name.
    """

    def __init__(
        self, r: float = 0.05, *, name: str | None = "sensitivity_specificity", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.r = check_number("r", r, at_least=0, at_most=1)

    def class_values(self, batch: Batch) -> Tensor:
        return sensitivity_specificity(batch.y, batch.prediction.p, batch.mass, self.r)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "r": self.r}


def matthews(y: Tensor, p: Tensor, weight: Tensor | None, smooth: float) -> Tensor:
    """`1 - (TP TN - FP FN) / √((TP + FP) (TP + FN) (TN + FP) (TN + FN))`, `(regions, classes)`.

    s is added to TP and to TN. With G = √((TP + FP) (TP + FN)) and H the same of TN, it is
    1 - TP/G · TN/H + FP/G · FN/H. There 1 - TP/G is computed without cancellation, and products of
    four counts, which overflow in a large volume, do not occur.
    """
    tp, fp, fn = soft_counts(y, p, weight)
    tn = total((1 - y) * (1 - p), weight)
    # As shares of all, whose products cannot overflow, however large the weights are.
    pixels = tp + fp + fn + tn + smooth
    tp, fp, fn, tn, smooth = (x / pixels for x in (tp, fp, fn, tn, smooth))
    missing, scale = _below_one(tp + smooth, fp, fn)
    missing_outside, scale_outside = _below_one(tn + smooth, fp, fn)
    chance = (fp / scale) * (fn / scale_outside)
    return missing + (1 - missing) * missing_outside + chance


def _below_one(right, fp, fn):
    """1 - right / G for G = √((right + fp) (right + fn)), from G² - right², and G."""
    scale = ops.sqrt((right + fp) * (right + fn))
    return (right * (fp + fn) + fp * fn) / (scale * (scale + right)), scale


@catalogued(
    family="region",
    chapter="region/matthews",
    citation="abhishek2021matthews",
    formula=(
        r"1 - \frac{\mathrm{TP}\, \mathrm{TN} - \mathrm{FP}\, "
        r"\mathrm{FN}}{\sqrt{(\mathrm{TP} + \mathrm{FP})(\mathrm{TP} + "
        r"\mathrm{FN})(\mathrm{TN} + \mathrm{FP})(\mathrm{TN} + \mathrm{FN})}}"
    ),
)
class MatthewsLoss(SmoothedLoss):
    """Matthews loss: one minus the soft Matthews correlation coefficient.

    Formula: `1 - (TP TN - FP FN) / √((TP + FP) (TP + FN) (TN + FP) (TN + FN))` with the soft counts
    of `TverskyLoss`, TN = Σ (1 - y) (1 - p), and s added to TP and to TN; mean over classes.

    Unlike Dice, it counts the background too, and exchanging object and background changes
    nothing. The coefficient is 0 / 0 where truth or prediction has one value only; s pixels more
    of either kind, rightly predicted, settle that: two empty (or two full) masks agree perfectly,
    and on an empty truth the loss grows with the false positives, from 0.

    Args:
        smooth: s > 0, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, between 0 and 2: 1 if nothing was learnt, above 1 if truth and
        prediction contradict each other.
    Raises:
        ValueError: if `smooth` is not a number greater than 0.
    Example:
        >>> y = np.array([1.0, 1, 0, 0]).reshape(1, 2, 2, 1)
        >>> p = np.array([1.0, 0, 0, 0]).reshape(1, 2, 2, 1)
        >>> value = MatthewsLoss()(y, p)  # TP 1 + 1, TN 2 + 1, FN 1: 1 - 6 / √(2 · 3 · 3 · 4)
        >>> round(float(value), 4)
        0.2929

    Source: Abhishek & Hamarneh 2021 (arXiv:2010.13454), eq. 3 to 5, for one class, without s. The
        authors' code adds 1e-7 under the root and sets the loss of a perfect prediction to 0; a
        false positive on an empty mask then costs 1 at once, and has no gradient.
    """

    def __init__(
        self, smooth: float = 1.0, *, name: str | None = "matthews", **kwargs: Any
    ) -> None:
        super().__init__(smooth, name=name, **kwargs)

    def class_values(self, batch: Batch) -> Tensor:
        return matthews(batch.y, batch.prediction.p, batch.mass, self.smooth)


def noise_robust_dice(
    y: Tensor, p: Tensor, weight: Tensor | None, gamma: float, smooth: float
) -> Tensor:
    """`Σ |y - p|^γ / (Σ y² + Σ p² + s)`, `(regions, classes)`."""
    wrong = total(power(ops.abs(y - p), gamma), weight)
    return wrong / (total(ops.square(y) + ops.square(p), weight) + smooth)


@catalogued(
    family="region",
    chapter="region/matthews",
    citation="wang2020noise",
    formula=r"\frac{\sum |y - p|^\gamma}{\sum y^2 + \sum p^2 + s}",
)
class NoiseRobustDiceLoss(SmoothedLoss):
    """Noise-robust Dice loss: between the Dice loss with squares and the mean absolute error.

    Formula: `Σ |y - p|^γ / (Σ y² + Σ p² + s)`, sums over the pixels of a region; mean over classes.

    Args:
        gamma: 1 <= γ <= 2. 2 is `DiceLoss(squared=True)`; the smaller γ, the less a pixel that
            cannot be learnt, being labelled wrongly, leads the others.
        smooth: s > 0, in pixels. Two empty masks then agree perfectly (loss 0).
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, at least 0. For γ < 2 it may exceed 1: for p = 1/2 on an empty
        mask of many pixels it is near 2^(2 - γ), and *falls* as p rises: for γ < 2 the squares
        below outgrow what is above, and false positives on an empty mask are not called back
        once Σ p² > s γ / (2 - γ). Add cross-entropy where images may be empty. With an object
        whose share of the image is below (2 - γ) / (2 + γ), "all foreground" is a local minimum.
    Raises:
        ValueError: if `gamma` is not between 1 and 2, or `smooth` not greater than 0.
    Example:
        >>> y = np.array([1.0, 1, 0, 0]).reshape(1, 2, 2, 1)
        >>> p = np.array([1.0, 0.75, 0, 0]).reshape(1, 2, 2, 1)
        >>> value = NoiseRobustDiceLoss()(y, p)  # 0.25^1.5 / (2 + 1 + 0.5625 + 1)
        >>> round(float(value), 5)
        0.0274

    Source: Wang et al. 2020 (doi:10.1109/TMI.2020.3000314), with s = 1e-5. The authors' PyMIC has
        Σ y + Σ p below; then γ = 2 is no longer the Dice loss with squares.
    """

    def __init__(
        self,
        gamma: float = 1.5,
        smooth: float = 1.0,
        *,
        name: str | None = "noise_robust_dice",
        **kwargs: Any,
    ) -> None:
        super().__init__(smooth, name=name, **kwargs)
        self.gamma = check_number("gamma", gamma, at_least=1, at_most=2)

    def class_values(self, batch: Batch) -> Tensor:
        p = batch.prediction.p
        return noise_robust_dice(batch.y, p, batch.mass, self.gamma, self.smooth)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma}


def lovasz_extension(errors: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """`Σ_i m_i g_i` over the errors m in falling order, `(regions, classes)`.

    g are the increments of the Jaccard loss as one pixel after the other turns wrong; they are
    constant wherever the order is, so the gradient by m is g.
    """
    order = ops.argsort(ops.stop_gradient(-errors), axis=1)
    weight = weight * ops.ones_like(y)
    errors, y, weight = (ops.take_along_axis(x, order, axis=1) for x in (errors, y, weight))
    return ops.sum(errors * ops.stop_gradient(jaccard_increments(y, weight)), axis=1)


def jaccard_increments(y: Tensor, weight: Tensor) -> Tensor:
    """`Δ({1..i}) - Δ({1..i-1})` along axis 1, of `Δ(M) = w(M) / w(Y ∪ M)`.

    Δ is what the Jaccard loss is if the pixels M are wrong and Y is the truth. No difference is
    taken, of which float32 would leave nothing in a volume of 10⁷ pixels: a false negative adds
    `w / w(Y ∪ M)`, a false positive that times `w(Y - M) / w(Y ∪ M)` of before.
    """
    wrong_truth, wrong_rest = (ops.cumsum(x, axis=1) for x in (weight * y, weight * (1 - y)))
    truth = wrong_truth[:, -1:]
    union = truth + wrong_rest
    before = truth + ops.pad(wrong_rest[:, :-1], [(0, 0), (1, 0), (0, 0)])
    # Nothing before: the first false positive on an empty truth takes Δ from 0 to 1.
    some = before > 0
    right = ops.where(some, ratio(truth - wrong_truth, before), ops.ones_like(before))
    return ratio(weight, union) * (y + (1 - y) * right)


@catalogued(
    family="region",
    chapter="region/jaccard",
    citation="berman2018lovasz",
    formula=(
        r"\sum_i m_{\pi(i)} \left(\Delta_{\{\pi(1) \ldots \pi(i)\}} - \Delta_{\{\pi(1) "
        r"\ldots \pi(i-1)\}}\right),\ m = \max(0, 1 - (2 y - 1) z)"
    ),
)
class LovaszHingeLoss(RegionLoss):
    """Lovász hinge: the convex surrogate of the Jaccard loss, of hinge errors.

    Formula: `Σ_i m_π(i) [Δ({π(1)..π(i)}) - Δ({π(1)..π(i-1)})]` with the hinge errors
    `m = max(0, 1 - (2y - 1) z)`, z a logit, π their falling order, and `Δ(M) = w(M) / w(Y ∪ M)`,
    what the Jaccard loss is if the pixels M are wrong; mean over classes.

    Args:
        **kwargs: see `RegionLoss` and `SegmentationLoss`. Give it logits; from probabilities, z is
            the logit of p, at most 16 in size, for p counts as at least 1e-7 from 0 and 1.

    Shapes: as for every loss; several classes need `multilabel=True`. Labels are hard, 0 or 1.
    Returns: one value per image, at least 0, not bounded. 0 where each pixel is right with a
        margin, |z| >= 1. On an empty truth it is the largest error.
    Raises:
        ValueError: for several exclusive classes: that is `LovaszSoftmaxLoss`.
    Example:
        >>> y = np.array([1.0, 1, 0, 0]).reshape(1, 2, 2, 1)
        >>> z = np.array([2.0, -2, 0, -2]).reshape(1, 2, 2, 1)
        >>> value = LovaszHingeLoss(from_logits=True)(y, z)  # m = 0, 3, 1, 0
        >>> round(float(value), 4)  # 3 · 1/2 + 1 · (2/3 - 1/2)
        1.6667

    Source: Berman et al. 2018 (arXiv:1705.08790), definition 2 and algorithm 1; the hinge is that
        of Yu & Blaschko (arXiv:1512.07797). Their code has no pixel weights; here they weigh the
        pixels inside of Δ, which remains a Jaccard loss.
    """

    takes = ("binary", "independent")

    def __init__(self, *, name: str | None = "lovasz_hinge", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def class_values(self, batch: Batch) -> Tensor:
        prediction = batch.prediction
        from_logits = prediction.from_logits
        z = prediction.values if from_logits else prediction.log_p - prediction.log_not_p
        errors = ops.relu(1 - (2 * batch.y - 1) * z)
        return lovasz_extension(errors, batch.y, batch.weight)


@catalogued(
    family="region",
    chapter="region/jaccard",
    citation="berman2018lovasz",
    formula=(
        r"\sum_i m_{\pi(i)} \left(\Delta_{\{\pi(1) \ldots \pi(i)\}} - \Delta_{\{\pi(1) "
        r"\ldots \pi(i-1)\}}\right),\ m = |y - p|"
    ),
)
class LovaszSoftmaxLoss(RegionLoss):
    """Lovász-Softmax: the Jaccard loss, interpolated between hard predictions.

    Formula: `Σ_i m_π(i) [Δ({π(1)..π(i)}) - Δ({π(1)..π(i-1)})]` with the errors `m = |y - p|`, π
    their falling order, and `Δ(M) = w(M) / w(Y ∪ M)`, what the Jaccard loss is if the pixels M are
    wrong; mean over classes. For hard predictions it is the Jaccard loss.

    Args:
        classes: `"present"`: of exclusive classes, those count that occur in the truth of a region
            (all that are scored, where none of them does); `"all"`: all count. An absent class
            costs its largest probability. One class and independent ones always count: nothing
            else would see what is predicted on an empty mask.
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss. Labels are hard, 0 or 1.
    Returns: one value per image, between 0 and 1.
    Raises:
        ValueError: if `classes` is neither `"present"` nor `"all"`.
    Example:
        >>> y = np.array([1.0, 1, 0, 0]).reshape(1, 2, 2, 1)
        >>> p = np.array([0.9, 0.2, 0.5, 0]).reshape(1, 2, 2, 1)
        >>> value = LovaszSoftmaxLoss()(y, p)  # m = 0.1, 0.8, 0.5, 0
        >>> round(float(value), 4)  # 0.8 · 1/2 + 0.5 · (2/3 - 1/2) + 0.1 · (1 - 2/3)
        0.5167

    Source: Berman et al. 2018 (arXiv:1705.08790), definition 2 and algorithm 1, where the mean is
        over all classes; `"present"` is an option of the authors' code, and per image, where most
        classes are absent from most images, the better default. One class and independent ones
        are not in the paper. Pixel weights weigh the pixels inside of Δ.
    """

    def __init__(
        self, classes: str = "present", *, name: str | None = "lovasz_softmax", **kwargs: Any
    ) -> None:
        super().__init__(name=name, classes=classes, **kwargs)

    def class_values(self, batch: Batch) -> Tensor:
        return lovasz_extension(ops.abs(batch.y - batch.prediction.p), batch.y, batch.weight)


def wasserstein_dice(
    y: Tensor, p: Tensor, weight: Tensor, distances: Tensor, smooth: float
) -> Tensor:
    """`ΣW / (2 TP + ΣW + s)`, `(regions,)`, from M, the distances between classes, `(C, C)`."""
    to_background = ops.matmul(y, distances[:, :1])  # M[l, 0] at a pixel of class l
    error = ops.sum(ops.matmul(y, distances) * p, axis=-1, keepdims=True)
    hits = ops.sum(weight * to_background * (to_background - error), axis=(1, 2))
    errors = ops.sum(weight * error, axis=(1, 2))
    return errors / (2 * hits + errors + smooth)


@catalogued(
    family="region",
    chapter="region/wasserstein",
    citation="fidon2017generalised",
    formula=r"1 - \frac{2\, \mathrm{TP} + s}{2\, \mathrm{TP} + \sum W + s}",
)
class GeneralizedWassersteinDiceLoss(SegmentationLoss):
    """Generalised Wasserstein Dice loss: some classes are worse to confuse than others.

    Formula: `1 - (2 TP + s) / (2 TP + ΣW + s)`, sums over the pixels of a region: at a pixel of
    class l, the distance `W = Σ_k M[l, k] p_k` of prediction and truth adds to the errors, and
    `M[l, 0] (M[l, 0] - W)` to the true positives TP. Class 0 is the background.

    Args:
        distances: M, one row of numbers between 0 and 1 per class, symmetric, 0 on the diagonal;
            no class may be farther from a class than the background is. By default all classes
            are at distance 1; then a pixel is right to the degree p_l, whatever it is taken for.
        smooth: s > 0, in pixels. A picture of background agrees perfectly with itself (loss 0).
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss; several exclusive classes. Labels are hard, one class per pixel.
    Returns: one value per image, between 0 and 1.
    Raises:
        ValueError: if `distances` is not such a matrix or does not fit the number of classes, if
            `smooth` is not a number greater than 0; for a binary mask or independent classes.
    Example:
        >>> loss = GeneralizedWassersteinDiceLoss([[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]])
        >>> labels, p = np.array([[[0, 1]]]), np.array([[[[1.0, 0, 0], [0, 0, 1]]]])
        >>> round(float(loss(labels, p)), 4)  # W = 0, 1/2; TP = 1/2; 1 - (1 + 1) / (1 + 1/2 + 1)
        0.2

    Source: Fidon et al. 2017 (arXiv:1707.00478), eqs. 6 and 9, without s. With two classes and
        M = 1 it is the Dice loss of class 1. MONAI's `GeneralizedWassersteinDiceLoss` divides M by
        its maximum and takes 1 for M[l, 0] in TP; where that is so, it has the same definition.
        The authors' later code, MONAI's `weighting_mode="GDL"`, weighs hits and errors of each
        pixel, background too, by 1 / (1 + the size of its class).
    """

    takes = ("exclusive",)

    def __init__(
        self,
        distances: Sequence[Sequence[float]] | None = None,
        smooth: float = 1.0,
        *,
        name: str | None = "generalized_wasserstein_dice",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.distances = None if distances is None else _check_distances(distances)
        self.smooth = check_number("smooth", smooth, above=0)

    def region_values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        distances = ops.convert_to_tensor(self._matrix(batch.y.shape[-1]), dtype=batch.y.dtype)
        p = batch.prediction.p
        loss = wasserstein_dice(batch.y, p, batch.weight, distances, self.smooth)
        return loss, batch.image_weight

    def _matrix(self, classes):
        if self.distances is None:
            return [[float(row != column) for column in range(classes)] for row in range(classes)]
        if len(self.distances) != classes:
            raise ValueError(
                "`distances` must have one row and one column per class. Received: "
                f"{len(self.distances)} rows for {classes} classes"
            )
        return self.distances

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "distances": self.distances, "smooth": self.smooth}


def _check_distances(distances):
    """The matrix as a tuple of tuples."""

    def refuse(demand):
        raise ValueError(f"`distances` must {demand}. Received: {distances!r}")

    try:
        rows = [list(row) for row in distances]
    except TypeError:
        refuse("be a matrix, one sequence of numbers per class")
    rows = [
        [check_number(f"distances[{i}][{j}]", d, at_least=0, at_most=1) for j, d in enumerate(row)]
        for i, row in enumerate(rows)
    ]
    if len(rows) < 2 or any(len(row) != len(rows) for row in rows):
        refuse("be square, with a row for each of at least two classes")
    if any(row[i] != 0 for i, row in enumerate(rows)) or rows != [list(c) for c in zip(*rows)]:
        refuse("be symmetric, with zeros on the diagonal")
    if any(row[0] == 0 or row[0] < max(row) for row in rows[1:]):
        refuse("put the background, class 0, away from each class, and no class farther from it")
    return tuple(tuple(row) for row in rows)
