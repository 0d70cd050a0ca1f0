"""Scores of a model, image by image."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from segloss_ref.experiment.probabilities import CUTS, from_levels, to_levels

#: How far surfaces may be apart and agree, in pixels.
TOLERANCE = 2.0

#: Of the truth and the predicted mask, or of two class maps, a number.
Score = Callable[[np.ndarray, np.ndarray], float]


def evaluate(
    model: keras.Model, data: SegmentationData, cut: float | None = None
) -> list[dict[str, Any]]:
    """Scores the model on each image of a data set: at threshold 1/2, or by the best class.

    Probabilities are rounded to 8 bits first (`to_levels`), as they are kept: masks at 1/2 and at
    `cut` are the same before and after. Pixels without a class are in no score of pixels. Lengths
    are in pixels, or in voxels.

    Args:
        model: one that returns logits.
        data: images of two or of three dimensions.
        cut: a second threshold for binary data, as of `dice_at_best_cut` on validation images.

    Returns:
        A list with a dict for each image. For binary data: `image`; `dice`, `iou`, `precision`,
        `recall`; `size_ratio`, predicted over true area, NaN where nothing is true;
        `hausdorff_distance`, of 95 per cent, and where one of the two masks is empty the diagonal
        of the image, so that a mean can be taken; `surface_dice` at a tolerance of 2;
        `betti0_error`, `betti1_error` and, in three dimensions, `betti2_error`; `cl_dice`; where
        the data have instances, with the connected components of the mask as predicted objects,
        `cells`, `predicted`, `average_precision`, `merges`, `splits`; and `calibration_error`.
        With `cut`, all but `image`, `cells` and `calibration_error` once more, `dice_at_cut` and
        so on.

        For several classes: `image`; `dice` and `iou`, means over the classes in the picture (but
        for one named background); the Dice of each, `dice: NAME`; `surface_dice`, such a mean, too;
        and `calibration_error`. What cannot be measured on an image is NaN.
    """
    return scores_of(levels_of(model, data), data, cut)


def levels_of(model: keras.Model, data: SegmentationData) -> Iterator[np.ndarray]:
    """The probabilities of image after image, rounded to 8 bits."""
    classes = not is_binary(data)
    return (to_levels(p, classes) for p in predictions(model, data.images))


def scores_of(
    levels: Iterable[np.ndarray],
    data: SegmentationData,
    cut: float | None = None,
    scores: Mapping[str, Score] | None = None,
) -> list[dict[str, Any]]:
    """The same as `evaluate` from probabilities in 8 bits, one array for each image.

    `scores` are others to compute in place of those: a name and a function of the truth and the
    predicted mask, or of the class maps of several classes; -1 are pixels of the truth without a
    class.
    """
    rows = []
    for i, image in enumerate(levels):
        alone = only(data, i)
        truth, instances = truth_of(alone)[0], None
        if data.instances is not None:
            instances = instances_of(alone)[0]
        if is_binary(data):
            p = from_levels(image)
            measured = _of_masks(scores, truth, p, cut, instances)
        else:
            p = from_levels(image, classes=True)
            measured = _of_classes(scores, truth, p, data)
        if scores is None:
            measured["calibration_error"] = metrics.expected_calibration_error(truth, p)
        rows.append({"image": data.names[i], **measured})
    return rows


def _of_masks(scores, truth, p, cut, instances):
    def measured(mask):
        if scores is None:
            return _mask_scores(truth, mask, instances)
        return {name: score(truth, mask) for name, score in scores.items()}

    at_half = measured(p > 0.5)
    if cut is None:
        return at_half
    at_cut = measured(p > cut)
    return at_half | {f"{k}_at_cut": v for k, v in at_cut.items() if k != "cells"}


def _mask_scores(truth, mask, instances):
    said = {"spatial_dims": truth.ndim}
    overlaps = (metrics.dice, metrics.iou, metrics.precision, metrics.recall)
    row = {metric.__name__: float(metric(truth, mask, **said)) for metric in overlaps}
    area = np.count_nonzero(truth == 1)
    row["size_ratio"] = np.count_nonzero(mask & (truth != VOID)) / area if area else np.nan
    distance = metrics.hausdorff_distance(truth, mask, **said)
    # One of the two is empty: as far as two pixels of the image can be apart.
    row["hausdorff_distance"] = min(distance, np.linalg.norm(np.array(truth.shape) - 1))
    row["surface_dice"] = metrics.surface_dice(truth, mask, TOLERANCE, **said)
    errors = metrics.betti_errors(truth, mask, **said)
    row |= {f"betti{k}_error": error for k, error in enumerate(errors[: truth.ndim])}
    row["cl_dice"] = metrics.cl_dice(truth, mask, **said)
    return row if instances is None else row | _instance_scores(instances, mask)


def _instance_scores(instances, mask):
    said = {"spatial_dims": mask.ndim}
    components = metrics.label_components(mask, **said)
    counts = metrics.merges_and_splits(instances, components, **said)
    return {
        "cells": len(np.unique(instances[instances > 0])),
        "predicted": int(components.max()),
        "average_precision": float(metrics.average_precision(instances, components, **said)),
        "merges": counts.merges,
        "splits": counts.splits,
    }


def _of_classes(scores, truth, p, data):
    predicted = p.argmax(axis=-1)
    if scores is not None:
        return {name: score(truth, predicted) for name, score in scores.items()}
    measures = (metrics.dice, metrics.iou, _surface_dice)
    each = _each_class(measures, truth, predicted, data)
    dice, iou, surface = (_mean_of(values) for values in zip(*each.values()))
    return {
        "dice": dice,
        "iou": iou,
        **{f"dice: {name}": float(values[0]) for name, values in each.items()},
        "surface_dice": surface,
    }


def _surface_dice(truth, mask, spatial_dims):
    return metrics.surface_dice(truth, mask, TOLERANCE, spatial_dims=spatial_dims)


def _each_class(measures, truth, predicted, data):
    """The measures of each class that is in the picture, by its name; of others NaN."""
    each, void = {}, truth == VOID
    for label, name in enumerate(data.class_names):
        true = np.where(void, VOID, truth == label)
        # By the truth alone: else a false alarm on a class would be counted for one loss, and
        # leave the image out for another. It is counted, as a miss of the class that is there.
        occurs = (true == 1).any() and label != data.background
        each[name] = [
            f(true, predicted == label, spatial_dims=truth.ndim) if occurs else np.nan
            for f in measures
        ]
    return each


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
            _dice_at_each_cut(truth, to_levels(p))
            if binary
            else _class_dice(truth, p.argmax(axis=-1), data)
        )
    if not binary:
        dice = _mean_of(found)
        return dict(zip(names, (dice, dice, None)))
    at_half = _mean_of(np.array(found)[:, CUTS == 0.5])
    return dict(zip(names, (at_half, *_best_of(found))))


def _class_dice(truth, predicted, data):
    each = _each_class([metrics.dice], truth, predicted, data)
    return _mean_of([dice for (dice,) in each.values()])


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
