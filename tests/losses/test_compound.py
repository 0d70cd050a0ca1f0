"""Sums of losses are their parts, wherever a loss can be used."""

import keras
import numpy as np
import pytest

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


def test_sums_nest_flat(batch):
    dice, bce = parts()
    loss = 2 * (dice + 3 * bce) + dice
    assert loss.losses == [dice, bce, dice] and loss.weights == (2.0, 6.0, 1.0)
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
