"""Thinning in three dimensions, slowly: voxel after voxel, each looked at by definition."""

import numpy as np
from scipy import ndimage

FULL, CROSS = np.ones((3, 3, 3), bool), ndimage.generate_binary_structure(3, 1)
PLACES = np.indices((3, 3, 3)).reshape(3, -1)
# The bits of a neighbourhood, and how many of its coordinates are in the middle.
BITS, MIDDLES = np.dot([1, 3, 9], PLACES), (PLACES == 1).sum(axis=0)


def is_simple(around):
    """By definition, for a mask of 3 x 3 x 3 voxels (Bertrand & Malandain 1994)."""
    middles = MIDDLES.reshape(3, 3, 3)
    labels, _ = ndimage.label(~around & (middles >= 1) & (middles < 3), CROSS)
    background = set(labels[middles == 2]) - {0}
    return len(background) == 1 and ndimage.label(around & (middles < 3), FULL)[1] == 1


def thin_one_by_one(mask):
    """The same thinning, voxel after voxel."""
    volume, before = np.pad(mask, 1), None
    while not np.array_equal(volume, before):
        before = volume.copy()
        border = before & ~ndimage.binary_erosion(before, CROSS)
        is_end = ndimage.convolve(before.astype(int), FULL.astype(int), mode="constant") == 2
        voxels = [tuple(voxel) for voxel in np.argwhere(border & ~is_end)]
        for place in sorted(voxels, key=lambda v: ([(i - 1) % 2 for i in v], v)):
            around = volume[tuple(slice(i - 1, i + 2) for i in place)]
            volume[place] = not is_simple(around)
    return volume[1:-1, 1:-1, 1:-1]
