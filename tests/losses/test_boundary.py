"""The shape-aware loss: cross-entropy times the U-Net's weight map."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf

import segloss_ref as sl


@pytest.fixture
def cells(rng):
    labels = np.zeros((2, 24, 28), "int32")
    labels[0, 3:10, 2:9], labels[0, 3:10, 12:20], labels[0, 12:20, 5:16] = 1, 2, 7
    labels[1, 5:15, 4:14], labels[1, 5:15, 14:22] = 3, 900000  # they touch
    return labels, rng.normal(size=(2, 24, 28, 1))


def by_formula(labels, z, sample_weight=1.0, **settings):
    separated = sl.separate_touching(labels)
    w = np.stack([sl.unet_weight_map(image, **settings) for image in separated]) * sample_weight
    y, p = separated > 0, oracles.sigmoid(z[..., 0])
    return w, -w * (y * np.log(p) + (1 - y) * np.log(1 - p))


@pytest.mark.parametrize("settings", [{}, sl.UNET_2019, {"class_weights": "balanced"}])
@pytest.mark.parametrize("channel", [False, True])
def test_equals_the_formula_with_the_numpy_map(cells, settings, channel):
    labels, z = cells
    loss = sl.ShapeAwareLoss(from_logits=True, reduction=None, dtype="float64", **settings)
    got = loss(labels[..., None] if channel else labels, z)
    want = by_formula(labels, z, **settings)[1].mean(axis=(1, 2))
    # The map on the device is float32, good to 1e-5 of weights of about 10.
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("shape", [(2,), (2, 24, 28), (2, 24, 28, 1)])
def test_sample_weight_multiplies_the_map(cells, shape, rng):
    labels, z = cells
    weight = rng.random(shape)
    loss = sl.ShapeAwareLoss(from_logits=True, dtype="float64")
    broadcast = weight.reshape(2, *weight.shape[1:3] or (1, 1))
    want = by_formula(labels, z, broadcast)[1].mean()
    assert float(loss(labels, z, weight)) == pytest.approx(want, rel=1e-6)


def test_equal_mean_weight_by_the_reduction_of_keras(cells):
    labels, z = cells
    w, weighted = by_formula(labels, z)
    loss = sl.ShapeAwareLoss(from_logits=True, reduction="mean_with_sample_weight")
    assert float(loss(labels, z)) == pytest.approx(weighted.sum() / w.sum(), rel=1e-6)


def test_without_seams_it_is_cross_entropy(cells):
    labels, z = cells
    labels = sl.separate_touching(labels)
    plain = sl.BinaryCrossEntropyLoss(from_logits=True)
    loss = sl.ShapeAwareLoss(w0=0.0, from_logits=True)
    assert float(loss(labels, z)) == float(plain((labels > 0)[..., None], z))


def test_is_cross_entropy_with_the_map_as_pixel_weight(cells):
    labels, z = cells
    labels = sl.separate_touching(labels)
    plain = sl.BinaryCrossEntropyLoss(from_logits=True)
    want = plain((labels > 0)[..., None], z, sl.unet_weight_map(labels))
    assert float(sl.ShapeAwareLoss(from_logits=True)(labels, z)) == pytest.approx(
        float(want), rel=1e-6
    )


@pytest.mark.parametrize("corner", [(0, 0), (20, 33), (40, 41)])
def test_a_crop_with_its_surround_costs_what_it_costs_in_the_whole_picture(corner, rng):
    labels = _crowd(rng)
    z = rng.normal(size=(1, 32, 24, 1))
    loss = sl.ShapeAwareLoss(
        from_logits=True, reduction=None, dtype="float64", surround=sl.seam_reach(5.0) + 2
    )
    y, x = corner
    margin = loss.surround
    inner = np.s_[y : y + 32, x : x + 24]
    # Beyond the edge of the picture there is nothing, marked -1.
    around = np.pad(labels, margin, constant_values=-1)[
        y : y + 32 + 2 * margin, x : x + 24 + 2 * margin
    ]
    separated = sl.separate_touching(labels)
    w, truth = sl.unet_weight_map(separated)[inner], separated[inner] > 0
    p = oracles.sigmoid(z[0, ..., 0])
    want = -(w * np.where(truth, np.log(p), np.log(1 - p))).mean()
    np.testing.assert_allclose(loss(around[None], z), [want], rtol=1e-6)
    # Without it, cells beyond the edge are missing from the map; that is not the same.
    assert abs(float(loss(labels[None][:, *inner], z)[0]) / want - 1) > 1e-3


def _crowd(rng):
    """Cells of about 9 pixels, most of which touch others."""
    labels = np.zeros((72, 65), "int32")
    rows, columns = np.ogrid[:72, :65]
    for label, (y, x) in enumerate(rng.uniform(0, (72, 65), (60, 2)), start=1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 < 22] = label
    return labels


def test_gradient_is_the_weight_times_prediction_minus_label(cells):
    labels, z = cells
    logits = tf.Variable(z)
    with tf.GradientTape() as tape:
        value = sl.ShapeAwareLoss(from_logits=True, dtype="float64")(labels, logits)
    w, _ = by_formula(labels, z)
    want = w * (oracles.sigmoid(z[..., 0]) - (sl.separate_touching(labels) > 0)) / w.size
    np.testing.assert_allclose(tape.gradient(value, logits)[..., 0], want, rtol=2e-6, atol=1e-12)


@pytest.mark.parametrize("ignore_class", [-1, 255])
def test_pixels_outside_the_picture_count_nowhere(cells, ignore_class):
    labels, z = cells
    wide = np.pad(labels, [(0, 0), (0, 0), (0, 40)], constant_values=ignore_class)
    z_wide = np.pad(z, [(0, 0), (0, 0), (0, 40), (0, 0)], constant_values=np.nan)
    loss = sl.ShapeAwareLoss(from_logits=True, dtype="float64")
    ignoring = sl.ShapeAwareLoss(from_logits=True, dtype="float64", ignore_class=ignore_class)
    assert float(ignoring(wide, z_wide)) == pytest.approx(float(loss(labels, z)), rel=1e-6)


def test_fit_eager_and_xla_agree(cells):
    labels, _ = cells
    x = np.random.default_rng(1).random((2, 24, 28, 1))
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((None, None, 1)), keras.layers.Conv2D(1, 3, padding="same")]
    )
    loss = sl.ShapeAwareLoss(from_logits=True)
    want = float(loss(labels, model(x)))
    for jit in (False, True):
        model.compile(loss=loss, optimizer=keras.optimizers.SGD(0.0), jit_compile=jit)
        got = model.fit(x, labels, batch_size=2, verbose=0).history["loss"][0]
        assert got == pytest.approx(want, rel=1e-5)


def test_save_and_load(cells, tmp_path):
    labels, z = cells
    loss = sl.ShapeAwareLoss(3.0, 4.0, (1.0, 2.0), from_logits=True, reduction="sum")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert float(again(labels, z)) == float(loss(labels, z))


@pytest.mark.parametrize("labels", ["empty", "one cell", "full"])
@pytest.mark.parametrize("logit", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_finite_at_the_extremes(labels, logit, dtype):
    y = np.zeros((1, 6, 6), "int32")
    y[{"empty": np.s_[:0], "one cell": np.s_[0, 2, 2], "full": np.s_[:]}[labels]] = 5
    z = tf.cast(tf.fill((1, 6, 6, 1), logit), dtype)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = sl.ShapeAwareLoss(from_logits=True)(y, z)
    gradient = tf.cast(tape.gradient(value, z), "float32").numpy()
    assert np.isfinite(float(value)) and np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("y", "z", "message"),
    [
        (np.zeros((1, 4, 4), bool), (1, 4, 4, 1), "dtype bool"),
        (np.zeros((1, 4, 4)), (1, 4, 4, 1), "dtype float"),
        (np.zeros((1, 4, 4), int), (1, 4, 4, 2), r"y_pred.shape=\(1, 4, 4, 2\)"),
        (np.zeros((1, 4, 5), int), (1, 4, 4, 1), r"y_true.shape=\(1, 4, 5\)"),
        (np.zeros((1, 4, 4, 4), int), (1, 4, 4, 4, 1), r"y_pred.shape=\(1, 4, 4, 4, 1\)"),
    ],
)
def test_errors_say_what_came(y, z, message):
    with pytest.raises(ValueError, match=message):
        sl.ShapeAwareLoss()(y, np.zeros(z))


def test_a_surround_of_another_width_is_refused():
    allowed = r"\(1, 4, 5\) or \(1, 4, 5, 1\) or \(1, 8, 9\) or \(1, 8, 9, 1\)"
    with pytest.raises(ValueError, match=allowed + r".*y_true.shape=\(1, 6, 7\)"):
        sl.ShapeAwareLoss(surround=2)(np.zeros((1, 6, 7), int), np.zeros((1, 4, 5, 1)))


@pytest.mark.parametrize(
    "settings",
    [{"w0": -1.0}, {"sigma": 0.0}, {"class_weights": (1, 2, 3)}, {"surround": -1}],
)
def test_bad_settings(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
        sl.ShapeAwareLoss(**settings)
