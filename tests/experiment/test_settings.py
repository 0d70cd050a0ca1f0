"""Settings: what can be known is refused before anything is read or trained."""

import pytest

from segloss_ref.experiment import (
    Experiment,
)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epochs": 3}, TypeError, "epochs"),
        ({"steps": "200"}, TypeError, "`steps` must be of type int. Received: '200'"),
        ({"steps": 10.0}, TypeError, "`steps`"),
        ({"steps": True}, TypeError, "`steps`"),
        ({"limit": 2.5}, TypeError, "`limit`"),
        ({"options": [1]}, TypeError, "`options`"),
        ({"dataset": "cats"}, ValueError, "nuclei.*Received: 'cats'"),
        ({"loss": "TheLoss"}, ValueError, "Received: 'TheLoss'"),
        ({"loss": "check_batch"}, ValueError, "There is no loss 'check_batch'"),
        ({"loss": "DiceLoss", "options": {"smooth": -1}}, ValueError, "`smooth`"),
        ({"loss": "DiceLoss", "options": {"soft": 1}}, TypeError, "soft"),
        ({"options": {"from_logits": False}}, ValueError, "from_logits"),
        ({"steps": 0}, ValueError, "`steps` must be a whole number, at least 1"),
        ({"steps": 30, "evaluate_every": 20}, ValueError, "multiple of `evaluate_every`"),
        ({"learning_rate": 0.0}, ValueError, "`learning_rate`"),
        ({"crop": 90}, ValueError, r"divisible by 2\*\*depth = 8"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(settings, error, message):
    with pytest.raises(error, match=message):
        Experiment(**settings)


def test_a_crop_of_several_sides_is_as_json_has_it():
    assert Experiment(crop=(96, 48)).crop == [96, 48]


def test_looks_are_a_share_of_the_steps():
    assert Experiment(steps=20).evaluate_every == 2
    assert Experiment(steps=200).evaluate_every == 25
    assert Experiment(steps=7).evaluate_every == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss": "Dice"}, "Did you mean 'DiceLoss'"),
        ({"loss": "SegmentationLoss"}, "There is no loss 'SegmentationLoss'"),
        ({"dataset": "nucleii"}, "Did you mean 'nuclei'"),
        ({"options": {"reduction": None}}, "its `reduction` must not be None"),
        ({"loss": "DiceLoss(reduction='none') * 2"}, "its `reduction` must not be None"),
        ({"loss": "DiceLoss", "options": {"multilabel": True}}, "`multilabel` must be False"),
        ({"options": {"data_format": "channels_first"}}, "`data_format` must be 'channels_last'"),
        ({"loss": "DiceLoss + FocalLoss", "options": {"gamma": 1}}, "stand in the expression"),
        ({"loss": "DiceLoss + ShapeAwareLoss"}, "All parts must have the same `truth`"),
        ({"loss": "DiceLoss + DeepSupervisionLoss"}, "must stand around the whole loss"),
        ({"loss": "DeepSupervisionLoss", "depth": 1}, "`depth` must be at least 2"),
        ({"loss": "CompoundLoss"}, "Write the parts of CompoundLoss as a sum"),
        ({"loss": "import os"}, "Write it as in Python"),
        ({"model": "resnet"}, "'unet' or 'package.module:function'. Received: 'resnet'"),
        ({"model": "no.such:net"}, "No module named 'no'"),
        ({"model": "math:net"}, "has no attribute 'net'"),
        ({"model": "math:pi"}, "It cannot be called: 3.14"),
        ({"model": "math:pow", "loss": "DeepSupervisionLoss"}, "needs the outputs of the U-Net"),
        ({"augmentation": "flips"}, "must be one of 'none', 'turns', 'deformation'"),
        ({"foreground_crops": 1.5}, "`foreground_crops` must be a finite number and at least 0"),
        ({"crop": [96]}, "one for each of the two or three axes"),
        ({"crop": [96, 90]}, "must be divisible by"),
        ({"crop": [96, 0]}, "`crop` must be a whole number, at least 1"),
        ({"seed": 2**32}, "at most 4294967295. Received: 4294967296"),
        ({"data_dir": "no/such/folder"}, "must be a folder. There is none"),
    ],
)
def test_what_can_be_known_is_said_at_once(settings, words):
    with pytest.raises(ValueError, match=words):
        Experiment(**settings)


def test_sums_and_wrappers_are_named_as_in_python():
    loss = Experiment(loss="DiceLoss(smooth=0.1) + 0.5 * BinaryCrossEntropyLoss()").make_loss()
    assert repr(loss.losses[0]) == "DiceLoss(smooth=0.1, from_logits=True)"
    assert loss.weights == (1.0, 0.5) and loss.from_logits
    blob = Experiment(loss="BlobLoss", options={"max_blobs": 7}).make_loss()
    assert blob.max_blobs == 7 and blob.loss.from_logits
    deep = Experiment(loss="DeepSupervisionLoss(FocalLoss)", depth=2)
    assert deep.outputs == 2 and Experiment().outputs == 1
