"""Tversky, focal Tversky and Jaccard: by hand, what α and β mean, and powers below one."""

from itertools import pairwise

import numpy as np
import oracles
import pytest
import tensorflow as tf
from cases_region import focal_tversky

import segloss_ref as sl

# Rows of 4 pixels: truth, prediction, and by hand with s = 1: Tversky (α = 0.3, β = 0.7), Jaccard.
BY_HAND = [
    # TP 1, FN 1: 0.7 / (1 + 0.7 + 1); 1 - (1 + 1) / (2 + 1)
    ([1, 1, 0, 0], [1, 0, 0, 0], 0.7 / 2.7, 1 / 3),
    # TP 1, FP 1: 0.3 / (1 + 0.3 + 1); 1 - (1 + 1) / (2 + 1)
    ([1, 0, 0, 0], [1, 1, 0, 0], 0.3 / 2.3, 1 / 3),
    # only false positives, 2: 0.6 / (0.6 + 1); 1 - 1 / (2 + 1)
    ([0, 0, 0, 0], [1, 1, 0, 0], 0.6 / 1.6, 2 / 3),
    # only false negatives, 2: 1.4 / (1.4 + 1); 1 - 1 / (2 + 1)
    ([1, 1, 0, 0], [0, 0, 0, 0], 1.4 / 2.4, 2 / 3),
    # all right, both empty, both full
    ([1, 1, 0, 0], [1, 1, 0, 0], 0, 0),
    ([0, 0, 0, 0], [0, 0, 0, 0], 0, 0),
    ([1, 1, 1, 1], [1, 1, 1, 1], 0, 0),
    # halves: TP 1, FP 1, FN 1: 1 / (1 + 1 + 1); 1 - (1 + 1) / (2 + 2 - 1 + 1)
    ([1, 1, 0, 0], [0.5] * 4, 1 / 3, 1 / 2),
]


def square(pixels):
    return np.array(pixels, float).reshape(1, 2, 2, 1)


@pytest.mark.parametrize(("y", "p", "tversky", "jaccard"), BY_HAND)
def test_by_hand(y, p, tversky, jaccard):
    y, p = square(y), square(p)
    assert float(sl.TverskyLoss(dtype="float64")(y, p)) == pytest.approx(tversky, abs=1e-15)
    assert float(sl.JaccardLoss(dtype="float64")(y, p)) == pytest.approx(jaccard, abs=1e-15)
    for gamma in (0.75, 1.0, 2.0):
        focal = sl.FocalTverskyLoss(gamma=gamma, dtype="float64")(y, p)
        assert float(focal) == pytest.approx(tversky**gamma, abs=1e-15)


@pytest.mark.parametrize("loss", [sl.TverskyLoss, sl.FocalTverskyLoss])
def test_alpha_weighs_false_positives_and_beta_false_negatives(loss):
    """Of meaning, not of a number: in Keras up to 3.15.1 they are exchanged."""
    y = square([1, 1, 0, 0])
    too_much, too_little = square([1, 1, 1, 0]), square([1, 0, 0, 0])
    strict = loss(alpha=0.9, beta=0.1)
    assert float(strict(y, too_much)) > 2 * float(strict(y, too_little))
    eager = loss(alpha=0.1, beta=0.9)
    assert float(eager(y, too_little)) > 2 * float(eager(y, too_much))
    assert float(loss(alpha=0.0, beta=1.0)(y, too_much)) == 0
    assert float(loss(alpha=1.0, beta=0.0)(y, too_little)) == 0
    # and the defaults mind a missed pixel more than a false one
    assert float(loss()(y, too_little)) > float(loss()(y, too_much))


def both(rng, classes=1):
    y = (rng.random((3, 5, 6, classes)) > 0.6).astype(float)
    return y, rng.normal(size=y.shape)


OPTIONS = {"from_logits": True, "multilabel": True, "dtype": "float64", "reduction": None}


@pytest.mark.parametrize("smooth", [1e-6, 1.0, 7.0])
def test_identities(smooth, rng):
    """2 TP + FP + FN + s of Dice is twice TP + (FP + FN) / 2 + s / 2."""
    y, z = both(rng, classes=3)
    w = rng.random(y.shape[:-1])
    dice = sl.DiceLoss(smooth=2 * smooth, **OPTIONS)(y, z, w)
    half = sl.TverskyLoss(0.5, 0.5, smooth=smooth, **OPTIONS)(y, z, w)
    np.testing.assert_allclose(half, dice, rtol=1e-13)
    jaccard = sl.JaccardLoss(smooth=smooth, **OPTIONS)(y, z, w)
    ones = sl.TverskyLoss(1.0, 1.0, smooth=smooth, **OPTIONS)(y, z, w)
    np.testing.assert_allclose(jaccard, ones, rtol=1e-13)
    focal = sl.FocalTverskyLoss(0.2, 0.5, gamma=1.0, smooth=smooth, **OPTIONS)(y, z, w)
    plain = sl.TverskyLoss(0.2, 0.5, smooth=smooth, **OPTIONS)(y, z, w)
    np.testing.assert_allclose(focal, plain, rtol=1e-13)


def test_jaccard_is_a_function_of_dice(rng):
    """J = 2 D / (1 + D), of one class; the mean over classes comes after."""
    y, z = both(rng)
    d = sl.DiceLoss(smooth=2.0, **OPTIONS)(y, z).numpy()
    np.testing.assert_allclose(sl.JaccardLoss(**OPTIONS)(y, z), 2 * d / (1 + d), rtol=1e-13)


def test_the_power_is_taken_before_the_mean_over_classes(rng):
    y, z = both(rng, classes=3)
    p = oracles.sigmoid(z)
    w = np.ones(y.shape[1:-1])
    each = [[focal_tversky(y[i, ..., c], p[i, ..., c], w) for c in range(3)] for i in range(3)]
    got = sl.FocalTverskyLoss(class_weights=[1, 2, 5], **OPTIONS)(y, z)
    np.testing.assert_allclose(got, np.average(each, axis=1, weights=[1, 2, 5]), rtol=1e-12)


def slope(loss, y, x):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(y, x)
    return value.numpy(), tape.gradient(value, x).numpy()


@pytest.mark.parametrize("gamma", [0.1, 0.75, 1.0, 3.0])
@pytest.mark.parametrize("pixels", [[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
def test_a_perfect_prediction_has_value_zero_and_a_finite_gradient(gamma, pixels):
    y = square(pixels)
    value, gradient = slope(sl.FocalTverskyLoss(gamma=gamma), y, y)
    assert value == 0
    assert np.isfinite(gradient).all()
    if gamma != 1:
        assert (gradient == 0).all()


@pytest.mark.parametrize("gamma", [0.25, 0.75])
def test_next_to_perfect_the_power_is_what_it_is(gamma):
    """Nothing is clipped: value and slope are right however small the loss is."""
    y = square([1, 1, 0, 0])
    for error in (1e-3, 1e-8, 1e-20):
        p = square([1, 1, error, 0])
        value, gradient = slope(sl.FocalTverskyLoss(gamma=gamma, dtype="float64"), y, p)
        # x = 0.3 e / (3 + 0.3 e), dx/de = 0.9 / (3 + 0.3 e)²
        x = 0.3 * error / (3 + 0.3 * error)
        assert value == pytest.approx(x**gamma, rel=1e-12)
        want = gamma * x ** (gamma - 1) * 0.9 / (3 + 0.3 * error) ** 2
        assert gradient[0, 1, 0, 0] == pytest.approx(want, rel=1e-12)


def test_from_logits_the_gradient_fades_and_is_finite_all_the_way():
    """The slope of the power grows as e^(z/4), the sigmoid's falls as e^-z."""
    y = square([1, 1, 0, 0])
    sides = np.where(y > 0, 1.0, -1.0).astype("float32")
    loss = sl.FocalTverskyLoss(from_logits=True)
    largest = [np.abs(slope(loss, y, z * sides)[1]).max() for z in (5, 10, 20, 40, 80, 100, 1e4)]
    assert np.isfinite(largest).all()
    assert all(b < a or a == b == 0 for a, b in pairwise(largest))


@pytest.mark.parametrize(
    ("loss", "settings", "name"),
    [
        (sl.TverskyLoss, {"alpha": 0, "beta": 0}, "alpha"),
        (sl.TverskyLoss, {"smooth": 0}, "smooth"),
        (sl.TverskyLoss, {"beta": None}, "beta"),
        (sl.FocalTverskyLoss, {"gamma": 0}, "gamma"),
        (sl.FocalTverskyLoss, {"alpha": -0.1}, "alpha"),
        (sl.JaccardLoss, {"smooth": 0.0}, "smooth"),
    ],
)
def test_bad_settings(loss, settings, name):
    with pytest.raises(ValueError, match=f"`{name}`.* must .*Received"):
        loss(**settings)
