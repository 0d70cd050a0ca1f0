"""Dice and log-cosh Dice: by hand, and what they must do with classes, batches, empty masks."""

import numpy as np
import oracles
import pytest
import tensorflow as tf
from cases_region import dice

import segloss_ref as sl

# Rows of 4 pixels: truth, prediction, s, squared, loss by hand.
BY_HAND = [
    # one of two found: 1 - (2·1 + 1) / (2 + 1 + 1)
    ([1, 1, 0, 0], [1, 0, 0, 0], 1.0, False, 1 / 4),
    # only false positives: 1 - (0 + 1) / (0 + 2 + 1)
    ([0, 0, 0, 0], [1, 1, 0, 0], 1.0, False, 2 / 3),
    # only false negatives: 1 - (0 + 1) / (3 + 0 + 1)
    ([1, 1, 1, 0], [0, 0, 0, 0], 1.0, False, 3 / 4),
    # all right: 1 - (4 + 1) / (2 + 2 + 1)
    ([1, 1, 0, 0], [1, 1, 0, 0], 1.0, False, 0),
    # both empty: 1 - s / s
    ([0, 0, 0, 0], [0, 0, 0, 0], 1e-6, False, 0),
    # halves: 1 - (2·1 + 1) / (2 + 2 + 1); squared 1 - (2·1 + 1) / (2 + 4·1/4 + 1)
    ([1, 1, 0, 0], [0.5] * 4, 1.0, False, 2 / 5),
    ([1, 1, 0, 0], [0.5] * 4, 1.0, True, 1 / 4),
    # soft truth met exactly: plain 1 - (2·4/4 + 1) / (2 + 2 + 1), squared 0
    ([0.5] * 4, [0.5] * 4, 1.0, False, 2 / 5),
    ([0.5] * 4, [0.5] * 4, 1.0, True, 0),
]


@pytest.mark.parametrize(("y", "p", "smooth", "squared", "want"), BY_HAND)
def test_by_hand(y, p, smooth, squared, want):
    y, p = (np.array(a, float).reshape(1, 2, 2, 1) for a in (y, p))
    loss = sl.DiceLoss(smooth, squared, dtype="float64")
    assert float(loss(y, p)) == pytest.approx(want, abs=1e-15)


def test_the_copied_class_is_one_setting(rng):
    """`1 - (2 Σ y p + s) / (Σ p^γ + Σ y^γ + s)` over the whole batch, s = 1e-6, γ = 2."""
    y = (rng.random((3, 8, 8, 1)) > 0.7).astype("float32")
    p = rng.random(y.shape).astype("float32")
    want = 1 - (2 * np.sum(y * p) + 1e-6) / (np.sum(p**2) + np.sum(y**2) + 1e-6)
    got = sl.DiceLoss(smooth=1e-6, squared=True, per="batch")(y, p)
    np.testing.assert_allclose(float(got), want, rtol=1e-6)


def test_image_and_batch_differ_by_the_size_of_objects():
    """A 36-pixel object found, a 4-pixel one missed: 2/41 or 4/77 of the batch, half the images."""
    y = np.zeros((2, 10, 10, 1))
    y[0, 2:8, 2:8], y[1, 2:4, 2:4] = 1, 1
    p = y.copy()
    p[1] = 0
    # batch: 1 - (2·36 + s) / (40 + 36 + s); images: (0 + 1 - s / (4 + s)) / 2, here s -> 0
    assert float(sl.DiceLoss(1e-9, per="batch")(y, p)) == pytest.approx(4 / 76, abs=1e-6)
    assert float(sl.DiceLoss(1e-9)(y, p)) == pytest.approx(1 / 2, abs=1e-6)


def test_false_positives_on_an_empty_mask_have_a_gradient():
    y, z = np.zeros((1, 8, 8, 1)), tf.zeros((1, 8, 8, 1))
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = sl.DiceLoss(from_logits=True)(y, z)
    # 1 - 1 / (64 · 1/2 + 1), and its derivative by one of 64 logits, 1/4 · 1 / 33²
    assert float(value) == pytest.approx(32 / 33)
    np.testing.assert_allclose(tape.gradient(value, z), 0.25 / 33**2, rtol=1e-5)


def test_pixel_weights_act_inside_the_sums(rng):
    """`keras.losses.Dice` multiplies its value by the mean of the map instead."""
    y = np.zeros((1, 2, 2, 1))
    y[0, 0] = 1
    p = np.full(y.shape, 0.5)
    w = np.array([[[3.0, 1], [0, 2]]])
    # 2·(3 + 1)/2 + 1 over (3 + 1) + (3 + 1 + 0 + 2)/2 + 1
    assert float(sl.DiceLoss()(y, p, w)) == pytest.approx(1 - 5 / 8)
    twice = sl.DiceLoss(smooth=2.0)(y, p, 2 * w)
    assert float(twice) == pytest.approx(1 - 5 / 8), "weights twice as large, s too: no change"


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("spatial", [(4, 5), (2, 3, 4)])
@pytest.mark.parametrize(
    ("options", "class_factors"),
    [
        ({}, [1, 1, 1]),
        ({"include_background": False}, [0, 1, 1]),
        ({"class_weights": [1, 2, 5]}, [1, 2, 5]),
        ({"class_weights": [1, 2, 5], "include_background": False}, [0, 2, 5]),
    ],
)
def test_classes(multilabel, spatial, options, class_factors, rng):
    y = np.eye(3)[rng.integers(0, 3, (2, *spatial))]
    z = rng.normal(size=y.shape)
    p = oracles.sigmoid(z) if multilabel else oracles.softmax(z)
    w = rng.random((2, *spatial))
    loss = sl.DiceLoss(
        from_logits=True, multilabel=multilabel, dtype="float64", reduction=None, **options
    )
    want = [
        np.average(
            [dice(y[i, ..., c], p[i, ..., c], w[i]) for c in range(3)],
            weights=class_factors,
        )
        for i in range(2)
    ]
    np.testing.assert_allclose(loss(y, z, w), want, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64"])
def test_class_maps_are_one_hot_truth(dtype, rng):
    labels = rng.integers(0, 3, (2, 5, 6))
    z = rng.normal(size=(2, 5, 6, 3))
    loss = sl.DiceLoss(from_logits=True, dtype="float64")
    want = float(loss(np.eye(3)[labels], z))
    assert float(loss(labels.astype(dtype), z)) == pytest.approx(want, rel=1e-14)
    assert float(loss(labels[..., None].astype(dtype), z)) == pytest.approx(want, rel=1e-14)


def test_an_ignored_class_beyond_the_others(rng):
    labels = rng.integers(0, 3, (2, 4, 6))
    labels[:, :, 3:] = 255
    z = rng.normal(size=(2, 4, 6, 3))
    options = {"from_logits": True, "dtype": "float64"}
    want = float(sl.DiceLoss(**options)(labels[:, :, :3], z[:, :, :3]))
    assert float(sl.DiceLoss(ignore_class=255, **options)(labels, z)) == pytest.approx(want)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (np.zeros((2, 4, 4, 3)), {"ignore_class": 2}, "one label per pixel"),
        (np.zeros((2, 4, 4), "float32"), {}, "integer dtype"),
        (np.zeros((2, 4, 4), int), {"class_weights": [1, 2]}, "2 weights for 3 classes"),
        (np.zeros((2, 4, 4), int), {"class_weights": [1, 0, 0], "include_background": False},
         "No class is left"),
    ],
)  # fmt: skip
def test_class_errors(y, options, message):
    with pytest.raises(ValueError, match=message):
        sl.DiceLoss(**options)(y, np.full((2, 4, 4, 3), 1 / 3))


def test_background_alone_cannot_be_left_out():
    y = np.zeros((1, 2, 2, 1))
    with pytest.raises(ValueError, match="No class is left"):
        sl.DiceLoss(include_background=False)(y, y)


def value_and_slope(loss, y, z):
    z = tf.convert_to_tensor(z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = loss(y, z)
    return float(value), tape.gradient(value, z).numpy()


@pytest.mark.parametrize("squared", [False, True])
def test_log_cosh_dice_has_the_gradient_of_dice_times_tanh(squared, rng):
    y, z = (rng.random((1, 5, 6, 1)) > 0.6).astype(float), rng.normal(size=(1, 5, 6, 1))
    for logits in (z, 3 * np.where(y > 0, 1, -1) + z, 20.0 * np.where(y > 0, 1, -1) + z):
        options = {"smooth": 0.5, "squared": squared, "from_logits": True, "dtype": "float64"}
        d, slope = value_and_slope(sl.DiceLoss(**options), y, logits)
        value, got = value_and_slope(sl.LogCoshDiceLoss(**options), y, logits)
        np.testing.assert_allclose(got, np.tanh(d) * slope, rtol=1e-11)
        assert value == pytest.approx(np.log(np.cosh(d)), abs=1e-15)


def test_log_cosh_dice_by_hand():
    """Dice of [1, 1, 0, 0] and [1, 0, 0, 0] is 1/4, of nothing found 2/3, and log cosh 0 is 0."""
    y = np.array([1.0, 1, 0, 0]).reshape(1, 2, 2, 1)
    loss = sl.LogCoshDiceLoss(dtype="float64")
    for p, dice_loss in (([1, 0, 0, 0], 1 / 4), ([0] * 4, 2 / 3), ([1, 1, 0, 0], 0)):
        p = np.array(p, float).reshape(y.shape)
        want = np.log((np.exp(dice_loss) + np.exp(-dice_loss)) / 2)
        assert float(loss(y, p)) == pytest.approx(want, abs=1e-15)


def test_log_cosh_of_a_small_loss_is_half_its_square():
    """In float32, cosh 1e-4 is 1 and its logarithm 0; the loss is 5e-9."""
    y = np.zeros((1, 1, 1, 1), "float32")
    p = np.full(y.shape, 1e-4, "float32")  # Dice: e / (e + 1)
    value, slope = value_and_slope(sl.LogCoshDiceLoss(), y, p)
    assert value == pytest.approx((1e-4 / 1.0001) ** 2 / 2, rel=1e-5)
    assert slope.item() == pytest.approx(1e-4 / 1.0001**3, rel=1e-5)


def test_log_cosh_is_taken_before_the_mean_over_classes(rng):
    y, p = (rng.random((1, 4, 5, 3)) > 0.5).astype(float), rng.random((1, 4, 5, 3))
    each = [np.log(np.cosh(dice(y[..., c], p[..., c], np.ones((1, 4, 5))))) for c in range(3)]
    got = sl.LogCoshDiceLoss(multilabel=True, dtype="float64")(y, p)
    assert float(got) == pytest.approx(np.mean(each), rel=1e-12)
