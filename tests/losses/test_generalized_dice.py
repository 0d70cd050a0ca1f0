"""Generalized Dice: by hand, absent classes, rare ones, one class, the penalty."""

import numpy as np
import oracles
import pytest
import tensorflow as tf
from cases_region import generalized_dice

import segloss_ref as sl

# Rows of 4 pixels of one class, which is two: truth, prediction, weighting, penalty, by hand.
ONE_CLASS = [
    # TP 1, FN 1, V 2; background TP 2, FP 1, V 2: equal volumes, 2 / (2 + 4 + 2)
    ([1, 1, 0, 0], [1, 0, 0, 0], "square", 0, 2 / 8),
    # TP 1, FP 1, V 1; background TP 2, FN 1, V 3. v = 1, 1/9: (10/9) / (3 + 5/9)
    ([1, 0, 0, 0], [1, 1, 0, 0], "square", 0, 10 / 32),
    # v = 1, 1/3: (4/3) / (3 + 5/3)
    ([1, 0, 0, 0], [1, 1, 0, 0], "simple", 0, 4 / 14),
    # v = 1, 1: 2 / (3 + 5)
    ([1, 0, 0, 0], [1, 1, 0, 0], "uniform", 0, 2 / 8),
    # errors twice: (2 · 2) / (2 + 4 + 2 · 2)
    ([1, 0, 0, 0], [1, 1, 0, 0], "uniform", 1, 4 / 10),
    # only false negatives, TP 0, FN 2; background TP 2, FP 2: v equal, 4 / (2 + 6)
    ([1, 1, 0, 0], [0, 0, 0, 0], "square", 0, 4 / 8),
    # only false positives: the object has v = 0; background TP 2, FN 2: 2 / (4 + 2)
    ([0, 0, 0, 0], [1, 1, 0, 0], "square", 0, 2 / 6),
    ([0, 0, 0, 0], [1, 1, 0, 0], "uniform", 0, 2 / 6),
    # both empty, both full
    ([0, 0, 0, 0], [0, 0, 0, 0], "square", 0, 0),
    ([1, 1, 1, 1], [1, 1, 1, 1], "square", 0, 0),
    # all wrong
    ([1, 1, 1, 0], [0, 0, 0, 1], "square", 3, 1),
]


@pytest.mark.parametrize(("y", "p", "weighting", "penalty", "want"), ONE_CLASS)
def test_by_hand(y, p, weighting, penalty, want):
    y, p = (np.array(a, float).reshape(1, 2, 2, 1) for a in (y, p))
    loss = sl.GeneralizedDiceLoss(weighting, penalty, dtype="float64")
    assert float(loss(y, p)) == pytest.approx(want, abs=1e-15)


def test_three_classes_by_hand():
    """Class 0 has 4 pixels, 1 has 2, 2 none; one pixel of 1 is taken for 2, one of 0 for 1.

    TP 3, 1, 0; FP 0, 1, 1; FN 1, 1, 0. v = 1/16, 1/4, 0, times 16: errors 1 + 4 · 2 = 9 over
    (2 · 3 + 1) + 4 (2 · 1 + 2) = 23.
    """
    labels = np.array([0, 0, 0, 0, 1, 1]).reshape(1, 2, 3)
    p = np.eye(3)[np.array([0, 0, 0, 1, 1, 2]).reshape(1, 2, 3)]
    loss = sl.GeneralizedDiceLoss(dtype="float64")
    assert float(loss(labels, p)) == pytest.approx(9 / 23, abs=1e-15)
    # Without background: (1 + 1) / (2 · 1 + 2).
    loss = sl.GeneralizedDiceLoss(include_background=False, dtype="float64")
    assert float(loss(labels, p)) == pytest.approx(2 / 4, abs=1e-15)
    # Class weights 4, 1, 9 make v 4/16, 1/4, 0: (1 + 2) / (7 + 4).
    loss = sl.GeneralizedDiceLoss(class_weights=[4, 1, 9], dtype="float64")
    assert float(loss(labels, p)) == pytest.approx(3 / 11, abs=1e-15)


OPTIONS = {"from_logits": True, "dtype": "float64", "reduction": None}


@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
def test_one_class_is_two_exclusive_ones(weighting, rng):
    """softmax(0, z) is (1 - sigmoid(z), sigmoid(z))."""
    labels = (rng.random((3, 5, 6)) > 0.7).astype("int32")
    z = rng.normal(size=(3, 5, 6, 1))
    loss = sl.GeneralizedDiceLoss(weighting, penalty=0.5, **OPTIONS)
    two = loss(labels, np.concatenate([np.zeros_like(z), z], axis=-1))
    np.testing.assert_allclose(loss(labels[..., None], z), two, rtol=1e-13)


def test_independent_classes_are_problems_of_their_own(rng):
    y, z = (rng.random((2, 4, 5, 3)) > 0.6).astype(float), rng.normal(size=(2, 4, 5, 3))
    one = sl.GeneralizedDiceLoss(**OPTIONS)
    each = np.stack([one(y[..., c : c + 1], z[..., c : c + 1]) for c in range(3)], axis=-1)
    several = sl.GeneralizedDiceLoss(multilabel=True, class_weights=[1, 2, 5], **OPTIONS)
    np.testing.assert_allclose(several(y, z), np.average(each, axis=-1, weights=[1, 2, 5]))
    several = sl.GeneralizedDiceLoss(multilabel=True, include_background=False, **OPTIONS)
    np.testing.assert_allclose(several(y, z), each[:, 1:].mean(axis=-1))


def test_pixel_weights_act_inside_the_volumes_too(rng):
    """A pixel of weight 2 is two pixels."""
    labels, z = rng.integers(0, 3, (1, 4, 5)), rng.normal(size=(1, 4, 5, 3))
    loss = sl.GeneralizedDiceLoss(**OPTIONS)
    w = np.ones((1, 4, 5))
    w[:, :, 0] = 2
    doubled = [np.concatenate([a[:, :, :1], a], axis=2) for a in (labels, z)]
    np.testing.assert_allclose(loss(labels, z, w), loss(*doubled), rtol=1e-13)


def test_an_absent_class_adds_nothing(rng):
    """It might as well not be in the model, if nothing is predicted as it."""
    labels = rng.integers(0, 2, (2, 4, 5))
    p = oracles.softmax(rng.normal(size=(2, 4, 5, 2)))
    with_class_2 = np.concatenate([p, np.zeros((2, 4, 5, 1))], axis=-1)
    for weighting in ("square", "simple", "uniform"):
        loss = sl.GeneralizedDiceLoss(weighting, dtype="float64")
        assert float(loss(labels, with_class_2)) == pytest.approx(float(loss(labels, p)), rel=1e-14)


@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
@pytest.mark.parametrize("classes", [1, 3])
def test_false_positives_in_an_image_of_background_cost_and_pull(weighting, classes):
    """What is taken for an absent class is missing from the background."""
    labels = np.zeros((1, 4, 4) if classes > 1 else (1, 4, 4, 1), int)
    z = tf.zeros((1, 4, 4, classes))
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = sl.GeneralizedDiceLoss(weighting, from_logits=True)(labels, z)
    slope = tape.gradient(value, z).numpy()
    # E of 16 pixels are missing, of p = 1/2 or 1/3: E / (2 (16 - E) + E)
    missing = 16 * (1 / 2 if classes == 1 else 2 / 3)
    assert float(value) == pytest.approx(missing / (32 - missing), rel=1e-6)
    assert (slope[..., -1] > 1e-3).all()


def test_a_class_of_one_pixel_weighs_as_much_as_all_the_rest():
    """1 / V²: missing its one pixel costs nearly all, where unweighted it costs nothing."""
    labels = np.zeros((1, 100, 100), int)
    labels[0, 0, 0] = 1
    p = np.zeros((1, 100, 100, 2))
    p[..., 0] = 1  # all background
    # FN 1, v 1; background TP 9999, FP 1, v 1/9999²: (1 + v) / (1 + v + 2/9999).
    # Uniform: 2 / (2 + 2 · 9999).
    v = 1 / 9999**2
    value = sl.GeneralizedDiceLoss(dtype="float64")(labels, p)
    assert float(value) == pytest.approx((1 + v) / (1 + v + 2 / 9999), rel=1e-12)
    value = sl.GeneralizedDiceLoss("uniform", dtype="float64")(labels, p)
    assert float(value) == pytest.approx(2 / 20000, rel=1e-12)


def test_uniform_is_the_mean_error_where_all_classes_occur(rng):
    """Σ_c (2 TP_c + FP_c + FN_c) is 2 for each pixel, whatever is predicted."""
    labels = np.concatenate([np.arange(3), rng.integers(0, 3, 17)]).reshape(1, 4, 5)
    p = oracles.softmax(rng.normal(size=(1, 4, 5, 3)))
    value = sl.GeneralizedDiceLoss("uniform", dtype="float64")(labels, p)
    p_true = np.take_along_axis(p, labels[..., None], axis=-1)
    assert float(value) == pytest.approx(1 - p_true.mean(), rel=1e-12)


def test_the_penalty_makes_errors_weigh_more(rng):
    """The quotient that is right for the coefficient, and is wrong for the loss."""
    labels, z = rng.integers(0, 3, (3, 4, 5)), rng.normal(size=(3, 4, 5, 3))
    plain = sl.GeneralizedDiceLoss(**OPTIONS)(labels, z).numpy()
    k = 2.5
    got = sl.GeneralizedDiceLoss(penalty=k, **OPTIONS)(labels, z).numpy()
    coefficient = 1 - plain
    np.testing.assert_allclose(got, 1 - coefficient / (1 + k * (1 - coefficient)), rtol=1e-13)
    assert (got > plain).all() and (plain > plain / (1 + k * (1 - plain))).all()


@pytest.mark.parametrize("rare", [1e-3, 1e-12, 1e-25])
def test_soft_classes_of_almost_no_mass_do_not_overflow(rare):
    """1 / V² alone would: float32 ends at 3e38."""
    y = np.full((1, 2, 2, 3), rare)
    y[..., 0], y[..., 1] = 0.75, 0.25 - rare
    z = tf.constant(np.zeros(y.shape, "float32"))
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = sl.GeneralizedDiceLoss(from_logits=True)(y.astype("float32"), z)
    want = generalized_dice(y[0], np.full((2, 2, 3), 1 / 3), np.ones((2, 2)))
    assert float(value) == pytest.approx(want, rel=1e-5)
    assert np.isfinite(tape.gradient(value, z).numpy()).all()


def test_bad_settings():
    with pytest.raises(ValueError, match=r"`weighting` must be one of .*Received: 'cube'"):
        sl.GeneralizedDiceLoss("cube")
    with pytest.raises(ValueError, match=r"`penalty` must .*Received: -1"):
        sl.GeneralizedDiceLoss(penalty=-1)
    y = np.zeros((1, 2, 2), int)
    with pytest.raises(ValueError, match="2 weights for 3 classes"):
        sl.GeneralizedDiceLoss(class_weights=[1, 1])(y, np.full((1, 2, 2, 3), 1 / 3))
