"""Losses that look at where the boundary is."""

import math

import keras
from keras import ops

from segloss_ref.distance import (
    dilate,
    rim,
    signed_distance,
    skeleton,
    soft_skeleton,
    squared_distance,
)
from segloss_ref.losses.base import RegionLoss
from segloss_ref.losses.distribution import BinaryCrossEntropyLoss, TrueClassLoss
from segloss_ref.losses.inputs import instance_map, split_weight
from segloss_ref.checks import check_choice, check_flag, check_number, check_whole
from segloss_ref.weight_maps import UNetWeightMap, separate_touching_ops, unet_weight_map_ops


@keras.saving.register_keras_serializable(package="segloss_ref")
class ShapeAwareLoss(BinaryCrossEntropyLoss):
    """Cross-entropy times the weight map of the U-Net, made from an instance map as it trains.

    Formula: `-w [y log p + (1 - y) log(1 - p)]`, mean over pixels, with
    `w = w_c + w0 exp(-(d1 + d2)² / (2 σ²))` on background; d1, d2 are the distances to the nearest
    and second nearest cell. Cells that touch are first separated by a seam of background, one
    pixel wide (`separate_touching`), in the map and in y.

    Args:
        w0: height of the seams, at least 0; 0 leaves cross-entropy on separated cells.
        sigma: σ > 0, their width in pixels.
        class_weights: the balance w_c: `None` (1 everywhere), the pair (background, cell), or
            `"balanced"`.
        surround: pixels by which `y_true` may reach farther than `y_pred` on each side, so that
            cells beyond the edge of a crop count in its map: 28 are enough for σ = 5
            (`seam_reach`). Where it does not, as in whole images, nothing lies beyond the edge.
        **kwargs: the arguments of every loss, see `SegmentationLoss`. The mean weight of the map
            exceeds 1; `reduction="mean_with_sample_weight"` divides it out, for comparisons.

    Shapes: `y_true` is an instance map of integers, `(batch, height, width)` or `(batch, height,
        width, 1)`, or larger on each side by `surround`: 0 background, each cell its own number,
        -1 (and `ignore_class`) out of the picture. A binary mask would make one cell of all that
        touch. `y_pred` is `(batch, height, width, 1)`; `sample_weight` multiplies the map.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: for a boolean or fractional `y_true`, several classes, other shapes.
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
        w0=10.0,
        sigma=5.0,
        class_weights=None,
        surround=0,
        *,
        name="shape_aware",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        # The layer owns the settings of the map and their checks.
        layer = UNetWeightMap(w0, sigma, class_weights)
        self.w0, self.sigma, self.class_weights = layer.w0, layer.sigma, layer.class_weights
        self.surround = check_whole("surround", surround, at_least=0)

    def _image_values(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.convert_to_tensor(y_pred)
        labels = separate_touching_ops(instance_map(y_true, y_pred, self, self.surround))
        weight = unet_weight_map_ops(labels, self.w0, self.sigma, self.class_weights)
        if self.surround:
            labels, weight = (_middle(x, ops.shape(y_pred)[:3]) for x in (labels, weight))
        for factor in split_weight(sample_weight, y_pred, self.compute_dtype):
            if factor is not None:
                pixels = ops.reshape(factor, (*ops.shape(factor), 1, 1)[:3])
                weight = ops.cast(weight, self.compute_dtype) * pixels
        y = ops.where(labels < 0, -1, ops.cast(labels > 0, "int32"))
        return self._values_of(y[..., None], y_pred, weight, ignore_class=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "w0": self.w0,
            "sigma": self.sigma,
            "class_weights": self.class_weights,
            "surround": self.surround,
        }


def _middle(x, shape):
    """What is left of `(batch, height, width)` without as much on each side as is too much."""
    start = (0, *((whole - part) // 2 for whole, part in zip(ops.shape(x)[1:], shape[1:])))
    return ops.slice(x, start, shape)


class _ClassPixelLoss(RegionLoss):
    """Base of losses with a value at each pixel and class: mean over pixels, then class mean."""

    def class_pixel_values(self, batch):
        """The loss of each pixel and class, `(regions, pixels, classes)`."""
        raise NotImplementedError

    def class_values(self, batch):
        weighted = ops.sum(batch.weight * self.class_pixel_values(batch), axis=1)
        return ops.divide_no_nan(weighted, ops.sum(batch.weight, axis=1))

    def region_values(self, batch):
        values, image_weight = super().region_values(batch)
        # Pixel weights as in `PixelLoss`: a map of mean 2 doubles the loss.
        total, pixels = ops.sum(batch.weight, axis=(1, 2)), ops.sum(batch.valid, axis=(1, 2))
        return values, image_weight * ops.divide_no_nan(total, pixels)


def _mask(batch, x):
    """Where `x > 1/2`, on the grid; a pixel of weight 0 is on no mask. Data, without gradient."""
    return ops.logical_and(batch.on_grid(x) > 0.5, batch.on_grid(batch.weight) > 0)


def _signed_distance(batch, x):
    """The signed distance to the mask `x > 1/2`, `(regions, pixels, classes)`."""
    valid = batch.on_grid(batch.weight) > 0
    return batch.in_regions(signed_distance(_mask(batch, x), valid, dtype=x.dtype))


@keras.saving.register_keras_serializable(package="segloss_ref")
class BoundaryLoss(_ClassPixelLoss):
    """Boundary loss: the probability times the signed distance to the true boundary.

    Formula: `φ p`, mean over pixels, then over classes. φ is the distance from the pixel to the
    nearest pixel on the other side of the boundary of the true mask, y > 1/2: positive outside,
    negative inside, at least 1 in size. An image with only one of the two sides has φ = 0.

    Args:
        class_weights, include_background: see `RegionLoss`. Class 0 is a class like others unless
            left out; where it is the largest, it has the largest distances.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, in pixels. It may be negative and is least where p = y; a class
        of which nothing is predicted has 0. It is linear in p, and meant to be added to a region
        loss.
    Raises:
        ValueError: for the settings of `RegionLoss`.
    Example:
        >>> y = np.array([0.0, 1, 1, 1]).reshape(1, 1, 4, 1)  # φ = 1, -1, -2, -3
        >>> float(BoundaryLoss()(y, y)), float(BoundaryLoss()(y, np.ones(y.shape)))
        (-1.5, -1.25)

    Source: Kervadec et al. 2019 (arXiv:1812.07032), section 2. The authors' code moves φ by one
        inside, -(d - 1): the object's outermost pixels then have φ = 0 and teach nothing. It leaves
        φ = 0 for an empty mask only. Here the two sides of the boundary are treated alike. The
        map is made here, on the device: it need not be prepared with the data.
    """

    def __init__(self, *, name="boundary", **kwargs):
        super().__init__(name=name, **kwargs)

    def class_pixel_values(self, batch):
        return _signed_distance(batch, batch.y) * batch.prediction.p


@keras.saving.register_keras_serializable(package="segloss_ref")
class HausdorffDistanceLoss(_ClassPixelLoss):
    """Hausdorff distance loss: squared errors, weighed by their distance to both boundaries.

    Formula: `(p - y)² (d_p^α + d_y^α)`, mean over pixels, then over classes. d_y is the distance
    from a pixel to the nearest pixel on the other side of the boundary of the true mask, y > 1/2,
    on both sides positive; d_p the same for the predicted mask, p > 1/2. Both are data: no
    gradient flows through them. A mask with only one of the two sides has d = 0.

    Args:
        alpha: α > 0. The larger, the more the farthest errors decide, as in the Hausdorff distance
            itself.
        log: `log(1 + L)` of each class's value L, which grows large at the start.
        class_weights, include_background: see `RegionLoss`.
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, at least 0, in pixels^α. Where both masks have one side only, it
        is 0 whatever p is: below 1/2, false positives on an empty truth are free.
    Raises:
        ValueError: if `alpha` is not a number greater than 0, or `log` not a boolean.
    Example:
        >>> y = np.array([1.0, 0, 0, 0]).reshape(1, 1, 4, 1)
        >>> p = np.array([1.0, 1, 0, 0]).reshape(1, 1, 4, 1)
        >>> float(HausdorffDistanceLoss()(y, p))  # one error, 1 from both rims: (1² + 1²) / 4
        0.5

    Source: Karimi & Salcudean 2019 (arXiv:1904.10030), eq. 8 (distance transforms), with α = 2.
        As MONAI's `HausdorffDTLoss` and, with `log=True`, `LogHausdorffDTLoss`, except that those
        take the logarithm after the mean over classes and images.
    """

    def __init__(self, alpha=2.0, log=False, *, name="hausdorff_distance", **kwargs):
        super().__init__(name=name, **kwargs)
        self.alpha = check_number("alpha", alpha, above=0)
        self.log = check_flag("log", log)

    def class_pixel_values(self, batch):
        p = batch.prediction.p
        distances = [ops.abs(_signed_distance(batch, x)) ** self.alpha for x in (p, batch.y)]
        return ops.square(p - batch.y) * sum(distances)

    def class_values(self, batch):
        values = super().class_values(batch)
        return ops.log1p(values) if self.log else values

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "log": self.log}


def mean_curve_distance(predicted, true, dtype="float32"):
    """The mean distance from the curve around a predicted mask to the curve around the true one.

    Args:
        predicted, true: boolean tensors `(images, *spatial, channels)`. The curve around a mask is
            its `rim`.
        dtype: of the result.

    Returns:
        Tensor with one value per image and channel, and spatial axes of size 1: the mean over the
        pixels of the predicted curve of the distance to the nearest pixel of the true curve; 0 if
        there is no such pair.
    """
    curve, squared = ops.cast(rim(predicted), dtype), squared_distance(rim(true))
    distance = ops.sqrt(ops.cast(ops.where(ops.isinf(squared), 0.0, squared), dtype))
    axes = tuple(range(1, len(curve.shape) - 1))
    total = ops.sum(curve * distance, axis=axes, keepdims=True)
    return ops.divide_no_nan(total, ops.sum(curve, axis=axes, keepdims=True))


@keras.saving.register_keras_serializable(package="segloss_ref")
class AlArifShapeLoss(TrueClassLoss):
    """Al Arif's shape-aware loss: wrong pixels cost more, the farther the predicted curve is off.

    Formula: `(1 + E [wrong]) CE`, mean over pixels: cross-entropy, and once more E times the
    cross-entropy of the wrong pixels. A pixel is wrong for a class where p > 1/2 and y > 1/2
    disagree; E is the mean distance from the curve around the predicted mask, p > 1/2, to the curve
    around the true one, for each image and class (`mean_curve_distance`). Both are data: no
    gradient flows through them. E = 0 where one of the masks is empty.

    Args:
        **kwargs: the arguments of every loss, see `SegmentationLoss`.

    Shapes: as for every loss. In three dimensions the curve is a surface.
    Returns: one value per image, at least that of cross-entropy.
    Raises:
        ValueError: for the settings of `SegmentationLoss`.
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

    def __init__(self, *, name="al_arif_shape", **kwargs):
        super().__init__(name=name, **kwargs)

    def class_factors(self, batch):
        predicted, true = _mask(batch, batch.prediction.p), _mask(batch, batch.y)
        wrong = ops.cast(ops.logical_xor(predicted, true), batch.y.dtype)
        distance = mean_curve_distance(predicted, true, batch.y.dtype)
        factor = 1 + batch.in_regions(distance * wrong)
        return factor, factor


def difference_over_union(y, p, weight, alpha, smooth):
    """`Σ (y - p)² / (Σ (y - p)² + (1 - α) Σ y p + s)`, `(regions, classes)`."""
    wrong = ops.sum(weight * ops.square(y - p), axis=1)
    return wrong / (wrong + (1 - alpha) * ops.sum(weight * y * p, axis=1) + smooth)


@keras.saving.register_keras_serializable(package="segloss_ref")
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

    def __init__(self, max_alpha=0.8, smooth=1.0, *, name="boundary_dou", **kwargs):
        super().__init__(name=name, **kwargs)
        self.max_alpha = check_number("max_alpha", max_alpha, at_least=0, at_most=1)
        self.smooth = check_number("smooth", smooth, above=0)

    def class_values(self, batch):
        mask = _mask(batch, batch.y)
        length, size = (
            ops.sum(ops.cast(batch.in_regions(m), batch.y.dtype), axis=1) for m in (rim(mask), mask)
        )
        alpha = ops.clip(1 - 2 * ops.divide_no_nan(length, size), 0, self.max_alpha)
        p = batch.prediction.p
        return difference_over_union(batch.y, p, batch.weight, alpha, self.smooth)

    def get_config(self):
        return {**super().get_config(), "max_alpha": self.max_alpha, "smooth": self.smooth}


# --- Skeletons -----------------------------------------------------------------------------------


def cl_dice(y, p, skeleton_y, skeleton_p, weight, smooth):
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


@keras.saving.register_keras_serializable(package="segloss_ref")
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

    def __init__(self, iterations=10, smooth=1.0, *, name="cl_dice", **kwargs):
        super().__init__(name=name, **kwargs)
        self.iterations = check_whole("iterations", iterations, at_least=0)
        self.smooth = check_number("smooth", smooth, above=0)

    def class_values(self, batch):
        y, p = batch.y, batch.prediction.p
        valid = batch.on_grid(batch.weight) > 0

        def skeleton_of(x):
            return batch.in_regions(soft_skeleton(batch.on_grid(x), self.iterations, valid))

        skeleton_y = ops.stop_gradient(skeleton_of(y))
        return cl_dice(y, p, skeleton_y, skeleton_of(p), batch.weight, self.smooth)

    def get_config(self):
        return {**super().get_config(), "iterations": self.iterations, "smooth": self.smooth}


@keras.saving.register_keras_serializable(package="segloss_ref")
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

    def __init__(self, radius=2, smooth=1.0, *, name="skeleton_recall", **kwargs):
        super().__init__(name=name, **kwargs)
        self.radius = check_whole("radius", radius, at_least=0)
        self.smooth = check_number("smooth", smooth, above=0)

    def class_values(self, batch):
        p, weight = batch.prediction.p, batch.weight
        tube = batch.in_regions(self._tubes(batch))
        missed = ops.sum(weight * tube * (1 - p), axis=1)
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

    def get_config(self):
        return {**super().get_config(), "radius": self.radius, "smooth": self.smooth}


# --- Contours and structure ----------------------------------------------------------------------


def _root(x):
    """The square root of numbers of at least 0, with slope 0 at 0 instead of an infinite one."""
    positive = x > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, x, ops.ones_like(x))), 0)


def _along(x, axis, window):
    """What lies in the window around each pixel along an axis, one by one; 0 beyond the edge."""
    widths = [(window // 2,) * 2 if i == axis else (0, 0) for i in range(len(x.shape))]
    padded = ops.pad(x, widths)
    for start in range(window):
        place = [slice(None)] * len(x.shape)
        place[axis] = slice(start, start + 1 - window or None)
        yield padded[tuple(place)]


def contour_length(p, valid):
    """`sqrt(Σ_axes (p_next - p)²)` of each pixel, `(images, *spatial, classes)`.

    Where the picture ends, there is no next pixel and no difference.
    """
    inside = ops.cast(valid, p.dtype)
    squares = ops.zeros_like(p)
    for axis in range(1, len(p.shape) - 1):
        (*_, next_p), (*_, next_inside) = _along(p, axis, 3), _along(inside, axis, 3)
        squares = squares + ops.square(inside * next_inside * (next_p - p))
    return _root(squares)


@keras.saving.register_keras_serializable(package="segloss_ref")
class ActiveContourLoss(_ClassPixelLoss):
    """Active contour loss: the length of the predicted contour, and the error of the regions.

    Formula: `|∇p| + λ [p (1 - y)² + (1 - p) y²]`, mean over pixels, then over classes; `|∇p|` is
    the Euclidean norm of the differences to the next pixel along each axis. Summed up, it is the
    length of the contour (in 3-D: its area); the other terms are Chan and Vese's, with 1 inside and
    0 outside.

    A perfect prediction pays for its contour. An object is worth predicting where that costs less
    than its area times λ: with λ = 1, about from a radius of 2 pixels on.

    Args:
        region_weight: λ, at least 0.
        **kwargs: see `RegionLoss` and `SegmentationLoss`.

    Shapes: as for every loss.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: if `region_weight` is not a number of at least 0.
    Example:
        >>> y = np.array([0.0, 0, 1, 1] * 2).reshape(1, 2, 4, 1)
        >>> float(ActiveContourLoss()(y, y)), float(ActiveContourLoss()(y, 1 - y))  # 2/8, (2 + 8)/8
        (0.25, 1.25)

    Source: Chen et al. 2019 (CVPR, doi:10.1109/CVPR.2019.01190), eqs. 11 and 12, which are sums
        over pixels; the authors' code has the mean, λ = 1 and 1e-8 under the root, which only keeps
        its slope finite: here a flat image has length 0 and slope 0. That code takes the two
        differences of one pixel from two different pixels; here they are from one.
    """

    def __init__(self, region_weight=1.0, *, name="active_contour", **kwargs):
        super().__init__(name=name, **kwargs)
        self.region_weight = check_number("region_weight", region_weight, at_least=0)

    def class_pixel_values(self, batch):
        y, p = batch.y, batch.prediction.p
        length = contour_length(batch.on_grid(p), batch.on_grid(batch.weight) > 0)
        region = p * ops.square(1 - y) + (1 - p) * ops.square(y)
        return batch.in_regions(length) + self.region_weight * region

    def get_config(self):
        return {**super().get_config(), "region_weight": self.region_weight}


_C1, _C2 = 0.01**2, 0.03**2  # of SSIM, for values between 0 and 1
_C4 = 0.01  # of the correlation
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of MS-SSIM, finest scale first
# Of a scale. Nearer to 0 the power is so steep that it makes rounding visible in single precision,
# and the product is so small that the other scales stop as well.
_LEAST_SIMILARITY = 0.01


def window_moments(x, inside, window, sigma):
    """Mean and variance in a Gaussian window around each pixel, over the pixels that are inside.

    One axis after the other, each merging the means and variances of the one before: that has none
    of the cancellation of `mean(x²) - mean(x)²`, and a flat image has variance 0.
    """
    offsets = [i - window // 2 for i in range(window)]
    gauss = [math.exp(-(i**2) / (2 * sigma**2)) for i in offsets]
    mass, mean, variance = ops.cast(inside, x.dtype), x, ops.zeros_like(x)
    for axis in range(1, len(x.shape) - 1):
        masses = [g * m for g, m in zip(gauss, _along(mass, axis, window))]
        means, variances = list(_along(mean, axis, window)), list(_along(variance, axis, window))
        mass = sum(masses)
        mean = ops.divide_no_nan(sum(m * mu for m, mu in zip(masses, means)), mass)
        spread = (m * (v + ops.square(mu - mean)) for m, mu, v in zip(masses, means, variances))
        variance = ops.divide_no_nan(sum(spread), mass)
    return mean, variance


def standardized_difference(y, p, inside, window, sigma):
    """`|(y - μ_y + C) / (σ_y + C) - (p - μ_p + C) / (σ_p + C)|`, `(images, *spatial, classes)`."""

    def standardized(x):
        mean, variance = window_moments(x, inside, window, sigma)
        return (x - mean + _C4) / (_root(variance) + _C4)

    return ops.abs(ops.stop_gradient(standardized(y)) - standardized(p))


def ssim_errors(y, p, inside, window, sigma):
    """`1 - l` and `1 - c s`, each `(images, *spatial, classes)`; SSIM is `l c s`.

    `l = (2 μ_y μ_p + C1) / (μ_y² + μ_p² + C1)`, `c s = (2 σ_yp + C2) / (σ_y² + σ_p² + C2)`. What is
    missing to 1 has the squared mean and the variance of y - p in the numerator: it is exactly 0
    where both are equal.
    """
    mean, variance = window_moments(ops.concatenate([y, p, y - p], axis=-1), inside, window, sigma)
    (mean_y, mean_p, mean_d), (var_y, var_p, var_d) = (
        ops.split(moment, 3, axis=-1) for moment in (mean, variance)
    )
    luminance = ops.square(mean_d) / (ops.square(mean_y) + ops.square(mean_p) + _C1)
    return luminance, var_d / (var_y + var_p + _C2)


def _halved(x):
    """Sums over blocks of two pixels along each axis; an odd last pixel is a block of its own."""
    for axis in range(1, len(x.shape) - 1):
        (*_, following) = _along(x, axis, 3)
        place = [slice(None)] * len(x.shape)
        place[axis] = slice(None, None, 2)
        x = (x + following)[tuple(place)]
    return x


@keras.saving.register_keras_serializable(package="segloss_ref")
class StructuralSimilarityLoss(RegionLoss):
    """Structural similarity losses: how unlike the true one the neighbourhood of each pixel is.

    Formula, with means μ, deviations σ and the covariance in a Gaussian window around a pixel:

    * `form="correlation"`: `Σ f e CE / Σ f` with the binary cross-entropy CE,
      `e = |(y - μ_y + C) / (σ_y + C) - (p - μ_p + C) / (σ_p + C)|`, C = 0.01, and f = 1 where
      `e > β max e`, else 0. Pixels that correlate badly with the truth around them count, and more.
    * `form="ssim"`: `1 - mean(l c s)`, `l = (2 μ_y μ_p + C1) / (μ_y² + μ_p² + C1)` and
      `c s = (2 σ_yp + C2) / (σ_y² + σ_p² + C2)`, C1 = 0.01², C2 = 0.03².
    * `form="ms-ssim"`: `1 - Π_j mean(c s)_j^β_j`, over five scales, each half as fine as the one
      before; at the last one l belongs to it. β = 0.0448, 0.2856, 0.3001, 0.2363, 0.1333.

    The correlation is made to be added to cross-entropy. Alone it does not see what is flat: an
    image without object, predicted as 0.9 everywhere, costs nothing.

    Args:
        form: `"correlation"`, `"ssim"` or `"ms-ssim"`.
        window: side of the window in pixels, odd. At the edge of the picture it is what is left
            of it.
        sigma: σ > 0 of the Gaussian, in pixels.
        beta: β of the correlation, from 0 to 1: the larger, the fewer pixels count; at 1 none does.
        **kwargs: see `RegionLoss` and `SegmentationLoss`. Pixel weights weigh the mean over pixels;
            within a window, all pixels that are not out count the same.

    Shapes: as for every loss.
    Returns: one value per image: at least 0; SSIM at most 2, multi-scale SSIM at most 1.
    Raises:
        ValueError: for another form, an even window, or a number that is out of range.
    Example:
        >>> y = np.zeros((1, 2, 2, 1))
        >>> loss = StructuralSimilarityLoss(form="ssim")
        >>> round(float(loss(y, np.full(y.shape, 0.01))), 6)  # c s = 1, l = C1 / (0.01² + C1)
        0.5

    Source: Zhao et al. 2019 (arXiv:1910.08711), trained as `λ CE + (1 - λ) SSL` there; Wang et al.
        2004 (doi:10.1109/TIP.2003.819861); Wang et al. 2003 (doi:10.1109/ACSSC.2003.1292216).
        `tf.image.ssim` scores only pixels whose window is whole and is equal there; its
        multi-scale form needs sides of 11 · 2⁴ pixels. A mean of c s below 0.01 counts as 0.01
        here and pulls no more; the other scales do.
    """

    def __init__(
        self,
        form="correlation",
        window=11,
        sigma=1.5,
        beta=0.1,
        *,
        name="structural_similarity",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.form = check_choice("form", form, ("correlation", "ssim", "ms-ssim"))
        self.window = check_whole("window", window, at_least=1, odd=True)
        self.sigma = check_number("sigma", sigma, above=0)
        self.beta = check_number("beta", beta, at_least=0, at_most=1)

    def class_values(self, batch):
        y, p, weight = (batch.on_grid(x) for x in (batch.y, batch.prediction.p, batch.weight))
        if self.form == "correlation":
            return self._correlation(batch, y, p, weight)
        return self._similarity(batch, y, p, weight)

    def _correlation(self, batch, y, p, weight):
        e = standardized_difference(y, p, weight > 0, self.window, self.sigma)
        e = ops.where(weight > 0, e, ops.zeros_like(e))
        e = batch.in_regions(e)
        counts = e > self.beta * ops.max(e, axis=1, keepdims=True)
        counts = batch.weight * ops.cast(counts, e.dtype)
        entropy = -batch.y * batch.prediction.log_p - (1 - batch.y) * batch.prediction.log_not_p
        total = ops.sum(counts * e * entropy, axis=1)
        return ops.divide_no_nan(total, ops.sum(counts, axis=1))

    def _similarity(self, batch, y, p, weight):
        scales = (1.0,) if self.form == "ssim" else _SCALES
        log_similarity = 0.0
        for j, exponent in enumerate(scales):
            if j > 0:
                inside = ops.cast(weight > 0, y.dtype)
                y, p = (ops.divide_no_nan(_halved(inside * x), _halved(inside)) for x in (y, p))
                weight = _halved(weight)
            luminance, error = ssim_errors(y, p, weight > 0, self.window, self.sigma)
            if j == len(scales) - 1:
                error = luminance + error - luminance * error  # 1 - l c s
            error = self._mean(batch, error, weight)
            if self.form == "ssim":
                return error
            error = ops.minimum(error, 1 - _LEAST_SIMILARITY)
            log_similarity = log_similarity + exponent * ops.log1p(-error)
        return -ops.expm1(log_similarity)

    @staticmethod
    def _mean(batch, x, weight):
        x, weight = batch.in_regions(x), batch.in_regions(weight)
        return ops.divide_no_nan(ops.sum(weight * x, axis=1), ops.sum(weight, axis=1))

    def get_config(self):
        return {
            **super().get_config(),
            "form": self.form,
            "window": self.window,
            "sigma": self.sigma,
            "beta": self.beta,
        }
