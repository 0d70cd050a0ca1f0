"""Training: crops, the choice of a learning rate, and what does not fit is refused."""

import dataclasses
import json

import numpy as np
import pytest
from small import SMALL

from segloss_ref.datasets import load
from segloss_ref.experiment import (
    Experiment,
    run,
    training,
)
from segloss_ref.losses import DiceLoss, ShapeAwareLoss


def test_a_checkpoint_without_its_history_does_not_count(tmp_path):
    (tmp_path / "step-00000004.keras").write_text("half")
    assert training._last_checkpoint(tmp_path) == (None, [])


def test_the_learning_rate_is_chosen_on_the_validation_images(tmp_path, monkeypatch):
    settings = Experiment(**{**SMALL, "steps": 12, "learning_rate": None})
    record = run(settings, tmp_path / "out")
    tuning = record["tuning"]
    assert tuning["grid"] == [0.001, 0.003, 0.01] and tuning["steps"] == 4
    assert record["learning_rate"] == tuning["chosen"]
    # The first looks of a run at that rate are those of its trial.
    data = [load("synthetic/cells", split, limit=4, size=48) for split in ("train", "validation")]
    for rate, dice in zip(tuning["grid"], tuning["validation_dice"]):
        *_, last = training.train(settings, *data, rate, 4)[1]
        assert last["validation_dice"] == dice
    assert tuning["validation_dice"][tuning["grid"].index(tuning["chosen"])] == max(
        tuning["validation_dice"]
    )
    assert record["seconds_training"] < record["seconds"]


def test_rates_that_were_tried_are_not_tried_again(tmp_path, monkeypatch):
    kept = tmp_path / "tuning.json"
    kept.write_text(json.dumps({"0.001": 0.2, "0.003": float("nan"), "0.01": 0.1}))
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("tried again"))
    assert training.tuned(Experiment(**SMALL), None, None, kept)["chosen"] == 0.001


def test_data_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`crop` must fit into the images"):
        run(Experiment(**{**SMALL, "crop": 64}), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_a_loss_would_refuse_is_refused_before_the_training(tmp_path):
    few = Experiment(loss="DiceLoss", options={"class_weights": [1, 2, 3]}, **SMALL)
    with pytest.raises(ValueError, match="3 weights for 1 classes"):
        run(few, tmp_path / "out")
    with pytest.raises(ValueError, match="`max_blobs` must be at least"):
        run(Experiment(loss="BlobLoss(max_blobs=1)", **SMALL), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_volumes_are_refused_by_their_shape():
    flat = load("synthetic/cells", "train", limit=2, size=32)
    volumes = dataclasses.replace(
        flat, images=flat.images[None], masks=flat.masks[None], instances=None, names=("one",)
    )
    with pytest.raises(ValueError, match=r"two dimensions. Received: .* \(2, 32, 32, 1\)"):
        training.check_data(Experiment(**SMALL), volumes)


def test_instances_are_asked_for_where_there_are_none():
    data = dataclasses.replace(load("synthetic/cells", "train", limit=1), instances=None)
    settings = Experiment(loss="ShapeAwareLoss")
    with pytest.raises(ValueError, match="needs instances; 'synthetic/cells' has none"):
        training.check_data(settings, data)


def test_crops_are_pieces_of_the_images_and_the_same_for_every_loss():
    data = load("synthetic/cells", "train", limit=4, size=48)
    settings = Experiment(**SMALL)
    crops = training.Crops(data, settings, ShapeAwareLoss())
    images, truth = crops[1]
    again = training.Crops(data, settings, DiceLoss())[1]
    assert images.shape == truth.shape == (2, 32, 32, 1)
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(truth > 0, again[1])
    # A turned and mirrored crop still shows what its truth says: cells are brighter.
    assert images[truth > 0].mean() > images[truth == 0].mean() + 0.1


def test_the_truth_of_a_crop_reaches_as_far_beyond_it_as_the_loss_wants():
    data = load("synthetic/cells", "train", limit=3)
    settings = Experiment(crop=64, seed=4)
    x, y = training.Crops(data, settings, ShapeAwareLoss())[1]
    same, wide = training.Crops(data, settings, ShapeAwareLoss(surround=200))[1]
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(wide[:, 200:-200, 200:-200], y)
    side = data.images.shape[1]
    for around in wide:  # the whole image is in there, and -1 around it
        assert (around >= 0).sum() == side**2
