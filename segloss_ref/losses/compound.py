"""Losses made of losses."""

import keras

from segloss_ref.losses.base import SegmentationLoss
from segloss_ref.losses.settings import check_number

_SHARED = ("from_logits", "multilabel", "reduction")


@keras.saving.register_keras_serializable(package="segloss_ref")
class CompoundLoss(SegmentationLoss):
    """A weighted sum of losses; what `DiceLoss() + 0.5 * BinaryCrossEntropyLoss()` makes.

    Formula: `Σ λ_k L_k`. Each part reduces to one value per image, weights included, before
    they are added.

    Args:
        losses: the parts. They must agree on `from_logits`, `multilabel` and `reduction`, which
            the sum takes over.
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
    """

    def __init__(self, losses, weights=None, *, name=None):
        losses = list(losses)
        weights = [1.0] * len(losses) if weights is None else list(weights)
        _check_parts(losses, weights)
        parts, factors = [], []
        for loss, weight in zip(losses, weights):
            # A sum of sums is one sum: (a + b) + c and a + (b + c) are the same loss.
            inner = loss.losses if isinstance(loss, CompoundLoss) else [loss]
            inner_weights = loss.weights if isinstance(loss, CompoundLoss) else [1.0]
            parts += inner
            factors += [check_number("weights", weight, at_least=0) * w for w in inner_weights]
        shared = {key: getattr(parts[0], key) for key in _SHARED}
        name = name or "_".join(part.name for part in parts)
        super().__init__(name=name, dtype=parts[0].dtype, **shared)
        self.losses, self.weights = parts, tuple(factors)

    def call(self, y_true, y_pred):
        return sum(w * loss.call(y_true, y_pred) for w, loss in zip(self.weights, self.losses))

    def __call__(self, y_true, y_pred, sample_weight=None):
        values = [loss(y_true, y_pred, sample_weight) for loss in self.losses]
        return sum(w * value for w, value in zip(self.weights, values))

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
    for key in _SHARED:
        values = [getattr(loss, key) for loss in losses]
        if len(set(values)) > 1:
            raise ValueError(f"All parts must have the same `{key}`. Received: {values}")
