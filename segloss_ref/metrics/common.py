"""What all metrics share: how masks and maps are read, refused and cut into images."""

import math
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segloss_ref.checks import VOID, Tensor, check_choice, check_labels

#: Of one image a number, of a batch one number for each.
Value = float | NDArray[np.float64]
#: Labels that are left out: one, several, or none.
Labels = int | Collection[int] | None

_IN_COMPILE = (
    "In `model.compile` use `segloss_ref.metrics.DiceMetric()`, `IoUMetric()`, "
    "`PrecisionMetric()`, `RecallMetric()`, `SurfaceDiceMetric(tolerance)` or "
    "`ExpectedCalibrationErrorMetric()`; call others on what `predict` gives."
)


class Pairs(NamedTuple):
    """Truth and prediction image by image, `(n, *space)` each, and which pixels are judged.

    `single` says that there was one image, given without an axis of images.
    """

    true: np.ndarray
    pred: np.ndarray
    valid: np.ndarray
    single: bool


def mask_pairs(
    y_true: Tensor, y_pred: Tensor, spatial_dims: int | None, ignore_class: Labels
) -> Pairs:
    """Two binary masks, as booleans; pixels that are out belong to neither."""
    return _pairs(as_mask, y_true, y_pred, spatial_dims, ignore_class)


def instance_pairs(
    y_true: Tensor, y_pred: Tensor, spatial_dims: int | None, ignore_class: Labels
) -> Pairs:
    """Two instance maps; pixels that are out are background in both."""
    return _pairs(_as_instances, y_true, y_pred, spatial_dims, ignore_class)


def _pairs(read, y_true, y_pred, spatial_dims, ignore_class):
    # On PyTorch a model hands out tensors with values, but batches with an axis of channels.
    hint = f" {_IN_COMPILE}" if hasattr(y_pred, "detach") else ""
    y_true, y_pred = as_array(y_true, "y_true"), as_array(y_pred, "y_pred")
    true = as_images(y_true, "y_true", spatial_dims, hint)
    pred = as_images(y_pred, "y_pred", spatial_dims, hint)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape. "
            f"Received: y_true {described(y_true)}, y_pred {described(y_pred)}"
        )
    valid = in_picture(true, ignore_class)
    true, pred = read(true, valid, "y_true"), read(pred, valid, "y_pred")
    return Pairs(true, pred, valid, single=true.ndim > y_true.ndim)


def each_image(metric: Callable[..., Any], pairs: Pairs, unknown: Any = math.nan) -> Any:
    """`metric(true, pred, valid)` of one image as it is, of a batch as an array, `(n, ...)`.

    An image without a pixel to judge gives `unknown`. Of named tuples, each field is an array.
    """
    images = zip(pairs.true, pairs.pred, pairs.valid)
    values = [metric(*image) if image[-1].any() else unknown for image in images]
    if pairs.single:
        return values[0]
    table = np.array(values).reshape(len(values), *np.shape(unknown))
    return type(unknown)(*table.T) if isinstance(unknown, tuple) else table


def as_array(x: Tensor, name: str) -> np.ndarray:
    """An array of numbers from an array, a list, or a tensor whose values are there."""
    try:
        array = np.asarray(_fetched(x))
    except (TypeError, ValueError, NotImplementedError) as error:
        if hasattr(x, "row_splits") or not hasattr(x, "dtype"):
            raise ValueError(_one_array(name, f"{type(x).__name__}: {error}")) from error
        raise TypeError(
            f"`{name}` must hold values that are there: this metric computes with NumPy, and a "
            f"compiled model hands it symbolic tensors. {_IN_COMPILE} "
            f"Received: {type(x).__name__}"
        ) from error
    if array.dtype.name == "bfloat16":  # no type of NumPy's own
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise ValueError(_one_array(name, described(array)))
    return array


def _fetched(x):
    if not hasattr(x, "detach"):
        return x
    # A tensor of PyTorch may have a gradient, be on another device, and be no type of NumPy's.
    x = x.detach().cpu()
    return x.float() if str(x.dtype) == "torch.bfloat16" else x


def _one_array(name, received):
    return (
        f"`{name}` must be one array of booleans or numbers, all images of one size. "
        f"Received: {received}"
    )


def as_images(array: np.ndarray, name: str, spatial_dims: int | None, hint: str = "") -> np.ndarray:
    """The array with an axis of images in front; `hint` is for those whose axes are others."""
    dims = check_choice("spatial_dims", spatial_dims, (None, 2, 3)) or 2
    if array.ndim >= 3 and array.shape[-1] == 1:
        raise ValueError(
            f"`{name}` seems to carry a channel axis, which is no direction in space: drop it with "
            f"`{name}[..., 0]`. (Images one pixel wide: swap their last two axes.)"
            f"{hint} Received: {described(array)}"
        )
    if spatial_dims is None and array.ndim in (3, 4):
        raise ValueError(
            f"`{name}` has {array.ndim} axes: images of two or of three dimensions, one or "
            "several? Say `spatial_dims=2` or `spatial_dims=3`: with one axis more than that it "
            f"is a batch, and each image gets a value of its own.{hint} "
            f"Received: {described(array)}"
        )
    if array.ndim not in (dims, dims + 1) or 0 in array.shape[-dims:]:
        axes = "height, width" if dims == 2 else "depth, height, width"
        several = "" if spatial_dims is None else f", or a batch of them, (n, {axes})"
        raise ValueError(
            f"`{name}` must be one image, ({axes}){several}, with a pixel at least. "
            f"Received: {described(array)}"
        )
    return array[None] if array.ndim == dims else array


def in_picture(y_true: np.ndarray, ignore_class: Labels) -> NDArray[np.bool_]:
    """Which pixels are judged: those whose label is neither -1 nor to be ignored."""
    valid = np.ones(y_true.shape, bool)
    for label in (VOID, *check_labels("ignore_class", ignore_class)):
        valid &= y_true != label  # one by one: exact for all types, which `isin` is not
    return valid


def as_mask(mask: np.ndarray, valid: NDArray[np.bool_], name: str) -> NDArray[np.bool_]:
    """The mask as booleans; a pixel that is out may hold anything and becomes False."""
    seen = mask[valid]
    if mask.dtype != bool and not ((seen == 0) | (seen == 1)).all():
        raise ValueError(
            f"`{name}` must be a binary mask, of booleans or of the numbers 0 and 1: threshold "
            "probabilities (`y_pred > 0.5`) and masks of 0 and 255 (`mask > 0`) first. Pixels "
            "whose truth is -1 are left out, and so are those of `ignore_class`. "
            f"Received: {described(mask, valid)}"
        )
    return (mask == 1) & valid


def _as_instances(labels, valid, name):
    if labels.dtype == bool:
        raise ValueError(
            f"`{name}` must be an integer instance map. A boolean mask does not tell objects that "
            "touch from one another: number its components with `label_components`. "
            f"Received: {described(labels)}"
        )
    seen = labels[valid]
    if labels.dtype.kind == "f" or (seen < 0).any():
        raise ValueError(
            f"`{name}` must be an integer instance map, 0 for background and a positive number "
            "for each object (-1, in the truth alone, for pixels out of the picture). "
            f"Received: {described(labels, valid)}"
        )
    return np.where(valid, labels, 0)


def described(array: np.ndarray, where: Any = slice(None)) -> str:
    """Shape and type of an array, and the range of what it holds there, for error messages."""
    text, seen = f"shape {array.shape}, dtype {array.dtype}", array[where] if array.ndim else array
    if seen.size and array.dtype.kind in "biuf":
        text += f", values from {seen.min()} to {seen.max()}"
    return text
