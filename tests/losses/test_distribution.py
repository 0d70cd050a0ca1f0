"""Cross-entropies: by hand, and the identities between them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize_scalar

import segloss_ref as sl

# One pixel: label, probability, and the loss by hand, plain and with β = 3.
BY_HAND = [
    (1, 0.5, np.log(2), 3 * np.log(2)),
    (0, 0.5, np.log(2), np.log(2)),
    (1, 0.25, np.log(4), 3 * np.log(4)),  # only false negatives
    (0, 0.75, np.log(4), np.log(4)),  # only false positives
    (1, 1.0, 0, 0),
    (0.5, 0.5, np.log(2), 2 * np.log(2)),
]


@pytest.mark.parametrize(("y", "p", "plain", "weighted"), BY_HAND)
def test_by_hand(y, p, plain, weighted):
    y, p = np.full((1, 1, 1, 1), y), np.full((1, 1, 1, 1), p)
    bce = sl.BinaryCrossEntropyLoss(dtype="float64")
    wbce = sl.WeightedBinaryCrossEntropyLoss(3.0, dtype="float64")
    assert float(bce(y, p)) == pytest.approx(plain, abs=1e-15)
    assert float(wbce(y, p)) == pytest.approx(weighted, abs=1e-15)


@pytest.fixture
def pair(rng):
    y = (rng.random((2, 6, 6, 1)) > 0.6).astype(float)
    return y, rng.normal(size=y.shape) * 3


def in_float64(loss, **options):
    return loss(from_logits=True, dtype="float64", **options)


def test_equals_keras(pair):
    y, z = pair
    want = keras.losses.BinaryCrossentropy(from_logits=True)(y, z)
    got = sl.BinaryCrossEntropyLoss(from_logits=True)(y, z)
    assert float(got) == pytest.approx(float(want), rel=1e-6)


def test_beta_one_is_unweighted(pair):
    one = in_float64(sl.WeightedBinaryCrossEntropyLoss, beta=1.0)
    assert float(one(*pair)) == float(in_float64(sl.BinaryCrossEntropyLoss)(*pair))


def test_balanced_at_one_half_is_half_of_plain(pair):
    half = in_float64(sl.BalancedBinaryCrossEntropyLoss, beta=0.5)
    plain = in_float64(sl.BinaryCrossEntropyLoss)
    assert float(half(*pair)) == pytest.approx(float(plain(*pair)) / 2, rel=1e-14)


def test_beta_is_a_pixel_weight_on_the_foreground(pair):
    y, z = pair
    weighted = in_float64(sl.WeightedBinaryCrossEntropyLoss, beta=4.0)
    plain = in_float64(sl.BinaryCrossEntropyLoss)
    assert float(weighted(y, z)) == pytest.approx(float(plain(y, z, 1 + 3 * y)), rel=1e-14)


def test_equals_tensorflow_pos_weight(pair):
    y, z = pair
    want = tf.reduce_mean(tf.nn.weighted_cross_entropy_with_logits(y, z, pos_weight=4.0))
    got = in_float64(sl.WeightedBinaryCrossEntropyLoss, beta=4.0)(y, z)
    assert float(got) == pytest.approx(float(want), rel=1e-12)


@pytest.mark.parametrize("q", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("beta", [0.2, 1.0, 5.0])
def test_the_minimiser_is_beta_q_over_beta_q_plus_1_minus_q(q, beta):
    loss = sl.WeightedBinaryCrossEntropyLoss(beta, dtype="float64")
    y = np.full((1, 1, 1, 1), q)
    best = minimize_scalar(
        lambda p: float(loss(y, np.full((1, 1, 1, 1), p))),
        bounds=(1e-4, 1 - 1e-4), method="bounded", options={"xatol": 1e-9},
    ).x  # fmt: skip
    # A minimum is flat: the place is known to the root of the value's precision only.
    assert best == pytest.approx(beta * q / (beta * q + 1 - q), abs=1e-6)


def test_balanced_learns_nothing_from_an_image_without_foreground():
    """Documented: β = 1 there. `per="batch"` with another image mends it."""
    y, z = np.zeros((2, 4, 4, 1)), np.full((2, 4, 4, 1), 3.0)
    y[1, 0, 0] = 1
    each = sl.BalancedBinaryCrossEntropyLoss(from_logits=True, reduction=None)
    assert np.asarray(each(y, z))[0] == 0 and np.asarray(each(y, z))[1] > 0
    logits = tf.Variable(z)
    with tf.GradientTape() as tape:
        value = sl.BalancedBinaryCrossEntropyLoss(from_logits=True, per="batch")(y, logits)
    assert (tape.gradient(value, logits).numpy()[0] > 0).all()


def test_several_classes_must_be_independent(rng):
    y = (rng.random((2, 4, 4, 3)) > 0.5).astype(float)
    z = rng.normal(size=y.shape)
    with pytest.raises(ValueError, match="several exclusive classes"):
        sl.BinaryCrossEntropyLoss(from_logits=True)(y, z)
    many = in_float64(sl.BinaryCrossEntropyLoss, multilabel=True)
    one = in_float64(sl.BinaryCrossEntropyLoss)
    want = np.mean([float(one(y[..., c : c + 1], z[..., c : c + 1])) for c in range(3)])
    assert float(many(y, z)) == pytest.approx(want, rel=1e-14)


def test_large_logits_keep_their_value_and_their_gradient():
    """From probabilities the loss of a certain, wrong pixel ends at 16.1 and pulls no more."""
    y, z = np.zeros((1, 1, 1, 1)), tf.constant([[[[1e4]]]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        stable = sl.BinaryCrossEntropyLoss(from_logits=True)(y, z)
        clipped = sl.BinaryCrossEntropyLoss()(y, tf.sigmoid(z))
    assert float(stable) == 1e4 and tape.gradient(stable, z).numpy().item() == 1
    assert float(clipped) == pytest.approx(-np.log(1e-7), rel=1e-6)
    assert tape.gradient(clipped, z).numpy().item() == 0
