"""Losses that look at where the boundary is."""

import keras
from keras import ops

from segloss_ref.losses.distribution import BinaryCrossEntropyLoss
from segloss_ref.losses.inputs import check_prediction, same_shape, shape_of, split_weight
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
        **kwargs: the arguments of every loss, see `SegmentationLoss`. The mean weight of the map
            exceeds 1; `reduction="mean_with_sample_weight"` divides it out, for comparisons.

    Shapes: `y_true` is an instance map of integers, `(batch, height, width)` or `(batch, height,
        width, 1)`: 0 background, each cell its own number, -1 (and `ignore_class`) out of the
        picture. A binary mask would make one cell of all that touch. `y_pred` is `(batch, height,
        width, 1)`; `sample_weight` multiplies the map.
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

    def __init__(self, w0=10.0, sigma=5.0, class_weights=None, *, name="shape_aware", **kwargs):
        super().__init__(name=name, **kwargs)
        # The layer owns the settings of the map and their checks.
        layer = UNetWeightMap(w0, sigma, class_weights)
        self.w0, self.sigma, self.class_weights = layer.w0, layer.sigma, layer.class_weights

    def _image_values(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.convert_to_tensor(y_pred)
        check_prediction(y_pred)
        labels = self._labels(ops.convert_to_tensor(y_true), y_pred)
        weight = unet_weight_map_ops(labels, self.w0, self.sigma, self.class_weights)
        for factor in split_weight(sample_weight, y_pred, self.compute_dtype):
            if factor is not None:
                pixels = ops.reshape(factor, (*ops.shape(factor), 1, 1)[:3])
                weight = ops.cast(weight, self.compute_dtype) * pixels
        y = ops.where(labels < 0, -1, ops.cast(labels > 0, "int32"))
        return self._values_of(y[..., None], y_pred, weight, ignore_class=-1)

    def _labels(self, y_true, y_pred):
        """The separated instance map `(batch, height, width)`; -1 is out of the picture."""
        true, pred = shape_of(y_true), shape_of(y_pred)
        if (
            len(pred) != 4
            or pred[-1] != 1
            or not (same_shape(true, pred) or same_shape(true, pred[:-1]))
        ):
            raise ValueError(
                "`y_true` must be an instance map (batch, height, width) or (batch, height, "
                "width, 1), and `y_pred` (batch, height, width, 1). "
                f"Received: y_true.shape={true}, y_pred.shape={pred}"
            )
        labels = y_true[..., 0] if len(true) == 4 else y_true
        if "int" not in keras.backend.standardize_dtype(labels.dtype):
            raise ValueError(
                "`y_true` must be an instance map of integers, each cell its own number: in a "
                "binary mask, cells that touch are one cell and have no seam. "
                f"Received: y_true of dtype {keras.backend.standardize_dtype(labels.dtype)}"
            )
        if self.ignore_class is not None:
            labels = ops.where(labels == self.ignore_class, -1, ops.cast(labels, "int32"))
        return separate_touching_ops(labels)

    def get_config(self):
        return {
            **super().get_config(),
            "w0": self.w0,
            "sigma": self.sigma,
            "class_weights": self.class_weights,
        }
