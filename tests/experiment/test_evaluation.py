"""Scores of a model, and what they are measured against."""

import dataclasses

import keras
import numpy as np
import pytest

from segloss_ref.datasets import load
from segloss_ref.experiment import (
    evaluate,
    foreground,
    instances_of,
)
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
