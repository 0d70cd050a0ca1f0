"""Losses that look at the neighbourhood of each pixel: contours and structure."""

import math
from typing import Any

from keras import ops

from segloss_ref.catalogue import catalogued
from segloss_ref.checks import Tensor, check_number, check_whole
from segloss_ref.losses.arithmetic import ratio, root
from segloss_ref.losses.base import ClassPixelLoss, RegionLoss
from segloss_ref.losses.inputs import Batch


def _along(x, axis, window):
    """What lies in the window around each pixel along an axis, one by one; 0 beyond the edge."""
    widths = [(window // 2,) * 2 if i == axis else (0, 0) for i in range(len(x.shape))]
    padded = ops.pad(x, widths)
    for start in range(window):
        place = [slice(None)] * len(x.shape)
        place[axis] = slice(start, start + 1 - window or None)
        yield padded[tuple(place)]


def contour_length(p: Tensor, valid: Tensor) -> Tensor:
    """`sqrt(Σ_axes (p_next - p)²)` of each pixel, `(images, *spatial, classes)`.

    Where the picture ends, there is no next pixel and no difference.
    """
    inside = ops.cast(valid, p.dtype)
    squares = ops.zeros_like(p)
    for axis in range(1, len(p.shape) - 1):
        (*_, next_p), (*_, next_inside) = _along(p, axis, 3), _along(inside, axis, 3)
        squares = squares + ops.square(inside * next_inside * (next_p - p))
    return root(squares)


@catalogued(
    family="boundary",
    chapter="boundary/active_contour",
    citation="chen2019active",
    formula=r"|\nabla p| + \lambda \left(p (1 - y)^2 + (1 - p) y^2\right)",
)
class ActiveContourLoss(ClassPixelLoss):
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

    def __init__(
        self, region_weight: float = 1.0, *, name: str | None = "active_contour", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.region_weight = check_number("region_weight", region_weight, at_least=0)

    def class_pixel_values(self, batch: Batch) -> Tensor:
        y, p = batch.y, batch.prediction.p
        length = contour_length(batch.on_grid(p), batch.on_grid(batch.weight) > 0)
        region = p * ops.square(1 - y) + (1 - p) * ops.square(y)
        return batch.in_regions(length) + self.region_weight * region

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "region_weight": self.region_weight}


_C1, _C2 = 0.01**2, 0.03**2  # of SSIM, for values between 0 and 1
_C4 = 0.01  # of the correlation
# A variance of which nothing is seen beside C4. What rounding leaves of a flat window lies far
# below it, and the slope of its root would be noise.
_FLAT = 1e-10
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of MS-SSIM, finest scale first
# Of a scale. Nearer to 0 the power is so steep that it makes rounding visible in single precision,
# and the product is so small that the other scales stop as well.
_LEAST_SIMILARITY = 0.01


def _gauss(window, sigma):
    return [math.exp(-((i - window // 2) ** 2) / (2 * sigma**2)) for i in range(window)]


def window_moments(x: Tensor, inside: Tensor, window: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Mean and variance in a Gaussian window around each pixel, over the pixels that are inside.

    One axis after the other, each merging the means and variances of the one before: that has none
    of the cancellation of `mean(x²) - mean(x)²`, and a flat image has variance 0.
    """
    mass, mean, variance = ops.cast(inside, x.dtype), x, ops.zeros_like(x)
    for axis in range(1, len(x.shape) - 1):
        masses = [g * m for g, m in zip(_gauss(window, sigma), _along(mass, axis, window))]
        means, variances = list(_along(mean, axis, window)), list(_along(variance, axis, window))
        mass = sum(masses)
        mean = ratio(sum(m * mu for m, mu in zip(masses, means)), mass)
        spread = (m * (v + ops.square(mu - mean)) for m, mu, v in zip(masses, means, variances))
        variance = ratio(sum(spread), mass)
    return mean, variance


def window_sums(x: Tensor, window: int, sigma: float) -> Tensor:
    """Sums in a Gaussian window around each pixel, one axis after the other; 0 beyond the edge.

    The window is symmetric, so this is its own transpose: the gradient is told, where that of so
    many slices takes seven times as long.
    """

    def summed(x):
        for axis in range(1, len(x.shape) - 1):
            parts = zip(_gauss(window, sigma), _along(x, axis, window), strict=True)
            x = sum(g * part for g, part in parts)
        return x

    @ops.custom_gradient
    def with_gradient(x):
        # PyTorch names what comes from above, the others do not.
        return summed(x), lambda *args, upstream=None: summed(
            args[0] if upstream is None else upstream
        )

    return with_gradient(x)


def standardized_difference(
    y: Tensor, p: Tensor, inside: Tensor, window: int, sigma: float
) -> Tensor:
    """`|(y - μ_y + C) / (σ_y + C) - (p - μ_p + C) / (σ_p + C)|`, `(images, *spatial, classes)`."""

    def standardized(x):
        mean, variance = window_moments(x, inside, window, sigma)
        return (x - mean + _C4) / (root(variance, least=_FLAT) + _C4)

    return ops.abs(ops.stop_gradient(standardized(y)) - standardized(p))


def ssim_errors(
    y: Tensor, p: Tensor, inside: Tensor, window: int, sigma: float
) -> tuple[Tensor, Tensor]:
    """`1 - l` and `1 - c s`, each `(images, *spatial, classes)`; SSIM is `l c s`.

    `l = (2 μ_y μ_p + C1) / (μ_y² + μ_p² + C1)`, `c s = (2 σ_yp + C2) / (σ_y² + σ_p² + C2)`. What is
    missing to 1 has the squared mean and the variance of d = y - p in the numerator: it is exactly
    0 where both are equal. With s = y + p, `μ_y² + μ_p² = (μ_s² + μ_d²) / 2`, variances alike.
    """
    d, s, inside = y - p, y + p - 1, ops.cast(inside, p.dtype)
    parts = (inside, inside * d, inside * s, inside * ops.square(d), inside * ops.square(s))
    mass, *sums = (window_sums(part, window, sigma) for part in parts)
    mean_d, mean_s, square_d, square_s = (ratio(x, mass) for x in sums)
    # What cancels in a variance is 1e-7 of the square. That of d is small where d is; s, from -1 to
    # 1, leaves 1e-7 beside C2.
    var_d, var_s = square_d - ops.square(mean_d), square_s - ops.square(mean_s)
    brightness = ops.square(mean_s + 1) + ops.square(mean_d)
    luminance = 2 * ops.square(mean_d) / (brightness + 2 * _C1)
    return luminance, 2 * var_d / (var_s + var_d + 2 * _C2)


def _halved(x):
    """Sums over blocks of two pixels along each axis; an odd last pixel is a block of its own."""
    for axis in range(1, len(x.shape) - 1):
        (*_, following) = _along(x, axis, 3)
        place = [slice(None)] * len(x.shape)
        place[axis] = slice(None, None, 2)
        x = (x + following)[tuple(place)]
    return x


class WindowLoss(RegionLoss):
    """Base of losses that compare each pixel's neighbourhood, in a Gaussian window.

    Args:
        window: side of the window in pixels, odd. At the edge of the picture it is what is left
            of it.
        sigma: σ > 0 of the Gaussian, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`. Pixel weights weigh the mean over pixels;
            within a window, all pixels that are not out count the same.
    """

    def __init__(self, window: int = 11, sigma: float = 1.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = check_whole("window", window, at_least=1, odd=True)
        self.sigma = check_number("sigma", sigma, above=0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "window": self.window, "sigma": self.sigma}


@catalogued(
    family="boundary",
    chapter="boundary/structural_similarity",
    citation="zhao2019correlation",
    formula=(
        r"\frac{\sum f e\, \mathrm{CE}}{\sum f},\ e = \left|\frac{y - \mu_y}{\sigma_y} - "
        r"\frac{p - \mu_p}{\sigma_p}\right|"
    ),
)
class StructuralSimilarityLoss(WindowLoss):
    """Structural similarity loss: cross-entropy where truth and prediction correlate badly.

    Formula: `Σ f e CE / Σ f` with the binary cross-entropy CE,
    `e = |(y - μ_y + C) / (σ_y + C) - (p - μ_p + C) / (σ_p + C)|`, C = 0.01, and f = 1 where
    `e > β max e`, else 0; means μ and deviations σ in a Gaussian window around the pixel. Mean over
    classes. Pixels that correlate badly with the truth around them count, and more.

    It is made to be added to cross-entropy. Alone it does not see what is flat: an image without
    object, predicted as 0.9 everywhere, costs nothing.

    Args:
        window: side of the window in pixels, odd. At the edge of the picture it is what is left
            of it.
        sigma: σ > 0 of the Gaussian, in pixels.
        beta: β from 0 to 1: the larger, the fewer pixels count; at 1 none does.
        **kwargs: see `RegionLoss` and `SegmentationLoss`. Pixel weights weigh the mean over pixels;
            within a window, all pixels that are not out count the same.

    Shapes: as for every loss.
    Returns: one value per image, at least 0.
    Raises:
        ValueError: for an even window, or a number that is out of range.
    Example:
        >>> y = np.array([1.0, 0, 0, 0]).reshape(1, 2, 2, 1)
        >>> loss = StructuralSimilarityLoss()
        >>> float(loss(y, y)), float(loss(y, 1 - y)) > 1
        (0.0, True)

    Source: Zhao et al. 2019 (arXiv:1910.08711), trained as `λ CE + (1 - λ) SSL` there. A σ below
        1e-5 counts as 0. Structural similarity itself is `SSIMLoss`.
    """

    def __init__(
        self,
        window: int = 11,
        sigma: float = 1.5,
        beta: float = 0.1,
        *,
        name: str | None = "structural_similarity",
        **kwargs: Any,
    ) -> None:
        super().__init__(window, sigma, name=name, **kwargs)
        self.beta = check_number("beta", beta, at_least=0, at_most=1)

    def class_values(self, batch: Batch) -> Tensor:
        y, p, weight = (batch.on_grid(x) for x in (batch.y, batch.prediction.p, batch.weight))
        e = standardized_difference(y, p, weight > 0, self.window, self.sigma)
        e = ops.where(weight > 0, e, ops.zeros_like(e))
        e = batch.in_regions(e)
        counts = e > self.beta * ops.max(e, axis=1, keepdims=True)
        counts = batch.weight * ops.cast(counts, e.dtype)
        entropy = -batch.y * batch.prediction.log_p - (1 - batch.y) * batch.prediction.log_not_p
        total = ops.sum(counts * e * entropy, axis=1)
        return ratio(total, ops.sum(counts, axis=1))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta}


def mean_over_grid(batch: Batch, x: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean of a map on the grid over each region, `(regions, classes)`."""
    x, weight = batch.in_regions(x), batch.in_regions(weight)
    return ratio(ops.sum(weight * x, axis=1), ops.sum(weight, axis=1))


@catalogued(
    family="boundary",
    chapter="boundary/structural_similarity",
    citation="wang2004image",
    formula=r"1 - \frac{1}{n} \sum l\, c\, s",
)
class SSIMLoss(WindowLoss):
    """SSIM loss: one minus the mean structural similarity of truth and prediction.

    Formula: `1 - mean(l c s)`, `l = (2 μ_y μ_p + C1) / (μ_y² + μ_p² + C1)` and
    `c s = (2 σ_yp + C2) / (σ_y² + σ_p² + C2)`, C1 = 0.01², C2 = 0.03², with means μ, deviations σ
    and the covariance in a Gaussian window around each pixel; mean over classes.

    Args:
        window: side of the window in pixels, odd. At the edge of the picture it is what is left
            of it.
        sigma: σ > 0 of the Gaussian, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`. Pixel weights weigh the mean over pixels;
            within a window, all pixels that are not out count the same.

    Shapes: as for every loss.
    Returns: one value per image, between 0 and 2.
    Raises:
        ValueError: for an even window, or a number that is out of range.
    Example:
        >>> y = np.zeros((1, 2, 2, 1))
        >>> value = SSIMLoss()(y, np.full(y.shape, 0.01))  # c s = 1, l = C1 / (0.01² + C1)
        >>> round(float(value), 6)
        0.5

    Source: Wang et al. 2004 (doi:10.1109/TIP.2003.819861). `tf.image.ssim` scores only pixels whose
        window is whole and is equal there.
    """

    def __init__(
        self, window: int = 11, sigma: float = 1.5, *, name: str | None = "ssim", **kwargs: Any
    ) -> None:
        super().__init__(window, sigma, name=name, **kwargs)

    def class_values(self, batch: Batch) -> Tensor:
        y, p, weight = (batch.on_grid(x) for x in (batch.y, batch.prediction.p, batch.weight))
        luminance, error = ssim_errors(y, p, weight > 0, self.window, self.sigma)
        return mean_over_grid(batch, either(luminance, error), weight)


def either(a: Tensor, b: Tensor) -> Tensor:
    """1 - (1 - a) (1 - b): what two factors lack together."""
    return a + b - a * b


@catalogued(
    family="boundary",
    chapter="boundary/structural_similarity",
    citation="wang2003multiscale",
    formula=r"1 - \prod_j \left(\frac{1}{n_j} \sum c_j s_j\right)^{\beta_j}",
)
class MultiScaleSSIMLoss(WindowLoss):
    """Multi-scale SSIM loss: structural similarity on five scales, multiplied.

    Formula: `1 - Π_j mean(c s)_j^β_j`, with c s as in `SSIMLoss`, over five scales, each half as
    fine as the one before; at the last one l belongs to it. β = 0.0448, 0.2856, 0.3001, 0.2363,
    0.1333. Mean over classes.

    Args:
        window: side of the window in pixels, odd, on every scale.
        sigma: σ > 0 of the Gaussian, in pixels.
        **kwargs: see `RegionLoss` and `SegmentationLoss`. Pixel weights weigh the mean over pixels;
            within a window, all pixels that are not out count the same.

    Shapes: as for every loss.
    Returns: one value per image, between 0 and 1.
    Raises:
        ValueError: for an even window, or a number that is out of range.
    Example:
        >>> y = np.zeros((1, 2, 2, 1))
        >>> value = MultiScaleSSIMLoss()(y, np.full(y.shape, 0.01))  # 1 - (1/2)^0.1333
        >>> round(float(value), 4)
        0.0883

    Source: Wang et al. 2003 (doi:10.1109/ACSSC.2003.1292216). `tf.image.ssim_multiscale` needs
        sides of 11 · 2⁴ pixels. A mean of c s below 0.01 counts as 0.01 here and pulls no more; the
        other scales do.
    """

    def __init__(
        self,
        window: int = 11,
        sigma: float = 1.5,
        *,
        name: str | None = "multi_scale_ssim",
        **kwargs: Any,
    ) -> None:
        super().__init__(window, sigma, name=name, **kwargs)

    def class_values(self, batch: Batch) -> Tensor:
        y, p, weight = (batch.on_grid(x) for x in (batch.y, batch.prediction.p, batch.weight))
        log_similarity = 0.0
        for j, exponent in enumerate(_SCALES):
            if j > 0:
                inside = ops.cast(weight > 0, y.dtype)
                y, p = (ratio(_halved(inside * x), _halved(inside)) for x in (y, p))
                weight = _halved(weight)
            luminance, error = ssim_errors(y, p, weight > 0, self.window, self.sigma)
            if j == len(_SCALES) - 1:
                error = either(luminance, error)
            error = mean_over_grid(batch, error, weight)
            most = ops.convert_to_tensor(1 - _LEAST_SIMILARITY, dtype=error.dtype)
            error = ops.where(error > most, most, error)
            log_similarity = log_similarity + exponent * ops.log1p(-error)
        return -ops.expm1(log_similarity)
