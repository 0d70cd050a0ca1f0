"""Pieces of a surface: what marching cubes puts between the pixels of a mask, and how large it is.

Around each corner where pixels meet stand 2 × 2 of them, in three dimensions 2 × 2 × 2. Which of
these belong to the mask is a *code* of 4 or 8 bits, bit i for the i-th neighbour in C order. A code
that is neither empty nor full stands for a piece of line or surface, which parts its pixels. NumPy
and `keras.ops` read the same table.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from segloss_ref.checks import Tensor


def neighbours(framed: Tensor, axes: Sequence[int]) -> Iterator[Tensor]:
    """The 2 or 2 × 2 ... views of a framed array that stand around each corner, in C order.

    Args:
        framed: Array or tensor with one more pixel before and after along each of `axes`.
        axes: The axes of space.

    Returns:
        An iterator of views, one entry longer along each axis than the picture inside the frame.

    Example:
        >>> [view.tolist() for view in neighbours(np.array([0, 7, 0]), [0])]
        [[0, 7], [7, 0]]
    """
    sides = slice(None, -1), slice(1, None)
    for chosen in itertools.product(sides, repeat=len(axes)):
        window = dict(zip(axes, chosen, strict=True))
        yield framed[tuple(window.get(i, slice(None)) for i in range(len(framed.shape)))]


@functools.lru_cache(maxsize=64)
def facet_sizes(sides: tuple[float, ...]) -> NDArray[np.float64]:
    """Length or area of the piece that each code stands for.

    In two dimensions a corner is cut off by half a diagonal, two neighbours by a line through the
    middle of the cell. In three, marching cubes in the form of 1987 cuts off the smaller of the two
    parts. Both are surface-distance's tables, whatever the spacing.

    These are not the true sizes: a mask does not know how its surface slants within a cell. With
    square pixels the pieces of a large circle add up to 8 (√2 - 1) / π = 1.055 of 2 π r, with cubic
    ones those of a large sphere to 1.087 of 4 π r², however fine the pixels. What such a factor is
    common to, as the shares and means of metrics, does not change by it; an area does.

    Args:
        sides: A tuple of the pixel's sides, two or three numbers, in one unit.

    Returns:
        float64 array `(16,)`, in that unit, or `(256,)`, in its square; 0 for the empty and for the
        full code.

    Example:
        >>> facet_sizes((3.0, 4.0))[:4]  # none; one pixel; another; two in a row
        array([0. , 2.5, 2.5, 4. ])

    Source: Lorensen and Cline 1987, doi:10.1145/37401.37422; Nikolov et al. 2021,
        doi:10.2196/26151, and their code, github.com/google-deepmind/surface-distance
    """
    size = _length if len(sides) == 2 else _area
    cells = np.arange(2**2 ** len(sides))[:, None] >> np.arange(2 ** len(sides)) & 1
    sizes = np.array([size(cell.reshape((2,) * len(sides)), np.array(sides)) for cell in cells])
    sizes.flags.writeable = False  # it is kept for the next call
    return sizes


def _length(cell, sides):
    diagonal = np.linalg.norm(sides)
    if cell.sum() != 2:
        return diagonal / 2 if 0 < cell.sum() < 4 else 0.0
    for axis in (0, 1):  # a line along this axis parts the two pixels that it has in a row
        if (cell.sum(axis=axis) != 1).all():
            return sides[axis]
    return diagonal  # two pixels that touch at the corner alone: each is cut off


def _area(cell, sides):
    from skimage import measure

    cell = cell if cell.sum() <= 4 else 1 - cell
    if not cell.any():
        return 0.0
    corners, triangles, *_ = measure.marching_cubes(cell.astype(float), 0.5, method="lorensen")
    return measure.mesh_surface_area(corners * sides, triangles)
