"""What all metrics share: how masks and maps are read and refused."""

import numpy as np


def ratio(numerator, denominator, empty=1.0):
    return float(numerator / denominator) if denominator else empty


def binary_pair(y_true, y_pred):
    y_true, y_pred = binary(y_true, "y_true"), binary(y_pred, "y_pred")
    _check_same_shape(y_true, y_pred)
    return y_true, y_pred


def instance_pair(y_true, y_pred):
    y_true, y_pred = _instances(y_true, "y_true"), _instances(y_pred, "y_pred")
    _check_same_shape(y_true, y_pred)
    return y_true, y_pred


def binary(mask, name):
    mask = np.asarray(mask)
    _check_axes(mask, name)
    return zeros_and_ones(mask, name)


def zeros_and_ones(mask, name):
    """The mask as booleans."""
    if mask.dtype == bool:
        return mask
    if mask.dtype.kind not in "iuf" or not ((mask == 0) | (mask == 1)).all():
        raise ValueError(
            f"`{name}` must be a binary mask, of booleans or of the numbers 0 and 1: threshold "
            "probabilities (`y_pred > 0.5`) and masks of 0 and 255 (`mask > 0`) first. "
            f"Received: {described(mask)}"
        )
    return mask == 1


def _instances(labels, name):
    labels = np.asarray(labels)
    _check_axes(labels, name)
    if labels.dtype == bool:
        raise ValueError(
            f"`{name}` must be an integer instance map. A boolean mask does not tell objects that "
            "touch from one another: number its components with `label_components`. "
            f"Received: {described(labels)}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(
            f"`{name}` must be an integer instance map, 0 for background and a positive number "
            f"for each object. Received: {described(labels)}"
        )
    return labels


def _check_axes(array, name):
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(
            f"`{name}` must be one image of two or three axes of space, with a pixel at least. "
            f"Received: {described(array)}"
        )
    if array.ndim == 3 and array.shape[-1] == 1:
        raise ValueError(
            f"`{name}` seems to carry a channel axis, which is no direction in space: drop it with "
            f"`{name}[..., 0]`. Received: {described(array)}"
        )


def _check_same_shape(y_true, y_pred):
    if y_true.shape != y_pred.shape:
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape. "
            f"Received: y_true {described(y_true)}, y_pred {described(y_pred)}"
        )


def described(array):
    """Shape, type and range of an array, for error messages."""
    text = f"shape {array.shape}, dtype {array.dtype}"
    if array.size and array.dtype.kind in "biuf":
        text += f", values from {array.min()} to {array.max()}"
    return text
