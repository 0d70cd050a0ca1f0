"""What users of other libraries ran into, once each, with the loss here that must not do it.

The heads name the library and the thread where it was met. What the contract's tests cover for
every loss (half precision, replicas, saving, weights through `fit`) is not repeated.
"""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import CASES, make, which

import segloss_ref as sl

BINARY_OVERLAPS = [
    sl.DiceLoss,
    sl.JaccardLoss,
    sl.TverskyLoss,
    sl.FocalTverskyLoss,
    sl.DiceSemimetricLoss,
    sl.JaccardMetricLoss,
    sl.LogCoshDiceLoss,
]
every_overlap = pytest.mark.parametrize("loss", BINARY_OVERLAPS)


def value_and_gradient(loss, y, z, *weight):
    z = tf.convert_to_tensor(z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = loss(y, z, *weight)
    return float(value), tape.gradient(value, z).numpy()


# --- Empty masks ----------------------------------------------------------------------------------


@every_overlap
def test_two_empty_masks_agree(loss):
    """keras.losses.Dice and Tversky: 1.0 and no gradient. MONAI#7883."""
    y = np.zeros((1, 8, 8, 1))
    assert float(loss()(y, y)) == 0
    assert float(loss(smooth=1e-6)(y, y)) == 0


@every_overlap
def test_false_alarms_on_an_empty_mask_are_called_back(loss):
    """SMP multiplies by "is there foreground": no gradient, and false positives are free."""
    y = np.zeros((1, 8, 8, 1))
    value, gradient = value_and_gradient(loss(from_logits=True), y, np.zeros(y.shape, "float32"))
    assert value > 0.1 and (gradient > 0).all()


def test_noise_robust_dice_lets_many_false_alarms_grow():
    """Documented, and in its definition: the slope of Σ p^γ / (Σ p² + s) for equal p changes its
    sign at Σ p² = s γ / (2 - γ), here 64 p² = 3."""
    y = np.zeros((1, 8, 8, 1))
    for p, sign in ((0.2, 1), (0.23, -1)):
        z = np.full(y.shape, np.log(p / (1 - p)))
        loss = sl.NoiseRobustDiceLoss(from_logits=True, dtype="float64")
        assert (np.sign(value_and_gradient(loss, y, z)[1]) == sign).all()


def test_smoothing_of_one_is_not_neutral_for_small_objects():
    """Missing an object of 3 pixels costs 3/4, one of 300 pixels 300/301."""
    y = np.zeros((2, 20, 20, 1))
    y[0].flat[:3], y[1].flat[:300] = 1, 1
    missed = sl.DiceLoss(reduction=None)(y, np.zeros(y.shape))
    np.testing.assert_allclose(missed, [3 / 4, 300 / 301], rtol=1e-6)


@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
def test_an_absent_class_has_no_infinite_weight(weighting):
    """1 / V² of an empty class: NaN in MONAI#371, keras#10890, keras#9395 and others."""
    labels = np.zeros((2, 6, 6), int)
    labels[:, :3] = 1  # class 2 is nowhere
    z = np.random.default_rng(0).normal(size=(2, 6, 6, 3))
    loss = sl.GeneralizedDiceLoss(weighting=weighting, from_logits=True)
    value, gradient = value_and_gradient(loss, labels, z.astype("float32"))
    assert 0 < value < 1 and np.isfinite(gradient).all() and np.abs(gradient).max() > 0


# --- Powers below one, and logarithms of nothing --------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        sl.FocalLoss(gamma=0.5, from_logits=True),  # keras.losses.BinaryFocalCrossentropy: NaN
        sl.FocalTverskyLoss(gamma=0.75, from_logits=True),
        sl.ExponentialLogarithmicLoss(from_logits=True),
        sl.UnifiedFocalLoss(from_logits=True),
        sl.UnifiedFocalLoss(symmetric=False, from_logits=True),
    ],
    ids=lambda loss: loss.name,
)
def test_powers_below_one_have_a_gradient_where_all_is_right(loss):
    y = np.zeros((1, 4, 4, 1))
    y[0, :2] = 1
    for logit in (20.0, 200.0, 1e4):  # certain and right, then certain and wrong
        for z in ((2 * y - 1) * logit, (1 - 2 * y) * logit):
            value, gradient = value_and_gradient(loss, y, z.astype("float32"))
            assert np.isfinite(value) and np.isfinite(gradient).all()


def test_focal_without_focus_or_balance_is_cross_entropy(rng):
    """umbertogriffo/focal-loss-keras#12; tensorflow#61519: alpha that is silently not used."""
    y = (rng.random((2, 5, 5, 1)) > 0.5).astype(float)
    z = rng.normal(size=y.shape) * 3
    options = {"from_logits": True, "dtype": "float64"}
    plain = float(sl.BinaryCrossEntropyLoss(**options)(y, z))
    focal = sl.FocalLoss(alpha=None, gamma=0.0, **options)
    assert float(focal(y, z)) == pytest.approx(plain, rel=1e-14)
    balanced = sl.BalancedBinaryCrossEntropyLoss(0.25, **options)
    focal = sl.FocalLoss(alpha=0.25, gamma=0.0, **options)
    assert float(focal(y, z)) == pytest.approx(float(balanced(y, z)), rel=1e-14)


# --- What a weight weighs, and what a mean is of --------------------------------------------------


@which(lambda case: "binary" in case.loss.takes)
def test_a_weight_map_is_no_factor_of_its_mean(case, rng):
    """keras.losses.Dice(sample_weight=map) is Dice times the map's mean: keras#19637."""
    shape = (1, *(6,) * CASES[case].loss.dimensions[0], 1)
    y = np.zeros(shape)
    y[:, :3, 1:4] = 1
    z = rng.normal(size=shape)
    weights = np.where(y[..., 0] > 0, 3.0, 0.25)
    loss = make(case, "binary", from_logits=True, dtype="float64")
    plain, weighted = float(loss(y, z)), float(loss(y, z, weights))
    assert weighted != pytest.approx(plain * weights.mean(), rel=1e-3)


@which(lambda case: "binary" in case.loss.takes and 2 in case.loss.dimensions)
def test_a_batch_as_long_as_its_images_are_wide(case, rng):
    """8 images of 8 by 8: sizes agree by accident, and nothing may be broadcast by them."""
    y = (rng.random((8, 8, 8, 1)) > 0.6).astype(float)
    z, w = rng.normal(size=y.shape), rng.random((8, 8, 8))
    loss = make(case, "binary", from_logits=True, dtype="float64", reduction=None)
    each = [np.asarray(loss(y[i : i + 1], z[i : i + 1], w[i : i + 1])) for i in range(8)]
    np.testing.assert_allclose(loss(y, z, w), np.concatenate(each), rtol=1e-12)
    np.testing.assert_allclose(loss(y, z, w[..., None]), np.concatenate(each), rtol=1e-12)
    with pytest.raises(ValueError, match=r"y_true\[..., None\]"):
        loss(y[..., 0], z)


def test_a_power_is_taken_of_each_class_and_not_of_their_mean():
    """SMP raises the mean over classes to gamma: SMP#734."""
    y, p = np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 2))
    y[..., 0], p[..., 0] = 1, 1  # found, loss 0
    y[..., 1] = 1  # missed, loss (1 - s / (β 4 + s))^γ
    loss = sl.FocalTverskyLoss(gamma=0.5, smooth=1.0, multilabel=True, dtype="float64")
    missed = (0.7 * 4 / (0.7 * 4 + 1)) ** 0.5
    assert float(loss(y, p)) == pytest.approx(missed / 2, rel=1e-12)


def test_cross_entropy_of_one_channel_is_not_a_softmax_of_one():
    """MONAI#6923: a softmax over one channel is 1 everywhere, and its cross-entropy 0."""
    y, z = np.ones((1, 4, 4, 1)), np.full((1, 4, 4, 1), -3.0)
    both = sl.DiceCrossEntropyLoss(from_logits=True, dtype="float64")
    dice = sl.DiceLoss(from_logits=True, dtype="float64")
    bce = sl.BinaryCrossEntropyLoss(from_logits=True, dtype="float64")
    assert float(both(y, z)) == pytest.approx(float(dice(y, z)) + float(bce(y, z)), rel=1e-14)
    with pytest.raises(ValueError, match="takes several exclusive classes"):
        sl.CategoricalCrossEntropyLoss(from_logits=True)(y, z)


# --- Which error costs more -----------------------------------------------------------------------


def test_alpha_of_tversky_weighs_false_positives():
    """keras.losses.Tversky up to 3.15.1 has the two the other way round: keras#23333."""
    truth = np.zeros((1, 4, 4, 1))
    truth[:, :2] = 1
    more, less = np.ones(truth.shape), np.zeros(truth.shape)
    alarmed = sl.TverskyLoss(alpha=0.9, beta=0.1)
    assert float(alarmed(truth, more)) > float(sl.TverskyLoss(alpha=0.1, beta=0.9)(truth, more))
    assert float(alarmed(truth, less)) < float(sl.TverskyLoss(alpha=0.1, beta=0.9)(truth, less))
    # FP only: TP = 8, FP = 8: 1 - (8 + 1) / (8 + 0.9·8 + 1)
    assert float(alarmed(truth, more)) == pytest.approx(0.9 * 8 / (8 + 0.9 * 8 + 1), rel=1e-6)


def test_beta_above_one_weighs_the_foreground_up():
    """Jadon's repository gives `pos_weight` 1/3 for its beta of 1/4: positives weighed down."""
    y, p = np.ones((1, 2, 2, 1)), np.full((1, 2, 2, 1), 0.5)
    plain, weighted = sl.BinaryCrossEntropyLoss(), sl.WeightedBinaryCrossEntropyLoss(4.0)
    assert float(weighted(y, p)) == pytest.approx(4 * float(plain(y, p)), rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "best"),
    [
        (sl.DiceLoss(smooth=1e-9), 1.0),
        (sl.JaccardLoss(smooth=1e-9), 1.0),
        (sl.DiceLoss(smooth=1e-9, squared=True), 0.3),
        (sl.DiceSemimetricLoss(smooth=1e-9), 0.3),
        (sl.JaccardMetricLoss(smooth=1e-9), 0.3),
        (sl.BinaryCrossEntropyLoss(), 0.3),
    ],
    ids=lambda v: getattr(v, "name", str(v)),
)
def test_what_is_best_for_a_soft_label(loss, best):
    """Label smoothing and plain Dice contradict each other: Wang 2023, SMP#927."""
    y = np.full((1, 4, 4, 1), 0.3)
    candidates = np.linspace(0, 1, 101)
    costs = [float(loss(y, np.full(y.shape, p))) for p in candidates]
    assert candidates[int(np.argmin(costs))] == pytest.approx(best, abs=1e-9)


# --- Activations ----------------------------------------------------------------------------------


def test_the_loss_of_fit_is_the_loss_of_a_direct_call_from_probabilities():
    """Keras goes back to the logits behind a sigmoid layer, and says 60 here and 16 there:
    keras#15271, tensorflow#118313."""
    model = keras.Sequential(
        [keras.Input((2, 2, 1)), keras.layers.Conv2D(1, 1, activation="sigmoid")]
    )
    model.set_weights([np.full((1, 1, 1, 1), 60.0), np.zeros(1)])
    x, y = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1))
    loss = sl.BinaryCrossEntropyLoss()
    model.compile(loss=loss)
    direct = float(loss(y, model.predict(x, verbose=0)))
    assert model.evaluate(x, y, verbose=0) == pytest.approx(direct, rel=1e-6)


def test_masks_of_0_and_255_and_forgotten_logits_are_found_at_the_door():
    """Negative losses: segmentation_models#95, SMP#234, Pytorch-UNet#78; keras#4744."""
    y = np.zeros((1, 2, 2, 1), "uint8")
    y[0, 0] = 255
    with pytest.raises(ValueError, match="255"):
        sl.check_batch(y, np.full(y.shape, 0.5))
    with pytest.raises(ValueError, match="from_logits=True"):
        sl.check_batch(y / 255, np.full(y.shape, 3.0))


# --- Another process ------------------------------------------------------------------------------


def test_a_model_is_loaded_by_a_process_that_never_made_its_loss(tmp_path):
    """keras#5916, tensorflow#32348: "Unknown loss function". Closures lose their settings."""
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(1, 3)])
    loss = sl.TverskyLoss(alpha=0.1, beta=0.9, from_logits=True) + 0.5 * sl.FocalLoss(
        gamma=1.5, from_logits=True
    )
    model.compile(loss=loss, optimizer="sgd")
    model.save(tmp_path / "model.keras")
    code = (
        "import keras, segloss_ref, sys; "
        "loss = keras.models.load_model(sys.argv[1]).loss; "
        "print([p.get_config().get(k) for p in loss.losses for k in ('alpha', 'beta', 'gamma')], "
        "loss.weights)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[0.1, 0.9, None, 0.25, None, 1.5] (1.0, 0.5)"


@pytest.mark.parametrize("kind", ["classes", "instances"])
def test_integer_maps_on_two_replicas(kind):
    """Keras builds a loss on replicas from the mean of their targets: integers become float64."""
    rng = np.random.default_rng(0)
    x = rng.random((4, 8, 8, 1)).astype("float32")
    y = rng.integers(0, 3, (4, 8, 8)).astype("int32")
    loss, classes = (
        (sl.CategoricalCrossEntropyLoss, 3) if kind == "classes" else (sl.ShapeAwareLoss, 1)
    )
    reduce = tf.distribute.ReductionToOneDevice()
    trained = []
    for strategy in (
        tf.distribute.get_strategy(),
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduce),
    ):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            model = keras.Sequential(
                [keras.Input((8, 8, 1)), keras.layers.Conv2D(classes, 3, padding="same")]
            )
            model.compile("sgd", loss(from_logits=True), jit_compile=False)
        model.fit(tf.data.Dataset.from_tensors((x, y)), shuffle=False, verbose=0)
        trained.append(model.get_weights()[0])
    np.testing.assert_allclose(*trained, rtol=1e-4, atol=1e-6)
