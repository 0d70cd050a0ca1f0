"""Images and labels at another size."""

import numpy as np
import pytest

from segloss_ref.datasets import resizing
from segloss_ref.datasets.resizing import labels_in, renumbered, resized, shrunk


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_long_sides_are_means_over_areas(dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (1200, 30, 2)).astype(dtype)
    means = shrunk(pixels, (100, 10))
    assert means.dtype == np.float32
    np.testing.assert_allclose(means, pixels.reshape(100, 12, 30, 2).mean(axis=1), rtol=1e-5)


def test_shares_of_pixels(monkeypatch):
    """5 pixels to 2: the third one belongs to both by half."""
    monkeypatch.setattr(resizing, "_LONG", 4)
    line = np.array([1, 2, 4, 8, 16], np.uint8).reshape(5, 1, 1)
    np.testing.assert_allclose(
        shrunk(line, (2, 1)).ravel(), [(1 + 2 + 2) / 2.5, (2 + 8 + 16) / 2.5]
    )


def test_in_blocks(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (1500, 1100, 1), dtype=np.uint8)
    whole = shrunk(pixels, (7, 9))
    monkeypatch.setattr(resizing, "_BLOCK", 5000)
    np.testing.assert_array_equal(shrunk(pixels, (7, 9)), whole)
    assert whole.shape == (7, 9, 1)


def test_means_stay_in_the_range():
    for n in range(1025, 1100):
        assert shrunk(np.full((n, 1, 1), 255, np.uint8), (31, 1)).max() <= 255


def test_small_images_are_left_to_the_smooth_filter():
    pixels = np.zeros((1024, 8, 1), np.uint8)
    assert shrunk(pixels, (3, 3)) is pixels
    assert shrunk(np.zeros((1025, 8, 1), np.uint8), (2000, 8)).shape == (1025, 8, 1)


def test_volumes():
    image = np.random.default_rng(0).random((4, 6, 8, 1), np.float32)
    mask = np.arange(192).reshape(4, 6, 8)
    image, mask, instances = resized(image, mask, None, (2, 3, 4))
    assert image.shape == (2, 3, 4, 1)
    np.testing.assert_array_equal(mask, np.arange(192).reshape(4, 6, 8)[1::2, 1::2, 1::2])
    assert instances is None


@pytest.mark.parametrize("high", [9, 2**31 - 1])
def test_labels_of_any_size(high):
    labels = np.array([[0, 3, -1], [high, 3, 0]], np.int32)
    assert labels_in(labels) == [-1, 0, 3, high]
    np.testing.assert_array_equal(renumbered(labels), [[0, 1, -1], [2, 1, 0]])
    assert renumbered(labels).dtype == np.int32


@pytest.mark.parametrize(
    ("labels", "values"),
    [([True, False], [0, 1]), ([-1, -1], [-1]), (np.zeros(0, int), []), ([1, 2], [1, 2])],
)
def test_labels_of_any_kind(labels, values):
    assert labels_in(np.array(labels)) == values
