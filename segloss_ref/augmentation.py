"""Random deformations of images, their labels and weights alike, inside the training step.

Keras's own layers do not serve for instance maps (3.15): `RandomFlip` turns labels into float32,
which joins numbers above 2²⁴; `RandomElasticTransform` refuses integers, clips what is filled in to
the range of the image, and moves every pixel along the diagonal; and each layer resamples anew what
the one before it has resampled, filling images and labels with the same number.
"""

import math
from typing import Any, Self

import keras
from keras import ops, tree

from segloss_ref.checks import (
    VOID,
    Tensor,
    check_choice,
    check_data_format,
    check_number,
    check_seed,
    check_whole,
    visible,
)

_FLIPS = ("none", "horizontal", "vertical", "both")
_PLACES = ("random", "middle")
_INT32 = (-(2**31), 2**31 - 1)
# Stands where a compiled graph meets a label that int32 does not hold: no loss takes it for one.
_NO_LABEL = -2


@keras.saving.register_keras_serializable(package="segloss_ref")
class RandomDeformation(keras.layers.Layer):
    """Flips, turns, scales and bends images, labels and weights alike, and crops them.

    All steps make one map of coordinates, by which images are resampled once, linearly, and labels
    and weights once, by the nearest pixel: none is made that was not there. The output pixel u,
    counted from the middle, shows the picture at

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
        fill_value: of images where there is no picture. Labels are -1 there (in all channels),
            which all losses take as out of the picture, and weights 0.
        seed: of the draws, 0 to 2³² - 1; `None` for another one each time.
        data_format: where the channels stand, `"channels_last"` or `"channels_first"`, in images,
            labels and weights alike; `None` is `keras.config.image_data_format()`.
        place: of the crop: `"random"`, or `"middle"`, where its centre is that of the image.

    Call arguments:
        images: `(batch, height, width, channels)`; channels first: `(batch, channels, height,
            width)`.
        labels: instance map, class map or mask, `(batch, height, width)` or with an axis of
            channels; or several of them in a dict, tuple or list, for several outputs.
        weights: as `sample_weight` in Keras: one number per image, `(batch,)`, which stays, or a
            map, `(batch, height, width)` or with an axis of one channel; or several, like labels.
        training: if false, all come back as they are, at their full size.

    Returns:
        The images in the compute dtype of the layer, cropped; the labels, larger by `surround` on
        each side: integers as int32, floats in their dtype; and, where they are given, the
        weights, maps as large as the images.

    Raises:
        ValueError: for a setting out of range; what does not fit the images; a crop that is larger
            than the image; labels beyond 32 bits, where they can be seen. (Elsewhere they become
            -2, which no loss takes.)

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
        flip: str = "both",
        rotation: float = 0.5,
        scale: tuple[float, float] | list[float] = (0.8, 1.25),
        elastic: float = 10.0,
        grid: int = 3,
        crop: int | tuple[int, int] | list[int] | None = None,
        surround: int = 0,
        fill_value: float = 0.0,
        seed: int | None = None,
        data_format: str | None = None,
        place: str = "random",
        **kwargs: Any,
    ) -> None:
        # No autocast: labels that come as floats must not be rounded to half precision.
        super().__init__(autocast=False, **kwargs)
        self.flip = check_choice("flip", flip, _FLIPS)
        self.rotation = check_number("rotation", rotation, at_least=0, at_most=0.5)
        self.scale = _check_scale(scale)
        self.elastic = check_number("elastic", elastic, at_least=0)
        self.grid = check_whole("grid", grid, at_least=2)
        self.crop = _check_crop(crop)
        self.place = check_choice("place", place, _PLACES)
        self.surround = check_whole("surround", surround, at_least=0)
        self.fill_value = check_number("fill_value", fill_value)
        self.seed = None if seed is None else check_seed("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.data_format = check_data_format(data_format, keras.config.image_data_format())

    def __call__(
        self, images: Tensor, labels: Any, weights: Any = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        if not hasattr(images, "shape"):
            raise ValueError(
                "`images` must be one array or tensor; labels and weights may be several. "
                f"Received: a {type(images).__name__}"
            )
        # Before Keras makes tensors of them: JAX would let larger numbers begin anew.
        tree.map_structure(_check_integers, labels)
        return super().__call__(images, labels, weights, **kwargs)

    def call(
        self, images: Tensor, labels: Any, weights: Any = None, training: bool | None = False
    ) -> tuple[Any, ...]:
        images = self._channels_last("images", images, ranks=(4,))
        labels = tree.map_structure(
            lambda y: None if y is None else _signed(self._channels_last("labels", y)), labels
        )
        weights = tree.map_structure(self._weight, weights)
        _check_sizes(images, tree.flatten((labels, weights)), self.crop, self.data_format)
        images = ops.cast(images, "float32")
        if training:
            places = self._places(ops.shape(images))
            inner = slice(self.surround, -self.surround or None)
            labels = tree.map_structure(lambda y: _nearest(y, places, VOID), labels)
            places = places[:, inner, inner]
            weights = tree.map_structure(lambda w: _nearest(w, places, 0), weights)
            images = _linear(images, places, self.fill_value)
        images = ops.cast(images, self.compute_dtype)
        result = (images, labels) if weights is None else (images, labels, weights)
        return tree.map_structure(self._channels_back, result)

    def _weight(self, weight):
        if weight is None or len(weight.shape) == 1:
            return weight
        return self._channels_last("weights", weight)

    def _channels_last(self, name, x, ranks=(3, 4)):
        x = ops.convert_to_tensor(x)
        if len(x.shape) not in ranks:
            first = self.data_format == "channels_first"
            channels = "channels, height, width" if first else "height, width, channels"
            shapes = {1: "(batch,)", 3: "(batch, height, width)", 4: f"(batch, {channels})"}
            allowed = {"weights": (1, 3, 4)}.get(name, ranks)
            raise ValueError(
                f"`{name}` must be of shape {' or '.join(shapes[rank] for rank in allowed)}. "
                f"Received: {name}.shape={tuple(x.shape)}, data_format={self.data_format!r}"
            )
        return ops.moveaxis(x, 1, -1) if self._moves(x) else x

    def _channels_back(self, x):
        return ops.moveaxis(x, -1, 1) if x is not None and self._moves(x) else x

    def _moves(self, x):
        return self.data_format == "channels_first" and len(x.shape) == 4

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
            drawn = self._uniform((batch, 1, 1), 0, 1) if self.place == "random" else 0.5
            start = ops.floor(room * drawn) + ops.zeros((batch, 1, 1))
            starts.append(ops.minimum(start, room - 1) + _half(side))  # if 1 - ε rounds to 1
        return ops.stack(starts, axis=-1)

    def _uniform(self, shape, low, high):
        drawn = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        return low + (high - low) * drawn

    def _normal(self, shape):
        return keras.random.normal(shape, dtype="float32", seed=self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        names = "flip rotation scale elastic grid crop surround fill_value seed data_format place"
        return {**super().get_config(), **{name: getattr(self, name) for name in names.split()}}


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


def _nearest(labels, places, fill):
    if labels is None or len(labels.shape) == 1:
        return labels
    channel = len(labels.shape) == 4
    image = labels if channel else labels[..., None]
    whole = (
        ops.cast(ops.clip(ops.floor(x + 0.5), 0, side - 1), "int32")
        for x, side in zip(_axes(places), _sides(image))
    )
    found = ops.where(_inside(image, places), _look_up(image, *whole), fill)
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
    _check_integers(labels)
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if "float" in dtype:
        return labels
    numbers = ops.cast(labels, "int32")
    if dtype not in ("int64", "uint32", "uint64") or visible(labels) is not None:
        return numbers
    wide = ops.cast(labels, "int64")
    return ops.where((wide < _INT32[0]) | (wide > _INT32[1]), _NO_LABEL, numbers)


def _check_integers(labels):
    wide = ("int64", "uint32", "uint64")
    if keras.backend.standardize_dtype(getattr(labels, "dtype", "int32")) not in wide:
        return
    seen = visible(labels)
    if seen is not None and seen.size and not (seen.min() >= _INT32[0] and seen.max() <= _INT32[1]):
        raise ValueError(
            f"`labels` must lie in {_INT32[0]} to {_INT32[1]}, the numbers of 32 bits. "
            f"Received: values from {seen.min()} to {seen.max()}"
        )


def _check_scale(scale):
    if not isinstance(scale, (tuple, list)) or len(scale) != 2:
        raise ValueError(
            f"`scale` must be a pair (least, largest) of magnifications. Received: {scale!r}"
        )
    least = check_number("scale[0]", scale[0], above=0)
    return least, check_number("scale[1]", scale[1], at_least=least)


def _check_crop(crop):
    if crop is None:
        return None
    sides = crop if isinstance(crop, (tuple, list)) else (crop, crop)
    if len(sides) != 2:
        raise ValueError(f"`crop` must be a side or a pair (height, width). Received: {crop!r}")
    return tuple(check_whole("crop", side, at_least=1) for side in sides)


def _check_sizes(images, others, crop, data_format):
    """Raises unless all fit the images, whose channels stand last by now."""
    shape = tuple(images.shape)
    told = f"{shape[0]} images of {shape[1]} x {shape[2]} pixels with {shape[3]} channels"
    told = f"Received: {told}, data_format={data_format!r}"
    sides, channels = shape[1:3], shape[3]
    if 0 in shape[1:]:
        raise ValueError(f"Images must have pixels and channels. {told}")
    # A side of up to 4 pixels beside more channels than that is an axis of channels.
    line = sides[0] if data_format == "channels_last" else sides[1]
    if None not in (line, channels) and line <= 4 < channels:
        raise ValueError(f"The axes of the images seem to stand otherwise. {told}")
    for x in others:
        known = zip(shape, () if x is None else x.shape[:3])
        if any(None not in pair and pair[0] != pair[1] for pair in known):
            raise ValueError(
                "Images, labels and weights must have the same size. "
                f"Received, with the channels last: images.shape={shape}, and a shape of "
                f"{tuple(x.shape)}; data_format={data_format!r}"
            )
    if crop is None and None in sides:
        raise ValueError(f"The size of the images must be known, or `crop` be given. {told}")
    if any(side is not None and wanted > side for wanted, side in zip(crop or (), sides)):
        raise ValueError(f"`crop` must fit into the images. Received: crop={crop}. {told}")


@keras.saving.register_keras_serializable(package="segloss_ref")
class AugmentedModel(keras.Model):
    """A model that augments each batch that `fit` shows it, on the device, in the training step.

    `fit(images, labels)` gives both to the augmentation, and trains on what comes back; what was
    filled in is -1 in the labels, and counts in no loss. `evaluate`, `predict` and
    `validation_data` see the images as they are.

    Args:
        model: the network, with one output or several.
        augmentation: a layer called with `(images, labels, training=True)` that returns such a
            pair, and with `weights=` where they are maps: `RandomDeformation(...)`. Metrics given
            to `compile` see its labels as well; with a `surround` they are larger than the
            prediction.

    Shapes: as those of `model`; labels and `sample_weight` as `RandomDeformation` takes them: all
        label sets of several outputs and all maps of weights are deformed alike. A map of weights
        belongs to the pixels that it was made for; one that depends on what lies around a pixel,
        as that of the U-Net does, is wrong after a crop, and better made from the deformed labels
        (`ShapeAwareLoss`).

    Raises:
        ValueError: for images, labels and weights that do not fit together.

    Example:
        >>> network = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Conv2D(1, 1)])
        >>> model = AugmentedModel(network, RandomDeformation(seed=0))
        >>> model.compile("sgd", ShapeAwareLoss(from_logits=True))
        >>> images, cells = np.zeros((2, 32, 32, 1)), np.ones((2, 32, 32), "int32")
        >>> history = model.fit(images, cells, verbose=0)
    """

    def __init__(self, model: keras.Model, augmentation: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model, self.augmentation = model, augmentation

    def build(self, input_shape: Any) -> None:
        if not self.model.built:
            self.model.build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.model(inputs, training=training)

    def train_step(self, *args: Any) -> Any:
        # TensorFlow and PyTorch pass the data; JAX passes the values of all variables before it.
        *state, data = args
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not state:
            return super().train_step(self._augmented(x, y, sample_weight))
        (trainable, non_trainable, *rest) = state[0]
        variables = self.non_trainable_variables
        with keras.StatelessScope(zip(variables, non_trainable)) as scope:
            data = self._augmented(x, y, sample_weight)
        non_trainable = [scope.get_current_value(v) for v in variables]
        return super().train_step((trainable, non_trainable, *rest), data)

    def _augmented(self, x, y, sample_weight):
        if all(w is None or len(w.shape) == 1 for w in tree.flatten(sample_weight)):
            return *self.augmentation(x, y, training=True), sample_weight
        return self.augmentation(x, y, weights=sample_weight, training=True)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        parts = {"model": serialize(self.model), "augmentation": serialize(self.augmentation)}
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        deserialize = keras.saving.deserialize_keras_object
        parts = {name: deserialize(config.pop(name)) for name in ("model", "augmentation")}
        return cls(**parts, **config)
