"""Losses that compare the predicted distribution of each pixel with the true one."""

import keras
from keras import ops

from segloss_ref.losses.base import PixelLoss
from segloss_ref.losses.settings import check_number


class TrueClassLoss(PixelLoss):
    """Base of losses that charge a pixel for the probability of its true class; mean over pixels.

    With c the cost of a probability: `y c(p) + (1 - y) c(1 - p)` for one class; the mean of these
    over independent classes; `Σ_c y_c c(p_c)` for exclusive ones. The cost is `-log p` here, which
    makes it cross-entropy, binary or categorical as the classes are.

    Args:
        **kwargs: the arguments of every loss, see `SegmentationLoss`.
    """

    def cost(self, log_p, log_not_p):
        """c(p), element by element, from log p and log(1 - p), both of which are finite."""
        return -log_p

    def class_factors(self, batch):
        """Factors of the terms with y and with 1 - y: numbers, or something for each class."""
        return 1.0, 1.0

    def pixel_values(self, batch):
        prediction = batch.prediction
        log_p, log_not_p = prediction.log_p, prediction.log_not_p
        positive, negative = self.class_factors(batch)
        values = positive * batch.y * self.cost(log_p, log_not_p)
        if prediction.softmax:
            return ops.sum(values, axis=-1, keepdims=True)
        values = values + negative * (1 - batch.y) * self.cost(log_not_p, log_p)
        return ops.mean(values, axis=-1, keepdims=True)


def background_share(y, weight):
    """The share of background in each region and class, `(regions, 1, classes)`."""
    total = ops.sum(weight, axis=1, keepdims=True)
    return ops.divide_no_nan(ops.sum(weight * (1 - y), axis=1, keepdims=True), total)


@keras.saving.register_keras_serializable(package="segloss_ref")
class BinaryCrossEntropyLoss(TrueClassLoss):
    """Binary cross-entropy: minus the log-likelihood of Bernoulli pixels.

    Formula: `-y log p - (1 - y) log(1 - p)`, mean over pixels and, with `multilabel=True`, over
    classes.

    Args:
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss; several classes need `multilabel=True`.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: for several exclusive classes: that is categorical cross-entropy.
    Example:
        >>> loss = BinaryCrossEntropyLoss(from_logits=True)
        >>> float(loss(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1))))  # log 2
        0.6931471824645996

    Source: the negative log-likelihood of independent Bernoulli variables; equal to
        `keras.losses.BinaryCrossentropy` on the same input. From probabilities, Keras may go
        back to the logits behind a sigmoid layer on TensorFlow; here they are what they are.
    """

    takes = ("binary", "independent")

    def __init__(self, *, name="binary_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)


@keras.saving.register_keras_serializable(package="segloss_ref")
class WeightedBinaryCrossEntropyLoss(BinaryCrossEntropyLoss):
    """Binary cross-entropy with a factor on the positive pixels.

    Formula: `-β y log p - (1 - y) log(1 - p)`, mean over pixels.

    Args:
        beta: β > 0. Above 1 a missed pixel costs more than a false one (fewer false negatives);
            below 1 it is the other way round. 1 is plain cross-entropy.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss; several classes need `multilabel=True`.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if `beta` is not a number greater than 0.
    Example:
        >>> loss = WeightedBinaryCrossEntropyLoss(beta=3.0, from_logits=True)
        >>> float(loss(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1))))  # 3 log 2
        2.079441547393799

    Source: Jadon 2020 (arXiv:2006.14822), eq. 2; `pos_weight` in PyTorch's and TensorFlow's
        weighted cross-entropy.
    """

    def __init__(self, beta=1.0, *, name="weighted_binary_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.beta = check_number("beta", beta, above=0)

    def class_factors(self, batch):
        return self.beta, 1.0

    def get_config(self):
        return {**super().get_config(), "beta": self.beta}


@keras.saving.register_keras_serializable(package="segloss_ref")
class BalancedBinaryCrossEntropyLoss(BinaryCrossEntropyLoss):
    """Binary cross-entropy in which the two classes share the weight by their rarity.

    Formula: `-β y log p - (1 - β)(1 - y) log(1 - p)`, mean over pixels.

    Args:
        beta: the weight of foreground, between 0 and 1. `None` takes the share of background in
            each image (in the batch with `per="batch"`), so that both classes weigh the same in
            total. An image without foreground then has β = 1 and loss 0: nothing is learnt from
            it, false positives included.
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

    def __init__(self, beta=None, *, name="balanced_binary_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.beta = None if beta is None else check_number("beta", beta, at_least=0, at_most=1)

    def class_factors(self, batch):
        beta = background_share(batch.y, batch.weight) if self.beta is None else self.beta
        return beta, 1 - beta

    def get_config(self):
        return {**super().get_config(), "beta": self.beta}
