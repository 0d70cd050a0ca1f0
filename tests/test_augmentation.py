"""Images and labels are deformed alike, no label is made up, and what is filled in is marked."""

import doctest

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import ndimage

from segloss_ref import (
    AugmentedModel,
    BinaryCrossEntropyLoss,
    CategoricalCrossEntropyLoss,
    DiceLoss,
    RandomDeformation,
    ShapeAwareLoss,
    augmentation,
)

STILL = {"flip": "none", "rotation": 0.0, "scale": (1.0, 1.0), "elastic": 0.0}
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="compiles with tf.function"
)


def pair(shape=(3, 40, 44), cells=9, seed=0):
    """Smooth images, and label maps with numbers that float32 does not hold."""
    rng = np.random.default_rng(seed)
    seeds = rng.integers(0, cells, shape) * (rng.random(shape) < 0.02)
    labels = ndimage.grey_dilation(seeds, (1, 5, 5)).astype("int32")
    labels = np.where(labels > 0, labels + 2**24, 0).astype("int32")
    images = ndimage.gaussian_filter(rng.random((*shape, 2)), (0, 3, 3, 0)).astype("float32")
    return images, labels


def deformed(images, labels, training=True, **kwargs):
    both = RandomDeformation(**{"seed": 3, **kwargs})(images, labels, training=training)
    return tuple(ops.convert_to_numpy(x) for x in both)


def test_nothing_asked_for_changes_nothing():
    images, labels = pair()
    same_images, same_labels = deformed(images, labels, **STILL)
    np.testing.assert_array_equal(same_images, images)
    np.testing.assert_array_equal(same_labels, labels)


def test_without_training_both_come_back_as_they_are():
    images, labels = pair()
    same_images, same_labels = deformed(images, labels, training=False, crop=20, surround=4)
    np.testing.assert_array_equal(same_images, images)
    np.testing.assert_array_equal(same_labels, labels)


@pytest.mark.parametrize("flip", ["horizontal", "vertical", "both"])
def test_flips_are_exact_and_all_occur(flip):
    images, labels = (np.repeat(x[:1], 64, axis=0) for x in pair())
    new_images, new_labels = deformed(images, labels, **{**STILL, "flip": flip})
    steps = {"horizontal": [(1, 1), (1, -1)], "vertical": [(1, 1), (-1, 1)]}
    steps["both"] = [(a, b) for a in (1, -1) for b in (1, -1)]
    counts = []
    for down, right in steps[flip]:
        is_this = [(y == labels[0, ::down, ::right]).all() for y in new_labels]
        counts.append(np.sum(is_this))
        for image in new_images[is_this]:
            np.testing.assert_array_equal(image, images[0, ::down, ::right])
    assert sum(counts) == 64
    assert min(counts) > 64 / len(counts) / 3  # 5 standard deviations off would be 0.4 of the mean


def test_a_quarter_turn_by_hand(monkeypatch):
    # θ = 1/4 turn: the output pixel u shows the picture at R u, R = ((0, -1), (1, 0)), so the pixel
    # above the middle (-1, 0) shows what lies at (0, -1), to the left.
    monkeypatch.setattr(
        RandomDeformation, "_uniform", lambda self, shape, low, high: ops.full(shape, high)
    )
    labels = np.arange(1, 10, dtype="int32").reshape(1, 3, 3)
    images = labels[..., None].astype("float32")
    x, y = deformed(images, labels, **{**STILL, "rotation": 0.25})
    np.testing.assert_array_equal(y[0], np.rot90(labels[0], -1))
    np.testing.assert_allclose(x[0, ..., 0], np.rot90(labels[0], -1), atol=1e-5)


def test_magnification_by_hand():
    labels = np.array([[[1, 2, 3, 4]] * 4], "int32")
    images = labels[..., None].astype("float32")
    # Twice as large: output columns at -1.5, -.5, .5, 1.5 from the middle (1.5) show .75, 1.25, ...
    x, y = deformed(images, labels, **{**STILL, "scale": (2, 2)})
    np.testing.assert_array_equal(y[0, 0], [2, 2, 3, 3])
    np.testing.assert_allclose(x[0, 0, :, 0], [1.75, 2.25, 2.75, 3.25])
    # Half as large: -3, -1, 1, 3 from the middle are columns -1.5, .5, 2.5, 4.5; rows likewise.
    x, y = deformed(images, labels, **{**STILL, "scale": (0.5, 0.5)}, fill_value=7.0)
    np.testing.assert_array_equal(y[0], [[-1] * 4, [-1, 2, 4, -1], [-1, 2, 4, -1], [-1] * 4])
    np.testing.assert_allclose(x[0, 1, :, 0], [7, 1.5, 3.5, 7])
    np.testing.assert_array_equal(x[0, 0, :, 0], [7] * 4)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), elastic=st.sampled_from([0.0, 3.0, 12.0]))
def test_no_label_is_made_and_the_image_moves_with_it(seed, elastic):
    _, labels = pair()
    # A picture of the labels themselves: -1 and the fill value must stand at the same places, and
    # where a pixel and its neighbours have one label, the picture must show that label's value.
    images = (labels % 101).astype("float32")[..., None]
    calm = [ndimage.minimum_filter(z, 3) == ndimage.maximum_filter(z, 3) for z in labels]
    x, y = deformed(images, labels, seed=seed, elastic=elastic, fill_value=-50.0)
    _, calm = deformed(images, np.array(calm), seed=seed, elastic=elastic)
    assert set(np.unique(y)) <= {-1, *np.unique(labels)}
    np.testing.assert_array_equal(y == -1, x[..., 0] == -50)
    np.testing.assert_allclose(x[calm == 1, 0], y[calm == 1] % 101, atol=1e-3)
    assert (calm == 1).mean() > 0.1


def test_numbers_are_those_of_the_formula():
    """The same map of coordinates, resampled by SciPy."""
    images, labels = pair()
    layer = RandomDeformation(seed=5, crop=(24, 30), surround=3, fill_value=0.5)
    state = (
        layer.seed_generator.state.numpy()
        if hasattr(layer.seed_generator.state, "numpy")
        else np.array(layer.seed_generator.state)
    )
    x, y = (ops.convert_to_numpy(a) for a in layer(images, labels, training=True))
    layer.seed_generator.state.assign(state)
    places = ops.convert_to_numpy(layer._places(images.shape))
    assert x.shape == (3, 24, 30, 2) and y.shape == (3, 30, 36)
    for i in range(3):
        at = np.moveaxis(places[i], -1, 0)
        nearest = ndimage.map_coordinates(
            labels[i], at, order=0, mode="grid-constant", cval=-1, prefilter=False
        )
        # Half-way places may be rounded either way.
        np.testing.assert_array_equal(nearest != y[i], False)
        linear = ndimage.map_coordinates(images[i, ..., 0], at, order=1, mode="nearest")
        want = np.where(y[i] == -1, 0.5, linear)[3:-3, 3:-3]
        np.testing.assert_allclose(x[i, ..., 0], want, atol=1e-5)


def test_an_upright_crop_lies_in_the_picture_and_every_place_occurs():
    labels = np.repeat(np.arange(1, 21, dtype="int32").reshape(1, 4, 5), 400, axis=0)
    x, y = deformed(labels[..., None] * 1.0, labels, **STILL, crop=(2, 3))
    corners, counts = np.unique(y[:, 0, 0], return_counts=True)
    np.testing.assert_array_equal(corners, [1, 2, 3, 6, 7, 8, 11, 12, 13])  # 3 rows, 3 columns
    assert counts.min() > 20  # of 44 expected, ± 6
    np.testing.assert_array_equal(y, x[..., 0])
    np.testing.assert_array_equal(y[:, 1, 2], y[:, 0, 0] + 7)


def test_the_surround_is_what_lies_around_the_crop():
    images, labels = pair()
    settings = {**STILL, "crop": 20, "seed": 8}
    x, plain = deformed(images, labels, **settings)
    same, wide = deformed(images, labels, **settings, surround=30)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(wide[:, 30:-30, 30:-30], plain)
    for whole, around in zip(labels, wide):
        # All of the picture is in there once, and -1 around it.
        rows, columns = (np.flatnonzero((around != -1).any(axis=a)) for a in (1, 0))
        np.testing.assert_array_equal(around[np.ix_(rows, columns)], whole)


def test_displacements_are_as_large_as_asked_for():
    layer = RandomDeformation(**{**STILL, "elastic": 6.0}, grid=3, seed=0)
    places = ops.convert_to_numpy(layer._places((500, 31, 31, 1)))
    still = ops.convert_to_numpy(RandomDeformation(**STILL)._places((500, 31, 31, 1)))
    moved = places - still
    # At a control point the interpolation is the point itself: in the corners and in the middle.
    # 500 draws estimate a deviation to 3 %.
    for y, x in np.ndindex(3, 3):
        np.testing.assert_allclose(moved[:, 15 * y, 15 * x].std(axis=0), 6, rtol=0.15)
    # Down and right are drawn apart, as are the images of a batch.
    at_middle = moved[:, 15, 15]
    assert abs(np.corrcoef(at_middle.T)[0, 1]) < 0.15
    assert abs(np.corrcoef(at_middle[:-1, 0], at_middle[1:, 0])[0, 1]) < 0.15


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (np.ones((1, 8, 8), "uint8"), "int32"),
        (np.ones((1, 8, 8), bool), "int32"),
        (np.ones((1, 8, 8, 1), "int64"), "int32"),
        (np.ones((1, 8, 8, 3), "float32"), "float32"),
    ],
)
def test_labels_of_every_kind_can_be_filled_with_minus_one(labels, dtype):
    _, y = deformed(np.ones((1, 8, 8, 1)), labels, **{**STILL, "scale": (0.5, 0.5)})
    assert y.dtype == dtype and y.shape == labels.shape
    assert y.min() == -1 and y.max() == 1


def test_half_precision_is_for_images_only():
    images, labels = pair()
    layer = RandomDeformation(dtype="mixed_float16", seed=0)
    x, y = layer(images, labels, training=True)
    assert keras.backend.standardize_dtype(x.dtype) == "float16"
    assert set(np.unique(ops.convert_to_numpy(y))) <= {-1, *np.unique(labels)}


def test_a_seed_gives_the_same_again_and_each_call_something_new():
    images, labels = pair()
    first, second = RandomDeformation(seed=1), RandomDeformation(seed=1)
    a, b = (
        ops.convert_to_numpy(layer(images, labels, training=True)[1]) for layer in (first, second)
    )
    np.testing.assert_array_equal(a, b)
    again = ops.convert_to_numpy(first(images, labels, training=True)[1])
    assert (again != a).any()


def test_config_round_trip():
    layer = RandomDeformation("none", 0.1, (1, 2), 3, 4, 16, 5, 0.5, seed=7, dtype="float32")
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()
    assert again.crop == (16, 16) and again.scale == (1.0, 2.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flip": "up"}, "`flip` must be one of"),
        ({"rotation": 0.6}, "`rotation` must be.*at most 0.5"),
        ({"rotation": "0.1"}, "`rotation` must be a finite number.*Received: '0.1'"),
        ({"scale": (2, 1)}, r"`scale\[1\]` must be a finite number and at least 2.0. Received: 1"),
        ({"scale": (0, 1)}, r"`scale\[0\]` must be a finite number and greater than 0"),
        ({"scale": (1, np.inf)}, r"`scale\[1\]` must be a finite number"),
        ({"scale": 1.0}, r"`scale` must be a pair \(least, largest\).*Received: 1.0"),
        ({"fill_value": np.nan}, "`fill_value` must be a finite number"),
        ({"seed": -1}, "`seed` must be a whole number, at least 0, at most 4294967295"),
        ({"seed": 1.5}, "`seed` must be a whole number"),
        (
            {"data_format": "first"},
            "`data_format` must be one of 'channels_last', 'channels_first'",
        ),
        ({"elastic": -1}, "`elastic` must be"),
        ({"grid": 1}, "`grid` must be a whole number, at least 2"),
        ({"crop": 0}, "`crop` must be a whole number, at least 1"),
        ({"crop": (1, 2, 3)}, "`crop` must be a side or a pair"),
        ({"surround": 1.5}, "`surround` must be a whole number"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RandomDeformation(**settings)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            (2, 8, 8),
            (2, 8, 8),
            r"`images` must be of shape \(batch, height, width, ch.*\(2, 8, 8\)",
        ),
        ((2, 8, 8, 1), (2, 8), r"`labels` must be of shape.*labels.shape=\(2, 8\)"),
        ((2, 8, 8, 1), (2, 8, 9), r"must have the same size.*a shape of \(2, 8, 9\)"),
        ((2, 8, 8, 1), (1, 8, 8), "must have the same size"),
        ((2, 4, 8, 1), (2, 4, 8), r"`crop` must fit into the images. Received: crop=\(6, 6\)"),
        ((2, 0, 8, 1), (2, 0, 8), "must have pixels.* 2 images of 0 x 8 pixels"),
        ((2, 3, 8, 8), (2, 3, 8), "axes of the images seem to stand otherwise.*'channels_last'"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(images, labels, message):
    layer = RandomDeformation(crop=6)
    with pytest.raises(ValueError, match=message):
        layer(np.zeros(images), np.zeros(labels, int), training=True)


@pytest.mark.parametrize(
    "images", [{"image": np.zeros((2, 8, 8, 1))}, [np.zeros((2, 8, 8, 1))] * 2]
)
def test_several_sets_of_images_are_refused(images):
    with pytest.raises(ValueError, match=r"`images` must be one array or tensor.*a (dict|list)"):
        RandomDeformation()(images, np.zeros((2, 8, 8), int), training=True)


@pytest.mark.parametrize("crop", [None, 6])
def test_no_images_give_none(crop):
    shapes = [(0, 8, 7, 2), (0, 8, 7), (0, 8, 7, 1), (0,)]
    images, *labels, weights = (np.zeros(shape, "float32") for shape in shapes)
    x, y, w = RandomDeformation(crop=crop)(images, labels, weights, training=True)
    sides = (8, 7) if crop is None else (6, 6)
    assert [tuple(a.shape) for a in (x, *y, w)] == [
        (0, *sides, 2),
        (0, *sides),
        (0, *sides, 1),
        (0,),
    ]


SEVERAL = {"crop": (20, 24), "surround": 2, "scale": (0.5, 0.8)}


class TestSeveral:
    """Label sets of several outputs, and weights, go where the first label map goes."""

    def test_all_label_sets_are_deformed_alike(self):
        images, labels = pair()
        x, y = deformed(images, labels, **SEVERAL)
        given = {"a": labels, "b": (np.stack([labels > 0] * 3, -1), None, labels * 1.0)}
        layer = RandomDeformation(seed=3, **SEVERAL)
        again, both = layer(images, given, training=True)
        np.testing.assert_array_equal(ops.convert_to_numpy(again), x)
        np.testing.assert_array_equal(ops.convert_to_numpy(both["a"]), y)
        hot, nothing, floats = both["b"]
        assert nothing is None
        want = np.where(y == -1, -1, y > 0)
        assert set(np.unique(want)) == {-1, 0, 1}
        np.testing.assert_array_equal(ops.convert_to_numpy(hot), np.stack([want] * 3, -1))
        np.testing.assert_array_equal(ops.convert_to_numpy(floats), y * 1.0)

    @pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
    def test_a_map_of_weights_is_too_and_weighs_0_where_there_is_no_picture(self, dtype):
        images, labels = pair()
        weights = ((labels % 7 + 1) * (1 if dtype == "uint8" else 0.5)).astype(dtype)
        _, y = deformed(images, weights.astype("float32"), **SEVERAL)
        assert (y == -1).any()
        want = np.where(y == -1, 0, y)[:, 2:-2, 2:-2].astype(dtype)  # as large as the image
        per_image = np.arange(3.0)
        layer = RandomDeformation(seed=3, **SEVERAL)
        given = {"a": weights, "b": weights[..., None], "c": per_image, "d": None}
        _, _, got = layer(images, labels, given, training=True)
        np.testing.assert_array_equal(ops.convert_to_numpy(got["a"]), want)
        np.testing.assert_array_equal(ops.convert_to_numpy(got["b"]), want[..., None])
        np.testing.assert_array_equal(ops.convert_to_numpy(got["c"]), per_image)
        assert got["d"] is None

    def test_without_training_they_come_back_as_they_are(self):
        images, labels = pair()
        layer = RandomDeformation(seed=3, **SEVERAL)
        _, y, w = layer(images, {"a": labels}, {"a": labels * 1.0})
        np.testing.assert_array_equal(ops.convert_to_numpy(y["a"]), labels)
        np.testing.assert_array_equal(ops.convert_to_numpy(w["a"]), labels * 1.0)

    @pytest.mark.parametrize(
        ("labels", "weights", "message"),
        [
            (
                (2, 8, 8),
                (2, 8, 9),
                r"labels and weights must have the same.*a shape of \(2, 8, 9\)",
            ),
            ((2, 8, 8), (3,), r"labels and weights must have the same.*a shape of \(3,\)"),
            (
                (2, 8, 8),
                (2, 1),
                r"`weights` must be of shape \(batch,\) or.*weights.shape=\(2, 1\)",
            ),
            (
                (2, 9, 8),
                (2, 8, 8),
                r"labels and weights must have the same.*a shape of \(2, 9, 8\)",
            ),
        ],
    )
    def test_what_does_not_fit_is_refused(self, labels, weights, message):
        given = {"a": np.zeros((2, 8, 8)), "b": np.zeros(labels)}
        with pytest.raises(ValueError, match=message):
            RandomDeformation()(np.zeros((2, 8, 8, 1)), given, np.zeros(weights), training=True)


class TestLayout:
    def test_channels_stand_where_it_is_said(self):
        images, labels = pair()
        hot = np.stack([labels == 0, labels > 0], -1)
        last = RandomDeformation(seed=3, crop=(20, 24), scale=(0.5, 0.8))
        first = RandomDeformation.from_config(
            {**last.get_config(), "data_format": "channels_first"}
        )
        x, (y, h), w = last(images, (labels, hot), labels[..., None] * 1.0, training=True)
        given = (np.moveaxis(a, -1, 1) for a in (images, hot, labels[..., None] * 1.0))
        images, hot, weights = given
        got_x, (got_y, got_h), got_w = first(images, (labels, hot), weights, training=True)
        np.testing.assert_array_equal(ops.convert_to_numpy(got_y), ops.convert_to_numpy(y))
        for got, want in ((got_x, x), (got_h, h), (got_w, w)):
            want = np.moveaxis(ops.convert_to_numpy(want), -1, 1)
            np.testing.assert_array_equal(ops.convert_to_numpy(got), want)

    def test_it_is_that_of_keras_unless_said(self):
        keras.config.set_image_data_format("channels_first")
        try:
            layer = RandomDeformation()
        finally:
            keras.config.set_image_data_format("channels_last")
        assert layer.data_format == "channels_first"
        assert RandomDeformation().data_format == "channels_last"

    @pytest.mark.parametrize(
        ("images", "labels", "message"),
        [
            (
                (2, 8, 8, 3),
                (2, 8, 8),
                "axes of the images seem to stand otherwise.*'channels_first'",
            ),
            (
                (2, 3, 8, 9),
                (2, 9, 8),
                r"same size.*with the channels last.*\(2, 8, 9, 3\).*\(2, 9, 8\)",
            ),
            ((2, 3, 8, 9), (2, 8, 9, 1), "must have the same size"),
            ((2, 3, 8), (2, 8, 8), r"`images` must be of shape \(batch, channels, height, width\)"),
        ],
    )
    def test_axes_that_stand_elsewhere_are_refused(self, images, labels, message):
        layer = RandomDeformation(data_format="channels_first")
        with pytest.raises(ValueError, match=message):
            layer(np.zeros(images), np.zeros(labels, int), training=True)


@pytest.mark.parametrize("value", [2**31, 2**32 + 5, -(2**31) - 1])
def test_labels_beyond_32_bits_are_refused(value):
    labels = np.zeros((1, 8, 8), "int64")
    labels[0, 0, 0] = value
    with pytest.raises(ValueError, match=f"`labels` must lie in -2147483648 to.*{value}"):
        RandomDeformation()(np.zeros((1, 8, 8, 1)), {"a": labels}, training=True)


@on_tensorflow
@pytest.mark.parametrize("dtype", ["int64", "uint32", "uint64"])
def test_in_a_graph_they_become_what_no_loss_takes(dtype):
    import tensorflow as tf

    labels = np.array([[[0, 1, 2**31 - 1, 2**31 + 5]]], dtype)
    layer = RandomDeformation(**STILL)
    _, y = tf.function(layer)(np.zeros((1, 1, 4, 1), "float32"), tf.constant(labels), training=True)
    np.testing.assert_array_equal(y, [[[0, 1, 2**31 - 1, -2]]])


def network(channels=2):
    hidden = keras.layers.Conv2D(4, 3, padding="same", activation="relu")
    return keras.Sequential(
        [keras.Input((None, None, channels)), hidden, keras.layers.Conv2D(1, 1)]
    )


class TestAugmentedModel:
    @pytest.mark.parametrize("loss", [ShapeAwareLoss, DiceLoss])
    def test_fit_trains_on_the_deformed_pairs(self, loss):
        """One step is the step that the deformed batch gives by hand."""
        images, labels = pair()
        truth = labels if loss is ShapeAwareLoss else (labels > 0).astype("int32")[..., None]
        keras.utils.set_random_seed(0)
        model = AugmentedModel(network(), RandomDeformation(seed=2, crop=(16, 24)))
        by_hand = keras.models.clone_model(model.model)
        by_hand.set_weights(model.model.get_weights())
        for m in (model, by_hand):
            m.compile(keras.optimizers.SGD(0.5), loss(from_logits=True))
        model.fit(images, truth, batch_size=3, shuffle=False, verbose=0)
        x, y = deformed(images, truth, seed=2, crop=(16, 24))
        by_hand.train_on_batch(x, y)
        for got, want in zip(model.model.get_weights(), by_hand.get_weights()):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)

    def test_each_step_draws_anew(self):
        images, labels = pair()
        model = AugmentedModel(network(), RandomDeformation(seed=2))
        model.compile(keras.optimizers.SGD(0.0), ShapeAwareLoss(from_logits=True))
        losses = model.fit(images, labels, epochs=3, shuffle=False, verbose=0).history["loss"]
        assert len(set(losses)) == 3

    def test_evaluation_and_prediction_see_the_images_as_they_are(self):
        images, labels = pair()
        model = AugmentedModel(network(), RandomDeformation(crop=16, surround=28))
        model.compile("sgd", ShapeAwareLoss(from_logits=True, surround=28))
        predicted = model.predict(images, verbose=0)
        plain = ops.convert_to_numpy(model.model(images))
        np.testing.assert_allclose(predicted, plain, rtol=1e-5, atol=1e-6)
        want = float(ShapeAwareLoss(from_logits=True)(labels, plain))
        assert model.evaluate(images, labels, verbose=0) == pytest.approx(want, rel=1e-4)
        model.fit(images, labels, validation_data=(images, labels), verbose=0)

    def test_two_outputs_and_weights_of_both_kinds(self):
        """One step on dicts is the step that the deformed dicts give by hand."""
        images, labels = pair()
        truth = {"a": (labels > 0).astype("uint8")[..., None], "b": labels}
        weights = {"a": (labels % 3 + 1.0), "b": np.array([0.0, 1, 2])}
        image = keras.Input((None, None, 2))
        heads = {name: keras.layers.Conv2D(1, 1, name=name)(image) for name in truth}
        keras.utils.set_random_seed(0)
        model = AugmentedModel(keras.Model(image, heads), RandomDeformation(seed=2, crop=16))
        by_hand = keras.models.clone_model(model.model)
        by_hand.set_weights(model.model.get_weights())
        losses = {"a": DiceLoss(from_logits=True), "b": ShapeAwareLoss(from_logits=True)}
        for m in (model, by_hand):
            m.compile(keras.optimizers.SGD(0.5), losses)
        model.fit(images, truth, sample_weight=weights, batch_size=3, shuffle=False, verbose=0)
        layer = RandomDeformation(seed=2, crop=16)
        x, y, w = layer(images, truth, weights, training=True)
        x, y, w = keras.tree.map_structure(ops.convert_to_numpy, (x, y, w))
        by_hand.train_on_batch(x, y, sample_weight=w)
        for got, want in zip(model.model.get_weights(), by_hand.get_weights()):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
        valued = model.fit(images, truth, validation_data=(images, truth), verbose=0).history
        assert np.isfinite(valued["val_loss"]).all()

    def test_one_weight_per_image(self):
        images, labels = pair()
        model = AugmentedModel(network(), RandomDeformation(seed=0))
        model.compile("sgd", ShapeAwareLoss(from_logits=True))
        losses = model.fit(images, labels, sample_weight=np.zeros(3), verbose=0).history["loss"]
        assert losses == [0]

    def test_a_layer_of_ones_own_gets_no_weights_of_images(self):
        class Same(keras.layers.Layer):
            def call(self, images, labels, training=False):
                return images, labels

        images, labels = pair()
        model = AugmentedModel(network(), Same())
        model.compile("sgd", ShapeAwareLoss(from_logits=True))
        model.fit(images, labels, sample_weight=np.ones(3), verbose=0)

    def test_saved_and_loaded(self, tmp_path):
        images, labels = pair()
        model = AugmentedModel(network(), RandomDeformation(seed=0, crop=16))
        model.compile("adam", BinaryCrossEntropyLoss(from_logits=True))
        masks = (labels > 0).astype("int32")[..., None]
        model.fit(images, masks, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        expected = model.predict(images, verbose=0)
        np.testing.assert_allclose(loaded.predict(images, verbose=0), expected, rtol=1e-6)
        loaded.fit(images, masks, verbose=0)

    @on_tensorflow
    def test_on_two_replicas(self):
        import tensorflow as tf

        images, labels = pair((4, 40, 44))
        reduce = tf.distribute.ReductionToOneDevice()
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduce)
        with strategy.scope():
            model = AugmentedModel(network(), RandomDeformation(seed=0))
            model.compile("sgd", ShapeAwareLoss(from_logits=True), jit_compile=False)
        assert strategy.num_replicas_in_sync == 2
        history = model.fit(images, labels, batch_size=4, verbose=0).history
        assert np.isfinite(history["loss"]).all()


CLASSES = np.random.default_rng(4).integers(0, 3, (2, 4, 6))
CELLS = np.array([[[1, 1, 0, 2, 2, 0]] * 4, [[0, 3, 3, 0, 0, 4]] * 4], "int32")
SOFT = np.random.default_rng(5).dirichlet(np.ones(3), (2, 4, 6)).astype("float32")
BINARY = (CLASSES > 0).astype("uint8")[..., None]
WITH_VOID = np.where(CLASSES == 2, 255, CLASSES).astype("uint8")


@pytest.mark.parametrize(
    ("loss", "truth", "settings", "eager"),
    [
        (DiceLoss, BINARY, {}, False),
        (DiceLoss, BINARY, {}, True),
        (DiceLoss, BINARY > 0, {}, False),
        (DiceLoss, SOFT[..., :1], {}, False),
        (DiceLoss, np.eye(3, dtype="float32")[CLASSES], {}, False),
        (DiceLoss, WITH_VOID[..., None], {"ignore_class": 255}, False),
        (BinaryCrossEntropyLoss, BINARY, {}, False),
        (BinaryCrossEntropyLoss, SOFT[..., :1], {}, False),
        (CategoricalCrossEntropyLoss, CLASSES, {}, False),
        (CategoricalCrossEntropyLoss, CLASSES[..., None].astype("uint8"), {}, False),
        (CategoricalCrossEntropyLoss, SOFT, {}, False),
        (CategoricalCrossEntropyLoss, WITH_VOID, {"ignore_class": (255, 7)}, False),
        (CategoricalCrossEntropyLoss, WITH_VOID, {"ignore_class": 255}, True),
        (ShapeAwareLoss, CELLS, {}, False),
    ],
)
def test_what_is_filled_in_counts_in_no_loss(loss, truth, settings, eager):
    """Each pixel made 2 x 2 large, then all half as large: the picture, and nothing around it."""
    images = np.random.default_rng(6).normal(size=(2, 4, 6, 2)).astype("float32")
    doubled, labels = (a.repeat(2, axis=1).repeat(2, axis=2) for a in (images, truth))
    layer = RandomDeformation(**{**STILL, "scale": (0.5, 0.5)})
    x, y = (ops.convert_to_numpy(a) for a in layer(doubled, labels, training=True))
    np.testing.assert_allclose(x[:, 2:6, 3:9], images, rtol=1e-6)
    assert (y.reshape(2, 8, 12, -1)[:, :2] == -1).all()

    classes = 3 if loss is CategoricalCrossEntropyLoss or truth.shape[-1] == 3 else 1
    network = keras.Sequential([keras.Input((None, None, 2)), keras.layers.Conv2D(classes, 1)])
    model, loss = AugmentedModel(network, layer), loss(from_logits=True, **settings)
    model.compile(keras.optimizers.SGD(0.0), loss, run_eagerly=eager)
    want = float(ops.convert_to_numpy(loss(truth, network(images))))
    history = model.fit(doubled, labels, validation_data=(images, truth), verbose=0).history
    assert history["loss"] == pytest.approx([want], rel=1e-5)
    assert history["val_loss"] == pytest.approx([want], rel=1e-5)


@on_tensorflow
@pytest.mark.parametrize("jit", [False, True])
def test_compiled_it_is_the_same_for_any_batch_size(jit, monkeypatch):
    import tensorflow as tf

    # XLA draws other numbers from the same seed.
    def drawn(shape, low=-1.0, high=1.0):
        numbers = ops.sin(7.3 * ops.arange(np.prod(shape[1:], dtype=int), dtype="float32"))
        row = ops.reshape((low + high + (high - low) * numbers) / 2, (1, *shape[1:]))
        return ops.broadcast_to(row, shape)

    for draw in ("_uniform", "_normal"):
        monkeypatch.setattr(RandomDeformation, draw, lambda self, *args: drawn(*args))
    images, labels = pair()
    eager, compiled = (RandomDeformation(seed=9, crop=(20, 28), surround=2) for _ in range(2))
    signature = [
        tf.TensorSpec((None, 40, 44, 2), tf.float32),
        tf.TensorSpec((None, 40, 44), tf.int32),
    ]

    @tf.function(input_signature=signature, jit_compile=jit)
    def step(images, labels):
        return compiled(images, labels, training=True)

    for size in (3, 1):
        want = eager(images[:size], labels[:size], training=True)
        x, y = step(images[:size], labels[:size])
        np.testing.assert_allclose(x, want[0], atol=1e-4)
        # A place half-way between two pixels may fall to either of them.
        assert (y.numpy() != want[1].numpy()).mean() < 1e-3


@on_tensorflow
def test_crops_of_images_of_unknown_size():
    images, labels = pair()
    image, label = keras.Input((None, None, 2)), keras.Input((None, None), dtype="int32")
    layer = RandomDeformation(crop=16, surround=2, seed=0)
    model = keras.Model([image, label], layer(image, label, training=True))
    x, y = model([images, labels], training=True)
    assert x.shape == (3, 16, 16, 2) and y.shape == (3, 20, 20)
    with pytest.raises(ValueError, match="size of the images must be known, or `crop` be given"):
        RandomDeformation()(image, label, training=True)


def test_examples_in_the_docstrings():
    names = {"np": np, "ops": ops, "keras": keras, "ShapeAwareLoss": ShapeAwareLoss}
    result = doctest.testmod(augmentation, extraglobs=names)
    assert result.attempted > 0
    assert result.failed == 0
