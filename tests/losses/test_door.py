"""What comes through the door of every loss: values, pixels that are nothing, axes, no images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import segloss_ref as sl
from segloss_ref.catalogue import settings_of

ENTRIES = {entry.name: entry.loss for entry in sl.catalogue()}
every_loss = pytest.mark.parametrize("cls", ENTRIES.values(), ids=ENTRIES)
every_mask_loss = pytest.mark.parametrize(
    "cls", [c for c in ENTRIES.values() if c().truth == "mask"], ids=lambda c: c.__name__
)
SIDE = 8


def around(cls, **settings):
    """The loss with arguments of every loss; a wrapper has them from the loss inside it."""
    if "from_logits" in settings_of(cls):
        return cls(**settings)
    if "losses" in settings_of(cls):
        return sl.DiceLoss(**settings) + sl.FocalLoss(**settings)
    return cls(sl.DiceLoss(**settings))


def batch_for(cls, rng, side=SIDE):
    """Truth and logits of two images for a loss: a class map where it takes several classes."""
    loss = cls()
    classes = 1 if "binary" in loss.takes else 3
    z = rng.normal(size=(2, side, side, classes)).astype("float32")
    if loss.truth == "instances":
        return (np.arange(2 * side * side).reshape(2, side, side) % 3).astype("int32"), z
    if classes > 1:
        return rng.integers(0, classes, (2, side, side)), z
    return (rng.random((2, side, side, 1)) > 0.6).astype("float32"), z


def in_graph(loss, *args):
    return float(tf.function(lambda *args: loss(*args))(*(tf.constant(a) for a in args)))


# --- Pixels that are nothing --------------------------------------------------------------------


def with_void(y, value=-1):
    """The truth with the upper half void, in a dtype that can hold it."""
    y = y.astype("float32" if y.dtype.kind == "f" else "int64")
    y[:, : y.shape[1] // 2] = value
    return y


@every_loss
def test_minus_one_counts_nowhere(cls, rng):
    """Neither eager nor in a graph, and whatever is predicted there."""
    y, z = batch_for(cls, rng)
    y, loss = with_void(y), around(cls, from_logits=True)
    other = z.copy()
    other[:, : SIDE // 2] = np.nan
    value = float(loss(y, z))
    assert np.isfinite(value)
    assert float(loss(y, other)) == pytest.approx(value, rel=1e-6)
    assert in_graph(loss, y, other) == pytest.approx(value, rel=1e-5)


POINTWISE = ["DiceLoss", "BinaryCrossEntropyLoss", "FocalLoss", "GeneralizedDiceLoss",
             "LovaszSoftmaxLoss", "MatthewsLoss", "DiceCrossEntropyLoss", "ComboLoss"]  # fmt: skip


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("kind", ["mask", "map", "one-hot"])
def test_void_is_the_rest_of_the_picture(name, kind, rng):
    """Of losses that do not look at neighbours, the value is that of the picture without it."""
    cls, classes = ENTRIES[name], 1 if kind == "mask" else 3
    loss = cls(from_logits=True)
    if ("binary" if kind == "mask" else "exclusive") not in loss.takes:
        return
    z = rng.normal(size=(2, SIDE, SIDE, classes))
    y = rng.integers(0, max(classes, 2), (2, SIDE, SIDE))
    y = {"mask": y[..., None], "map": y, "one-hot": np.eye(classes)[y % classes]}[kind]
    want = float(loss(y[:, SIDE // 2 :], z[:, SIDE // 2 :]))
    assert float(loss(with_void(y), z)) == pytest.approx(want, rel=1e-5)
    assert in_graph(loss, with_void(y), z) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_several_labels_are_ignored(dtype, rng):
    y, z = rng.integers(0, 2, (2, SIDE, SIDE, 1)).astype(dtype), rng.normal(size=(2, SIDE, SIDE, 1))
    want = float(sl.DiceLoss(from_logits=True)(y[:, 4:], z[:, 4:]))
    y[:, :2], y[:, 2:4] = 255, 254
    loss = sl.DiceLoss(from_logits=True, ignore_class=(254, 255))
    assert float(loss(y, z)) == pytest.approx(want, rel=1e-5)
    assert in_graph(loss, y, z) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize(("dtype", "label"), [("uint8", -7), ("int8", 255), ("bool", 255)])
def test_a_label_that_the_dtype_cannot_hold_ignores_nothing(dtype, label, rng):
    y, z = rng.integers(0, 2, (1, 4, 4, 1)).astype(dtype), rng.normal(size=(1, 4, 4, 1))
    want = float(sl.DiceLoss(from_logits=True)(y, z))
    assert float(sl.DiceLoss(from_logits=True, ignore_class=label)(y, z)) == want


@every_loss
def test_an_image_that_is_void_everywhere_is_worth_nothing(cls, rng):
    y, z = batch_for(cls, rng)
    y = with_void(y)
    y[0] = -1
    loss = around(cls, from_logits=True, reduction=None)
    values = np.asarray(loss(y, z))
    assert values[0] == 0 and np.isfinite(values).all()


# --- Values -------------------------------------------------------------------------------------


LABELS = np.arange(SIDE * SIDE).reshape(1, SIDE, SIDE) % 3
WRONG = {
    "labels from 1": (LABELS + 1, 3, {}, "A class map for 3 classes must hold 0 to 2"),
    "a forgotten 255": (np.where(LABELS == 2, 255, LABELS), 3, {}, "values from 0 to 255"),
    "a label beyond int32": (LABELS + 2**40, 3, {}, "must hold 0 to 2"),
    "0 and 255": ((LABELS > 0)[..., None] * 255, 1, {}, "Divide a mask stored as 0 and 255"),
    "a negative mask": ((LABELS > 0)[..., None] - 2.5, 1, {}, r"must lie in \[0, 1\]"),
    "rows without a class": (np.eye(3)[LABELS] * (LABELS > 0)[..., None], 3, {}, "must sum to 1"),
    "rows of two classes": (np.ones((1, SIDE, SIDE, 3)), 3, {}, "must sum to 1"),
    "no probabilities": ((LABELS > 0)[..., None], 1, {"from_logits": False}, "from_logits=True"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("name", ["DiceLoss", "DiceCrossEntropyLoss", "LovaszSoftmaxLoss"])
def test_what_is_out_of_range_is_refused_and_nan_in_a_graph(case, name, rng):
    y, classes, settings, message = WRONG[case]
    z = 3 * rng.normal(size=(1, SIDE, SIDE, classes))
    loss = ENTRIES[name](**{"from_logits": True, **settings})
    with pytest.raises(ValueError, match=message):
        loss(y, z)
    with pytest.raises(ValueError, match=message):
        loss(tf.constant(y), tf.constant(z))
    assert np.isnan(in_graph(loss, y, z))


@every_mask_loss
def test_labels_out_of_range_look_like_no_loss_in_a_graph(cls, rng):
    y, z = batch_for(cls, rng)
    y = y + 5 if y.dtype.kind == "i" else y * 255
    loss = around(cls, from_logits=True)
    with pytest.raises(ValueError, match="Received: values from"):
        loss(y, z)
    assert np.isnan(in_graph(loss, y, z))


@pytest.mark.parametrize("cls", [sl.ShapeAwareLoss, sl.BlobLoss], ids=lambda c: c.__name__)
@pytest.mark.parametrize(("wrong", "word"), [(2**31, "Received: values from"), (-3, "-3 to")])
def test_numbers_of_objects_out_of_range(cls, wrong, word, rng):
    cells, z = batch_for(cls, rng)
    cells = cells.astype("int64")
    cells[0, 0, 0] = wrong
    loss = around(cls, from_logits=True)
    with pytest.raises(ValueError, match=word):
        loss(cells, z)
    assert np.isnan(in_graph(loss, cells, z))


@every_loss
@pytest.mark.parametrize("graph", [False, True])
def test_nan_in_nan_out(cls, graph, rng):
    """One pixel of the prediction, of the truth or of the weights is enough."""
    y, z = batch_for(cls, rng)
    weight = np.ones(z.shape[:-1], "float32")
    loss = around(cls, from_logits=True)
    call = tf.function(lambda *args: loss(*args)) if graph else loss  # traced once
    assert np.isfinite(call(y, z, weight))
    for array in (z, weight, *([y] if y.dtype.kind == "f" else [])):
        kept = array[1, 3, 3].copy()
        array[1, 3, 3] = np.nan
        assert np.isnan(call(y, z, weight))
        array[1, 3, 3] = kept


@pytest.mark.parametrize("cls", [sl.DiceLoss, sl.BinaryCrossEntropyLoss], ids=lambda c: c.__name__)
@pytest.mark.parametrize("shape", [(2,), (2, SIDE, SIDE), (2, SIDE, SIDE, 1)])
def test_negative_weights_are_refused_and_nan_in_a_graph(cls, shape, rng):
    y, z = batch_for(cls, rng)
    loss, weight = cls(from_logits=True), np.ones(shape, "float32")
    weight.flat[-1] = -1
    with pytest.raises(ValueError, match=r"must not be negative. Received: .* -1"):
        loss(y, z, weight)
    assert np.isnan(in_graph(loss, y, z, weight))


@pytest.mark.parametrize(
    "y",
    [[[1, 0], [1]], lambda: tf.ragged.constant([[1, 0], [1]]), "masks.png", None, [[["a"]]]],
    ids=["ragged list", "ragged tensor", "a name", "nothing", "text"],
)
def test_what_is_no_array_is_refused(y):
    y = y() if callable(y) else y  # a tensor made by the collection would start TensorFlow there
    with pytest.raises(ValueError, match="`y_true` must be an array or a tensor of numbers"):
        sl.DiceLoss()(y, np.zeros((1, 2, 2, 1)))


def test_fractional_class_maps_are_refused(rng):
    z = rng.normal(size=(1, SIDE, SIDE, 3))
    with pytest.raises(ValueError, match="A class map must have an integer dtype"):
        sl.DiceLoss(from_logits=True)(LABELS + 0.5, z)


def test_a_pixel_of_weight_0_may_hold_anything(rng):
    z, weight = rng.normal(size=(1, SIDE, SIDE, 3)), np.ones((1, SIDE, SIDE))
    weight[:, :4] = 0
    y = np.where(weight > 0, LABELS, 99)
    loss = sl.DiceCrossEntropyLoss(from_logits=True)
    want = float(loss(LABELS, z, weight))
    assert float(loss(y, z, weight)) == pytest.approx(want, rel=1e-6)
    assert in_graph(loss, y, z, weight) == pytest.approx(want, rel=1e-6)
    p = np.where(weight[..., None] > 0, keras.ops.softmax(z), 7.0)
    assert float(sl.DiceCrossEntropyLoss()(y, p, weight)) == pytest.approx(want, rel=1e-5)


# --- Nothing in ---------------------------------------------------------------------------------


@every_loss
def test_no_images_are_0_and_no_pixels_are_refused(cls, rng):
    y, z = batch_for(cls, rng)
    loss = around(cls, from_logits=True)
    value = loss(y[:0], z[:0])
    assert value.shape == () and float(value) == 0
    assert around(cls, from_logits=True, reduction=None)(y[:0], z[:0]).shape == (0,)
    with pytest.raises(ValueError, match="Images must have pixels and classes"):
        loss(y[:, :0], z[:, :0])


# --- Axes ---------------------------------------------------------------------------------------


@every_loss
def test_classes_may_stand_first(cls, rng):
    y, z = batch_for(cls, rng)
    weight = rng.random(z.shape[:-1]).astype("float32")
    want = float(around(cls, from_logits=True)(y, z, weight))
    loss = around(cls, from_logits=True, data_format="channels_first")
    y_first = np.moveaxis(y, -1, 1) if y.ndim == z.ndim else y
    for w in (weight, weight[:, None]):
        assert float(loss(y_first, np.moveaxis(z, -1, 1), w)) == pytest.approx(want, rel=1e-6)
    assert loss.get_config().get("data_format", "channels_first") == "channels_first"


def test_the_default_is_that_of_keras(rng):
    y, z = rng.integers(0, 3, (2, 4, 5)), rng.normal(size=(2, 4, 5, 3))
    want = float(sl.DiceLoss(from_logits=True)(y, z))
    keras.config.set_image_data_format("channels_first")
    try:
        assert float(sl.DiceLoss(from_logits=True)(y, np.moveaxis(z, -1, 1))) == pytest.approx(want)
    finally:
        keras.config.set_image_data_format("channels_last")
    with pytest.raises(ValueError, match="Where the classes stand first, say"):
        sl.DiceLoss(from_logits=True)(y, np.moveaxis(z, -1, 1))


# --- Settings -----------------------------------------------------------------------------------


@every_loss
def test_every_setting_is_a_key_of_the_configuration(cls):
    config = cls().get_config()
    assert set(settings_of(cls)) == set(config)


@every_loss
def test_settings_cannot_be_changed_later(cls):
    loss = cls()
    for name in {*settings_of(cls)} - {"name"}:
        with pytest.raises(AttributeError, match=f"`{cls.__name__}.{name}` cannot be changed"):
            setattr(loss, name, None)


def test_names_for_keras():
    assert isinstance(keras.losses.get("DiceLoss"), sl.DiceLoss)
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 1, activation="sigmoid")]
    )
    model.compile("sgd", loss="DiceLoss")
    model.fit(np.zeros((2, 4, 4, 1)), np.zeros((2, 4, 4, 1)), verbose=0)
    config = keras.losses.serialize(sl.TverskyLoss(0.2))
    assert keras.losses.deserialize(config).get_config() == sl.TverskyLoss(0.2).get_config()


def test_repr_is_the_call_without_defaults():
    assert repr(sl.DiceLoss()) == "DiceLoss()"
    assert repr(sl.TverskyLoss(0.2, from_logits=True)) == "TverskyLoss(alpha=0.2, from_logits=True)"
    assert repr(sl.BlobLoss(sl.DiceLoss(2.0))) == "BlobLoss(loss=DiceLoss(smooth=2.0))"


def test_sums(rng):
    y, p = (rng.random((2, 4, 4, 1)) > 0.5), rng.random((2, 4, 4, 1))
    a, b = sl.DiceLoss(), sl.FocalLoss()
    want = float(a(y, p)) + float(b(y, p))
    assert float(sum([a, b])(y, p)) == pytest.approx(want, rel=1e-6)
    assert float(((a + b) / 2)(y, p)) == pytest.approx(want / 2, rel=1e-6)
    for other in (keras.losses.Dice(), 1, None):
        with pytest.raises(TypeError, match="Only losses of this package can be added"):
            a + other
    with pytest.raises(ValueError, match="`weights` must be a finite number and at least 0"):
        a * -1


def test_a_weight_that_is_a_variable_takes_effect_in_a_compiled_model(rng):
    y, x = (rng.random((2, 4, 4, 1)) > 0.5).astype("float32"), rng.random((2, 4, 4, 1))
    weight = keras.Variable(1.0, trainable=False)
    loss = sl.CompoundLoss([sl.DiceLoss(), sl.FocalLoss()], weights=[weight, 0.0])
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Activation("sigmoid")])
    model.compile("sgd", loss)
    first = model.evaluate(x, y, verbose=0)
    weight.assign(3.0)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(3 * first, rel=1e-6)
    assert loss.get_config()["weights"] == [3.0, 0.0]
    with pytest.raises(ValueError, match=r"must hold one number, of shape \(\). Received: shape"):
        sl.CompoundLoss([sl.DiceLoss()], weights=[keras.Variable([1.0, 2.0])])


def test_class_weights_and_background_reach_the_parts(rng):
    y, z = rng.integers(0, 3, (2, 4, 4)), rng.normal(size=(2, 4, 4, 3))
    settings = {"class_weights": (1.0, 2.0, 5.0), "from_logits": True}
    dice = sl.DiceLoss(include_background=False, **settings)
    loss = sl.DiceCrossEntropyLoss(include_background=False, **settings)
    want = float(dice(y, z)) + float(sl.CategoricalCrossEntropyLoss(**settings)(y, z))
    assert float(loss(y, z)) == pytest.approx(want, rel=1e-6)


def test_absent_classes_can_be_left_out(rng):
    y, z = rng.integers(0, 2, (2, 4, 4)), rng.normal(size=(2, 4, 4, 3))  # class 2 is nowhere
    loss = sl.DiceLoss(from_logits=True, classes="present")
    want = float(sl.DiceLoss(from_logits=True, class_weights=(1, 1, 0))(y, z))
    assert float(loss(y, z)) == pytest.approx(want, rel=1e-6)


def test_weights_of_images_then_of_pixels_say_what_to_do(rng):
    x = y = (rng.random((2, 4, 4, 1)) > 0.5).astype("float32")
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd", sl.DiceLoss(from_logits=True))
    model.fit(x, y, sample_weight=np.ones(2), verbose=0)
    with pytest.raises(ValueError, match="weights of pixels need `compile` once more"):
        model.fit(x, y, sample_weight=np.ones((2, 4, 4)), verbose=0)


def test_call_is_what_the_mean_is_made_of(rng):
    """Also for a loss that weighs pixels by itself."""
    cells, z = batch_for(sl.ShapeAwareLoss, rng)
    loss = sl.ShapeAwareLoss(from_logits=True)
    assert float(keras.ops.mean(loss.call(cells, z))) == pytest.approx(float(loss(cells, z)))
