"""What a row of the tables says of a loss."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """A loss with settings, its oracle, and what of the common tests applies to it.

    Args:
        loss: the class.
        oracle: the value of one image and one class in float64 NumPy, from `(y, p, w)`, each of
            the image's spatial shape, two- or three-dimensional; w are pixel weights.
        settings: for the constructor.
        soft: whether soft labels are defined. Where not, tests draw hard ones.
        permutable: whether the place of a pixel does not matter.
        dimensions: the numbers of spatial dimensions that the loss takes.
        least: the value of a perfect hard prediction, where it is the minimum; else `None`.
        smooth_gradient: whether the loss is differentiable wherever tests look.
    """

    loss: type
    oracle: Callable
    settings: dict = field(default_factory=dict)
    soft: bool = True
    permutable: bool = True
    dimensions: tuple = (2, 3)
    least: float | None = 0.0
    smooth_gradient: bool = True
