"""Scores of a model, and what they are measured against."""

import dataclasses

import keras
import numpy as np
import pytest

from segloss_ref import metrics
from segloss_ref.datasets import load
from segloss_ref.experiment import (
    evaluate,
    evaluation,
    foreground,
    instances_of,
)
from segloss_ref.experiment.evaluation import dice_at_best_cut, mean_dice, validation_scores
from segloss_ref.experiment.probabilities import CUTS, to_levels
from segloss_ref.models import unet


def test_scores_by_hand():
    """A model that says "bright is foreground", on two cells that touch and one alone."""
    data = load("synthetic/cells", "test", limit=1, size=48)
    labels = np.zeros((1, 48, 48), "int32")
    labels[0, 5:15, 5:15], labels[0, 5:15, 15:25], labels[0, 30:40, 30:40] = 1, 2, 3
    images = (labels > 0).astype("float32")[..., None]
    masks = (labels > 0).astype("int32")
    data = dataclasses.replace(data, images=images, masks=masks, instances=labels)
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Rescaling(10, -5)])
    (row,) = evaluate(model, data)
    assert row["dice"] == row["iou"] == row["precision"] == row["recall"] == 1
    assert (row["cells"], row["predicted"], row["merges"], row["splits"]) == (3, 2, 1, 0)
    # The pair merged: IoU 1/2 with each, not more; one of three found, one made up.
    assert row["average_precision"] == pytest.approx(1 / (1 + 1 + 2))


@pytest.mark.requires_data("membranes")
def test_foreground_is_the_objects_even_where_class_1_is_what_lies_between():
    data = load("membranes", "test", limit=1, size=128)
    np.testing.assert_array_equal(foreground(data), data.masks == 0)


def test_an_image_that_is_void_everywhere_has_no_scores_and_ends_nothing():
    data = load("synthetic/cells", "test", limit=2)
    masks = data.masks.copy()
    masks[0] = -1
    data = dataclasses.replace(data, masks=masks)
    model = unet(1, 1, width=2, depth=1)
    first, second = evaluate(model, data)
    assert np.isnan(first["dice"]) and np.isnan(first["calibration_error"])
    assert np.isfinite(second["dice"])
    assert (instances_of(data)[0] == -1).all()


def picture_of(probabilities, masks):
    """Data whose images are these probabilities, and a model that returns their logits."""
    images, masks = np.array(probabilities, "float32")[..., None], np.array(masks, "int32")
    data = load("synthetic/tumours", "test", limit=len(images), size=48)
    names = tuple(f"image-{i}" for i in range(len(images)))
    data = dataclasses.replace(data, images=images, masks=masks, instances=None, names=names)
    p = keras.Input((None,) * (images.ndim - 2) + (1,))
    return data, keras.Model(p, keras.ops.log(p / (1 - p)))


def test_the_best_cut_by_hand():
    """Objects at 0.4 and 0.3, ground at 0.2 and, in the second image, a pixel of it at 0.35."""
    probabilities = [[[0.4, 0.4, 0.2, 0.2]], [[0.3, 0.3, 0.35, 0.2]]]
    data, model = picture_of(probabilities, [[[1, 1, 0, 0]], [[1, 1, 0, 0]]])
    scores = validation_scores(model, data)
    assert scores["validation_dice"] == 0, "at one half nothing is found"
    # From 0.2 to 0.3 the first image is right and the second has one pixel too many, 4/5.
    assert scores["validation_dice_at_best_cut"] == pytest.approx(0.9)
    assert scores["validation_cut"] == pytest.approx(0.25, abs=1 / 255)
    assert dice_at_best_cut(model, data) == (pytest.approx(0.9), scores["validation_cut"])
    assert mean_dice(model, data) == 0


def test_every_cut_has_the_dice_of_the_mask_that_it_makes():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.01, 0.99, (1, 12, 12)).astype("float32")
    truth = rng.integers(-1, 2, (12, 12))
    got = evaluation._dice_at_each_cut(truth, to_levels(p[0]))
    for cut, dice in zip(CUTS, got, strict=True):
        assert dice == pytest.approx(metrics.dice(truth, p[0] > cut)), cut


def test_of_equally_good_cuts_the_middle_of_the_longest_row_is_taken():
    dice = np.zeros((1, 255))
    dice[0, 10], dice[0, 100:121], dice[0, 200:203] = 1, 1, 1
    assert evaluation._best_of(dice) == (1, CUTS[110])
    assert evaluation._best_of(np.full((2, 255), 0.5)) == (0.5, 0.5), "nothing to choose"


def test_a_look_after_a_training_that_diverged_is_not_a_number():
    data, _ = picture_of([[[0.4, 0.6]]], [[[1, 0]]])
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Rescaling(np.nan)])
    assert np.isnan(list(validation_scores(model, data).values())).all()


def test_a_look_without_a_pixel_that_has_a_class_gives_no_dice():
    data, model = picture_of([[[0.4, 0.6]]], [[[-1, -1]]])
    dice, cut = dice_at_best_cut(model, data)
    assert np.isnan(dice) and cut == 0.5


def test_a_mask_that_ought_to_be_empty_counts_in_the_choice():
    """The second image has nothing; one alarm there costs as much as a miss in the first."""
    data, model = picture_of([[[0.9, 0.6]], [[0.7, 0.2]]], [[[1, 1]], [[0, 0]]])
    dice, cut = dice_at_best_cut(model, data)
    # Above 0.7: 2/3 and 1. Below 0.6: 1 and 0.
    assert dice == pytest.approx((2 / 3 + 1) / 2)
    assert 0.7 < cut < 0.9


def test_scores_at_both_cuts_by_hand():
    """One half finds the left end of a bar; the cut finds all of it."""
    p = np.full((1, 8, 20), 0.1)
    p[0, 3:6, 2:18], p[0, 3:6, 2:8] = 0.4, 0.9
    masks = (p > 0.3).astype("int32")
    data, model = picture_of(p, masks)
    (row,) = evaluate(model, data, 0.3)
    assert (row["precision"], row["recall"], row["size_ratio"]) == (1, 6 / 16, 6 / 16)
    assert row["dice"] == pytest.approx(2 * 6 / (6 + 16)) and row["dice_at_cut"] == 1
    assert row["hausdorff_distance"] == pytest.approx(
        metrics.hausdorff_distance(masks[0], p[0] > 0.5)
    )
    assert row["surface_dice"] < 1 and row["surface_dice_at_cut"] == row["cl_dice_at_cut"] == 1
    assert row["betti0_error"] == row["betti1_error"] == row["hausdorff_distance_at_cut"] == 0
    assert "cells" not in row and "calibration_error_at_cut" not in row
    assert "dice_at_cut" not in evaluate(model, data)[0]
    (missed,) = evaluate(model, data, 0.95)
    assert missed["hausdorff_distance_at_cut"] == np.hypot(7, 19), "the diagonal"


def test_volumes_are_scored():
    p = np.full((1, 6, 8, 10), 0.1)
    p[0, 1:5, 1:7, 1:9] = 0.9
    p[0, 2:4, 3:5, 3:7] = 0.2  # a cavity that the truth has not
    masks = np.zeros(p.shape, "int32")
    masks[0, 1:5, 1:7, 1:9] = 1
    data, model = picture_of(p, masks)
    (row,) = evaluate(model, data, 0.15)
    errors = [row[f"betti{k}_error"] for k in range(3)]
    assert errors == [0, 0, 1] and row["betti2_error_at_cut"] == 0
    assert row["size_ratio"] == (192 - 16) / 192 and row["dice_at_cut"] == 1
    assert all(np.isfinite(value) for name, value in row.items() if name != "image")
