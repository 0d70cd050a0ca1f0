"""Skeletons: thin, in the middle, and of the same topology where that is promised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import backend, ops
from scipy import ndimage
from skimage import measure, morphology
from thinning import BITS, CROSS, FULL, MIDDLES, is_simple, thin_one_by_one

from segloss_ref.distance import (
    _is_simple,
    dilate,
    erode,
    skeleton,
    soft_skeleton,
    thin,
    thin_volume,
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


on_tensorflow = pytest.mark.skipif(
    backend.backend() != "tensorflow", reason="compiles with tf.function"
)


@on_tensorflow
@pytest.mark.parametrize("shape", [(2, 33, 40), (2, 9, 12, 10), (1, 1, 2, 7)])
def test_skeletons_compile(shape):
    import tensorflow as tf

    masks = np.random.default_rng(5).random((*shape, 2)) > 0.2
    want = ops.convert_to_numpy(skeleton(ops.convert_to_tensor(masks)))
    unknown = tf.TensorSpec((None,) * (len(shape)) + (2,), "bool")
    for compiled in (
        tf.function(skeleton, jit_compile=True),
        tf.function(skeleton, input_signature=[unknown]),
    ):
        np.testing.assert_array_equal(compiled(tf.constant(masks)), want)


# --- Volumes -------------------------------------------------------------------------------------


def test_is_simple_by_definition():
    density = np.linspace(0.1, 0.9, 4000)[:, None, None, None]
    masks = np.random.default_rng(10).random((4000, 3, 3, 3)) < density
    codes = np.sum(masks.reshape(-1, 27) << BITS, axis=1, dtype="int32") & ~(1 << 13)
    want = [is_simple(mask) for mask in masks]
    assert 500 < sum(want) < 3500
    np.testing.assert_array_equal(_is_simple(ops.convert_to_tensor(codes)), want)


FACES, EDGES, CORNERS = (BITS[MIDDLES == count] for count in (2, 1, 0))


@pytest.mark.parametrize("corners", ["none", "some", "all"])
def test_is_simple_with_all_faces_and_edges(corners):
    """All 2^18 of them, among which are the longest paths from face to face."""
    number = np.arange(2**18, dtype="int32")
    bits = [bit for bits in (FACES, EDGES) for bit in bits]
    codes = sum(((number >> i) & 1) << bit for i, bit in enumerate(bits))
    if corners != "none":
        all_of = np.random.default_rng(11).integers(0, 2, (8, 2**18)) | (corners == "all")
        codes = codes + sum(corner << bit for corner, bit in zip(all_of, CORNERS))
    got = ops.convert_to_numpy(_is_simple(ops.convert_to_tensor(codes.astype("int32"))))
    np.testing.assert_array_equal(got, are_simple(codes))


def are_simple(codes):
    """`is_simple` of many neighbourhoods without the voxel itself, at once."""
    masks = ((codes[:, None] >> BITS) & 1).astype(bool)
    background = label_each(~masks & (MIDDLES >= 1) & (MIDDLES < 3), CROSS)
    return is_one_piece(background[:, MIDDLES == 2]) & is_one_piece(label_each(masks, FULL))


def label_each(masks, structure):
    """Labels of pieces of 3 x 3 x 3 voxels, which do not touch along their own axis."""
    apart = np.zeros((3, 3, 3, 3), bool)
    apart[1] = structure
    return ndimage.label(masks.reshape(-1, 3, 3, 3), apart)[0].reshape(-1, 27)


def is_one_piece(labels):
    greatest = labels.max(axis=1)
    return (greatest > 0) & ((labels == 0) | (labels == greatest[:, None])).all(axis=1)


def some_volumes(shape, seed):
    """Smooth pieces, and noise of four densities."""
    rng = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(rng.normal(size=(2, *shape)), (0, s, s, s)) for s in (1, 2)]
    noise = rng.random((4, *shape)) < np.reshape([0.2, 0.4, 0.6, 0.8], (4, 1, 1, 1))
    return np.concatenate([*(volumes > 0 for volumes in smooth), noise])


@pytest.mark.parametrize("shape", [(7, 9, 8), (6, 5, 10)])
def test_thin_volume_equals_the_same_one_by_one(shape):
    masks = some_volumes(shape, seed=12)
    want = np.stack([thin_one_by_one(mask) for mask in masks])
    np.testing.assert_array_equal(on(thin_volume, masks), want)


def topology(mask):
    """Pieces, cavities and the outside, and the Euler number, which then counts the tunnels."""
    outside = ~np.pad(mask, 1)
    pieces = measure.label(mask, connectivity=3).max(), measure.label(outside, connectivity=1).max()
    return *pieces, measure.euler_number(mask, 3)


def assert_same_topology(thinned, masks):
    assert not (thinned & ~masks).any()
    for line, mask in zip(thinned, masks):
        assert topology(line) == topology(mask)


def test_thin_volume_keeps_the_topology():
    masks = some_volumes((25, 24, 23), seed=13)
    thinned = on(thin_volume, masks)
    assert_same_topology(thinned, masks)
    np.testing.assert_array_equal(on(thin_volume, thinned), thinned)  # nothing is left to peel
    for line, mask in zip(thinned[:4], masks):  # they differ in branches, which noise has no end of
        other = morphology.skeletonize(mask)
        near = ndimage.binary_dilation(line, FULL, iterations=2)
        assert (other & ~near).sum() <= 0.1 * other.sum()
        assert 0.7 < line.sum() / other.sum() < 1.5


def test_thin_volume_keeps_the_topology_of_small_masks():
    """All 2^8 masks of 2 x 2 x 2 voxels, and many of 3 x 3 x 3."""
    corners = np.zeros((256, 3, 3, 3), bool)
    corners[:, :2, :2, :2] = ((np.arange(256)[:, None] >> np.arange(8)) & 1).reshape(-1, 2, 2, 2)
    masks = np.concatenate([corners, np.random.default_rng(14).random((1500, 3, 3, 3)) > 0.4])
    assert_same_topology(on(thin_volume, masks), masks)


@settings(deadline=None, max_examples=15)
@given(arrays(bool, (8, 5, 6, 7), elements=st.booleans()))
def test_thin_volume_keeps_the_topology_of_any_mask(masks):
    assert_same_topology(on(thin_volume, masks), masks)


def simple_volumes():
    """Of 16 x 17 x 18 voxels: their names, masks, and topologies."""
    z, y, x = np.indices((16, 17, 18)) - np.reshape([7.5, 8, 8.5], (3, 1, 1, 1))
    radius = np.sqrt(z**2 + y**2 + x**2)
    return {
        "ball": (radius < 6, (1, 1, 1)),
        "hollow ball": ((radius < 7) & (radius > 3), (1, 2, 2)),
        "torus": (np.hypot(np.hypot(y, x) - 5, z) < 2.2, (1, 1, 0)),
        "hollow torus": (abs(np.hypot(np.hypot(y, x) - 5, z) - 2.5) < 0.9, (1, 2, 0)),
        "two rods": (np.hypot(abs(y) - 4, z) < 2.5, (2, 1, 2)),
        "full": (radius < 99, (1, 1, 1)),
        "empty": (radius < 0, (0, 1, 0)),
    }


def test_thin_volume_of_simple_volumes():
    masks, topologies = zip(*simple_volumes().values())
    thinned = on(thin_volume, masks)
    for name, line, of in zip(simple_volumes(), thinned, topologies):
        assert topology(line) == of, name
    sizes = dict(zip(simple_volumes(), thinned.sum(axis=(1, 2, 3))))
    assert sizes["ball"] <= 2 and sizes["full"] <= 9 and sizes["empty"] == 0
    torus, rods = thinned[2], thinned[4]
    neighbours = ndimage.convolve(torus.astype(int), FULL.astype(int), mode="constant") - 1
    assert (neighbours[torus] == 2).all() and 25 < sizes["torus"] < 45  # a closed line
    assert (rods.sum(axis=(0, 1)) <= 2).all() and sizes["two rods"] > 2 * 10


def test_thin_volume_by_hand():
    masks, lines = np.zeros((2, 5, 5, 5, 9), bool)
    masks[0, 1:4, 1:4, 1:8] = lines[0, 2, 2, 2:7] = True  # a rod of 3 x 3 x 7
    masks[1, 2, 2, 1:8] = lines[1, 2, 2, 1:8] = True  # a line
    masks[2, 0, 0, 0] = lines[2, 0, 0, 0] = True  # a voxel in a corner
    masks[3, [0, 1, 2], [0, 1, 2], [3, 4, 5]] = lines[3, [0, 1, 2], [0, 1, 2], [3, 4, 5]] = True
    np.testing.assert_array_equal(on(thin_volume, masks), lines)


def test_thin_volume_takes_images_and_channels_one_by_one():
    masks = some_volumes((5, 6, 7), seed=15).reshape(2, 4, 5, 6, 7)
    got = ops.convert_to_numpy(thin_volume(ops.convert_to_tensor(np.moveaxis(masks, 1, -1))))
    want = on(thin_volume, masks.reshape(8, 5, 6, 7)).reshape(masks.shape)
    np.testing.assert_array_equal(np.moveaxis(got, -1, 1), want)


# --- Soft skeletons ------------------------------------------------------------------------------


def test_erosion_and_dilation_equal_scipy():
    x = np.random.default_rng(7).random((2, 6, 7, 5)).astype("float32")
    cross = ndimage.generate_binary_structure(3, 1)
    for image, least, greatest in zip(x, on(lambda x: erode(x, 1), x), on(dilate, x)):
        options = {"footprint": cross, "mode": "constant"}
        np.testing.assert_array_equal(least, ndimage.minimum_filter(image, cval=1, **options))
        np.testing.assert_array_equal(greatest, ndimage.maximum_filter(image, cval=0, **options))


def lantuejoul(mask):
    """Union of what an opening loses at each erosion, in SciPy."""
    box, found = np.ones((3,) * mask.ndim, bool), np.zeros_like(mask)
    while mask.any():
        eroded = ndimage.binary_erosion(mask)
        found |= mask & ~ndimage.binary_dilation(eroded, box)
        mask = eroded
    return found


@pytest.mark.parametrize("shape", [(8, 9), (5, 6, 7)])
def test_soft_skeleton_of_a_hard_mask_is_the_morphological_one(shape):
    """In a frame of background, where what stands beyond the edge does not matter."""
    masks = np.random.default_rng(8).random((5, *shape)) > 0.15
    masks = np.pad(masks, [(0, 0)] + [(1, 1)] * len(shape))
    soft = on(soft_skeleton, masks.astype("float32"), 8)
    np.testing.assert_array_equal(soft, np.stack([lantuejoul(mask) for mask in masks]))


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


@on_tensorflow
@pytest.mark.parametrize("spatial", [(9, 8), (6, 5, 7)])
def test_soft_skeleton_and_its_gradient_compile(spatial):
    import tensorflow as tf

    p, weight = np.random.default_rng(16).random((2, 2, *spatial, 2))
    signature = [tf.TensorSpec((None,) * p.ndim, "float64")] * 2

    def run(p, weight):
        with tf.GradientTape() as tape:
            tape.watch(p)
            result = ops.sum(weight * soft_skeleton(p, 4))
        return result, tape.gradient(result, p)

    data = tf.constant(p), tf.constant(weight)
    value, gradient = run(*data)
    direction, step = np.random.default_rng(17).normal(size=p.shape), 1e-7
    ahead, behind = (run(tf.constant(p + s * direction), data[1])[0] for s in (step, -step))
    slope = float(ahead - behind) / (2 * step)
    assert float(np.sum(gradient * direction)) == pytest.approx(slope, rel=1e-6)
    for function in (tf.function(run, jit_compile=True), tf.function(run, signature)):
        for got, want in zip(function(*data), (value, gradient)):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
