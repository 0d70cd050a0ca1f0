"""Losses as text: read as Python would make them, and nothing is executed."""

import keras
import numpy as np
import pytest

from segloss_ref.catalogue import catalogue
from segloss_ref.losses import BinaryCrossEntropyLoss, CompoundLoss, DiceLoss
from segloss_ref.losses.expressions import loss_of

# A sum has no name of its own: it is written with its parts.
NAMED = [entry.loss for entry in catalogue() if entry.loss is not CompoundLoss]


@pytest.mark.parametrize("loss", NAMED, ids=lambda loss: loss.__name__)
def test_what_repr_shows_of_a_loss_makes_it_again(loss):
    assert repr(loss_of(repr(loss()))) == repr(loss())
    made = loss_of(loss.__name__, from_logits=True)
    assert type(made) is loss and made.from_logits


def test_a_sum_is_that_sum():
    y = np.random.default_rng(0).integers(0, 2, (2, 4, 4, 1))
    z = np.random.default_rng(1).normal(size=(2, 4, 4, 1)).astype("float32")
    text = "(DiceLoss(smooth=0.5) + 3 * BinaryCrossEntropyLoss) / 2 + BinaryCrossEntropyLoss()"
    found = loss_of(text, from_logits=True)(y, z)
    dice, entropy = DiceLoss(0.5, from_logits=True), BinaryCrossEntropyLoss(from_logits=True)
    np.testing.assert_allclose(found, dice(y, z) / 2 + 2.5 * entropy(y, z), rtol=1e-6)


def test_wrappers_have_the_settings_in_what_they_are_put_around():
    for text in (
        "BlobLoss",
        "BlobLoss(DiceLoss)",
        "DeepSupervisionLoss(loss=DiceLoss + FocalLoss)",
    ):
        loss = loss_of(text, from_logits=True, data_format="channels_first")
        assert loss.from_logits and loss.data_format == "channels_first"
        assert loss.loss.from_logits
    assert loss_of("BlobLoss", {"max_blobs": 3}).max_blobs == 3


def test_lists_and_negative_numbers_are_values():
    loss = loss_of("DiceLoss(class_weights=[1, 2.5], ignore_class=(-2, 255))")
    assert loss.class_weights == (1.0, 2.5) and tuple(loss.ignore_class) == (-2, 255)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("Dice", ValueError, "Did you mean 'DiceLoss'"),
        ("SegmentationLoss", ValueError, "There is no loss 'SegmentationLoss'"),
        ("DiceLoss(", ValueError, "Write it as in Python"),
        ("", ValueError, "Write it as in Python"),
        ({"sum": ["DiceLoss"]}, ValueError, "Write it as in Python"),
        (None, ValueError, "Write it as in Python"),
        ("3", ValueError, "not a loss"),
        ("[DiceLoss, FocalLoss]", ValueError, "not a loss"),
        ("'a' * 1000000000", ValueError, "Only losses are added"),
        ("[DiceLoss] * 1000000000", ValueError, "Only losses are added"),
        ("DiceLoss - FocalLoss", ValueError, r"\+, \* and /: DiceLoss - FocalLoss"),
        ("2 ** 99999 * DiceLoss", ValueError, "There is more in it"),
        ("DiceLoss / 0", ValueError, "greater than 0"),
        ("1 / 0 * DiceLoss", ValueError, "division by zero"),
        ("-1 * DiceLoss", ValueError, "at least 0"),
        ("DiceLoss * FocalLoss", ValueError, "a finite number"),
        ("DiceLoss + 1", TypeError, "Only losses of this package can be added"),
        ("__import__('os').getcwd()", ValueError, "There is more in it"),
        ("keras.losses.Dice()", ValueError, "There is more in it"),
        ("DiceLoss(**{'smooth': 1})", ValueError, "There is more in it"),
        ("DiceLoss(*[1])", ValueError, "There is more in it"),
        ("(lambda: 1)()", ValueError, "There is more in it"),
        ("DiceLoss(smoth=1)", TypeError, "has no setting smoth.*Did you mean 'smooth'"),
        ("DiceLoss(smooth=-1)", ValueError, "`smooth`"),
        ("DiceLoss(from_logits=False)", ValueError, "`from_logits` must be True here"),
        ("CompoundLoss", ValueError, "as a sum"),
    ],
)
def test_what_is_no_loss_is_refused_with_words(text, error, words):
    with pytest.raises(error, match=words):
        loss_of(text, from_logits=True)


def test_options_are_for_a_loss_that_is_named_alone():
    assert loss_of("DiceLoss", {"smooth": 0.5}).smooth == 0.5
    for text in ("DiceLoss()", "2 * DiceLoss"):
        with pytest.raises(ValueError, match="here they stand in the expression"):
            loss_of(text, {"smooth": 0.5})


def test_the_data_format_of_keras_is_the_default():
    assert loss_of("DiceLoss").data_format == keras.config.image_data_format()
