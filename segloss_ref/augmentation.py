"""Random deformations of images and their labels alike, inside the training step.

Keras's own layers do not serve for instance maps (3.15): `RandomFlip` turns labels into float32,
which joins numbers above 2²⁴; `RandomElasticTransform` refuses integers, clips what is filled in to
the range of the image, and moves every pixel along the diagonal; and each layer resamples anew what
the one before it has resampled, filling images and labels with the same number.
"""

import math

import keras
from keras import ops

from segloss_ref.checks import check_choice, check_number, check_whole

_FLIPS = ("none", "horizontal", "vertical", "both")


@keras.saving.register_keras_serializable(package="segloss_ref")
class RandomDeformation(keras.layers.Layer):
    """Flips, turns, scales and bends images and their labels alike, and crops them.

    All steps make one map of coordinates, by which images are resampled once, linearly, and labels
    once, by the nearest pixel: no label is made that was not there. The output pixel u, counted
    from the middle, shows the picture at

        `x(u) = c + F R(θ) (u + e(c + u)) / s`

    with a flip F, a turn R, the magnification s, the centre c of the crop, and an elastic
    displacement e of the picture. Each image of a batch draws its own.

    Args:
        flip: axes along which half of the images are mirrored: `"horizontal"`, `"vertical"`,
            `"both"` (each on its own) or `"none"`.
        rotation: largest angle θ, in full turns as in `keras.layers.RandomRotation`; 0.5 is any.
        scale: pair of the least and the largest magnification s, drawn evenly in its logarithm.
        elastic: standard deviation in pixels of the displacement of each control point along each
            axis; between them it is interpolated (cubic).
        grid: control points along each axis, from edge to edge of the picture.
        crop: side of the square to cut out, or a pair (height, width); `None` keeps the size of
            the image. The centre is drawn such that an upright crop lies within the image.
        surround: pixels by which the label map reaches farther than the image on each side: what
            `ShapeAwareLoss(surround=...)` wants, to count cells beyond the edge of the crop.
        fill_value: of images where there is no picture. Labels are -1 there, which the losses take
            as out of the picture (`ShapeAwareLoss`, and all others with `ignore_class=-1`).
        seed: of the draws.

    Call arguments:
        images: `(batch, height, width, channels)`.
        labels: instance map, class map or mask, `(batch, height, width)` or with a last axis.
        training: if false, both come back as they are, at their full size.

    Returns:
        The images in the compute dtype of the layer, `(batch, *crop, channels)`, and the labels,
        `(batch, crop + 2 surround, ...)`: integers as int32, floats in their dtype.

    Raises:
        ValueError: for a setting out of range, images and labels that do not fit, and a crop that
            is larger than the image.

    Example:
        >>> deform = RandomDeformation(flip="none", rotation=0.0, scale=(2, 2), elastic=0.0)
        >>> labels = np.array([[[0, 3, 0, 0]] * 4])
        >>> _, zoomed = deform(np.zeros((1, 4, 4, 1)), labels, training=True)
        >>> print(ops.convert_to_numpy(zoomed)[0, 0])
        [3 3 0 0]

    Source: the elastic part is that of Ronneberger et al. 2015 (arXiv:1505.04597), section 3.1,
        with their numbers as defaults: a grid of 3 by 3 points, 10 pixels.
    """

    def __init__(
        self,
        flip="both",
        rotation=0.5,
        scale=(0.8, 1.25),
        elastic=10.0,
        grid=3,
        crop=None,
        surround=0,
        fill_value=0.0,
        seed=None,
        **kwargs,
    ):
        # No autocast: labels that come as floats must not be rounded to half precision.
        super().__init__(autocast=False, **kwargs)
        self.flip = check_choice("flip", flip, _FLIPS)
        self.rotation = check_number("rotation", rotation, at_least=0, at_most=0.5)
        self.scale = _checked_scale(scale)
        self.elastic = check_number("elastic", elastic, at_least=0)
        self.grid = check_whole("grid", grid, at_least=2)
        self.crop = _checked_crop(crop)
        self.surround = check_whole("surround", surround, at_least=0)
        self.fill_value = check_number("fill_value", fill_value)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images, labels, training=False):
        images = ops.cast(ops.convert_to_tensor(images), "float32")
        labels = _signed(ops.convert_to_tensor(labels))
        _check_pair(images, labels, self.crop)
        if training:
            places = self._places(ops.shape(images))
            labels = _nearest(labels, places)
            inner = slice(self.surround, -self.surround or None)
            images = _linear(images, places[:, inner, inner], self.fill_value)
        return ops.cast(images, self.compute_dtype), labels

    def _places(self, shape):
        """Where each output pixel looks, `(batch, height, width, 2)`, in pixels of the picture."""
        batch, picture = shape[0], shape[1:3]
        crop = picture if self.crop is None else self.crop
        centre = self._centres(batch, picture, crop)
        rows, columns = (_middle_out(n + 2 * self.surround) for n in crop)
        u = ops.stack(ops.meshgrid(rows, columns, indexing="ij"), axis=-1)[None]
        if self.elastic > 0:
            points = self._normal((batch, self.grid, self.grid, 2))
            along = (
                _cubic(ops.cast(n, "float32") - 1, centre[:, 0, :, i] + x, self.grid)
                for i, (n, x) in enumerate(zip(picture, (rows, columns)))
            )
            u = u + self.elastic * ops.einsum("bijc,bhi,bwj->bhwc", points, *along)
        u = ops.broadcast_to(u, (batch, *ops.shape(u)[1:]))
        return centre + ops.einsum("bhwi,bij->bhwj", u, self._linear_part(batch))

    def _linear_part(self, batch):
        """The transposed matrices F R / s, `(batch, 2, 2)`."""
        angle = 2 * math.pi * self.rotation * self._uniform((batch,), -1, 1)
        magnification = ops.exp(self._uniform((batch,), *(math.log(s) for s in self.scale)))
        cos, sin = (f(angle) / magnification for f in (ops.cos, ops.sin))
        turn = ops.reshape(ops.stack([cos, sin, -sin, cos], axis=-1), (batch, 2, 2))
        return turn * ops.expand_dims(self._signs(batch), axis=1)

    def _signs(self, batch):
        mirrored = [self.flip in (axis, "both") for axis in ("vertical", "horizontal")]
        drawn = ops.where(self._uniform((batch, 2), 0, 1) < 0.5, -1.0, 1.0)
        return ops.where(ops.convert_to_tensor(mirrored), drawn, 1.0)

    def _centres(self, batch, picture, crop):
        """The middle of the crop, `(batch, 1, 1, 2)`; on a whole number of pixels from the edge."""
        starts = []
        for size, side in zip(picture, crop):
            room = ops.cast(size - side + 1, "float32")
            start = ops.floor(room * self._uniform((batch, 1, 1), 0, 1))
            starts.append(ops.minimum(start, room - 1) + _half(side))  # if 1 - ε rounds to 1
        return ops.stack(starts, axis=-1)

    def _uniform(self, shape, low, high):
        drawn = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        return low + (high - low) * drawn

    def _normal(self, shape):
        return keras.random.normal(shape, dtype="float32", seed=self.seed_generator)

    def get_config(self):
        settings = ("flip", "rotation", "scale", "elastic", "grid", "crop", "surround")
        own = {name: getattr(self, name) for name in (*settings, "fill_value", "seed")}
        return {**super().get_config(), **own}


def _cubic(length, x, points):
    """Weights `(batch, side, points)` that interpolate at x between points spread over a length.

    Keys's cubic convolution, as bicubic resizing has it (which XLA does not compile on TensorFlow).
    """
    at = ops.clip(x / ops.maximum(length, 1), 0, 1) * (points - 1)
    away = ops.abs(at[..., None] - ops.arange(points, dtype="float32"))
    near = 1 + away**2 * (1.5 * away - 2.5)
    far = 2 + away * (-4 + away * (2.5 - 0.5 * away))
    weights = ops.where(away < 1, near, ops.where(away < 2, far, 0.0))
    return weights / ops.sum(weights, axis=-1, keepdims=True)  # there are none beyond the edge


def _half(side):
    return (ops.cast(side, "float32") - 1) / 2


def _middle_out(side):
    return ops.cast(ops.arange(side), "float32") - _half(side)


def _pixels(image):
    """The pixels of `(batch, height, width, channels)` in one row, `(batch, pixels, channels)`."""
    batch, height, width, channels = ops.shape(image)
    return ops.reshape(image, (batch, height * width, channels))


def _look_up(image, rows, columns):
    """The pixels at whole numbers `(batch, h, w)` of rows and columns, all inside the image."""
    batch, height, width = ops.shape(rows)
    index = ops.reshape(rows * ops.shape(image)[2] + columns, (batch, height * width, 1))
    found = ops.take_along_axis(_pixels(image), index, axis=1)
    return ops.reshape(found, (batch, height, width, ops.shape(image)[3]))


def _sides(image):
    return tuple(ops.cast(side, "float32") for side in ops.shape(image)[1:3])


def _inside(image, places):
    """Whether a place lies on a pixel of the image, `(batch, h, w, 1)`."""
    each = [(x > -0.5) & (x < side - 0.5) for x, side in zip(_axes(places), _sides(image))]
    return ops.expand_dims(each[0] & each[1], axis=-1)


def _axes(places):
    return places[..., 0], places[..., 1]


def _nearest(labels, places):
    channel = len(labels.shape) == 4
    image = labels if channel else labels[..., None]
    whole = (
        ops.cast(ops.clip(ops.floor(x + 0.5), 0, side - 1), "int32")
        for x, side in zip(_axes(places), _sides(image))
    )
    found = ops.where(_inside(image, places), _look_up(image, *whole), -1)
    found = ops.cast(found, labels.dtype)
    return found if channel else found[..., 0]


def _linear(image, places, fill_value):
    corners = []
    for x, side in zip(_axes(places), _sides(image)):
        x = ops.clip(x, 0, side - 1)  # half a pixel at the edge belongs to the outermost one
        before = ops.floor(x)
        share = ops.expand_dims(x - before, axis=-1)
        after = ops.minimum(before + 1, side - 1)
        corners.append([(ops.cast(before, "int32"), 1 - share), (ops.cast(after, "int32"), share)])
    value = sum(
        of_row * of_column * _look_up(image, row, column)
        for row, of_row in corners[0]
        for column, of_column in corners[1]
    )
    return ops.where(_inside(image, places), value, fill_value)


def _signed(labels):
    """Integers as int32: -1 must fit in."""
    dtype = keras.backend.standardize_dtype(labels.dtype)
    return labels if "float" in dtype else ops.cast(labels, "int32")


def _checked_scale(scale):
    pair = isinstance(scale, (tuple, list)) and len(scale) == 2
    if not pair or not 0 < scale[0] <= scale[1] < math.inf:
        raise ValueError(
            "`scale` must be a pair (least, largest) of magnifications above 0. "
            f"Received: {scale!r}"
        )
    return float(scale[0]), float(scale[1])


def _checked_crop(crop):
    if crop is None:
        return None
    sides = crop if isinstance(crop, (tuple, list)) else (crop, crop)
    if len(sides) != 2:
        raise ValueError(f"`crop` must be a side or a pair (height, width). Received: {crop!r}")
    return tuple(check_whole("crop", side, at_least=1) for side in sides)


def _check_pair(images, labels, crop):
    if len(images.shape) != 4 or len(labels.shape) not in (3, 4):
        raise ValueError(
            "`images` must be of shape (batch, height, width, channels), and `labels` of shape "
            "(batch, height, width) or (batch, height, width, channels). Received: "
            f"images.shape={tuple(images.shape)}, labels.shape={tuple(labels.shape)}"
        )
    known = zip(images.shape[:3], labels.shape[:3])
    if any(None not in pair and pair[0] != pair[1] for pair in known):
        raise ValueError(
            "Images and labels must have the same size. Received: "
            f"images.shape={tuple(images.shape)}, labels.shape={tuple(labels.shape)}"
        )
    if crop is None and None in images.shape[1:3]:
        raise ValueError(
            "The size of the images must be known, or `crop` be given. Received: "
            f"images.shape={tuple(images.shape)}"
        )
    sides = zip(crop or (), images.shape[1:3])
    if any(side is not None and wanted > side for wanted, side in sides):
        raise ValueError(
            f"`crop` must fit into the images. Received: crop={crop}, "
            f"images.shape={tuple(images.shape)}"
        )


@keras.saving.register_keras_serializable(package="segloss_ref")
class AugmentedModel(keras.Model):
    """A model that augments each batch that `fit` shows it, on the device, in the training step.

    `fit(images, labels)` gives both to the augmentation, and trains on what comes back. A weight
    map that the loss makes from the labels is so made after the augmentation: one that was made
    before would be wrong. `evaluate` and `predict` see the images as they are.

    Args:
        model: the network.
        augmentation: a layer called with `(images, labels, training=True)` that returns such a
            pair: `RandomDeformation(...)`. Metrics given to `compile` see its labels as well;
            with a `surround` they are larger than the prediction.

    Shapes: as those of `model`. `sample_weight` is one number per image: a map of weights made
        beforehand does not fit any more, and is refused.

    Raises:
        ValueError: for such a map.

    Example:
        >>> network = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Conv2D(1, 1)])
        >>> model = AugmentedModel(network, RandomDeformation(seed=0))
        >>> model.compile("sgd", ShapeAwareLoss(from_logits=True))
        >>> images, cells = np.zeros((2, 32, 32, 1)), np.ones((2, 32, 32), "int32")
        >>> history = model.fit(images, cells, verbose=0)
    """

    def __init__(self, model, augmentation, **kwargs):
        super().__init__(**kwargs)
        self.model, self.augmentation = model, augmentation

    def build(self, input_shape):
        if not self.model.built:
            self.model.build(input_shape)

    def call(self, inputs, training=None):
        return self.model(inputs, training=training)

    def train_step(self, *args):
        # TensorFlow and PyTorch pass the data; JAX passes the values of all variables before it.
        *state, data = args
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if sample_weight is not None and len(sample_weight.shape) > 1:
            raise ValueError(
                "`sample_weight` must be one number per image: a map of weights made before the "
                f"augmentation does not fit after it. Received: shape {sample_weight.shape}"
            )
        if not state:
            x, y = self.augmentation(x, y, training=True)
            return super().train_step((x, y, sample_weight))
        (trainable, non_trainable, *rest) = state[0]
        variables = self.non_trainable_variables
        with keras.StatelessScope(zip(variables, non_trainable)) as scope:
            x, y = self.augmentation(x, y, training=True)
        non_trainable = [scope.get_current_value(v) for v in variables]
        return super().train_step((trainable, non_trainable, *rest), (x, y, sample_weight))

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        parts = {"model": serialize(self.model), "augmentation": serialize(self.augmentation)}
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        parts = {name: deserialize(config.pop(name)) for name in ("model", "augmentation")}
        return cls(**parts, **config)
