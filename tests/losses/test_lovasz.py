"""The Lovász losses and the Wasserstein Dice loss: by hand, and what they must be."""

import itertools
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from cases_lovasz import jaccard_loss_of_mistakes
from hypothesis import given, settings
from hypothesis import strategies as st

import segloss_ref as sl


def value(loss, y, x, w=None):
    """Of one image, a row of pixels; x with an axis of classes if y has one."""
    y, x = np.array(y), np.array(x, float)
    y, x = y.reshape(1, 1, len(y), -1), x.reshape(1, 1, len(x), -1)
    if y.shape != x.shape:
        y = y[..., 0]
    return float(loss(y, x, None if w is None else np.array(w, float).reshape(1, 1, -1)))


softmax_loss = partial(sl.LovaszSoftmaxLoss, dtype="float64")
hinge_loss = partial(sl.LovaszHingeLoss, from_logits=True, dtype="float64")

# Rows of pixels: truth, probabilities, weights, and the loss by hand.
PROBABILITIES = [
    # errors 0.8, 0.5, 0.1, 0 add 1/2 (one of two lost), 2/3 - 1/2 (two wrong of three), 1 - 2/3
    ([1, 1, 0, 0], [0.9, 0.2, 0.5, 0], None, 0.8 / 2 + 0.5 / 6 + 0.1 / 3),
    # only false positives: the first 1/3 (one wrong, union of three), the second 2/4 - 1/3
    ([1, 1, 0, 0], [1, 1, 0.8, 0.2], None, 0.8 / 3 + 0.2 / 6),
    # only false negatives, each 1/2
    ([1, 1, 0, 0], [0.3, 0.6, 0, 0], None, 0.7 / 2 + 0.4 / 2),
    # hard predictions: the Jaccard loss, 1 - 1/3
    ([1, 1, 0, 0], [1, 0, 1, 0], None, 2 / 3),
    # all right, all wrong
    ([1, 1, 0, 0], [1, 1, 0, 0], None, 0),
    ([1, 1, 0, 0], [0, 0, 1, 1], None, 1),
    # empty truth: the first false positive makes the Jaccard loss 1
    ([0, 0, 0, 0], [0.1, 0.7, 0.4, 0], None, 0.7),
    ([0, 0, 0, 0], [0, 0, 0, 0], None, 0),
    # full truth: the mean error
    ([1, 1, 1, 1], [0.1, 0.7, 0.4, 1], None, 1.8 / 4),
    # weights: errors 0.8, 0.5, 0.1 add 3/4 (3 of 1 + 3 lost), 5/6 - 3/4 (union 6), 1 - 5/6
    ([1, 1, 0, 0], [0.9, 0.2, 0.5, 0], [1, 3, 2, 7], 0.8 * 3 / 4 + 0.5 / 12 + 0.1 / 6),
    # a pixel of weight 0 is not there, though its error is the largest
    ([1, 1, 0, 0], [0.9, 0.2, 0.95, 0], [1, 1, 0, 1], 0.8 / 2 + 0.1 / 2),
    ([0, 0, 0, 0], [0.1, 0.7, 0.4, 0], [1, 0, 1, 1], 0.4),
]


@pytest.mark.parametrize(("y", "p", "w", "want"), PROBABILITIES)
def test_probabilities_by_hand(y, p, w, want):
    y = np.array(y, float)
    assert value(softmax_loss(), y, p, w) == pytest.approx(want, abs=1e-15)


# Rows of pixels: truth, logits, weights, and the loss by hand.
LOGITS = [
    # errors 3, 1 of the second and third pixel add 1/2, 2/3 - 1/2; the others are right by 1
    ([1, 1, 0, 0], [2, -2, 0, -2], None, 3 / 2 + 1 / 6),
    # only false positives: 4 · 1/3 + 2 · (2/4 - 1/3)
    ([1, 1, 0, 0], [1, 5, 3, 1], None, 4 / 3 + 2 / 6),
    # only false negatives
    ([1, 1, 0, 0], [-3, -1, -1, -5], None, 4 / 2 + 2 / 2),
    # right, but not by 1: errors 1/2 everywhere, and Δ of all is 1
    ([1, 1, 0, 0], [0.5, 0.5, -0.5, -0.5], None, 1 / 2),
    ([1, 1, 0, 0], [1, 2, -1, -9], None, 0),
    # empty truth: the largest error
    ([0, 0, 0, 0], [-2, 1.5, 0, -1], None, 2.5),
    ([0, 0, 0, 0], [-2, 1.5, 0, -1], [1, 0, 3, 1], 1),
    ([1, 1, 0, 0], [2, -2, 0, -2], [1, 3, 2, 7], 3 * 3 / 4 + 1 / 12),
]


@pytest.mark.parametrize(("y", "z", "w", "want"), LOGITS)
def test_logits_by_hand(y, z, w, want):
    y = np.array(y, float)
    assert value(hinge_loss(), y, z, w) == pytest.approx(want, abs=1e-15)


def test_it_is_the_jaccard_loss_at_every_hard_prediction(rng):
    """The extension extends: all 32 predictions of all 32 masks of five weighted pixels."""
    w = rng.random(5)
    masks = [np.array(m, bool) for m in itertools.product([0, 1], repeat=5)]
    truths, guesses = (np.array(m, float) for m in zip(*itertools.product(masks, masks)))
    batch = [a.reshape(-1, 1, 5, 1) for a in (truths, guesses)]
    weights = np.broadcast_to(w, truths.shape).reshape(-1, 1, 5)
    got = softmax_loss(reduction=None)(*batch, weights)
    want = [jaccard_loss_of_mistakes(y != p, y == 1, w) for y, p in zip(truths, guesses)]
    np.testing.assert_allclose(got, want, atol=1e-14)


@given(seed=st.integers(0, 1000), t=st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_the_hinge_is_convex_and_above_the_jaccard_loss(seed, t):
    rng = np.random.default_rng(seed)
    y, w = (rng.random((1, 3, 4, 1)) > 0.6).astype(float), rng.random((1, 3, 4))
    a, b = rng.normal(size=(2, 1, 3, 4, 1)) * 2
    at = {s: float(hinge_loss()(y, (1 - s) * a + s * b, w)) for s in (0.0, t, 1.0)}
    assert at[t] <= (1 - t) * at[0.0] + t * at[1.0] + 1e-12
    wrong = ((a > 0) != (y == 1)).ravel()
    assert at[0.0] >= jaccard_loss_of_mistakes(wrong, y.ravel() == 1, w.ravel()) - 1e-12


def test_weights_of_two_are_pixels_given_twice(rng):
    y, p = (rng.random(6) > 0.5).astype(float), rng.random(6)
    w = np.array([1, 2, 1, 3, 1, 2])
    twice = value(softmax_loss(), np.repeat(y, w), np.repeat(p, w))
    assert value(softmax_loss(), y, p, w) == pytest.approx(twice, rel=1e-12)
    assert value(softmax_loss(), y, p, 7 * w) == pytest.approx(twice, rel=1e-12)
    z = np.log(p / (1 - p))
    hinges = value(hinge_loss(), np.repeat(y, w), np.repeat(z, w))
    assert value(hinge_loss(), y, z, w) == pytest.approx(hinges, rel=1e-12)


def test_the_hinge_takes_the_logit_of_a_probability(rng):
    y, z = (rng.random(9) > 0.5).astype(float), rng.normal(size=9)
    want = value(hinge_loss(), y, z)
    got = value(sl.LovaszHingeLoss(dtype="float64"), y, 1 / (1 + np.exp(-z)))
    assert got == pytest.approx(want, rel=1e-12)
    # p = 1 counts as 1 - 1e-7: a logit of 16.1
    assert value(sl.LovaszHingeLoss(), [0.0], [1.0]) == pytest.approx(1 + np.log(1e7), rel=1e-5)


def gradient_of(loss, y, x):
    x = tf.Variable(x)
    with tf.GradientTape() as tape:
        result = loss(y, x)
    return tape.gradient(result, x).numpy()


def test_a_light_pixel_before_a_heavy_one_is_not_lost():
    """On an empty truth it takes Δ to 1, and the second adds nothing, though 1e3 + 1e-5 is 1e3."""
    got = value(sl.LovaszSoftmaxLoss(), [0.0, 0.0], [0.9, 0.5], [1e-5, 1e3])
    assert got == pytest.approx(0.9, rel=1e-6)


def test_increments_of_a_large_picture_do_not_cancel():
    """A million pixels: Δ is near 1/2, so its differences in float32 are multiples of 6e-8, and
    each should be about 1e-6."""
    rng = np.random.default_rng(3)
    y = (rng.random((1, 1000, 1000, 1)) > 0.5).astype("float32")
    p = rng.random(y.shape).astype("float32")
    single = gradient_of(sl.LovaszSoftmaxLoss(), y, p)
    double = gradient_of(softmax_loss(), y, p.astype(float))
    np.testing.assert_allclose(single, double, rtol=1e-3)


def test_false_positives_on_an_empty_mask_have_a_gradient():
    """With `"present"` in the binary case they would be free."""
    y, p = np.zeros((1, 1, 4, 1)), np.array([0.1, 0.7, 0.4, 0.0]).reshape(1, 1, 4, 1)
    np.testing.assert_allclose(gradient_of(softmax_loss(), y, p).ravel(), [0, 1, 0, 0])
    z = np.log(p + 0.1)
    np.testing.assert_allclose(gradient_of(hinge_loss(), y, z).ravel(), [0, 1, 0, 0])


# Two pixels of class 0 and two of class 1; class 2 is absent. Errors of class 0: .6, 0, 0, .1;
# of class 1: 0, 0, .7, .1, of class 2: .6, 0, .7, 0.
TRUTH = [0, 0, 1, 1]
PRESENT = np.array([[0.4, 0, 0.6], [1, 0, 0], [0, 0.3, 0.7], [0.1, 0.9, 0]])
FIRST = 0.6 / 2 + 0.1 * (2 / 3 - 1 / 2)
SECOND = 0.7 / 2 + 0.1 / 2


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({}, (FIRST + SECOND) / 2),
        ({"classes": "all"}, (FIRST + SECOND + 0.7) / 3),
        ({"include_background": False}, SECOND),
        ({"include_background": False, "classes": "all"}, (SECOND + 0.7) / 2),
        ({"class_weights": [1, 3, 5]}, (FIRST + 3 * SECOND) / 4),
        ({"class_weights": [1, 3, 5], "classes": "all"}, (FIRST + 3 * SECOND + 5 * 0.7) / 9),
        # no class that is scored is present: all that are scored count, or 0.6 to 0.7 were free
        ({"class_weights": [0, 0, 1]}, 0.7),
    ],
)
def test_present_classes_by_hand(options, want):
    assert value(softmax_loss(**options), TRUTH, PRESENT) == pytest.approx(want, abs=1e-15)


def test_a_class_is_absent_where_its_pixels_weigh_nothing():
    got = value(softmax_loss(), [*TRUTH, 2], [*PRESENT, [0.5, 0.5, 0]], [1, 1, 1, 1, 0])
    assert got == pytest.approx((FIRST + SECOND) / 2, abs=1e-15)


def test_which_classes_are_present_is_asked_of_each_region():
    y = np.array([[[0, 0, 1, 1]], [[2, 2, 2, 2]]])
    p = np.stack([PRESENT[None], np.broadcast_to([0.0, 0.5, 0.5], (1, 4, 3))])
    images = softmax_loss(reduction=None)(y, p)
    np.testing.assert_allclose(images, [(FIRST + SECOND) / 2, 0.5], atol=1e-15)
    whole = softmax_loss(per="batch")(y, p)
    everything = softmax_loss(per="batch", classes="all")(y, p)
    assert float(whole) == pytest.approx(float(everything), rel=1e-14)


def test_lovasz_settings():
    with pytest.raises(ValueError, match=r"`classes` must be one of.*'absent'"):
        sl.LovaszSoftmaxLoss(classes="absent")
    y = np.full((1, 2, 2, 3), 1 / 3)
    with pytest.raises(ValueError, match="several exclusive classes"):
        sl.LovaszHingeLoss()(y, y)


# M, labels of a row of pixels, their probabilities, and the loss by hand, s = 1.
NEAR = [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]
CLASS = np.eye(3)
WASSERSTEIN = [
    # W = 0, 1/2 and hits 0, 1/2: 1 - (1 + 1) / (1 + 1/2 + 1)
    (NEAR, [0, 1], [CLASS[0], CLASS[2]], 1 / 5),
    # the same mistake where all classes are as far apart: W = 1, no hit: 1 - 1 / (0 + 1 + 1)
    (None, [0, 1], [CLASS[0], CLASS[2]], 1 / 2),
    # only false positives, of either class: W = 1
    (NEAR, [0, 0], [CLASS[0], CLASS[1]], 1 / 2),
    # only false negatives: W = 1, hits 0
    (NEAR, [2, 0], [CLASS[0], CLASS[0]], 1 / 2),
    # all right: hits 2
    (NEAR, [1, 2], [CLASS[1], CLASS[2]], 0),
    # nothing but background, seen and missed
    (NEAR, [0, 0], [CLASS[0], CLASS[0]], 0),
    (NEAR, [0, 0], [CLASS[1], CLASS[2]], 2 / 3),
    # half a guess: W = 0.5 · 0.5, one hit of 1 - 1/4: 1 - (3/2 + 1) / (3/2 + 1/4 + 1)
    (NEAR, [1], [[0, 0.5, 0.5]], 1 / 11),
    # classes nearer to the background: M[1, 0] (M[1, 0] - W) = 1/2 · (1/2 - 0), 2 hits are 1/2,
    # and W = 1/2 where the background is class 1: 1 - 3/2 / 2
    ([[0, 0.5], [0.5, 0]], [1, 0], [[0, 1], [0, 1]], 1 / 4),
]


@pytest.mark.parametrize(("distances", "labels", "p", "want"), WASSERSTEIN)
def test_wasserstein_by_hand(distances, labels, p, want):
    loss = sl.GeneralizedWassersteinDiceLoss(distances, dtype="float64")
    assert value(loss, labels, np.array(p)) == pytest.approx(want, abs=1e-15)


def test_with_two_classes_it_is_dice(rng):
    """Of class 1, also with weights."""
    y, z = rng.integers(0, 2, (2, 5, 5)), rng.normal(size=(2, 5, 5, 1))
    w = rng.random(y.shape)
    two = np.concatenate([np.zeros_like(z), z], axis=-1)
    options = {"from_logits": True, "dtype": "float64"}
    got = sl.GeneralizedWassersteinDiceLoss(smooth=0.3, **options)(y, two, w)
    want = sl.DiceLoss(smooth=0.3, **options)(y[..., None], z, w)
    assert float(got) == pytest.approx(float(want), rel=1e-12)


def test_a_near_class_is_a_smaller_mistake():
    labels = [1, 1, 2, 0]
    near = value(sl.GeneralizedWassersteinDiceLoss(NEAR), labels, CLASS[[2, 1, 2, 0]])
    far = value(sl.GeneralizedWassersteinDiceLoss(NEAR), labels, CLASS[[0, 1, 2, 0]])
    assert near < far


@pytest.mark.parametrize(
    ("distances", "message"),
    [
        ([0, 1], "be a matrix"),
        (3, "be a matrix"),
        ([[0, 1]], "be square"),
        ([[0]], "be square"),
        ([[0, 1], [1, 0, 1]], "be square"),
        ([[0, 1], [0.5, 0]], "be symmetric"),
        ([[0, 1], [1, 0.1]], "be .* zeros on the diagonal"),
        ([[0, 2], [2, 0]], "be a finite number and at least 0 and at most 1"),
        ([[0, -1], [-1, 0]], "be a finite number and at least 0"),
        ([[0, float("nan")], [float("nan"), 0]], "be a finite number"),
        ([[0, 0.5, 1], [0.5, 0, 0.8], [1, 0.8, 0]], "put .* no class farther"),
        ([[0, 0], [0, 0]], "put .* no class farther"),
    ],
)
def test_bad_distances(distances, message):
    with pytest.raises(ValueError, match=rf"`distances.*` must {message}.* Received"):
        sl.GeneralizedWassersteinDiceLoss(distances)


def test_arrays_are_distances_and_must_fit_the_classes():
    loss = sl.GeneralizedWassersteinDiceLoss(np.array(NEAR))
    assert loss.distances == tuple(map(tuple, NEAR))
    with pytest.raises(ValueError, match=r"`distances` must .* Received: 3 rows for 4 classes"):
        loss(np.zeros((1, 2, 2), int), np.full((1, 2, 2, 4), 1 / 4))
