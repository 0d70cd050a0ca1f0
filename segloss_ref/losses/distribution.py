"""Losses that compare the predicted distribution of each pixel with the true one."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from segloss_ref.catalogue import catalogued
from segloss_ref.checks import (
    Tensor,
    check_flag,
    check_number,
    check_spacing,
    check_weights,
    check_whole,
)
from segloss_ref.distance import signed_distance
from segloss_ref.losses.arithmetic import flat, mean, ratio
from segloss_ref.losses.base import PixelLoss
from segloss_ref.losses.inputs import Batch


class TrueClassLoss(PixelLoss):
    """Base of losses that charge a pixel for the probability of its true class; mean over pixels.

    With c the cost of a probability: `y c(p) + (1 - y) c(1 - p)` for one class; the mean of these
    over independent classes; `Σ_c y_c c(p_c)` for exclusive ones. The cost is `-log p` here, which
    makes it cross-entropy, binary or categorical as the classes are.

    Args:
        class_weights: how much each class counts, one number per class: a factor of its terms. The
            mean divides by the number of pixels, not by the sum of their weights.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.
    """

    def __init__(self, *, class_weights: Sequence[float] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.class_weights = check_weights("class_weights", class_weights)

    def cost(self, log_p: Tensor, log_not_p: Tensor) -> Tensor:
        """c(p), element by element, from log p and log(1 - p), both of which are finite."""
        return -log_p

    def class_factors(self, batch: Batch) -> tuple[Tensor | float, Tensor | float]:
        """Factors of the terms with y and with 1 - y: numbers, or something for each class."""
        return 1.0, 1.0

    def factors_of_classes(self, batch: Batch) -> Tensor | None:
        """`class_weights`, to multiply both terms with, or `None`."""
        if self.class_weights is None:
            return None
        return for_each_class("class_weights", self.class_weights, batch.y)

    def labels(self, y: Tensor) -> Tensor:
        """The labels that the terms are made of: y itself, or smoothed."""
        return y

    def pixel_values(self, batch: Batch) -> Tensor:
        positive, negative = self.class_factors(batch)
        weights = self.factors_of_classes(batch)
        if weights is not None:
            same = positive is negative
            positive, negative = positive * weights, negative * weights
            negative = positive if same else negative
        y = self.labels(batch.y)
        if batch.prediction.softmax:
            return self._of_exclusive(batch, y, _times(positive, y))
        if positive is negative and self._is_cross_entropy:
            values = batch.prediction.binary_cross_entropy(y)
            return mean(_times(positive, values), keepdims=True)
        a, b = _times(positive, y), _times(negative, 1 - y)
        return mean(self._charged(batch.prediction, a, b), keepdims=True)

    def _of_exclusive(self, batch, y, a):
        """`Σ_c a_c c(p_c)` of each pixel, a_c the label y_c times its factor."""
        prediction = batch.prediction
        if self._is_cross_entropy:
            return prediction.cross_entropy(a)
        if batch.one_hot and y is batch.y and prediction.from_logits:
            # Only one class is charged: its cost is taken once, not once for each class.
            true, a = prediction.of_true_class(y), ops.sum(a, axis=-1, keepdims=True)
            return a * self.cost(true.log_p, true.log_not_p)
        cost = self.cost(prediction.log_p, prediction.log_not_p)
        return ops.sum(a * cost, axis=-1, keepdims=True)

    def _charged(self, prediction, a, b):
        """`a c(p) + b c(1 - p)`, element by element."""
        if prediction.flat is not prediction:
            values = self._charged(prediction.flat, *flat(a, b))
            return ops.reshape(values, ops.shape(prediction.values))
        if self._is_cross_entropy:
            return prediction.cross_entropy(a, b)
        log_p, log_not_p = prediction.log_p, prediction.log_not_p
        return a * self.cost(log_p, log_not_p) + b * self.cost(log_not_p, log_p)

    @property
    def _is_cross_entropy(self):
        return type(self).cost is TrueClassLoss.cost

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_weights": self.class_weights}


def _times(factor, x):
    """A product without the operation, where the factor is the number 1."""
    return x if isinstance(factor, float) and factor == 1 else factor * x


def background_share(y: Tensor, weight: Tensor) -> Tensor:
    """The share of background in each region and class, `(regions, 1, classes)`."""
    total = ops.sum(weight, axis=1, keepdims=True)
    return ratio(ops.sum(weight * (1 - y), axis=1, keepdims=True), total)


@catalogued(
    family="distribution",
    chapter="distribution/binary_cross_entropy",
    citation="good1952rational",
    formula=r"-y \log p - (1 - y) \log(1 - p)",
)
class BinaryCrossEntropyLoss(TrueClassLoss):
    """Binary cross-entropy: minus the log-likelihood of Bernoulli pixels.

    Formula: `-y' log p - (1 - y') log(1 - p)` with `y' = (1 - a) y + a / 2`, mean over pixels and,
    with `multilabel=True`, over classes.

    Args:
        label_smoothing: a, between 0 and 1; 0 leaves the labels as they are.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss; several classes need `multilabel=True`.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: for several exclusive classes: that is categorical cross-entropy; if
            `label_smoothing` lies outside [0, 1].
    Example:
        >>> loss = BinaryCrossEntropyLoss(from_logits=True)
        >>> float(loss(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1))))  # log 2
        0.6931471824645996

    Source: the negative log-likelihood of independent Bernoulli variables; as a score of stated
        probabilities Good 1952 (doi:10.1111/j.2517-6161.1952.tb00104.x). Equal to
        `keras.losses.BinaryCrossentropy` on the same input. From probabilities, Keras may go
        back to the logits behind a sigmoid layer on TensorFlow; here they are what they are.
    """

    takes = ("binary", "independent")

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        name: str | None = "binary_cross_entropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.label_smoothing = check_number(
            "label_smoothing", label_smoothing, at_least=0, at_most=1
        )

    def labels(self, y: Tensor) -> Tensor:
        return smoothed(y, self.label_smoothing, 2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def smoothed(y: Tensor, a: float, classes: int) -> Tensor:
    """Labels moved by a towards the same share of so many classes."""
    return y if a == 0 else (1 - a) * y + a / classes


@catalogued(
    family="distribution",
    chapter="distribution/weighted_cross_entropy",
    citation="king2001logistic",
    formula=r"-\beta y \log p - (1 - y) \log(1 - p)",
)
class WeightedBinaryCrossEntropyLoss(BinaryCrossEntropyLoss):
    """Binary cross-entropy with a factor on the positive pixels.

    Formula: `-β y log p - (1 - y) log(1 - p)`, mean over pixels.

    Args:
        beta: β > 0, or one such number for each of several independent classes. Above 1 a missed
            pixel costs more than a false one (fewer false negatives); below 1 it is the other way
            round. 1 is plain cross-entropy.
        label_smoothing: see `BinaryCrossEntropyLoss`.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss; several classes need `multilabel=True`.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if `beta` is not a number greater than 0, or does not fit the classes.
    Example:
        >>> loss = WeightedBinaryCrossEntropyLoss(beta=3.0, from_logits=True)
        >>> float(loss(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1))))  # 3 log 2
        2.079441547393799

    Source: the weighted log-likelihood of rare events, King & Zeng 2001
        (doi:10.1093/oxfordjournals.pan.a004868); Jadon 2020 (arXiv:2006.14822), eq. 2; `pos_weight`
        in PyTorch's and TensorFlow's weighted cross-entropy.
    """

    def __init__(
        self,
        beta: float | tuple[float, ...] | list[float] = 1.0,
        *,
        name: str | None = "weighted_binary_cross_entropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        several = isinstance(beta, (tuple, list))
        numbers = tuple(check_number("beta", b, above=0) for b in (beta if several else [beta]))
        self.beta = numbers if several else numbers[0]

    def class_factors(self, batch: Batch) -> tuple[Tensor | float, Tensor | float]:
        if isinstance(self.beta, tuple):
            return for_each_class("beta", self.beta, batch.y), 1.0
        return self.beta, 1.0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta}


@catalogued(
    family="distribution",
    chapter="distribution/weighted_cross_entropy",
    citation="xie2015holistically",
    formula=r"-\beta y \log p - (1 - \beta)(1 - y) \log(1 - p)",
)
class BalancedBinaryCrossEntropyLoss(BinaryCrossEntropyLoss):
    """Binary cross-entropy in which the two classes share the weight by their rarity.

    Formula: `-β y log p - (1 - β)(1 - y) log(1 - p)`, mean over pixels.

    Args:
        beta: the weight of foreground, between 0 and 1. `None` takes the share of background in
            each image (in the batch with `per="batch"`), so that both classes weigh the same in
            total. An image without foreground then has β = 1 and loss 0: nothing is learnt from
            it, false positives included.
        label_smoothing: see `BinaryCrossEntropyLoss`. β is that of the labels as they are.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss; several classes need `multilabel=True`.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if `beta` lies outside [0, 1].
    Example:
        >>> y = np.array([1.0, 0, 0, 0]).reshape(1, 2, 2, 1)  # β = 3/4
        >>> loss = BalancedBinaryCrossEntropyLoss(from_logits=True)
        >>> round(float(loss(y, np.zeros((1, 2, 2, 1)))), 4)  # log 2 · (3/4 + 3 · 1/4) / 4
        0.2599

    Source: Xie & Tu 2015 (arXiv:1504.06375), eq. 2 (a sum there); Jadon 2020
        (arXiv:2006.14822), eq. 3.
    """

    def __init__(
        self,
        beta: float | None = None,
        *,
        name: str | None = "balanced_binary_cross_entropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.beta = None if beta is None else check_number("beta", beta, at_least=0, at_most=1)

    def class_factors(self, batch: Batch) -> tuple[Tensor | float, Tensor | float]:
        beta = background_share(batch.y, batch.weight) if self.beta is None else self.beta
        return beta, 1 - beta

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta}


@catalogued(
    family="distribution",
    chapter="distribution/categorical_cross_entropy",
    citation="bridle1990probabilistic",
    formula=r"-\sum_c w_c y_c \log p_c",
)
class CategoricalCrossEntropyLoss(TrueClassLoss):
    """Categorical cross-entropy, with class weights and label smoothing.

    Formula: `-Σ_c w_c y'_c log p_c` with `y' = (1 - a) y + a / C`, mean over pixels; C classes.

    Args:
        class_weights: the w_c, one per class, of at least 0; all 1 by default. The mean divides by
            the number of pixels, not by the sum of their weights.
        label_smoothing: a, between 0 and 1.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss; several exclusive classes.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if a weight is negative, all are 0, or their number is not that of the classes;
            if `label_smoothing` lies outside [0, 1]; for a binary mask or independent classes.
    Example:
        >>> loss = CategoricalCrossEntropyLoss(class_weights=[1, 2, 5], from_logits=True)
        >>> labels = np.array([[[0, 2]]])
        >>> float(loss(labels, np.zeros((1, 1, 2, 3))))  # log 3 · (1 + 5) / 2
        3.295836925506592

    Source: minus the log-likelihood of a categorical variable, of a softmax as in Bridle 1990
        (doi:10.1007/978-3-642-76153-9_28); label smoothing as in
        `keras.losses.CategoricalCrossentropy`, to which it is equal without weights. PyTorch's
        `CrossEntropyLoss(weight=...)` divides by the sum of the weights of the true classes.
    """

    takes = ("exclusive",)

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        *,
        name: str | None = "categorical_cross_entropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, class_weights=class_weights, **kwargs)
        self.label_smoothing = check_number(
            "label_smoothing", label_smoothing, at_least=0, at_most=1
        )

    def labels(self, y: Tensor) -> Tensor:
        return smoothed(y, self.label_smoothing, y.shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def for_each_class(name: str, numbers: Sequence[float], y: Tensor) -> Tensor:
    """A setting with one number per class, to multiply `y` with."""
    if len(numbers) != y.shape[-1]:
        raise ValueError(
            f"`{name}` must have one number per class. Received: {len(numbers)} numbers for "
            f"{y.shape[-1]} classes"
        )
    return ops.convert_to_tensor(numbers, dtype=y.dtype)


def focal(log_p: Tensor, log_not_p: Tensor, gamma: Tensor | float) -> Tensor:
    """`-(1 - p)^γ log p`, element by element.

    The power is taken in log space: for γ < 1 its slope at 1 - p = 0 is infinite, but that of
    exp(γ log(1 - p)) by a logit is not.
    """
    return -ops.exp(gamma * log_not_p) * log_p


@catalogued(
    family="distribution",
    chapter="distribution/focal",
    citation="lin2017focal",
    formula=r"-\alpha_t (1 - p_t)^\gamma \log p_t",
)
class FocalLoss(TrueClassLoss):
    """Focal loss: cross-entropy that counts less the pixels that are right already.

    Formula: `-α_t (1 - p_t)^γ log p_t`, mean over pixels, p_t the probability of the true class.
    With one class or independent ones, p_t is p and α_t is α on foreground, 1 - p and 1 - α on
    background. With exclusive classes it is `-Σ_c α_c y_c (1 - p_c)^γ log p_c`.

    Args:
        alpha: α between 0 and 1, or one such number per class. `None` leaves it out. A single
            number is the same factor for all exclusive classes: it balances nothing there.
        gamma: γ of at least 0. 0 is cross-entropy, times α_t.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if `alpha` lies outside [0, 1], is all 0 or does not fit the classes; if
            `gamma` is negative.
    Example:
        >>> y, p = np.ones((1, 2, 2, 1)), np.full((1, 2, 2, 1), 0.5)
        >>> round(float(FocalLoss()(y, p)), 6)  # 1/4 · 1/2² · log 2
        0.043322

    Source: Lin et al. 2017 (arXiv:1708.02002), eq. 5, where the sum over anchors is divided by
        the number of objects; here it is the mean. `keras.losses.BinaryFocalCrossentropy`
        ignores α unless `apply_class_balancing=True`, and its gradient for γ < 1 is NaN at a
        pixel that is certainly right; `keras.losses.CategoricalFocalCrossentropy` has the same α
        as here. For soft labels, Keras's binary loss takes p_t = y p + (1 - y)(1 - p) first;
        here the terms of y and of 1 - y are weighed, as in cross-entropy.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] | None = 0.25,
        gamma: float = 2.0,
        *,
        name: str | None = "focal",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.alpha = _check_alpha(alpha)
        self.gamma = check_number("gamma", gamma, at_least=0)

    def cost(self, log_p: Tensor, log_not_p: Tensor) -> Tensor:
        return focal(log_p, log_not_p, self.gamma)

    def class_factors(self, batch: Batch) -> tuple[Tensor | float, Tensor | float]:
        alpha = self.alpha
        if alpha is None:
            return 1.0, 1.0
        if isinstance(alpha, tuple):
            alpha = for_each_class("alpha", alpha, batch.y)
        return alpha, 1 - alpha

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma}


def _check_alpha(alpha):
    if alpha is None or not hasattr(alpha, "__iter__"):
        return alpha if alpha is None else check_number("alpha", alpha, at_least=0, at_most=1)
    numbers = enumerate(check_weights("alpha", alpha))
    return tuple(check_number(f"alpha[{i}]", a, at_most=1) for i, a in numbers)


def hardest(losses: Tensor, counted: Tensor, k: float) -> Tensor:
    """n / m at the m = k n pixels with the largest losses, else 0; n pixels are counted.

    m is rounded to the nearest number, and at least 1. The mean over n of `losses` times this is
    the mean over the hardest m. Of pixels with equal losses, of which only some find a place among
    the m, each has the same part of it. Pixels that are not counted must have losses of 0.
    """
    n = ops.sum(ops.cast(counted, losses.dtype), axis=1, keepdims=True)
    m = ops.maximum(ops.floor(k * n + 0.5), ops.ones_like(n))
    least = largest_but(losses, m)
    harder, equal = (ops.cast(x, losses.dtype) for x in (losses > least, losses == least))
    places = m - ops.sum(harder, axis=1, keepdims=True)
    share = ratio(places, ops.sum(equal, axis=1, keepdims=True))
    return n / m * (harder + share * equal)


def largest_but(x: Tensor, m: Tensor) -> Tensor:
    """The m-th largest value along axis 1, m of shape `(regions, 1, 1)`; it has no gradient.

    By halving the interval it lies in until that holds one number: 25 to 50 rounds of counting in
    float32, a small part of the time that sorting takes. Below 1e-30, where TensorFlow counts the
    halves as 0, it may be a little more than that value.
    """
    x, m = ops.stop_gradient(x), ops.stop_gradient(m)

    def is_below(bound):
        return ops.sum(ops.cast(x > bound, m.dtype), axis=1, keepdims=True) >= m

    def middle(low, high):
        return low + (high - low) / 2

    def may_be_nearer(low, high):
        return ops.any((low < middle(low, high)) & (middle(low, high) < high))

    def halve(low, high):
        below = is_below(middle(low, high))
        return ops.where(below, middle(low, high), low), ops.where(below, high, middle(low, high))

    low, high = (extreme(x, axis=1, keepdims=True) for extreme in (ops.min, ops.max))
    high = ops.where(is_below(low), high, low)  # it is the smallest of all, or above that
    return ops.while_loop(may_be_nearer, halve, (low, high))[1]


@catalogued(
    family="distribution",
    chapter="distribution/hard_and_noisy",
    citation="wu2016bridging",
    formula=r"\frac{1}{k n} \sum_{i \leq k n} \mathrm{CE}_{\pi(i)}",
)
class TopKCrossEntropyLoss(TrueClassLoss):
    """Cross-entropy of the hardest pixels only.

    Formula: the mean of `w l` over the m pixels of a region where it is largest, l the
    cross-entropy of a pixel and w its weight; m = k n, rounded to the nearest number and at
    least 1, n the number of pixels with w > 0.

    Args:
        k: the share of pixels, above 0 and at most 1. 1 is cross-entropy.
        **kwargs: the arguments of every loss, see `SegmentationLoss`. With `per="batch"` the
            hardest pixels are sought in the whole batch.

    Shapes: as for every loss. The loss of a pixel is the mean over independent classes, then
        pixels are ranked. Equal ones at the limit share the places that are left.
    Returns: one value per image, at least 0. As in other means over pixels, one of weight 0
        counts as a loss of 0: out of ten pixels, half of which weigh 0, the hardest come from
        the five others, and their mean is halved.
    Raises:
        ValueError: if `k` is not a number above 0 and at most 1.
    Example:
        >>> y = np.ones((1, 1, 4, 1))
        >>> p = np.array([0.5, 0.25, 0.9, 0.9]).reshape(1, 1, 4, 1)
        >>> round(float(TopKCrossEntropyLoss(k=0.5)(y, p)), 4)  # (log 2 + log 4) / 2
        1.0397

    Source: Wu et al. 2016 (arXiv:1605.06885), online bootstrapping of hard pixels; as a share of
        all pixels, k = 10 %, in Ma et al. 2021 ("Loss odyssey"), whose code rounds m down and
        ranks the pixels of the whole batch together.
    """

    def __init__(
        self, k: float = 0.1, *, name: str | None = "top_k_cross_entropy", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.k = check_number("k", k, above=0, at_most=1)

    def pixel_values(self, batch: Batch) -> Tensor:
        losses = super().pixel_values(batch)
        weighted = ops.stop_gradient(batch.weight * losses)
        return losses * hardest(weighted, batch.weight > 0, self.k)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "k": self.k}


@catalogued(
    family="distribution",
    chapter="distribution/focal",
    citation="leng2022polyloss",
    formula=r"-\log p_t + \epsilon (1 - p_t)",
)
class PolyLoss(TrueClassLoss):
    """Poly-1: cross-entropy whose polynomial expansion has another first coefficient.

    Formula: `-log p_t + ε (1 - p_t)`, mean over pixels, p_t the probability of the true class.
    Cross-entropy is `Σ_j (1 - p_t)^j / j`; the term with j = 1 gets the coefficient 1 + ε.

    Args:
        epsilon: ε of at least -1; below, the loss would rise as p_t nears 1. 0 is cross-entropy,
            -1 leaves the first term out, above 0 a pixel pulls longer.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if `epsilon` is not a number of at least -1.
    Example:
        >>> y, p = np.ones((1, 2, 2, 1)), np.full((1, 2, 2, 1), 0.5)
        >>> round(float(PolyLoss(epsilon=2.0)(y, p)), 4)  # log 2 + 2 · 1/2
        1.6931

    Source: Leng et al. 2022 (arXiv:2204.12511), the Poly-1 loss; there ε is found by search for
        each task, among them 2 for image classification and -1 for object detection.
    """

    def __init__(self, epsilon: float = 1.0, *, name: str | None = "poly", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.epsilon = check_number("epsilon", epsilon, at_least=-1)

    def cost(self, log_p: Tensor, log_not_p: Tensor) -> Tensor:
        return -log_p - self.epsilon * ops.expm1(log_p)  # 1 - p without cancellation

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


@catalogued(
    family="distribution",
    chapter="distribution/hard_and_noisy",
    citation="zhang2018generalized",
    formula=r"\frac{1 - p_t^q}{q}",
)
class GeneralizedCrossEntropyLoss(TrueClassLoss):
    """Generalised cross-entropy: between cross-entropy and absolute error, for noisy labels.

    Formula: `(1 - p_t^q) / q`, mean over pixels, p_t the probability of the true class.

    Args:
        q: above 0 and at most 1. Towards 0 it is cross-entropy, at 1 the absolute error 1 - p_t.
            The larger q, the less a pixel pulls that contradicts its label: the gradient is that
            of cross-entropy times p_t^q.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, between 0 and 1 / q.
    Raises:
        ValueError: if `q` is not a number above 0 and at most 1.
    Example:
        >>> y, p = np.ones((1, 2, 2, 1)), np.full((1, 2, 2, 1), 0.25)
        >>> round(float(GeneralizedCrossEntropyLoss(q=0.5)(y, p)), 6)  # (1 - 1/2) / (1/2)
        1.0

    Source: Zhang & Sabuncu 2018 (arXiv:1805.07836), section 3.2, without the truncation
        that they propose beside it. `keras.losses.CategoricalGeneralizedCrossEntropy` takes class
        maps and probabilities only, and q below 1.
    """

    def __init__(
        self, q: float = 0.7, *, name: str | None = "generalized_cross_entropy", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.q = check_number("q", q, above=0, at_most=1)

    def cost(self, log_p: Tensor, log_not_p: Tensor) -> Tensor:
        return -ops.expm1(self.q * log_p) / self.q  # 1 - p^q without cancellation, also as q -> 0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "q": self.q}


def window_sums(x: Tensor, size: int) -> Tensor:
    """Sums over the window of `size` pixels along each axis of the grid around each pixel."""
    reach = size // 2
    for axis in range(1, len(x.shape) - 1):
        padded = ops.pad(x, [(reach * (i == axis),) * 2 for i in range(len(x.shape))])
        shifts = [slice(i, i - 2 * reach or None) for i in range(size)]
        x = sum(padded[(slice(None),) * axis + (shift,)] for shift in shifts)
    return x


def neighbour_shares(y: Tensor, counted: Tensor, size: int) -> Tensor:
    """The share of each class among the pixels counted in the window around each pixel.

    `y` and `counted` lie on the grid. The window ends where the picture does.
    """
    return ratio(window_sums(y * counted, size), window_sums(counted, size))


@catalogued(
    family="distribution",
    chapter="distribution/calibration",
    citation="murugesan2023nacl",
    formula=r"\mathrm{CE} + \frac{\lambda}{C} \sum_c |\tau_c - z_c|",
)
class NeighborAwareCalibrationLoss(TrueClassLoss):
    """NACL: cross-entropy, and logits that are held to the classes of the neighbours.

    Formula: `-Σ_c y_c log p_c + λ / C Σ_c |τ_c - z_c|`, mean over pixels; z are the C logits, and
    τ_c is the share of class c in the true labels of the window around a pixel, itself included.

    Args:
        neighbor_weight: λ of at least 0; 0 is cross-entropy.
        size: side of the window in pixels, odd.
        **kwargs: the arguments of every loss, see `SegmentationLoss`. Give it logits: the penalty
            is on all of z, also on what all classes have in common, to which p is blind. From
            probabilities, z is taken as that `log p + const` which has the mean of τ, 1 / C.

    Shapes: as for every loss; several exclusive classes. A binary mask can be two of them: for
        the one logit of a sigmoid, the definition has no counterpart (held to τ = 0, it would say
        p = 1/2).
    Returns: one value per image, at least 0. The perfect prediction is not its minimum.
    Raises:
        ValueError: if `neighbor_weight` is negative, if `size` is not an odd integer above 0; for a
            binary mask or independent classes.
    Example:
        >>> labels = np.array([[[0, 0, 1, 1]]])  # τ_1 is 0, 1/3, 2/3, 1
        >>> loss = NeighborAwareCalibrationLoss(neighbor_weight=1.0, from_logits=True)
        >>> round(float(loss(labels, np.zeros((1, 1, 4, 2)))), 4)  # log 2 + 1/2
        1.1931

    Source: Murugesan et al. 2023 (arXiv:2303.06268) and 2025 (arXiv:2401.14487), with the mean
        over classes and λ = 0.1 of the authors' code, and of its priors and penalties the mean
        and L1. Windows that reach beyond the picture differ: there, the authors fill with class
        0, MONAI's `NACLLoss` with no class (the shares then sum to less than 1); here they end
        at the border, and at pixels of weight 0.
    """

    takes = ("exclusive",)

    def __init__(
        self,
        neighbor_weight: float = 0.1,
        size: int = 3,
        *,
        name: str | None = "neighbor_aware_calibration",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.neighbor_weight = check_number("neighbor_weight", neighbor_weight, at_least=0)
        self.size = check_whole("size", size, at_least=1, odd=True)

    def pixel_values(self, batch: Batch) -> Tensor:
        counted = ops.cast(batch.weight > 0, batch.y.dtype)
        shares = neighbour_shares(batch.on_grid(batch.y), batch.on_grid(counted), self.size)
        distance = ops.abs(batch.in_regions(shares) - self._logits(batch.prediction))
        return super().pixel_values(batch) + self.neighbor_weight * mean(distance, keepdims=True)

    def _logits(self, prediction):
        if prediction.from_logits:
            return prediction.values
        z = prediction.log_p
        return z - mean(z, keepdims=True) + 1 / z.shape[-1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "neighbor_weight": self.neighbor_weight, "size": self.size}


def reversed_distance(distance: Tensor, normalize: bool) -> Tensor:
    """How much nearer to the boundary each pixel is than the farthest one on its side.

    Args:
        distance: signed distances `(images, *spatial, channels)`; 0 where there is none.
        normalize: divide each side by its largest value.

    Returns:
        Tensor of the same shape, at least 0: largest on the rim; 0 farthest from it, and where
        there is no distance.
    """
    axes = tuple(range(1, len(distance.shape) - 1))

    def one_side(d):  # 0 on the other one
        nearer = ops.where(d > 0, ops.max(d, axis=axes, keepdims=True) - d, ops.zeros_like(d))
        largest = ops.max(nearer, axis=axes, keepdims=True)
        return ratio(nearer, largest) if normalize else nearer

    return one_side(ops.relu(distance)) + one_side(ops.relu(-distance))


@catalogued(
    family="distribution",
    chapter="distribution/distance_penalty",
    citation="caliva2019distance",
    formula=r"(1 + \phi)\, \mathrm{CE}",
)
class DistancePenaltyCrossEntropyLoss(TrueClassLoss):
    """Cross-entropy with a penalty for errors near the true boundary.

    Formula: `(1 + φ) CE`, mean over pixels, with `φ = D - d`: d is the distance from the pixel to
    the nearest pixel on the other side of the boundary of the true mask, y > 1/2, and D the largest
    d on its side of the image. Each class has its own mask and φ. An image with one side only has
    φ = 0.

    Args:
        normalize: divide φ by its largest value on that side, D - 1, so that it runs from 1 at the
            boundary to 0. As published it is in pixels: the loss grows with the sizes of things,
            and a small object weighs less than the background around it.
        spacing: size of a pixel, one number or one for each axis of space, in the unit wanted.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, at least that of cross-entropy.
    Raises:
        ValueError: if `normalize` is not a boolean, or `spacing` not above 0 or of other axes.
    Example:
        >>> y = np.array([1.0, 0, 0, 0]).reshape(1, 1, 4, 1)  # φ = 0, 2, 1, 0
        >>> loss = DistancePenaltyCrossEntropyLoss(from_logits=True)
        >>> round(float(loss(y, np.zeros(y.shape))), 4)  # log 2 · (1 + 3 + 2 + 1) / 4
        1.213

    Source: Caliva et al. 2019 (arXiv:1908.03679), eq. 2, with one map outside of all objects and
        one inside of each class: the same for exclusive classes, as only the true class of a pixel
        counts. The code of the "loss odyssey" (Ma 2020, arXiv:2005.13449) normalizes, and is NaN
        where D = 1; φ is 0 there.
    """

    def __init__(
        self,
        normalize: bool = False,
        spacing: float | tuple[float, ...] = 1.0,
        *,
        name: str | None = "distance_penalty_cross_entropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.normalize = check_flag("normalize", normalize)
        self.spacing = check_spacing("spacing", spacing)

    def class_factors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        mask, valid = batch.on_grid(batch.y) > 0.5, batch.on_grid(batch.weight) > 0
        distance = signed_distance(mask, valid, batch.y.dtype, self.spacing)
        factor = 1 + batch.in_regions(reversed_distance(distance, self.normalize))
        return factor, factor

    def get_config(self) -> dict[str, Any]:
        own = {"normalize": self.normalize, "spacing": self.spacing}
        return {**super().get_config(), **own}
