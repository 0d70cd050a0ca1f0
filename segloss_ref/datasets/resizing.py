"""Images and their labels at another size, and what labels hold.

Labels keep -1, the value of pixels that are out of the picture.
"""

import numpy as np

from segloss_ref.checks import VOID

# Sides beyond this are averaged exactly before anything else. Below it stand all images whose
# results are published; for them a smooth filter does the whole work.
_LONG = 1024
_BLOCK = 2**21  # numbers that are averaged at a time, so that no large image becomes floats
_SMALL = 2**24  # labels up to here are looked up in a table


def resized(
    image: np.ndarray,
    mask: np.ndarray,
    instances: np.ndarray | None,
    shape: tuple[int, ...] | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """One image and its labels at another spatial shape; `None` leaves them as they are.

    Images are resized smoothly, labels by their nearest pixel. Objects that are lost leave no gap
    in the numbers.
    """
    if shape is None or shape == mask.shape == image.shape[:-1]:
        return image, mask, instances
    if image.shape[:-1] != shape:
        from skimage import transform

        image = transform.resize(image, shape, anti_aliasing=True)
    nearest = np.ix_(
        *(
            ((np.arange(new) + 0.5) * old / new).astype(int)
            for new, old in zip(shape, mask.shape, strict=True)
        )
    )
    if instances is not None:
        instances = renumbered(instances[nearest])
    return image, mask[nearest], instances


def shrunk(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Large images with their long sides at those of `shape`: the exact mean over areas.

    Sides of up to 1024 pixels, and those that do not shrink, stay as they are.

    Args:
        pixels: `(*spatial, channels)`, of any type of number.
        shape: The spatial shape to come to, as far as sides are long.

    Returns:
        `pixels`, or their means as float32.
    """
    for axis, new in enumerate(shape):
        if pixels.shape[axis] > max(_LONG, new):
            pixels = _averaged(pixels, axis, new)
    return pixels


def _averaged(pixels, axis, new):
    lines = np.moveaxis(pixels, axis, 0)
    rest = lines.shape[1:]
    lines = lines.reshape(len(lines), -1)
    weights = _area_weights(len(lines), new)
    means = np.empty((new, lines.shape[1]), np.float32)
    step = max(1, _BLOCK // len(lines))
    for start in range(0, lines.shape[1], step):
        block = slice(start, start + step)
        means[:, block] = weights @ lines[:, block].astype(np.float32)
    np.clip(means, lines.min(), lines.max(), out=means)  # rounding may lead beyond
    return np.moveaxis(means.reshape(new, *rest), 0, axis)


def _area_weights(old, new):
    """A sparse matrix `(new, old)`: which share of a new pixel each of the old ones covers."""
    from scipy import sparse

    edges = np.union1d(np.arange(old + 1) * new, np.arange(new + 1) * old)  # of old * new: exact
    starts = edges[:-1]
    shares = np.diff(edges) / old
    return sparse.csr_array((shares.astype(np.float32), (starts // old, starts // new)), (new, old))


def labels_in(labels: np.ndarray) -> list[int]:
    """The different values of an array of whole numbers, sorted, as a list."""
    if not labels.size:
        return []
    labels = labels.view(np.uint8) if labels.dtype == bool else labels
    low, high = int(labels.min()), int(labels.max())
    if low < VOID or high > _SMALL:
        return np.unique(labels).tolist()
    present = np.zeros(high + 2, bool)  # the last place is that of -1
    present[labels] = True
    return [VOID] * bool(present[-1]) + np.flatnonzero(present[:-1]).tolist()


def renumbered(instances: np.ndarray) -> np.ndarray:
    """The labels 1, 2, 3, ... again, in the same order, where a number is missing."""
    objects = np.array([label for label in labels_in(instances) if label > 0], np.int64)
    if not len(objects) or objects[-1] == len(objects):
        return instances.astype(np.int32)
    if objects[-1] <= _SMALL:
        numbers = np.zeros(objects[-1] + 2, np.int32)
        numbers[objects] = np.arange(1, len(objects) + 1)
        numbers[-1] = VOID
        return numbers[instances]
    numbers = np.searchsorted(objects, instances) + 1
    return np.where(instances > 0, numbers, instances).astype(np.int32)
