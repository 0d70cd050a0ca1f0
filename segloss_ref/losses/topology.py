"""Losses that look at skeletons: whether what is long and thin holds together."""

from typing import Any

from keras import ops

from segloss_ref.catalogue import catalogued
from segloss_ref.checks import Tensor, check_number, check_whole
from segloss_ref.distance import dilate, skeleton, soft_skeleton
from segloss_ref.losses.arithmetic import nan_of
from segloss_ref.losses.base import RegionLoss
from segloss_ref.losses.inputs import Batch


def cl_dice(
    y: Tensor, p: Tensor, skeleton_y: Tensor, skeleton_p: Tensor, weight: Tensor, smooth: float
) -> Tensor:
    """`1 - 2 T_p T_s / (T_p + T_s)`, `(regions, classes)`.

    Written with what is wrong, 1 - T_p and 1 - T_s, so that nothing cancels near the perfect value.
    """

    def total(x):
        return ops.sum(weight * x, axis=1)

    predicted, true = total(skeleton_p) + smooth, total(skeleton_y) + smooth
    precision = (total(skeleton_p * y) + smooth) / predicted
    sensitivity = (total(skeleton_y * p) + smooth) / true
    false, missed = total(skeleton_p * (1 - y)) / predicted, total(skeleton_y * (1 - p)) / true
    return (precision * missed + sensitivity * false) / (precision + sensitivity)


@catalogued(
    family="boundary",
    chapter="boundary/centrelines",
    citation="shit2021cldice",
    formula=r"1 - \frac{2\, T_p T_s}{T_p + T_s}",
)
class ClDiceLoss(RegionLoss):
    """Centreline Dice loss: how much of each mask's skeleton lies outside the other mask.

    Formula: `1 - 2 T_p T_s / (T_p + T_s)` with the topology precision
    `T_p = (Σ S(p) y + s) / (Σ S(p) + s)` and the topology sensitivity
    `T_s = (Σ S(y) p + s) / (Σ S(y) + s)`; S is the soft skeleton
    (`segloss_ref.distance.soft_skeleton`).

    It is made to be added: `DiceLoss() + 0.5 * ClDiceLoss()`. It looks at skeletons only, and a
    prediction that is 1 everywhere has none: alone, it calls that perfect.

    Args:
        iterations: half width in pixels of the widest structure that still has a skeleton. Time
            and memory grow with it.
        smooth: s > 0, in pixels of skeleton. Two empty masks then agree perfectly (loss 0).
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, between 0 and 1.
    Raises:
        ValueError: if `iterations` is not a whole number of at least 0, or `smooth` not above 0.
    Example:
        >>> y = np.zeros((1, 3, 5, 1), "float32")
        >>> y[:, 1] = 1  # a line
        >>> p = y.copy()
        >>> p[:, 1, 2] = 0  # with a gap: T_p = 1, T_s = (4 + 1) / (5 + 1)
        >>> round(float(ClDiceLoss()(y, p)), 4)  # 1 - 2 · 5/6 / (11/6)
        0.0909

    Source: Shit et al. 2021 (arXiv:2003.07311), soft-clDice with algorithm 1 for S. It is trained
        as `(1 - α) softDice + α soft-clDice` there. The authors' code has 3 iterations, sums over
        the batch (`per="batch"`) and leaves class 0 out (`include_background=False`).
    """

    def __init__(
        self,
        iterations: int = 10,
        smooth: float = 1.0,
        *,
        name: str | None = "cl_dice",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.iterations = check_whole("iterations", iterations, at_least=0)
        self.smooth = check_number("smooth", smooth, above=0)

    def class_values(self, batch: Batch) -> Tensor:
        y, p = batch.y, batch.prediction.p
        valid = batch.on_grid(batch.weight) > 0

        def skeleton_of(x):
            return batch.in_regions(soft_skeleton(batch.on_grid(x), self.iterations, valid))

        skeleton_y = ops.stop_gradient(skeleton_of(y))
        return cl_dice(y, p, skeleton_y, skeleton_of(p), batch.weight, self.smooth)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "iterations": self.iterations, "smooth": self.smooth}


@catalogued(
    family="boundary",
    chapter="boundary/centrelines",
    citation="kirchhoff2024skeleton",
    formula=r"1 - \frac{\sum T p + s}{\sum T + s}",
)
class SkeletonRecallLoss(RegionLoss):
    """Skeleton recall loss: how much of the true centreline, made a tube, is missed.

    Formula: `1 - (Σ T p + s) / (Σ T + s)`, where the tube T is the skeleton of the true mask,
    dilated, within the mask.

    It is made to be added to a loss that sees false positives, `DiceLoss() + SkeletonRecallLoss()`:
    it does not. From an image without a true object nothing is learnt (loss 0).

    Args:
        radius: radius of the tube, in steps from pixel to face neighbour; 0 is the skeleton.
        smooth: s > 0, in pixels of the tube.
        **kwargs: see `RegionLoss` and `SegmentationLoss`. The paper leaves background out:
            `include_background=False`.

    Shapes: as for every loss. Soft labels count as 1 above one half.
    Returns: one value per image, between 0 and 1.
    Raises:
        ValueError: if `radius` is not a whole number of at least 0, or `smooth` not above 0.
    Example:
        >>> y = np.zeros((1, 3, 5, 1), "float32")
        >>> y[:, 1] = 1  # a line
        >>> p = y.copy()
        >>> p[:, 1, 2] = 0  # with a gap
        >>> round(float(SkeletonRecallLoss()(y, p)), 4)  # 1 - (4 + 1) / (5 + 1)
        0.1667

    Source: Kirchhoff et al. 2024 (arXiv:2404.03010), where the loss is minus the recall, without s.
        As there, exclusive classes share the skeleton of all that is not class 0. The authors
        thin masks with `skimage.morphology.skeletonize`; here it is done on the device, by other
        algorithms that keep the topology, too: `segloss_ref.distance.thin` in two dimensions,
        `thin_volume` in three.
    """

    def __init__(
        self,
        radius: int = 2,
        smooth: float = 1.0,
        *,
        name: str | None = "skeleton_recall",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.radius = check_whole("radius", radius, at_least=0)
        self.smooth = check_number("smooth", smooth, above=0)

    def class_values(self, batch: Batch) -> Tensor:
        p, weight = batch.prediction.p, batch.weight
        tube = batch.in_regions(self._tubes(batch))
        missed = ops.sum(weight * (tube * (1 - p) + nan_of(batch.y)), axis=1)
        return missed / (ops.sum(weight * tube, axis=1) + self.smooth)

    def _tubes(self, batch):
        y, valid = batch.on_grid(batch.y), batch.on_grid(batch.weight) > 0
        objects = y
        if batch.prediction.softmax:
            objects = ops.concatenate([y[..., :1], 1 - y[..., :1]], axis=-1)
        line = ops.cast(skeleton((objects > 0.5) & valid), y.dtype)
        for _ in range(self.radius):
            line = dilate(line)
        if batch.prediction.softmax:  # background has its own tube, the others share one
            line = ops.concatenate([line[..., :1]] + [line[..., 1:]] * (y.shape[-1] - 1), axis=-1)
        return ops.stop_gradient(ops.where((y > 0.5) & valid, line, ops.zeros_like(line)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "radius": self.radius, "smooth": self.smooth}
