"""The U-Net weight map: pixels in the thin seams between cells count for more.

Two implementations of one definition. The NumPy functions are exact and run once per image; those
that end in `_ops`, and the layer on them, run in `keras.ops` on batches, after augmentation, and
agree with NumPy to 1e-5. A *cell* is a label above 0, 0 is background, and -1 marks pixels that are
not part of the picture, such as those filled in by augmentation: they weigh 0 and are no cell.
"""

import functools
import itertools
import math
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from segloss_ref.checks import (
    VOID,
    Tensor,
    check_data_format,
    check_number,
    check_spacing,
    sides_of,
    visible,
)
from segloss_ref.distance import nearest_two_labels

ClassWeights = tuple[float, float] | list[float] | Literal["balanced"] | None
Spacing = float | tuple[float, float] | list[float]

#: Settings of Ronneberger et al. 2015, below equation 2.
UNET_2015 = {"w0": 10.0, "sigma": 5.0}
#: Defaults of the plugin of Falk et al. 2019 (border weight factor, border weight sigma).
UNET_2019 = {"w0": 50.0, "sigma": 6.0}

# What a seam adds to the weight of a pixel may be left out below this share of w0: float32 could
# not show it beside w0.
_NEGLIGIBLE = 1e-7

_LARGEST = 2**31 - 1
# Stands where a compiled graph meets what is no label: its weight is NaN.
_NO_LABEL = -2


def unet_weight_map(
    labels: ArrayLike,
    w0: float = 10.0,
    sigma: float = 5.0,
    class_weights: ClassWeights = None,
    spacing: Spacing = 1.0,
) -> NDArray[np.float64]:
    """Weight map of the U-Net, exact, in NumPy.

    `w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))² / (2 sigma²))` on background pixels, where d1 and d2
    are the distances to the nearest and to the second nearest cell; `w(x) = w_c(x)` on cells, and
    everywhere if there are fewer than two of them.

    A distance runs to the nearest *pixel* of the cell, as SciPy measures it, so a gap of n pixels
    has d1 + d2 = n + 1. With w0 = 10 and sigma = 5 the seam adds 9.23 in a gap of 1 pixel, and
    8.35, 7.26, 4.87, 0.89, 0.001 in gaps of 2, 3, 5, 10, 20. Cells that touch have no gap, and
    nothing is added between them: see `separate_touching`.

    Distances are taken in a window around each cell, as far as the seam can add 1e-7 w0: up to
    d2 = 28 pixels for sigma = 5. No weight is off by more than that 1e-7 w0.

    All this is in pixels. With `spacing` both distances and sigma are lengths, in its unit: then
    seams are as wide in microns, whatever the magnification, and along both axes, though pixels be
    oblong.

    Args:
        labels: Integers, one image `(height, width)` or a stack `(n, height, width)`, each image
            on its own: 0 background, each cell a number of its own (gaps between the numbers do
            not matter, nor does their size), -1 outside the picture, where the weight is 0.
        w0: Height of the seams, 0 or more.
        sigma: Their width, above 0, in the unit of `spacing`: pixels by default.
        class_weights: The balance w_c. `None` is 1 everywhere; a pair is the weight of the
            background and of the cells; `"balanced"` weighs each of the two inversely to its
            share of the image, such that the mean of w_c is 1. The paper gives no numbers.
        spacing: Size of a pixel, one number or one for each axis (height, width), in the unit
            wanted.

    Returns:
        float64 array of the shape of `labels`.

    Raises:
        ValueError: If `labels` is not such an array, a boolean mask above all, or has a last axis
            of one, or if a setting is out of range.

    Example:
        >>> unet_weight_map(np.array([[1, 1, 0, 2, 2]])).round(2)
        array([[ 1.  ,  1.  , 10.23,  1.  ,  1.  ]])
        >>> unet_weight_map(np.array([[1, 1, 0, 2, 2]]), spacing=2.5).round(2)  # d1 + d2 = 5
        array([[1.  , 1.  , 7.07, 1.  , 1.  ]])

    Source: Ronneberger et al. 2015, arXiv:1505.04597, equation 2. The paper lets the second term
    stand on cells too; like its followers we do not, it marks separation borders.
    """
    w0, sigma, class_weights, spacing = _checked_settings(w0, sigma, class_weights, spacing)
    labels = _checked_labels(labels)
    if not labels.size:
        return np.zeros(labels.shape)
    if labels.ndim == 3:
        settings = w0, sigma, class_weights, spacing
        return np.stack([unet_weight_map(image, *settings) for image in labels])

    weights = _class_map(labels, class_weights)
    sigma, sides = _in_shorter_sides(sigma, spacing)
    # Nothing is farther away than both sides of the picture.
    reach = min(seam_reach(sigma), np.dot(labels.shape, sides))
    nearest, second = _squared_distances_to_two(_small_numbers(labels), reach, sides)
    seam = np.flatnonzero((labels == 0) & (second <= reach**2))
    total = np.sqrt(nearest.ravel()[seam]) + np.sqrt(second.ravel()[seam])
    weights.ravel()[seam] += w0 * np.exp(-(total**2) / (2 * sigma**2))
    return weights


def separate_touching(labels: ArrayLike) -> NDArray[np.integer]:
    """Carves the one-pixel seam of background between different cells that touch.

    Two pixels touch if they are among each other's 8 neighbours and belong to different cells.
    Along a contact one cell gives up its pixels and the other keeps them, so that afterwards

    * no two cells touch;
    * no pixel was carved without need: each one touches a pixel, still there, of another cell;
    * a cell with at least one pixel that touched no other cell is still there.

    Who gives way: pixels backed by their cell, next to one of its pixels that touches nobody, give
    way to pixels that are not, so that a thin cell is not lost to a thick one; among equals the
    higher label gives way to the lower. The result does not change under flips and quarter
    turns, nor when it is separated again. A cell that is all contact, wedged between others, can
    vanish only where there is no room for it: one of two single pixels side by side must go.

    Args:
        labels: Integers, one image `(height, width)` or a stack `(n, height, width)`: 0
            background, each cell a number of its own, -1 outside the picture (left alone).

    Returns:
        A new array of the shape and dtype of `labels`, with 0 in the seams.

    Raises:
        ValueError: If `labels` is not such an array, a boolean mask above all, or has a last axis
            of one.

    Example:
        >>> separate_touching(np.array([[1, 1, 1, 2, 2, 2]]))
        array([[1, 1, 1, 0, 2, 2]])
    """
    labels = _checked_labels(labels)
    padding = [(0, 0)] * (labels.ndim - 2) + [(1, 1), (1, 1)]
    padded = np.pad(labels, padding)
    flat = padded.ravel()
    width = padded.shape[-1]
    steps = np.array([y * width + x for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)])

    cells = np.flatnonzero(flat > 0)
    around = flat[cells[:, None] + steps]
    touches = (around > 0) & (around != flat[cells, None])
    contact = touches.any(axis=1)
    alone = np.zeros(flat.shape, bool)
    alone[cells[~contact]] = True

    # From here on only the pixels in contact matter: one row each, their 8 neighbours as columns.
    pixels, around, touches = cells[contact], around[contact], touches[contact]
    neighbours = pixels[:, None] + steps
    own = flat[pixels, None]
    backed = np.zeros(flat.shape, bool)
    backed[pixels] = (alone[neighbours] & (around == own)).any(axis=1)
    as_strong = backed[neighbours] == backed[pixels, None]
    yields = touches & np.where(as_strong, around < own, backed[pixels, None])

    # A pixel stays unless it yields to one that stays. "Yields to" has no circles, so repeating
    # the rule settles: after n rounds all pixels are right whose chain of betters is n long.
    stays = np.ones(flat.shape, bool)
    while True:
        settled = ~(yields & stays[neighbours]).any(axis=1)
        if np.array_equal(settled, stays[pixels]):
            break
        stays[pixels] = settled
    return np.where(stays.reshape(padded.shape), padded, 0)[..., 1:-1, 1:-1]


def unet_weight_map_ops(
    labels: Tensor,
    w0: float = 10.0,
    sigma: float = 5.0,
    class_weights: ClassWeights = None,
    spacing: Spacing = 1.0,
) -> Tensor:
    """`unet_weight_map` in `keras.ops`, for a batch; see there for the formula and the settings.

    Like it, this does not separate touching cells: `separate_touching_ops` comes first.

    Args:
        labels: Tensor `(batch, height, width)` of integers below 2³¹, or of floats that hold whole
            numbers (float32 holds them up to 2²⁴).
        w0, sigma, class_weights, spacing: As in `unet_weight_map`, Python numbers.

    Returns:
        float32 tensor of the shape of `labels`, without gradient, equal to `unet_weight_map`
        to 1e-5. NaN where a compiled graph finds what is no label.

    Raises:
        ValueError: If `labels` is boolean or not of rank 3, or a setting is out of range; for
            values that are no labels, where they can be seen.

    Example:
        >>> weights = unet_weight_map_ops(ops.array([[[1, 1, 0, 2, 2]]]))
        >>> print(ops.convert_to_numpy(weights).round(2))
        [[[ 1.    1.   10.23  1.    1.  ]]]
    """
    w0, sigma, class_weights, spacing = _checked_settings(w0, sigma, class_weights, spacing)
    labels = _labels_tensor(labels)
    weights = _class_map_ops(labels, class_weights)
    sigma, sides = _in_shorter_sides(sigma, spacing)
    reach = seam_reach(sigma)
    if reach > 0:
        # As the two distances together count, the smaller one only up to half as far.
        nearest, second = nearest_two_labels(labels, reach, reach // 2 + 1, sides)
        seam = w0 * ops.exp(-ops.square(nearest + second) / (2 * sigma**2))
        weights = weights + ops.where(labels == 0, seam, 0.0)
    return ops.where(labels < VOID, float("nan"), weights)


def separate_touching_ops(labels: Tensor) -> Tensor:
    """`separate_touching` in `keras.ops`, for a batch: the same seam, pixel for pixel.

    Args:
        labels: Tensor `(batch, height, width)` of integers below 2³¹, or of floats that hold whole
            numbers.

    Returns:
        int32 tensor of the shape of `labels`, with 0 in the seams. Where a compiled graph finds
        what is no label, it is below -1.

    Raises:
        ValueError: If `labels` is boolean or not of rank 3; for values that are no labels, where
            they can be seen.

    Example:
        >>> separated = separate_touching_ops(ops.array([[[1, 1, 1, 2, 2, 2]]]))
        >>> print(ops.convert_to_numpy(separated))
        [[[1 1 1 0 2 2]]]
    """
    labels = _labels_tensor(labels)
    around = _neighbours(labels)
    touches = [(labels > 0) & (other > 0) & (other != labels) for other in around]
    alone = (labels > 0) & ~_any(touches)
    backed = _any([a & (o == labels) for a, o in zip(_neighbours(alone), around, strict=True)])
    yields = [
        t & ops.where(b == backed, other < labels, backed)
        for t, other, b in zip(touches, around, _neighbours(backed), strict=True)
    ]

    def settle(stays, _):
        settled = ~_any([y & s for y, s in zip(yields, _neighbours(stays), strict=True)])
        return settled, ops.any(settled != stays)

    start = (ops.ones_like(labels, dtype="bool"), ops.convert_to_tensor(True))
    stays, _ = ops.while_loop(lambda _, changed: changed, settle, start)
    return ops.where(stays, labels, 0)


@keras.saving.register_keras_serializable(package="segloss_ref")
class UNetWeightMap(keras.layers.Layer):
    """Weight maps of a batch of instance maps, on the device, after augmentation.

    `w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))² / (2 sigma²))` on background pixels and `w_c(x)` on
    cells, after the seam between touching cells was carved: `unet_weight_map` of
    `separate_touching` of the labels, to 1e-5. The cost does not depend on the number of cells.

    Computed in float32 under any dtype policy: half precision knows no label above 2048.

    Args:
        w0, sigma, class_weights: As in `unet_weight_map`; `UNetWeightMap(**UNET_2015)`.
        data_format: Where an axis of channels stands, `"channels_last"` or `"channels_first"`;
            `None` is `keras.config.image_data_format()`.
        spacing: Size of a pixel, one number or one for each axis (height, width), in the unit of
            `sigma`.

    Input shape: instance maps `(batch, height, width)`, or `(batch, height, width, 1)` (channels
    first: `(batch, 1, height, width)`), whole numbers below 2³¹. Pixels labelled -1, as
    augmentation may fill them in, weigh 0 and are no cell.

    Output shape: that of the input; float32, without gradient. Where a compiled graph finds what
    is no label (other negative numbers, fractions, numbers from 2³¹ on), the weight is NaN.

    Raises:
        ValueError: If a setting is out of range, for boolean maps and other shapes, and for values
            that are no labels, where they can be seen.

    Example:
        >>> weights = UNetWeightMap()(np.array([[[1, 1, 1, 2, 2, 2]]]))
        >>> print(ops.convert_to_numpy(weights).round(2))
        [[[ 1.    1.    1.   10.23  1.    1.  ]]]

    Source: Ronneberger et al. 2015, arXiv:1505.04597, equation 2.
    """

    def __init__(
        self,
        w0: float = 10.0,
        sigma: float = 5.0,
        class_weights: ClassWeights = None,
        data_format: str | None = None,
        spacing: Spacing = 1.0,
        **kwargs: Any,
    ) -> None:
        # No autocast: labels that come as floats must not be rounded to half precision.
        super().__init__(autocast=False, **kwargs)
        settings = _checked_settings(w0, sigma, class_weights, spacing)
        self.w0, self.sigma, self.class_weights, self.spacing = settings
        self.data_format = check_data_format(data_format, keras.config.image_data_format())

    def __call__(self, labels: Tensor, **kwargs: Any) -> Tensor:
        # Before Keras makes a tensor of them: JAX would let numbers from 2³¹ on begin anew.
        return super().__call__(_checked_array(labels), **kwargs)

    def call(self, labels: Tensor) -> Tensor:
        axis = 1 if self.data_format == "channels_first" else -1
        channel = len(labels.shape) == 4 and labels.shape[axis] == 1
        if channel:
            labels = ops.squeeze(labels, axis=axis)
        elif len(labels.shape) == 3 and labels.shape[-1] == 1:
            raise ValueError(
                "`labels` must have no last axis of one without an axis of images: give "
                "`labels[None]`; to images 1 pixel wide, add the axis of channels. "
                f"Received: {_told(labels)}"
            )
        labels = separate_touching_ops(labels)
        settings = self.w0, self.sigma, self.class_weights, self.spacing
        weights = unet_weight_map_ops(labels, *settings)
        return ops.expand_dims(weights, axis=axis) if channel else weights

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "w0": self.w0,
            "sigma": self.sigma,
            "class_weights": self.class_weights,
            "data_format": self.data_format,
            "spacing": self.spacing,
        }


def _checked_settings(w0, sigma, class_weights, spacing):
    w0 = check_number("w0", w0, at_least=0)
    sigma = check_number("sigma", sigma, above=0)
    spacing = check_spacing("spacing", spacing)
    sides_of(spacing, 2)
    return w0, sigma, _checked_class_weights(class_weights), spacing


def _checked_class_weights(class_weights):
    if class_weights is None or (isinstance(class_weights, str) and class_weights == "balanced"):
        return class_weights
    if not isinstance(class_weights, (tuple, list)) or len(class_weights) != 2:
        raise ValueError(
            '`class_weights` must be None, "balanced", or a pair (background, cells). '
            f"Received: {class_weights!r}"
        )
    pair = enumerate(class_weights)
    return tuple(check_number(f"class_weights[{i}]", w, at_least=0) for i, w in pair)


def _in_shorter_sides(sigma, spacing):
    """Sigma and the sides of a pixel in units of its shorter side: squares of pixels stay whole."""
    sides = sides_of(spacing, 2)
    return sigma / min(sides), tuple(side / min(sides) for side in sides)


_BOOLEAN = (
    "Boolean labels received. A weight map needs instance labels, a different whole number for "
    "each cell: in a mask, cells that touch are one object and get no seam where they need it. "
    "`skimage.measure.label` numbers the objects of a mask in which no cells touch."
)


def _checked_labels(labels: ArrayLike) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.dtype == bool:
        raise ValueError(_BOOLEAN)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be integers. Received: {_told(labels)}")
    if labels.ndim not in (2, 3):
        raise ValueError(
            "`labels` must be one image (height, width) or a stack (n, height, width). "
            f"Received: {_told(labels)}"
        )
    if labels.ndim == 3 and labels.shape[-1] == 1:
        raise ValueError(
            "`labels` must have no last axis of one: give `labels[..., 0]`. (Images 1 pixel wide "
            f"go one by one.) Received: {_told(labels)}"
        )
    _check_values(labels, largest=None)
    return labels


def _told(labels):
    return f"dtype {getattr(labels.dtype, 'name', labels.dtype)}, shape {tuple(labels.shape)}"


def _check_values(labels, largest):
    """Raises unless an array holds nothing but labels, up to the largest allowed."""
    if not labels.size:
        return
    if labels.dtype.kind not in "iu" and (labels != np.floor(labels)).any():
        raise ValueError(
            f"`labels` must be whole numbers. Received: fractions or NaN, {_told(labels)}"
        )
    low, high = labels.min().item(), labels.max().item()
    if low < VOID or (largest is not None and high > largest):
        end = "" if largest is None else f", at most {largest},"
        raise ValueError(
            f"`labels` must be 0 (background), a cell's number above 0{end} or -1 (outside the "
            f"picture). Received: {low if low < VOID else high}"
        )


def _checked_array(labels):
    """An array or tensor of labels; values that are none are refused where they can be seen."""
    labels = labels if hasattr(labels, "dtype") else np.asarray(labels)
    if keras.backend.standardize_dtype(labels.dtype) == "bool":
        raise ValueError(_BOOLEAN)
    if (seen := visible(labels)) is not None:
        _check_values(seen, _LARGEST)
    return labels


def _labels_tensor(labels):
    """Labels as int32; what a compiled graph finds to be none becomes `_NO_LABEL`."""
    labels = ops.convert_to_tensor(_checked_array(labels))
    if len(labels.shape) != 3:
        raise ValueError(
            "`labels` must be of shape (batch, height, width); a layer takes an axis of one "
            f"channel too, where its `data_format` has it. Received: {_told(labels)}"
        )
    dtype = keras.backend.standardize_dtype(labels.dtype)
    # Whole numbers carry no gradient: whatever is made of them is a constant in a training step.
    numbers = ops.cast(labels, "int32")
    if "float" in dtype:
        wrong = (labels != ops.floor(labels)) | (labels < VOID) | (labels >= _LARGEST + 1.0)
    elif dtype in ("int64", "uint32", "uint64"):
        labels = ops.cast(labels, "int64")
        wrong = (labels < VOID) | (labels > _LARGEST)
    else:
        return numbers
    return ops.where(wrong, _NO_LABEL, numbers)


def seam_reach(sigma: float, spacing: Spacing = 1.0) -> int:
    """How far, in whole pixels, a cell can be from a pixel to which it adds weight.

    The other cell is at least 1 away. So what lies beyond the reach R adds less than
    w0 exp(-(R + 1)² / (2 sigma²)), which is at most 1e-7 w0. A crop whose map shall be that of the
    whole picture needs the labels that far beyond its edge.

    Args:
        sigma: Width of the seams, above 0, in the unit of `spacing`.
        spacing: Size of a pixel, one number or one for each axis. The reach is in its shorter
            sides; along the longer ones, that many pixels are more than enough.

    Raises:
        ValueError: If `sigma` or `spacing` is not above 0.

    Example:
        >>> seam_reach(5.0), seam_reach(5.0, spacing=(2.0, 0.5))
        (28, 56)
    """
    sigma = check_number("sigma", sigma, above=0)
    sigma, _ = _in_shorter_sides(sigma, check_spacing("spacing", spacing))
    return max(math.ceil(sigma * math.sqrt(-2 * math.log(_NEGLIGIBLE))) - 1, 0)


def _class_map(labels, class_weights):
    """w_c of one image, float64; 0 outside the picture."""
    if class_weights == "balanced":
        counts = np.array([np.count_nonzero(labels == 0), np.count_nonzero(labels > 0)])
        # Inverse to the share; the mean of w_c is 1 whether the image has one class or both.
        class_weights = counts.sum() / np.maximum(np.count_nonzero(counts) * counts, 1)
    background, cells = (1.0, 1.0) if class_weights is None else class_weights
    return np.where(labels > 0, cells, np.where(labels == 0, background, 0.0))


def _class_map_ops(labels, class_weights):
    is_background = ops.cast(labels == 0, "float32")
    is_cell = ops.cast(labels > 0, "float32")
    if class_weights == "balanced":
        counts = [ops.sum(x, axis=(1, 2), keepdims=True) for x in (is_background, is_cell)]
        classes = sum(ops.cast(count > 0, "float32") for count in counts)
        class_weights = [sum(counts) / ops.maximum(classes * count, 1.0) for count in counts]
    background, cells = (1.0, 1.0) if class_weights is None else class_weights
    return is_background * background + is_cell * cells


def _small_numbers(labels):
    """The same cells numbered from 1 on, if their numbers are too large to count up to."""
    if labels.size == 0 or labels.max() <= labels.size:
        return labels.astype(np.int32)
    numbers, ranks = np.unique(labels, return_inverse=True)
    return (ranks + 1 - np.searchsorted(numbers, 1)).astype(np.int32)


def _squared_distances_to_two(labels, reach, sides):
    """Squared distances to the nearest and second nearest cell, exact up to `reach`."""
    square = sides == (1, 1)
    beyond, dtype = (np.iinfo(np.int32).max, np.int32) if square else (np.inf, np.float64)
    nearest = np.full(labels.shape, beyond, dtype)
    second = nearest.copy()
    margins = [int(reach / side) for side in sides]
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        window = tuple(
            slice(max(along.start - margin, 0), along.stop + margin)
            for along, margin in zip(box, margins, strict=True)
        )
        cell = labels[window] == label
        if square:
            squared = _squared_distance(cell)
        else:
            squared = np.square(ndimage.distance_transform_edt(~cell, sampling=sides))
        # Two running minima, not a sorted stack: no memory per cell, and ties need no care.
        first, other = nearest[window], second[window]
        np.minimum(other, np.maximum(first, squared), out=other)
        np.minimum(first, squared, out=first)
    return nearest, second


def _squared_distance(cell):
    # The coordinates of the nearest pixel of the cell give its squared distance in whole numbers,
    # at half the memory and without the roots of SciPy's own distances.
    rows, columns = ndimage.distance_transform_edt(
        ~cell, return_distances=False, return_indices=True
    )
    rows -= np.arange(cell.shape[0], dtype=rows.dtype)[:, None]
    columns -= np.arange(cell.shape[1], dtype=columns.dtype)
    rows *= rows
    columns *= columns
    return np.add(rows, columns, out=rows)


def _neighbours(x):
    """The 8 neighbours of every pixel, 0 beyond the edge: 8 tensors of the shape of `x`."""
    padded = ops.pad(x, ((0, 0), (1, 1), (1, 1)))
    cuts = (slice(None, -2), slice(1, -1), slice(2, None))
    pairs = itertools.product(cuts, cuts)
    return [
        padded[:, rows, columns] for rows, columns in pairs if (rows, columns) != (cuts[1],) * 2
    ]


def _any(masks):
    return functools.reduce(ops.logical_or, masks)
