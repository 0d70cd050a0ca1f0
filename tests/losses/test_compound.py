"""Sums of losses are their parts, wherever a loss can be used; those with a name, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import segloss_ref as sl


@pytest.fixture
def batch(rng):
    y = (rng.random((3, 6, 6, 1)) > 0.6).astype("float32")
    return y, rng.normal(size=y.shape).astype("float32"), rng.random((3, 6, 6))


def parts(**options):
    return sl.DiceLoss(from_logits=True, **options), sl.BinaryCrossEntropyLoss(
        from_logits=True, **options
    )


@pytest.mark.parametrize(
    "reduction", ["sum", "sum_over_batch_size", "mean_with_sample_weight", None]
)
def test_is_its_parts(batch, reduction):
    dice, bce = parts(reduction=reduction)
    want = np.asarray(dice(*batch)) + 0.5 * np.asarray(bce(*batch))
    for loss in (dice + 0.5 * bce, dice + bce * 0.5, sl.CompoundLoss([dice, bce], [1, 0.5])):
        np.testing.assert_allclose(loss(*batch), want, rtol=1e-6)


PAIRS = {
    "maps of their own": [
        sl.ShapeAwareLoss(from_logits=True),
        sl.ShapeAwareLoss(w0=30.0, sigma=1.0, from_logits=True),
    ],
    "surroundings of their own": [
        sl.ShapeAwareLoss(class_weights=(1, 3), from_logits=True),
        sl.BlobLoss(sl.DiceLoss(from_logits=True), max_blobs=3),
    ],
    "regions of their own": [
        sl.DiceLoss(from_logits=True),
        sl.DiceLoss(per="batch", from_logits=True),
    ],
    "pixels of their own": [
        sl.DiceLoss(from_logits=True),
        sl.BinaryCrossEntropyLoss(ignore_class=3, from_logits=True),
        sl.TopKCrossEntropyLoss(ignore_class=(1, 3), from_logits=True),
    ],
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("compiled", [False, True])
def test_parts_share_nothing_that_differs(pair, compiled, rng):
    losses, labels = PAIRS[pair], rng.integers(0, 4, (3, 6, 6, 1))
    if losses[0].truth == "mask":
        labels = np.where(labels > 1, 0, labels)
    z, weight = rng.normal(size=labels.shape).astype("float32"), rng.random((3, 6, 6))
    total = tf.function(sum(losses)) if compiled else sum(losses)
    want = sum(float(loss(labels, z, weight)) for loss in losses)
    assert float(total(labels, z, weight)) == pytest.approx(want, rel=1e-5)


def test_sums_nest_flat(batch):
    dice, bce = parts()
    loss = 2 * (dice + 3 * bce) + dice
    assert loss.losses == (dice, bce, dice) and loss.weights == (2.0, 6.0, 1.0)
    assert loss.name == "dice_binary_cross_entropy_dice"


def test_call_gives_one_value_per_image(batch):
    dice, bce = parts()
    y, z, _ = batch
    want = np.asarray(dice.call(y, z)) + np.asarray(bce.call(y, z))
    assert want.shape == (3,)
    np.testing.assert_allclose((dice + bce).call(y, z), want)


def test_saved_and_loaded_in_a_model(batch, tmp_path):
    y, x, _ = batch
    dice, bce = parts()
    model = keras.Sequential(
        [keras.Input((None, None, 1)), keras.layers.Conv2D(1, 3, padding="same")]
    )
    model.compile(loss=dice + 0.25 * bce, optimizer="sgd")
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == model.loss.get_config()
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sl.CompoundLoss([]), "at least one"),
        (lambda: sl.CompoundLoss([keras.losses.Dice()]), "of this package"),
        (lambda: sl.DiceLoss() + sl.BinaryCrossEntropyLoss(from_logits=True), "same `from_logits`"),
        (lambda: sl.DiceLoss(reduction="sum") + sl.DiceLoss(), "same `reduction`"),
        (lambda: sl.DiceLoss(dtype="float64") + sl.DiceLoss(), "same `dtype`"),
        (lambda: sl.DiceLoss() + sl.ShapeAwareLoss(), "same `truth`"),
        (lambda: -1 * sl.DiceLoss(), "`weights` must be"),
        (lambda: sl.CompoundLoss([sl.DiceLoss()], [1, 2]), "one number per loss"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_no_loss_cannot_be_added():
    with pytest.raises(TypeError):
        sl.DiceLoss() + 1


def test_parts_keep_their_own_region_and_ignored_class(batch):
    y, z, w = batch
    y[:, 0] = 255
    dice = sl.DiceLoss(from_logits=True, per="batch", ignore_class=255)
    bce = sl.BinaryCrossEntropyLoss(from_logits=True, ignore_class=255)
    want = float(dice(y, z, w)) + float(bce(y, z, w))
    assert float((dice + bce)(y, z, w)) == pytest.approx(want, rel=1e-6)
    # For a part that does not ignore the label, it is out of range.
    unaware = sl.BinaryCrossEntropyLoss(from_logits=True)
    with pytest.raises(ValueError, match="values from 0 to 255"):
        (dice + unaware)(y, z, w)


# The compounds with a name, and the sums that they are. Classes decide which cross-entropy it is.


def cross_entropy(kind):
    if kind == "exclusive":
        return sl.CategoricalCrossEntropyLoss
    return sl.BinaryCrossEntropyLoss


def truth_and_logits(rng, kind, spatial):
    shape = (3, *spatial, 1 if kind == "binary" else 4)
    z = rng.normal(size=shape)
    if kind == "exclusive":
        return np.eye(4)[rng.integers(0, 4, shape[:-1])], z
    return (rng.random(shape) > 0.6).astype(float), z


NAMED = {
    "dice + ce": (
        {},
        sl.DiceCrossEntropyLoss,
        lambda kind, o: sl.DiceLoss(**o) + cross_entropy(kind)(**o),
    ),
    "dice + ce, weighted": (
        {"dice_weight": 0.5, "cross_entropy_weight": 3, "smooth": 0.1},
        sl.DiceCrossEntropyLoss,
        lambda kind, o: 0.5 * sl.DiceLoss(0.1, **o) + 3 * cross_entropy(kind)(**o),
    ),
    "dice + focal": (
        {},
        sl.DiceFocalLoss,
        lambda kind, o: sl.DiceLoss(**o) + sl.FocalLoss(**o),
    ),
    "dice + focal, weighted": (
        {"focal_weight": 20.0, "dice_weight": 0, "alpha": None, "gamma": 0.5},
        sl.DiceFocalLoss,
        lambda kind, o: 0 * sl.DiceLoss(**o) + 20 * sl.FocalLoss(None, 0.5, **o),
    ),
    "dice + top k": (
        {"k": 0.3},
        sl.DiceTopKLoss,
        lambda kind, o: sl.DiceLoss(**o) + sl.TopKCrossEntropyLoss(0.3, **o),
    ),
}


@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("kind", ["binary", "exclusive", "independent"])
@pytest.mark.parametrize("spatial", [(5, 6), (3, 4, 5)])
@pytest.mark.parametrize("per", ["image", "batch"])
def test_named_compounds_are_their_sums(named, kind, spatial, per, rng):
    settings, loss, parts = NAMED[named]
    y, z = truth_and_logits(rng, kind, spatial)
    options = {"from_logits": True, "dtype": "float64", "per": per, "reduction": None}
    options["multilabel"] = kind == "independent"
    w = rng.random(y.shape[:-1])
    got = np.asarray(loss(**settings, **options)(y, z, w))
    np.testing.assert_allclose(got, parts(kind, options)(y, z, w), rtol=1e-13)
    assert got.shape == (3,) and got.min() > 0


def test_background_is_left_out_of_dice_alone(rng):
    y, z = truth_and_logits(rng, "exclusive", (5, 6))
    options = {"from_logits": True, "dtype": "float64"}
    dice = sl.DiceLoss(include_background=False, **options)
    want = dice + sl.CategoricalCrossEntropyLoss(**options)
    got = sl.DiceCrossEntropyLoss(include_background=False, **options)(y, z)
    assert float(got) == pytest.approx(float(want(y, z)), rel=1e-14)


@pytest.mark.parametrize("loss", [sl.DiceCrossEntropyLoss, sl.DiceFocalLoss, sl.DiceTopKLoss])
def test_one_class_has_a_cross_entropy(loss, batch):
    """MONAI's once took the softmax of one channel, 1 everywhere, and its loss, 0 (issue 6923)."""
    y, z, _ = batch
    alone = loss(dice_weight=0.0, from_logits=True)
    logits = tf.Variable(z)
    with tf.GradientTape() as tape:
        value = alone(y, logits)
    assert float(value) > 0.1 and np.abs(tape.gradient(value, logits).numpy()).max() > 1e-4


def test_a_named_compound_stays_whole_in_a_sum(batch):
    named = sl.DiceCrossEntropyLoss(from_logits=True)
    loss = 2 * named + sl.FocalLoss(from_logits=True)
    assert loss.losses[0] is named and loss.name == "dice_cross_entropy_focal"
    want = 2 * float(named(*batch)) + float(loss.losses[1](*batch))
    assert float(loss(*batch)) == pytest.approx(want, rel=1e-6)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()


def test_the_configuration_of_a_named_compound_is_flat():
    config = sl.DiceTopKLoss(k=0.2, from_logits=True, per="batch", ignore_class=255).get_config()
    assert "losses" not in config
    assert all(x is None or isinstance(x, (str, int, float)) for x in config.values())


# Rows of 4 pixels, from probabilities: truth, prediction, loss, value by hand.
LOG2, LOG4 = np.log(2), np.log(4)
BY_HAND = [
    # Combo, all halves: log(2) / 2 · 1/2 + (1 - (2·1 + 1) / (2 + 2 + 1)) / 2
    ([1, 1, 0, 0], [0.5] * 4, sl.ComboLoss(), LOG2 / 4 + 1 / 5),
    # only false negatives: β on two of four pixels, 0.8 · (2/4 · log 4) · 1/2, and Dice
    # 1 - (2 · 2/4 + 1) / (2 + 2/4 + 1)
    ([1, 1, 0, 0], [0.25, 0.25, 0, 0], sl.ComboLoss(0.5, 0.8), 0.2 * LOG4 + (1 - 2 / 3.5) / 2),
    # only false positives: 1 - β on two of four, 0.2 · (2/4 · log 4) · 1/2, and Dice
    # 1 - (0 + 1) / (0 + 2 · 3/4 + 1)
    ([0, 0, 0, 0], [0.75, 0.75, 0, 0], sl.ComboLoss(0.5, 0.8), 0.05 * LOG4 + 0.3),
    # Exponential logarithmic, Dice = (2·1 + 1) / (2 + 2 + 1); all weights (4 / 2)^½
    ([1, 1, 0, 0], [0.5] * 4, sl.ExponentialLogarithmicLoss(),
     0.8 * np.log(5 / 3) ** 0.3 + 0.2 * 2**0.5 * LOG2**0.3),
    # one of four foreground and missed by half: Dice = (2 · 1/2 + 1) / (1 + 1/2 + 1), w = 4^½
    ([1, 0, 0, 0], [0.5, 0, 0, 0], sl.ExponentialLogarithmicLoss(0.8, 0.2, 1, 1),
     0.8 * np.log(2.5 / 2) + 0.2 * 2 * LOG2 / 4),
    # no foreground, one false positive of 1/2: Dice = 1 / (1/2 + 1), background has w = 1
    ([0, 0, 0, 0], [0.5, 0, 0, 0], sl.ExponentialLogarithmicLoss(0.8, 0.2, 1, 1),
     0.8 * np.log(1.5) + 0.2 * LOG2 / 4),
    # both empty
    ([0, 0, 0, 0], [0, 0, 0, 0], sl.ExponentialLogarithmicLoss(), 0),
    # Modified focal, γ = 1/2: a missed pixel of four, 0.6 · (3/4)^½ · log 4 / 4
    ([1, 0, 0, 0], [0.25, 0, 0, 0], sl.ModifiedFocalLoss(), 0.6 * 0.75**0.5 * LOG4 / 4),
    # a false one: 1 - δ = 0.4
    ([0, 0, 0, 0], [0.75, 0, 0, 0], sl.ModifiedFocalLoss(), 0.4 * 0.75**0.5 * LOG4 / 4),
    # γ = 1/4: the power is 3/4; asymmetric, it is 0 on foreground and 1/4 on background
    ([1, 0, 0, 0], [0.25, 0, 0, 0], sl.ModifiedFocalLoss(0.6, 0.25), 0.15 * 0.75**0.75 * LOG4),
    ([1, 0, 0, 0], [0.25, 0, 0, 0], sl.ModifiedFocalLoss(0.6, 0.25, False), 0.15 * LOG4),
    ([0, 0, 0, 0], [0.75, 0, 0, 0], sl.ModifiedFocalLoss(0.6, 0.25, False),
     0.1 * 0.75**0.25 * LOG4),
    # Modified focal Tversky, one of two missed, δ = 0.6: foreground 0.6 / (1 + 0.6 + 1), and for
    # background that is a false positive: 0.4 / (2 + 0.4 + 1)
    ([1, 1, 0, 0], [1, 0, 0, 0], sl.ModifiedFocalTverskyLoss(),
     ((0.6 / 2.6) ** 0.5 + (0.4 / 3.4) ** 0.5) / 2),
    # one false, the other way round: 0.4 / (1 + 0.4 + 1) and 0.6 / (2 + 0.6 + 1)
    ([1, 0, 0, 0], [1, 1, 0, 0], sl.ModifiedFocalTverskyLoss(),
     ((0.4 / 2.4) ** 0.5 + (0.6 / 3.6) ** 0.5) / 2),
    # γ = 1/4, symmetric both powers are 1/4, asymmetric 3/4 and 1
    ([1, 1, 0, 0], [1, 0, 0, 0], sl.ModifiedFocalTverskyLoss(0.6, 0.25),
     ((0.6 / 2.6) ** 0.25 + (0.4 / 3.4) ** 0.25) / 2),
    ([1, 1, 0, 0], [1, 0, 0, 0], sl.ModifiedFocalTverskyLoss(0.6, 0.25, False),
     ((0.6 / 2.6) ** 0.75 + 0.4 / 3.4) / 2),
    # Unified, λ = 0.9: the halves above (one of two missed by 3/4)
    ([1, 1, 0, 0], [1, 0.25, 0, 0], sl.UnifiedFocalLoss(focal_weight=0.9),
     0.9 * 0.6 * 0.75**0.5 * LOG4 / 4
     + 0.1 * ((0.45 / 2.7) ** 0.5 + (0.3 / 3.3) ** 0.5) / 2),
]  # fmt: skip


@pytest.mark.parametrize(("y", "p", "loss", "want"), BY_HAND)
def test_by_hand(y, p, loss, want):
    y, p = (np.array(a, float).reshape(1, 2, 2, 1) for a in (y, p))
    loss = type(loss)(**{**loss.get_config(), "dtype": "float64"})
    # Where p is exactly 0 or 1, its logarithm is cut at 1e-7.
    assert float(loss(y, p)) == pytest.approx(want, abs=2e-7)


def in_float64(loss, *args, **options):
    return loss(*args, from_logits=True, dtype="float64", **options)


@pytest.fixture
def pair(rng):
    y = (rng.random((2, 6, 6, 1)) > 0.6).astype(float)
    return y, rng.normal(size=y.shape) * 3


def test_combo_has_its_parts_at_both_ends(pair):
    ce, dice = in_float64(sl.BinaryCrossEntropyLoss), in_float64(sl.DiceLoss)
    only_ce, only_dice = in_float64(sl.ComboLoss, 1.0), in_float64(sl.ComboLoss, 0.0)
    assert float(only_ce(*pair)) == pytest.approx(float(ce(*pair)) / 2, rel=1e-14)
    assert float(only_dice(*pair)) == pytest.approx(float(dice(*pair)), rel=1e-14)
    balanced = in_float64(sl.BalancedBinaryCrossEntropyLoss, 0.7)
    want = float((0.3 * balanced + 0.7 * dice)(*pair))
    assert float(in_float64(sl.ComboLoss, 0.3, 0.7)(*pair)) == pytest.approx(want, rel=1e-14)


def test_modified_focal_is_cross_entropy_where_gamma_does_nothing(pair):
    half = float(in_float64(sl.BinaryCrossEntropyLoss)(*pair)) / 2
    for gamma, symmetric in ((1.0, True), (0.0, False)):
        loss = in_float64(sl.ModifiedFocalLoss, 0.5, gamma, symmetric)
        assert float(loss(*pair)) == pytest.approx(half, rel=1e-14)


def test_modified_focal_is_focal(pair):
    want = in_float64(sl.FocalLoss, 0.6, 0.7)(*pair)
    got = in_float64(sl.ModifiedFocalLoss, 0.6, 0.3)(*pair)
    assert float(got) == pytest.approx(float(want), rel=1e-14)


def test_modified_focal_tversky_is_tversky_where_gamma_does_nothing(pair):
    y, z = pair
    tversky = in_float64(sl.TverskyLoss, 0.3, 0.7)
    want = (float(tversky(y, z)) + float(tversky(1 - y, -z))) / 2
    for gamma, symmetric in ((1.0, True), (0.0, False)):
        loss = in_float64(sl.ModifiedFocalTverskyLoss, 0.7, gamma, symmetric)
        assert float(loss(y, z)) == pytest.approx(want, rel=1e-14)


@pytest.mark.parametrize("symmetric", [True, False])
def test_two_exclusive_classes_are_one_class_and_its_background(pair, symmetric):
    """softmax of (0, z) is sigmoid of z."""
    y, z = pair
    options = {"symmetric": symmetric, "delta": 0.7, "gamma": 0.3}
    loss = in_float64(sl.UnifiedFocalLoss, **options)
    two = loss(np.concatenate([1 - y, y], axis=-1), np.concatenate([0 * z, z], axis=-1))
    assert float(two) == pytest.approx(float(loss(y, z)), rel=1e-12)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("symmetric", [True, False])
def test_unified_is_its_halves(pair, weight, symmetric):
    settings = {"delta": 0.7, "gamma": 0.4, "symmetric": symmetric}
    pixels = in_float64(sl.ModifiedFocalLoss, **settings)
    regions = in_float64(sl.ModifiedFocalTverskyLoss, **settings)
    want = float((weight * pixels + (1 - weight) * regions)(*pair))
    got = in_float64(sl.UnifiedFocalLoss, focal_weight=weight, **settings)(*pair)
    assert float(got) == pytest.approx(want, rel=1e-14)


def test_delta_makes_missing_cost_more_than_making_up():
    """Two of eight pixels missed, and two of eight made up, by both halves alike."""
    y = np.zeros((1, 4, 4, 1))
    y[0, :2] = 1
    missed, made_up = y.copy(), y.copy()
    missed[0, 0, :2] = 0.1
    made_up[0, 2, :2] = 0.9
    for loss in (sl.ModifiedFocalLoss(0.8), sl.UnifiedFocalLoss(delta=0.8)):
        assert float(loss(y, missed)) > 1.2 * float(loss(y, made_up))
    even = sl.UnifiedFocalLoss(delta=0.5)
    assert float(even(y, missed)) == pytest.approx(float(even(y, made_up)), rel=1e-5)
    # Over regions, what is missed of foreground is made up of background: it cancels if symmetric.
    regions = sl.ModifiedFocalTverskyLoss(0.8, symmetric=False)
    assert float(regions(y, missed)) > 1.2 * float(regions(y, made_up))


@pytest.mark.parametrize(
    "loss",
    [
        sl.ExponentialLogarithmicLoss,
        sl.UnifiedFocalLoss,
        sl.ModifiedFocalTverskyLoss,
        lambda **o: sl.UnifiedFocalLoss(symmetric=False, **o),
        lambda **o: sl.UnifiedFocalLoss(gamma=0.05, **o),
        lambda **o: sl.ExponentialLogarithmicLoss(gamma_dice=0.05, gamma_cross_entropy=0.05, **o),
    ],
)
@pytest.mark.parametrize("mask", [np.zeros, np.ones, lambda s: np.indices(s)[1] % 2])
def test_a_power_below_one_has_a_finite_slope_where_all_is_right(loss, mask):
    """(1 - d)^γ has an infinite one at d = 1, and (1 - d)(1 - d)^-γ is NaN there."""
    y = mask((1, 4, 4, 1)).astype("float32")
    for logit in (5.0, 15.0, 40.0, 90.0, 1e3, 1e4):
        z = tf.Variable(logit * (2 * y - 1))
        with tf.GradientTape() as tape:
            value = loss(from_logits=True)(y, z)
        gradient = tape.gradient(value, z).numpy()
        assert np.isfinite(float(value)) and np.isfinite(gradient).all(), logit
        assert np.abs(gradient).max() < 1, logit
    p = tf.Variable(y)
    with tf.GradientTape() as tape:
        value = loss()(y, p)
    assert float(value) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(tape.gradient(value, p).numpy()).all()


@given(st.floats(0.05, 1), st.floats(0, 1), st.integers(0, 10**6))
def test_unified_is_between_its_halves(gamma, weight, seed):
    rng = np.random.default_rng(seed)
    y, p = (rng.random((1, 3, 3, 1)) > 0.5).astype(float), rng.random((1, 3, 3, 1))
    low, high = sorted(
        float(loss(gamma=gamma)(y, p))
        for loss in (sl.ModifiedFocalLoss, sl.ModifiedFocalTverskyLoss)
    )
    value = float(sl.UnifiedFocalLoss(gamma=gamma, focal_weight=weight)(y, p))
    assert low - 1e-6 <= value <= high + 1e-6


@given(st.integers(0, 10**6), st.floats(0.5, 1))
def test_rarer_classes_weigh_more_in_the_exponential_logarithmic_loss(seed, p_true):
    """One missed pixel of a rare class costs more than one of a frequent class."""
    y = np.zeros((1, 4, 4, 1))
    y[0, 0, :2] = 1
    right = np.where(y == 1, p_true, 1 - p_true)
    loss = sl.ExponentialLogarithmicLoss(dice_weight=0.0, gamma_cross_entropy=1.0, dtype="float64")
    rare, frequent = right.copy(), right.copy()
    rare[0, 0, 0], frequent[0, 3, 3] = 0.1, 0.9
    assert float(loss(y, rare)) > float(loss(y, frequent))


@pytest.mark.parametrize(
    ("loss", "settings", "message"),
    [
        (
            sl.ComboLoss,
            {"cross_entropy_weight": 2},
            "`cross_entropy_weight` must be .* at most 1.* Received: 2",
        ),
        (sl.ComboLoss, {"beta": 2}, "`beta` must be .* at most 1.* Received: 2"),
        (sl.ModifiedFocalLoss, {"gamma": 2.0}, "`gamma` must be .* at most 1.* Received: 2"),
        (sl.ModifiedFocalTverskyLoss, {"gamma": 0}, "`gamma` must be .* greater than 0"),
        (sl.ModifiedFocalTverskyLoss, {"gamma": 1, "symmetric": False}, "`gamma` .* less than 1"),
        (sl.UnifiedFocalLoss, {"focal_weight": 1.1}, "`focal_weight` must be .* Received: 1.1"),
        (sl.UnifiedFocalLoss, {"delta": -0.1}, "`delta` must be .* Received: -0.1"),
        (sl.UnifiedFocalLoss, {"symmetric": 1}, "`symmetric` must be .* Received: 1"),
        (sl.ExponentialLogarithmicLoss, {"gamma_dice": 0}, "`gamma_dice` must .* greater than 0"),
        (sl.DiceCrossEntropyLoss, {"cross_entropy_weight": -1}, "`cross_entropy_weight` must"),
        (sl.DiceFocalLoss, {"dice_weight": "1"}, "`dice_weight` must"),
        (sl.DiceTopKLoss, {"k": 0}, "`k` must"),
    ],
)
def test_bad_settings(loss, settings, message):
    with pytest.raises(ValueError, match=message):
        loss(**settings)
