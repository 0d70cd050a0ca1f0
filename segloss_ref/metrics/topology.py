"""Topology: pieces, loops and cavities of masks, and how far their centrelines agree."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segloss_ref.checks import Tensor
from segloss_ref.metrics.common import (
    Labels,
    Pairs,
    Value,
    as_array,
    as_images,
    as_mask,
    each_image,
    in_picture,
    mask_pairs,
)

Count = int | NDArray[np.integer] | Value


class BettiNumbers(NamedTuple):
    """Counts of pieces, loops and cavities; see `betti_numbers`."""

    b0: Count
    b1: Count
    b2: Count


class BettiErrors(NamedTuple):
    """Differences of these counts between two masks; see `betti_errors`."""

    b0: Count
    b1: Count
    b2: Count


def betti_numbers(
    mask: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> BettiNumbers:
    """Betti numbers of a binary mask: of how many pieces it is, with how many loops and cavities.

    `B0 - B1 + B2 = χ`

    B0 counts the connected components. B1 counts the independent loops, which in two dimensions are
    the holes, and B2 the cavities, of which in two dimensions there is none. χ is the Euler number,
    from which B1 of a volume follows.

    Pixels of the mask that touch at a corner are one component: connectivity is 8 for the mask and
    4 for what is around it, in three dimensions 26 and 6. (Objects for the metrics of instances
    are components across edges; see `label_components`.) What lies beyond the image is outside, so
    that a ring that the image's edge cuts has no hole. These are the conventions of the numbers
    that TopoMortar publishes.

    Args:
        mask: Binary mask, `(height, width)` or `(depth, height, width)`, or -1 out of the picture:
            those pixels belong to the outside.
        spatial_dims: 2 or 3, the axes of space. With one axis more the masks are a batch, and each
            image gets its own numbers. By default one image of two dimensions.
        ignore_class: Label of `mask` that is out of the picture, or several, beside -1.

    Returns:
        A named tuple, `b0`, `b1` and `b2`, of whole numbers, or of arrays `(n,)`. An empty mask:
        0, 0 and 0.

    Raises:
        ValueError: If `mask` is not a binary mask.

    Example:
        >>> betti_numbers([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]])
        BettiNumbers(b0=1, b1=1, b2=0)

    Source: Hu et al. 2019, arXiv:1906.05404, section 3
    """
    array = as_array(mask, "mask")
    images = as_images(array, "mask", spatial_dims)
    valid = in_picture(images, ignore_class)
    inside = as_mask(images, valid, "mask")
    pairs = Pairs(inside, inside, valid, single=images.ndim > array.ndim)
    nothing = BettiNumbers(np.nan, np.nan, np.nan)
    return each_image(lambda mask, _, valid: _betti_numbers(mask), pairs, nothing)


def betti_errors(
    y_true: Tensor, y_pred: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> BettiErrors:
    """Differences of the Betti numbers of two binary masks, whole image by whole image.

    `|B_k(y_pred) - B_k(y_true)|`, k = 0, 1, 2

    It compares counts: a piece too many here and one too few there give 0. The authors named below
    average the errors of small windows, in which less cancels out.

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own values: arrays `(n,)`. By default one image of two dimensions.
        ignore_class: Label of `y_true` to leave out, or several, beside -1: these pixels belong to
            neither mask.

    Returns:
        A named tuple, `b0`, `b1` and `b2`, see `betti_numbers`. Both masks empty: 0. One of them
        empty: the numbers of the other.

    Raises:
        ValueError: If the two are not binary masks of one shape.

    Example:
        >>> betti_errors([[1, 1, 1, 1, 1]], [[1, 0, 1, 0, 1]])
        BettiErrors(b0=2, b1=0, b2=0)

    Source: Hu et al. 2019, arXiv:1906.05404, section 3
    """

    def errors(true, pred, valid):
        return BettiErrors(
            *(abs(p - t) for t, p in zip(_betti_numbers(true), _betti_numbers(pred)))
        )

    pairs = mask_pairs(y_true, y_pred, spatial_dims, ignore_class)
    return each_image(errors, pairs, BettiErrors(np.nan, np.nan, np.nan))


def cl_dice(
    y_true: Tensor, y_pred: Tensor, *, spatial_dims: int | None = None, ignore_class: Labels = None
) -> Value:
    """Centreline Dice of two binary masks: how much of each skeleton lies in the other mask.

    `2 T_p T_s / (T_p + T_s)` with `T_p = |S_P and T| / |S_P|`, `T_s = |S_T and P| / |S_T|`

    with T and P the true and the predicted mask, and S_T and S_P their skeletons: one pixel thin
    and connected as the masks are. The loss `ClDiceLoss` uses a soft skeleton instead, which has
    gaps. Skeletons are those of `skimage.morphology.skeletonize`, of Zhang in two dimensions and of
    Lee in three; pieces of a volume of which Lee's leaves nothing are their own skeleton.

    Args:
        y_true, y_pred: Binary masks of one shape, `(height, width)` or `(depth, height, width)`.
        spatial_dims: 2 or 3, the axes of space. With one axis more the arrays are a batch, and each
            image gets its own value: an array `(n,)`. By default one image of two dimensions.
        ignore_class: Label of `y_true` to leave out, or several, beside -1: these pixels belong to
            neither mask.

    Returns:
        A float in [0, 1]. Both masks empty: 1. One of them empty: 0.

    Raises:
        ValueError: If the two are not binary masks of one shape.

    Example:
        >>> cl_dice([[1, 1, 1, 1]], [[1, 1, 0, 0]]) == 2 * 1 * 0.5 / (1 + 0.5)
        True

    Source: Shit et al. 2021, arXiv:2003.07311, equations 1 and 2
    """

    def agreement(true, pred, valid):
        if not (true.any() and pred.any()):
            return float(true.any() == pred.any())
        skeletons = zip((_skeleton(pred), _skeleton(true)), (true, pred))
        precision, sensitivity = (np.mean(mask[line]) for line, mask in skeletons)
        both = precision + sensitivity
        return float(2 * precision * sensitivity / both) if both else 0.0

    return each_image(agreement, mask_pairs(y_true, y_pred, spatial_dims, ignore_class))


# --- Shared parts -------------------------------------------------------------------------------


def _betti_numbers(mask):
    from scipy import ndimage
    from skimage.measure import euler_number

    framed = np.pad(mask, 1)  # one outside, all around
    pieces = ndimage.label(framed, np.ones((3,) * mask.ndim))[1]
    enclosed = ndimage.label(~framed)[1] - 1
    if mask.ndim == 2:
        return BettiNumbers(pieces, enclosed, 0)
    loops = pieces + enclosed - int(euler_number(framed, connectivity=3))
    return BettiNumbers(pieces, loops, enclosed)


def _skeleton(mask):
    from scipy import ndimage
    from skimage.morphology import skeletonize

    line = skeletonize(mask) > 0
    if mask.ndim == 3:  # of a cube of two voxels nothing is left
        pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
        kept = np.bincount(pieces[line], minlength=count + 1) > 0
        line |= mask & ~kept[pieces]
    return line
