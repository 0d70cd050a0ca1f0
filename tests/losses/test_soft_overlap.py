"""Overlap losses for labels between 0 and 1, or wrong ones: semimetric, metric, noise-robust."""

import numpy as np
import pytest
import tensorflow as tf

import segloss_ref as sl

# Rows of 4 pixels: truth, prediction, and by hand with s = 1: Dice semimetric, Jaccard metric.
BY_HAND = [
    # hard, one of two found: 1 / (2 + 1 + 1); 1 / (2 + 1)
    ([1, 1, 0, 0], [1, 0, 0, 0], 1 / 4, 1 / 3),
    # only false positives: 2 / (0 + 2 + 1); 2 / (2 + 1)
    ([0, 0, 0, 0], [1, 1, 0, 0], 2 / 3, 2 / 3),
    # only false negatives: 3 / (3 + 0 + 1); 3 / (3 + 1)
    ([1, 1, 1, 0], [0, 0, 0, 0], 3 / 4, 3 / 4),
    # both empty
    ([0, 0, 0, 0], [0, 0, 0, 0], 0, 0),
    # soft and met exactly: 0, where Dice has 2/5
    ([0.5] * 4, [0.5] * 4, 0, 0),
    # soft and made hard: 2 / (2 + 4 + 1); 2 / (4 + 1)
    ([0.5] * 4, [1] * 4, 2 / 7, 2 / 5),
    # soft and missed: 2 / (2 + 0 + 1); 2 / (2 + 1)
    ([0.5] * 4, [0] * 4, 2 / 3, 2 / 3),
    # too much here, too little there: 1 / (2 + 2 + 1); max 0.75 + 0.75 + 0.5 + 0.5, 1 / (2.5 + 1)
    ([0.5, 0.5, 0.5, 0.5], [0.75, 0.75, 0.25, 0.25], 1 / 5, 2 / 7),
]


def square(pixels):
    return np.array(pixels, float).reshape(1, 2, 2, 1)


@pytest.mark.parametrize(("y", "p", "dice", "jaccard"), BY_HAND)
def test_by_hand(y, p, dice, jaccard):
    y, p = square(y), square(p)
    assert float(sl.DiceSemimetricLoss(dtype="float64")(y, p)) == pytest.approx(dice, abs=1e-15)
    assert float(sl.JaccardMetricLoss(dtype="float64")(y, p)) == pytest.approx(jaccard, abs=1e-15)


PAIRS = [(sl.DiceSemimetricLoss, sl.DiceLoss), (sl.JaccardMetricLoss, sl.JaccardLoss)]


@pytest.mark.parametrize(("soft", "hard"), PAIRS)
@pytest.mark.parametrize("smooth", [1e-3, 1.0])
def test_on_hard_labels_they_are_the_plain_losses(soft, hard, smooth, rng):
    """In value and gradient."""
    y = np.eye(3)[rng.integers(0, 3, (2, 5, 6))]
    z = tf.constant(rng.normal(size=y.shape))
    w = rng.random(y.shape[:-1])
    results = []
    for loss in (soft, hard):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(smooth, from_logits=True, dtype="float64")(y, z, w)
        results.append((value.numpy(), tape.gradient(value, z).numpy()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-13)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-10, atol=1e-15)


MATCHING = [sl.DiceSemimetricLoss, sl.JaccardMetricLoss, sl.NoiseRobustDiceLoss]


def best_constant(loss, label):
    """The constant prediction of least loss for a constant label, in hundredths."""
    grid = np.linspace(0, 1, 101)
    y, p = np.full((101, 4, 4, 1), label), np.ones((101, 4, 4, 1)) * grid[:, None, None, None]
    return grid[np.argmin(loss(reduction=None, dtype="float64")(y, p))]


@pytest.mark.parametrize("label", [0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
def test_the_best_prediction_is_the_soft_label_itself(label):
    for loss in MATCHING:
        assert best_constant(loss, label) == pytest.approx(label, abs=1e-12)


def test_which_it_is_not_for_the_plain_losses():
    """They want 1 from a pixel that is foreground with a probability of 0.3."""
    for loss in (sl.DiceLoss, sl.JaccardLoss, sl.TverskyLoss):
        assert best_constant(loss, 0.3) == 1


@pytest.mark.parametrize("loss", MATCHING)
def test_descent_finds_soft_labels(loss, rng):
    """Each pixel ends at its own label, not at one common value."""
    y = rng.uniform(0.1, 0.9, (1, 4, 4, 1))
    z = tf.Variable(np.zeros(y.shape))
    loss = loss(from_logits=True, dtype="float64")
    for step in range(600):
        with tf.GradientTape() as tape:
            value = loss(y, z)
        # An L1 form has no slope that fades: steps of fixed length have to.
        z.assign_sub(0.2 * 0.99**step * tf.sign(tape.gradient(value, z)))
    np.testing.assert_allclose(tf.sigmoid(z), y, atol=0.01)


@pytest.mark.parametrize("smooth", [1e-9, 1.0])
def test_jaccard_metric_is_a_metric(smooth, rng):
    """Symmetric, and no way round by a third mask is shorter."""
    a, b, c = (rng.random((200, 2, 2, 1)) ** rng.choice([0.2, 1, 5], (200, 1, 1, 1)) for _ in "abc")
    loss = sl.JaccardMetricLoss(smooth, reduction=None, dtype="float64")
    np.testing.assert_allclose(loss(a, b), loss(b, a), rtol=1e-14)
    assert (loss(a, c).numpy() <= loss(a, b).numpy() + loss(b, c).numpy() + 1e-12).all()


def test_dice_semimetric_is_not():
    """{1} and {2} share nothing (1); each is 1/3 from {1, 2}: 1 > 2/3."""
    one, two, union = square([1, 0, 0, 0]), square([0, 1, 0, 0]), square([1, 1, 0, 0])
    loss = sl.DiceSemimetricLoss(1e-9, dtype="float64")
    assert float(loss(one, two)) == pytest.approx(1)
    assert float(loss(one, union)) == pytest.approx(1 / 3)
    assert float(loss(one, two)) > float(loss(one, union)) + float(loss(union, two))


# Rows of 4 pixels: truth, prediction, γ, noise-robust Dice by hand with s = 1.
NOISE_ROBUST_BY_HAND = [
    # only false positives: 2 / (0 + 2 + 1); only false negatives: 3 / (3 + 0 + 1); both empty
    ([0, 0, 0, 0], [1, 1, 0, 0], 1.5, 2 / 3),
    ([1, 1, 1, 0], [0, 0, 0, 0], 1.5, 3 / 4),
    ([0, 0, 0, 0], [0, 0, 0, 0], 1.5, 0),
    # quarters on an empty mask: 4 · (1/4)^γ / (4/16 + 1), (1/4)^1.5 = 1/8
    ([0, 0, 0, 0], [0.25] * 4, 1.0, 4 / 5),
    ([0, 0, 0, 0], [0.25] * 4, 1.5, 2 / 5),
    ([0, 0, 0, 0], [0.25] * 4, 2.0, 1 / 5),
    # soft and met exactly
    ([0.5] * 4, [0.5] * 4, 1.5, 0),
]


@pytest.mark.parametrize(("y", "p", "gamma", "want"), NOISE_ROBUST_BY_HAND)
def test_noise_robust_dice_by_hand(y, p, gamma, want):
    loss = sl.NoiseRobustDiceLoss(gamma, dtype="float64")
    assert float(loss(square(y), square(p))) == pytest.approx(want, abs=1e-15)


def test_with_gamma_two_it_is_dice_with_squares(rng):
    y, z = rng.random((2, 5, 6, 1)), rng.normal(size=(2, 5, 6, 1))
    options = {"smooth": 0.5, "from_logits": True, "dtype": "float64", "reduction": None}
    np.testing.assert_allclose(
        sl.NoiseRobustDiceLoss(gamma=2.0, **options)(y, z),
        sl.DiceLoss(squared=True, **options)(y, z),
        rtol=1e-13,
    )


@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0])
def test_noise_robust_gradient_where_truth_is_met(gamma):
    """It is 0 there: |0|^γ is at its least, and the denominator's share is times 0."""
    y = tf.constant(square([0, 1, 0.5, 0.5]))
    with tf.GradientTape() as tape:
        tape.watch(y)
        value = sl.NoiseRobustDiceLoss(gamma)(tf.stop_gradient(y), y)
    assert (tape.gradient(value, y).numpy() == 0).all()


def test_a_wrong_label_pulls_less_when_gamma_is_small():
    """The slope at the one wrong pixel, beside that at all the half-learnt ones, grows with γ."""
    y = np.zeros((1, 4, 4, 1))
    y[0, :2], y[0, 3, 3] = 1, 1  # the last one is a slip of the pen
    p = np.where(y > 0, 0.8, 0.2)
    p[0, 3, 3] = 0.05
    shares = []
    for gamma in (1.0, 1.25, 1.5, 1.75, 2.0):
        x = tf.constant(p)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = sl.NoiseRobustDiceLoss(gamma, dtype="float64")(y, x)
        slope = np.abs(tape.gradient(value, x).numpy())
        shares.append(slope[0, 3, 3, 0] / slope.sum())
    assert shares == sorted(shares) and shares[-1] > 2 * shares[0]


@pytest.mark.parametrize("gamma", [0.9, 2.1, None])
def test_bad_gamma(gamma):
    with pytest.raises(ValueError, match=r"`gamma` must be .*at least 1 and at most 2.*Received"):
        sl.NoiseRobustDiceLoss(gamma)
