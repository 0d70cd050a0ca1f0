"""What a row of the tables says of a loss."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Case:
    """A loss with settings, its oracle, and what of the common tests applies to it.

    Which classes and how many spatial dimensions a loss takes, it says itself (`takes`,
    `dimensions`), and the tests follow.

    Args:
        loss: the class.
        oracle: the value of one image and one class in float64 NumPy, from `(y, p, w)`, each of
            the image's spatial shape, two- or three-dimensional; w are pixel weights.
        settings: for the constructor.
        joint: the same from all classes at once, with a last axis of classes in y and p, where the
            value is not the mean over classes of `oracle`: a dict from the kind of classes
            ("binary", "exclusive", "independent") to the function.
        soft: whether soft labels are defined. Where not, tests draw hard ones.
        permutable: whether the place of a pixel does not matter.
        flippable: whether the mirror image has the same value.
        least: the value of a perfect hard prediction, where it is the minimum; else `None`.
        may_be_negative: the names of settings that are numbers and may be below 0.
        centred: whether tests draw logits with a mean of 1 / C over exclusive classes, where the
            loss looks at what softmax does not: these follow from the probabilities.
        around: for a loss around a loss: the class inside, to which all settings go.
        smooth_gradient: whether the loss is differentiable wherever tests look.
    """

    loss: type
    oracle: Callable | None = None
    settings: dict = field(default_factory=dict)
    joint: dict = field(default_factory=dict)
    soft: bool = True
    permutable: bool = True
    flippable: bool = True
    least: float | None = 0.0
    may_be_negative: tuple = ()
    centred: bool = False
    around: type | None = None
    smooth_gradient: bool = True

    def value(self, kind, y, p, w):
        """The oracle's value of one image, y and p with an axis of classes."""
        if kind in self.joint:
            return self.joint[kind](y, p, w)
        return np.mean([self.oracle(y[..., c], p[..., c], w) for c in range(y.shape[-1])])
