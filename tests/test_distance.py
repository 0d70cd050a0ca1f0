import doctest

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops
from scipy import ndimage

from segloss_ref import distance
from segloss_ref.distance import (
    nearest_two_labels,
    rim,
    signed_distance,
    skeleton,
    soft_skeleton,
    squared_distance,
    thin,
    thin_volume,
)

INF = np.inf


def by_definition(labels, radius, spacing=1.0):
    """One distance transform of the whole image per label, sorted; infinity beyond the radius."""
    numbers = [label for label in np.unique(labels) if label > 0]
    each = [ndimage.distance_transform_edt(labels != label, sampling=spacing) for label in numbers]
    far = np.full(labels.shape, INF)
    nearest, second = np.sort([*each, far, far], axis=0)[:2]
    return np.where(nearest <= radius, nearest, INF), np.where(second <= radius, second, INF)


def two(labels, radius, spacing=1.0):
    distances = nearest_two_labels(np.asarray(labels), radius, spacing=spacing)
    return tuple(ops.convert_to_numpy(d) for d in distances)


def assert_as_defined(labels, radius, spacing=1.0):
    nearest, second = two(labels, radius, spacing)
    for image, d1, d2 in zip(labels, nearest, second, strict=True):
        expected = by_definition(image, radius, spacing)
        np.testing.assert_allclose(d1, expected[0], rtol=1e-6)
        np.testing.assert_allclose(d2, expected[1], rtol=1e-6)


HAND = [
    # A row: from its own pixel, label 1 is 0 away and label 2 is 3 away.
    ([[1, 0, 0, 2]], 5, [[0, 1, 1, 0]], [[3, 2, 2, 3]]),
    # The same label on the other side is no second label.
    ([[1, 0, 1]], 5, [[0, 1, 0]], [[INF, INF, INF]]),
    # A label in two pieces, another one farther than both: the piece does not hide it.
    ([[2, 1, 0, 1]], 5, [[0, 0, 1, 0]], [[1, 1, 2, 3]]),
    # A tie: both neighbours are 1 away.
    ([[1, 0, 2]], 5, [[0, 1, 0]], [[2, 1, 2]]),
    # Exactly on the radius counts, beyond it does not: 2 is 3 away from the first pixel.
    ([[1, 0, 0, 2]], 3, [[0, 1, 1, 0]], [[3, 2, 2, 3]]),
    ([[1, 0, 0, 2]], 2, [[0, 1, 1, 0]], [[INF, 2, 2, INF]]),
    # Across the rows: 3, 4, 5; at the corner (0, 1) label 1 is 1 and label 2 is sqrt(18) away.
    ([[1, 0, 0, 0, 0], [0] * 5, [0] * 5, [0, 0, 0, 0, 2]], 5, (0, 1, 1), (0, 1, 18**0.5)),
    ([[1, 0, 0, 0, 0], [0] * 5, [0] * 5, [0, 0, 0, 0, 2]], 5, (0, 0, 0), (0, 0, 5)),
    # -1 and 0 are not labels.
    ([[-1, 0, -1]], 5, [[INF] * 3], [[INF] * 3]),
]


@pytest.mark.parametrize(("labels", "radius", "nearest", "second"), HAND)
def test_by_hand(labels, radius, nearest, second):
    d1, d2 = two([labels], radius)
    if isinstance(nearest, tuple):  # (row, column, distance)
        *at, nearest = nearest
        *_, second = second
        d1, d2 = d1[0, *at], d2[0, *at]
    np.testing.assert_allclose(np.squeeze(d1), np.squeeze(nearest), rtol=1e-6)
    np.testing.assert_allclose(np.squeeze(d2), np.squeeze(second), rtol=1e-6)


# One shape, or every example would be compiled anew on backends that compile eager operations.
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    labels=arrays(
        np.int32,
        (2, 7, 9),
        elements=st.sampled_from([0] * 12 + [-1, 1, 2, 3, 70]),
        fill=st.nothing(),
    ),
    radius=st.sampled_from([1, 2, 3, 8, 13]),
)
def test_equals_the_definition_on_any_labels(labels, radius):
    assert_as_defined(labels, radius)


# With sides that no number holds exactly, whether 7 · 0.3 is within 2.1 is chance; 0.5 is exact.
@pytest.mark.parametrize("spacing", [2, (0.5, 1.5), (3, 0.25), (0.3, 0.7), (50, 1), (1, 1e4)])
@pytest.mark.parametrize("radius", [1, 4, 28])
def test_in_the_unit_of_the_spacing(radius, spacing):
    rng = np.random.default_rng(8)
    labels = rng.integers(1, 9, (2, 20, 31)) * (rng.random((2, 20, 31)) < 0.04)
    assert_as_defined(labels, radius, spacing)


@pytest.mark.parametrize("spacing", [0, (1, -1), (1, 1, 1), "1"])
def test_a_spacing_of_labels_is_a_positive_number_for_each_axis(spacing):
    with pytest.raises(ValueError, match="`spacing` must be"):
        nearest_two_labels(np.ones((1, 4, 4), int), 3, spacing=spacing)


@pytest.mark.parametrize("share", [0.001, 0.02, 0.6])
def test_equals_the_definition_on_scattered_and_crowded_labels(share):
    rng = np.random.default_rng(5)
    labels = rng.integers(1, 40, (2, 50, 64)) * (rng.random((2, 50, 64)) < share)
    assert_as_defined(labels, radius=28)


@pytest.mark.parametrize("nearest_radius", [1, 4, 9])
def test_a_smaller_radius_for_the_nearest_changes_nothing_within_it(nearest_radius):
    rng = np.random.default_rng(6)
    labels = rng.integers(1, 40, (2, 50, 64)) * (rng.random((2, 50, 64)) < 0.01)
    want = [np.where(d <= 9, d, INF) for d in two(labels, 9)]
    both = nearest_two_labels(labels, 9, nearest_radius)
    reached = want[0] <= nearest_radius
    for got, full in zip(both, want):
        np.testing.assert_array_equal(got, np.where(reached, full, INF))


def test_a_million_labels():
    # Every pixel a label of its own: 0 from itself, and 1 from a neighbour.
    labels = np.arange(1, 2**20 + 1).reshape(1, 1024, 1024)
    nearest, second = two(labels, 3)
    assert (nearest == 0).all() and (second == 1).all()
    # Each second one in each second row: between them, the two nearest are 1 and 1 away, or √2.
    labels[:, 1::2] = labels[:, :, 1::2] = 0
    nearest, second = (d[0, :-1, :-1] for d in two(labels, 3))
    for at, (d1, d2) in {(0, 0): (0, 2), (0, 1): (1, 1), (1, 0): (1, 1), (1, 1): (2, 2)}.items():
        there = np.s_[at[0] :: 2, at[1] :: 2]
        root = np.sqrt([d1, d2]) if at == (1, 1) else (d1, d2)
        np.testing.assert_allclose(nearest[there], root[0], rtol=1e-6)
        np.testing.assert_allclose(second[there], root[1], rtol=1e-6)


def test_images_of_a_batch_do_not_see_each_other():
    labels = np.zeros((2, 4, 4), np.int32)
    labels[0, 0, 0], labels[1, 3, 3] = 1, 2
    assert np.isinf(two(labels, 9)[1]).all()


def test_large_labels_stay_different():
    # The two are one number in float32.
    labels = [[[2**24, 0, 2**24 + 1]]]
    np.testing.assert_array_equal(two(labels, 4)[1], [[[2, 1, 2]]])


def test_distances_are_float32():
    distances = nearest_two_labels(np.array([[[1, 0]]]), 2)
    assert [keras.backend.standardize_dtype(d.dtype) for d in distances] == ["float32"] * 2


@pytest.mark.parametrize("radius", [0, -3, 2.5])
def test_a_radius_that_is_no_number_of_pixels_is_refused(radius):
    labels = np.zeros((1, 4, 4), np.int32)
    with pytest.raises(ValueError, match="`radius` must be a whole number, at least 1"):
        nearest_two_labels(labels, radius)
    with pytest.raises(ValueError, match="`nearest_radius` must be a whole number, at least 1, at"):
        nearest_two_labels(labels, 4, nearest_radius=radius)
    with pytest.raises(ValueError, match=r"`nearest_radius` must be.*at most 4. Received: 5"):
        nearest_two_labels(labels, 4, nearest_radius=5)


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 1)])
def test_labels_of_other_axes_are_refused(shape):
    with pytest.raises(ValueError, match=r"must be of shape \(batch, height, width\). Received: "):
        nearest_two_labels(np.zeros(shape, np.int32), 4)


@pytest.mark.parametrize("sides", [(0.5, 2.0), (3.0, 1.0), (5.0, 1.0, 0.3)])
def test_squared_distance_in_the_unit_of_the_spacing(sides):
    mask = np.random.default_rng(0).random((23, 17, 9)[: len(sides)]) > 0.97
    got = squared_distance(mask[None, ..., None], sides)
    want = ndimage.distance_transform_edt(~mask, sampling=sides)
    np.testing.assert_allclose(ops.convert_to_numpy(got)[0, ..., 0], want**2, rtol=1e-5)


@pytest.mark.parametrize("function", [squared_distance, signed_distance, rim, skeleton])
@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4), (1, 2, 3, 4, 4, 1)])
def test_masks_without_an_axis_of_images_or_channels_are_refused(function, shape):
    allowed = r"\(images, height, width, channels\) or \(images, depth, height, width, channels\)"
    with pytest.raises(ValueError, match=f"The shape must be {allowed}. Received: "):
        function(np.zeros(shape, bool))


def test_thinning_takes_what_it_is_for():
    with pytest.raises(ValueError, match=r"must be \(images, height, width, channels\). Received"):
        thin(np.zeros((1, 3, 4, 4, 1), bool))
    with pytest.raises(ValueError, match=r"must be \(images, depth, height, width, channels\). R"):
        thin_volume(np.zeros((1, 4, 4, 1), bool))
    with pytest.raises(ValueError, match=r"The shape must be .*Received: "):
        soft_skeleton(np.zeros((4, 4, 1)), 3)
    with pytest.raises(ValueError, match="`iterations` must be a whole number, at least 0"):
        soft_skeleton(np.zeros((1, 4, 4, 1)), -1)


@pytest.mark.parametrize("shape", [(0, 4, 5, 1), (2, 0, 5, 1), (2, 4, 0, 2), (0, 3, 4, 5, 1)])
def test_nothing_gives_nothing(shape):
    mask = ops.convert_to_tensor(np.zeros(shape, bool))
    for function in (squared_distance, signed_distance, rim):
        assert tuple(function(mask).shape) == shape


def squared(mask):
    """The function on one image and one channel."""
    return ops.convert_to_numpy(squared_distance(np.asarray(mask, bool)[None, ..., None]))[
        0, ..., 0
    ]


def squared_by_definition(mask):
    """In whole numbers, from the nearest pixel that SciPy names."""
    if not mask.any():
        return np.full(mask.shape, INF)
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return ((nearest - np.indices(mask.shape)) ** 2).sum(axis=0)


SQUARED_BY_HAND = [
    # A row, seen from both ends: 2² and 1².
    ([[1, 0, 0, 0]], [[0, 1, 4, 9]]),
    ([[1, 0, 0, 0, 1]], [[0, 1, 4, 1, 0]]),
    # Knight's move: 1² + 2² = 5, the corner opposite 2² + 2² = 8.
    ([[1, 0, 0], [0, 0, 0], [0, 0, 0]], [[0, 1, 4], [1, 2, 5], [4, 5, 8]]),
    # The nearest pixel of a row need not be nearest: (2, 0) is 2 from (0, 0) and 1 + 1 from (1, 1).
    ([[1, 0, 0], [0, 1, 0], [0, 0, 0]], [[0, 1, 2], [1, 0, 1], [2, 1, 2]]),
    # Full and empty.
    ([[1, 1]], [[0, 0]]),
    ([[0, 0]], [[INF, INF]]),
    # One pixel.
    ([[1]], [[0]]),
    ([[0]], [[INF]]),
]


@pytest.mark.parametrize(("mask", "want"), SQUARED_BY_HAND)
def test_squared_distance_by_hand(mask, want):
    np.testing.assert_array_equal(squared(mask), want)
    np.testing.assert_array_equal(squared([mask]), [want])  # a volume of one slice
    np.testing.assert_array_equal(squared(np.transpose(mask)), np.transpose(want))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(mask=arrays(bool, (7, 9), elements=st.booleans(), fill=st.just(False)))
def test_squared_distance_is_exact_on_any_image(mask):
    np.testing.assert_array_equal(squared(mask), squared_by_definition(mask))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(mask=arrays(bool, (3, 5, 4), elements=st.booleans(), fill=st.just(False)))
def test_squared_distance_is_exact_on_any_volume(mask):
    np.testing.assert_array_equal(squared(mask), squared_by_definition(mask))


@pytest.mark.parametrize("shape", [(61, 83), (90, 3), (11, 23, 17)])
@pytest.mark.parametrize("share", [0.0005, 0.01, 0.3, 0.9])
def test_squared_distance_is_exact_in_larger_pictures(shape, share):
    rng = np.random.default_rng(8)
    mask = rng.random(shape) < share
    np.testing.assert_array_equal(squared(mask), squared_by_definition(mask))


def test_squared_distance_is_exact_across_2048_pixels():
    mask = np.zeros((2, 2048, 3), bool)
    mask[0, 0, 0] = True
    # 1² + 2047² + 2²: odd, and still a whole number of float32.
    assert squared(mask)[1, 2047, 2] == 1 + 2047**2 + 4
    np.testing.assert_array_equal(squared(mask), squared_by_definition(mask))


def test_images_and_channels_have_their_own_distances():
    rng = np.random.default_rng(3)
    mask = rng.random((3, 8, 9, 2)) < 0.1
    mask[1, ..., 0], mask[2, ..., 1] = False, True
    got = ops.convert_to_numpy(squared_distance(mask))
    for image, channel in np.ndindex(3, 2):
        want = squared_by_definition(mask[image, ..., channel])
        np.testing.assert_array_equal(got[image, ..., channel], want)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compiles with tf.function")
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("shape", [(2, 20, 31, 1), (2, 6, 9, 7, 2)])
def test_squared_distance_compiled(shape, jit_compile):
    import tensorflow as tf

    mask = np.random.default_rng(3).random(shape) < 0.02
    unknown = [tf.TensorSpec((*(None,) * (len(shape) - 1), shape[-1]), "bool")]
    compiled = tf.function(squared_distance, unknown, jit_compile=jit_compile)
    np.testing.assert_array_equal(compiled(mask), squared_distance(mask))


SIGNED_BY_HAND = [
    # The rim is at 1 and -1 on its two sides.
    ([0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [2, 1, -1, -2, -3]),
    ([1, 0, 0, 0, 1], [1, 1, 1, 1, 1], [-1, 1, 2, 1, -1]),
    # One side only: no boundary, no distance.
    ([0, 0, 0], [1, 1, 1], [0, 0, 0]),
    ([1, 1, 1], [1, 1, 1], [0, 0, 0]),
    # A pixel that is not valid is on no side: 2 from the first object pixel to the background.
    ([1, 1, 0, 0], [1, 1, 0, 1], [-3, -2, 0, 2]),
    ([1, 1, 0], [1, 1, 0], [0, 0, 0]),
    ([0, 1, 0], [0, 0, 0], [0, 0, 0]),
]


@pytest.mark.parametrize(("mask", "valid", "want"), SIGNED_BY_HAND)
def test_signed_distance_by_hand(mask, valid, want):
    mask, valid = (np.array(a, bool).reshape(1, 1, -1, 1) for a in (mask, valid))
    np.testing.assert_array_equal(np.ravel(signed_distance(mask, valid)), want)
    if valid.all():
        np.testing.assert_array_equal(np.ravel(signed_distance(mask)), want)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(sides=arrays(np.int32, (7, 9), elements=st.integers(0, 2), fill=st.nothing()))
def test_signed_distance_is_that_of_both_sides(sides):
    mask, valid = sides == 1, sides != 2
    outside = valid & ~mask
    want = np.sqrt(squared_by_definition(mask)) * outside if mask.any() else np.zeros(mask.shape)
    if outside.any() and mask.any():
        want = want - np.sqrt(squared_by_definition(outside)) * mask
    else:
        want = np.zeros(mask.shape)
    tensors = (a[None, ..., None] for a in (mask, valid))
    got = ops.convert_to_numpy(signed_distance(*tensors, dtype="float64"))[0, ..., 0]
    assert got.dtype == "float64"
    np.testing.assert_array_equal(got, want)


def test_signed_distance_changes_sign_with_the_mask():
    mask = np.random.default_rng(3).random((2, 8, 9, 2)) < 0.4
    np.testing.assert_array_equal(signed_distance(~mask), -signed_distance(mask))


@pytest.mark.parametrize("shape", [(12, 15), (5, 6, 7)])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_rim_is_what_erosion_takes_away(shape, share):
    mask = np.random.default_rng(8).random(shape) < share
    want = mask & ~ndimage.binary_erosion(mask)
    got = rim(mask[None, ..., None])
    np.testing.assert_array_equal(ops.convert_to_numpy(got)[0, ..., 0], want)


def test_examples_in_the_docstrings():
    result = doctest.testmod(distance, extraglobs={"np": np})
    assert result.attempted > 0
    assert result.failed == 0
