"""Losses that compare the predicted region with the true one, by sums over pixels."""

import keras
from keras import ops

from segloss_ref.losses.base import RegionLoss
from segloss_ref.losses.settings import check_flag, check_number


def dice(y, p, weight, smooth, squared):
    """`1 - (2 Σ y p + s) / (Σ y^q + Σ p^q + s)`, `(regions, classes)`; q = 2 if squared.

    Written as (Σ y^q + Σ p^q - 2 Σ y p) / (Σ y^q + Σ p^q + s), where the numerator is a sum of
    what is wrong at each pixel: nothing cancels when the overlap is almost perfect.
    """
    if squared:
        wrong, mass = ops.square(y - p), ops.square(y) + ops.square(p)
    else:
        wrong, mass = y * (1 - p) + (1 - y) * p, y + p
    return ops.sum(weight * wrong, axis=1) / (ops.sum(weight * mass, axis=1) + smooth)


@keras.saving.register_keras_serializable(package="segloss_ref")
class DiceLoss(RegionLoss):
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

    def __init__(self, smooth=1.0, squared=False, *, name="dice", **kwargs):
        super().__init__(name=name, **kwargs)
        self.smooth = check_number("smooth", smooth, above=0)
        self.squared = check_flag("squared", squared)

    def class_values(self, batch):
        return dice(batch.y, batch.prediction.p, batch.weight, self.smooth, self.squared)

    def get_config(self):
        return {**super().get_config(), "smooth": self.smooth, "squared": self.squared}
