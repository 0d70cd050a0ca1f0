"""Losses around a loss, which decide what it is shown: one blob after the other, or a scale."""

import copy
import functools
from collections.abc import Sequence
from typing import Any, Self, TypeVar

import keras
from keras import ops

from segloss_ref.catalogue import catalogued
from segloss_ref.checks import VOID, Tensor, check_number, check_whole, visible
from segloss_ref.losses.arithmetic import ratio
from segloss_ref.losses.base import SegmentationLoss
from segloss_ref.losses.inputs import (
    checked_weight,
    classes_last,
    instance_map,
    shape_of,
)
from segloss_ref.losses.region import DiceLoss

_Loss = TypeVar("_Loss", bound=SegmentationLoss)

_SHARED = (
    "from_logits",
    "multilabel",
    "per",
    "ignore_class",
    "data_format",
    "reduction",
    "dtype",
)


class Wrapper(SegmentationLoss):
    """Base of the losses around a loss.

    They take over its arguments of every loss.

    Args:
        loss: a loss of this package, compounds included; `DiceLoss()` by default.
        name: name of the loss.
    """

    def __init__(self, loss: SegmentationLoss | None = None, *, name: str | None) -> None:
        loss = DiceLoss() if loss is None else loss
        if not isinstance(loss, SegmentationLoss):
            raise ValueError(f"`loss` must be a loss of this package. Received: {loss!r}")
        super().__init__(name=name, **{key: getattr(loss, key) for key in _SHARED})
        self.loss = loss

    def get_config(self) -> dict[str, Any]:
        return {"loss": keras.saving.serialize_keras_object(self.loss), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


def parts_of(loss: SegmentationLoss) -> list[SegmentationLoss]:
    """The losses that a loss is made of in the end: itself, if it is not made of losses."""
    inner = getattr(loss, "losses", None) or [getattr(loss, "loss", None)]
    return [loss] if inner == [None] else [part for x in inner for part in parts_of(x)]


_WRONG = -2  # the label of a pixel whose number is none


def as_mask(labels: Tensor, inside: Tensor) -> Tensor:
    """1 inside, else 0; -1 out of the picture; 2, which losses make NaN, where a number is none."""
    mask = ops.where(labels == VOID, VOID, ops.cast(inside, "int32"))
    return ops.where(labels == _WRONG, 2, mask)


def altered(loss: _Loss, **settings: Any) -> _Loss:
    """A loss like this one, all of whose parts have these settings instead of their own."""
    loss = copy.copy(loss)
    vars(loss).update(settings)
    for name in {"loss", "losses"} & vars(loss).keys():
        inner = getattr(loss, name)
        several = isinstance(inner, tuple)
        inner = [altered(part, **settings) for part in (inner if several else (inner,))]
        vars(loss)[name] = tuple(inner) if several else inner[0]
    return loss


@catalogued(
    family="compound",
    chapter="compound/wrappers",
    citation="kofler2022blob",
    formula=r"\lambda_I L(\Omega) + \frac{\lambda_B}{N} \sum_n L(\Omega_n)",
)
class BlobLoss(Wrapper):
    """Blob loss: a loss over the image, and the same loss over each of its objects alone.

    Formula: `λ_I L(image) + λ_B / N Σ_n L(image without the other blobs)`, N the number of blobs of
    the image. For blob n, the pixels of all other blobs have weight 0, and the background stays; a
    small blob then counts as much as a large one. An image without blobs has the first term alone.

    Args:
        loss: L, any loss of this package for one class, with `per="image"`; `DiceLoss()` by
            default. Its other settings hold: `BlobLoss(DiceLoss(from_logits=True))`.
        image_weight: λ_I, at least 0.
        blob_weight: λ_B, at least 0.
        max_blobs: the largest label of a blob. The loss is computed so many times, whatever the
            images hold, so that it can be compiled; memory does not grow with it.
        name: name of the loss.

    Shapes: `y_true` is an instance map of integers, `(batch, *spatial)` or `(batch, *spatial, 1)`:
        0 background, blobs from 1 to `max_blobs`, -1 (and the `ignore_class` of the loss) out of
        the picture. `y_pred` is `(batch, *spatial, 1)`; `sample_weight` as for every loss.
    Returns: λ_I + λ_B times a value of L, in its range.
    Raises:
        ValueError: for a mask as `y_true`, and for labels above `max_blobs` where they can be
            seen. In a compiled graph such labels make the loss of their image NaN.
    Example:
        >>> blobs = np.array([[[1, 1, 1, 0, 2, 0]]])
        >>> p = np.array([1.0, 1, 1, 0, 0, 0]).reshape(1, 1, 6, 1)  # the small one is missed
        >>> loss = BlobLoss(DiceLoss(smooth=0.5))
        >>> value = loss(blobs, p)  # 2 (1 - 6.5 / 7.5) + (0 + 1 - 0.5 / 1.5) / 2
        >>> round(float(value), 4)
        0.6

    There is no second derivative on TensorFlow, where a turn that is computed again has none.

    Source: Kofler et al. 2022 (arXiv:2205.08209), with these weights; their blobs are connected
        components, numbered beforehand. Their code sets the prediction on other blobs to 0 instead
        of leaving these pixels out, which for logits means a probability of 1/2, and takes the
        mean of the blob terms over images that have blobs.
    """

    truth = "instances"
    takes = ("binary",)

    def __init__(
        self,
        loss: SegmentationLoss | None = None,
        image_weight: float = 2.0,
        blob_weight: float = 1.0,
        max_blobs: int = 64,
        *,
        name: str | None = "blob",
    ) -> None:
        super().__init__(loss, name=name)
        self.image_weight = check_number("image_weight", image_weight, at_least=0)
        self.blob_weight = check_number("blob_weight", blob_weight, at_least=0)
        self.max_blobs = check_whole("max_blobs", max_blobs, at_least=1)
        parts = parts_of(self.loss)
        if self.loss.truth != "mask":
            raise ValueError(f"`loss` must compare masks. Received: {self.loss.name}")
        if any(part.per != "image" for part in parts):
            raise ValueError(
                "`loss` must have per='image': a blob belongs to an image. Received: per='batch'"
            )
        ignored = {part.ignore_class for part in parts}
        if len(ignored) > 1:
            raise ValueError(f"All parts of `loss` must ignore the same class. Received: {ignored}")
        (self.ignore_class,) = ignored
        # It is shown masks in which all that is out is -1, with the classes last.
        self._inner = altered(self.loss, ignore_class=None, data_format="channels_last")

    def terms(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> list[tuple[Any, Tensor, Tensor]]:
        y_true, y_pred, sample_weight = classes_last(
            y_true, y_pred, sample_weight, self.data_format
        )
        labels, wrong = instance_map(y_true, y_pred, self)
        if wrong is None:
            self._check_numbers(visible(labels))
        else:
            labels = ops.where(wrong | (labels > self.max_blobs), _WRONG, labels)
        labels = labels[..., None]
        weight = checked_weight(sample_weight, y_pred, self.compute_dtype)
        image = self._inner.terms(as_mask(labels, labels > 0), y_pred, weight)
        blobs = self._blob_means(labels, y_pred, weight)
        # Values are multiplied by their weights when they are reduced; those of blobs already are.
        return [
            (
                factor,
                self.image_weight * value + self.blob_weight * ratio(blobs[k], weight),
                weight,
            )
            for k, (factor, value, weight) in enumerate(image)
        ]

    def _blob_means(self, labels, y_pred, sample_weight):
        """The mean over the blobs of each image, weights included, `(terms, batch)`."""
        image_weight, pixel_weight = None, ops.ones_like(labels, dtype=self.compute_dtype)
        if sample_weight is not None and len(sample_weight.shape) == 1:
            image_weight = sample_weight
        elif sample_weight is not None:
            pixel_weight = ops.reshape(sample_weight, ops.shape(labels))

        def turn(y_pred, labels, pixel_weight, number):
            own = labels == number
            y = as_mask(labels, own)
            weight = ops.where((labels > 0) & ~own, ops.zeros_like(pixel_weight), pixel_weight)
            there = ops.any(own & (weight > 0), axis=tuple(range(1, len(labels.shape))))
            there = ops.cast(there, self.compute_dtype)
            terms = self._inner.terms(y, y_pred, weight)
            return ops.stack([there, *(there * value * weight for _, value, weight in terms)])

        # A turn is computed again on the way back rather than kept: only its inputs need memory.
        turn = keras.remat(turn)
        numbers = ops.arange(1, self.max_blobs + 1, dtype="int32")
        turns = ops.map(lambda number: turn(y_pred, labels, pixel_weight, number), numbers)
        sums = ops.sum(turns, axis=0)
        means = ratio(sums[1:], sums[:1])
        return means if image_weight is None else image_weight * means

    def _check_numbers(self, labels):
        if labels.size and labels.max() > self.max_blobs:
            raise ValueError(
                f"Blobs must be numbered from 1 to `max_blobs`, {self.max_blobs}; 0 is background, "
                f"-1 out of the picture. Received: labels from {labels.min()} to {labels.max()}. "
                "`skimage.segmentation.relabel_sequential` closes gaps between the numbers."
            )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "image_weight": self.image_weight,
            "blob_weight": self.blob_weight,
            "max_blobs": self.max_blobs,
        }


def strides_of(y_true: Tensor, y_pred: Tensor) -> list[Any]:
    """How many pixels of the truth lie along one of the prediction, for each axis of space.

    Raises:
        ValueError: if they do not divide, where sizes are known.
    """
    strides = []
    for true, pred in zip(ops.shape(y_true)[1:], ops.shape(y_pred)[1:-1]):
        if isinstance(true, int) and isinstance(pred, int) and (pred == 0 or true % pred):
            raise ValueError(
                "The sizes of `y_true` must be whole multiples of those of `y_pred`. Received: "
                f"y_true.shape={shape_of(y_true)}, y_pred.shape={shape_of(y_pred)}"
            )
        strides.append(true // pred)
    return strides


def coarser(x: Tensor, strides: Sequence[Any], sizes: Sequence[Any]) -> Tensor:
    """One pixel of every block of `strides` pixels, the one at its centre; `sizes` blocks."""
    if all(isinstance(stride, int) for stride in strides):
        return x[(slice(None), *(slice(stride // 2, None, stride) for stride in strides))]
    # Sizes known only when the graph runs: blocks apart, which fails unless they divide.
    blocks = [n for pair in zip(sizes, strides) for n in pair]
    x = ops.reshape(x, (ops.shape(x)[0], *blocks, *x.shape[1 + len(strides) :]))
    for axis, stride in enumerate(strides, start=2):
        x = ops.take(x, stride // 2, axis=axis)
    return x


@catalogued(
    family="compound",
    chapter="compound/wrappers",
    citation="lee2015deeply",
    formula=r"\sum_k \frac{1}{r_k} L_k",
)
class DeepSupervisionLoss(Wrapper):
    """Deep supervision: a loss on predictions that are coarser than the truth.

    Formula: `Σ_k L_k / r_k`, L_k the loss of the k-th prediction and r_k the factor by which it is
    coarser than the truth: 1, 1/2, 1/4, ... where each halves the one before. The sum is not
    divided by that of the weights.

    Truth and pixel weights are brought to the size of the prediction by taking the pixel at the
    centre of each block (nearest neighbour): masks stay hard, class and instance maps stay maps,
    and a pixel keeps its own weight.

    Args:
        loss: L, any loss of this package; `DiceLoss()` by default. Its other settings hold:
            `DeepSupervisionLoss(DiceLoss(from_logits=True))`.
        name: name of the loss.

    Shapes: `y_pred` is `(batch, *spatial, classes)`, or a list of such predictions; `y_true` and a
        pixel map of weights are as for every loss, but in space they may be larger than `y_pred`
        by whole factors (along different axes, r is the largest). In `model.compile` one such loss
        serves a model with several outputs: Keras calls it for each output with the truth of that
        output, so `fit(x, [y] * n)`, and adds.
    Returns: the weighted sum.
    Raises:
        ValueError: if the sizes are no whole multiples.
    Example:
        >>> y = np.ones((1, 4, 4, 1))
        >>> fine, coarse = np.ones((1, 4, 4, 1)), np.zeros((1, 2, 2, 1))
        >>> value = DeepSupervisionLoss()(y, [fine, coarse])  # 0 + (1 - 1 / (4 + 1)) / 2
        >>> round(float(value), 4)
        0.4

    Source: Lee et al. 2015 (arXiv:1409.5185) for losses on inner layers; the halving weights are
        nnU-Net's, which leaves the coarsest prediction out and divides by the sum of the rest.
    """

    def __init__(
        self, loss: SegmentationLoss | None = None, *, name: str | None = "deep_supervision"
    ) -> None:
        super().__init__(loss, name=name)
        self.truth = self.loss.truth
        self.takes, self.dimensions = self.loss.takes, self.loss.dimensions
        self._inner = altered(self.loss, data_format="channels_last")

    def terms(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> list[tuple[Any, Tensor, Tensor]]:
        if isinstance(y_pred, (list, tuple)):
            return [t for each in y_pred for t in self.terms(y_true, each, sample_weight)]
        y_true, y_pred, sample_weight = classes_last(
            y_true, y_pred, sample_weight, self.data_format
        )
        dimensions = len(y_pred.shape) - 2
        if len(shape_of(y_true)) <= dimensions:
            return self._inner.terms(y_true, y_pred, sample_weight)  # which says what is wrong
        strides, sizes = strides_of(y_true, y_pred), ops.shape(y_pred)[1:-1]
        if sample_weight is not None and len(shape_of(sample_weight, "sample_weight")) > dimensions:
            sample_weight = coarser(sample_weight, strides, sizes)  # of pixels; others stay
        terms = self._inner.terms(coarser(y_true, strides, sizes), y_pred, sample_weight)
        factor = functools.reduce(ops.maximum, strides)
        return [(f, value / ops.cast(factor, value.dtype), weight) for f, value, weight in terms]
