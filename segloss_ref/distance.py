"""Distances to masks and labelled objects, in `keras.ops`: on the device, inside a training step.

A distance runs from pixel centre to pixel centre, in pixels, as in
`scipy.ndimage.distance_transform_edt`: 0 on an object, 1 on the pixel beside it.
"""

from typing import Any

from keras import backend, ops

from segloss_ref.checks import Tensor, check_spacing, check_whole, sides_of

_FAR = float("inf")
# What float32 may make of a square, as a share.
_ROUNDING = 2**-21
# What stands beyond the edge of the image: no object at all, see `_nearer_two`.
_NOTHING = (_FAR, 0, _FAR)


def nearest_two_labels(
    labels: Tensor,
    radius: int,
    nearest_radius: int | None = None,
    spacing: float | tuple[float, ...] = 1.0,
) -> tuple[Tensor, Tensor]:
    """Distances to the nearest and to the second nearest *different* label.

    `d1(x) = min over l of D(x, l)` and `d2(x) = min over l != l1(x) of D(x, l)`, where `D(x, l)`
    is the Euclidean distance from pixel `x` to the nearest pixel labelled `l`, and `l1(x)` is the
    label that attains `d1(x)`.

    Every pixel learns its two best labels in its column; then it looks for the best of the columns
    at its sides, and for the best other one. This is exact: a label that is not among the two best
    of a column's pixel has two better ones there, and they stay better for everyone who looks
    through that pixel. Time and memory do not depend on the number of labels.

    Args:
        labels: Integer tensor `(batch, height, width)`; only labels above 0 are objects.
        radius: Whole number, at least 1, a Python number, in the unit of `spacing`: pixels by
            default. Distances up to it are exact.
        nearest_radius: The same for d1 alone, if that is enough: it saves time. Pixels farther
            from all labels have neither distance. `None`: `radius`.
        spacing: Size of a pixel, one number or one for each axis of space, in the unit wanted.

    Returns:
        Two float32 tensors `(batch, height, width)` in the unit of `spacing`, `d1 <= d2`; infinity
        where there is no such label within the radius.

    Raises:
        ValueError: If a radius is not a whole number above 0, `nearest_radius` exceeds `radius`,
            `spacing` is not above 0 or of other axes, or `labels` has another shape.

    Example:
        >>> nearest, second = nearest_two_labels(ops.array([[[1, 0, 0, 2]]]), radius=5)
        >>> print(ops.convert_to_numpy(nearest), ops.convert_to_numpy(second))
        [[[0. 1. 1. 0.]]] [[[3. 2. 2. 3.]]]
    """
    radius = check_whole("radius", radius, at_least=1)
    if nearest_radius is None:
        nearest_radius = radius
    check_whole("nearest_radius", nearest_radius, at_least=1, at_most=radius)
    labels = ops.cast(ops.convert_to_tensor(labels), "int32")
    if len(labels.shape) != 3:
        raise ValueError(
            f"`labels` must be of shape (batch, height, width). Received: {tuple(labels.shape)}"
        )
    sides = sides_of(check_spacing("spacing", spacing), 2)
    height, width = labels.shape[1:]
    # The axis that is looked along comes first: there, a window of a tensor need not be copied.
    labels = ops.transpose(labels, (1, 0, 2))
    along = _two_along_columns(labels, _steps(radius, sides[0], height))
    nearest, label, second = (ops.transpose(x, (2, 1, 0)) for x in along)
    columns = ops.square(nearest * sides[0]), label, ops.square(second * sides[0])
    reach, nearest_reach = (_steps(r, sides[1], width) for r in (radius, nearest_radius))
    nearest, second = _two_across_columns(columns, reach, nearest_reach, sides[1])
    # Sides that are no whole numbers are rounded, and their squares again.
    largest, largest_nearest = (r**2 * (1 + _ROUNDING) for r in (radius, nearest_radius))
    reached = nearest <= largest_nearest
    second = ops.where(reached & (second <= largest), ops.sqrt(second), _FAR)
    nearest = ops.where(reached, ops.sqrt(nearest), _FAR)
    return ops.transpose(nearest, (1, 2, 0)), ops.transpose(second, (1, 2, 0))


def _steps(radius, side, size):
    """How many pixels of this side may lie within the radius, along an axis of this size."""
    steps = max(int(radius / side * (1 + _ROUNDING)), 1)
    return steps if size is None else max(min(steps, size - 1), 1)


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


def _windows(x, margin, beyond):
    """A function that gives `x`, moved by an offset of up to `margin` along its first axis."""
    shape = ops.shape(x)
    padded = ops.pad(x, ((margin, margin), (0, 0), (0, 0)), constant_values=beyond)
    return lambda offset: ops.slice(padded, (margin + offset, 0, 0), shape)


def _two_along_columns(labels, reach):
    """The pair of each pixel, in its own column, `(height, batch, width)`: pixels, not squared."""
    # Along one axis distances add up, so strides 1, 2, 4, ... reach all offsets up to their sum.
    strides = reach.bit_length()
    margin = 2 ** (strides - 1)

    def double(_, state):
        stride, best = state[0], state[1:]
        cost = ops.cast(stride, "float32")
        windows = [_windows(x, margin, fill) for x, fill in zip(best, _NOTHING, strict=True)]
        for offset in (-stride, stride):
            nearest, label, second = (window(offset) for window in windows)
            best = _nearer_two(best, (nearest + cost, label, second + cost))
        return (stride * 2, *best)

    nearest = ops.where(labels > 0, 0.0, _FAR)
    start = (1, nearest, labels, ops.full_like(nearest, _FAR))
    return ops.fori_loop(0, strides, double, start)[1:]


def _two_across_columns(columns, reach, nearest_reach, side):
    """Squared distances of the pair of each pixel, `(width, batch, height)`, from the columns'.

    Squared distances of the two axes add up, those of two steps along one axis do not: every
    offset takes its turn. Loops, not so many copies of their bodies, which compile for seconds.
    """
    nearest, label, second = columns
    nearest_at, label_at, second_at = (
        _windows(x, reach, beyond) for x, beyond in zip(columns, _NOTHING)
    )

    def cost(offset):
        return ops.cast(offset * offset, "float32") * side**2

    def look_for_nearest(offset, best):
        before, after = nearest_at(-offset), nearest_at(offset)
        labels = ops.where(before <= after, label_at(-offset), label_at(offset))
        nearer = ops.minimum(before, after) + cost(offset)
        return ops.minimum(best[0], nearer), ops.where(best[0] <= nearer, best[1], labels)

    best, best_label = ops.fori_loop(1, nearest_reach + 1, look_for_nearest, (nearest, label))

    def best_other(offset):
        is_same = label_at(offset) == best_label
        return ops.where(is_same, second_at(offset), nearest_at(offset))

    def look_for_second(offset, best_second):
        nearer = ops.minimum(best_other(-offset), best_other(offset))
        return ops.minimum(best_second, nearer + cost(offset))

    start = ops.where(label == best_label, second, nearest)
    return best, ops.fori_loop(1, reach + 1, look_for_second, start)


# --- Distance to the nearest pixel of a mask -----------------------------------------------------


def _check_axes(x, dimensions=(2, 3)):
    """Raises unless a tensor is `(images, *spatial, channels)`: an axis that is forgotten would be
    taken for one in space, or images of a stack for slices of a volume."""
    if len(x.shape) - 2 not in dimensions:
        spatial = {2: "height, width", 3: "depth, height, width"}
        allowed = " or ".join(f"(images, {spatial[n]}, channels)" for n in dimensions)
        raise ValueError(f"The shape must be {allowed}. Received: {tuple(x.shape)}")


def squared_distance(mask: Tensor, spacing: float | tuple[float, ...] = 1.0) -> Tensor:
    """Squared Euclidean distance from every pixel to the nearest pixel of a mask.

    One axis after the other, exact at any distance. It stops when no pixel gets nearer, so the time
    grows with the largest distance, up to the side of the picture.

    Args:
        mask: Boolean tensor `(images, *spatial, channels)`, with two or three spatial dimensions,
            each channel on its own. No gradient flows back to it.
        spacing: Size of a pixel, one number or one for each axis of space, in the unit wanted.

    Returns:
        float32 tensor of the shape of `mask`, exact in pixels up to sides of 2048: 0 on the mask,
        infinity everywhere where a mask is empty.

    Example:
        >>> mask = ops.array([[[1, 0, 0], [0, 0, 0]]])[..., None] == 1
        >>> print(ops.convert_to_numpy(squared_distance(mask))[0, ..., 0])
        [[0. 1. 4.]
         [1. 2. 5.]]

    Source: Saito & Toriwaki 1994, Pattern Recognition 27(11), 1551-1565, for one axis after the
        other.
    """
    _check_axes(mask)
    first, *others = sides_of(check_spacing("spacing", spacing), len(mask.shape) - 2)
    squared = ops.square(_along_first_axis(mask) * first)
    for axis, side in enumerate(others, start=2):
        squared = _along_next_axis(squared, axis, side)
    return squared


def signed_distance(
    mask: Tensor,
    valid: Tensor | None = None,
    dtype: Any = "float32",
    spacing: float | tuple[float, ...] = 1.0,
) -> Tensor:
    """Signed distance to the other side of a mask: positive outside, negative inside.

    From pixel centre to pixel centre: the pixels on both sides of the rim are at 1 and -1, and no
    pixel is at 0. The boundary itself lies between them, half a pixel nearer.

    Args:
        mask: Boolean tensor `(images, *spatial, channels)`.
        valid: Boolean tensor that broadcasts to it. Other pixels belong to neither side, as if the
            picture ended there. `None`: all are valid.
        dtype: Of the result.
        spacing: Size of a pixel, one number or one for each axis of space, in the unit wanted.

    Returns:
        Tensor of the shape of `mask`; 0 where there is no distance: at pixels that are not valid,
        and in a whole image and channel that has pixels on one side only.

    Example:
        >>> mask = ops.array([[[0, 0, 1, 1, 1]]])[..., None] == 1
        >>> print(ops.convert_to_numpy(signed_distance(mask))[0, 0, :, 0])
        [ 2.  1. -1. -2. -3.]
    """
    _check_axes(mask)
    valid = ops.ones_like(mask) if valid is None else valid
    inside = ops.logical_and(mask, valid)
    outside = ops.logical_and(ops.logical_not(mask), valid)
    both = squared_distance(ops.concatenate([inside, outside], axis=-1), spacing)
    to_inside, to_outside = ops.split(both, 2, axis=-1)
    squared = ops.where(inside, to_outside, ops.where(outside, to_inside, 0.0))
    squared = ops.where(ops.isinf(squared), 0.0, squared)  # there is no other side
    distance = ops.sqrt(ops.cast(squared, dtype))
    return ops.where(inside, -distance, distance)


def rim(mask: Tensor) -> Tensor:
    """The pixels of a mask with a neighbour outside it, across a side (in 3-D: a face).

    What lies beyond the picture is outside.

    Args:
        mask: Boolean tensor `(images, *spatial, channels)`.

    Returns:
        Boolean tensor of the shape of `mask`.

    Example:
        >>> mask = ops.array([[[1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 0]]])[..., None] == 1
        >>> print(ops.convert_to_numpy(rim(mask))[0, ..., 0] * 1)
        [[1 1 1]
         [1 0 1]
         [1 1 1]
         [0 0 0]]
    """
    _check_axes(mask)
    inner = mask
    for axis in range(1, len(mask.shape) - 1):
        inner = ops.logical_and(inner, ops.logical_and(*_both_neighbours(mask, axis, False)))
    return ops.logical_and(mask, ops.logical_not(inner))


def _along_first_axis(mask):
    # Along one axis distances add up, so strides 1, 2, 4, ... reach all offsets up to their sum.
    size = ops.shape(mask)[1]
    place = ops.reshape(ops.arange(size), (-1,) + (1,) * (len(mask.shape) - 2))

    def double(stride, distance):
        before = ops.where(place >= stride, ops.roll(distance, stride, axis=1), _FAR)
        after = ops.where(place < size - stride, ops.roll(distance, -stride, axis=1), _FAR)
        nearer = ops.minimum(before, after) + ops.cast(stride, "float32")
        return stride * 2, ops.minimum(distance, nearer)

    start = (ops.convert_to_tensor(1, dtype="int32"), ops.where(mask, 0.0, _FAR))
    return ops.while_loop(lambda stride, distance: stride < size, double, start)[1]


def _along_next_axis(squared, axis, side):
    # Squared distances do not add up along an axis, but n steps to a neighbour that cost
    # 1, 3, 5, ... times the square of its side cost n² times that together.
    def step(cost, squared, _):
        nearer = ops.minimum(*_both_neighbours(squared, axis, _FAR)) + cost
        nearer = ops.minimum(squared, nearer)
        # A step that helps nobody is the last: the next would start from the same and cost more.
        return cost + 2 * side**2, nearer, ops.any(nearer < squared)

    start = (ops.convert_to_tensor(side**2, dtype="float32"), squared, ops.convert_to_tensor(True))
    return ops.while_loop(lambda cost, squared, helped: helped, step, start)[1]


def _both_neighbours(x, axis, beyond):
    """The values before and after each pixel along an axis; `beyond` past the edges."""
    rank = len(x.shape)
    padded = ops.pad(x, [(int(i == axis),) * 2 for i in range(rank)], constant_values=beyond)
    before, after = (
        tuple(window if i == axis else slice(None) for i in range(rank))
        for window in (slice(None, -2), slice(2, None))
    )
    return padded[before], padded[after]


# --- Skeletons -----------------------------------------------------------------------------------


def _spatial_axes(x):
    return range(1, len(x.shape) - 1)


def erode(x: Tensor, outside: float) -> Tensor:
    """The least of each pixel and its face neighbours, `(batch, *spatial, channels)`."""
    least = x
    for axis in _spatial_axes(x):
        for neighbour in _both_neighbours(x, axis, outside):
            least = ops.minimum(least, neighbour)
    return least


def dilate(x: Tensor) -> Tensor:
    """The greatest of each pixel and its face neighbours, `(batch, *spatial, channels)`.

    Nothing stands beyond the edge; values are at least 0.
    """
    greatest = x
    for axis in _spatial_axes(x):
        for neighbour in _both_neighbours(x, axis, 0):
            greatest = ops.maximum(greatest, neighbour)
    return greatest


def _dilate_box(x):
    """The same over all neighbours, diagonal ones too: one axis after the other."""
    for axis in _spatial_axes(x):
        x = ops.maximum(x, ops.maximum(*_both_neighbours(x, axis, 0)))
    return x


def soft_skeleton(p: Tensor, iterations: int, valid: Tensor | None = None) -> Tensor:
    """The soft skeleton: what an opening loses, at every depth of erosion; differentiable.

    `S = 0`; then, `iterations + 1` times: `S += (1 - S) relu(p - open(p))`, `p = erode(p)`. The
    erosion is a minimum over face neighbours, the dilation of the opening a maximum over all
    neighbours. On a hard mask this is a morphological skeleton: centred, thin, with gaps.

    Args:
        p: Tensor `(batch, *spatial, channels)` in [0, 1], two or three spatial dimensions.
        iterations: Whole number, at least 0: the half width in pixels up to which a structure
            has a skeleton. What is still thick after that many erosions has none.
        valid: Booleans `(batch, *spatial, 1)`; the picture ends where they are false. Its edge
            erodes nothing: a structure that runs out of the picture goes on behind it. So a
            picture that is full has no skeleton.

    Returns:
        Tensor of the shape of `p` in [0, 1]; 0 where `valid` is false.

    Example:
        >>> bar = np.zeros((1, 5, 7, 1), "float32")
        >>> bar[:, 1:4, 1:6] = 1
        >>> print(ops.convert_to_numpy(soft_skeleton(bar, 1))[0, ..., 0].astype(int))
        [[0 0 0 0 0 0 0]
         [0 0 0 0 0 0 0]
         [0 0 1 1 1 0 0]
         [0 0 0 0 0 0 0]
         [0 0 0 0 0 0 0]]

    Source: Shit et al. 2021 (arXiv:2003.07311), algorithm 1. The shapes of the neighbourhoods
        are those of the authors' code.
    """
    p = ops.convert_to_tensor(p)
    _check_axes(p)
    check_whole("iterations", iterations, at_least=0)
    if valid is None:
        valid = ops.ones_like(p[..., :1], dtype="bool")

    def erode_once(p, skeleton):
        eroded = erode(ops.where(valid, p, ops.ones_like(p)), outside=1)
        opened = _dilate_box(ops.where(valid, eroded, ops.zeros_like(p)))
        return eroded, skeleton + (1 - skeleton) * ops.relu(p - opened)

    _, skeleton = _repeat(iterations + 1, erode_once, (p, ops.zeros_like(p)))
    return ops.where(valid, skeleton, ops.zeros_like(p))


def _repeat(times, step, state):
    """Takes a step again and again; it is compiled once, and its gradient too.

    Unrolled, ten steps compile for minutes.
    """
    if backend.backend() == "tensorflow":
        # XLA has to know how far a gradient goes back, and `fori_loop` does not tell it.
        return ops.while_loop(lambda *_: True, step, state, maximum_iterations=times)
    return ops.fori_loop(0, times, lambda _, state: step(*state), state)


def thin(mask: Tensor) -> Tensor:
    """Thins masks to lines of one pixel, with as many pieces and holes as before.

    Pixels are peeled off from alternate sides until nothing changes, all at once. A pixel goes
    only if its neighbours hang together without it, and the ends of lines stay.

    Args:
        mask: Booleans `(batch, height, width, channels)`. Beyond the edge is background.

    Returns:
        Booleans of the same shape, true nowhere else than `mask`.

    Source: Guo & Hall 1989 (Communications of the ACM 32, 359-373), algorithm A1. Equal to
        `skimage.morphology.thin`.
    """
    _check_axes(mask, dimensions=(2,))

    def peel_both_sides(mask, _):
        thinner = _peel(_peel(mask, 1), -1)
        return thinner, ops.any(thinner != mask)

    return ops.while_loop(lambda mask, changed: changed, peel_both_sides, (mask, ops.any(mask)))[0]


def _peel(mask, side):
    """Takes the pixels away that can go from one side (1), or from the opposite one (-1)."""
    padded = ops.pad(ops.cast(mask, "int32"), [(0, 0), (1, 1), (1, 1), (0, 0)]) > 0
    to = {-1: slice(None, -2), 0: slice(1, -1), 1: slice(2, None)}

    def at(down, right):
        return padded[:, to[side * down], to[side * right]]

    north, south, west, east = at(-1, 0), at(1, 0), at(0, -1), at(0, 1)
    north_west, north_east, south_west, south_east = at(-1, -1), at(-1, 1), at(1, -1), at(1, 1)

    def count(*conditions):
        return sum(ops.cast(condition, "int32") for condition in conditions)

    pieces = count(  # of the mask around the pixel
        ~north & (north_east | east),
        ~east & (south_east | south),
        ~south & (south_west | west),
        ~west & (north_west | north),
    )
    neighbours = ops.minimum(
        count(north_west | north, north_east | east, south_east | south, south_west | west),
        count(north | north_east, east | south_east, south | south_west, west | north_west),
    )
    is_of_this_side = ~((north | north_east | ~south_east) & east)
    goes = (pieces == 1) & (neighbours >= 2) & (neighbours <= 3) & is_of_this_side
    return mask & ~goes


# The neighbours of a voxel are also the cells of its surface, which they touch: faces, edges and
# corners. Each is a bit, i + 3 j + 9 k at the place (i, j, k); the voxel itself is in the middle.


def _cells(chosen):
    places = [(i, j, k) for k in range(3) for j in range(3) for i in range(3)]
    return sum(1 << bit for bit, place in enumerate(places) if chosen(place))


_VOXEL = _cells(lambda place: place == (1, 1, 1))
_SURFACE = _cells(lambda place: place != (1, 1, 1))
_FACES = _cells(lambda place: place.count(1) == 2)
# Of each axis: a step along it in bits, and the cells that can take it forwards and backwards.
_STEPS = [
    (
        3**axis,
        _cells(lambda place, axis=axis: place[axis] < 2),
        _cells(lambda place, axis=axis: place[axis] > 0),
    )
    for axis in range(3)
]


def thin_volume(mask: Tensor) -> Tensor:
    """Thins masks in three dimensions to lines of one voxel, without a change of topology.

    There are as many pieces, tunnels and cavities as before; around a cavity a thin wall stays. One
    layer after the other is peeled off until nothing changes. A voxel goes only if it is simple
    (the topology is the same without it) and was not the end of a line.

    Args:
        mask: Booleans `(batch, depth, height, width, channels)`. Beyond the edge is background.

    Returns:
        Booleans of the same shape, true nowhere else than `mask`.

    Source: Bertrand & Aktouf 1994 ("A three-dimensional thinning algorithm using subfields",
        doi:10.1117/12.198601) for the eight subfields; Németh, Kardos & Palágyi 2010 ("Topology
        preserving 3D thinning algorithms using four and eight subfields", ICIAR) for when to look
        for ends. Pieces hang together over faces, edges and corners, the background over faces.
    """
    _check_axes(mask, dimensions=(3,))
    images, *sizes, channels = ops.shape(mask)
    volumes = ops.reshape(ops.moveaxis(ops.cast(mask, "int32"), -1, 1), (-1, *sizes))
    start = (_split(volumes, sizes), ops.any(mask))
    fields, _ = ops.while_loop(lambda _, changed: changed, _peel_volume, start)
    thinned = ops.reshape(_join(fields, sizes), (images, channels, *sizes))
    return ops.moveaxis(thinned, 1, -1) > 0


def _split(volumes, sizes):
    """Puts voxels of even and odd coordinates apart: `(2, 2, 2, volumes, ...)`, framed by zeros."""
    halves = [(size + 1) // 2 + 2 for size in sizes]
    framed = ops.pad(volumes, [(0, 0)] + [(2, 3)] * 3)
    framed = framed[:, : 2 * halves[0], : 2 * halves[1], : 2 * halves[2]]
    pairs = ops.reshape(framed, (-1, halves[0], 2, halves[1], 2, halves[2], 2))
    return ops.transpose(pairs, (2, 4, 6, 0, 1, 3, 5))


def _join(fields, sizes):
    halves = ops.shape(fields)[4:]
    pairs = ops.transpose(fields, (3, 4, 0, 5, 1, 6, 2))
    framed = ops.reshape(pairs, (-1, *(2 * half for half in halves)))
    return framed[:, 2 : 2 + sizes[0], 2 : 2 + sizes[1], 2 : 2 + sizes[2]]


def _peel_volume(fields, _):
    """Takes the outer layer off, and says whether there was one."""

    def peel_field(number, thinner):
        # Voxels of one field are not neighbours: what goes at once could go one after another.
        parity = (number // 4, number // 2 % 2, number % 2)
        before, now = _neighbourhoods(fields, parity), _neighbourhoods(thinner, parity)
        # Surface and ends are those at the start of the round. What other fields have lost since
        # lays bare a second layer, and makes a rough surface whose tips would grow branches.
        others = before & _SURFACE
        can_go = (before & _FACES != _FACES) & (others & (others - 1) != 0)
        stays = (now & _VOXEL != 0) & ~(can_go & _is_simple(now & _SURFACE))
        stays = ops.cast(stays, "int32")[None, None, None]
        return ops.slice_update(thinner, [*parity, 0, 1, 1, 1], stays)

    thinner = ops.fori_loop(0, 8, peel_field, fields)
    return thinner, ops.any(thinner != fields)


def _neighbourhoods(fields, parity):
    """The bits of each voxel of one field and of its neighbours, which are in the other fields."""
    for side, (stride, _, _) in zip(parity, _STEPS):
        sizes = ops.shape(fields)  # axis 4 is the next one in space, until axis 0 is gone
        window = [1, *sizes[1:4], sizes[4] - 2, *sizes[5:]]

        def line(field, start, window=window, fields=fields):
            corner = [field, 0, 0, 0, start] + [0] * (len(window) - 5)
            return ops.slice(fields, corner, window)[0]

        before, after = line(1 - side, side), line(1 - side, 1 + side)
        fields = before + line(side, 1) * 2**stride + after * 4**stride
    return fields


def _is_simple(neighbours):
    """Whether the free surface of a voxel is a disc: in one piece, and with Euler number 1.

    In all 2²⁶ neighbourhoods it is one if and only if the neighbours in the mask are one piece, and
    so are those outside it that hang together with a face, over faces and edges: the definition of
    Bertrand & Malandain 1994 (doi:10.1016/0167-8655(94)90046-9).
    """
    taken = neighbours
    for stride, forwards, backwards in _STEPS:  # a neighbour also takes the rim of its cell
        middle = taken & forwards & backwards
        taken = taken | middle * 2**stride | ops.right_shift(middle, stride)
    free = ~taken & _SURFACE
    faces = free & _FACES
    reached = faces & -faces
    # From one face to all that hang together with it. 20 steps reach them in all neighbourhoods,
    # each of which was tried; 19 do not.
    for stride, forwards, backwards in _STEPS * 7:
        step = (reached & forwards) * 2**stride | ops.right_shift(reached & backwards, stride)
        reached = reached | (free & step)
    return (reached & _FACES == faces) & (_euler_number(free) == 1)


def _euler_number(cells):
    """Faces less edges plus corners, added up in ever longer groups of bits."""
    # Faces and corners are even bits, edges odd ones. What is added is 1 if an odd one is missing.
    sums = (cells & 0x5555555) + (ops.right_shift(~cells, 1) & 0x5555555)
    sums = (sums & 0x3333333) + (ops.right_shift(sums, 2) & 0x3333333)
    sums = (sums & 0xF0F0F0F) + (ops.right_shift(sums, 4) & 0xF0F0F0F)
    sums = sums + ops.right_shift(sums, 8)
    sums = sums + ops.right_shift(sums, 16)
    return (sums & 0xFF) - 14


def skeleton(mask: Tensor) -> Tensor:
    """The skeleton of hard masks, `(batch, *spatial, channels)`, in two or three dimensions.

    It has the topology of the mask: see `thin` and `thin_volume`.

    Raises:
        ValueError: for another shape.
    """
    _check_axes(mask)
    return thin(mask) if len(mask.shape) == 4 else thin_volume(mask)
