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
from segloss_ref.distance import nearest_two_labels

INF = np.inf


def by_definition(labels, radius):
    """One distance transform of the whole image per label, sorted; infinity beyond the radius."""
    numbers = [label for label in np.unique(labels) if label > 0]
    each = [ndimage.distance_transform_edt(labels != label) for label in numbers]
    far = np.full(labels.shape, INF)
    nearest, second = np.sort([*each, far, far], axis=0)[:2]
    return np.where(nearest <= radius, nearest, INF), np.where(second <= radius, second, INF)


def two(labels, radius):
    distances = nearest_two_labels(np.asarray(labels), radius)
    return tuple(ops.convert_to_numpy(d) for d in distances)


def assert_as_defined(labels, radius):
    nearest, second = two(labels, radius)
    for image, d1, d2 in zip(labels, nearest, second, strict=True):
        expected = by_definition(image, radius)
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


@pytest.mark.parametrize("share", [0.001, 0.02, 0.6])
def test_equals_the_definition_on_scattered_and_crowded_labels(share):
    rng = np.random.default_rng(5)
    labels = rng.integers(1, 40, (2, 50, 64)) * (rng.random((2, 50, 64)) < share)
    assert_as_defined(labels, radius=28)


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
    with pytest.raises(ValueError, match="`radius` must be a whole number of pixels, 1 or more"):
        nearest_two_labels(np.zeros((1, 4, 4), np.int32), radius)


def test_examples_in_the_docstrings():
    result = doctest.testmod(distance)
    assert result.attempted > 0
    assert result.failed == 0
