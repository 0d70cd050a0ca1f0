"""Probabilities in 8 bits, and the cut between two of their levels that makes a mask."""

import numpy as np

#: The cuts between two levels: `p > CUTS[k - 1]` is level k and above. One half is one of them.
CUTS = (np.arange(1, 256) - 0.5) / 255


def to_levels(probabilities: np.ndarray, classes: bool = False) -> np.ndarray:
    """Probabilities rounded to 255ths, as numbers from 0 to 255.

    `l = ceil(255 p - 1/2)`

    What lies between two levels is rounded down, so that `p > c` is the same before and after for
    each c of `CUTS`, one half among them.

    Args:
        probabilities: in [0, 1], of any shape.
        classes: whether the last axis holds those of several classes. Then the most probable one
            goes one level up where rounding would make it equal to another: it stays the first.

    Returns:
        An array of the same shape, uint8.

    Raises:
        ValueError: if a probability is not a number, as after a training that diverged.

    Example:
        >>> to_levels(np.array([0.0, 0.5, 0.501, 1.0])).tolist()
        [0, 127, 128, 255]
    """
    if not np.isfinite(probabilities).all():
        raise ValueError(
            "The probabilities must be finite. Received: NaN or infinities, as from a model whose "
            "training diverged: train it with a smaller learning rate."
        )
    levels = np.ceil(255 * probabilities - 0.5).astype("uint8")
    if classes:
        first = probabilities.argmax(axis=-1, keepdims=True)
        largest = levels.max(axis=-1, keepdims=True)
        tie = (levels == largest).sum(axis=-1, keepdims=True) > 1
        np.put_along_axis(levels, first, largest + tie.astype("uint8"), axis=-1)
    return levels


def from_levels(levels: np.ndarray, classes: bool = False) -> np.ndarray:
    """Probabilities from 8 bits, float64; those of classes sum to 1 again."""
    whole = levels.sum(axis=-1, keepdims=True, dtype=float) if classes else 255
    return levels / whole
