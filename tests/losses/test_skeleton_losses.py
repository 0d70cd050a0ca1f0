"""clDice and skeleton recall: by hand, and what they see and do not see."""

import cases_skeleton as oracle
import numpy as np
import pytest
import tensorflow as tf

import segloss_ref as sl


def value(loss, y, p, *args):
    """The loss of one picture without channels."""
    return float(loss(np.asarray(y, float)[None, ..., None], np.asarray(p)[None, ..., None], *args))


def lines(*rows, start=0, stop=5):
    """A picture of 5 x 5 with horizontal lines."""
    picture = np.zeros((5, 5))
    picture[list(rows), start:stop] = 1
    return picture


gap = lines(2)
gap[2, 2] = 0
bar = lines(1, 2, 3)  # of height 3, across the picture: its soft skeleton is the whole row 2

# Truth, prediction, clDice loss by hand with s = 1: 1 - 2 T_p T_s / (T_p + T_s).
CL_DICE_BY_HAND = {
    # T_p = (4 + 1) / (4 + 1), T_s = (4 + 1) / (5 + 1)
    "gap": (lines(2), gap, 1 - 2 * 5 / 6 / (11 / 6)),
    # only false positives: T_p = (0 + 1) / (5 + 1), T_s = 1 / 1
    "false positives": (lines(), lines(2), 1 - 2 * 1 / 6 / (7 / 6)),
    # only false negatives: T_p = 1 / 1, T_s = (0 + 1) / (5 + 1)
    "false negatives": (lines(2), lines(), 1 - 2 * 1 / 6 / (7 / 6)),
    "both empty": (lines(), lines(), 0),
    "perfect": (bar, bar, 0),
    # T_p = T_s = (0 + 1) / (5 + 1)
    "beside": (lines(1), lines(3), 5 / 6),
    # half as probable: S(p) is 1/2 on the line; T_p = 1, T_s = (5/2 + 1) / (5 + 1)
    "faint": (lines(2), lines(2) / 2, 1 - 2 * 7 / 12 / (19 / 12)),
    # each holds the other one's skeleton: how thick a line is does not matter
    "thick and thin": (bar, lines(2), 0),
    # a full picture has no skeleton (T_p = 1) and holds every other one (T_s = 1)
    "full prediction": (lines(2), np.ones((5, 5)), 0),
    # truth: T_s = (3 + 1) / (5 + 1); prediction, an end of it 3 long: T_p = (3 + 1) / (3 + 1)
    "half of it": (lines(2), lines(2, stop=3), 1 - 2 * 4 / 6 / (10 / 6)),
}


@pytest.mark.parametrize("name", CL_DICE_BY_HAND)
def test_cl_dice_by_hand(name):
    y, p, want = CL_DICE_BY_HAND[name]
    assert value(sl.ClDiceLoss(dtype="float64"), y, p) == pytest.approx(want, abs=1e-15)


def test_cl_dice_of_thin_masks_is_dice(rng):
    """Lines of one pixel are their own skeletons: 2 (TP + s) / (P + Y + 2 s), Dice with 2 s."""
    for _ in range(5):
        y, p = np.zeros((2, 9, 9))
        y[rng.integers(0, 3) :: 3] = 1  # lines two pixels apart
        p[:, rng.integers(0, 3) :: 3] = 1
        dice = value(sl.DiceLoss(smooth=0.2, dtype="float64"), y, p)
        got = value(sl.ClDiceLoss(smooth=0.1, dtype="float64"), y, p)
        assert got == pytest.approx(dice, rel=1e-14) and got > 0.1


def test_cl_dice_sees_nothing_wider_than_its_iterations():
    y = np.zeros((9, 9))
    y[1:8, 1:8] = 1  # half width 3
    options = {"smooth": 1.0, "dtype": "float64"}
    assert value(sl.ClDiceLoss(iterations=2, **options), y, 0 * y) == 0
    # S(y) is the middle: T_p = 1, T_s = (0 + 1) / (1 + 1)
    got = value(sl.ClDiceLoss(iterations=3, **options), y, 0 * y)
    assert got == pytest.approx(1 - 2 * 1 / 2 / (3 / 2))


def test_added_to_dice_a_full_prediction_is_not_perfect():
    y = lines(2)
    loss = sl.DiceLoss() + 0.5 * sl.ClDiceLoss()
    # Dice: 1 - (2 · 5 + 1) / (5 + 25 + 1)
    assert value(loss, y, np.ones((5, 5))) == pytest.approx(20 / 31)


def test_cl_dice_pixel_weights_act_inside_the_sums():
    w = np.ones((1, 5, 5))
    w[0, 2, 2] = 3  # at the gap: T_p = 1, T_s = (4 + 1) / (7 + 1)
    assert value(sl.ClDiceLoss(), lines(2), gap, w) == pytest.approx(1 - 2 * 5 / 8 / (13 / 8))


@pytest.mark.parametrize("spatial", [(6, 8), (4, 5, 6)])
def test_cl_dice_per_batch_sums_over_images(spatial, rng):
    y, p, w = rng.random((3, 2, *spatial))
    y = y.round()
    of_y, of_p = (np.stack([oracle.soft_skeleton(x, 4) for x in xs]) for xs in (y, p))
    precision = (np.sum(w * of_p * y) + 1) / (np.sum(w * of_p) + 1)
    sensitivity = (np.sum(w * of_y * p) + 1) / (np.sum(w * of_y) + 1)
    want = 1 - 2 * precision * sensitivity / (precision + sensitivity)
    loss = sl.ClDiceLoss(iterations=4, per="batch", reduction=None, dtype="float64")
    np.testing.assert_allclose(loss(y[..., None], p[..., None], w), [want, want], rtol=1e-12)


@pytest.mark.parametrize("loss", [sl.ClDiceLoss, sl.SkeletonRecallLoss])
def test_background_and_class_weights(loss, rng):
    y = np.eye(3)[rng.integers(0, 3, (1, 8, 9))]
    z = rng.normal(size=y.shape)

    def of(weights, **options):
        loss_of = loss(class_weights=weights, from_logits=True, dtype="float64", **options)
        return float(loss_of(y, z))

    each = [of(weights) for weights in np.eye(3)]
    assert of(None) == pytest.approx(np.mean(each), rel=1e-14)
    assert of(None, include_background=False) == pytest.approx(np.mean(each[1:]), rel=1e-14)
    assert of([1, 2, 5]) == pytest.approx(np.average(each, weights=[1, 2, 5]), rel=1e-14)


@pytest.mark.parametrize("loss", [sl.ClDiceLoss(), sl.SkeletonRecallLoss()])
def test_the_gap_is_where_the_gradient_is_largest(loss):
    y = lines(2)
    p = tf.Variable(np.where(gap > 0, 0.9, 0.1)[None, ..., None])
    with tf.GradientTape() as tape:
        result = loss(y[None, ..., None], p)
    gradient = tape.gradient(result, p).numpy()[0, ..., 0]
    assert gradient[2, 2] < 0
    assert np.abs(gradient).max() == pytest.approx(-gradient[2, 2], rel=1e-6)


two = np.zeros((7, 9))
two[1:6, 1:8] = 1  # 5 high and 7 long; thinned to 3 pixels, columns 3 to 5 of row 3

# Truth, prediction, radius, skeleton recall loss by hand with s = 1: 1 - (Σ T p + 1) / (Σ T + 1).
RECALL_BY_HAND = {
    "gap": (lines(2), gap, 2, 1 - 5 / 6),
    "false negatives": (lines(2), lines(), 2, 1 - 1 / 6),
    # only false positives: not seen, whether there is an object or not
    "false positives": (lines(), np.ones((5, 5)), 2, 0),
    "full prediction": (lines(2), np.ones((5, 5)), 2, 0),
    "both empty": (lines(), lines(), 2, 0),
    "perfect": (bar, bar, 2, 0),
    # the tube stays within the mask: that of a line is the line
    "beside": (lines(2), lines(1, 3), 2, 1 - 1 / 6),
    "skeleton itself": (two, 0 * two, 0, 1 - 1 / 4),
    # one step: 3 pixels above, 3 below, 1 at each end: 11
    "one step": (two, 0 * two, 1, 1 - 1 / 12),
    # two steps: rows of 3, 5, 7, 5, 3: 23
    "two steps": (two, 0 * two, 2, 1 - 1 / 24),
    # labels above one half are rounded up
    "soft truth": (0.6 * lines(2) + 0.4 * lines(0), lines(0), 2, 1 - 1 / 6),
}


@pytest.mark.parametrize("name", RECALL_BY_HAND)
def test_skeleton_recall_by_hand(name):
    y, p, radius, want = RECALL_BY_HAND[name]
    got = value(sl.SkeletonRecallLoss(radius, dtype="float64"), y, p)
    assert got == pytest.approx(want, abs=1e-15)


def test_skeleton_recall_in_three_dimensions_by_hand():
    rod = np.zeros((5, 5, 9))
    rod[1:4, 1:4, 1:8] = 1  # its skeleton: 5 voxels on the axis, from 2 to 6
    # One step: 5 + 2 at the ends + 4 · 5 around the axis
    for radius, size in ((0, 5), (1, 27)):
        got = value(sl.SkeletonRecallLoss(radius, dtype="float64"), rod, 0 * rod)
        assert got == pytest.approx(1 - 1 / (size + 1), rel=1e-14)


def test_exclusive_classes_share_the_skeleton_of_all_objects():
    """A bar of 3 x 10, its halves of two classes, thinned to its columns 1 to 8."""
    labels = np.zeros((1, 5, 12), int)
    labels[0, 1:4, 1:6], labels[0, 1:4, 6:11] = 1, 2
    y, p = np.eye(3)[labels], np.eye(3)[0 * labels]
    options = {"radius": 0, "class_weights": [0, 1, 0], "dtype": "float64"}
    # 4 of the 8 pixels are of class 1; by itself it would be thinned to 3
    assert float(sl.SkeletonRecallLoss(**options)(y, p)) == pytest.approx(4 / 5)
    alone = sl.SkeletonRecallLoss(multilabel=True, **options)
    assert float(alone(y, p)) == pytest.approx(3 / 4)


def test_a_tube_as_wide_as_the_mask_gives_its_recall(rng):
    y = np.zeros((8, 9))
    y[1:7, 2:8] = 1
    p = rng.random(y.shape)
    want = 1 - (np.sum(y * p) + 1) / (y.sum() + 1)
    assert value(sl.SkeletonRecallLoss(20, dtype="float64"), y, p) == pytest.approx(want)


def test_skeleton_recall_learns_nothing_outside_the_tube_or_without_an_object():
    y = np.stack([lines(2), lines()])[..., None]
    p = tf.Variable(np.full(y.shape, 0.5))
    with tf.GradientTape() as tape:
        result = sl.SkeletonRecallLoss(dtype="float64")(y, p)
    gradient = tape.gradient(result, p).numpy()
    assert (gradient[1] == 0).all()
    np.testing.assert_array_equal(gradient[0, ..., 0] < 0, lines(2) > 0)


@pytest.mark.parametrize(
    ("loss", "setting"), [(sl.ClDiceLoss, "iterations"), (sl.SkeletonRecallLoss, "radius")]
)
@pytest.mark.parametrize("bad", [-1, 1.0, 1.5, True, "3", None, float("nan")])
def test_whole_numbers_are_whole(loss, setting, bad):
    with pytest.raises(ValueError, match=f"`{setting}` must be a whole number.*Received"):
        loss(**{setting: bad})


@pytest.mark.parametrize("loss", [sl.ClDiceLoss, sl.SkeletonRecallLoss])
def test_smooth_is_above_zero(loss):
    with pytest.raises(ValueError, match="`smooth` must"):
        loss(smooth=0.0)
