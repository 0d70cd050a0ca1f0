"""Distances between labelled objects, in `keras.ops`: on the device, inside a training step.

A distance runs from pixel centre to pixel centre, in pixels, as in
`scipy.ndimage.distance_transform_edt`: 0 on an object, 1 on the pixel beside it.
"""

from keras import ops

_FAR = float("inf")
# What stands beyond the edge of the image: no object at all, see `_nearer_two`.
_NOTHING = (_FAR, 0, _FAR)


def nearest_two_labels(labels, radius):
    """Distances to the nearest and to the second nearest *different* label.

    `d1(x) = min over l of D(x, l)` and `d2(x) = min over l != l1(x) of D(x, l)`, where `D(x, l)`
    is the Euclidean distance from pixel `x` to the nearest pixel labelled `l`, and `l1(x)` is the
    label that attains `d1(x)`.

    Every pixel carries its two best labels, first along its row, then across the rows. This is
    exact: a label that is not among the two best of a column's pixel has two better ones there,
    and they stay better for everyone who looks through that pixel. Time and memory do not depend
    on the number of labels.

    Args:
        labels: Integer tensor `(batch, height, width)`; only labels above 0 are objects.
        radius: Whole number of pixels, at least 1, a Python number. Distances up to it are exact.

    Returns:
        Two float32 tensors `(batch, height, width)` in pixels, `d1 <= d2`; infinity where
        there is no such label within `radius`.

    Raises:
        ValueError: If `radius` is not a whole number above 0.

    Example:
        >>> nearest, second = nearest_two_labels(ops.array([[[1, 0, 0, 2]]]), radius=5)
        >>> print(ops.convert_to_numpy(nearest), ops.convert_to_numpy(second))
        [[[0. 1. 1. 0.]]] [[[3. 2. 2. 3.]]]
    """
    if int(radius) != radius or radius < 1:
        raise ValueError(
            f"`radius` must be a whole number of pixels, 1 or more. Received: {radius}"
        )
    radius = int(radius)
    labels = ops.cast(ops.convert_to_tensor(labels), "int32")
    nearest = ops.where(labels > 0, 0.0, _FAR)
    best = (nearest, labels, ops.full_like(nearest, _FAR))

    nearest, labels, second = _along_rows(best, radius)
    best = (ops.square(nearest), labels, ops.square(second))
    distances = _across_rows(best, radius)
    return tuple(ops.where(d <= radius**2, ops.sqrt(d), _FAR) for d in (distances[0], distances[2]))


def _nearer_two(a, b):
    """The two nearest different labels out of two such pairs.

    A pair is `(nearest, label, second)`; whose label `second` belongs to is never needed. If the
    two nearest labels are the same, `second` is the smaller of both. If they differ, the farther
    of the two nearest is a candidate as well, and the loser's own second, being farther still,
    does no harm in the minimum.
    """
    nearest_a, label_a, second_a = a
    nearest_b, label_b, second_b = b
    loser = ops.where(label_a == label_b, _FAR, ops.maximum(nearest_a, nearest_b))
    return (
        ops.minimum(nearest_a, nearest_b),
        ops.where(nearest_a <= nearest_b, label_a, label_b),
        ops.minimum(ops.minimum(second_a, second_b), loser),
    )


def _with_neighbours(best, padded, axis, margin, offset, cost):
    """Merges `best` with the pairs `offset` pixels to both sides, which are `cost` farther away."""
    shape = ops.shape(best[0])
    for start in (margin - offset, margin + offset):
        window = [0, 0, 0]
        window[axis] = start
        nearest, label, second = (ops.slice(x, window, shape) for x in padded)
        best = _nearer_two(best, (nearest + cost, label, second + cost))
    return best


def _pad(best, axis, margin):
    widths = [(0, 0)] * 3
    widths[axis] = (margin, margin)
    return [
        ops.pad(x, widths, constant_values=fill) for x, fill in zip(best, _NOTHING, strict=True)
    ]


def _along_rows(best, radius):
    # Along one axis distances add up, so strides 1, 2, 4, ... reach all offsets up to their sum.
    strides = radius.bit_length()
    margin = 2 ** (strides - 1)

    def double(_, state):
        stride, best = state[0], state[1:]
        cost = ops.cast(stride, "float32")
        best = _with_neighbours(best, _pad(best, 2, margin), 2, margin, stride, cost)
        return (stride * 2, *best)

    return ops.fori_loop(0, strides, double, (1, *best))[1:]


def _across_rows(best, radius):
    # Squared distances of the two axes add up, those of two steps along one axis do not: every
    # offset takes its turn. A loop, not 2 * radius copies of its body, which compile for seconds.
    padded = _pad(best, 1, radius)

    def look(offset, best):
        cost = ops.cast(offset * offset, "float32")
        return _with_neighbours(best, padded, 1, radius, offset, cost)

    return ops.fori_loop(1, radius + 1, look, best)
