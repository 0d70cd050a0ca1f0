"""Scores of a model, image by image."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from segloss_ref import metrics
from segloss_ref.checks import VOID
from segloss_ref.datasets import SegmentationData
from segloss_ref.experiment.data import (
    foreground,
    has_class,
    instances_of,
    is_binary,
    only,
    truth_of,
)
from segloss_ref.experiment.prediction import predict, predictions
from segloss_ref.experiment.probabilities import CUTS, to_levels


def evaluate(model: keras.Model, data: SegmentationData) -> list[dict[str, Any]]:
    """Scores the model on each image of a data set: at threshold 1/2, or by the best class.

    Where binary data have instances, predicted objects are the connected components of the
    predicted mask, and they are scored as well. Pixels without a class are in no score of pixels.

    Returns:
        A list with a dict for each image: `image`, `dice`, `iou`, then for binary data
        `precision`, `recall`, and for instances `cells`, `predicted`, `average_precision`,
        `merges`, `splits`; for several classes the Dice of each, `dice: NAME`, whose mean over
        the classes in the picture (but for one named background) is `dice`; and
        `calibration_error`. What cannot be measured on an image is NaN.
    """
    score = _binary_scores if is_binary(data) else _class_scores
    probabilities = predictions(model, data.images)
    return [{"image": data.names[i], **score(data, i, p)} for i, p in enumerate(probabilities)]


def _binary_scores(data, i, probability):
    truth = truth_of(only(data, i))[0]
    overlaps = (metrics.dice, metrics.iou, metrics.precision, metrics.recall)
    row = {metric.__name__: float(metric(truth, probability > 0.5)) for metric in overlaps}
    if data.instances is not None:
        row |= _instance_scores(instances_of(only(data, i))[0], probability > 0.5)
    return row | {"calibration_error": metrics.expected_calibration_error(truth, probability)}


def _class_scores(data, i, probabilities):
    truth = truth_of(only(data, i))[0]
    predicted = np.where(truth == VOID, VOID, probabilities.argmax(axis=-1))
    each = {}
    for label, name in enumerate(data.class_names):
        masks = truth == label, predicted == label
        # By the truth alone: else a false alarm on a class would be counted for one loss, and
        # leave the image out for another. It is counted, as a miss of the class that is there.
        occurs = masks[0].any() and label != data.background
        each[name] = [f(*masks) if occurs else np.nan for f in (metrics.dice, metrics.iou)]
    dice, iou = (_mean_of(values) for values in zip(*each.values()))
    return {
        "dice": dice,
        "iou": iou,
        **{f"dice: {name}": float(values[0]) for name, values in each.items()},
        "calibration_error": metrics.expected_calibration_error(truth, probabilities),
    }


def right_and_found(
    model: keras.Model, data: SegmentationData, i: int
) -> tuple[np.ndarray, np.ndarray]:
    """Two masks of image i to show its errors by: the truth and the prediction.

    With several classes: the pixels that have a class, and those of them whose class is right.
    """
    p = predict(model, data.images[i : i + 1])[0]
    if is_binary(data):
        return foreground(data)[i], p > 0.5
    valid = has_class(only(data, i))[0]
    return valid, valid & (p.argmax(axis=-1) == data.masks[i])


def all_pixels(model: keras.Model, data: SegmentationData) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probabilities of all pixels that have a class, for the metrics of calibration."""
    truth = foreground(data) if is_binary(data) else data.masks
    valid = has_class(data)
    return truth[valid], predict(model, data.images)[valid]


def _instance_scores(instances, predicted):
    components = metrics.label_components(predicted)
    counts = metrics.merges_and_splits(instances, components)
    return {
        "cells": len(np.unique(instances[instances > 0])),
        "predicted": int(components.max()),
        "average_precision": float(metrics.average_precision(instances, components)),
        "merges": counts.merges,
        "splits": counts.splits,
    }


def validation_scores(model: keras.Model, data: SegmentationData) -> dict[str, float | None]:
    """The look that training takes at the validation split, by one prediction of each image.

    Returns:
        A dict: `validation_dice`, the mean Dice of the images at threshold 1/2, or by the best
        class; `validation_dice_at_best_cut` and `validation_cut`, the highest mean Dice that one
        cut for all images gives, and the cut: the middle of the best ones. Of several classes:
        the same Dice, and no cut, `None`. After a training that diverged, where a probability is
        no number, all three are NaN.
    """
    names = "validation_dice", "validation_dice_at_best_cut", "validation_cut"
    binary, found = is_binary(data), []
    for i, p in enumerate(predictions(model, data.images)):
        if not np.isfinite(p).all():
            return dict.fromkeys(names, float("nan"))
        truth = truth_of(only(data, i))[0]
        found.append(
            _dice_at_each_cut(truth, to_levels(p)) if binary else _class_scores(data, i, p)["dice"]
        )
    if not binary:
        dice = _mean_of(found)
        return dict(zip(names, (dice, dice, None)))
    at_half = _mean_of(np.array(found)[:, CUTS == 0.5])
    return dict(zip(names, (at_half, *_best_of(found))))


def mean_dice(model: keras.Model, data: SegmentationData) -> float:
    """The mean Dice of the images, at threshold 1/2 or by the best class."""
    return validation_scores(model, data)["validation_dice"]


def dice_at_best_cut(model: keras.Model, data: SegmentationData) -> tuple[float, float | None]:
    """The mean Dice of the images at the cut that makes it highest, and that cut.

    As in `validation_scores`, which has it with the Dice at one half from the same predictions.
    """
    scores = validation_scores(model, data)
    return scores["validation_dice_at_best_cut"], scores["validation_cut"]


def _dice_at_each_cut(truth, levels):
    """The Dice of one image at each of `CUTS`, from how often each level is in object and ground.

    An image without a pixel that has a class gives NaN.
    """
    inside, outside = (np.bincount(levels[truth == label], minlength=256) for label in (1, 0))
    if not (inside.sum() or outside.sum()):
        return np.full(len(CUTS), np.nan)
    hits, alarms = (counts[::-1].cumsum()[::-1][1:] for counts in (inside, outside))
    areas = inside.sum() + hits + alarms
    return np.where(areas > 0, 2 * hits / np.maximum(areas, 1), 1.0)  # two empty masks agree


def _best_of(dice):
    """The highest mean over the images, of `(images, cuts)`, and the cut.

    Of cuts that are equally good it is the middle one of the longest row of neighbours. One half,
    where there is nothing to choose by.
    """
    means = np.array([_mean_of(column) for column in np.transpose(dice)])
    if np.isnan(means).any():
        return float("nan"), 0.5
    best = np.flatnonzero(means >= means.max() - 1e-12)  # equal up to the rounding of sums
    rows = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    row = max(rows, key=len)
    return float(means.max()), float(CUTS[(row[0] + row[-1]) // 2])


def _mean_of(values):
    """The mean of those that are numbers; NaN if none is."""
    values = np.asarray(values, float)
    return float(values[~np.isnan(values)].mean()) if not np.isnan(values).all() else float("nan")


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean of each score over the rows of a table, of those that are numbers."""
    return {key: _mean_of([row[key] for row in rows]) for key in rows[0] if key != "image"}
