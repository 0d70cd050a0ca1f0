"""Losses of distances to a boundary: by hand, what they are least at, and when they have none."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from cases_boundary import al_arif_factor, signed_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops
from scipy import ndimage

import segloss_ref as sl
from segloss_ref.losses.boundary import mean_curve_distance

LN2, LN4, LN43 = np.log(2), np.log(4), np.log(4 / 3)


def one(row):
    """A picture of one row."""
    return np.array(row, "float64").reshape(1, 1, -1, 1)


def in_float64(loss, *args, **options):
    return loss(*args, dtype="float64", **options)


def value(loss, y, p):
    return float(loss(one(y), one(p)))


BOUNDARY = [
    # φ = 2, 1, -1, -2: what is right is -3 of 4 pixels; the rim alone is -1.
    ([0, 0, 1, 1], [0, 0, 1, 1], -3 / 4),
    ([0, 0, 1, 1], [0, 0, 1, 0], -1 / 4),
    # Only false positives: 2 + 1; only false negatives: nothing.
    ([0, 0, 1, 1], [1, 1, 0, 0], 3 / 4),
    ([0, 0, 1, 1], [0, 0, 0, 0], 0),
    ([0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], 0),
    # Truth empty or full: no boundary.
    ([0, 0, 0, 0], [1, 1, 0, 0], 0),
    ([1, 1, 1, 1], [1, 1, 0, 0], 0),
]


@pytest.mark.parametrize(("y", "p", "want"), BOUNDARY)
def test_boundary_by_hand(y, p, want):
    assert value(in_float64(sl.BoundaryLoss), y, p) == pytest.approx(want, abs=1e-15)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    y=arrays(bool, (5, 6), elements=st.booleans(), fill=st.nothing()),
    p=arrays(float, (5, 6), elements=st.floats(0, 1), fill=st.nothing()),
)
def test_boundary_is_least_at_the_mask_and_nowhere_else(y, p):
    """No pixel has φ = 0, as the rim has in the authors' code, so there are no ties."""
    loss = in_float64(sl.BoundaryLoss)
    y, p = y.astype(float)[None, ..., None], p[None, ..., None]
    least, empty = float(loss(y, y)), float(loss(y, np.zeros(y.shape)))
    assert empty == 0
    if y.any() and not y.all():
        assert least < 0
        # |φ| >= 1, so the loss falls short of its least by at least the mean error.
        assert float(loss(y, p)) >= least + np.mean(abs(p - y)) - 1e-12


def test_boundary_gradient_is_the_signed_distance(rng):
    y = (rng.random((2, 6, 7, 1)) > 0.6).astype(float)
    p = tf.Variable(rng.random(y.shape))
    with tf.GradientTape() as tape:
        result = in_float64(sl.BoundaryLoss, reduction="sum")(y, p)
    want = [signed_distance(image > 0.5) / 42 for image in y[..., 0]]
    np.testing.assert_allclose(tape.gradient(result, p)[..., 0], want, rtol=1e-12)


def test_boundary_shifts_by_a_constant_from_the_authors_code_inside(rng):
    """There φ is -(d - 1) inside: the loss is larger by the mean probability inside."""
    y = (rng.random((1, 6, 7, 1)) > 0.6).astype(float)
    p = rng.random(y.shape)
    mask = y[0, ..., 0] > 0
    theirs = (
        ndimage.distance_transform_edt(~mask) - (ndimage.distance_transform_edt(mask) - 1) * mask
    )
    want = np.mean(theirs * p[0, ..., 0]) - np.mean(y * p)
    assert float(in_float64(sl.BoundaryLoss)(y, p)) == pytest.approx(want, rel=1e-12)


HAUSDORFF = [
    # Truth d = 1, 1, 2, 3; prediction d = 2, 1, 1, 2. Wrong: pixel 1, d = 1 and 1.
    ([1, 0, 0, 0], [1, 1, 0, 0], 2.0, (1 + 1) / 4),
    ([1, 0, 0, 0], [1, 1, 0, 0], 1.0, (1 + 1) / 4),
    # Only false positives, farther and farther: pixels 1, 2 with truth 1, 2, prediction 2, 1.
    ([1, 0, 0, 0], [1, 1, 1, 0], 2.0, (1 + 4 + 4 + 1) / 4),
    ([1, 0, 0, 0], [1, 1, 1, 0], 1.0, (1 + 2 + 2 + 1) / 4),
    # Only false negatives: the same two the other way round.
    ([1, 1, 1, 0], [1, 0, 0, 0], 2.0, (1 + 4 + 4 + 1) / 4),
    # Prediction empty: it has no boundary, the truth's 2, 1 inside remain.
    ([1, 1, 0, 0], [0, 0, 0, 0], 2.0, (4 + 1) / 4),
    # Not sure: 0.6 and 0.4 lie on both sides of 1/2, where the truth's rim is too.
    ([1, 0], [0.6, 0.4], 2.0, (0.16 * 2 + 0.16 * 2) / 2),
    # Truth empty: the prediction's 2, 1 inside and nothing outside is wrong.
    ([0, 0, 0, 0], [1, 1, 0, 0], 2.0, (4 + 1) / 4),
    # Neither has a boundary: documented to be free.
    ([0, 0, 0, 0], [0.4, 0.4, 0, 0], 2.0, 0),
    ([0, 0], [1, 1], 2.0, 0),
    # All right.
    ([1, 1, 0, 0], [1, 1, 0, 0], 2.0, 0),
]


@pytest.mark.parametrize(("y", "p", "alpha", "want"), HAUSDORFF)
def test_hausdorff_by_hand(y, p, alpha, want):
    assert value(in_float64(sl.HausdorffDistanceLoss, alpha), y, p) == pytest.approx(want)
    log = in_float64(sl.HausdorffDistanceLoss, alpha, log=True)
    assert value(log, y, p) == pytest.approx(np.log(1 + want))


def test_hausdorff_is_symmetric_for_masks(rng):
    y, p = (rng.random((2, 3, 6, 7, 1)) > 0.6).astype(float)
    loss = in_float64(sl.HausdorffDistanceLoss)
    assert float(loss(y, p)) == pytest.approx(float(loss(p, y)), rel=1e-12)


def test_hausdorff_gradient_takes_the_distances_as_data(rng):
    """2 (p - y) (d_p² + d_y²), as if the distances were given."""
    y = (rng.random((1, 6, 7, 1)) > 0.6).astype(float)
    p = tf.Variable(rng.random(y.shape))
    with tf.GradientTape() as tape:
        result = in_float64(sl.HausdorffDistanceLoss)(y, p)
    d_p, d_y = (signed_distance(np.asarray(a)[0, ..., 0] > 0.5) for a in (p, y))
    want = 2 * (p.numpy() - y)[0, ..., 0] * (d_p**2 + d_y**2) / 42
    np.testing.assert_allclose(tape.gradient(result, p)[0, ..., 0], want, rtol=1e-12)


def test_hausdorff_grows_with_the_distance_of_a_stray_pixel():
    """Which overlap losses do not see; with α = 2 faster than the distance itself."""
    y = np.zeros((1, 16, 16, 1))
    y[0, 2:6, 2:6] = 1
    values = {loss: [] for loss in (sl.HausdorffDistanceLoss(), sl.DiceLoss())}
    for column in (7, 9, 12, 15):
        p = y.copy()
        p[0, 3, column] = 1
        for loss, found in values.items():
            found.append(float(loss(y, p)))
    hausdorff, dice = values.values()
    assert (np.diff(hausdorff) > 0).all()
    # The stray pixel is 2, 4, 7, 10 from the object, and 1 from its own rim.
    np.testing.assert_allclose(np.multiply(hausdorff, 256), [4 + 1, 16 + 1, 49 + 1, 100 + 1])
    np.testing.assert_allclose(dice, dice[0])


DISTANCE_PENALTY = [
    # Logit 0 everywhere, CE = log 2; d = 2, 1 | 1, 2, 3, so 1 + φ = 1, 2 | 3, 2, 1.
    ([1, 1, 0, 0, 0], False, (1 + 2 + 3 + 2 + 1) / 5),
    # Normalized by D - 1 = 1 and 2.
    ([1, 1, 0, 0, 0], True, (1 + 2 + 2 + 1.5 + 1) / 5),
    # A side of thickness 1: D = 1, no penalty there, and not 0/0.
    ([0, 1, 0, 0], False, (2 + 1 + 2 + 1) / 4),
    ([0, 1, 0, 0], True, (2 + 1 + 2 + 1) / 4),
    # One side only: cross-entropy.
    ([0, 0, 0], False, 1),
    ([1, 1, 1], True, 1),
]


@pytest.mark.parametrize(("y", "normalize", "want"), DISTANCE_PENALTY)
def test_distance_penalty_by_hand(y, normalize, want):
    loss = in_float64(sl.DistancePenaltyCrossEntropyLoss, normalize, from_logits=True)
    assert value(loss, y, np.zeros(len(y))) == pytest.approx(want * LN2)


@pytest.mark.parametrize(("y", "p"), [(0, 0.75), (1, 0.25)])
def test_distance_penalty_charges_both_kinds_of_errors_most_at_the_boundary(y, p):
    """One wrong pixel of CE log 4, moved away from the boundary, among right ones of CE log 4/3."""
    truth = np.array([1, 1, 1, 1, 0, 0, 0, 0]) if y else np.array([0, 0, 0, 0, 1, 1, 1, 1])
    right = np.where(truth, 0.75, 0.25)
    values = []
    for place in (3, 2, 1, 0):
        wrong = right.copy()
        wrong[place] = p
        values.append(value(in_float64(sl.DistancePenaltyCrossEntropyLoss), truth, wrong))
    base = value(in_float64(sl.DistancePenaltyCrossEntropyLoss), truth, right)
    # 1 + φ = 4, 3, 2, 1
    np.testing.assert_allclose(np.subtract(values, base) * 8, np.array([4, 3, 2, 1]) * (LN4 - LN43))


def test_distance_penalty_of_exclusive_classes_is_one_map_for_each_object():
    """As published: outside of all objects, and inside of each, put together to one map."""
    labels = np.array([[[0, 0, 0, 1, 1, 2, 2, 2, 2, 0]]])
    # d = 3 2 1 | 1 1 | 1 2 2 1 | 1 to the nearest pixel of another class; D = 3, 1, 2 by class.
    weights = 1 + np.array([0, 1, 2, 0, 0, 1, 0, 0, 1, 2])
    z = np.zeros((1, 1, 10, 3))
    got = in_float64(sl.DistancePenaltyCrossEntropyLoss, from_logits=True)(labels, z)
    assert float(got) == pytest.approx(weights.mean() * np.log(3), rel=1e-12)


AL_ARIF = [
    # Truth {0}, prediction {0, 1, 2}, all on their curves: E = (0 + 1 + 2) / 3.
    ([1, 0, 0, 0], [0.75, 0.75, 0.75, 0.25], (2 * LN43 + (1 + 1) * 2 * LN4) / 4),
    # The other way round: the predicted {0} lies on the true curve, E = 0.
    ([1, 1, 1, 0], [0.75, 0.25, 0.25, 0.25], (2 * LN43 + 2 * LN4) / 4),
    # Missed the object by 2: E = 2, two wrong pixels.
    ([1, 0, 0, 0], [0.25, 0.25, 0.75, 0.25], (2 * LN43 + (1 + 2) * 2 * LN4) / 4),
    # Truth or prediction empty: no curve, cross-entropy.
    ([0, 0, 0, 0], [0.75, 0.25, 0.25, 0.25], (3 * LN43 + LN4) / 4),
    ([1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], (3 * LN43 + LN4) / 4),
    # All right.
    ([1, 1, 0, 0], [0.75, 0.75, 0.25, 0.25], LN43),
]


@pytest.mark.parametrize(("y", "p", "want"), AL_ARIF)
def test_al_arif_by_hand(y, p, want):
    assert value(in_float64(sl.AlArifShapeLoss), y, p) == pytest.approx(want, rel=1e-12)


def test_al_arif_is_cross_entropy_where_nothing_is_wrong(rng):
    y = (rng.random((3, 6, 7, 1)) > 0.5).astype(float)
    p = 0.5 + (y - 0.5) * rng.random(y.shape)
    want = float(in_float64(sl.BinaryCrossEntropyLoss)(y, p))
    assert float(in_float64(sl.AlArifShapeLoss)(y, p)) == pytest.approx(want, rel=1e-14)


def test_al_arif_gradient_takes_the_distance_as_data(rng):
    y = (rng.random((1, 6, 7, 1)) > 0.5).astype(float)
    z = tf.Variable(rng.normal(size=y.shape))
    with tf.GradientTape() as tape:
        result = in_float64(sl.AlArifShapeLoss, from_logits=True)(y, z)
    p = oracles.sigmoid(z.numpy())
    factor = al_arif_factor(y[0, ..., 0], p[0, ..., 0])
    assert factor.max() > 1
    want = factor * (p - y)[0, ..., 0] / 42
    np.testing.assert_allclose(tape.gradient(result, z)[0, ..., 0], want, rtol=1e-12)


def test_mean_curve_distance_looks_at_curves_not_areas():
    true, predicted = np.zeros((2, 1, 7, 7, 1), bool)
    true[0, 1:6, 1:6] = True
    predicted[0, 3, 3] = True  # the centre of a square of 5: inside, and 2 from its curve
    distance = ops.convert_to_numpy(mean_curve_distance(predicted, true))
    assert distance.shape == (1, 1, 1, 1) and distance.item() == 2


BOUNDARY_DOU = [
    # Thin: C = S, so α = max(1 - 2, 0) = 0, the Jaccard loss: 1 wrong, 1 right, s = 1.
    ([1, 1, 0, 0], [1, 0, 0, 0], 1 / (1 + 1 + 1)),
    # Only false positives, and only false negatives: nothing is right.
    ([0, 0, 0, 0], [1, 1, 0, 0], 2 / (2 + 1)),
    ([1, 1, 1, 0], [0, 0, 0, 0], 3 / (3 + 1)),
    # Half sure: 2 · 1/4 + 2 · 1/4 wrong, 2 · 1/2 right.
    ([1, 1, 0, 0], [0.5, 0.5, 0.5, 0.5], 1 / (1 + 1 + 1)),
    # All right; both empty.
    ([1, 1, 0, 0], [1, 1, 0, 0], 0),
    ([0, 0, 0, 0], [0, 0, 0, 0], 0),
]


@pytest.mark.parametrize(("y", "p", "want"), BOUNDARY_DOU)
def test_boundary_dou_by_hand(y, p, want):
    assert value(in_float64(sl.BoundaryDoULoss), y, p) == pytest.approx(want, abs=1e-15)


def square(side, of=32):
    y = np.zeros((1, of, of, 1))
    y[0, 2 : 2 + side, 2 : 2 + side] = 1
    return y


@pytest.mark.parametrize(
    # A square of side a has C = 4 (a - 1), S = a²: 1 - 2 C / S = 0.28, 0.62, and below 0 for 4.
    ("side", "alpha"),
    [(10, 0.28), (20, 0.62), (4, 0.0), (1, 0.0)],
)
def test_boundary_dou_takes_alpha_from_the_true_mask(side, alpha):
    y, p = square(side), square(side)
    p[0, :, 2] = 0  # one column missed
    missed, right = side, side * (side - 1)
    want = missed / (missed + (1 - alpha) * right + 1)
    assert float(in_float64(sl.BoundaryDoULoss)(y, p)) == pytest.approx(want, rel=1e-12)


def test_boundary_dou_bounds_alpha_from_above():
    y, p = square(28), square(28)  # α = 1 - 2 · 108 / 784 = 0.7245
    p[0, :, 2] = 0
    for bound, alpha in ((0.5, 0.5), (0.8, 1 - 216 / 784)):
        want = 28 / (28 + (1 - alpha) * 28 * 27 + 1)
        got = float(in_float64(sl.BoundaryDoULoss, bound)(y, p))
        assert got == pytest.approx(want, rel=1e-12)


def test_boundary_dou_without_alpha_is_jaccard_with_squares(rng):
    y = (rng.random((2, 6, 7, 1)) > 0.5).astype(float)
    p = rng.random(y.shape)
    both = (y * p).sum(axis=(1, 2, 3))
    union = (y**2 + p**2).sum(axis=(1, 2, 3)) - both
    got = in_float64(sl.BoundaryDoULoss, 0.0, 1e-9, reduction=None)(y, p)
    np.testing.assert_allclose(got, 1 - both / union, rtol=1e-9)


def test_boundary_dou_weighs_an_error_more_the_less_boundary_there_is():
    """The same share of a larger object costs more: α takes what is right inside out of sight."""
    values = []
    for side in (5, 10, 20):
        y, p = square(side), square(side)
        p[0, 2 : 2 + side // 5] = 0  # a fifth missed
        values.append(float(in_float64(sl.BoundaryDoULoss, smooth=1e-9)(y, p)))
    assert np.diff(values).min() > 0


def test_boundary_dou_counts_over_the_batch_with_per_batch():
    y, p = (np.concatenate([square(10), square(20)]) for _ in range(2))
    p[:, :, 2] = 0
    alpha = 1 - 2 * (36 + 76) / (100 + 400)
    want = 30 / (30 + (1 - alpha) * (90 + 380) + 1)
    got = in_float64(sl.BoundaryDoULoss, per="batch", reduction=None)(y, p)
    np.testing.assert_allclose(got, [want] * 2, rtol=1e-12)


def test_boundary_dou_learns_from_an_empty_mask():
    """The authors' s = 1e-5 in both places leaves a loss of 1 there, and no gradient."""
    y, z = np.zeros((1, 8, 8, 1)), tf.zeros((1, 8, 8, 1))
    with tf.GradientTape() as tape:
        tape.watch(z)
        result = sl.BoundaryDoULoss(from_logits=True)(y, z)
    # P = 64 / 4 = 16: P / (P + 1), whose derivative by one logit is 2 p · p (1 - p) / 17²
    assert float(result) == pytest.approx(16 / 17)
    np.testing.assert_allclose(tape.gradient(result, z), 0.25 / 17**2, rtol=1e-5)


BY_DISTANCE = [
    sl.BoundaryLoss,
    sl.HausdorffDistanceLoss,
    sl.DistancePenaltyCrossEntropyLoss,
    sl.AlArifShapeLoss,
]


@pytest.mark.parametrize("loss", BY_DISTANCE)
def test_distances_stay_in_the_image_with_per_batch(loss, rng):
    """Images of one size: the mean over the batch is the mean of the images."""
    y = (rng.random((3, 6, 7, 1)) > 0.6).astype(float)
    z = rng.normal(size=y.shape)
    each = in_float64(loss, from_logits=True, reduction=None)(y, z)
    batch = in_float64(loss, from_logits=True, reduction=None, per="batch")(y, z)
    np.testing.assert_allclose(batch, np.full(3, np.mean(each)), rtol=1e-12)


@pytest.mark.parametrize("loss", [*BY_DISTANCE, sl.BoundaryDoULoss])
def test_a_hole_in_the_weights_is_neither_inside_nor_outside(loss, rng):
    """Only pixels that count make a distance, whatever is said of the others."""
    y = (rng.random((2, 8, 9, 1)) > 0.6).astype(float)
    z = rng.normal(size=y.shape)
    w = (rng.random((2, 8, 9)) > 0.3).astype(float)
    loss = in_float64(loss, from_logits=True)
    want = float(loss(y, z, w))
    hole = w[..., None] == 0
    for held in (0.0, 1.0, np.nan):
        got = loss(np.where(hole, held, y), np.where(hole, 5.0, z), w)
        assert float(got) == pytest.approx(want, rel=1e-14)


@pytest.mark.parametrize("loss", [sl.BoundaryLoss, sl.HausdorffDistanceLoss, sl.BoundaryDoULoss])
def test_class_weights_and_background(loss, rng):
    y = np.eye(3)[rng.integers(0, 3, (2, 6, 7))]
    z = rng.normal(size=y.shape)
    w = rng.random((2, 6, 7))
    p = oracles.softmax(z)
    options = {"dtype": "float64", "reduction": None}
    each = [
        np.asarray(loss(**options)(y[..., c:][..., :1], p[..., c:][..., :1], w)) for c in range(3)
    ]
    for factors, choice in (
        ([1, 1, 1], {}),
        ([0, 1, 1], {"include_background": False}),
        ([1, 2, 5], {"class_weights": [1, 2, 5]}),
    ):
        got = loss(from_logits=True, **options, **choice)(y, z, w)
        np.testing.assert_allclose(got, np.average(each, axis=0, weights=factors), rtol=1e-10)


@pytest.mark.parametrize("loss", [sl.BoundaryLoss, sl.HausdorffDistanceLoss])
def test_reduction_by_weights_divides_a_constant_map_out(loss, rng):
    """Losses are compared at equal mean weight; for means over pixels Keras's reduction does it."""
    y = (rng.random((3, 6, 7, 1)) > 0.6).astype(float)
    p = rng.random(y.shape)
    want = float(in_float64(loss)(y, p))
    assert float(in_float64(loss)(y, p, np.full((3, 6, 7), 2.0))) == pytest.approx(2 * want)
    mean = in_float64(loss, reduction="mean_with_sample_weight")
    assert float(mean(y, p, np.full((3, 6, 7), 2.0))) == pytest.approx(want)


BAD = [
    (
        sl.HausdorffDistanceLoss,
        {"alpha": 0.0},
        "`alpha` must be a finite number and greater than 0",
    ),
    (sl.HausdorffDistanceLoss, {"log": 1}, "`log` must be True or False"),
    (sl.DistancePenaltyCrossEntropyLoss, {"normalize": "yes"}, "`normalize` must be True or False"),
    (sl.BoundaryDoULoss, {"max_alpha": 1.5}, "`max_alpha` must be .* at most 1"),
    (sl.BoundaryDoULoss, {"smooth": 0.0}, "`smooth` must be .* greater than 0"),
    (sl.BoundaryLoss, {"class_weights": [-1.0]}, "class_weights"),
]


@pytest.mark.parametrize(("loss", "options", "message"), BAD)
def test_bad_settings(loss, options, message):
    with pytest.raises(ValueError, match=message):
        loss(**options)


def test_a_distance_is_as_good_in_float32_as_the_sum():
    """A 512² picture with one object pixel: distances up to 722, exact before the root."""
    y = np.zeros((1, 512, 512, 1), "float32")
    y[0, 0, 0] = 1
    p = np.ones_like(y)
    want = np.mean(signed_distance(y[0, ..., 0] > 0))
    compiled = tf.function(sl.BoundaryLoss())
    assert float(compiled(y, p)) == pytest.approx(want, rel=1e-6)
    assert keras.backend.standardize_dtype(compiled(y, p).dtype) == "float32"


# --- The size of pixels --------------------------------------------------------------------------

SIDES = {2: (2.0, 0.7), 3: (3.0, 1.0, 0.6)}


def cross_entropy(y, p):
    return -y * np.log(p) - (1 - y) * np.log(1 - p)


def to_the_other_side(mask, sides):
    """Distances to the other side in the unit of `sides`, by SciPy; outside positive."""
    outside, inside = (ndimage.distance_transform_edt(m, sampling=sides) for m in (~mask, mask))
    return outside - inside


def boundary_of(y, p, sides):
    return np.mean(to_the_other_side(y > 0.5, sides) * p)


def hausdorff_of(y, p, sides):
    squares = [to_the_other_side(x > 0.5, sides) ** 2 for x in (y, p)]
    return np.mean((p - y) ** 2 * sum(squares))


def al_arif_of(y, p, sides):
    rims = [m & ~ndimage.binary_erosion(m) for m in (y > 0.5, p > 0.5)]
    distance = ndimage.distance_transform_edt(~rims[0], sampling=sides)[rims[1]].mean()
    return np.mean((1 + distance * ((y > 0.5) != (p > 0.5))) * cross_entropy(y, p))


def penalty_of(y, p, sides):
    signed = to_the_other_side(y > 0.5, sides)
    nearer = np.where(signed > 0, signed.max() - signed, signed - signed.min())
    return np.mean((1 + nearer) * cross_entropy(y, p))


WITH_SPACING = {
    sl.BoundaryLoss: boundary_of,
    sl.HausdorffDistanceLoss: hausdorff_of,
    sl.AlArifShapeLoss: al_arif_of,
    sl.DistancePenaltyCrossEntropyLoss: penalty_of,
}


@pytest.mark.parametrize("loss", WITH_SPACING, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("shape", [(7, 9), (4, 6, 5)])
def test_distances_are_in_the_unit_of_the_spacing(loss, shape, rng):
    sides = SIDES[len(shape)]
    y, p = (rng.random((2, *shape)) > 0.7).astype("float64"), rng.uniform(0.01, 0.99, (2, *shape))
    got = loss(spacing=sides, reduction=None, dtype="float64")
    want = [WITH_SPACING[loss](a, b, sides) for a, b in zip(y, p)]
    np.testing.assert_allclose(got(y[..., None], p[..., None]), want, rtol=1e-6)
    # One number is that of every axis.
    one, each = (loss(spacing=s, dtype="float64") for s in (0.5, (0.5,) * len(shape)))
    assert float(one(y[..., None], p[..., None])) == float(each(y[..., None], p[..., None]))


@pytest.mark.parametrize("loss", WITH_SPACING, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("spacing", [0, -1, (1, 0), "mm", (1, float("nan"))])
def test_a_spacing_is_a_positive_number_for_each_axis(loss, spacing):
    with pytest.raises(ValueError, match="`spacing"):
        loss(spacing=spacing)


@pytest.mark.parametrize("loss", WITH_SPACING, ids=lambda loss: loss.__name__)
def test_a_spacing_of_other_axes_is_refused(loss):
    with pytest.raises(
        ValueError, match=r"each of the 2 axes of space. Received: \(1.0, 1.0, 2.0\)"
    ):
        loss(spacing=(1, 1, 2))(one([0, 1]), one([0.5, 0.5]))
