"""Losses that count the background too: Matthews, and sensitivity with specificity."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import pearsonr

import segloss_ref as sl


def square(pixels):
    return np.array(pixels, float).reshape(1, 2, 2, 1)


# Rows of 4 pixels: truth, prediction, and by hand: Matthews with s = 1, sensitivity-specificity
# with r = 0.05.
BY_HAND = [
    # TP 1 + 1, TN 2 + 1, FN 1: 1 - 6 / √(2 · 3 · 3 · 4); 0.05 · 1/2
    ([1, 1, 0, 0], [1, 0, 0, 0], 1 - 1 / np.sqrt(2), 0.025),
    # TP 1 + 1, TN 2 + 1, FP 1: 1 - 6 / √(3 · 2 · 4 · 3); 0.95 · 1/3
    ([1, 0, 0, 0], [1, 1, 0, 0], 1 - 1 / np.sqrt(2), 0.95 / 3),
    # only false positives: TP s = 1, TN 2 + 1, FP 2: 1 - 3 / √(3 · 1 · 5 · 3); 0.95 · 2/4
    ([0, 0, 0, 0], [1, 1, 0, 0], 1 - 1 / np.sqrt(5), 0.475),
    # only false negatives: TP 1, TN 2 + 1, FN 2: the same; 0.05 · 2/2
    ([1, 1, 0, 0], [0, 0, 0, 0], 1 - 1 / np.sqrt(5), 0.05),
    # both empty, both full, both right
    ([0, 0, 0, 0], [0, 0, 0, 0], 0, 0),
    ([1, 1, 1, 1], [1, 1, 1, 1], 0, 0),
    ([1, 1, 0, 0], [1, 1, 0, 0], 0, 0),
    # all wrong: TP 1, TN 1, FP 2, FN 2: 1 - (1 - 4) / 3²; 1
    ([1, 1, 0, 0], [0, 0, 1, 1], 4 / 3, 1),
    # halves tell nothing: TP 1 + 1, TN 1 + 1, FP 1, FN 1: 1 - (4 - 1) / 3²; 1/4
    ([1, 1, 0, 0], [0.5] * 4, 2 / 3, 1 / 4),
]


@pytest.mark.parametrize(("y", "p", "matthews", "sensitivity"), BY_HAND)
def test_by_hand(y, p, matthews, sensitivity):
    y, p = square(y), square(p)
    assert float(sl.MatthewsLoss(dtype="float64")(y, p)) == pytest.approx(matthews, abs=1e-15)
    loss = sl.SensitivitySpecificityLoss(dtype="float64")
    assert float(loss(y, p)) == pytest.approx(sensitivity, abs=1e-15)


def test_matthews_of_hard_masks_is_one_minus_their_correlation(rng):
    y = (rng.random((1, 20, 20, 1)) > 0.7).astype(float)
    p = np.where(rng.random(y.shape) > 0.8, 1 - y, y)
    value = sl.MatthewsLoss(1e-9, dtype="float64")(y, p)
    assert float(value) == pytest.approx(1 - pearsonr(y.ravel(), p.ravel())[0], abs=1e-9)


def test_object_and_background_may_be_exchanged(rng):
    """Which Dice minds: it does not count the background."""
    y, p = rng.random((2, 5, 6, 1)), rng.random((2, 5, 6, 1))
    options = {"reduction": None, "dtype": "float64"}
    loss = sl.MatthewsLoss(**options)
    np.testing.assert_allclose(loss(1 - y, 1 - p), loss(y, p), rtol=1e-13)
    one, other = (sl.SensitivitySpecificityLoss(r, **options) for r in (0.3, 0.7))
    np.testing.assert_allclose(one(1 - y, 1 - p), other(y, p), rtol=1e-13)
    assert np.abs(sl.DiceLoss(**options)(1 - y, 1 - p) - sl.DiceLoss(**options)(y, p)).max() > 0.01


def slope(loss, y, x):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(y, x)
    return float(value), tape.gradient(value, x).numpy()


@pytest.mark.parametrize("smooth", [1e-6, 1e-2, 1.0])
def test_matthews_on_an_empty_mask_grows_with_the_false_positives(smooth):
    """1 - √(s (TN + s) / ((FP + s) (N + s))): from 0, and never without a gradient."""
    y = np.zeros((1, 4, 4, 1))
    values = []
    for false in (0.0, 1e-3, 0.1, 0.5, 0.9):
        loss = sl.MatthewsLoss(smooth, dtype="float64")
        value, gradient = slope(loss, y, np.full(y.shape, false))
        fp, tn = 16 * false, 16 * (1 - false)
        want = 1 - np.sqrt(smooth * (tn + smooth) / ((fp + smooth) * (16 + smooth)))
        assert value == pytest.approx(want, abs=1e-12)
        assert (gradient > 0).all()
        values.append(value)
    assert values[0] == 0 and values == sorted(values)


def test_matthews_close_to_perfect_does_not_cancel():
    """In float32, where 1 - 0.99999997 would be 0 or 6e-8."""
    y = square([1, 1, 0, 0])
    value, gradient = slope(sl.MatthewsLoss(), y, square([1, 1 - 1e-7, 0, 0]).astype("float32"))
    # TP 3 - e, TN 3, FN e: 1 - √((3 - e) 3 / (3 (3 + e))) = e/3, e = 1.19e-7 in float32
    error = 1 - float(np.float32(1 - 1e-7))
    assert value == pytest.approx(error / 3, rel=1e-5)
    assert gradient[0, 0, 1, 0] == pytest.approx(-1 / 3, rel=1e-5)


def test_matthews_of_a_volume_does_not_overflow():
    """(1e10)⁴ of the formula as it stands is infinite in float32."""
    y = square([1, 1, 0, 0]).astype("float32")
    p = square([0.75, 1, 0, 0.25]).astype("float32")
    heavy = np.full((1, 2, 2), 1e10)
    value = sl.MatthewsLoss()(y, p, heavy)
    # TP 1.75, TN 1.75, FP 0.25, FN 0.25: 1 - (1.75² - 0.25²) / 2²
    assert float(value) == pytest.approx(1 / 4, rel=1e-5)


def test_matthews_and_the_trivial_predictions():
    """Whoever predicts one value everywhere is not better than chance: 1, for small s."""
    y = np.zeros((1, 10, 10, 1))
    y[0, :3, :3] = 1
    loss = sl.MatthewsLoss(1e-9, dtype="float64")
    for constant in (0.1, 0.5, 0.9):
        assert float(loss(y, np.full(y.shape, constant))) == pytest.approx(1, abs=1e-6)
    assert float(loss(y, 1 - y)) == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize("r", [0.0, 0.05, 0.5, 1.0])
def test_sensitivity_specificity_of_hard_masks(r, rng):
    y, p = ((rng.random((1, 9, 9, 1)) > share).astype(float) for share in (0.8, 0.6))
    sensitivity, specificity = p[y == 1].mean(), 1 - p[y == 0].mean()
    value = sl.SensitivitySpecificityLoss(r, dtype="float64")(y, p)
    want = r * (1 - sensitivity) + (1 - r) * (1 - specificity)
    assert float(value) == pytest.approx(want, rel=1e-12)


def test_r_is_the_weight_of_what_is_missed():
    """Of meaning: NiftyNet names the two parts the other way round."""
    y, nothing, everything = square([1, 0, 0, 0]), square([0] * 4), square([1] * 4)
    mind_missing, mind_false = (sl.SensitivitySpecificityLoss(r) for r in (0.9, 0.1))
    assert float(mind_missing(y, nothing)) == pytest.approx(0.9)
    assert float(mind_missing(y, everything)) == pytest.approx(0.1)
    assert float(mind_false(y, nothing)) == pytest.approx(0.1)


def test_sensitivity_specificity_where_one_side_has_no_pixels():
    """Its mean is 0, and the other side still pulls."""
    loss = sl.SensitivitySpecificityLoss(r=0.25, dtype="float64")
    value, gradient = slope(loss, np.zeros((1, 4, 4, 1)), np.full((1, 4, 4, 1), 0.5))
    assert value == pytest.approx(0.75 / 4) and (gradient > 0).all()
    value, gradient = slope(loss, np.ones((1, 4, 4, 1)), np.full((1, 4, 4, 1), 0.5))
    assert value == pytest.approx(0.25 / 4) and (gradient < 0).all()


@pytest.mark.parametrize("r", [-0.1, 1.1, None])
def test_bad_r(r):
    with pytest.raises(ValueError, match=r"`r` must be .*at least 0 and at most 1.*Received"):
        sl.SensitivitySpecificityLoss(r)
