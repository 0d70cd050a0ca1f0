"""What a run learns: the images of an experiment, and the truth that its loss is given."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from segloss_ref.checks import VOID, check_labels
from segloss_ref.datasets import SPLITS, SegmentationData, load
from segloss_ref.datasets.folder import load_folder, stamp
from segloss_ref.experiment.settings import Experiment


def splits_of(experiment: Experiment) -> list[SegmentationData]:
    """What an experiment trains on, is validated with, and is tested on."""
    options = tuple(sorted(experiment.dataset_options.items()))
    folder = experiment.data_dir
    return _load(
        experiment.dataset,
        options,
        folder,
        experiment.size,
        experiment.limit,
        None if folder is None else stamp(folder),
    )


@functools.lru_cache(maxsize=1)
def _load(dataset, options, data_dir, size, limit, changed):
    """The three splits; kept, because runs that are compared use the same ones.

    `changed` says when the files of a folder did: later they are read anew.
    """
    if data_dir is None:
        return [load(dataset, split, size=size, limit=limit, **dict(options)) for split in SPLITS]
    return [load_folder(data_dir, split, size=size, limit=limit) for split in SPLITS]


def is_binary(data: SegmentationData) -> bool:
    """Whether a network needs one channel for these data: two classes, or instances."""
    return len(data.class_names) == 2


def foreground(data: SegmentationData) -> np.ndarray:
    """The masks `(n, *spatial)` that a binary run learns: the objects, where there are instances.

    In `membranes` class 1 is what lies between the objects.
    """
    return data.masks == 1 if data.instances is None else data.instances > 0


def has_class(data: SegmentationData) -> np.ndarray:
    """Where the pixels have a class, `(n, *spatial)`: the others belong in no loss and no score."""
    ignored = check_labels("ignore_class", data.card.ignore_class)
    return ~np.isin(data.masks, (VOID, *ignored))


def truth_of(data: SegmentationData) -> np.ndarray:
    """What a loss is given, `(n, *spatial)`: the foreground, or the classes where they are several.

    Pixels that have no class are -1, which every loss and metric leaves out.
    """
    truth = foreground(data) if is_binary(data) else data.masks
    valid = has_class(data)
    return truth if valid.all() else np.where(valid, truth, VOID).astype("int32")


def instances_of(data: SegmentationData) -> np.ndarray:
    """The instance maps, -1 where the pixels have no class."""
    return np.where(has_class(data), data.instances, VOID).astype("int32")


def only(data: SegmentationData, i: int) -> SegmentationData:
    """Image i alone."""
    instances = None if data.instances is None else data.instances[i : i + 1]
    return dataclasses.replace(
        data,
        images=data.images[i : i + 1],
        masks=data.masks[i : i + 1],
        instances=instances,
        names=data.names[i : i + 1],
        groups=data.groups and data.groups[i : i + 1],
    )


def most_in_a_crop(instances: np.ndarray, sides: Sequence[int]) -> int:
    """How many objects a crop meets at most, by the boxes around the objects.

    Args:
        instances: the map of one image, `(*spatial)`.
        sides: of the crop, in pixels.
    """
    # An object is met by the crops that begin between two rows, two columns, ...: the number of
    # objects met is the sum of such boxes, each written down at its corners.
    met = np.zeros([size + 1 for size in instances.shape], int)
    for box in ndimage.find_objects(np.maximum(instances, 0)):
        if box is not None:
            ends = [((max(s.start - side + 1, 0), 1), (s.stop, -1)) for s, side in zip(box, sides)]
            for corner in itertools.product(*ends):
                place, signs = zip(*corner)
                met[place] += math.prod(signs)
    for axis in range(met.ndim):
        met = met.cumsum(axis=axis)
    starts = (slice(max(n - side, 0) + 1) for n, side in zip(instances.shape, sides))
    return int(met[tuple(starts)].max())
