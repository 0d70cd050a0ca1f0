"""The network of the experiments, a small U-Net, and what stands before and behind a network."""

import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from segloss_ref.checks import Tensor, check_choice, check_whole

# The data sets have their channels last, whatever Keras is set to.
_LAST = {"data_format": "channels_last"}
_CONVOLUTION = {2: layers.Conv2D, 3: layers.Conv3D}
_POOLING = {2: layers.MaxPooling2D, 3: layers.MaxPooling3D}
_UP = {2: layers.UpSampling2D, 3: layers.UpSampling3D}


def unet(
    channels: int = 1,
    classes: int = 1,
    *,
    spatial_dims: int = 2,
    width: int = 8,
    depth: int = 3,
    outputs: int = 1,
) -> keras.Model:
    """A U-Net that returns logits, for images or volumes of any size.

    Where a side is no multiple of 2**depth, the picture is mirrored at its lower and right edge up
    to the next one, and what was added is cut off again before the last layer.

    Args:
        channels: channels of the image, at least 1.
        classes: channels of the output, at least 1; 1 is binary.
        spatial_dims: 2 for images, 3 for volumes.
        width: filters at full resolution, at least 1; each level down doubles them.
        depth: how many times the image is halved, at least 1.
        outputs: how many levels on the way up have logits, for deep supervision; at most `depth`.
            The first is at full resolution, each further one halves the sides.

    Shapes: `(batch, *spatial, channels)` -> `(batch, *spatial, classes)`, whatever
        `keras.config.image_data_format()` says; float32 under any policy, because half precision
        saturates a sigmoid at a logit of 11. With several outputs a list of such; the coarser ones
        are those of the image as it was mirrored.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: for a setting out of range, for no images, and for images without pixels.

    Example:
        >>> logits = unet(width=2, depth=2)(np.zeros((1, 5, 7, 1)))
        >>> tuple(logits.shape)
        (1, 5, 7, 1)

    Source: Ronneberger et al. 2015 (arXiv:1505.04597), figure 1, and for volumes Çiçek et al. 2016
        (arXiv:1606.06650); with padding, so that output
        and image have one size, with batch normalisation, and much narrower.
    """
    settings = {"channels": channels, "classes": classes, "width": width, "depth": depth}
    for name, value in settings.items():
        check_whole(name, value, at_least=1)
    check_whole("outputs", outputs, at_least=1, at_most=depth)
    dims = check_choice("spatial_dims", spatial_dims, (2, 3))
    image = keras.Input((*(None,) * dims, channels))
    x, skips = MirrorToMultiple(2**depth, name="mirror_to_multiple")(image), []
    for level in range(depth):
        x = _two_convolutions(x, width * 2**level, dims)
        skips.append(x)
        x = _POOLING[dims](**_LAST)(x)
    x, coarser = _two_convolutions(x, width * 2**depth, dims), []
    for level in reversed(range(depth)):
        x = layers.Concatenate()([_UP[dims](**_LAST)(x), skips[level]])
        x = _two_convolutions(x, width * 2**level, dims)
        if 0 < level < outputs:
            coarser.insert(0, _logits(classes, dims, f"logits_{2**level}")(x))
    x = CropLike(name="crop_like")([x, image])
    logits = _logits(classes, dims, "logits")(x)
    return keras.Model(image, [logits, *coarser] if coarser else logits, name="unet")


def _logits(classes, dims, name):
    return _CONVOLUTION[dims](classes, 1, dtype="float32", name=name, **_LAST)


def _two_convolutions(x, filters, dims):
    for _ in range(2):
        x = _CONVOLUTION[dims](
            filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", **_LAST
        )(x)
        # The runs are a few hundred steps long; Keras's momentum of 0.99 would still remember
        # the first of them at the end.
        x = BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
    return x


def standardized(images: np.ndarray) -> np.ndarray:
    """Each image with a mean of 0 and a standard deviation of 1 in each channel, over its pixels.

        `x' = (x - mean(x)) / std(x)`

    A channel that is constant becomes 0: one whose deviation is at most 1e-5 of its largest value.

    Args:
        images: `(n, *spatial, channels)`.

    Returns:
        float32, of the same shape. What is standardised already comes back as it is, but for
        rounding.

    Example:
        >>> standardized(np.array([[[[1.0], [3.0]]], [[[0.2], [0.2]]]])).ravel().tolist()
        [-1.0, 1.0, 0.0, 0.0]
    """
    return np.stack([_standardized(image, np).astype("float32") for image in images])


def _standardized(image, np_or_ops):
    """One image `(*spatial, channels)` of NumPy, or a batch of Keras."""
    axes = tuple(range(len(image.shape) - 1)) if np_or_ops is np else _spatial_axes(image)
    largest = np_or_ops.max(np_or_ops.abs(image), axis=axes, keepdims=True)
    away = image - np_or_ops.mean(image, axis=axes, keepdims=True)
    deviation = np_or_ops.sqrt(np_or_ops.mean(away**2, axis=axes, keepdims=True))
    constant = deviation <= 1e-5 * largest
    return np_or_ops.where(constant, 0.0, away / np_or_ops.where(constant, 1.0, deviation))


def _spatial_axes(images):
    return tuple(range(1, len(images.shape) - 1))


def standardizing(network: keras.Model, channels: int, spatial_dims: int = 2) -> keras.Model:
    """A network behind `Standardize`, so that it can be shown images as they are.

    Args:
        network: a model, channels last, that returns logits.
        channels: channels of its images.
        spatial_dims: 2 for images, 3 for volumes.

    Returns:
        A `keras.Model` with the outputs of the network.

    Example:
        >>> model = standardizing(unet(width=2, depth=1), channels=1)
        >>> [layer.name for layer in model.layers[1:]]
        ['standardize', 'unet']
    """
    image = keras.Input((*(None,) * spatial_dims, channels))
    return keras.Model(image, network(Standardize(name="standardize")(image)))


@keras.saving.register_keras_serializable(package="segloss_ref")
class BatchNormalization(layers.BatchNormalization):
    """Keras's layer with the same numbers, over the last axis, for a network that trains on a CPU.

    Keras composes it of moments and products, which is a fifth of a training step of the U-Net
    there. TensorFlow has one kernel for it, which this layer takes in training at float32;
    elsewhere it is Keras's own.

    Shapes: `(batch, *spatial, channels)`, which stays.

    Returns:
        The images, normalised.

    Example:
        >>> x = np.array([[[[1.0], [3.0]]]], "float32")
        >>> print(ops.convert_to_numpy(BatchNormalization()(x, training=True)).round(2).ravel())
        [-1.  1.]
    """

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        fused = keras.backend.backend() == "tensorflow" and self.compute_dtype == "float32"
        if not (fused and training and self.trainable and mask is None):
            return super().call(inputs, training=training, mask=mask)
        tf = sys.modules["tensorflow"]  # Keras has it; the package runs where it is not

        shape = tf.shape(inputs)
        # The kernel takes images; to the statistics a volume is one that is as high as all slices.
        flat = tf.reshape(inputs, [shape[0], -1, shape[-2], inputs.shape[-1]])
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=flat, scale=self.gamma, offset=self.beta, mean=[], variance=[], epsilon=self.epsilon
        )
        # It divides by n - 1, Keras by n.
        n = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
        for moving, now in (
            (self.moving_mean, mean),
            (self.moving_variance, variance * (n - 1) / n),
        ):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        return tf.ensure_shape(tf.reshape(y, shape), inputs.shape)


@keras.saving.register_keras_serializable(package="segloss_ref")
class MirrorToMultiple(layers.Layer):
    """Mirrors images at the end of each side, up to the next multiple of a number of pixels.

    Mirrored, not filled: what is added has the statistics of the picture, so that batch
    normalisation sees nothing new; and mirrored as often as needed, so that no image is too small.

    Args:
        multiple: of so many pixels, at least 1.

    Shapes: `(batch, *spatial, channels)`; the spatial sides grow.

    Returns:
        The images; as they are, where all sides are multiples.

    Raises:
        ValueError: for a setting out of range, for no images, and for images without pixels.

    Example:
        >>> row = MirrorToMultiple(4)(np.array([[[[1.0], [2], [3], [4], [5]]]]))
        >>> print(ops.convert_to_numpy(row)[0, 0, :, 0])
        [1. 2. 3. 4. 5. 5. 4. 3.]
    """

    def __init__(self, multiple: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = check_whole("multiple", multiple, at_least=1)

    def call(self, images: Tensor) -> Tensor:
        if 0 in images.shape:  # some kernels of TensorFlow give batches without images odd sizes
            raise ValueError(
                "There must be images, and they must have pixels. "
                f"Received: shape {tuple(images.shape)}"
            )
        for axis in range(1, len(images.shape) - 1):
            size = ops.shape(images)[axis]
            grown = self._grown(size)
            if grown is not size:
                place = ops.arange(grown) % (2 * size)  # to the end, and back again
                place = ops.minimum(place, 2 * size - 1 - place)
                images = ops.take(images, place, axis=axis)
        return images

    def _grown(self, size):
        if isinstance(size, int) and size % self.multiple == 0:
            return size
        return (size + self.multiple - 1) // self.multiple * self.multiple

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *sides, channels = shape
        return batch, *(side if side is None else self._grown(side) for side in sides), channels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable(package="segloss_ref")
class CropLike(layers.Layer):
    """The beginning of each side of an array, as much of it as another one has.

    Shapes: called with the list `[x, like]`, both `(batch, *spatial, channels)`, `x` at least as
        large as `like`.

    Returns:
        `x`, with the spatial sides of `like`.

    Example:
        >>> tuple(CropLike()([np.zeros((1, 8, 8, 3)), np.zeros((1, 5, 7, 1))]).shape)
        (1, 5, 7, 3)
    """

    def call(self, pair: Sequence[Tensor]) -> Tensor:
        x, like = pair
        if x.shape[1:-1] == like.shape[1:-1] and None not in like.shape[1:-1]:
            return x
        return x[(slice(None), *(slice(side) for side in ops.shape(like)[1:-1]))]

    def compute_output_shape(
        self, shapes: Sequence[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        (batch, *_, channels), (_, *sides, _) = shapes
        return batch, *sides, channels


@keras.saving.register_keras_serializable(package="segloss_ref")
class Standardize(layers.Layer):
    """Gives each image, in each channel, a mean of 0 and a deviation of 1; see `standardized`.

    While a model trains (`training=True`) it lets images through as they are. A crop does not
    show the mean of its image: whoever trains on crops standardises the whole images before
    (`standardized`), as the experiments do. A model that was trained so takes whole images, as
    they are or standardised, with the same result.

    Shapes: `(batch, *spatial, channels)`, which stays.

    Returns:
        float32 under any policy.

    Example:
        >>> print(ops.convert_to_numpy(Standardize()(np.array([[[[1.0], [3.0]]]]))).ravel())
        [-1.  1.]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, images: Tensor, training: bool | None = False) -> Tensor:
        return images if training else _standardized(images, ops)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape
