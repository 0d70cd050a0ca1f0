"""Losses that look at where the boundary is."""

from typing import Any

from keras import ops

from segloss_ref.catalogue import catalogued
from segloss_ref.checks import Tensor, check_flag, check_number, check_spacing, check_whole
from segloss_ref.distance import rim, signed_distance, squared_distance
from segloss_ref.losses.arithmetic import nan_of, ratio
from segloss_ref.losses.base import ClassPixelLoss, RegionLoss
from segloss_ref.losses.distribution import BinaryCrossEntropyLoss, TrueClassLoss
from segloss_ref.losses.inputs import Batch, assemble, checked_weight, classes_last, instance_map
from segloss_ref.weight_maps import (
    ClassWeights,
    Spacing,
    UNetWeightMap,
    separate_touching_ops,
    unet_weight_map_ops,
)


@catalogued(
    family="boundary",
    chapter="boundary/shape_aware",
    citation="ronneberger2015unet",
    formula=r"w\, \mathrm{CE},\ w = w_c + w_0 \exp\left(-\frac{(d_1 + d_2)^2}{2 \sigma^2}\right)",
)
class ShapeAwareLoss(BinaryCrossEntropyLoss):
    """Cross-entropy times the weight map of the U-Net, made from an instance map as it trains.

    Formula: `-w [y log p + (1 - y) log(1 - p)]`, mean over pixels, with
    `w = w_c + w0 exp(-(d1 + d2)² / (2 σ²))` on background; d1, d2 are the distances to the nearest
    and second nearest cell. Cells that touch are first separated by a seam of background, one
    pixel wide (`separate_touching`), in the map and in y.

    Args:
        w0: height of the seams, at least 0; 0 leaves cross-entropy on separated cells.
        sigma: σ > 0, their width, in the unit of `spacing`: pixels by default.
        class_weights: the balance w_c: `None` (1 everywhere), the pair (background, cell), or
            `"balanced"`.
        surround: pixels by which `y_true` may reach farther than `y_pred` on each side, so that
            cells beyond the edge of a crop count in its map: 28 are enough for σ = 5
            (`seam_reach`). Where it does not, as in whole images, nothing lies beyond the edge.
        spacing: size of a pixel, one number or one for each axis of space, in the unit wanted.
        **kwargs: the arguments of every loss, see `SegmentationLoss`. The mean weight of the map
            exceeds 1; `reduction="mean_with_sample_weight"` divides it out, for comparisons.

    Shapes: `y_true` is an instance map of integers, `(batch, height, width)` or `(batch, height,
        width, 1)`, or larger on each side by `surround`: 0 background, each cell its own number,
        -1 (and `ignore_class`) out of the picture. A binary mask would make one cell of all that
        touch. `y_pred` is `(batch, height, width, 1)`; `sample_weight` multiplies the map.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: for a boolean or fractional `y_true`, several classes, other shapes, and for a
            setting of the map that is out of range.
    Example:
        >>> cells = np.array([[[1, 1, 1, 2, 2, 2]]])
        >>> loss = ShapeAwareLoss(from_logits=True)
        >>> round(float(loss(cells, np.zeros((1, 1, 6, 1)))), 4)  # log 2 · (5 + 10.23) / 6
        1.7596

    Source: Ronneberger et al. 2015 (arXiv:1505.04597), eqs. 1 and 2, where the sign of the
        energy is missing.
    """

    truth = "instances"
    takes = ("binary",)
    dimensions = (2,)

    def __init__(
        self,
        w0: float = 10.0,
        sigma: float = 5.0,
        class_weights: ClassWeights = None,
        surround: int = 0,
        spacing: Spacing = 1.0,
        *,
        name: str | None = "shape_aware",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        # The layer owns the settings of the map and their checks.
        layer = UNetWeightMap(w0, sigma, class_weights, spacing=spacing)
        self.w0, self.sigma, self.class_weights = layer.w0, layer.sigma, layer.class_weights
        self.spacing = layer.spacing
        self.surround = check_whole("surround", surround, at_least=0)

    def batch_of(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Batch:
        y_true, y_pred, sample_weight = classes_last(
            y_true, y_pred, sample_weight, self.data_format
        )
        labels, wrong = instance_map(y_true, y_pred, self, self.surround)
        labels = separate_touching_ops(labels)
        settings = self.w0, self.sigma, self.class_weights, self.spacing
        weight = unet_weight_map_ops(labels, *settings)
        shape = ops.shape(y_pred)[:3]
        if self.surround:
            labels, weight = (_middle(x, shape) for x in (labels, weight))
        weight = ops.cast(weight, self.compute_dtype)
        given = checked_weight(sample_weight, y_pred, self.compute_dtype)
        if given is not None:
            weight = weight * ops.reshape(given, (*ops.shape(given), 1, 1)[:3])
        y, valid = ops.cast(labels > 0, self.compute_dtype), labels >= 0
        if wrong is not None:
            wrong = _middle(wrong, shape) if self.surround else wrong
            y = ops.where(wrong, ops.cast(float("nan"), y.dtype), y)
            valid, weight = valid | wrong, ops.where(wrong, ops.ones_like(weight), weight)
        return assemble(y[..., None], valid, y_pred, weight, self)

    def factors_of_classes(self, batch: Batch) -> Tensor | None:
        return None  # the map holds them

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "w0": self.w0,
            "sigma": self.sigma,
            "surround": self.surround,
            "spacing": self.spacing,
        }


def _middle(x, shape):
    """What is left of `(batch, height, width)` without as much on each side as is too much."""
    start = (0, *((whole - part) // 2 for whole, part in zip(ops.shape(x)[1:], shape[1:])))
    return ops.slice(x, start, shape)


def _mask(batch, x):
    """Where `x > 1/2`, on the grid; a pixel of weight 0 is on no mask. Data, without gradient."""
    return ops.logical_and(batch.on_grid(x) > 0.5, batch.on_grid(batch.weight) > 0)


def _signed_distance(batch, x, spacing):
    """The signed distance to the mask `x > 1/2`, `(regions, pixels, classes)`."""
    valid = batch.on_grid(batch.weight) > 0
    return batch.in_regions(signed_distance(_mask(batch, x), valid, x.dtype, spacing))


@catalogued(
    family="boundary",
    chapter="boundary/boundary_loss",
    citation="kervadec2019boundary",
    formula=r"\phi\, p",
)
class BoundaryLoss(ClassPixelLoss):
    """Boundary loss: the probability times the signed distance to the true boundary.

    Formula: `φ p`, mean over pixels, then over classes. φ is the distance from the pixel to the
    nearest pixel on the other side of the boundary of the true mask, y > 1/2: positive outside,
    negative inside, at least 1 in size. An image with only one of the two sides has φ = 0.

    Args:
        spacing: size of a pixel, one number or one for each axis of space, in the unit wanted.
        class_weights, include_background: see `RegionLoss`. Class 0 is a class like others unless
            left out; where it is the largest, it has the largest distances.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, in the unit of `spacing`, pixels by default. It may be negative
        and is least where p = y; a class of which nothing is predicted has 0. It is linear in p,
        and meant to be added to a region loss.
    Raises:
        ValueError: for a `spacing` that is not above 0 or does not fit the axes, and for the
            settings of `RegionLoss`.
    Example:
        >>> y = np.array([0.0, 1, 1, 1]).reshape(1, 1, 4, 1)  # φ = 1, -1, -2, -3
        >>> float(BoundaryLoss()(y, y)), float(BoundaryLoss()(y, np.ones(y.shape)))
        (-1.5, -1.25)

    Source: Kervadec et al. 2019 (arXiv:1812.07032), section 2. The authors' code moves φ by one
        inside, -(d - 1): the object's outermost pixels then have φ = 0 and teach nothing. It leaves
        φ = 0 for an empty mask only. Here the two sides of the boundary are treated alike. The
        map is made here, on the device: it need not be prepared with the data.
    """

    def __init__(
        self,
        spacing: float | tuple[float, ...] = 1.0,
        *,
        name: str | None = "boundary",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.spacing = check_spacing("spacing", spacing)

    def class_pixel_values(self, batch: Batch) -> Tensor:
        distance = _signed_distance(batch, batch.y, self.spacing)
        return distance * batch.prediction.p + nan_of(batch.y)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "spacing": self.spacing}


@catalogued(
    family="boundary",
    chapter="boundary/hausdorff",
    citation="karimi2019hausdorff",
    formula=r"(y - p)^2 \left(d_p^{\,\alpha} + d_y^{\,\alpha}\right)",
)
class HausdorffDistanceLoss(ClassPixelLoss):
    """Hausdorff distance loss: squared errors, weighed by their distance to both boundaries.

    Formula: `(p - y)² (d_p^α + d_y^α)`, mean over pixels, then over classes. d_y is the distance
    from a pixel to the nearest pixel on the other side of the boundary of the true mask, y > 1/2,
    on both sides positive; d_p the same for the predicted mask, p > 1/2. Both are data: no
    gradient flows through them. A mask with only one of the two sides has d = 0.

    Args:
        alpha: α > 0. The larger, the more the farthest errors decide, as in the Hausdorff distance
            itself.
        log: `log(1 + L)` of each class's value L, which grows large at the start.
        spacing: size of a pixel, one number or one for each axis of space, in the unit wanted.
        class_weights, include_background: see `RegionLoss`.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, at least 0, in the unit of `spacing` to the power α. Where both
        masks have one side only, it is 0 whatever p is: below 1/2, false positives on an empty
        truth are free.
    Raises:
        ValueError: if `alpha` is not a number greater than 0, `log` not a boolean, or `spacing` not
            above 0 or of other axes.
    Example:
        >>> y = np.array([1.0, 0, 0, 0]).reshape(1, 1, 4, 1)
        >>> p = np.array([1.0, 1, 0, 0]).reshape(1, 1, 4, 1)
        >>> float(HausdorffDistanceLoss()(y, p))  # one error, 1 from both rims: (1² + 1²) / 4
        0.5

    Source: Karimi & Salcudean 2019 (arXiv:1904.10030), eq. 8 (distance transforms), with α = 2.
        As MONAI's `HausdorffDTLoss` and, with `log=True`, `LogHausdorffDTLoss`, except that those
        take the logarithm after the mean over classes and images.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        log: bool = False,
        spacing: float | tuple[float, ...] = 1.0,
        *,
        name: str | None = "hausdorff_distance",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.alpha = check_number("alpha", alpha, above=0)
        self.log = check_flag("log", log)
        self.spacing = check_spacing("spacing", spacing)

    def class_pixel_values(self, batch: Batch) -> Tensor:
        p = batch.prediction.p
        distances = [_signed_distance(batch, x, self.spacing) for x in (p, batch.y)]
        return ops.square(p - batch.y) * sum(ops.abs(d) ** self.alpha for d in distances)

    def class_values(self, batch: Batch) -> Tensor:
        values = super().class_values(batch)
        return ops.log1p(values) if self.log else values

    def get_config(self) -> dict[str, Any]:
        own = {"alpha": self.alpha, "log": self.log, "spacing": self.spacing}
        return {**super().get_config(), **own}


def mean_curve_distance(
    predicted: Tensor,
    true: Tensor,
    dtype: Any = "float32",
    spacing: float | tuple[float, ...] = 1.0,
) -> Tensor:
    """The mean distance from the curve around a predicted mask to the curve around the true one.

    Args:
        predicted, true: boolean tensors `(images, *spatial, channels)`. The curve around a mask is
            its `rim`.
        dtype: of the result.
        spacing: size of a pixel, one number or one for each axis of space.

    Returns:
        Tensor with one value per image and channel, and spatial axes of size 1: the mean over the
        pixels of the predicted curve of the distance to the nearest pixel of the true curve; 0 if
        there is no such pair.
    """
    curve, squared = ops.cast(rim(predicted), dtype), squared_distance(rim(true), spacing)
    distance = ops.sqrt(ops.cast(ops.where(ops.isinf(squared), 0.0, squared), dtype))
    axes = tuple(range(1, len(curve.shape) - 1))
    total = ops.sum(curve * distance, axis=axes, keepdims=True)
    return ratio(total, ops.sum(curve, axis=axes, keepdims=True))


@catalogued(
    family="boundary",
    chapter="boundary/al_arif",
    citation="alarif2017shape",
    formula=r"(1 + E\, [\mathrm{wrong}])\, \mathrm{CE}",
)
class AlArifShapeLoss(TrueClassLoss):
    """Al Arif's shape-aware loss: wrong pixels cost more, the farther the predicted curve is off.

    Formula: `(1 + E [wrong]) CE`, mean over pixels: cross-entropy, and once more E times the
    cross-entropy of the wrong pixels. A pixel is wrong for a class where p > 1/2 and y > 1/2
    disagree; E is the mean distance from the curve around the predicted mask, p > 1/2, to the curve
    around the true one, for each image and class (`mean_curve_distance`). Both are data: no
    gradient flows through them. E = 0 where one of the masks is empty.

    Args:
        spacing: size of a pixel, one number or one for each axis of space, in the unit wanted.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss. In three dimensions the curve is a surface.
    Returns: one value per image, at least that of cross-entropy.
    Raises:
        ValueError: for a `spacing` that is not above 0 or does not fit the axes.
    Example:
        >>> y = np.array([1.0, 0, 0, 0]).reshape(1, 1, 4, 1)
        >>> p = np.array([0.75, 0.75, 0.75, 0.25]).reshape(1, 1, 4, 1)
        >>> loss = AlArifShapeLoss()  # E = (0 + 1 + 2) / 3, and pixels 1 and 2 are wrong
        >>> round(float(loss(y, p)), 4)  # (2 log 4/3 + (1 + 1) · 2 log 4) / 4
        1.5301

    Source: Al Arif et al. 2017 (doi:10.1007/978-3-319-74113-0_2), the shape-aware term, as a mean
        over pixels where the paper sums. Jadon 2020 (arXiv:2006.14822), "Shape-aware Loss", takes
        the same distance as the coefficient of the cross-entropy of all pixels. Not the weight map
        of the U-Net: that is `ShapeAwareLoss`.
    """

    def __init__(
        self,
        spacing: float | tuple[float, ...] = 1.0,
        *,
        name: str | None = "al_arif_shape",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.spacing = check_spacing("spacing", spacing)

    def class_factors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        predicted, true = _mask(batch, batch.prediction.p), _mask(batch, batch.y)
        wrong = ops.cast(ops.logical_xor(predicted, true), batch.y.dtype)
        distance = mean_curve_distance(predicted, true, batch.y.dtype, self.spacing)
        factor = 1 + batch.in_regions(distance * wrong)
        return factor, factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "spacing": self.spacing}


def difference_over_union(
    y: Tensor, p: Tensor, weight: Tensor, alpha: Tensor, smooth: float
) -> Tensor:
    """`Σ (y - p)² / (Σ (y - p)² + (1 - α) Σ y p + s)`, `(regions, classes)`."""
    wrong = ops.sum(weight * ops.square(y - p), axis=1)
    return wrong / (wrong + (1 - alpha) * ops.sum(weight * y * p, axis=1) + smooth)


@catalogued(
    family="boundary",
    chapter="boundary/boundary_dou",
    citation="sun2023boundary",
    formula=r"\frac{\sum (y - p)^2}{\sum (y - p)^2 + (1 - \alpha) \sum y p + s}",
)
class BoundaryDoULoss(RegionLoss):
    """Boundary difference over union: the wrong area over itself and a part of the right one.

    Formula: `Σ (y - p)² / (Σ (y - p)² + (1 - α) Σ y p + s)`, sums over the pixels of a region; mean
    over classes. For masks it is `(|G ∪ P| - |G ∩ P|) / (|G ∪ P| - α |G ∩ P|)`. `α = 1 - 2 C / S`,
    but not below 0 nor above `max_alpha`: S pixels lie on the true mask, y > 1/2, and C of
    them on its boundary, with a neighbour outside it across a side or at the edge of the picture.

    Args:
        max_alpha: the largest α, between 0 and 1. Objects without much boundary for their size
            reach it; in small or thin ones α = 0, and the loss is the Jaccard loss with squares.
        smooth: s > 0, in pixels. Two empty masks then agree perfectly (loss 0).
        **kwargs: see `RegionLoss` and `SegmentationLoss`. With `per="batch"` C and S are counted
            over the batch.

    Shapes: as for every loss. In three dimensions C counts the pixels of the surface.
    Returns: one value per image, between 0 and 1.
    Raises:
        ValueError: if `max_alpha` lies outside [0, 1] or `smooth` is not greater than 0.
    Example:
        >>> y = np.ones((1, 10, 10, 1))  # C = 36, S = 100, α = 0.28
        >>> p = y * (np.arange(10) < 5).reshape(1, 1, 10, 1)
        >>> round(float(BoundaryDoULoss(smooth=1e-9)(y, p)), 4)  # 50 / (100 - 0.28 · 50)
        0.5814

    Source: Sun et al. 2023 (arXiv:2308.00220), where α is in [0, 1). The squares, what counts as
        boundary, and the bound of 0.8 are those of the authors' code; it has no bound below, so
        that α is -1 for thin objects. It adds s = 1e-5 to the numerator too, which makes
        two empty masks cost 1, and sums over the batch (`per="batch"`).
    """

    def __init__(
        self,
        max_alpha: float = 0.8,
        smooth: float = 1.0,
        *,
        name: str | None = "boundary_dou",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.max_alpha = check_number("max_alpha", max_alpha, at_least=0, at_most=1)
        self.smooth = check_number("smooth", smooth, above=0)

    def class_values(self, batch: Batch) -> Tensor:
        mask = _mask(batch, batch.y)
        length, size = (
            ops.sum(ops.cast(batch.in_regions(m), batch.y.dtype), axis=1) for m in (rim(mask), mask)
        )
        alpha = ops.clip(1 - 2 * ratio(length, size), 0, self.max_alpha)
        p = batch.prediction.p
        return difference_over_union(batch.y, p, batch.weight, alpha, self.smooth)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_alpha": self.max_alpha, "smooth": self.smooth}
