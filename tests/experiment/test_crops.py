"""Crops: of standardised images, the same for every loss, where and how the settings say."""

import dataclasses

import numpy as np
import pytest
from small import SMALL

from segloss_ref.datasets import load
from segloss_ref.experiment import Experiment
from segloss_ref.experiment.crops import Crops, cut_out, numbered
from segloss_ref.losses import BlobLoss, DiceLoss, ShapeAwareLoss
from segloss_ref.models import standardized


@pytest.fixture(scope="module")
def cells():
    return load("synthetic/cells", "train", limit=4, size=48)


@pytest.fixture(scope="module")
def dots():
    """Three images with a dot of class 1 or 2, or none; the image shows where each pixel was."""
    masks = np.zeros((3, 40, 32), "int32")
    masks[0, 0, 0], masks[1, 20, 31] = 1, 2
    images = np.arange(masks.size, dtype="float32").reshape(*masks.shape, 1) / masks.size
    drawn = load("synthetic/streets", "train", limit=3, size=32)
    return dataclasses.replace(
        drawn,
        images=images,
        masks=masks,
        instances=None,
        class_names=("nothing", "left", "right"),
        background=0,
    )


def settings(**changes):
    return Experiment(**{**SMALL, **changes})


@pytest.mark.parametrize("augmentation", ["none", "turns", "deformation"])
def test_crops_are_pieces_of_the_images_and_the_same_for_every_loss(cells, augmentation):
    given = settings(augmentation=augmentation)
    images, truth = Crops(cells, given, ShapeAwareLoss())[1]
    again = Crops(cells, given, DiceLoss())
    again[0]  # what came before a batch does not change it
    again = again[1]
    assert images.shape == truth.shape == (2, 32, 32, 1)
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(truth > 0, again[1] > 0)
    # A turned and bent crop still shows what its truth says: cells are brighter.
    assert images[truth > 0].mean() > images[truth == 0].mean() + 0.5


def test_without_augmentation_crops_are_upright(cells):
    images, _ = Crops(cells, settings(augmentation="none"), DiceLoss())[0]
    windows = np.lib.stride_tricks.sliding_window_view(
        standardized(cells.images)[..., 0], (32, 32), axis=(1, 2)
    )
    for crop in images[..., 0]:
        assert (windows == crop).all(axis=(-1, -2)).any()


def test_all_eight_turns_occur(cells):
    corner = dataclasses.replace(
        cells,
        images=np.arange(4, dtype="float32").reshape(1, 2, 2, 1) / 4,
        masks=np.zeros((1, 2, 2), "int32"),
        instances=None,
        names=("one",),
    )
    crops = Crops(corner, settings(crop=2, depth=1, batch_size=200), DiceLoss())[0][0]
    seen, counts = np.unique(crops.reshape(200, 4), axis=0, return_counts=True)
    assert len(seen) == 8 and counts.min() > 10


def test_the_truth_of_a_crop_reaches_as_far_beyond_it_as_the_loss_wants():
    data = load("synthetic/cells", "train", limit=3)
    given = Experiment(crop=64, seed=4)
    x, y = Crops(data, given, ShapeAwareLoss())[1]
    same, wide = Crops(data, given, ShapeAwareLoss(surround=200))[1]
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(wide[:, 200:-200, 200:-200], y)
    side = data.images.shape[1]
    for around in wide:  # the whole image is in there, and -1 around it
        assert (around >= 0).sum() == side**2


@pytest.mark.parametrize("augmentation", ["none", "turns"])
def test_crops_with_foreground_hold_one_class_as_often_as_the_other(dots, augmentation):
    given = settings(augmentation=augmentation, crop=8, foreground_crops=1.0, batch_size=60, seed=3)
    _, truth = Crops(dots, given, DiceLoss())[0]
    held = [set(np.unique(crop)) - {0} for crop in truth]
    assert all(len(labels) == 1 for labels in held)
    assert 20 < sum(labels == {1} for labels in held) < 40
    half = dataclasses.replace(given, foreground_crops=0.5)
    _, truth = Crops(dots, half, DiceLoss())[0]
    assert 15 < sum((crop > 0).any() for crop in truth) < 45
    none = dataclasses.replace(given, foreground_crops=0.0)
    _, truth = Crops(dots, none, DiceLoss())[0]
    assert sum((crop > 0).any() for crop in truth) < 15


def test_what_is_beyond_the_image_is_nothing_in_a_bent_crop(dots):
    given = settings(augmentation="deformation", crop=32, batch_size=30)
    images, truth = Crops(dots, given, DiceLoss())[0]
    assert truth.min() == -1 and 0.5 < (truth >= 0).mean() < 1
    assert (images[truth == -1] == 0).mean() > 0.75  # those at the edge are mixed with it


@pytest.mark.parametrize("augmentation", ["turns", "deformation"])
def test_slices_of_a_volume_stay_together(cells, augmentation):
    """All slices are the same picture, so they are after turns and bends, up to their order."""
    stack = np.repeat(cells.images[:, None], 4, axis=1)
    volumes = dataclasses.replace(
        cells,
        images=stack,
        masks=np.repeat(cells.masks[:, None], 4, axis=1),
        instances=None,
    )
    given = settings(augmentation=augmentation, crop=(4, 32, 32))
    images, truth = Crops(volumes, given, DiceLoss())[0]
    assert images.shape == truth.shape == (2, 4, 32, 32, 1)
    np.testing.assert_array_equal(truth, np.repeat(truth[:, :1], 4, axis=1))
    np.testing.assert_allclose(images, np.repeat(images[:, :1], 4, axis=1), atol=1e-6)
    assert images[truth == 1].mean() > images[truth == 0].mean() + 0.5


def test_a_crop_that_is_not_square_keeps_its_sides(cells):
    given = settings(crop=(16, 32))
    images, truth = Crops(cells, given, DiceLoss())[0]
    assert images.shape == truth.shape == (2, 16, 32, 1)


def test_objects_are_numbered_without_gaps(cells):
    labels = np.array([[-1, 0, 7], [3, 7, 90]], "int32")
    np.testing.assert_array_equal(numbered(labels), [[-1, 0, 2], [1, 2, 3]])
    assert numbered(labels).dtype == "int32"
    np.testing.assert_array_equal(numbered(np.zeros((2, 2), int)), 0)
    _, truth = Crops(cells, settings(), BlobLoss(DiceLoss()))[0]
    for crop in truth:
        found = np.unique(crop[crop > 0])
        np.testing.assert_array_equal(found, np.arange(len(found)) + 1)


def test_pieces_beyond_the_image():
    image = np.arange(6).reshape(2, 3, 1)
    np.testing.assert_array_equal(cut_out(image, [0, 1], [2, 2], -1)[..., 0], [[1, 2], [4, 5]])
    piece = cut_out(image, [-1, 2], [3, 3], -1)[..., 0]
    np.testing.assert_array_equal(piece, [[-1, -1, -1], [2, -1, -1], [5, -1, -1]])
    assert (cut_out(image, [7, 7], [2, 2], -1) == -1).all()
