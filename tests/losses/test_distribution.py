"""Cross-entropies: by hand, and the identities between them."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases_distribution import calibrated
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

import segloss_ref as sl
from segloss_ref.losses.distribution import largest_but

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


def one_pixel(loss, label, p, **settings):
    """The value of one pixel: a label and a probability, or a class and probabilities."""
    p = np.reshape(p, (1, 1, 1, -1)).astype(float)
    y = np.full(p.shape, float(label)) if p.size == 1 else np.full((1, 1, 1), label)
    return float(loss(dtype="float64", **settings)(y, p))


LOG2 = np.log(2)
ONE_PIXEL = [
    # loss, settings, label, p, value
    # only a false negative: α (3/4)² log 4; only a false positive: (1 - α) (3/4)² log 4
    (sl.FocalLoss, {}, 1, 1 / 4, 1 / 4 * 9 / 16 * 2 * LOG2),
    (sl.FocalLoss, {}, 0, 3 / 4, 3 / 4 * 9 / 16 * 2 * LOG2),
    (sl.FocalLoss, {"alpha": None}, 0, 3 / 4, 9 / 16 * 2 * LOG2),
    (sl.FocalLoss, {"alpha": None, "gamma": 0.5}, 1, 1 / 4, np.sqrt(3) / 2 * 2 * LOG2),
    (sl.FocalLoss, {}, 1, 1.0, 0),
    (sl.FocalLoss, {}, 0.5, 1 / 2, 1 / 2 * 1 / 4 * LOG2),  # (α + 1 - α) / 2
    (sl.FocalLoss, {}, 1, [1 / 2, 1 / 4, 1 / 4], 1 / 4 * 9 / 16 * 2 * LOG2),
    (sl.FocalLoss, {"alpha": [0, 1, 0.5]}, 2, [1 / 2, 1 / 4, 1 / 4], 1 / 2 * 9 / 16 * 2 * LOG2),
    (sl.PolyLoss, {}, 1, 1 / 4, 2 * LOG2 + 3 / 4),
    (sl.PolyLoss, {"epsilon": -1.0}, 0, 3 / 4, 2 * LOG2 - 3 / 4),
    (sl.PolyLoss, {"epsilon": 2.0}, 0, [1 / 2, 1 / 4, 1 / 4], LOG2 + 2 * 1 / 2),
    (sl.PolyLoss, {}, 0, 0.0, 0),
    (sl.GeneralizedCrossEntropyLoss, {"q": 0.5}, 1, 1 / 4, 2 * (1 - 1 / 2)),
    (sl.GeneralizedCrossEntropyLoss, {"q": 0.5}, 0, 3 / 4, 2 * (1 - 1 / 2)),
    (sl.GeneralizedCrossEntropyLoss, {"q": 1.0}, 2, [1 / 2, 1 / 4, 1 / 4], 3 / 4),
    (sl.GeneralizedCrossEntropyLoss, {}, 1, 1.0, 0),
    (sl.CategoricalCrossEntropyLoss, {}, 1, [1 / 2, 1 / 4, 1 / 4], 2 * LOG2),
    (
        sl.CategoricalCrossEntropyLoss,
        {"class_weights": [1, 2, 5]}, 1, [1 / 2, 1 / 4, 1 / 4], 4 * LOG2,
    ),
    # y' = (0.8, 0.1, 0.1): 0.8 log 2 + 0.2 log 4; with weights 0.8 log 2 + 0.2 log 4 + 0.5 log 4
    (
        sl.CategoricalCrossEntropyLoss,
        {"label_smoothing": 0.3}, 0, [1 / 2, 1 / 4, 1 / 4], 1.2 * LOG2,
    ),
    (
        sl.CategoricalCrossEntropyLoss,
        {"label_smoothing": 0.3, "class_weights": [1, 2, 5]}, 0, [1 / 2, 1 / 4, 1 / 4], 2.2 * LOG2,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "setting", "label", "p", "want"), ONE_PIXEL)
def test_one_pixel_by_hand(loss, setting, label, p, want):
    assert one_pixel(loss, label, p, **setting) == pytest.approx(want, abs=1e-14)


def cross_entropy_of(kind):
    if kind == "exclusive":
        return sl.CategoricalCrossEntropyLoss
    return partial(sl.BinaryCrossEntropyLoss, multilabel=kind == "independent")


CROSS_ENTROPIES = [
    (sl.FocalLoss, {"alpha": None, "gamma": 0.0}),
    (sl.PolyLoss, {"epsilon": 0.0}),
    (sl.TopKCrossEntropyLoss, {"k": 1.0}),
    (sl.GeneralizedCrossEntropyLoss, {"q": 1e-9}),
    (sl.NeighborAwareCalibrationLoss, {"neighbor_weight": 0.0}),
]


@pytest.mark.parametrize(
    ("loss", "setting", "kind"),
    [(loss, setting, kind) for loss, setting in CROSS_ENTROPIES for kind in loss.takes],
)
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight"])
def test_where_it_is_cross_entropy(loss, setting, kind, reduction, rng):
    """Of pixels, too, of which some weigh 0."""
    shape = (2, 4, 5, 1 if kind == "binary" else 3)
    y = rng.random(shape) if kind != "exclusive" else np.eye(3)[rng.integers(0, 3, shape[:-1])]
    w = rng.random(shape[:-1]) * (rng.random(shape[:-1]) > 0.3)
    z = rng.normal(size=shape) * 3
    options = {"reduction": reduction, "multilabel": kind == "independent"}
    want = in_float64(cross_entropy_of(kind), reduction=reduction)
    got = in_float64(loss, **setting, **options)
    assert float(got(y, z)) == pytest.approx(float(want(y, z)), rel=1e-7)
    assert float(got(y, z, w)) == pytest.approx(float(want(y, z, w)), rel=1e-7)


@pytest.mark.parametrize(
    ("loss", "binary", "exclusive"),
    [
        (sl.FocalLoss, {"alpha": None}, {"alpha": None}),
        (sl.FocalLoss, {"alpha": 0.3, "gamma": 0.5}, {"alpha": [0.7, 0.3], "gamma": 0.5}),
        (sl.TopKCrossEntropyLoss, {}, {}),
        (sl.PolyLoss, {}, {}),
        (sl.GeneralizedCrossEntropyLoss, {}, {}),
    ],
)
def test_one_logit_is_two_of_which_one_is_zero(pair, loss, binary, exclusive):
    y, z = pair
    two = np.concatenate([np.zeros_like(z), z], axis=-1)
    want = in_float64(loss, **binary)(y, z)
    got = in_float64(loss, **exclusive)(y[..., 0].astype(int), two)
    assert float(got) == pytest.approx(float(want), rel=1e-12)


def test_categorical_is_binary_for_two_classes(pair):
    y, z = pair
    two = np.concatenate([np.zeros_like(z), z], axis=-1)
    plain = in_float64(sl.CategoricalCrossEntropyLoss)(y[..., 0].astype(int), two)
    assert float(plain) == pytest.approx(float(in_float64(sl.BinaryCrossEntropyLoss)(y, z)))
    weights = in_float64(sl.CategoricalCrossEntropyLoss, class_weights=[1, 4])
    want = in_float64(sl.WeightedBinaryCrossEntropyLoss, beta=4.0)(y, z)
    assert float(weights(y[..., 0].astype(int), two)) == pytest.approx(float(want), rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
def test_categorical_equals_keras(smoothing, rng):
    y = np.eye(4)[rng.integers(0, 4, (2, 5, 5))]
    z = rng.normal(size=y.shape) * 3
    keras_loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing, dtype="float64"
    )
    got = in_float64(sl.CategoricalCrossEntropyLoss, label_smoothing=smoothing)(y, z)
    assert float(got) == pytest.approx(float(keras_loss(y, z)), rel=1e-12)


def test_class_weights_are_weights_of_the_pixels_of_a_class(rng):
    """Where labels are hard; Keras's `class_weight` of `fit` means the same."""
    labels, z = rng.integers(0, 3, (2, 5, 5)), rng.normal(size=(2, 5, 5, 3))
    weights = np.array([1.0, 0.0, 5.0])
    got = in_float64(sl.CategoricalCrossEntropyLoss, class_weights=weights)(labels, z)
    want = in_float64(sl.CategoricalCrossEntropyLoss)(labels, z, weights[labels])
    assert float(got) == pytest.approx(float(want), rel=1e-12)


def test_focal_equals_keras_where_keras_takes_alpha(pair, rng):
    y, z = pair
    keras_loss = partial(keras.losses.BinaryFocalCrossentropy, from_logits=True, dtype="float64")
    got = float(in_float64(sl.FocalLoss)(y, z))
    balanced = keras_loss(apply_class_balancing=True)(y, z)
    # Keras clips p at 1e-7, in float64 as well.
    assert got == pytest.approx(float(balanced), rel=1e-6)
    assert float(keras_loss(alpha=0.9)(y, z)) == float(keras_loss(alpha=0.1)(y, z)), "ignored"
    unbalanced = in_float64(sl.FocalLoss, alpha=None)(y, z)
    assert float(unbalanced) == pytest.approx(float(keras_loss()(y, z)), rel=1e-6)

    y, z = np.eye(3)[rng.integers(0, 3, (2, 5, 5))], rng.normal(size=(2, 5, 5, 3))
    for alpha in (0.25, [0.2, 0.5, 0.3]):
        categorical = keras.losses.CategoricalFocalCrossentropy(
            alpha=alpha, from_logits=True, dtype="float64"
        )
        got = float(in_float64(sl.FocalLoss, alpha=alpha)(y, z))
        assert got == pytest.approx(float(categorical(y, z)), rel=1e-6)


def gradient_of(loss, y, z, *weights):
    logits = tf.Variable(z)
    with tf.GradientTape() as tape:
        value = loss(y, logits, *weights)
    return tape.gradient(value, logits).numpy()


@pytest.mark.parametrize("gamma", [0.5, 0.1])
def test_focal_gradient_at_confident_pixels_is_finite_below_gamma_one(gamma):
    """Keras's is NaN there: the slope of x^γ is infinite at 0, and 0 times that is NaN."""
    y = np.array([1.0, 0, 1, 0]).reshape(1, 2, 2, 1)
    z = np.array([100.0, -100, -100, 100]).reshape(1, 2, 2, 1).astype("float32")
    theirs = keras.losses.BinaryFocalCrossentropy(gamma=gamma, from_logits=True)
    assert np.isnan(gradient_of(theirs, y, z)).any()
    ours = gradient_of(sl.FocalLoss(alpha=None, gamma=gamma, from_logits=True), y, z)
    # Right pixels have no gradient, wrong ones that of cross-entropy, over four pixels.
    np.testing.assert_allclose(ours.ravel(), [0, 0, -1 / 4, 1 / 4], atol=1e-6)


@given(p=st.floats(0.01, 0.99), gammas=st.tuples(st.floats(0, 5), st.floats(0, 5)))
@settings(deadline=None, max_examples=50)
def test_focal_falls_as_gamma_rises(p, gammas):
    """By the factor (1 - p)^γ of a pixel."""
    small, large = (one_pixel(sl.FocalLoss, 1, p, alpha=None, gamma=g) for g in sorted(gammas))
    assert large <= small * (1 + 1e-12)
    assert large == pytest.approx((1 - p) ** max(gammas) * -np.log(p), rel=1e-9)


# Cross-entropies of four pixels, k, their weights, and the value by hand; units of log 2.
HARDEST = [
    ([1, 2, 3, 4], 0.5, None, (3 + 4) / 2),
    ([1, 2, 3, 4], 0.25, None, 4),
    ([1, 2, 3, 4], 0.01, None, 4),  # at least one pixel
    ([1, 2, 3, 4], 0.6, None, (3 + 4) / 2),  # 2.4 pixels
    ([1, 2, 3, 4], 0.7, None, (2 + 3 + 4) / 3),  # 2.8 pixels
    ([1, 2, 3, 4], 1.0, None, 10 / 4),
    ([4, 4, 4, 4], 0.5, None, 4),  # among equals, still two
    ([1, 2, 3, 4], 0.5, [9, 1, 1, 1], (9 + 4) / 2),  # the weighted loss is what is hard
    # two pixels count, the harder of them costs 3: the mean of 3 and, twice, of 0 ...
    ([1, 2, 3, 4], 0.5, [1, 0, 1, 0], 3 / 2),
    # ... and with k = 1 of 1, 3, 0, 0, as in cross-entropy
    ([1, 2, 3, 4], 1.0, [1, 0, 1, 0], 4 / 4),
    ([1, 2, 3, 4], 0.5, [0, 0, 0, 0], 0),
]


@pytest.mark.parametrize(("losses", "k", "weights", "want"), HARDEST)
def test_hardest_by_hand(losses, k, weights, want):
    p = 0.5 ** np.array(losses, float).reshape(1, 2, 2, 1)
    w = None if weights is None else np.array(weights, float).reshape(1, 2, 2)
    got = sl.TopKCrossEntropyLoss(k, dtype="float64")(np.ones_like(p), p, w)
    assert float(got) == pytest.approx(want * LOG2, abs=1e-14)


def test_only_the_hardest_have_a_gradient(rng):
    y, z = np.ones((1, 4, 5, 1)), rng.normal(size=(1, 4, 5, 1))
    gradient = gradient_of(in_float64(sl.TopKCrossEntropyLoss, k=0.2), y, z)
    hard = np.argsort(z.ravel())[:4]
    want = np.zeros(20)
    want[hard] = (1 / (1 + np.exp(-z.ravel())) - 1)[hard] / 4
    np.testing.assert_allclose(gradient.ravel(), want, rtol=1e-12)


def test_equal_pixels_share_the_places_that_are_left():
    """Of losses 3, 1, 1, 1, 0 two or three count: the ones have 1/3 or 2/3 of a place each."""
    losses = np.array([3.0, 1, 1, 1, 0]).reshape(1, 1, 5, 1)
    for places, share in ((2, 1 / 3), (3, 2 / 3)):
        p = 0.5**losses
        loss = sl.TopKCrossEntropyLoss(places / 5, dtype="float64")
        assert float(loss(np.ones_like(p), p)) == pytest.approx((2 + places) / places * LOG2)
        want = -np.array([1, share, share, share, 0]) / p.ravel() / places
        np.testing.assert_allclose(gradient_of(loss, np.ones_like(p), p).ravel(), want, rtol=1e-12)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_the_threshold_is_that_of_sorting(data):
    """Also among ties, zeros, tiny and negative numbers."""
    number = st.one_of(
        st.sampled_from([0.0, -0.0, 1.0, 1e-30, -1e-3]), st.floats(-1, 100, width=32)
    )
    x = np.array(data.draw(st.lists(number, min_size=6, max_size=6)), "float32").reshape(1, 6, 1)
    # TensorFlow counts what is below 1.2e-38 as 0, the difference of neighbours below 2e-31, too.
    x[np.abs(x) < 1e-30] = 0
    for m in range(1, 7):
        found = largest_but(tf.constant(x), tf.constant([[[float(m)]]]))
        assert float(found[0, 0, 0]) == np.sort(x.ravel())[-m]


def test_the_hardest_of_the_batch_are_another_choice_than_those_of_each_image():
    p = 0.5 ** np.array([[1.0, 2], [3, 4]]).reshape(2, 1, 2, 1)
    each = sl.TopKCrossEntropyLoss(0.5, dtype="float64")(np.ones_like(p), p)
    whole = sl.TopKCrossEntropyLoss(0.5, per="batch", dtype="float64")(np.ones_like(p), p)
    assert float(each) == pytest.approx((2 + 4) / 2 * LOG2)
    assert float(whole) == pytest.approx((3 + 4) / 2 * LOG2)


@given(k=st.lists(st.floats(0.01, 1), min_size=2, max_size=2), seed=st.integers(0, 100))
@settings(deadline=None, max_examples=50)
def test_the_larger_the_share_the_smaller_the_mean(k, seed):
    rng = np.random.default_rng(seed)
    y, p = (rng.random((1, 3, 3, 1)) > 0.5).astype(float), rng.uniform(0.01, 0.99, (1, 3, 3, 1))
    few, many = (
        float(sl.TopKCrossEntropyLoss(share, dtype="float64")(y, p)) for share in sorted(k)
    )
    assert few >= many * (1 - 1e-12)


def test_poly_changes_the_first_coefficient_of_the_expansion():
    p = 0.7
    series = sum((1 - p) ** j / j for j in range(1, 60))
    got = one_pixel(sl.PolyLoss, 1, p, epsilon=3.0)
    assert got == pytest.approx(series + 3.0 * (1 - p), rel=1e-12)


@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_gradient_of_generalized_cross_entropy_is_that_of_cross_entropy_times_p_to_the_q(q, pair):
    y, z = pair
    p = 1 / (1 + np.exp(-z))
    of_truth = y * p + (1 - y) * (1 - p)
    want = gradient_of(in_float64(sl.BinaryCrossEntropyLoss), y, z) * of_truth**q
    got = gradient_of(in_float64(sl.GeneralizedCrossEntropyLoss, q=q), y, z)
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_generalized_cross_entropy_is_exact_where_p_nears_one():
    """1 - p^q of p = 1 - 1e-9 would be 0 in float32."""
    z = np.full((1, 1, 1, 1), 20.0, "float32")
    got = sl.GeneralizedCrossEntropyLoss(q=0.7, from_logits=True)(np.ones_like(z), z)
    assert float(got) == pytest.approx(np.exp(-20), rel=1e-5)  # (1 - p^q) / q -> 1 - p


# Rows of labels, and the share of class 1 in windows of 3 and of 5 pixels, which end at the border.
WINDOWS = [
    ([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),
    ([1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]),
    ([0, 0, 1, 1], [0, 1 / 3, 2 / 3, 1], [1 / 3, 2 / 4, 2 / 4, 2 / 3]),
    ([1, 0, 0, 0], [1 / 2, 1 / 3, 0, 0], [1 / 3, 1 / 4, 1 / 4, 0]),
]


@pytest.mark.parametrize(("labels", "three", "five"), WINDOWS)
def test_calibration_by_hand(labels, three, five):
    """With logits of 0 the penalty is the mean of τ over two classes, 1/2, wherever τ lies; with
    a logit of 1 for class 1 it is (τ_0 + 1 - τ_1) / 2 = 1 - τ_1."""
    labels = np.array(labels).reshape(1, 1, 4)
    z = np.zeros((1, 1, 4, 2))
    z[..., 1] = 1
    for size, shares in ((3, three), (5, five)):
        loss = in_float64(sl.NeighborAwareCalibrationLoss, neighbor_weight=2.0, size=size)
        cross_entropy = in_float64(sl.CategoricalCrossEntropyLoss)
        flat = float(loss(labels, 0 * z)) - float(cross_entropy(labels, 0 * z))
        assert flat == pytest.approx(2 * 1 / 2, rel=1e-12)
        got = float(loss(labels, z)) - float(cross_entropy(labels, z))
        assert got == pytest.approx(2 * np.mean(1 - np.array(shares)), rel=1e-12)


@pytest.mark.parametrize("spatial", [(5, 6), (3, 4, 5)])
def test_calibration_is_on_all_of_the_logits(spatial, rng):
    """Also on what softmax does not see: the oracle of the contract's tests has only p."""
    y = np.eye(3)[rng.integers(0, 3, spatial)]
    z, w = rng.normal(size=y.shape) * 2 + 1.5, rng.random(spatial)
    loss = in_float64(sl.NeighborAwareCalibrationLoss, neighbor_weight=0.7)
    got = float(loss(y[None], z[None], w[None]))
    assert got == pytest.approx(calibrated(y, z, w, neighbor_weight=0.7, size=3), rel=1e-12)
    assert float(loss(y[None], z[None] + 5, w[None])) > got + 1


def test_calibration_does_not_see_neighbours_of_weight_zero(rng):
    labels, z = rng.integers(0, 3, (1, 4, 6)), rng.normal(size=(1, 4, 6, 3))
    loss = in_float64(sl.NeighborAwareCalibrationLoss, reduction="mean_with_sample_weight")
    w = np.ones(labels.shape)
    w[:, :, 4:] = 0
    assert float(loss(labels, z, w)) == pytest.approx(float(loss(labels[:, :, :4], z[:, :, :4])))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(sl.FocalLoss, alpha=1.1), "`alpha` must .* at most 1"),
        (partial(sl.FocalLoss, alpha=[0.5, 1.1]), r"`alpha\[1\]` must .* at most 1"),
        (partial(sl.FocalLoss, alpha={0: 0.5}), "one number per class"),
        (partial(sl.CategoricalCrossEntropyLoss, label_smoothing=1.1), "`label_smoothing` must"),
        (partial(sl.CategoricalCrossEntropyLoss, class_weights=[0, 0]), "greater than 0"),
        (partial(sl.CategoricalCrossEntropyLoss, class_weights=[1, -1]), "at least 0"),
        (partial(sl.TopKCrossEntropyLoss, k=0), "`k` must .* greater than 0"),
        (partial(sl.TopKCrossEntropyLoss, k=10), "`k` must .* at most 1"),
        (partial(sl.PolyLoss, epsilon=-1.01), "`epsilon` must .* at least -1"),
        (partial(sl.GeneralizedCrossEntropyLoss, q=0), "`q` must .* greater than 0"),
        (partial(sl.GeneralizedCrossEntropyLoss, q=1.01), "`q` must .* at most 1"),
        (partial(sl.NeighborAwareCalibrationLoss, size=2), "`size` must be an odd"),
        (partial(sl.NeighborAwareCalibrationLoss, size=3.0), "`size` must be an odd"),
        (partial(sl.NeighborAwareCalibrationLoss, size=-1), "`size` must be an odd"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        make()


@pytest.mark.parametrize(
    "loss",
    [
        sl.FocalLoss(alpha=[0.2, 0.8]),
        sl.CategoricalCrossEntropyLoss(class_weights=[1, 2]),
    ],
)
def test_settings_that_do_not_fit_the_classes(loss):
    with pytest.raises(ValueError, match=r"one number per class\. Received: 2 numbers for 3"):
        loss(np.zeros((1, 2, 2), int), np.full((1, 2, 2, 3), 1 / 3))


def test_a_weight_for_each_independent_class():
    """As `pos_weight` of PyTorch, which is one number for each class."""
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, (2, 4, 5, 3)), rng.uniform(0.01, 0.99, (2, 4, 5, 3))
    options = {"multilabel": True, "dtype": "float64"}
    beta = np.array([0.5, 1.0, 7.0])
    want = np.mean(-beta * y * np.log(p) - (1 - y) * np.log(1 - p))
    loss = sl.WeightedBinaryCrossEntropyLoss(tuple(beta), **options)
    assert float(loss(y, p)) == pytest.approx(want, rel=1e-12)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert tuple(again.beta) == (0.5, 1.0, 7.0)
    with pytest.raises(ValueError, match=r"`beta` must have one number per class. Received: 2"):
        sl.WeightedBinaryCrossEntropyLoss([1, 2], **options)(y, p)
    with pytest.raises(ValueError, match="`beta` must be a finite number and greater than 0"):
        sl.WeightedBinaryCrossEntropyLoss([1, 0])


def test_smoothed_labels_leave_the_balance_as_it_is():
    """β is the share of background among the labels, not among what they are moved to."""
    y = np.array([1.0, 0, 0, 0]).reshape(1, 2, 2, 1)
    p = np.full(y.shape, 0.5)
    loss = sl.BalancedBinaryCrossEntropyLoss(label_smoothing=0.4, dtype="float64")
    soft = 0.6 * y + 0.2
    want = np.log(2) * np.mean(0.75 * soft + 0.25 * (1 - soft))
    assert float(loss(y, p)) == pytest.approx(want)
