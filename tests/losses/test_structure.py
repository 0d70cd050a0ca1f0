"""Active contours and structural similarity: by hand, and against scikit-image and TensorFlow."""

import cases_skeleton as oracle
import numpy as np
import pytest
import tensorflow as tf
from skimage.metrics import structural_similarity

import segloss_ref as sl


def value(loss, y, p, *args):
    """The loss of one picture without channels, of two or three dimensions."""
    return float(loss(np.asarray(y, float)[None, ..., None], np.asarray(p)[None, ..., None], *args))


step = np.array([[0.0, 0, 1, 1]] * 2)
pixel = np.zeros((3, 3))
pixel[1, 1] = 1
block = np.zeros((7, 9))
block[1:5, 2:8] = 1  # 4 x 6
half_volume = np.zeros((2, 2, 4))
half_volume[..., 2:] = 1

# Truth, prediction, λ, loss by hand: (length + λ · region) / pixels.
CONTOUR_BY_HAND = {
    "perfect step": (step, step, 1.0, (2 + 0) / 8),
    "wrong everywhere": (step, 1 - step, 1.0, (2 + 8) / 8),
    "wrong everywhere, λ = 5": (step, 1 - step, 5.0, (2 + 5 * 8) / 8),
    "both empty": (0 * step, 0 * step, 1.0, 0),
    "both full": (1 + 0 * step, 1 + 0 * step, 1.0, 0),
    "only false positives": (0 * step, step, 1.0, (2 + 4) / 8),
    "only false negatives": (step, 0 * step, 1.0, (0 + 4) / 8),
    "halves": (step, 0 * step + 0.5, 1.0, (0 + 4) / 8),
    # a ramp is as long as a step: each of 2 rows climbs by 1; region: 0 + 1/4 + 1/4 + 0 in each
    "ramp": (step, np.array([[0, 0.25, 0.75, 1]] * 2), 1.0, (2 + 1) / 8),
    # y² where p = 0
    "soft truth": (0 * step + 0.5, 0 * step, 1.0, 1 / 4),
    # differences 1 above and to the left of it, 1 and 1 at the pixel: 1 + 1 + √2
    "one pixel": (pixel, pixel, 1.0, (2 + 2**0.5) / 9),
    # 4 + 6 above and to the left; along its last row and column 4 + 6 - 2, and √2 in the corner
    "block": (block, block, 1.0, (10 + 8 + 2**0.5) / 63),
    # a wall of 2 x 2
    "volume": (half_volume, half_volume, 1.0, 4 / 16),
    "one-pixel image": ([[1.0]], [[0.25]], 1.0, 3 / 4),
}


@pytest.mark.parametrize("name", CONTOUR_BY_HAND)
def test_active_contour_by_hand(name):
    y, p, region_weight, want = CONTOUR_BY_HAND[name]
    loss = sl.ActiveContourLoss(region_weight, dtype="float64")
    assert value(loss, y, p) == pytest.approx(want, abs=1e-15)


def test_the_region_term_of_a_hard_mask_is_the_mean_error(rng):
    y, p = rng.random((2, 6, 7))
    y = y.round()
    with_region = value(sl.ActiveContourLoss(1.0, dtype="float64"), y, p)
    length = value(sl.ActiveContourLoss(0.0, dtype="float64"), y, p)
    assert with_region - length == pytest.approx(np.abs(y - p).mean(), rel=1e-12)


@pytest.mark.parametrize(("radius", "predicted"), [(1, False), (1.5, False), (4, True), (8, True)])
def test_small_objects_are_not_worth_their_contour(radius, predicted):
    """Documented: 2 π r against λ π r², so from r = 2 on where λ = 1."""
    y = (np.hypot(*(np.indices((21, 21)) - 10)) <= radius).astype(float)
    loss = sl.ActiveContourLoss()
    assert (value(loss, y, y) < value(loss, y, 0 * y)) == predicted


@pytest.mark.parametrize("difference", [0.0, 1e-30, 1e-20, 1e-8, 1e-3])
def test_the_slope_of_the_length_is_finite_everywhere(difference):
    """The root has an infinite one at 0. Flat: only the region pulls, by 1/64 each pixel."""
    y = np.zeros((1, 8, 8, 1))
    y[:, :4] = 1
    p = tf.Variable(difference * (np.indices(y.shape).sum(axis=0) % 2), dtype="float32")
    with tf.GradientTape() as tape:
        result = sl.ActiveContourLoss()(y, p)
    gradient = tape.gradient(result, p).numpy()
    # A pixel is in three lengths, with slopes of at most √2, 1 and 1, and in its own region term.
    assert np.isfinite(gradient).all() and np.abs(gradient).max() < 4.5 / 64
    if difference == 0:
        np.testing.assert_allclose(gradient, (1 - 2 * y) / 64)
    if difference == 1e-3:  # all differences pull
        assert np.abs(gradient).max() > 3 / 64


def test_a_weight_map_of_mean_two_doubles_the_contour_loss(rng):
    y, p = rng.random((2, 5, 6))
    loss = sl.ActiveContourLoss(dtype="float64")
    doubled = value(loss, y, p, np.full((1, 5, 6), 2.0))
    assert doubled == pytest.approx(2 * value(loss, y, p), rel=1e-14)


def correlation(**options):
    """A window that weighs all its pixels the same."""
    return sl.StructuralSimilarityLoss(3, 1e6, dtype="float64", **options)


def test_correlation_by_hand():
    """Two pixels, truth 0 and 1: mean 1/2, deviation 1/2."""
    y = [[0.0, 1.0]]
    # p = 1/4, 3/4: deviation 1/4. e = |-.49/.51 - (-.24/.26)| at the first, |1 - 1| at the other.
    e = 0.49 / 0.51 - 0.24 / 0.26
    assert value(correlation(), y, [[0.25, 0.75]]) == pytest.approx(e * np.log(4 / 3), rel=1e-9)
    # the other way round: both count. e = |-.49/.51 - .26/.26| and |1 - (-.24/.26)|
    e = np.array([0.49 / 0.51 + 1, 1 + 0.24 / 0.26])
    assert value(correlation(), y, [[0.75, 0.25]]) == pytest.approx(np.mean(e) * np.log(4))
    # β = 0.99: only the larger one does; β = 1: none
    assert value(correlation(beta=0.99), y, [[0.75, 0.25]]) == pytest.approx(e[0] * np.log(4))
    assert value(correlation(beta=1.0), y, [[0.75, 0.25]]) == 0
    # pixel weights weigh the mean: (3 e_1 + e_2) / 4
    got = value(correlation(), y, [[0.75, 0.25]], np.array([[[3.0, 1.0]]]))
    assert got == pytest.approx((3 * e[0] + e[1]) / 4 * np.log(4))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.9, 1.0])
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_correlation_does_not_see_what_is_flat(y, p):
    """Documented: that is what the cross-entropy beside it is for."""
    flat = np.ones((6, 7))
    # In single precision too: no cancellation makes a structure of rounding.
    loss = sl.StructuralSimilarityLoss()
    assert value(loss, y * flat, (p * flat).astype("float32")) == pytest.approx(0, abs=1e-4)
    assert value(correlation(), [[y]], [[p]]) == 0


def test_correlation_per_batch_has_one_largest_error(rng):
    y, p = rng.random((2, 2, 6, 7))
    y = y.round()
    p[1] = 0.98 * y[1] + 0.01 * p[1]  # nearly right: too little to count beside the other image
    e = [
        np.abs(oracle.standardized(a, 5, 1.0) - oracle.standardized(b, 5, 1.0))
        for a, b in zip(y, p)
    ]
    hard = np.stack(e) > 0.2 * np.max(e)
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    want = np.sum(hard * e * entropy) / hard.sum()
    options = {"window": 5, "sigma": 1.0, "beta": 0.2, "reduction": None, "dtype": "float64"}
    loss = sl.StructuralSimilarityLoss(per="batch", **options)
    np.testing.assert_allclose(loss(y[..., None], p[..., None]), [want, want], rtol=1e-10)
    each = sl.StructuralSimilarityLoss(**options)(y[..., None], p[..., None])
    assert np.asarray(each)[1] > 0 and hard[1].sum() == 0


C1, C2 = 0.01**2, 0.03**2


FORMS = {
    "correlation": sl.StructuralSimilarityLoss,
    "ssim": sl.SSIMLoss,
    "ms-ssim": sl.MultiScaleSSIMLoss,
}


def similarity(form, **options):
    return FORMS[form](dtype="float64", **options)


# Truth, prediction, 1 - SSIM by hand, with a window that weighs all its pixels the same.
SSIM_BY_HAND = {
    # one pixel: c s = 1, 1 - l = (1 - 1/2)² / (1 + 1/4 + C1)
    "one pixel": ([[1.0]], [[0.5]], 0.25 / (1.25 + C1)),
    "empty, full prediction": ([[0.0] * 3], [[1.0] * 3], 1 / (1 + C1)),
    "full, empty prediction": ([[1.0] * 3], [[0.0] * 3], 1 / (1 + C1)),
    "both empty": ([[0.0] * 3], [[0.0] * 3], 0),
    # means equal, so l = 1; variances 1/4, covariance -1/4: 1 - (C2 - 1/2) / (1/2 + C2)
    "mirrored": ([[0.0, 1.0]], [[1.0, 0.0]], 1 / (0.5 + C2)),
    # l = 1; deviations 1/2 and 1/4, covariance 1/8: 1 - (1/4 + C2) / (5/16 + C2)
    "faint": ([[0.0, 1.0]], [[0.25, 0.75]], 1 / 16 / (5 / 16 + C2)),
}


@pytest.mark.parametrize("name", SSIM_BY_HAND)
def test_ssim_by_hand(name):
    y, p, want = SSIM_BY_HAND[name]
    loss = similarity("ssim", window=3, sigma=1e6)
    if np.size(y) == 3:
        loss = similarity("ssim", window=5, sigma=1e6)
    assert value(loss, y, p) == pytest.approx(want, rel=1e-9, abs=1e-15)


def interior(shape, margin):
    """Weights that leave only pixels with a whole window in the mean, and none out."""
    w = np.full(shape, 1e-14)
    w[tuple(slice(margin, n - margin) for n in shape)] = 1
    return w[None]


@pytest.mark.parametrize("shape", [(20, 23), (13, 14, 12)])
def test_ssim_equals_skimage_where_windows_are_whole(shape, rng):
    y, p = rng.random((2, *shape))
    y = y.round()
    want = structural_similarity(
        y, p, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    got = value(similarity("ssim"), y, p, interior(shape, 5))
    assert got == pytest.approx(1 - want, rel=1e-9)


def test_ssim_equals_tensorflow_where_windows_are_whole(rng):
    y, p = rng.random((2, 1, 24, 20, 1))
    y = y.round()
    want = 1 - float(tf.image.ssim(tf.constant(y, "float32"), tf.constant(p, "float32"), 1.0)[0])
    got = float(sl.SSIMLoss()(y, p, interior((24, 20), 5)))
    assert got == pytest.approx(want, rel=1e-5)


def test_ms_ssim_by_hand():
    """Flat pictures, and one pixel: c s = 1 at every scale, and l at the last one."""
    for y, p in ((np.ones((1, 1)), 0.5), (np.ones((37, 50)), 0.5), (np.zeros((3, 4, 5)), 0.01)):
        a, b = y.flat[0], p
        luminance = (2 * a * b + C1) / (a**2 + b**2 + C1)
        got = value(similarity("ms-ssim"), y, 0 * y + p)
        assert got == pytest.approx(1 - luminance**0.1333, rel=1e-9)


def test_a_scale_without_similarity_leaves_the_others_their_pull():
    """Documented: mirrored stripes have c s < 0 at the finest scale, which counts as 0.01."""
    y = np.tile([0.0, 1.0], (8, 4))
    p = tf.Variable((0.9 - 0.8 * y)[None, ..., None])
    with tf.GradientTape() as tape:
        result = similarity("ms-ssim")(y[None, ..., None], p)
    # Blocks of two are flat, at 1/2 in both: all other scales are 1.
    assert float(result) == pytest.approx(1 - 0.01**0.0448, rel=1e-9)
    assert np.isfinite(tape.gradient(result, p)).all()


def test_ms_ssim_is_near_that_of_tensorflow_on_a_large_picture(rng):
    """It differs at the edges, where TensorFlow scores nothing: a frame of 80 pixels of 512."""
    noise = rng.normal(size=(512, 512))
    y = (np.hypot(*(np.indices((512, 512)) - 255.5)) % 60 < 30).astype("float32")
    p = np.clip(0.8 * y + 0.1 + 0.05 * noise, 0, 1).astype("float32")
    want = 1 - float(tf.image.ssim_multiscale(y[None, ..., None], p[None, ..., None], 1.0)[0])
    got = value(sl.MultiScaleSSIMLoss(), y, p)
    assert got == pytest.approx(want, rel=0.03) and want > 0.02


@pytest.mark.parametrize("form", ["ssim", "ms-ssim"])
def test_similarity_is_symmetric_and_exact_near_the_truth(form, rng):
    y, p = rng.random((2, 9, 11))
    loss = similarity(form)
    assert value(loss, y, p) == pytest.approx(value(loss, p, y), rel=1e-12)
    near = np.clip(y + 1e-3 * (p - 0.5), 0, 1)
    single = value(FORMS[form](), y, near.astype("float32"))
    double = value(loss, y, near.astype("float32"))
    assert single == pytest.approx(double, rel=2e-3)  # y is rounded by 6e-8 of about 5e-4
    assert 0 < double < 1e-4


@pytest.mark.parametrize("form", ["ssim", "ms-ssim"])
def test_similarity_per_batch_is_the_mean_over_its_pixels(form, rng):
    y, p, w = rng.random((3, 2, 8, 8))
    p = 0.7 * y + 0.3 * p
    loss = similarity(form, per="batch", reduction=None, window=3)
    got = np.asarray(loss(y[..., None], p[..., None], w))
    each = np.asarray(similarity(form, reduction=None, window=3)(y[..., None], p[..., None], w))
    assert got[0] == got[1]
    if form == "ssim":
        np.testing.assert_allclose(got[0], np.average(each, weights=w.sum((1, 2))), rtol=1e-12)
    else:  # a product of means, not a mean of products
        assert each.min() < got[0] < each.max()


@pytest.mark.parametrize("form", ["correlation", "ssim", "ms-ssim"])
def test_background_and_class_weights(form, rng):
    y = np.eye(3)[rng.integers(0, 3, (1, 6, 7))]
    z = rng.normal(size=y.shape)

    def of(weights, **options):
        loss = similarity(form, class_weights=weights, from_logits=True, **options)
        return float(loss(y, z))

    each = [of(weights) for weights in np.eye(3)]
    assert of(None) == pytest.approx(np.mean(each), rel=1e-14)
    assert of(None, include_background=False) == pytest.approx(np.mean(each[1:]), rel=1e-14)
    assert of([1, 2, 5]) == pytest.approx(np.average(each, weights=[1, 2, 5]), rel=1e-14)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 4}, "`window` must be an odd whole number, at least 1. Received: 4"),
        ({"window": 3.0}, "`window` must be an odd"),
        ({"window": -3}, "`window` must be an odd"),
        ({"window": True}, "`window` must be an odd"),
        ({"sigma": 0.0}, "`sigma` must"),
        ({"beta": 1.5}, "`beta` must"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        sl.StructuralSimilarityLoss(**settings)


def test_bad_region_weight():
    with pytest.raises(ValueError, match="`region_weight` must be a finite number and at least 0"):
        sl.ActiveContourLoss(-0.5)
