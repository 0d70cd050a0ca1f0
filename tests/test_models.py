"""The U-Net takes images of any size, and those it always took as before."""

import doctest

import keras
import numpy as np
import pytest
from keras import layers, ops

from segloss_ref import models
from segloss_ref.models import (
    BatchNormalization,
    CropLike,
    MirrorToMultiple,
    Standardize,
    standardized,
    standardizing,
    unet,
)

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="compiles with tf.function"
)


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def numpy_of(x):
    return ops.convert_to_numpy(x)


def trained(model, seed=1):
    """Other weights than the first ones, those of the normalisation too."""
    rng = np.random.default_rng(seed)
    model.set_weights(
        [w + 0.1 * rng.normal(size=w.shape).astype(w.dtype) for w in model.get_weights()]
    )
    return model


def plain_unet(channels, classes, width, depth):
    """The same network without the two layers that fit the size."""

    def two_convolutions(x, filters):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        return x

    x = image = keras.Input((None, None, channels))
    skips = []
    for level in range(depth):
        skips.append(two_convolutions(x, width * 2**level))
        x = layers.MaxPooling2D()(skips[-1])
    x = two_convolutions(x, width * 2**depth)
    for level in reversed(range(depth)):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skips[level]])
        x = two_convolutions(x, width * 2**level)
    return keras.Model(image, layers.Conv2D(classes, 1, name="logits")(x))


@pytest.fixture(scope="module")
def pair():
    model = trained(unet(2, 3, width=2, depth=2))
    plain = plain_unet(2, 3, width=2, depth=2)
    plain.set_weights(model.get_weights())
    return model, plain


class TestUNet:
    @pytest.mark.parametrize("shape", [(8, 8), (4, 20)])
    def test_multiples_are_as_before_to_the_last_bit(self, pair, shape):
        x = images(2, *shape, 2)
        np.testing.assert_array_equal(*(numpy_of(model(x)) for model in pair))

    @pytest.mark.parametrize("shape", [(9, 8), (8, 11), (5, 7), (1, 1), (3, 2)])
    def test_other_sizes_are_those_of_the_mirrored_image_cut(self, pair, shape):
        model, plain = pair
        x = images(2, *shape, 2)
        padding = [(0, 0), *((0, -side % 4) for side in shape), (0, 0)]
        want = numpy_of(plain(np.pad(x, padding, mode="symmetric")))
        got = numpy_of(model(x))
        # The last layer is 1 pixel wide, and may sum its channels in another order.
        np.testing.assert_allclose(got, want[:, : shape[0], : shape[1]], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(model.predict(x, verbose=0), got, rtol=1e-4, atol=1e-5)

    def test_sizes_that_are_known_or_not_before_the_call(self):
        model = unet(depth=3)
        assert model.output_shape == (None, None, None, 1)
        assert model(keras.Input((50, 64, 1))).shape == (None, 50, 64, 1)
        assert model.output_names == ["logits"]

    def test_half_precision_ends_in_float32(self):
        with_half = keras.dtype_policies.DTypePolicy("mixed_float16")
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(with_half)
        try:
            logits = unet(depth=1)(images(1, 5, 5, 1))
        finally:
            keras.config.set_dtype_policy(before)
        assert keras.backend.standardize_dtype(logits.dtype) == "float32"

    def test_trains_and_evaluates_on_odd_sizes(self):
        keras.utils.set_random_seed(0)
        model = unet(width=2, depth=2)
        model.compile("adam", "mse")
        x, y = images(4, 13, 10, 1), images(4, 13, 10, 1, seed=1)
        before = model.evaluate(x, y, verbose=0)
        model.fit(x, y, epochs=3, validation_data=(x[:, :9], y[:, :9]), verbose=0)
        assert np.isfinite(before) and np.isfinite(model.evaluate(x, y, verbose=0))

    def test_saved_and_loaded(self, tmp_path):
        model = trained(unet(width=2, depth=2))
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        x = images(2, 9, 7, 1)
        np.testing.assert_array_equal(numpy_of(loaded(x)), numpy_of(model(x)))

    def test_weights_of_the_network_without_these_layers_fit(self, pair, tmp_path):
        plain = pair[1]
        plain.save_weights(tmp_path / "old.weights.h5")
        model = unet(2, 3, width=2, depth=2)
        model.load_weights(tmp_path / "old.weights.h5")
        for new, old in zip(model.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_array_equal(new, old)

    def test_the_layout_is_channels_last_whatever_keras_is_set_to(self, pair):
        x = images(1, 6, 8, 2)
        keras.config.set_image_data_format("channels_first")
        try:
            model = unet(2, 3, width=2, depth=2)
        finally:
            keras.config.set_image_data_format("channels_last")
        model.set_weights(pair[0].get_weights())
        np.testing.assert_array_equal(numpy_of(model(x)), numpy_of(pair[0](x)))

    @on_tensorflow
    @pytest.mark.parametrize("jit", [False, True])
    def test_compiled_for_any_size(self, pair, jit):
        import tensorflow as tf

        model = pair[0]
        signature = [tf.TensorSpec((None, None, None, 2))]
        compiled = tf.function(model, input_signature=signature, jit_compile=jit)
        for shape in ((2, 8, 8, 2), (1, 9, 7, 2), (3, 1, 2, 2)):
            x = images(*shape)
            np.testing.assert_allclose(compiled(x), model(x), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"channels": 0}, "`channels` must be a whole number, at least 1. Received: 0"),
            ({"classes": 0}, "`classes` must be a whole number, at least 1"),
            ({"width": 0.5}, "`width` must be a whole number, at least 1. Received: 0.5"),
            ({"depth": 0}, "`depth` must be a whole number, at least 1. Received: 0"),
            ({"depth": "3"}, "`depth` must be a whole number, at least 1. Received: '3'"),
        ],
    )
    def test_settings_out_of_range_are_refused(self, settings, message):
        with pytest.raises(ValueError, match=message):
            unet(**settings)

    @pytest.mark.parametrize("shape", [(2, 0, 8, 2), (2, 8, 0, 2), (0, 9, 8, 2)])
    def test_no_images_and_images_without_pixels_are_refused(self, pair, shape):
        with pytest.raises(ValueError, match="There must be images, and they must have pixels"):
            pair[0](np.zeros(shape))


class TestLayers:
    @pytest.mark.parametrize("spatial", [(6,), (7, 5), (3, 4, 1)])
    def test_mirrored_as_numpy_does_and_cut_back(self, spatial):
        x = images(2, *spatial, 3)
        padding = [(0, 0), *((0, -side % 4) for side in spatial), (0, 0)]
        layer = MirrorToMultiple(4)
        mirrored = numpy_of(layer(x))
        np.testing.assert_array_equal(mirrored, np.pad(x, padding, mode="symmetric"))
        np.testing.assert_array_equal(numpy_of(CropLike()([mirrored, x])), x)
        assert layer.compute_output_shape(x.shape) == mirrored.shape
        unknown = layer(keras.Input((None,) * len(spatial) + (3,)))
        assert unknown.shape == (None,) * (len(spatial) + 1) + (3,)

    def test_config_round_trip(self):
        for layer in (MirrorToMultiple(8, name="here"), CropLike(dtype="float16")):
            config = keras.saving.serialize_keras_object(layer)
            assert config["registered_name"] == f"segloss_ref>{type(layer).__name__}"
            again = keras.saving.deserialize_keras_object(config)
            assert again.get_config() == layer.get_config()

    def test_a_multiple_that_is_none_is_refused(self):
        with pytest.raises(ValueError, match="`multiple` must be a whole number, at least 1"):
            MirrorToMultiple(0)


def test_examples_in_the_docstrings():
    result = doctest.testmod(models, extraglobs={"np": np})
    assert result.attempted > 0
    assert result.failed == 0


def test_volumes_of_any_size():
    model = unet(1, 2, spatial_dims=3, width=2, depth=2)
    assert tuple(model(images(2, 5, 8, 3, 1)).shape) == (2, 5, 8, 3, 2)
    with pytest.raises(ValueError, match=r"`spatial_dims` must be one of 2, 3\. Received: 4"):
        unet(spatial_dims=4)


class TestBatchNormalization:
    @pytest.mark.parametrize("shape", [(4, 6, 5, 3), (2, 3, 6, 5, 3), (1, 1, 2, 3)])
    def test_the_same_as_that_of_keras(self, shape):
        """Output, statistics, and the gradients of image, scale and offset."""
        ours, theirs = BatchNormalization(momentum=0.7), layers.BatchNormalization(momentum=0.7)
        x, rng = 3 * images(*shape) + 5, np.random.default_rng(1)
        found = []
        for layer in (ours, theirs):
            layer.build(shape)
            values = np.random.default_rng(2).uniform(0.5, 2, (4, shape[-1]))
            layer.set_weights(list(values))
            found.append((numpy_of(layer(x, training=True)), *map(numpy_of, layer.weights)))
            found[-1] += (numpy_of(layer(x, training=False)),)
        for a, b in zip(*found):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        if keras.backend.backend() == "tensorflow":
            weights = rng.normal(size=shape).astype("float32")
            for a, b in zip(*(_gradients(layer, x, weights) for layer in (ours, theirs))):
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)

    @on_tensorflow
    def test_in_a_graph_of_unknown_sizes(self):
        import tensorflow as tf

        layer, x = BatchNormalization(), 2 * images(3, 4, 6, 2) + 1
        layer.build(x.shape)
        run = tf.function(lambda x: layer(x, training=True), reduce_retracing=True)
        run = run.get_concrete_function(tf.TensorSpec((None, None, None, 2)))
        got = run(tf.constant(x))
        want = layers.BatchNormalization()(x, training=True)
        np.testing.assert_allclose(numpy_of(got), numpy_of(want), atol=1e-5)
        assert layer.moving_mean.numpy() == pytest.approx(0.01 * x.mean((0, 1, 2)), rel=1e-4)

    def test_frozen_and_without_training_nothing_moves(self):
        layer, x = BatchNormalization(), images(2, 3, 3, 1) + 4
        layer.build(x.shape)
        layer.trainable = False
        np.testing.assert_allclose(numpy_of(layer(x, training=True)), x, rtol=1e-2)
        assert numpy_of(layer.moving_mean) == 0

    def test_half_precision_is_that_of_keras(self):
        x = images(2, 4, 4, 2)
        pair = [
            kind(dtype="mixed_bfloat16")(x, training=True)
            for kind in (BatchNormalization, layers.BatchNormalization)
        ]
        np.testing.assert_array_equal(*(numpy_of(ops.cast(y, "float32")) for y in pair))


def _gradients(layer, x, weights):
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x, training=True) ** 2 * weights)
    return [g.numpy() for g in tape.gradient(total, [x, layer.gamma, layer.beta])]


class TestStandardize:
    def test_each_image_and_channel_by_itself(self):
        x = np.random.default_rng(0).normal(3, 7, (3, 9, 7, 2)) * [1, 100]
        want = (x - x.mean(axis=(1, 2), keepdims=True)) / x.std(axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(standardized(x), want, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(numpy_of(Standardize()(x)), want, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(standardized(standardized(x)), want, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("value", [0.0, 0.1, 1.0, -255.0, 1e6])
    def test_constant_images_become_nothing(self, value):
        x = np.full((1, 50, 61, 1), value, "float32")
        np.testing.assert_array_equal(standardized(x), 0)
        np.testing.assert_array_equal(numpy_of(Standardize()(x)), 0)

    def test_one_pixel_and_little_contrast(self):
        np.testing.assert_array_equal(standardized(np.ones((1, 1, 1, 1))), 0)
        x = 0.5 + images(1, 40, 40, 1) / 2**12
        assert standardized(x).std() == pytest.approx(1, abs=1e-3)

    def test_it_lets_images_through_in_training(self):
        x = images(2, 5, 4, 1)
        np.testing.assert_array_equal(numpy_of(Standardize()(x, training=True)), x)

    def test_saved_with_a_network(self, tmp_path):
        model = standardizing(trained(unet(width=2, depth=2)), 1)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        x = images(2, 9, 7, 1)
        np.testing.assert_array_equal(numpy_of(loaded(x)), numpy_of(model(x)))
        np.testing.assert_allclose(numpy_of(loaded(5 * x + 2)), numpy_of(model(x)), atol=1e-4)
