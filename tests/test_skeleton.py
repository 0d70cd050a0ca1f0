"""Skeletons: thin, in the middle, and of the same topology where that is promised."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops
from scipy import ndimage
from skimage import measure, morphology

from segloss_ref.distance import (
    dilate,
    erode,
    morphological_skeleton,
    skeleton,
    soft_skeleton,
    thin,
)


def on(function, images, *args):
    """Calls a function of a batch with channels, on images without."""
    result = function(ops.convert_to_tensor(np.asarray(images)[..., None]), *args)
    return ops.convert_to_numpy(result)[..., 0]


def picture(text):
    return np.array([[c == "#" for c in row] for row in text.split()])


BY_HAND = {
    "bar": (".....  #####  #####  #####  .....", ".....  .....  .###.  .....  ....."),
    "diagonal": ("#...  .#..  ..#.  ...#", "#...  .#..  ..#.  ...#"),
    "ring": ("###  #.#  ###", ".#.  #.#  .#."),
    "pixel": ("...  .#.  ...", "...  .#.  ..."),
    "pixel in a corner": ("#..  ...  ...", "#..  ...  ..."),
    "line at the edge": ("####  ....", "####  ...."),
    "two apart": ("#.#  ...  ...", "#.#  ...  ..."),
    "empty": ("...  ...", "...  ..."),
    "full": ("###  ###  ###", "...  .#.  ..."),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_thin_by_hand(name):
    mask, want = (picture(text) for text in BY_HAND[name])
    np.testing.assert_array_equal(on(thin, mask[None])[0], want)


@pytest.fixture
def blobs():
    noise = np.random.default_rng(3).normal(size=(12, 33, 40))
    return ndimage.gaussian_filter(noise, (0, 2, 2)) > 0


def test_thin_equals_skimage(blobs):
    masks = np.concatenate([blobs, np.random.default_rng(4).random((20, 33, 40)) > 0.4])
    want = np.stack([morphology.thin(mask) for mask in masks])
    np.testing.assert_array_equal(on(thin, masks), want)


def all_masks(side):
    numbers = np.arange(2 ** (side * side))
    bits = (numbers[:, None] >> np.arange(side * side)) & 1
    return bits.astype(bool).reshape(-1, side, side)


def test_thin_keeps_pieces_and_holes_of_every_small_mask():
    """All 2^16 masks of 4 x 4 pixels, set into background, so that no piece touches another."""
    masks = np.pad(all_masks(4), [(0, 0), (1, 1), (1, 1)])
    thinned = on(thin, masks)
    assert not (thinned & ~masks).any()
    for foreground, structure in ((True, np.ones((3, 3))), (False, None)):
        pieces = [count_each(m == foreground, structure) for m in (masks, thinned)]
        np.testing.assert_array_equal(*pieces)


def count_each(masks, structure):
    """Connected pieces in each of many images, which do not touch along their own axis."""
    apart = np.zeros((3, 3, 3), bool)
    apart[1] = ndimage.generate_binary_structure(2, 1) if structure is None else structure
    labels, _ = ndimage.label(masks, apart)
    first = labels.reshape(len(labels), -1).max(axis=1)
    before = np.maximum.accumulate(np.r_[0, first[:-1]])
    return np.maximum(first - before, 0)


@settings(deadline=None, max_examples=60)
@given(arrays(bool, (9, 11), elements=st.booleans()))
def test_thin_keeps_the_topology(mask):
    line = on(thin, mask[None])[0]
    assert not (line & ~mask).any()
    assert measure.label(line, connectivity=2).max() == measure.label(mask, connectivity=2).max()
    assert measure.euler_number(line, 2) == measure.euler_number(mask, 2)
    np.testing.assert_array_equal(on(thin, line[None])[0], line)  # there is nothing left to peel


def test_thin_is_one_pixel_wide_and_near_that_of_zhang_and_suen(blobs):
    lines = on(thin, blobs)
    full_blocks = lines[:, 1:, 1:] & lines[:, 1:, :-1] & lines[:, :-1, 1:] & lines[:, :-1, :-1]
    assert full_blocks.sum() == 0
    for line, mask in zip(lines, blobs):
        other = morphology.skeletonize(mask)
        near = ndimage.binary_dilation(line, np.ones((3, 3)), iterations=2)
        assert (other & ~near).sum() <= 0.1 * other.sum()  # they differ in short branches
        assert 0.7 < line.sum() / other.sum() < 1.3


def test_thin_takes_images_and_channels_one_by_one(blobs):
    masks = blobs.reshape(3, 4, 33, 40).transpose(0, 2, 3, 1)
    got = ops.convert_to_numpy(thin(ops.convert_to_tensor(masks)))
    want = on(thin, blobs).reshape(3, 4, 33, 40).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shape", [(2, 33, 40), (2, 9, 12, 10)])
def test_skeletons_compile(shape):
    masks = np.random.default_rng(5).random((*shape, 2)) > 0.2
    want = ops.convert_to_numpy(skeleton(ops.convert_to_tensor(masks)))
    unknown = tf.TensorSpec((None,) * (len(shape)) + (2,), "bool")
    for compiled in (
        tf.function(skeleton, jit_compile=True),
        tf.function(skeleton, input_signature=[unknown]),
    ):
        np.testing.assert_array_equal(compiled(tf.constant(masks)), want)


def lantuejoul(mask):
    """Union of what an opening loses at each erosion, in SciPy."""
    box, found = np.ones((3,) * mask.ndim, bool), np.zeros_like(mask)
    while mask.any():
        eroded = ndimage.binary_erosion(mask)
        found |= mask & ~ndimage.binary_dilation(eroded, box)
        mask = eroded
    return found


@pytest.mark.parametrize("shape", [(21, 24), (13, 12, 14)])
def test_morphological_skeleton_equals_scipy(shape):
    noise = np.random.default_rng(6).normal(size=(4, *shape))
    masks = ndimage.gaussian_filter(noise, (0,) + (2,) * len(shape)) > 0
    want = np.stack([lantuejoul(mask) for mask in masks])
    got = on(morphological_skeleton, masks)
    np.testing.assert_array_equal(got, want)
    assert want.any() and not (got & ~masks).any()


def test_morphological_skeleton_of_simple_volumes():
    full = np.ones((1, 5, 5, 5), bool)
    middle = np.zeros_like(full)
    middle[0, 2, 2, 2] = True
    np.testing.assert_array_equal(on(morphological_skeleton, full), middle)
    np.testing.assert_array_equal(on(morphological_skeleton, middle), middle)
    assert not on(morphological_skeleton, np.zeros((1, 3, 4, 5), bool)).any()
    rod = np.zeros((1, 5, 5, 9), bool)
    rod[0, 1:4, 1:4, 1:8] = True
    line = np.zeros_like(rod)
    line[0, 2, 2, 2:7] = True
    np.testing.assert_array_equal(on(morphological_skeleton, rod), line)


def test_the_tube_closes_the_gaps_of_a_vessel_with_a_bulge():
    """Documented: a morphological skeleton has gaps, and one dilation closes them."""
    down, right, along = np.indices((15, 15, 40))
    width = 1.5 + 3 * np.exp(-(((along - 12) / 5.0) ** 2))
    mask = (np.hypot(down - 7, right - 7) <= width) & (along > 2) & (along < 37)
    line = on(morphological_skeleton, mask[None])[0]
    assert measure.label(line, connectivity=3).max() == 7
    assert measure.label(ndimage.binary_dilation(line) & mask, connectivity=3).max() == 1


def test_erosion_and_dilation_equal_scipy():
    x = np.random.default_rng(7).random((2, 6, 7, 5))
    cross = ndimage.generate_binary_structure(3, 1)
    for image, least, greatest in zip(x, on(lambda x: erode(x, 1), x), on(dilate, x)):
        options = {"footprint": cross, "mode": "constant"}
        np.testing.assert_array_equal(least, ndimage.minimum_filter(image, cval=1, **options))
        np.testing.assert_array_equal(greatest, ndimage.maximum_filter(image, cval=0, **options))


@pytest.mark.parametrize("shape", [(8, 9), (5, 6, 7)])
def test_soft_skeleton_of_a_hard_mask_is_the_morphological_one(shape):
    """In a frame of background, where what stands beyond the edge does not matter."""
    masks = np.random.default_rng(8).random((5, *shape)) > 0.15
    masks = np.pad(masks, [(0, 0)] + [(1, 1)] * len(shape))
    soft = on(soft_skeleton, masks.astype("float32"), 8)
    np.testing.assert_array_equal(soft, on(morphological_skeleton, masks))


def test_soft_skeleton_stops_at_the_width_it_was_given():
    """A square of side 7 has a half width of 3: three erosions leave its middle."""
    square = np.zeros((1, 9, 9), "float32")
    square[0, 1:8, 1:8] = 1
    for iterations in (0, 1, 2):
        assert on(soft_skeleton, square, iterations).sum() == 0
    want = np.zeros_like(square)
    want[0, 4, 4] = 1
    np.testing.assert_array_equal(on(soft_skeleton, square, 3), want)
    np.testing.assert_array_equal(on(soft_skeleton, square, 9), want)


def test_soft_skeleton_of_flat_pictures_is_empty():
    for value in (0.0, 0.3, 1.0):
        assert on(soft_skeleton, np.full((1, 4, 5), value, "float32"), 3).max() == 0
    assert on(soft_skeleton, np.full((1, 1, 1), 0.7, "float32"), 3).max() == 0


def test_soft_skeleton_of_a_faint_line_is_that_line():
    line = np.zeros((1, 5, 6), "float32")
    line[0, 2] = 0.4
    np.testing.assert_array_equal(on(soft_skeleton, line, 2), line)


@pytest.mark.parametrize("spatial", [(6, 8), (4, 6, 5)])
def test_where_it_is_not_valid_the_picture_ends(spatial):
    rng = np.random.default_rng(9)
    p = rng.random((2, *spatial, 3))
    valid = np.ones((2, *spatial, 1), bool)
    valid[:, 3:] = False
    p[~valid[..., 0]] = rng.random((~valid).sum())[:, None] > 0.5
    got = ops.convert_to_numpy(soft_skeleton(p, 3, ops.convert_to_tensor(valid)))
    want = ops.convert_to_numpy(soft_skeleton(p[:, :3], 3))
    np.testing.assert_array_equal(got[:, :3], want)
    assert (got[:, 3:] == 0).all()
